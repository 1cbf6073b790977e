"""What estimators have in common: spectra are compressed, and the parameters' density is learned."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.infer.compress import Compressor, summarise
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.proposal import Density, FlowProposal

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Amortised"]

HELD_OUT, MOST_HELD_OUT = 0.1, 10_000  # of 2,000 the scatter chose early weights
MANY_INPUTS = 1000  # from which drawing noise costs more than a flow's steps
LEAST_SIGNAL = 0.05  # variance between simulations, in units of the noise's
REPLICAS = 8  # noise realisations of each simulation, compressed once and reused: the flow's steps stay cheap


class Amortised(ABC):
    """What the pipeline asks of an estimator; in whitened probit coordinates of the cube, on informative summaries.

    Attributes
    ----------
    name : str
    steps : int
        Of its training.
    curve : dict of str to list of float
        Of the training (`training.train`).
    compressor : Compressor
        What makes summaries of spectra; set by `fit`.
    whitening : Whitening
        Of the training's parameters; set by `fit`.
    """

    name: str
    steps: int

    def __init__(self) -> None:
        self.curve: dict[str, list[float]] = {}

    def fit(
        self,
        u: NDArray[np.float64],
        expected: Tensor,
        noise: Noise,
        compressor: Compressor,
        tick: Callable[[int], None] = lambda n: None,
    ) -> None:
        """Train on simulations drawn from the prior within the current region.

        Parameters
        ----------
        u : ndarray, shape (n, d)
            Parameters in the unit cube.
        expected : Tensor, shape (n, n_bins)
            Their noiseless spectra.
        noise : Noise
        compressor : Compressor
            Already fitted.
        """
        self.whitening, self.compressor = Whitening.of(u), compressor
        theta = torch.tensor(self.whitening.forward(u), dtype=torch.float32)
        replicas = REPLICAS if noise.n_inputs <= MANY_INPUTS else 2
        summaries = torch.stack([summarise(compressor, expected, noise) for _ in range(replicas)])
        self._informative = _Informative(summaries)
        self._context = self._informative(compressor(noise.observed[None]))
        self._learn(theta, self._informative(summaries), expected, noise, tick)

    def _learn(
        self, theta: Tensor, summaries: Tensor, expected: Tensor, noise: Noise, tick: Callable[[int], None]
    ) -> None:
        """The same with noiseless spectra (n, n_bins), for those that look at more than summaries."""
        self.learn(theta, summaries, tick)

    @abstractmethod
    def learn(self, theta: Tensor, summaries: Tensor, tick: Callable[[int], None] = lambda n: None) -> None:
        """Learn from parameters (n, d) that scatter about like a unit normal, and their summaries (replicas, n, k)."""

    @abstractmethod
    def density(self, context: Tensor) -> Density:
        """The density given summaries (k,) or (n, k)."""

    def given(self, noise: Noise) -> Self:
        """The same network, conditioned on another observation."""
        other = copy.copy(self)
        other._context = self._informative(self.compressor(noise.observed[None]))
        return other

    @torch.no_grad()
    def medians(self, recorded: Tensor, draws: int = 50) -> NDArray[np.float64]:
        """What the network reads from recorded spectra (n, n_inputs): medians of so many draws, in the cube, (n, d).

        Draws from torch's default generator.
        """
        w = self.density(self._informative(self.compressor(recorded))).sample((draws,)).double()
        u, _ = self.whitening.inverse(w.flatten(0, 1).numpy())
        return np.median(u.reshape(w.shape), axis=0)

    @property
    def proposal(self) -> FlowProposal:
        """The posterior given the observation, as a density over the cube."""
        return FlowProposal(self.density(self._context[0]), self.whitening)


def split(n: int) -> tuple[Tensor, Tensor]:
    """Rows that are held out of training, and the others, in random order."""
    order = torch.randperm(n)
    held_out = min(int(HELD_OUT * n), MOST_HELD_OUT) or 1
    return order[:held_out], order[held_out:]


class _Informative:
    """The linear combinations of summaries that simulations differ in by more than their noise, of unit variance.

    Directions that hold noise only would let the flow learn its training set by heart.

    Parameters
    ----------
    summaries : Tensor, shape (replicas, n, k)
        Several noise realisations of every simulation.
    """

    def __init__(self, summaries: Tensor) -> None:
        mean = summaries.mean(dim=0)
        self._centre = mean.mean(dim=0).double()
        inner = (summaries - mean).double().flatten(0, 1)
        noise = inner.T @ inner / (len(inner) - len(mean))
        signal = torch.cov(mean.double().T) - noise / len(summaries)
        k = len(noise)
        floor = 1e-6 * torch.trace(noise + signal) / k
        root = torch.linalg.cholesky(noise + floor * torch.eye(k, dtype=torch.float64))
        half = torch.linalg.solve_triangular(root, torch.atleast_2d(signal), upper=False)
        value, vector = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.T, upper=False))
        keep = value > LEAST_SIGNAL
        keep[-1] = True
        # unit variance of signal and noise together
        self._map = torch.linalg.solve_triangular(root.T, vector[:, keep], upper=True) / (1 + value[keep]).sqrt()

    def __call__(self, summaries: Tensor) -> Tensor:
        """Informative combinations, shape (..., kept)."""
        return ((summaries.double() - self._centre) @ self._map).float()
