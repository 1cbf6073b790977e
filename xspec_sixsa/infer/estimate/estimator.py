"""What estimators have in common: spectra are compressed, and the parameters' density is learned."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xspec_sixsa.infer.compress import Compressor, summarise
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.proposal import Density, FlowProposal
from xspec_sixsa.infer.trained import named, within

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Amortised"]

HELD_OUT, MOST_HELD_OUT = 0.1, 10_000  # of 2,000 the scatter chose early weights
MANY_INPUTS = 1000  # from which drawing noise costs more than a flow's steps
LEAST_SIGNAL = 0.05  # variance between simulations, in units of the noise's
GENTLER = 3  # times fewer steps and a smaller learning rate, where a network is trained on
REPLICAS = 8  # noise realisations of each simulation, compressed once and reused: the flow's steps stay cheap


class Amortised(ABC):
    """What the pipeline asks of an estimator; in whitened probit coordinates of the cube, on informative summaries.

    Attributes
    ----------
    name : str
    steps : int
        Of its training.
    steps_to_condition : int
        Of these, that look at the observation alone.
    curve : dict of str to list of float
        Of the training (`training.train`).
    compressor : Compressor
        What makes summaries of spectra; set by `fit`.
    whitening : Whitening
        Of the training's parameters; set by `fit`.
    """

    name: str
    steps: int
    steps_to_condition = 0
    learning_rate: float
    _network: Any  # of torch, made by `begin`

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
        summaries = self._recorded(expected, noise)
        self._informative = _Informative.of(summaries)
        self.begin(u.shape[1], self._informative.kept)
        self._learn_from(u, summaries, expected, noise, tick)

    def begin(self, d: int, k: int) -> None:
        """Have a fresh network, for d parameters given k numbers."""
        self._network = self._build(d, k)

    def train_on(
        self, u: NDArray[np.float64], expected: Tensor, noise: Noise, tick: Callable[[int], None] = lambda n: None
    ) -> None:
        """Train one that was restored for other noise, as `fit`: `steps_to_train_on`, from what it knows.

        Compressor and whitening stay.
        """
        self.steps, self.learning_rate = self.steps_to_train_on, self.learning_rate / GENTLER
        self._learn_from(u, self._recorded(expected, noise), expected, noise, tick)

    def _recorded(self, expected: Tensor, noise: Noise) -> Tensor:
        """Summaries (replicas, n, k) of noise drawn on noiseless spectra (n, n_bins)."""
        replicas = REPLICAS if noise.n_inputs <= MANY_INPUTS else 2
        return torch.stack([summarise(self.compressor, expected, noise) for _ in range(replicas)])

    def _learn_from(
        self,
        u: NDArray[np.float64],
        summaries: Tensor,
        expected: Tensor,
        noise: Noise,
        tick: Callable[[int], None],
    ) -> None:
        theta = torch.tensor(self.whitening.forward(u), dtype=torch.float32)
        self._look_at(noise)
        self._learn(theta, self._informative(summaries), expected, noise, tick)

    def _look_at(self, noise: Noise) -> None:
        self._context = self._informative(self.compressor(noise.observed[None]))

    def _learn(
        self, theta: Tensor, summaries: Tensor, expected: Tensor, noise: Noise, tick: Callable[[int], None]
    ) -> None:
        """The same with noiseless spectra (n, n_bins), for those that look at more than summaries."""
        self.learn(theta, summaries, tick)

    @abstractmethod
    def _build(self, d: int, k: int) -> nn.Module:
        """What `begin` makes."""

    @abstractmethod
    def learn(self, theta: Tensor, summaries: Tensor, tick: Callable[[int], None] = lambda n: None) -> None:
        """Learn from parameters (n, d) that scatter about like a unit normal, and their summaries (replicas, n, k).

        `begin` comes before.
        """

    @property
    def state(self) -> dict[str, Tensor]:
        """What was learned of all observations, with its compressor's, by dotted names; empty where that has none."""
        if not self.compressor.state:
            return {}
        parts = {
            "compressor": self.compressor.state,
            "whitening": {key: torch.tensor(value) for key, value in vars(self.whitening).items()},
            "informative": self._informative.state,
            "network": self._network.state_dict(),
        }
        return {key: value for name, part in parts.items() for key, value in named(name, part).items()}

    def restore(self, state: dict[str, Tensor], compressor: Compressor) -> None:
        """Take up what `state` has given, in place of `fit`; `compressor` is a fresh one of the same name.

        `condition` or `train_on` come next. Draws from torch's default generator, in vain.
        """
        compressor.restore(within("compressor", state))
        whitening = {key: value.numpy() for key, value in within("whitening", state).items()}
        self.compressor, self.whitening = compressor, Whitening(**whitening)
        self._informative = _Informative(**within("informative", state))
        self.begin(len(self.whitening.centre), self._informative.kept)
        self._network.load_state_dict(within("network", state))
        self._network.eval()

    @property
    def steps_to_train_on(self) -> int:
        """A third of those of many spectra, and all of those of the observation alone."""
        return (self.steps - self.steps_to_condition) // GENTLER + self.steps_to_condition

    def condition(self, noise: Noise, tick: Callable[[int], None] = lambda n: None) -> None:
        """Look at this observation, in place of training."""
        self._look_at(noise)

    @abstractmethod
    def density(self, context: Tensor) -> Density:
        """The density given summaries (k,) or (n, k)."""

    def given(self, noise: Noise) -> Self:
        """The same network, conditioned on another observation."""
        other = copy.copy(self)
        other._look_at(noise)
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
    centre : Tensor, shape (k,)
    combinations : Tensor, shape (k, kept)
    """

    def __init__(self, centre: Tensor, combinations: Tensor) -> None:
        self._centre, self._combinations = centre, combinations

    @classmethod
    def of(cls, summaries: Tensor) -> _Informative:
        """Those of several noise realisations of every simulation, (replicas, n, k)."""
        mean = summaries.mean(dim=0)
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
        combinations = torch.linalg.solve_triangular(root.T, vector[:, keep], upper=True) / (1 + value[keep]).sqrt()
        return cls(mean.mean(dim=0).double(), combinations)

    @property
    def kept(self) -> int:
        """How many there are."""
        return self._combinations.shape[1]

    @property
    def state(self) -> dict[str, Tensor]:
        """Its parameters by name."""
        return {"centre": self._centre, "combinations": self._combinations}

    def __call__(self, summaries: Tensor) -> Tensor:
        """Informative combinations, shape (..., kept)."""
        return ((summaries.double() - self._centre) @ self._combinations).float()
