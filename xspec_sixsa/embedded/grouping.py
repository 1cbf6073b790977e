"""How detector channels become the channels XSPEC counts: GROUPING, QUALITY and what they do to each array.

A channel of QUALITY 1 does not exist for XSPEC; the others (2-5) are only dropped by `ignore bad`.  Rules checked
against XSPEC 12.9.1; GROUPING and QUALITY are defined in OGIP memo OGIP-92-007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xspec_sixsa.embedded.ogip import PHA
from xspec_sixsa.embedded.state import XspecError

__all__ = ["GroupedSpectrum", "Grouping", "group_spectrum", "make_grouping"]


@dataclass(frozen=True)
class Grouping:
    """The map from a file's channels to groups.

    Attributes
    ----------
    group_of : ndarray of int (n,)
        Group of every channel of the file, from 0; -1 for channels that are dropped (QUALITY 1).
    quality : ndarray of int (groups,)
        Worst quality in each group.
    """

    group_of: np.ndarray
    quality: np.ndarray

    @property
    def size(self) -> int:
        """Number of groups."""
        return self.quality.size

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` (n,) in each group."""
        kept = self.group_of >= 0
        return np.bincount(self.group_of[kept], weights=values[kept], minlength=self.size)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Largest of `values` (n,) in each group."""
        kept = self.group_of >= 0
        out = np.full(self.size, -np.inf)
        np.maximum.at(out, self.group_of[kept], values[kept])
        return out

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last channel of the file (0-based) in each group."""
        kept = np.flatnonzero(self.group_of >= 0)
        starts = np.flatnonzero(np.diff(self.group_of[kept], prepend=-1) != 0)
        return kept[starts], kept[np.append(starts[1:], kept.size) - 1]


def make_grouping(pha: PHA) -> Grouping:
    """Combine a file's GROUPING and QUALITY as XSPEC does.

    A group starts at every +1, at the first good channel, and wherever the quality changes.

    Raises
    ------
    XspecError
        When every channel has QUALITY 1.
    """
    n = pha.values.size
    quality = np.zeros(n, int) if pha.quality is None else pha.quality
    good = quality != 1
    if not good.any():
        raise XspecError(f"{pha.path}: all {n} channels have QUALITY 1 (bad); nothing is left to fit. Correct QUALITY.")
    kept = quality[good]
    starts = np.ones(kept.size, bool)
    if pha.grouping is not None:
        starts = (pha.grouping[good] != -1) | (np.diff(kept, prepend=kept[:1]) != 0)
        starts[0] = True
    group_of = np.full(n, -1)
    group_of[good] = np.cumsum(starts) - 1
    worst = np.zeros(starts.sum(), int)
    np.maximum.at(worst, group_of[good], kept)
    return Grouping(group_of, worst)


@dataclass(frozen=True)
class GroupedSpectrum:
    """Arrays of a spectrum by group, in XSPEC's units.

    Attributes
    ----------
    rate, variance : ndarray (groups,)
        Counts/s per unit of AREASCAL and its variance, for a background already scaled to the source region.
    area_scale, back_scale : ndarray (groups,)
    poisson : bool
        Variance equals counts in every group (within 1e-5 counts), XSPEC's own test.
    """

    rate: np.ndarray
    variance: np.ndarray
    area_scale: np.ndarray
    back_scale: np.ndarray
    poisson: bool


def _group_scale(grouping: Grouping, values: np.ndarray, scale: np.ndarray, plain: bool) -> np.ndarray:
    """Mean of a scale over each group; weighted by the counts unless the spectrum is net, or has none."""
    size = grouping.sum(np.ones_like(scale))
    if plain:
        return grouping.sum(scale) / size
    inverse = np.divide(1.0, scale, out=np.ones_like(scale), where=scale != 0)
    total, weighted = grouping.sum(values), grouping.sum(values * inverse)
    harmonic = size / grouping.sum(inverse)
    return np.divide(total, weighted, out=harmonic, where=weighted != 0)


def group_spectrum(pha: PHA, grouping: Grouping, source_back_scale: np.ndarray | None = None) -> GroupedSpectrum:
    """Group a spectrum or, with the source's BACKSCAL (groups,), a background, and turn it into rates."""
    values = pha.values
    if pha.poisson:
        # Errors of a RATE file with POISSERR: counts = rate x exposure.
        variance = np.maximum(values, 0.0) / (1.0 if pha.is_counts else pha.exposure)
    else:
        variance = np.zeros_like(values) if pha.stat_err is None else pha.stat_err**2
    total, spread = grouping.sum(values), grouping.sum(variance)
    if pha.sys_err is not None:
        spread = spread + (grouping.largest(pha.sys_err) * total) ** 2
    # A background's scales are always weighted by its counts (XSPEC has no net background).
    plain = pha.net and source_back_scale is None
    area = _group_scale(grouping, values, pha.area_scale, plain)
    back = _group_scale(grouping, values, pha.back_scale, plain)
    norm = 1.0 / area / (pha.exposure if pha.is_counts else 1.0)
    to_counts = area * pha.exposure
    if source_back_scale is not None:
        ratio = back / source_back_scale
        norm, to_counts = norm / ratio, to_counts * ratio
    rate, spread = total * norm, spread * norm**2
    to_counts = np.where(to_counts == 0, 1.0, to_counts)
    poisson = bool((np.abs(rate * to_counts - spread * to_counts**2) <= 1e-5).all())
    return GroupedSpectrum(rate, spread, area, back, poisson)
