"""How well a model predicts each bin from the others: leave-one-out by Pareto-smoothed importance sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.importance import pareto_tail

__all__ = ["LeaveOneOut", "leave_one_out"]


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Leave-one-out predictions of n bins.

    Attributes
    ----------
    elpd : ndarray (n,)
        Expected log predictive density: ln p of each bin under the posterior from all other bins.
    p : ndarray (n,)
        Effective parameters: how much better each bin is described with itself among the data. They sum to about the
        number of parameters that the data determine.
    k : ndarray (n,)
        Pareto shape of the weights that leave the bin out; above `limit`, its `elpd` is not to be trusted.
    draws : float
        Independent ones that the draws are worth.
    monte_carlo_err : float
        Error of the sum of `elpd` from having so many draws only.
    """

    elpd: NDArray[np.float64]
    p: NDArray[np.float64]
    k: NDArray[np.float64]
    draws: float
    monte_carlo_err: float

    @property
    def limit(self) -> float:
        """``min(1 - 1 / log10(draws), 0.7)`` (Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3.2.4)."""
        return min(1 - 1 / np.log10(max(self.draws, 2)), 0.7)

    @property
    def doubtful(self) -> NDArray[np.bool_]:
        """Bins that weigh so much on the posterior that its draws do not tell what it were without them, (n,)."""
        return self.k > self.limit


def leave_one_out(log_p: NDArray[np.float64], ess: float = np.inf) -> LeaveOneOut:
    """PSIS-LOO (Vehtari, Gelman & Gabry 2017, Statistics and Computing 27, 1413).

    Parameters
    ----------
    log_p : ndarray (draws, n)
        ln p(observed bin | draw), for draws of equal weight.
    ess : float
        Effective sample size of the weighted draws that these were resampled from: where it is smaller than their
        number, some came twice. Default: they are independent.
    """
    draws, n = log_p.shape
    elpd, p, k = np.empty((3, n))
    influence = np.zeros(draws)
    for i, column in enumerate(log_p.T):
        log_weights, k[i] = _without_bin(column)
        elpd[i] = _log_sum(log_weights + column)
        p[i] = _log_sum(column) - np.log(draws) - elpd[i]
        influence += draws * np.exp(log_weights)
    # elpd is nearly -ln mean(1/p): a draw moves it by its weight over the mean one; the bins share their draws
    worth = float(min(draws, ess))
    return LeaveOneOut(elpd, p, k, worth, float(influence.std() / np.sqrt(worth)))


def _without_bin(log_p: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Log weights, normalised, that take the bin out of the posterior, their tail smoothed; and its Pareto shape."""
    log_weights = log_p.min() - log_p
    tail = pareto_tail(log_weights)
    if np.isfinite(tail.k):
        above = np.flatnonzero(np.exp(log_weights) > tail.threshold)
        above = above[np.argsort(log_weights[above])]
        survival = 1 - (np.arange(above.size) + 0.5) / above.size
        excess = tail.sigma * (survival**-tail.k - 1) / tail.k  # quantiles of the generalised Pareto distribution
        log_weights[above] = np.minimum(np.log(tail.threshold + excess), 0.0)
    return log_weights - _log_sum(log_weights), tail.k


def _log_sum(values: NDArray[np.float64]) -> float:
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum()))
