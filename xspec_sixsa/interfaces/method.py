"""The sampler as one of XSPEC's fitting methods: ``Fit.method = "sixsa"``, then ``Fit.perform()``.

PyXspec has no way to register a method, but `Fit` is one object: `install` puts a `method` and a `perform` of ours on
its class, which hand everything that is not "sixsa" to those that were there.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from xspec_sixsa.embedded import pick
from xspec_sixsa.priors import PriorsLike, from_words, normalise
from xspec_sixsa.run.fit import fit
from xspec_sixsa.session import is_entered

if TYPE_CHECKING:
    from xspec_sixsa.priors import Prior
    from xspec_sixsa.result import Result

__all__ = ["install", "last_result", "prior", "uninstall"]

log = logging.getLogger(__name__)

NAME = "sixsa"
FOLDER = "sixsa_run_{}"
PRINT_CHATTER = 5
"""Chatter from which `perform` prints its summary."""

last_result: Result | None = None
"""What the last ``Fit.perform()`` with the method sixsa returned; None before."""


@dataclass
class _Installed:
    """What was on the class of `Fit`, and what the user chose."""

    module: ModuleType
    owner: type
    originals: dict[str, Any]  # only what the class itself defined: the rest was inherited
    method: property
    perform: Callable[..., Any]
    ours: dict[str, Any] = field(default_factory=dict)
    selected: bool = False
    words: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    priors: list[Prior] = field(default_factory=list)


_installed: dict[type, _Installed] = {}


def install(priors: PriorsLike = None, *, output: Any = None, xspec: ModuleType | None = None, **options: Any) -> None:
    """Make ``Fit.method = "sixsa"`` (or ``"sixsa 2000 1"``: effective samples, seed) and ``Fit.perform()`` run `fit`.

    All other methods stay as they are. Called again, it only replaces the priors and options.

    Parameters
    ----------
    priors : as in `fit`, optional
        Default: XSPEC's own limits and `bayes` settings, and what `prior` adds.
    output : path, optional
        Folder of the result. Default: ``sixsa_run_1``, ``sixsa_run_2`` ... in the working folder, a new one each time:
        XSPEC reads the chain from its file whenever it uses it, so the file must stay.
    xspec : module, optional
        The PyXspec to install into; default: the real one where it can be imported, else the embedded engine.
    **options
        For `fit`: `budget`, `workers`, `clobber`, ...; the method's own words win over `target_ess` and `seed`.

    Raises
    ------
    TypeError
        For an option that `fit` does not have.
    RuntimeError
        For a PyXspec whose `Fit` has no `method` and `perform` that can be replaced.
    """
    _check_options(options)
    entries, from_file = normalise(priors)
    module = _module(xspec)
    state = _installed.get(type(module.Fit)) or _replace(module)
    state.priors = entries
    state.options = {**from_file, **options}
    if output is not None:
        state.options["output"] = output


def uninstall(xspec: ModuleType | None = None) -> None:
    """Put `Fit.method` and `Fit.perform` back as they were; harmless where nothing is installed.

    Parameters
    ----------
    xspec : module, optional
        As for `install`.
    """
    module = _module(xspec)
    state = _installed.get(type(module.Fit))
    if state is None:
        return
    for name, ours in state.ours.items():
        if vars(state.owner).get(name) is not ours:
            raise RuntimeError(
                f"Fit.{name} was replaced by somebody else after sixsa.install(): undo that first, then uninstall."
            )
    for name in state.ours:
        if name in state.originals:
            setattr(state.owner, name, state.originals[name])
        else:
            delattr(state.owner, name)
    del _installed[state.owner]


def prior(parameter: Any, kind: str, *numbers: float, xspec: ModuleType | None = None) -> None:
    """Give the method the prior of one parameter, in the words of Tcl's ``sixsa prior``.

    It replaces the one given before for the same `parameter`.

    Parameters
    ----------
    parameter : Parameter, int or str
        PyXspec's object, XSPEC's number (``1``, ``"bkg:3"``) or the chain name (``"nH__1"``).
    kind : str
        ``"uniform"``, ``"loguniform"``, ``"normal"``, ``"lognormal"``, ...
    *numbers : float
        Those of the kind, in order: ``prior(1, "uniform", 0, 0.5)``.
    xspec : module, optional
        As for `install`.
    """
    state = _state(_module(xspec))
    new = from_words(_reference(parameter), kind, numbers)
    state.priors = [old for old in state.priors if old.references != new.references] + [new]


def _reference(parameter: Any) -> Any:
    if isinstance(parameter, int) and not isinstance(parameter, bool):
        return ("", parameter)
    numbered = re.fullmatch(r"(?:(\w+):)?(\d+)", parameter) if isinstance(parameter, str) else None
    return (numbered[1] or "", int(numbered[2])) if numbered else parameter


def _module(xspec: ModuleType | None) -> ModuleType:
    if xspec is not None:
        return xspec
    return pick()


def _state(module: ModuleType) -> _Installed:
    try:
        return _installed[type(module.Fit)]
    except KeyError:
        raise RuntimeError('The method "sixsa" is not installed: type xspec_sixsa.install() first.') from None


def _check_options(options: dict[str, Any]) -> None:
    known = set(inspect.signature(fit).parameters) - {"priors", "xspec"}
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(f"install() has no option {unknown[0]!r}: fit takes {', '.join(sorted(known))}.")


def _replace(module: ModuleType) -> _Installed:
    owner = type(module.Fit)
    method, perform = getattr(owner, "method", None), getattr(owner, "perform", None)
    if not isinstance(method, property) or method.fget is None or method.fset is None or not callable(perform):
        raise RuntimeError(
            f"This PyXspec's Fit ({owner.__module__}.{owner.__name__}) has no `method` property and `perform` that "
            "could be replaced. xspec_sixsa.fit(...) does the same without."
        )
    read, write = method.fget, method.fset
    originals = {name: vars(owner)[name] for name in ("method", "perform") if name in vars(owner)}
    state = _Installed(module, owner, originals, method, perform)

    def get(self: Any) -> Any:
        # the native fit that ends a run must find a native method
        return NAME if state.selected and not is_entered(module) else read(self)

    def put(self: Any, value: Any) -> None:
        words = _words(value)
        if words and words[0].lower() == NAME:
            state.words = _numbers(words[1:])
            state.selected = True
            return
        write(self, value)
        if words and words[0][0].isalpha():  # ",100" changes the iterations, not the method
            state.selected = False

    @functools.wraps(perform)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not state.selected or is_entered(module):
            return perform(self, *args, **kwargs)
        return _run(state)

    state.ours = {"method": property(get, put, method.fdel, method.__doc__), "perform": run}
    for name, value in state.ours.items():
        setattr(owner, name, value)
    _installed[owner] = state
    return state


def _words(value: Any) -> list[str]:
    """The words of a method as PyXspec takes them: one string, or a sequence of strings and numbers."""
    parts = value if isinstance(value, (list, tuple)) else [value] if isinstance(value, str) else []
    return [word for part in parts for word in str(part).split()]


def _numbers(words: Sequence[str]) -> dict[str, int]:
    usage = 'type Fit.method = "sixsa [effective samples [seed]]", such as "sixsa 2000 1"'
    if len(words) > 2:
        raise ValueError(f"The method sixsa takes two numbers, not {len(words)} ({' '.join(words)}): {usage}.")
    found = {}
    for name, title, least, word in zip(
        ("target_ess", "seed"), ("effective samples", "seed"), (1, 0), words, strict=False
    ):
        try:
            number = float(word)
        except ValueError:
            number = float("nan")
        if not (number >= least and number.is_integer()):
            raise ValueError(f"The method sixsa: {title} {word!r} is no whole number of at least {least}: {usage}.")
        found[name] = int(number)
    return found


def _run(state: _Installed) -> None:
    global last_result
    options = {**state.options, **state.words}
    # absolute, since XSPEC reads the chain's file later, wherever the user is by then
    folder = options["output"] = Path(options.get("output") or _free_folder()).absolute()
    result = fit(state.priors, xspec=state.module, **options)
    last_result = result
    log.info("result in %s", folder)
    if state.module.Xset.chatter >= PRINT_CHATTER:
        # a fitting command answers at the prompt, as XSPEC's own do
        sys.stdout.write(f"{result.summary()}\n")
    elif result.status != "reliable":
        log.warning("The posterior in %s is unreliable: %s", folder, " ".join(result.reasons))


def _free_folder() -> Path:
    return next(path for n in itertools.count(1) if not (path := Path(FOLDER.format(n))).exists())
