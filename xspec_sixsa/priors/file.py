"""Priors in any form that users have them: lists, BXA's dicts, and the TOML file of the shell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.priors.bxa import from_bxa
from xspec_sixsa.priors.joint import JointPrior
from xspec_sixsa.priors.kinds import KINDS, from_mapping, from_words
from xspec_sixsa.priors.prior import Prior, PriorError

__all__ = ["FIT_OPTIONS", "PriorsLike", "load_toml", "normalise", "save_toml"]

PriorsLike: TypeAlias = (
    "str | os.PathLike[str] | Prior | JointPrior | Mapping[str, Any] | Iterable[Prior | Mapping[str, Any]] | None"
)
"""What is taken for priors: see `normalise`."""

# What `[fit]` may hold, and its type.
FIT_OPTIONS: dict[str, type] = {
    "target_ess": int,
    "seed": int,
    "budget": int,
    "compressor": str,
    "estimator": str,
    "training": str,
    "emulator": str,
    "exact": str,
}


def normalise(priors: PriorsLike) -> tuple[list[Prior], dict[str, Any]]:
    """Priors as a list, and the options that came with them.

    Parameters
    ----------
    priors : path, list, mapping, Prior, JointPrior or None
        A TOML file; a list of `Prior` and BXA's dicts, mixed as one likes; ``{name: (kind, numbers...)}``; None for
        XSPEC's own limits and `bayes` settings (an empty list).

    Returns
    -------
    list of Prior, dict
        The options are those of a TOML file's ``[fit]`` table, else empty.

    Examples
    --------
    >>> priors, options = normalise({"nH__1": ("uniform", 0.0, 0.5), "norm__2": ("loguniform", 1e-5, 1e-2)})
    >>> [prior.describe() for prior in priors], options
    (['uniform low 0 high 0.5', 'loguniform low 1e-05 high 0.01'], {})
    """
    if priors is None:
        return [], {}
    if isinstance(priors, (str, os.PathLike)):
        return load_toml(priors)
    if isinstance(priors, Prior):
        return [priors], {}
    if isinstance(priors, JointPrior):
        return list(priors.priors), {}
    if isinstance(priors, Mapping):
        if "transform" in priors:
            return from_bxa([priors]), {}
        return [_from_entry(name, entry) for name, entry in priors.items()], {}
    found: list[Prior] = []
    if not isinstance(priors, Iterable):
        priors = [priors]
    for position, entry in enumerate(priors, start=1):
        if isinstance(entry, Prior):
            found.append(entry)
        elif isinstance(entry, Mapping):
            found.extend(from_bxa([entry]))
        else:
            raise PriorError(
                f"Entry {position} of the priors is {entry!r}, not a prior. Make it with "
                "xspec_sixsa.uniform(parameter, low, "
                "high) or a sibling, or with BXA's create_*_prior_for.",
                value=entry,
            )
    return found, {}


def load_toml(path: str | os.PathLike[str]) -> tuple[list[Prior], dict[str, Any]]:
    """Read ``priors.toml``: one table a parameter by its chain name, and perhaps ``[fit]``.

    ::

        ["norm__5"]
        kind = "loguniform"
        low = 1e-5
        high = 1e-2

        [fit]
        target_ess = 2000

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    list of Prior, dict
        The options of ``[fit]`` that are there: `target_ess`, `seed`, `budget`, `compressor`, `estimator`,
        `training`, `emulator`, `exact`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PriorError
        For anything in it that is not understood, by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No priors file {path}.")
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PriorError(f"{path} is not valid TOML: {error}.", value=str(path)) from error
    options = _fit_options(path, tables.pop("fit", {}))
    priors = []
    for name, table in tables.items():
        if not isinstance(table, Mapping) or any(isinstance(value, Mapping) for value in table.values()):
            raise PriorError(
                f'{path}: {name} is no table of a parameter. Write ["{name}"] on a line of its own (with the '
                "quotes), then "
                'kind = "uniform", low = ..., high = ...',
                name,
                table,
            )
        try:
            priors.append(from_mapping(name, table))
        except PriorError as error:
            raise PriorError(f"{path}: {error}", error.parameter, error.value) from error
    return priors, options


def save_toml(
    path: str | os.PathLike[str], priors: JointPrior | Iterable[Prior], options: Mapping[str, Any] | None = None
) -> None:
    """Write priors so that `load_toml` gives them back.

    Custom, joint and BXA's priors are functions, which a file cannot hold: a comment names them, and they must be given
    again from Python.

    Parameters
    ----------
    path : path
        The file to write; one that is there is replaced.
    priors : JointPrior or iterable of Prior
        Those of a list must name their parameters by chain names, as bound ones do.
    options : mapping, optional
        For the ``[fit]`` table; None among the values means "not given".

    Raises
    ------
    PriorError
        If a prior's parameter is an object, not a name, or an option does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from xspec_sixsa import uniform
    >>> path = Path(tempfile.mkdtemp(), "priors.toml")
    >>> save_toml(path, [uniform("nH__1", 0.0, 0.5)], {"target_ess": 2000})
    >>> print(path.read_text(encoding="utf-8"))
    # Priors of a xspec_sixsa run: sixsa fit session.xcm --priors this-file
    <BLANKLINE>
    ["nH__1"]
    kind = "uniform"
    low = 0.0
    high = 0.5
    <BLANKLINE>
    [fit]
    target_ess = 2000
    <BLANKLINE>
    >>> priors, options = load_toml(path)
    >>> priors[0].describe(), options
    ('uniform low 0 high 0.5', {'target_ess': 2000})
    """
    path = Path(path)
    lines = ["# Priors of a xspec_sixsa run: sixsa fit session.xcm --priors this-file", ""]
    for prior in priors.priors if isinstance(priors, JointPrior) else priors:
        for reference in prior.references:
            if not isinstance(reference, str):
                raise PriorError(
                    f"{prior.title} is given as an object; a file needs chain names such as norm__5. Save the bound "
                    "priors: "
                    "save_toml(path, bind(priors, session)).",
                    prior.title,
                )
        names = ", ".join(json.dumps(name) for name in prior.references)
        if prior.kind not in KINDS or prior.is_joint:
            lines += [f"# {names}: {prior.describe()}: not in this file, give it from Python", ""]
            continue
        comment = f"  # {prior.origin}" if prior.origin else ""
        lines += [f"[{names}]", f'kind = "{prior.kind}"{comment}']
        lines += [f"{name} = {float(value)!r}" for name, value in prior.numbers.items()] + [""]
    table = _fit_options(path, {name: value for name, value in (options or {}).items() if value is not None})
    if table:
        lines += ["[fit]", *(f"{name} = {json.dumps(value)}" for name, value in table.items()), ""]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _fit_options(path: Path, table: Any) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise PriorError(
            f"{path}: fit is {table!r}, not a table: write [fit], then {', '.join(FIT_OPTIONS)}.", value=table
        )
    options: dict[str, Any] = {}
    for name, value in table.items():
        if name not in FIT_OPTIONS:
            raise PriorError(f"{path}: [fit] has no option {name!r}; it knows {', '.join(FIT_OPTIONS)}.", value=value)
        if FIT_OPTIONS[name] is str:
            if not isinstance(value, str):
                raise PriorError(f"{path}: [fit] {name} is {value!r}; it must be a text in quotes.", value=value)
            options[name] = value
            continue
        # 1e4 is how people write 10000, and a script's numbers may be numpy's.
        if isinstance(value, bool) or not isinstance(value, Real) or not float(value).is_integer():
            raise PriorError(f"{path}: [fit] {name} is {value!r}; it must be a whole number.", value=value)
        options[name] = int(float(value))
        least = 0 if name == "seed" else 1
        if options[name] < least:
            raise PriorError(f"{path}: [fit] {name} is {value}; it must be at least {least}.", value=value)
    return options


def _from_entry(name: str, entry: Any) -> Prior:
    if isinstance(entry, Mapping):
        return from_mapping(name, entry)
    if isinstance(entry, (str, bytes)) or not isinstance(entry, Iterable) or not (words := list(entry)):
        raise PriorError(
            f'{name}: {entry!r} is no prior; write (kind, numbers...), such as ("uniform", 0.0, 0.5).', name, entry
        )
    return from_words(name, words[0], words[1:])
