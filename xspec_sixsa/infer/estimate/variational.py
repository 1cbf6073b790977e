"""Amortised variational inference: guides that the emulator's differentiable likelihood moves (expected ELBO).

Where other estimators learn from pairs of parameters and spectra, these are told the likelihood: a guide q given a
recorded spectrum x is drawn from, and moved to where ``E_x E_q [log L + log prior - log q]`` is largest (Karumuri &
Bilionis, arXiv 2305.20004). First over all spectra of the prior, then for the observation alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from zuko.distributions import NormalizingFlow

from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.estimate.estimator import Amortised, split
from xspec_sixsa.infer.estimate.guide import Guide
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

    def _learn(
        self, theta: Tensor, summaries: Tensor, expected: Tensor, noise: Noise, tick: Callable[[int], None]
    ) -> None:
        self._guide = Guide(self.guide, summaries.shape[2], self.whitening, self.hidden, self.transforms)
        last = self.steps // 3
        held_out, rest = split(len(expected))
        held_out = held_out[:HELD_OUT]
        recorded_held_out = noise.draw(expected[held_out])

        def loss(recorded: Tensor, power: float) -> Tensor:
            context = self._informative(self.compressor(recorded))
            return self._bound(context, 1, lambda counts: noise.log_likelihood(recorded, counts), power)

        self.curve = self._guide.amortise(
            lambda power: loss(noise.draw(expected[rest[torch.randint(len(rest), (BATCH,))]]), power),
            lambda: loss(recorded_held_out, 1.0),
            self.steps - last,
            self.learning_rate,
            tick,
        )
        self._amortised = copy.deepcopy(self._guide)
        tuned = self._guide.tune(
            lambda draws: self._bound(self._context, draws, noise.statistics.log_likelihood),
            last,
            self.learning_rate,
            tick,
        )
        tuned["step"] = [self.steps - last + step for step in tuned["step"]]
        self.curve = {key: self.curve[key] + tuned[key] for key in tuned}

    def learn(self, theta: Tensor, summaries: Tensor, tick: Callable[[int], None] = lambda n: None) -> None:
        """Nothing to be learned from summaries alone."""
        raise TypeError("A variational guide learns from the likelihood of spectra: use `fit`.")

    def _bound(
        self, context: Tensor, draws: int, log_likelihood: Callable[[Tensor], Tensor], power: float = 1.0
    ) -> Tensor:
        return self._guide.bound(self.emulator, context, draws, log_likelihood, power)

    def density(self, context: Tensor) -> NormalizingFlow:
        """The guide given summaries (k,) or (n, k)."""
        return self._guide(context)

    def given(self, noise: Noise) -> Self:
        """As it was before it was tuned to its own observation, conditioned on another one."""
        other = super().given(noise)
        other._guide = self._amortised
        return other
