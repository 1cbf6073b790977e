"""From a density that is known to another, in steps: every mode that a cheap likelihood has, with its share.

Sequential Monte Carlo (Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411): a population of the prior, or of an
earlier posterior, is resampled and moved while its density is bent into the one that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from xspec_sixsa.common.ensemble import stretch_moves
from xspec_sixsa.infer.coordinates import EDGE
from xspec_sixsa.infer.importance import tempering_power

__all__ = ["Population"]

Points = NDArray[np.float64]
LogDensity = Callable[[Points], Points]

FIRST = 4  # times the population's size, of the prior draws that it begins with
KEPT = 0.5  # effective share that a step leaves
MOST_STEPS = 200


@dataclass
class Population:
    """Equally weighted points of a density over the unit cube.

    Attributes
    ----------
    u : ndarray, shape (n, d)
    log_density : callable
        Of points (n, d), up to a constant; shape (n,).
    """

    u: Points
    log_density: LogDensity

    @classmethod
    def of_prior(cls, dimension: int, size: int, rng: np.random.Generator) -> Population:
        """A population of the prior: more points than its size, of which the first step chooses."""
        u = qmc.Sobol(dimension, rng=rng).random_base2(int(np.ceil(np.log2(FIRST * size))))
        return cls(u, lambda u: np.zeros(len(u)))

    def moved(
        self, log_density: LogDensity, rng: np.random.Generator, *, size: int = 1000, moves: int = 10
    ) -> Population:
        """The population, bent into another density.

        Parameters
        ----------
        log_density : callable
        rng : numpy.random.Generator
        size : int, default 1000
            Points that it is to have; even.
        moves : int, default 10
            Stretch moves at every step.
        """
        before, after = self.log_density(self.u), log_density(self.u)
        z, reached = ndtri(np.clip(self.u, EDGE, 1 - EDGE)), 0.0
        for _ in range(MOST_STEPS):
            change = (1 - reached) * (after - before)
            step = (1 - reached) * tempering_power(change, min(KEPT * len(change), size))
            chosen = _resample(step * (after - before), size, rng)
            reached = min(reached + step, 1.0)
            z = z[chosen]
            *_, (z, _) = stretch_moves(_bent(self.log_density, log_density, reached), z, None, moves, rng)
            u = ndtr(z).clip(EDGE, 1 - EDGE)
            if reached > 1 - 1e-9:
                break
            before, after = self.log_density(u), log_density(u)
        return Population(u, log_density)


def _bent(before: LogDensity, after: LogDensity, share: float) -> LogDensity:
    def log_density(z: Points) -> Points:
        u = ndtr(z).clip(EDGE, 1 - EDGE)
        found = share * after(u) - 0.5 * (z**2).sum(axis=1)  # the prior is a unit normal in z
        return found if share > 1 - 1e-9 else found + (1 - share) * before(u)

    return log_density


def _resample(log_weights: Points, n: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """Systematic resampling, in random order: stretch moves take halves."""
    w = np.exp(log_weights - log_weights.max())
    edges = np.cumsum(w) / w.sum()
    return rng.permutation(np.minimum(np.searchsorted(edges, (np.arange(n) + rng.random()) / n), len(w) - 1))
