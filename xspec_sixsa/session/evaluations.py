"""What a batch of parameter sets gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Evaluations"]


@dataclass(frozen=True, eq=False)
class Evaluations:
    """What a batch of parameter sets gave.

    Attributes
    ----------
    theta : ndarray (n, d)
        Physical parameter values.
    counts : ndarray (n, n_bins)
        Expected source counts, all spectra one after the other; NaN or meaningless where not `ok`.
    statistic : ndarray (n,)
        XSPEC's fit statistic; NaN where not `ok`.
    ok : ndarray of bool (n,)
    reasons : list of str
        Why a row is not `ok`; empty where it is.
    """

    theta: np.ndarray
    counts: np.ndarray
    statistic: np.ndarray
    ok: np.ndarray
    reasons: list[str]

    @property
    def log_likelihood(self) -> np.ndarray:
        """Minus half the statistic (up to a constant), -inf where the evaluation failed; (n,)."""
        return np.where(self.ok, -0.5 * self.statistic, -np.inf)

    def __len__(self) -> int:
        return len(self.theta)
