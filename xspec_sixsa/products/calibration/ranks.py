"""Where the truth lies among a posterior's draws, as a number that is uniform for a calibrated posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "uniform_rank"]

KINDS = ("weighted", "proposal", "network")
"""Exactly weighted posteriors; the same draws without their weights; the one network trained for all spectra."""


def uniform_rank(below: NDArray[np.bool_], weights: NDArray[np.float64], uniform: float) -> float:
    """Rank of the truth among weighted draws, made continuous: uniform in (0, 1) for a calibrated posterior.

    Parameters
    ----------
    below : ndarray of bool, shape (k,)
    weights : ndarray, shape (k,)
        Normalised. For k equal weights this is ``(rank + uniform) / (k + 1)``, which is exactly uniform; unequal ones
        count as their effective sample size.
    uniform : float
        Drawn from U(0, 1).
    """
    n = 1 / (weights**2).sum()
    return float((n * weights[below].sum() + uniform) / (n + 1))
