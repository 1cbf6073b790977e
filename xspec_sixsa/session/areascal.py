"""In what units XSPEC gives the arrays of a spectrum with AREASCAL: its releases differ, its files and rates tell.

Up to XSPEC 12.11, rates are counts/s divided by AREASCAL. Since 12.12 `Spectrum.values` and `Background.values` are not
(PyXspec's release notes, 2.0.5). The notes do not say whether a background is then scaled to the source's AREASCAL, nor
how variances and folded models are given. So nothing is taken for granted: the unit is the one in which the arrays give
what is in the files and what XSPEC itself states as the spectrum's rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xspec_sixsa.embedded.grouping import Grouping, make_grouping
from xspec_sixsa.embedded.ogip import PHA, read_pha
from xspec_sixsa.session.parameters import applies, model_objects

__all__ = ["AreaUnits", "Companion", "find_units", "folded_unit", "variances"]

Vector = NDArray[np.float64]

DIVIDED, EXPECTED, RECORDED = "divided", "expected", "recorded"

TOLERANCE = 1e-5  # files hold counts, rates and AREASCAL in single precision, and XSPEC sums in another order


@dataclass(frozen=True)
class Companion:
    """A background or correction of a spectrum: its arrays at the noticed groups, and how it is scaled.

    Attributes
    ----------
    file : str
    values, variance : ndarray (n,)
        A correction's variance is empty.
    area, back : ndarray (n,)
        AREASCAL of its file; BACKSCAL of its file over that of the source's.
    cornorm : float or None
        What a correction is multiplied by when it is subtracted; None for a background.
    """

    file: str
    values: Vector
    variance: Vector
    area: Vector
    back: Vector
    cornorm: float | None = None


@dataclass(frozen=True)
class AreaUnits:
    """What brings XSPEC's arrays to counts/s per unit of AREASCAL, by noticed group.

    Attributes
    ----------
    area : ndarray (n,)
        The source's AREASCAL.
    convention : {"divided", "expected", "recorded"}
        Arrays are divided by AREASCAL; or are counts/s, backgrounds scaled to the source's AREASCAL; or not scaled.
    """

    area: Vector
    convention: str = DIVIDED

    @property
    def source(self) -> Vector:
        """For the source's array."""
        return np.ones_like(self.area) if self.convention == DIVIDED else 1.0 / self.area

    def of(self, companion: Companion) -> Vector:
        """For the array of a background or correction."""
        return 1.0 / companion.area if self.convention == RECORDED else self.source


def find_units(spectrum: Any, values: Vector, area: Vector, companions: Sequence[Companion]) -> AreaUnits | None:
    """Find out whether the arrays of a spectrum are divided by AREASCAL.

    Parameters
    ----------
    spectrum : Spectrum
        PyXspec's.
    values, area : ndarray (n,)
        `values` and AREASCAL of the noticed groups.
    companions : sequence of Companion
        The background and the correction, where there are any.

    Returns
    -------
    AreaUnits or None
        "divided" where AREASCAL is 1 throughout: it makes no difference then. None where the arrays agree with neither
        the files nor the rates in any unit.
    """
    divided = AreaUnits(area)
    if all((one == 1.0).all() for one in (area, *(c.area for c in companions))):
        return divided
    choices = [divided, AreaUnits(area, EXPECTED), AreaUnits(area, RECORDED)]
    arrays = [values, *(c.values for c in companions)]
    written = _rates_in_files(spectrum, area, companions)
    if written is not None:
        for units in choices:
            scales = [units.source, *(units.of(c) for c in companions)]
            if all(_same(a * s, w) for a, s, w in zip(arrays, scales, written, strict=True)):
                return units
    for units in choices:
        if _same(_totals(units, values, companions), [spectrum.rate[2], spectrum.rate[0]]):
            return units
    return None


def variances(
    spectrum: Any, units: AreaUnits, variance: Vector, background: Companion | None
) -> tuple[Vector, Vector] | None:
    """Variances of the rates of source and background per unit of AREASCAL, by noticed group.

    In the units of `values`, or divided by AREASCAL squared all the same: whichever gives the error that XSPEC states
    for its net rate. None where neither does.
    """
    for choice in (units, AreaUnits(units.area)):
        own = variance * choice.source**2
        behind = np.zeros_like(own) if background is None else background.variance * choice.of(background) ** 2
        total = float(units.area**2 @ (own + behind))
        # PyXspec's manual calls it the variance of the net rate; what 12.9.1 gives is the error
        if units.convention == DIVIDED or any(_same([one], [spectrum.rate[1]]) for one in (total**0.5, total)):
            return own, behind
    return None


def folded_unit(module: ModuleType, spectrum: Any, index: int, units: AreaUnits) -> Vector | None:
    """Counts/s per unit of ``Model.folded``, by noticed group: that in which XSPEC's own model rate comes out.

    None where neither the unit of `values` nor AREASCAL gives it.
    """
    objects = model_objects(module)
    models = [m for _, group, m in objects if group == int(spectrum.dataGroup) and applies(m, index)]
    if units.convention == DIVIDED:
        return units.area
    undivided = np.ones_like(units.area)
    if not models:
        return undivided
    folded = np.sum([np.asarray(model.folded(index), dtype=float) for model in models], axis=0)
    for unit in (undivided, units.area):
        if _same([unit @ folded], [spectrum.rate[3]]):
            return unit
    return None


def _same(found: ArrayLike, wanted: ArrayLike) -> bool:
    found, wanted = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= TOLERANCE * np.abs(wanted).max()).all())


def _totals(units: AreaUnits, values: Vector, companions: Sequence[Companion]) -> list[float]:
    """Total and net rate, counts/s: a correction is subtracted from both, a background from the net one only."""
    total = net = float(units.area @ (units.source * values))
    for one in companions:
        rate = float(units.area @ (units.of(one) * one.values))
        if one.cornorm is None:
            net -= rate
        else:
            net, total = net - one.cornorm * rate, total - one.cornorm * rate
    return [total, net]


def _rates_in_files(spectrum: Any, area: Vector, companions: Sequence[Companion]) -> list[Vector] | None:
    """Counts/s in the source region per unit of AREASCAL, by noticed group, of the files; None where unread."""
    noticed = np.asarray(spectrum.noticed, dtype=int) - 1
    try:
        pha = read_pha(spectrum.fileName)
        grouping = make_grouping(pha)
        rates = [_grouped(pha, grouping)[noticed] / area]
        for one in companions:
            other = _grouped(read_pha(one.file, spectrum.fileName, "background"), grouping)[noticed]
            rates.append(other / (one.area * one.back))
    except Exception:  # moved, simulated in memory, of type II: XSPEC's rates decide
        return None
    return rates


def _grouped(pha: PHA, grouping: Grouping) -> Vector:
    return grouping.sum(pha.values) / (pha.exposure if pha.is_counts else 1.0)
