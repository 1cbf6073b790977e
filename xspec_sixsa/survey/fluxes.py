"""Fluxes of a survey's spectra: XSPEC's own, at draws of each posterior; one evaluation of a draw serves all bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType

from xspec_sixsa.products.derived import ERG, derive_in_xspec
from xspec_sixsa.result import Result
from xspec_sixsa.survey.catalogue import Row

__all__ = ["Band", "checked_bands", "flux_name", "flux_row"]

Band = tuple[float, float]

DRAWS = 200  # of a posterior: a median's error is then 9 % of the interval's half


def checked_bands(bands: Iterable[Sequence[float]]) -> list[Band]:
    """Bands as pairs of energies, keV.

    Raises
    ------
    ValueError
        For one that is none.
    """
    found: list[Band] = []
    for band in bands:
        if isinstance(band, str) or not isinstance(band, Sequence) or len(band) != 2 or not 0 <= band[0] < band[1]:
            raise ValueError(f"flux band {band}: give the lower end and the upper one, both in keV: [0.5, 10.0].")
        found.append((float(band[0]), float(band[1])))
    return found


def flux_name(band: Band) -> str:
    """The start of its columns' names."""
    return f"flux_{band[0]:g}_{band[1]:g}"


def flux_row(result: Result, bands: Sequence[Band], module: ModuleType) -> tuple[Row, int]:
    """Medians and 68 % intervals (erg cm^-2 s^-1) of the model's flux by column's name, and the evaluations they took.

    Parameters
    ----------
    result : Result
        Of the spectrum that XSPEC holds now.
    bands : sequence of (float, float)
    module : module
    """

    def measure(xspec: ModuleType) -> list[float]:
        fluxes = []
        for low, high in bands:
            xspec.AllModels.calcFlux(f"{low!r} {high!r}")
            fluxes.append(xspec.AllData(1).flux[0])
        return fluxes

    names = [flux_name(band) for band in bands]
    found = derive_in_xspec(result, measure, names, [ERG] * len(bands), draws=DRAWS, xspec=module)
    median, inner = found.quantile(0.5), found.interval(0.68)
    row: Row = {}
    for i, name in enumerate(names):
        row |= {f"{name}_median": float(median[i])}
        row |= {f"{name}_low68": float(inner[i, 0]), f"{name}_high68": float(inner[i, 1])}
    return row, found.evaluations
