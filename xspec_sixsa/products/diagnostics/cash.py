"""C-stat bin by bin, and what is expected of it."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.stats import poisson

__all__ = ["cash", "cash_moments"]

Vector = NDArray[np.float64]


def cash(x: Vector, m: Vector) -> Vector:
    """C of each bin: ``2 (m - x + x ln(x/m))`` (Cash 1979)."""
    return 2 * (m - x + np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0) / m), 0.0))


def cash_moments(m: Vector) -> tuple[Vector, Vector]:
    """Expectation and variance of a bin's C-stat when `m` counts are expected (Kaastra 2017, eqs. 4-6).

    Parameters
    ----------
    m : ndarray

    Returns
    -------
    mean, variance : ndarray
        Of ``m``'s shape. Above 10,000 counts the limits 1 and 2 of chi-squared, to which both have come within 1e-4.
    """
    splines = _moment_splines()
    x = np.log(np.clip(m, 1e-6, 1e4))
    mean, variance = (np.exp(spline(x)) for spline in splines)
    large = np.asarray(m) > 1e4
    return np.where(large, 1.0, mean), np.where(large, 2.0, variance)


@functools.cache
def _moment_splines() -> list[CubicSpline]:
    grid = np.geomspace(1e-6, 1e4, 400)
    moments = []
    for m in grid:
        k = np.arange(max(0, int(m - 12 * np.sqrt(m))), int(m + 12 * np.sqrt(m)) + 40, dtype=float)
        p, c = poisson.pmf(k, m), cash(k, np.full(len(k), m))
        mean = (p * c).sum()
        moments.append((mean, (p * (c - mean) ** 2).sum()))
    return [CubicSpline(np.log(grid), np.log(column)) for column in np.array(moments).T]
