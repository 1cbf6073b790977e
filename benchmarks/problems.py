"""Set up a problem of ../shared/problems.toml (beside the checkout) in a PyXspec-speaking module."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import tomllib

from xspec_sixsa._files import working_directory
from xspec_sixsa.priors import Prior, loguniform, uniform

SHARED = Path(__file__).resolve().parents[2] / "shared"
KINDS = {"uniform": uniform, "loguniform": loguniform}


def definition(name: str) -> dict[str, Any]:
    """The problem's table, its base's entries included."""
    table = tomllib.loads((SHARED / "problems.toml").read_text())
    entry = table[name]
    return (definition(entry["base"]) if "base" in entry else {}) | entry


def load(name: str, xspec: ModuleType) -> list[Prior]:
    """Load data and model into `xspec`; return the priors.

    Raises
    ------
    ValueError
        For a problem that is faked: those are not set up here yet.
    """
    problem = definition(name)
    if "fake" in problem:
        raise ValueError(f"{name} is a faked spectrum, which this set-up does not make yet.")
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.Xset.chatter = 0
    xspec.Xset.allowPrompting = False
    xspec.Xset.abund, xspec.Xset.xsect = "wilm", "vern"
    files = problem["data"] if isinstance(problem["data"], list) else [problem["data"]]
    with working_directory((SHARED / "data" / files[0]).parent):
        names = [Path(file).name for file in files]
        xspec.AllData(" ".join(f"{i}:{i} {file}" for i, file in enumerate(names, 1)))
        background = problem.get("background")
        if background is not None:
            xspec.AllData(1).background = None if background == "none" else background
        xspec.Fit.statMethod = problem.get("statistic", "cstat")
        for part in problem.get("ignore", "").split():
            xspec.AllData.ignore(part)
        xspec.Model(problem["model"])
    return [prior_of(name, key, entry, xspec) for key, entry in problem["priors"].items()]


def prior_of(problem: str, key: str, entry: list[Any], xspec: ModuleType) -> Prior:
    """`component.parameter[:group]` and [kind, low, high] to a prior; frees the parameter of a later group."""
    name, _, group = key.partition(":")
    component, parameter = name.split(".")
    model = xspec.AllModels(int(group or 1))
    target = getattr(getattr(model, component), parameter)
    if group:  # free in this group, fixed at one in the first
        first = getattr(getattr(xspec.AllModels(1), component), parameter)
        target.untie()
        target.frozen = False
        first.values = 1.0
        first.frozen = True
    low, high = entry[1:]
    _, delta, hard_low, _, _, hard_high = target.values
    # XSPEC's default limits hold these ranges, but for the hard ones that stay
    target.values = [
        (low * high) ** 0.5 if low > 0 else 0.5 * (low + high),
        abs(delta),
        hard_low,
        hard_low,
        hard_high,
        hard_high,
    ]
    return KINDS[entry[0]]((model, target.index), low, high)
