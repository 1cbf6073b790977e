"""The best fit by an emulator: where XSPEC's own fit is to begin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri

from xspec_sixsa.infer.coordinates import EDGE

__all__ = ["optimum"]

Points = NDArray[np.float64]

STEP = 1e-4  # of the draws' standard deviations, for differences
REACH = 10.0  # of these: from a good point, further than any optimum
ITERATIONS = 60
LEAST = 1e-12  # of the draws' variance, along which they may have none


def optimum(log_likelihood: Callable[[Points], Points], draws: Points, best: int) -> Points:
    """A point of the unit cube (d,) where an emulated likelihood, free of rounding, is largest.

    Parameters
    ----------
    log_likelihood : callable
        Of points (n, d); shape (n,).
    draws : ndarray, shape (n, d)
        Of about its posterior: parameters that make up for each other are no narrow valley in their coordinates.
    best : int
        Which of them the search begins with.
    """
    z = ndtri(np.clip(draws, EDGE, 1 - EDGE))
    covariance = np.atleast_2d(np.cov(z.T)) if len(z) > 1 else np.eye(z.shape[1])
    factor = np.linalg.cholesky(covariance + LEAST * max(np.trace(covariance), LEAST) * np.eye(z.shape[1]))
    steps = STEP * np.eye(z.shape[1])

    def point(x: Points) -> Points:
        return ndtr(z[best] + x @ factor.T).clip(EDGE, 1 - EDGE)

    def downhill(x: Points) -> tuple[float, Points]:
        found = log_likelihood(point(np.concatenate([x[None], x + steps, x - steps])))
        forward, backward = found[1:].reshape(2, -1)
        return -float(found[0]), -(forward - backward) / (2 * STEP)

    found = minimize(
        downhill, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", bounds=[(-REACH, REACH)] * z.shape[1],
        options={"maxiter": ITERATIONS},
    )  # fmt: skip
    return point(found.x)
