"""Amortised variational inference: guides that the emulator's differentiable likelihood moves (expected ELBO).

Where other estimators learn from pairs of parameters and spectra, these are told the likelihood: a guide q given a
recorded spectrum x is drawn from, and moved to where ``E_x E_q [log L + log prior - log q]`` is largest (Karumuri &
Bilionis, arXiv 2305.20004). First over all spectra of the prior, then for the observation alone.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import zuko
from numpy.typing import NDArray
from torch import Tensor, nn
from zuko.distributions import NormalizingFlow
from zuko.transforms import AdditiveTransform, ComposedTransform, DependentTransform, LULinearTransform, Transform

from xspec_sixsa.infer.coordinates import EDGE
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.estimate.estimator import Amortised, split
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.training import train

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["GUIDES", "Variational"]

GUIDES = ("flow", "gaussian")

BATCH, DRAWS = 64, 64  # spectra of a step, with one draw of the guide each; draws for the observation
HELD_OUT = 256  # spectra that judge the amortised guide, and draws that judge the observation's
COLDEST = 1e-3  # power of the likelihood that a training begins with: guides begin far off
WARMED = 0.5  # of a training's steps, at whose end the power is one


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
        self.steps_to_condition, self._tuning_rate = steps // 3, learning_rate / 3  # it begins near
        self._coldest = COLDEST

    def _build(self, d: int, k: int) -> nn.Module:
        bends = zuko.flows.NSF(d, k, transforms=self.transforms, hidden_features=(self.hidden,) * 2, passes=2)
        parts = [_Affine(d, k, self.hidden), *(bends.transform.transforms if self.guide == "flow" else [])]
        guide: nn.Module = zuko.lazy.Flow(parts, bends.base)
        return guide

    def _learn(
        self, theta: Tensor, summaries: Tensor, expected: Tensor, noise: Noise, tick: Callable[[int], None]
    ) -> None:
        self._guide, over_all = self._network, self.steps - self.steps_to_condition
        held_out, rest = split(len(expected))
        held_out = held_out[:HELD_OUT]
        recorded_held_out = noise.draw(expected[held_out])

        def loss(recorded: Tensor, power: float) -> Tensor:
            context = self._informative(self.compressor(recorded))
            return self._bound(context, 1, lambda counts: noise.log_likelihood(recorded, counts), power)

        powers = _warming(over_all, self._coldest)
        self.curve = train(
            self._guide,
            lambda: loss(noise.draw(expected[rest[torch.randint(len(rest), (BATCH,))]]), next(powers)),
            lambda: loss(recorded_held_out, 1.0),
            steps=over_all,
            learning_rate=self.learning_rate,
            tick=tick,
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

        def own(draws: int) -> Tensor:
            return self._bound(self._context, draws, noise.statistics.log_likelihood, 1.0)

        tuned = train(
            self._guide,
            lambda: own(DRAWS),
            lambda: own(HELD_OUT),
            steps=self.steps_to_condition,
            learning_rate=self._tuning_rate,
            tick=tick,
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

    def _bound(self, context: Tensor, draws: int, log_likelihood: Callable[[Tensor], Tensor], power: float) -> Tensor:
        """Minus the evidence lower bound but for a constant, by so many reparameterised draws a context (n, k)."""
        w, log_q = self._guide(context).rsample_and_log_prob((draws,))
        z = torch.tensor(self.whitening.centre) + w.double() @ torch.tensor(self.whitening.factor).T
        u = torch.special.ndtr(z).clamp(EDGE, 1 - EDGE)
        value = log_likelihood(self.emulator.differentiable(u.flatten(0, 1)))
        return (log_q.double() + 0.5 * (z * z).sum(dim=-1)).mean() - power * value.mean()

    def density(self, context: Tensor) -> NormalizingFlow:
        """The guide given summaries (k,) or (n, k)."""
        return self._guide(context)

    def given(self, noise: Noise) -> Self:
        """As it was before it was tuned to its own observation, conditioned on another one."""
        other = super().given(noise)
        other._guide = self._network
        return other


class _Affine(zuko.lazy.LazyTransform):
    """To a unit normal by a shift and a triangular matrix that a network gives: a full-rank Gaussian's own map."""

    def __init__(self, d: int, context: int, hidden: int) -> None:
        super().__init__()
        self._d, self._rows = d, torch.tril_indices(d, d, -1)
        self.network = zuko.nn.MLP(context, 2 * d + d * (d - 1) // 2, (hidden, hidden), activation=nn.GELU)
        with torch.no_grad():  # begin with the prior
            self.network[-1].weight.mul_(1e-2)
            self.network[-1].bias.zero_()

    def forward(self, c: Tensor) -> Transform:
        found = self.network(c)
        shift, scale, rest = found.split([self._d, self._d, found.shape[-1] - 2 * self._d], dim=-1)
        factor = torch.diag_embed(scale.exp())
        factor[..., self._rows[0], self._rows[1]] = rest
        return ComposedTransform(DependentTransform(AdditiveTransform(-shift), 1), LULinearTransform(factor))


def _warming(steps: int, coldest: float) -> Iterator[float]:
    """Powers of the likelihood, step by step: geometrically up to one."""
    warm = int(WARMED * steps)
    yield from coldest ** (1 - torch.linspace(0, 1, warm)).double()
    yield from itertools.repeat(1.0)
