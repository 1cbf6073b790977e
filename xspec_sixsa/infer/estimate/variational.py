"""Amortised variational inference: guides that the emulator's differentiable likelihood moves (expected ELBO).

Where other estimators learn from pairs of parameters and spectra, these are told the likelihood: a guide q given a
recorded spectrum x is drawn from, and moved to where ``E_x E_q [log L + log prior - log q]`` is largest (Karumuri &
Bilionis, arXiv 2305.20004). First over all spectra of the prior, then for the observation alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from zuko.distributions import NormalizingFlow

from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.estimate.estimator import Amortised, split
from xspec_sixsa.infer.estimate.guide import COLDEST, Guide
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.settings import GUIDES

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Variational"]

BATCH = 64  # spectra of a step, with one draw of the guide each
HELD_OUT = 256  # spectra that judge the amortised guide


class Variational(Amortised):
    """The posterior given a recorded spectrum, as a guide that maximises the evidence lower bound.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Whose likelihood is used; only its errors, and the guide's, are left for importance weights.
    guide : {"flow", "gaussian"}, default "flow"
        A full-rank Gaussian in whitened probits, bent by a neural spline flow or not.
    hidden : int, default 64
    transforms : int, default 2
        Of the flow.
    steps : int, default 1500
        Two thirds of them over all spectra, the last third for the observation.
    learning_rate : float, default 3e-3
    """

    name = "variational"

    def __init__(
        self,
        emulator: SpectrumEmulator,
        guide: str = "flow",
        hidden: int = 64,
        transforms: int = 2,
        steps: int = 1500,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        if guide not in GUIDES:
            raise ValueError(f"Unknown guide {guide!r}: type one of {', '.join(GUIDES)}.")
        self.emulator, self.guide, self.hidden, self.transforms = emulator, guide, hidden, transforms
        self.steps, self.learning_rate = steps, learning_rate
        self.steps_to_condition, self._tuning_rate = steps // 3, learning_rate  # a third of it: it begins near
        self._coldest = COLDEST

    def _build(self, d: int, k: int) -> Guide:
        return Guide(self.guide, k, self.whitening, self.hidden, self.transforms)

    def _learn(
        self, theta: Tensor, summaries: Tensor, expected: Tensor, noise: Noise, tick: Callable[[int], None]
    ) -> None:
        held_out, rest = split(len(expected))
        held_out = held_out[:HELD_OUT]
        recorded_held_out = noise.draw(expected[held_out])

        def loss(recorded: Tensor, power: float) -> Tensor:
            context = self._informative(self.compressor(recorded))
            return self._network.bound(
                self.emulator, context, 1, lambda counts: noise.log_likelihood(recorded, counts), power
            )

        self.curve = self._network.amortise(
            lambda power: loss(noise.draw(expected[rest[torch.randint(len(rest), (BATCH,))]]), power),
            lambda: loss(recorded_held_out, 1.0),
            self.steps - self.steps_to_condition,
            self.learning_rate,
            tick,
            self._coldest,
        )
        self._tune(noise, tick)

    def train_on(
        self, u: NDArray[np.float64], expected: Tensor, noise: Noise, tick: Callable[[int], None] = lambda n: None
    ) -> None:
        """Train one that was restored for other noise: see `Amortised`. It begins nearer, and so does the power."""
        self._coldest = COLDEST**0.5
        super().train_on(u, expected, noise, tick)

    def _tune(self, noise: Noise, tick: Callable[[int], None]) -> None:
        """Move a copy of the amortised guide to where the observation's own likelihood is."""
        self._guide = copy.deepcopy(self._network)
        tuned = self._guide.tune(
            lambda draws: self._guide.bound(self.emulator, self._context, draws, noise.statistics.log_likelihood),
            self.steps_to_condition,
            self._tuning_rate,
            tick,
        )
        tuned["step"] = [max(self.curve.get("step", [0])) + step for step in tuned["step"]]
        self.curve = {key: self.curve.get(key, []) + tuned[key] for key in tuned}

    def condition(self, noise: Noise, tick: Callable[[int], None] = lambda n: None) -> None:
        """Look at this observation, and tune the guide to it."""
        super().condition(noise, tick)
        self._tune(noise, tick)

    def learn(self, theta: Tensor, summaries: Tensor, tick: Callable[[int], None] = lambda n: None) -> None:
        """Nothing to be learned from summaries alone."""
        raise TypeError("A variational guide learns from the likelihood of spectra: use `fit`.")

    def density(self, context: Tensor) -> NormalizingFlow:
        """The guide given summaries (k,) or (n, k)."""
        return self._guide(context)

    def given(self, noise: Noise) -> Self:
        """As it was before it was tuned to its own observation, conditioned on another one."""
        other = super().given(noise)
        other._guide = self._network
        return other
