"""Neighbouring bins that tell the same: they can be taken together, and nearly the same likelihood costs far less.

The sum of Poisson counts is sufficient for their common intensity (Fisher 1922): what two bins tell apart is lost, and
that is little where all known curves go up and down in both together. As optimal grouping does (Kaastra & Bleeker 2016,
A&A 587, A151), but with the model's own curves in place of the instrument's resolution: a line that may be anywhere
keeps its bins, a continuum is left with few.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.partmap import PartMap

__all__ = ["alike"]

MOST = 64  # bins in a group


def alike(maps: Sequence[PartMap], edges: Sequence[int], lost: float) -> NDArray[np.int_]:
    """First bins (groups,) of the groups of bins in which the maps' curves are alike.

    Parameters
    ----------
    maps : sequence of PartMap
    edges : sequence of int
        Ascending, from 0 to the number of bins: no group goes across.
    lost : float
        Share of a curve's squared distance from the typical one, in units of noise, that may be lost.
    """
    bins = np.arange(edges[-1])
    allowed = lost / len(bins)
    first, together = np.ones(len(bins), dtype=bool), np.ones(len(bins), dtype=bool)
    size = 2
    while size <= MOST:
        starts = np.concatenate([np.arange(begin, end, size) for begin, end in itertools.pairwise(edges)])
        widths = np.diff(starts, append=len(bins))
        good = (sum(m.lost(starts) for m in maps) <= allowed * widths) & np.logical_and.reduceat(together, starts)
        together = np.repeat(good, widths)
        first &= ~together | np.isin(bins, starts)
        size *= 2
    return np.flatnonzero(first)
