"""Set up a problem of ../shared/problems.toml (beside the checkout) or problems.toml in a PyXspec-speaking module.

Faked spectra are made here as that file says: the expected counts of every channel at the truth, through the module's
own model and response, and Poisson noise by numpy's generator with the problem's seed.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tomllib

from xspec_sixsa.common.files import working_directory
from xspec_sixsa.embedded.ogip import PHA, read_pha, read_rmf, write_pha
from xspec_sixsa.priors import Prior, loguniform, uniform

sys.path.insert(0, str(Path(__file__).parent))
from optimal_grouping import fwhm_in_channels, optimal_grouping

SHARED = Path(__file__).resolve().parents[2] / "shared"
OWN = Path(__file__).with_name("problems.toml")
KINDS = {"uniform": uniform, "loguniform": loguniform}

FIXED: dict[str, dict[str, float | str]] = {
    "two_modes": {"mekal.switch": 0, "mekal_2.switch": 0, "mekal_2.Redshift": "mekal.Redshift"},
    "lines": {"mekal.switch": 0, "mekal.nH": 1e-3},
    "narrow_line": {"gaussian.Sigma": 0.05},
    "two_lines": {"gaussian.Sigma": 0.05, "gaussian_4.Sigma": 0.05},
    "twelve_parameters": {"zTBabs.Redshift": 0.02},
    "ten_parameters": {
        "zphabs.Redshift": 0.02,
        "mekal.switch": 0,
        "mekal.Redshift": 0.02,
        "mekal_5.switch": 0,
        "mekal_5.Redshift": 0.02,
        "mekal_5.Abundanc": "mekal.Abundanc",
        "gaussian.Sigma": 0.05,
    },
}
"""What problems.toml says in comments: values that are frozen, and parameters that follow another."""
SPECTRA = {"ten_parameters": 2}
"""Faked data groups, where there is more than one."""
MODES = {"two_modes": ("kT__1", "kT__7")}
"""Parameters that trade places between two modes."""
OPTIMAL = {"high_resolution"}
"""Faked spectra with the optimal grouping of Kaastra & Bleeker (2016), for the expected counts."""


def definition(name: str) -> dict[str, Any]:
    """The problem's table, its base's entries included."""
    table = tomllib.loads((SHARED / "problems.toml").read_text()) | tomllib.loads(OWN.read_text())
    entry = table[name]
    return (definition(entry["base"]) if "base" in entry else {}) | entry


def load(name: str, xspec: ModuleType, folder: Path | None = None) -> list[Prior]:
    """Load data and model into `xspec`; return the priors.

    Parameters
    ----------
    folder : path, optional
        Where faked spectra are written; default: one that is gone when this process ends.
    """
    problem = definition(name)
    if "fake" in problem:
        files = fake(name, problem, xspec, folder or Path(temporary_folder().name))
    else:
        names = problem["data"] if isinstance(problem["data"], list) else [problem["data"]]
        files = [SHARED / "data" / file for file in names]
    return set_up(name, problem, xspec, files)


def set_up(name: str, problem: dict[str, Any], xspec: ModuleType, files: Sequence[Path]) -> list[Prior]:
    """Load `files`, each a data group, and the problem's model; return the priors."""
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.Xset.chatter = 0
    xspec.Xset.allowPrompting = False
    xspec.Xset.abund, xspec.Xset.xsect = "wilm", "vern"
    with working_directory(files[0].parent):
        xspec.AllData(" ".join(f"{i}:{i} {file.name}" for i, file in enumerate(files, 1)))
        background = problem.get("background")
        if background is not None and "fake" not in problem:
            xspec.AllData(1).background = None if background == "none" else background
        xspec.Fit.statMethod = problem.get("statistic", "cstat")
        for part in problem.get("ignore", "").split():
            xspec.AllData.ignore(part)
        xspec.Model(problem["model"])
    for key, value in FIXED.get(name, {}).items():
        parameter = parameter_of(key, xspec)
        if isinstance(value, str):
            parameter.link = f"p{parameter_of(value, xspec).index}"
        else:
            parameter.values = value
            parameter.frozen = True
    return [prior_of(key, entry, xspec) for key, entry in problem["priors"].items()]


def parameter_of(key: str, xspec: ModuleType) -> Any:
    """`component.parameter[:group]`."""
    name, _, group = key.partition(":")
    component, parameter = name.split(".")
    return getattr(getattr(xspec.AllModels(int(group or 1)), component), parameter)


def prior_of(key: str, entry: list[Any], xspec: ModuleType) -> Prior:
    """`component.parameter[:group]` and [kind, low, high] to a prior; frees the parameter of a later group."""
    name, _, group = key.partition(":")
    target = parameter_of(key, xspec)
    if group:  # free in this group, fixed at one in the first
        first = parameter_of(name, xspec)
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
    return KINDS[entry[0]]((xspec.AllModels(int(group or 1)), target.index), low, high)


def fake(name: str, problem: dict[str, Any], xspec: ModuleType, folder: Path) -> list[Path]:
    """Write the problem's faked spectra into `folder`, with the noise, grouping and quality that it asks for.

    An exposure that is given by its counts gives these in the noticed channels, in every spectrum.
    """
    recipe = problem["fake"]
    blank = template(problem)
    files = [folder / f"{name}_{i + 1}.pha" for i in range(SPECTRA.get(name, 1))]
    for file in files:
        write_pha(file, replace(blank, exposure=recipe.get("exposure", 1.0), grouping=None, quality=None))
    priors = set_up(name, problem, xspec, files)
    for prior, value in zip(priors, recipe["truth"], strict=True):
        model, index = prior.parameter
        model.setPars({index: value})
    noticed = [np.array(xspec.AllData(i + 1).noticed) - blank.first_channel for i in range(len(files))]
    xspec.AllData.notice("all")
    rng = np.random.default_rng(recipe["fake_seed"])
    for i, file in enumerate(files):
        spectrum = xspec.AllData(i + 1)
        rate = np.array(xspec.AllModels(spectrum.dataGroup).folded(i + 1))
        exposure = recipe["exposure"] if "exposure" in recipe else recipe["counts"] / rate[noticed[i]].sum()
        grouping = blank.grouping
        if name in OPTIMAL:
            fwhm = fwhm_in_channels(read_rmf(str(SHARED / "data" / problem["response"])))
            grouping = optimal_grouping(fwhm, rate * exposure)
        write_pha(file, replace(blank, exposure=exposure, values=rng.poisson(rate * exposure), grouping=grouping))
    return files


def template(problem: dict[str, Any]) -> PHA:
    """A spectrum of one count a channel on the problem's response, grouped as its real file is."""
    data = SHARED / "data"
    if "data" not in problem:
        rmf = read_rmf(str(data / problem["response"]))
        channels = rmf.first_channel + np.arange(rmf.detchans)
        return PHA(
            "fake", np.ones(rmf.detchans, dtype=int), channels, 1.0, first_channel=rmf.first_channel,
            detchans=rmf.detchans, respfile=str(data / problem["response"]), ancrfile=str(data / problem["arf"]),
            telescope=rmf.telescope, instrument=rmf.instrument, channel_type=rmf.channel_type,
        )  # fmt: skip
    real = data / problem["data"]
    pha = read_pha(str(real))
    return replace(
        pha, values=np.ones(pha.values.size, dtype=int), backfile="", corrfile="",
        respfile=str(real.parent / pha.respfile), ancrfile=str(real.parent / pha.ancrfile),
    )  # fmt: skip


@functools.cache
def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """One a process, kept as long as the process runs."""
    return tempfile.TemporaryDirectory(prefix="sixsa-problems-")
