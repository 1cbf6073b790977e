"""A density of parameters given what is known of a spectrum, moved by a differentiable likelihood (expected ELBO)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
import zuko
from torch import Tensor, nn
from zuko.distributions import NormalizingFlow
from zuko.transforms import AdditiveTransform, ComposedTransform, DependentTransform, LULinearTransform, Transform

from xspec_sixsa.infer.coordinates import EDGE, Whitening
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.training import CHECKS, train

__all__ = ["COLDEST", "Guide"]

DRAWS = 64  # of a step for one spectrum alone
HELD_OUT = 256  # draws that judge it
COLDEST = 1e-3  # power of the likelihood that a training begins with: guides begin far off
WARMED = 0.5  # of a training's steps, at whose end the power is one


class Guide(nn.Module):
    """A full-rank Gaussian in whitened probits, bent by a neural spline flow or not, conditioned on a context.

    Parameters
    ----------
    kind : {"flow", "gaussian"}
    context : int
        Numbers that it is told of a spectrum.
    whitening : Whitening
        Its coordinates.
    hidden : int, default 64
    transforms : int, default 2
        Of the flow.
    """

    def __init__(self, kind: str, context: int, whitening: Whitening, hidden: int = 64, transforms: int = 2) -> None:
        super().__init__()
        d = len(whitening.centre)
        bends = zuko.flows.NSF(d, context, transforms=transforms, hidden_features=(hidden,) * 2, passes=2)
        parts = [_Affine(d, context, hidden), *(bends.transform.transforms if kind == "flow" else [])]
        self._network, self._whitening = zuko.lazy.Flow(parts, bends.base), whitening

    def forward(self, context: Tensor) -> NormalizingFlow:
        """The density given contexts (k,) or (n, k), over whitened coordinates."""
        return self._network(context)

    def bound(
        self,
        emulator: SpectrumEmulator,
        context: Tensor,
        draws: int,
        log_likelihood: Callable[[Tensor], Tensor],
        power: float = 1.0,
    ) -> Tensor:
        """Minus the evidence lower bound but for a constant, by so many reparameterised draws a context (n, k).

        Parameters
        ----------
        emulator : SpectrumEmulator
        context : Tensor, shape (n, k)
        draws : int
        log_likelihood : callable
            Of expected counts (draws * n, n_bins), draw by draw; (draws * n,).
        power : float, default 1.0
            Of the likelihood.
        """
        w, log_q = self._network(context).rsample_and_log_prob((draws,))
        z = torch.tensor(self._whitening.centre) + w.double() @ torch.tensor(self._whitening.factor).T
        u = torch.special.ndtr(z).clamp(EDGE, 1 - EDGE)
        value = log_likelihood(emulator.differentiable(u.flatten(0, 1)))
        return (log_q.double() + 0.5 * (z * z).sum(dim=-1)).mean() - power * value.mean()

    def amortise(
        self,
        loss: Callable[[float], Tensor],
        validation: Callable[[], Tensor],
        steps: int,
        learning_rate: float,
        tick: Callable[[int], None],
        coldest: float = COLDEST,
    ) -> dict[str, list[float]]:
        """Train over many spectra: the loss of a fresh batch, for a power that rises to one; gives `train`'s curve."""
        powers = _warming(steps, coldest)
        return train(
            self._network, lambda: loss(next(powers)), validation, steps=steps, learning_rate=learning_rate, tick=tick
        )

    def tune(
        self,
        loss: Callable[[int], Tensor],
        steps: int,
        learning_rate: float,
        tick: Callable[[int], None] = lambda n: None,
        checks: int = CHECKS,
    ) -> dict[str, list[float]]:
        """Train for one spectrum, from near: the loss of so many draws; gives `train`'s curve."""
        return train(
            self._network,
            lambda: loss(DRAWS),
            lambda: loss(HELD_OUT),
            steps=steps,
            learning_rate=learning_rate / 3,
            tick=tick,
            checks=checks,
        )


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
