"""From a density that is known to another, in steps: every mode that a cheap likelihood has, with its share.

Sequential Monte Carlo (Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411): a population of the prior, or of an
earlier posterior, is resampled and moved while its density is bent into the one that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri
from scipy.stats import qmc

from xspec_sixsa.common.ensemble import stretch_moves
from xspec_sixsa.infer.coordinates import EDGE
from xspec_sixsa.infer.importance import tempering_power
from xspec_sixsa.infer.proposal import Proposal

__all__ = ["Population"]

Points = NDArray[np.float64]
LogDensity = Callable[[Points], Points]


class CubeMap(Protocol):
    """A smooth map of the unit cube onto itself."""

    def forward(self, u: Points) -> tuple[Points, Points]:
        """Images v (n, d) of points u (n, d), and ``log |du/dv|`` (n,)."""

    def inverse(self, v: Points) -> tuple[Points, Points]:
        """Points u (n, d) of images v (n, d), and ``log |du/dv|`` (n,)."""


class _Identity:
    def forward(self, u: Points) -> tuple[Points, Points]:
        return u, np.zeros(len(u))

    inverse = forward


FIRST = 4  # times the population's size, of the prior draws that it begins with
KEPT = 0.5  # effective share that a step leaves
MOST_STEPS = 200
ISLANDS = 4  # parts of a population that do not compete: where a few lucky points found all, one mode would be left
FORLORN = 7.0  # difference in log evidence from the best island's at which another has found nothing


@dataclass
class Population:
    """Equally weighted points of a density over the unit cube.

    Points live on islands. Each island alone is a population of the whole density, but one that chance may leave with
    some of its modes only.

    Attributes
    ----------
    u : ndarray, shape (n, d)
        Island by island, all of one size.
    log_density : callable
        Of points (n, d), up to a constant; shape (n,).
    blocks : sequence of sequence of int
        Columns that belong together, such as a line's energy and norm: they jump to a draw of the prior at a time.
    exchanges : sequence of ndarray of int, shape (d,)
        Orders of the columns that points jump to: each is its own inverse, as two interchangeable lines' is.
    log_evidence : ndarray, shape (islands,)
        By each island's account, relative to the density that the first population had.
    """

    u: Points
    log_density: LogDensity
    blocks: Sequence[Sequence[int]] = field(default_factory=list)
    exchanges: Sequence[NDArray[np.int_]] = field(default_factory=list)
    log_evidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(ISLANDS))

    @classmethod
    def of_prior(
        cls,
        dimension: int,
        size: int,
        rng: np.random.Generator,
        blocks: Sequence[Sequence[int]] = (),
        exchanges: Sequence[NDArray[np.int_]] = (),
        islands: int = ISLANDS,
    ) -> Population:
        """A population of the prior: more points than its size, of which the first step chooses."""
        u = qmc.Sobol(dimension, rng=rng).random_base2(int(np.ceil(np.log2(FIRST * size))))
        return cls(rng.permutation(u), lambda u: np.zeros(len(u)), blocks, exchanges, np.zeros(islands))

    @classmethod
    def of(
        cls,
        proposal: Proposal,
        size: int,
        blocks: Sequence[Sequence[int]] = (),
        exchanges: Sequence[NDArray[np.int_]] = (),
    ) -> Population:
        """The same of a proposal, whose draws come from torch's default generator."""
        return cls(proposal.draw(FIRST * size), proposal.log_density, blocks, exchanges)

    @classmethod
    def joined(cls, populations: Sequence[Population]) -> Population:
        """The islands of several populations of one density, in one; all of one size."""
        first = populations[0]
        return replace(
            first,
            u=np.concatenate([population.u for population in populations]),
            log_evidence=np.concatenate([population.log_evidence for population in populations]),
        )

    def moved(
        self,
        log_density: LogDensity,
        rng: np.random.Generator,
        *,
        size: int = 1000,
        moves: int = 10,
        coordinates: CubeMap | None = None,
    ) -> Population:
        """The population, bent into another density.

        Parameters
        ----------
        log_density : callable
        rng : numpy.random.Generator
        size : int, default 1000
            Points that it is to have; twice so many as there are islands, or a multiple of that.
        moves : int, default 10
            Stretch moves at every step.
        coordinates : CubeMap, optional
            In which every other move is made.
        """
        views = [_Identity()] if coordinates is None else [coordinates, _Identity()]
        islands = len(self.log_evidence)
        u, before, after = self.u, self.log_density(self.u), log_density(self.u)
        reached, log_evidence = 0.0, self.log_evidence
        for _ in range(MOST_STEPS):
            change = (after - before).reshape(islands, -1)
            wanted = min(KEPT * change.shape[1], size / islands)
            step = (1 - reached) * np.median([tempering_power((1 - reached) * c, wanted) for c in change])
            log_evidence = log_evidence + logsumexp(step * change, axis=1) - np.log(change.shape[1])
            chosen = [_resample(step * c, size // islands, rng) for c in change]
            reached = min(reached + step, 1.0)
            u = u.reshape(*change.shape, -1)[np.arange(islands)[:, None], chosen].reshape(size, -1)
            for view in views:
                bent = _bent(self.log_density, log_density, reached, view)
                z = ndtri(view.forward(u)[0].clip(EDGE, 1 - EDGE))
                *_, (z, values) = stretch_moves(bent, z, None, moves // len(views), rng, islands)
                z = self._jumped(z, values, bent, moves // len(views) // 2, rng)
                u = view.inverse(ndtr(z).clip(EDGE, 1 - EDGE))[0]
            if reached > 1 - 1e-9:
                break
            before, after = self.log_density(u), log_density(u)
        u, log_evidence = _settled(u, log_evidence, rng)
        return Population(u, log_density, self.blocks, self.exchanges, log_evidence)

    def _jumped(
        self, z: Points, values: Points, log_density: LogDensity, jumps: int, rng: np.random.Generator
    ) -> Points:
        """Points (n, d) after Metropolis steps, each by a block or an exchange: stretch moves keep to their mode."""
        kinds = len(self.blocks) + len(self.exchanges)
        for _ in range(jumps if kinds else 0):
            kind = rng.integers(kinds, size=len(z))
            proposed, drawn = z.copy(), np.zeros(len(z))
            for number, block in enumerate(self.blocks):
                those = np.flatnonzero(kind == number)
                new = rng.standard_normal((len(those), len(block)))
                proposed[those[:, None], block] = new
                # proposed from the prior's own density, a unit normal
                drawn[those] = 0.5 * ((new**2).sum(axis=1) - (z[those[:, None], block] ** 2).sum(axis=1))
            for number, order in enumerate(self.exchanges, len(self.blocks)):
                proposed[kind == number] = z[kind == number][:, order]
            new_values = log_density(proposed)
            accepted = np.log(rng.random(len(z))) < new_values - values + drawn
            z, values = np.where(accepted[:, None], proposed, z), np.where(accepted, new_values, values)
        return z


def _settled(u: Points, log_evidence: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """Points (n, d) and log evidences of islands, those that have found nothing settled anew from the others."""
    forlorn = log_evidence < log_evidence.max() - FORLORN
    if not forlorn.any():
        return u, log_evidence
    settled = u.reshape(len(forlorn), -1, u.shape[1])
    those = settled[~forlorn].reshape(-1, u.shape[1])
    settled[forlorn] = those[rng.integers(len(those), size=(forlorn.sum(), settled.shape[1]))]
    shared = logsumexp(log_evidence[~forlorn]) - np.log((~forlorn).sum())
    return settled.reshape(u.shape), np.where(forlorn, shared, log_evidence)


def _bent(before: LogDensity, after: LogDensity, share: float, view: CubeMap) -> LogDensity:
    """Of probits of images under a map."""

    def log_density(z: Points) -> Points:
        u, volume = view.inverse(ndtr(z).clip(EDGE, 1 - EDGE))
        found = share * after(u) + volume - 0.5 * (z**2).sum(axis=1)  # a uniform density is a unit normal in z
        return found if share > 1 - 1e-9 else found + (1 - share) * before(u)

    return log_density


def _resample(log_weights: Points, n: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """Systematic resampling, in random order: stretch moves take halves."""
    w = np.exp(log_weights - log_weights.max())
    edges = np.cumsum(w) / w.sum()
    return rng.permutation(np.minimum(np.searchsorted(edges, (np.arange(n) + rng.random()) / n), len(w) - 1))
