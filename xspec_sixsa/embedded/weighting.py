"""Variances under XSPEC's weighting schemes (XSPEC manual, command "weight")."""

from __future__ import annotations

import numpy as np

from xspec_sixsa.embedded.state import XspecError

__all__ = ["WEIGHTS", "weighted_variance"]

WEIGHTS = ("standard", "model", "gehrels", "churazov")


def weighted_variance(weight: str, rate: np.ndarray, variance: np.ndarray, to_counts: np.ndarray) -> np.ndarray:
    """Return the variance of rates by group.

    Parameters
    ----------
    weight : {"standard", "model", "gehrels", "churazov"}
        "model" is applied during the fit; here it is as "standard".
    rate, variance : ndarray (groups,)
        As in the file.
    to_counts : ndarray (groups,)
        Counts per unit of rate.

    Notes
    -----
    Gehrels (1986): sigma = 1 + sqrt(N + 0.75).  Churazov et al. (1996): the mean over a window about each bin,
    widened on both sides until it holds 20 counts.
    """
    if weight in ("standard", "model"):
        return variance
    counts = rate * to_counts
    if weight == "gehrels":
        return ((np.sqrt(counts + 0.75) + 1.0) / to_counts) ** 2
    if weight == "churazov":
        # Summed outwards one by one, as XSPEC does: whether a window of whole counts reaches 20 hangs on rounding.
        n = counts.size
        out = np.empty(n)
        for i in range(n):
            total, bins, reach = counts[i], 1, 0
            while total < 20.0 and (i - reach >= 0 or i + reach < n):
                reach += 1
                for j in (i - reach, i + reach):
                    if 0 <= j < n:
                        total, bins = total + counts[j], bins + 1
            out[i] = total / (bins * to_counts[i] ** 2)
        return out
    raise XspecError(f"*** Unrecognized weighting scheme: {weight!r}. Choose one of {', '.join(WEIGHTS)}.")
