"""Exactly weighted draws of one proposal: the final ones, which are the result, and pilots, which judge and teach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.infer.importance import Weights, effective_sample_size, pareto_k
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import Proposal
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.result.weighted import LARGEST_K_HAT

__all__ = ["FinalDraws", "Frozen", "Pilot"]

Points = NDArray[np.float64]


@dataclass(eq=False)
class Pilot:
    """Exactly weighted draws of one proposal.

    Attributes
    ----------
    proposal : Proposal
    u : ndarray, shape (n, d)
    log_likelihood, log_density : ndarray, shape (n,)
    taught_by : float
        Effective draws that the proposal was fitted to; 0 for a round's.
    """

    proposal: Proposal
    u: Points
    log_likelihood: NDArray[np.float64]
    log_density: NDArray[np.float64]
    taught_by: float = 0.0

    @property
    def log_weights(self) -> NDArray[np.float64]:
        """Log likelihood less log density, (n,)."""
        return self.log_likelihood - self.log_density

    @property
    def ess(self) -> float:
        """Effective sample size."""
        return effective_sample_size(self.log_weights)

    @property
    def efficiency(self) -> float:
        """Effective samples per draw; a tenth of that where a heavy tail makes the number worthless."""
        return self.ess / len(self.u) * (1.0 if pareto_k(self.log_weights) < LARGEST_K_HAT else 0.1)


@dataclass(frozen=True, eq=False)
class Frozen:
    """A proposal that is not changed any more, since final draws are to come from it.

    Attributes
    ----------
    proposal : Proposal
    density_err : float
        Relative error of its density's norm.
    teachable : bool
        Whether draws of it that are worth little make a better one, at the price of a few evaluations.
    pilot : Pilot or None
        What it was judged by.
    """

    proposal: Proposal
    density_err: float = 0.0
    teachable: bool = False
    pilot: Pilot | None = None

    @property
    def taught_by(self) -> float:
        """Effective draws that the proposal was fitted to; 0 where it was not fitted to any."""
        return 0.0 if self.pilot is None else self.pilot.taught_by


class FinalDraws:
    """Fresh draws from a frozen proposal: only these enter a result.

    Parameters
    ----------
    frozen : Frozen
    dimension : int

    Attributes
    ----------
    u : ndarray, shape (n, d)
        Points of the unit cube.
    log_likelihood, log_density : ndarray, shape (n,)
        Exact log likelihoods, and the proposal's log density.
    batches : ndarray of int, shape (n,)
        Which batch each belongs to.
    """

    def __init__(self, frozen: Frozen, dimension: int) -> None:
        self.frozen = frozen
        self.u: Points = np.empty((0, dimension))
        self.log_likelihood: NDArray[np.float64] = np.empty(0)
        self.log_density: NDArray[np.float64] = np.empty(0)
        self.batches: NDArray[np.int_] = np.empty(0, dtype=int)
        self._counts: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self.u)

    def extend(self, problem: Problem, stage: str, n: int) -> None:
        """Draw and evaluate `n` more, or as many as the budget has; a batch that is interrupted is left out."""
        batch = len(self._counts)
        with problem.streams.torch(stage, batch):
            u = self.frozen.proposal.draw(min(n, problem.left))
        density = self.frozen.proposal.log_density(u)
        drawn = problem.simulate(u, stage, density)
        self.u = np.concatenate([self.u, u])
        self.log_likelihood = np.concatenate([self.log_likelihood, drawn.log_likelihood])
        self.log_density = np.concatenate([self.log_density, density])
        self.batches = np.concatenate([self.batches, np.full(len(u), batch)])
        self._counts.append(drawn.counts)

    @property
    def counts(self) -> torch.Tensor:
        """Expected source counts, float32, (n, n_bins)."""
        return torch.cat(self._counts)

    @property
    def simulations(self) -> Simulations:
        """The draws as evaluated parameter sets."""
        return Simulations(self.u, self.counts, self.log_likelihood)

    @property
    def weights(self) -> Weights:
        """Their exact weights."""
        return Weights(self.log_likelihood - self.log_density, self.batches, self.frozen.density_err)

    def error_of(self, log_likelihood: NDArray[np.float64]) -> float | None:
        """Standard deviation of exact minus emulated log L over the posterior.

        Measured on these draws, which the emulator has not seen; None where none of them has a likelihood.

        Parameters
        ----------
        log_likelihood : ndarray, shape (n,)
            Emulated, of these draws.
        """
        finite = np.isfinite(self.log_likelihood)
        if not finite.any():
            return None
        difference = self.log_likelihood[finite] - log_likelihood[finite]
        log_weights = (self.log_likelihood - self.log_density)[finite]
        w = np.exp(log_weights - log_weights.max())
        mean = np.average(difference, weights=w)
        return float(np.sqrt(np.average((difference - mean) ** 2, weights=w)))

    def as_pilot(self) -> Pilot:
        """The same draws as teachers of a next proposal."""
        return Pilot(self.frozen.proposal, self.u, self.log_likelihood, self.log_density, self.frozen.taught_by)
