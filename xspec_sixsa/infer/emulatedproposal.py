"""The emulated posterior as a density to draw from: by rejection from a proposal that covers it, or by moves.

Where a cover wastes nearly all its draws (many parameters, thinly spread), rejection costs more than moving draws that
were resampled by their weights (sampling importance resampling: Rubin 1987, J. Am. Stat. Assoc. 82, 543; moves that
leave the density as it is: Gilks & Berzuini 2001, J. R. Stat. Soc. B 63, 127).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from xspec_sixsa.common.ensemble import stretch_moves
from xspec_sixsa.infer.coordinates import EDGE
from xspec_sixsa.infer.importance import effective_sample_size, log_evidence
from xspec_sixsa.infer.proposal import Proposal

__all__ = ["EmulatedProposal", "MovedProposal", "RejectionProposal", "chosen", "weighed"]

Points = NDArray[np.float64]

AT_ONCE = 20000  # draws of a cover held in memory together
ENOUGH_POOL, MOST_POOL = 5000, 200000  # effective draws that resampling begins with, and draws for them at most
MOVES = 20  # of resampled draws


class EmulatedProposal(ABC):
    """An emulated posterior: a proposal as narrow as the likelihood.

    Attributes
    ----------
    log_norm_err : float
        Standard error of the logarithm of its norm, the emulated evidence: it enters the evidence's.
    """

    log_norm_err: float

    @abstractmethod
    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""

    @abstractmethod
    def log_density(self, u: Points) -> Points:
        """Log density in the cube, shape (n,)."""


class RejectionProposal(EmulatedProposal):
    """An emulated posterior, drawn by rejection from a proposal that covers it.

    Where ``L / q`` of the emulated likelihood L and the cover q passes a cap, the density is the cover's, capped:
    ``min(L, cap q) / norm``, which is exact but for the Monte Carlo error of `norm`.

    Parameters
    ----------
    cover : Proposal
    log_likelihood : callable
        Emulated, of points (n, d); shape (n,).

    Attributes
    ----------
    log_norm : float
        The emulated evidence under the cap.
    acceptance : float
        Share of the cover's draws that are kept.
    """

    CAPPED = 5e-3
    """Share of the emulated posterior that the cap takes away."""

    NORM_ERROR, MOST_DRAWS = 0.007, 200000
    """Relative error of the norm that is good enough, and draws of the cover after which it is good enough anyway."""

    def __init__(self, cover: Proposal, log_likelihood: Callable[[Points], NDArray[np.float64]]) -> None:
        self._cover, self._log_likelihood = cover, log_likelihood
        log_ratio = np.empty(0)
        while True:
            log_ratio = np.concatenate([log_ratio, weighed(cover, log_likelihood, AT_ONCE)[1]])
            top = np.sort(log_ratio)[::-1]
            w = np.exp(top - top[0])
            above = np.cumsum(w) - w * np.arange(1, len(w) + 1)  # mass that a cap at the k-th ratio takes away
            self._log_cap = float(top[np.searchsorted(above, self.CAPPED * w.sum())])
            capped = np.exp(np.minimum(log_ratio - self._log_cap, 0.0))
            self.acceptance = float(capped.mean())
            self.log_norm = self._log_cap + float(np.log(self.acceptance))
            self.log_norm_err = float(capped.std() / self.acceptance / np.sqrt(len(w)))
            if self.log_norm_err < self.NORM_ERROR or len(w) >= self.MOST_DRAWS:
                return

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        kept: list[Points] = []
        while sum(len(part) for part in kept) < n:
            u, ratio = weighed(self._cover, self._log_likelihood, min(int(1.2 * n / self.acceptance) + 10, AT_ONCE))
            accepted = np.log(torch.rand(len(u), dtype=torch.float64).numpy()) < ratio - self._log_cap
            kept.append(u[accepted])
        return np.concatenate(kept)[:n]

    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Log density in the cube, shape (n,)."""
        return np.minimum(self._log_likelihood(u), self._cover.log_density(u) + self._log_cap) - self.log_norm


class MovedProposal(EmulatedProposal):
    """An emulated posterior, drawn by moving weighted draws of a proposal that covers it badly.

    Parameters
    ----------
    cover : Proposal
    log_likelihood : callable
        Emulated, of points (n, d); shape (n,).
    """

    def __init__(self, cover: Proposal, log_likelihood: Callable[[Points], Points]) -> None:
        self._log_likelihood = log_likelihood
        self._u, self._log_weights = weighed(cover, log_likelihood, AT_ONCE)
        while len(self._u) < MOST_POOL and effective_sample_size(self._log_weights) < ENOUGH_POOL:
            u, log_weights = weighed(cover, log_likelihood, AT_ONCE)
            self._u = np.concatenate([self._u, u])
            self._log_weights = np.concatenate([self._log_weights, log_weights])
        self._log_norm, self.log_norm_err = log_evidence(self._log_weights)

    def _log_density(self, z: Points) -> Points:
        return self._log_likelihood(ndtr(z).clip(EDGE, 1 - EDGE)) - 0.5 * (z**2).sum(axis=1)

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        most = 2 * max(-(-n // 2), self._u.shape[1] + 1)  # halves that span the space
        z = ndtri(chosen(self._u, self._log_weights, most).clip(EDGE, 1 - EDGE))
        *_, (z, _) = stretch_moves(self._log_density, z, None, MOVES, rng)
        return ndtr(z).clip(EDGE, 1 - EDGE)[:n]

    def log_density(self, u: Points) -> Points:
        """Log density in the cube, shape (n,)."""
        return self._log_likelihood(u) - self._log_norm


def weighed(proposal: Proposal, log_likelihood: Callable[[Points], Points], n: int) -> tuple[Points, Points]:
    """Draws (n, d) of a proposal, and their log weights (n,)."""
    u = proposal.draw(n)
    return u, log_likelihood(u) - proposal.log_density(u)


def chosen(u: Points, log_weights: Points, n: int) -> Points:
    """Points (n, d), equally weighted."""
    share = torch.tensor(np.exp(log_weights - log_weights.max()))
    return u[torch.multinomial(share, n, replacement=True).numpy()]
