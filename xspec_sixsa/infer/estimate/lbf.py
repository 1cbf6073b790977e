"""Neural posterior estimation with latent basis expansions: the log density is a sum of basis functions.

A network turns a summary into the coefficients of basis functions of the parameters. The density is the exponential of
their sum, normalised by quadrature: an exponential family, whose loss is convex in the coefficients where the basis is
fixed (LBF-NPE, ICLR 2026, https://openreview.net/forum?id=jsPQFNmnln). There it is for one or two parameters; here the
chain rule takes it to any number: each parameter's density is such a family, given the summary and those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import zuko
from scipy.interpolate import BSpline
from torch import Tensor, nn

from xspec_sixsa.infer.estimate.estimator import Amortised, split
from xspec_sixsa.infer.training import train

__all__ = ["BASES", "LatentBasis"]

BASES = ("splines", "adaptive")

BATCH = 256
DEGREE = 2  # of the B-splines, as in the paper
CELLS = {1: 1024, 2: 96}  # of the quadrature, along each parameter of a family
SPLINES = {1: 48, 2: 16}  # along each parameter
ADAPTIVE = 20  # functions of an adaptive basis, as in the paper
SCALE = 40.0  # the largest logarithm of density ratios that an adaptive basis can say, over two


class LatentBasis(Amortised):
    """The posterior given a recorded spectrum, as an exponential family of latent basis functions.

    Parameters
    ----------
    basis : {"splines", "adaptive"}, default "splines"
        Fixed quadratic B-splines, or the outputs of a second network on the unit sphere.
    hidden : int, default 64
    steps : int, default 1000
    learning_rate : float, default 3e-3

    Notes
    -----
    Two parameters make one family, on a grid of their own; one, or more than two, a chain of families of one parameter
    each. Densities are constant in each cell of the quadrature, so that draws have exactly the density that is said.
    """

    name = "lbf"

    def __init__(
        self, basis: str = "splines", hidden: int = 64, steps: int = 1000, learning_rate: float = 3e-3
    ) -> None:
        super().__init__()
        if basis not in BASES:
            raise ValueError(f"Unknown basis {basis!r}: type one of {', '.join(BASES)}.")
        self.basis, self.hidden, self.steps, self.learning_rate = basis, hidden, steps, learning_rate

    def _build(self, d: int, k: int) -> nn.ModuleList:
        width, families = (2, 1) if d == 2 else (1, d)
        return nn.ModuleList(_Family(width, k + number, self.basis, self.hidden) for number in range(families))

    def learn(self, theta: Tensor, summaries: Tensor, tick: Callable[[int], None] = lambda n: None) -> None:
        """Learn from parameters (n, d) that scatter about like a unit normal, and summaries (replicas, n, k)."""
        network = self._network
        held_out, rest = split(len(theta))

        def loss(rows: Tensor, context: Tensor) -> Tensor:
            return -_Chain(network, context).log_prob(theta[rows]).mean()

        def batch_loss() -> Tensor:
            i = rest[torch.randint(len(rest), (BATCH,))]
            return loss(i, summaries[torch.randint(len(summaries), (BATCH,)), i])

        self.curve = train(
            network,
            batch_loss,
            lambda: loss(held_out, summaries[0, held_out]),
            steps=self.steps,
            learning_rate=self.learning_rate,
            tick=tick,
        )

    def density(self, context: Tensor) -> _Chain:
        """The family's density given summaries (k,) or (n, k)."""
        return _Chain(self._network, context)


class _Family(nn.Module):
    """A density of one or two numbers in the unit interval, given a context: ``exp(coefficients . basis) / norm``."""

    middles: Tensor

    def __init__(self, width: int, context: int, basis: str, hidden: int) -> None:
        super().__init__()
        self.width, self.cells = width, CELLS[width]
        axis = (np.arange(self.cells) + 0.5) / self.cells
        self.middles = torch.tensor(np.stack(np.meshgrid(*[axis] * width, indexing="ij"), axis=-1).reshape(-1, width))
        self.basis = _Splines(width, axis) if basis == "splines" else _Sphere(self.middles, hidden)
        self.coefficients = zuko.nn.MLP(context, self.basis.functions, (hidden, hidden), activation=nn.GELU)
        with torch.no_grad():  # begin with the prior
            last = self.coefficients[-1]
            last.weight.mul_(1e-2), last.bias.zero_()

    def log_masses(self, context: Tensor) -> Tensor:
        """Log probability of every cell, (..., cells^width), given contexts (..., k)."""
        return torch.log_softmax(self.basis(self.coefficients(context)), dim=-1)

    def cell(self, v: Tensor) -> Tensor:
        """The cells (...,) that points v (..., width) of the unit interval lie in."""
        index = (v * self.cells).long().clamp(0, self.cells - 1)
        return index[..., 0] if self.width == 1 else index[..., 0] * self.cells + index[..., 1]


class _Splines(nn.Module):
    """Uniform B-splines, or products of two: coefficients (..., functions) to their sums at the middles of cells."""

    table: Tensor

    def __init__(self, width: int, axis: np.ndarray) -> None:
        super().__init__()
        self.width, n = width, SPLINES[width]
        knots = np.concatenate([[0.0] * DEGREE, np.linspace(0, 1, n - DEGREE + 1), [1.0] * DEGREE])
        table = BSpline.design_matrix(axis, knots, DEGREE).toarray()
        self.functions = n**width
        self.register_buffer("table", torch.tensor(table, dtype=torch.float32))

    def forward(self, coefficients: Tensor) -> Tensor:
        if self.width == 1:
            return coefficients @ self.table.T
        square = coefficients.unflatten(-1, (-1, self.table.shape[1]))
        return (self.table @ square @ self.table.T).flatten(-2)


class _Sphere(nn.Module):
    """Functions that a network learns, of unit length at every point, as the coefficients are: only angles matter.

    Without that the scale of the one could be taken for the other's.
    """

    middles: Tensor

    def __init__(self, middles: Tensor, hidden: int) -> None:
        super().__init__()
        self.functions = ADAPTIVE - 1
        self.register_buffer("middles", (4 * middles - 2).float())
        self.network = zuko.nn.MLP(middles.shape[1], self.functions, (hidden, hidden), activation=nn.GELU)

    def forward(self, coefficients: Tensor) -> Tensor:
        return SCALE * projected(coefficients) @ projected(self.network(self.middles)).T


def projected(u: Tensor) -> Tensor:
    """Points (..., k) on the unit sphere in k + 1 dimensions, by stereographic projection."""
    square = (u * u).sum(dim=-1, keepdim=True)
    return torch.cat([2 * u, 1 - square], dim=-1) / (1 + square)


class _Chain:
    """A chain of families as a density over whitened coordinates, in which a unit normal is their base."""

    def __init__(self, families: Iterable[Any], context: Tensor) -> None:
        self._families, self._context = families, context

    def _log_masses(self, family: _Family, before: Tensor) -> Tensor:
        """Of every cell, (*batch, cells), given the context and points (..., d) before; without these just once."""
        if before.shape[-1] == 0:
            return family.log_masses(self._context)
        return family.log_masses(torch.cat([self._context.expand(*before.shape[:-1], -1), before], dim=-1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density (...,) of points (..., d)."""
        v, begin = torch.special.ndtr(value.double()), 0
        found = -0.5 * (value * value).sum(dim=-1) - 0.5 * value.shape[-1] * np.log(2 * np.pi)
        for family in self._families:
            masses = self._log_masses(family, value[..., :begin]).expand(*value.shape[:-1], -1)
            cells = family.cell(v[..., begin : begin + family.width])
            found = found + masses.gather(-1, cells[..., None])[..., 0] + np.log(len(family.middles))
            begin += family.width
        return found

    @torch.no_grad()
    def sample(self, shape: tuple[int, ...] = ()) -> Tensor:
        """Points (*shape, *batch, d)."""
        batch = (*shape, *self._context.shape[:-1])
        w = torch.empty(*batch, 0)
        for family in self._families:
            probability = self._log_masses(family, w).double().exp().cumsum(dim=-1)
            # many draws of each density of the first family, one each of the others'
            draws = torch.rand(*probability.shape[:-1], int(np.prod(batch) // np.prod(probability.shape[:-1])))
            cells = torch.searchsorted(probability, draws.double() * probability[..., -1:])
            middle = family.middles[cells.movedim(-1, 0).reshape(batch)]
            v = middle + (torch.rand(middle.shape, dtype=middle.dtype) - 0.5) / family.cells
            w = torch.cat([w, torch.special.ndtri(v).float()], dim=-1)
        return w
