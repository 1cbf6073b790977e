"""Neural posterior estimation: sbi's conditional neural spline flow, trained with noise drawn afresh."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from zuko.distributions import NormalizingFlow

from xspec_sixsa.infer.compress import Compressor, summarise
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.training import train

__all__ = ["NeuralPosterior"]

HELD_OUT = 0.1
BATCH = 256
MANY_INPUTS = 1000  # from which drawing noise costs more than a flow's steps
LEAST_SIGNAL = 0.05  # variance between simulations, in units of the noise's
REPLICAS = 8  # noise realisations of each simulation, compressed once and reused: the flow's steps stay cheap


class NeuralPosterior:
    """The posterior given a recorded spectrum, as a flow in whitened probit coordinates of the unit cube.

    Parameters
    ----------
    hidden : int, default 64
    transforms : int, default 3
    steps : int, default 1000
    learning_rate : float, default 1e-2

    Attributes
    ----------
    compressor : Compressor
        What makes summaries of spectra; set by `fit`.
    """

    def __init__(self, hidden: int = 64, transforms: int = 3, steps: int = 1000, learning_rate: float = 1e-2) -> None:
        self.hidden, self.transforms, self.steps, self.learning_rate = hidden, transforms, steps, learning_rate
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
        from sbi.neural_nets import posterior_nn

        self.whitening = Whitening.of(u)
        theta = torch.tensor(self.whitening.forward(u), dtype=torch.float32)
        replicas = REPLICAS if noise.n_inputs <= MANY_INPUTS else 2
        summaries = torch.stack([summarise(compressor, expected, noise) for _ in range(replicas)])
        self._informative = informative = _Informative(summaries)
        summaries = informative(summaries)
        build = posterior_nn(
            "zuko_nsf",
            z_score_theta="none",
            z_score_x="none",
            hidden_features=self.hidden,
            num_transforms=self.transforms,
        )
        self._flow = build(theta, summaries[0])
        order = torch.randperm(len(theta))
        split = int(HELD_OUT * len(order)) or 1
        held_out, rest = order[:split], order[split:]

        def loss() -> Tensor:
            i = rest[torch.randint(len(rest), (BATCH,))]
            return self._flow.loss(theta[i], summaries[torch.randint(replicas, (BATCH,)), i]).mean()

        self.curve = train(
            self._flow,
            loss,
            lambda: self._flow.loss(theta[held_out], summaries[0, held_out]).mean(),
            steps=self.steps,
            learning_rate=self.learning_rate,
            tick=tick,
        )
        self.compressor = compressor
        self._context = informative(compressor(noise.observed[None]))

    def given(self, noise: Noise) -> NeuralPosterior:
        """The same network, conditioned on another observation."""
        other = copy.copy(self)
        other._context = self._informative(self.compressor(noise.observed[None]))
        return other

    @torch.no_grad()
    def medians(self, recorded: Tensor, draws: int = 50) -> NDArray[np.float64]:
        """What the network reads from recorded spectra (n, n_inputs): medians of so many draws, in the cube, (n, d).

        Draws from torch's default generator.
        """
        context = self._flow.embedding_net(self._informative(self.compressor(recorded)))
        w = self._flow.net(context).sample((draws,)).double()
        u, _ = self.whitening.inverse(w.flatten(0, 1).numpy())
        return np.median(u.reshape(w.shape), axis=0)

    @property
    def flow(self) -> NormalizingFlow:
        """The flow conditioned on the observation, in whitened coordinates."""
        return self._flow.net(self._flow.embedding_net(self._context)[0])


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
