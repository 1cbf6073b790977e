"""p-values by simulated spectra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["REPLICAS", "SUSPECT", "share_worse"]

REPLICAS = 2000  # simulated spectra behind every p-value
SUSPECT = 0.01  # p-value from which something is said


def share_worse(worse: NDArray[np.bool_]) -> float:
    """Monte Carlo p-value, never zero (the data count among the simulated)."""
    return float((worse.sum() + 1) / (worse.size + 1))
