"""Weighted draws, and what is read off them: mean, covariance, quantiles, limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

__all__ = ["LARGEST_K_HAT", "WeightedDraws", "weighted_quantile"]

LARGEST_K_HAT = 0.7  # up to which the shape of the weights' tail is trusted (Vehtari et al. 2024, arXiv 1507.02646)


class WeightedDraws:
    """Numbers of weighted draws, for classes that have ``samples`` (n, d) and ``weights`` (n,), which sum to 1."""

    samples: np.ndarray

    if TYPE_CHECKING:

        @property
        def weights(self) -> np.ndarray:  # noqa: D102
            ...

    @property
    def mean(self) -> np.ndarray:
        """Posterior mean (d,)."""
        keep, w = self._weighted()
        return w @ self.samples[keep]

    @property
    def covariance(self) -> np.ndarray:
        """Posterior covariance (d, d)."""
        keep, w = self._weighted()
        centred = self.samples[keep] - w @ self.samples[keep]
        return (centred * w[:, None]).T @ centred

    @property
    def sd(self) -> np.ndarray:
        """Posterior standard deviation (d,)."""
        return np.sqrt(np.diag(self.covariance))

    def quantile(self, q: float | Iterable[float]) -> np.ndarray:
        """Weighted quantiles of every column: (d,) for one `q` in [0, 1], (len(q), d) for several."""
        keep, w = self._weighted()
        columns = [weighted_quantile(self.samples[keep, i], q, w) for i in range(self.samples.shape[1])]
        return np.stack(columns, axis=-1)

    def interval(self, level: float = 0.68) -> np.ndarray:
        """Central credible interval of every column, (d, 2)."""
        return self.quantile([0.5 - level / 2, 0.5 + level / 2]).T

    def upper_limit(self, level: float = 0.9) -> np.ndarray:
        """What each column is below with probability `level`, (d,)."""
        return self.quantile(level)

    def lower_limit(self, level: float = 0.9) -> np.ndarray:
        """What each column is above with probability `level`, (d,)."""
        return self.quantile(1 - level)

    def _weighted(self) -> tuple[np.ndarray, np.ndarray]:
        """Which draws have weight, and their weights."""
        w = self.weights
        keep = w > 0
        if not keep.any():
            raise ValueError(f"None of the {w.size} draws has a finite likelihood, so there is nothing to describe.")
        return keep, w[keep]


def weighted_quantile(values: np.ndarray, q: float | Iterable[float], weights: np.ndarray) -> np.ndarray:
    """Quantiles of weighted draws, linear between the middles of the steps of their cumulative weight.

    Parameters
    ----------
    values, weights : array (n,)
        Draws and non-negative weights, not necessarily normalised; zero weights have no influence.
    q : float or array
        Probabilities in [0, 1].

    Examples
    --------
    The last draw counts as much as the other three together:

    >>> weighted_quantile([1.0, 2.0, 3.0, 4.0], 0.5, [1.0, 1.0, 1.0, 3.0]).item()
    3.25
    >>> weighted_quantile([1.0, 2.0, 3.0, 4.0], [0.25, 0.75], [1.0, 1.0, 1.0, 1.0]).tolist()
    [1.5, 3.5]
    """
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    keep = weights > 0
    order = np.argsort(values[keep], kind="stable")
    v, w = values[keep][order], weights[keep][order]
    middle = (np.cumsum(w) - 0.5 * w) / w.sum()
    wanted = list(q) if isinstance(q, Iterable) else q
    return np.interp(np.asarray(wanted, dtype=float), middle, v)
