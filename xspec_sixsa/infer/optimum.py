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

STEP = 1e-5  # of probits, for differences
ITERATIONS = 60


def optimum(log_likelihood: Callable[[Points], Points], u: Points) -> Points:
    """A point of the unit cube (d,) where an emulated likelihood, free of rounding, is largest, from `u` (d,) on."""

    def downhill(z: Points) -> tuple[float, Points]:
        steps = STEP * np.eye(len(z))
        found = log_likelihood(ndtr(np.concatenate([z[None], z + steps, z - steps])).clip(EDGE, 1 - EDGE))
        forward, backward = found[1:].reshape(2, -1)
        return -float(found[0]), -(forward - backward) / (2 * STEP)

    begin = ndtri(np.clip(u, EDGE, 1 - EDGE))
    reach = 3.0 + np.abs(begin)  # from a good point, further than any optimum
    bounds = list(zip(begin - reach, begin + reach, strict=True))
    found = minimize(downhill, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS})
    return np.asarray(ndtr(found.x).clip(EDGE, 1 - EDGE))
