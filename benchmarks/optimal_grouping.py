"""The optimal grouping of Kaastra & Bleeker (2016, A&A 587, A151), as `ftgrouppha grouptype=opt` makes it."""

from __future__ import annotations

import numpy as np

from xspec_sixsa.embedded.ogip import RMF

GAUSSIAN = 1.314
"""Counts of a Gaussian line over those within its full width at half maximum."""


def fwhm_in_channels(rmf: RMF) -> np.ndarray:
    """Full width at half maximum of the response to a line at the energy of each channel, in channels.

    Returns
    -------
    ndarray (channels,)
        Half-maximum points are interpolated between channels; 1 where the response is empty.
    """
    by_energy = rmf.matrix.tocsc()
    by_energy.sort_indices()
    widths = np.ones(rmf.energy_lo.size)
    for i in range(widths.size):
        span = slice(by_energy.indptr[i], by_energy.indptr[i + 1])
        channel, value = by_energy.indices[span], by_energy.data[span]
        if not value.size:
            continue
        line = np.zeros(channel[-1] - channel[0] + 3)  # an empty channel on either side
        line[channel - channel[0] + 1] = value
        above = np.flatnonzero(line >= line.max() / 2)
        first, last = above[0], above[-1]
        rising = (line[first] - line.max() / 2) / (line[first] - line[first - 1])
        falling = (line[last] - line.max() / 2) / (line[last] - line[last + 1])
        widths[i] = max(last - first + rising + falling, 1.0)
    return np.interp((rmf.e_min + rmf.e_max) / 2, (rmf.energy_lo + rmf.energy_hi) / 2, widths)


def bin_widths(fwhm: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Optimal bin width at each channel, in channels: equations 36 and 37 of the paper.

    Parameters
    ----------
    fwhm : ndarray (channels,)
        Full width at half maximum, channels.
    counts : ndarray (channels,)
        Expected counts. (Observed ones let the noise choose the bins.)
    """
    at = np.arange(fwhm.size)
    total = np.concatenate([[0.0], np.cumsum(counts)])
    low = np.clip(np.round(at - fwhm / 2).astype(int), 0, fwhm.size)
    high = np.clip(np.round(at + fwhm / 2).astype(int) + 1, 0, fwhm.size)
    per_element = GAUSSIAN * (total[high] - total[low])
    elements = np.sum(1 / fwhm)
    x = np.log(np.maximum(per_element * (1 + 0.2 * np.log(elements)), 1.0))
    shrink = np.ones_like(x)
    many = x > 2.119
    shrink[many] = (0.08 + 7 / x[many] + 1.8 / x[many] ** 2) / (1 + 5.9 / x[many])
    return np.maximum((fwhm * shrink).astype(int), 1)


def optimal_grouping(fwhm: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The GROUPING column: 1 where a group starts, -1 where it goes on; see `bin_widths`.

    A group is nowhere wider than the optimal width at any of its channels.
    """
    reach = np.arange(fwhm.size) + bin_widths(fwhm, counts)
    flags = np.full(fwhm.size, -1)
    start = 0
    while start < fwhm.size:
        flags[start] = 1
        start = reach[start : reach[start]].min()
    return flags
