"""Run other methods on the problem of a result, each in a process of its own."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.compare.agreement import TITLES
from xspec_sixsa.compare.chains import run_chain
from xspec_sixsa.compare.child import in_child
from xspec_sixsa.compare.comparison import Comparison, compare_posteriors
from xspec_sixsa.compare.finished import read_finished
from xspec_sixsa.compare.nested import run_bxa, run_nautilus
from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.embedded import pick
from xspec_sixsa.priors import KINDS, PriorsLike, bind, normalise
from xspec_sixsa.priors.kinds import from_mapping
from xspec_sixsa.session import Session, difference
from xspec_sixsa.session.restore import restore_session

if TYPE_CHECKING:
    from xspec_sixsa.priors import JointPrior
    from xspec_sixsa.result import Result
    from xspec_sixsa.session import Session

__all__ = ["METHODS", "compare", "problem_of"]

log = logging.getLogger(__name__)

METHODS = ("bxa", "nautilus", "mcmc", "mh")
SAME_STATISTIC = 0.1
"""A fit statistic that far off is of another problem; less changes no posterior. (Saved values have six digits.)"""


def compare(
    result: Result,
    methods: Sequence[str] = (),
    *,
    read: Sequence[str | os.PathLike[str]] = (),
    priors: PriorsLike = None,
    xspec: ModuleType | None = None,
    restore: bool = False,
    seed: int = 1,
    limit: float | None = None,
    live: int | None = None,
    length: int | None = None,
    workers: int | None = None,
    output: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare a result with other methods on the same session, statistic and priors.

    Every method runs in a copy of this process, one after the other: the session here stays as it is.

    Parameters
    ----------
    result : Result
    methods : sequence of {"bxa", "nautilus", "mcmc", "mh"}
        BXA, nautilus, XSPEC's Goodman-Weare and Metropolis-Hastings chains.
    read : sequence of path
        Finished runs: BXA folders, XSPEC chains (FITS), folders of this package.
    priors : as in `fit`, optional
        Only for custom, joint and BXA's priors, which a result does not hold.
    xspec : module, optional
        The PyXspec that holds the session; default: the real one where it can be imported, else the embedded engine.
    restore : bool, default False
        Restore the session from the result's folder, in the copies, instead of taking the one that is loaded here.
    seed : int, default 1
    limit : float, optional
        Seconds for each nested sampler, after which it is given up and said to be.
    live : int, optional
        Live points of BXA (default 400) and nautilus (1,500).
    length : int, optional
        Rows of XSPEC's chains (default 40,000, after a quarter as many thrown away).
    workers : int, optional
        Processes that evaluate for nautilus on real XSPEC; default: one a core that it may
        use. The others have no use for them.
    output : path, optional
        Folder for comparison.json, comparison.npz and the corner plot; default: the result's own, if it has one.
    progress : bool, default True

    Returns
    -------
    Comparison

    Raises
    ------
    CompareError
        Before anything is run: unknown methods, another session, priors that are not known.
    """
    wanted = list(dict.fromkeys(methods))
    unknown = [name for name in wanted if name not in METHODS]
    if unknown:
        raise CompareError(f"There is no method {unknown[0]!r} to compare with: take {', '.join(METHODS)}.")
    if not wanted and not read:
        raise CompareError(f"Say what to compare with: one or more of {', '.join(METHODS)}, or a finished run to read.")
    others = [read_finished(path, result.names) for path in read]
    options: dict[str, dict[str, Any]] = {
        "bxa": {"live": live}, "nautilus": {"live": live},
        "mcmc": {"start": result.best_fit}, "mh": {"start": result.best_fit},
    }  # fmt: skip
    if length is not None:
        for name in ("mcmc", "mh"):
            options[name] |= {"length": length, "burn": length // 4}
    for name in wanted:
        log.info("running %s ...", TITLES[name])
        others.append(
            in_child(
                _run,
                name,
                result,
                priors,
                xspec,
                restore,
                workers if name == "nautilus" else 1,
                seed=seed,
                limit=limit,
                progress=progress,
                **options[name],
            )
        )
    comparison = compare_posteriors(result, others)
    folder = output if output is not None else result.output
    if folder is not None:
        comparison.save(folder)
    return comparison


def _run(
    name: str,
    result: Result,
    priors: PriorsLike,
    xspec: ModuleType | None,
    restore: bool,
    workers: int | None,
    **options: Any,
) -> Posterior:
    session, prior = problem_of(result, priors, xspec, restore=restore, workers=workers)
    found = RUNNERS[name](session, prior, **options)
    found.evaluations = (found.evaluations or 0) + session.evaluations["check"] + session.evaluations["probe"]
    return found


RUNNERS: dict[str, Callable[..., Posterior]] = {
    "bxa": run_bxa,
    "nautilus": run_nautilus,
    "mcmc": functools.partial(run_chain, algorithm="mcmc"),
    "mh": functools.partial(run_chain, algorithm="mh"),
}


def problem_of(
    result: Result,
    priors: PriorsLike = None,
    xspec: ModuleType | None = None,
    *,
    restore: bool = False,
    workers: int | None = None,
) -> tuple[Session, JointPrior]:
    """The session and the priors that a result was made from; parameters as for `compare`.

    With `restore` the session of the result's folder replaces what is loaded.

    Raises
    ------
    CompareError
        When the session or the priors are others, saying what differs.
    """
    module = pick() if xspec is None else xspec
    if restore:
        saved = None if result.output is None else Path(result.output).absolute() / "session.xcm"
        if saved is None or not saved.is_file():
            raise CompareError(f"{result.output} holds no session.xcm: load the session, and compare from Python.")
        module.Xset.chatter = 0
        restore_session(module, saved, saved.parent)
    try:
        session = Session(module, workers=workers)
    except ValueError as error:
        raise CompareError(f"The run's session is not loaded here ({error}) Restore it (restore=True).") from error
    old = {key: value for key, value in result.fingerprint.items() if key != "priors"}
    if session.names != result.names:
        raise CompareError(
            f"Another session is loaded: its free parameters are {', '.join(session.names)}, and the run's are "
            f"{', '.join(result.names)}. Load the run's session, or have it restored (restore=True)."
        )
    found = float(session.evaluate(result.best_fit[None], "check").statistic[0])
    if not abs(found - result.best_statistic) <= SAME_STATISTIC:
        changes = "; ".join(difference(old, session.fingerprint())) or "nothing else is known to differ"
        raise CompareError(
            f"This is another problem: the run's best fit has the statistic {result.best_statistic:.6g} there and "
            f"{found:.6g} here ({changes}). Take the session, and the engine, that the run was made with."
        )
    return session, _priors(result, session, priors)


def _priors(result: Result, session: Session, priors: PriorsLike) -> JointPrior:
    recorded = result.fingerprint.get("priors")
    if priors is not None:
        prior = bind(normalise(priors)[0], session)
        if recorded is not None and not _same(prior.to_dict(), recorded):
            raise CompareError("The priors given are not those of the run: give the same, or none.")
        return prior
    if recorded is None:
        raise CompareError("The result does not say which priors it had: give them (priors=...).")
    made = []
    for entry in recorded["priors"]:
        names, kind = entry["parameters"], entry["kind"]
        if kind not in KINDS or len(names) > 1:
            raise CompareError(f"The {kind} prior of {', '.join(names)} is a function: give the priors (priors=...).")
        made.append(from_mapping(names[0], {key: value for key, value in entry.items() if key != "parameters"}))
    return bind(made, session)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, (int, float)):
        return bool(np.isclose(a, b, rtol=1e-9, atol=0.0, equal_nan=True))
    return bool(a == b)
