"""Evaluated parameter sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Simulations"]

Points = NDArray[np.float64]


@dataclass
class Simulations:
    """Evaluated parameter sets.

    Attributes
    ----------
    u : ndarray, shape (n, d)
        Unit cube.
    counts : Tensor, float32, shape (n, n_bins)
        Expected source counts.
    log_likelihood : ndarray, shape (n,)
        ``-statistic/2``; ``-inf`` where the model failed.
    """

    u: Points
    counts: torch.Tensor
    log_likelihood: NDArray[np.float64]

    @classmethod
    def none(cls, dimension: int, n_bins: int) -> Simulations:
        """No parameter set yet."""
        return cls(np.empty((0, dimension)), torch.empty(0, n_bins), np.empty(0))

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether a row's model gave a finite spectrum."""
        return np.isfinite(self.log_likelihood)

    def __getitem__(self, keep: NDArray[np.bool_]) -> Simulations:
        return Simulations(self.u[keep], self.counts[torch.as_tensor(keep)], self.log_likelihood[keep])

    def __add__(self, other: Simulations) -> Simulations:
        return Simulations(
            np.concatenate([self.u, other.u]),
            torch.cat([self.counts, other.counts]),
            np.concatenate([self.log_likelihood, other.log_likelihood]),
        )
