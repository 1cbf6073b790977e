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

BATCH = 1024  # the scatter of a smaller one stays in the many coefficients
DEGREE = 2  # of the B-splines, as in the paper
CELLS = {1: 512, 2: 48}  # between the nodes of the quadrature, along each parameter of a family
SPLINES = {1: 48, 2: 16}  # along each parameter
ADAPTIVE = 20  # functions of an adaptive basis, as in the paper
TINY = 1e-12  # of a tent, at its edge
SCALE = 40.0  # the largest logarithm of density ratios that an adaptive basis can say, over two


class LatentBasis(Amortised):
    """The posterior given a recorded spectrum, as an exponential family of latent basis functions.

    Parameters
    ----------
    basis : {"splines", "adaptive"}, default "splines"
        Fixed quadratic B-splines, or fewer functions that are learned from them, on the unit sphere.
    hidden : int, default 64
    steps : int, default 1000
    learning_rate : float, default 1e-2

    Notes
    -----
    Two parameters make one family, on a grid of their own; one, or more than two, a chain of families of one parameter
    each. Densities are linear, or bilinear, between the nodes of the quadrature: a mixture of tents, one at each node,
    which is normalised, and drawn from, exactly.
    """

    name = "lbf"

    def __init__(
        self, basis: str = "splines", hidden: int = 64, steps: int = 1000, learning_rate: float = 1e-2
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

    nodes: Tensor
    log_volumes: Tensor

    def __init__(self, width: int, context: int, basis: str, hidden: int) -> None:
        super().__init__()
        self.width, self.cells = width, CELLS[width]
        axis = np.linspace(0, 1, self.cells + 1)
        volumes = np.where((axis > 0) & (axis < 1), 1.0, 0.5) / self.cells  # halves of tents stand at the edges
        self.nodes = _pairs(torch.tensor(axis), width)
        self.log_volumes = _pairs(torch.tensor(volumes), width).log().sum(dim=-1).float()
        splines = _Splines(width, axis)
        self.basis = splines if basis == "splines" else _Sphere(splines)
        self.coefficients = zuko.nn.MLP(context, self.basis.functions, (hidden, hidden), activation=nn.GELU)
        with torch.no_grad():  # begin with the prior
            last = self.coefficients[-1]
            last.weight.mul_(1e-2), last.bias.zero_()

    def log_masses(self, context: Tensor) -> Tensor:
        """Log probability of every node's tent, (..., nodes), given contexts (..., k)."""
        return torch.log_softmax(self.basis(self.coefficients(context)) + self.log_volumes, dim=-1)

    def log_density(self, v: Tensor, log_masses: Tensor) -> Tensor:
        """Log density (...,) at points v (..., width) of the unit interval, given tents' log masses (..., nodes)."""
        low = (v * self.cells).long().clamp(0, self.cells - 1)
        corners = low[..., None, :] + _pairs(torch.tensor([0, 1]), self.width)
        tents = 1 - (v[..., None, :] * self.cells - corners).abs()
        log_tents = tents.clamp(min=TINY).log().sum(dim=-1).float()
        place = corners[..., 0] if self.width == 1 else corners[..., 0] * (self.cells + 1) + corners[..., 1]
        return torch.logsumexp(log_masses.gather(-1, place) - self.log_volumes[place] + log_tents, dim=-1)


def _pairs(axis: Tensor, width: int) -> Tensor:
    """The values of an axis (n,), or all pairs of them: (n^width, width)."""
    return torch.cartesian_prod(*[axis] * width).reshape(-1, width)


class _Splines(nn.Module):
    """Uniform B-splines, or products of two: coefficients (..., functions) to their sums at nodes."""

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
    """Functions that are learned, as sums of B-splines, of unit length at every point, as the coefficients are.

    Only angles matter: else the scale of the one could be taken for the other's.
    """

    def __init__(self, splines: _Splines) -> None:
        super().__init__()
        self.functions, self.splines = ADAPTIVE - 1, splines
        self.sums = nn.Parameter(0.03 * torch.randn(self.functions, splines.functions))  # near the prior

    def forward(self, coefficients: Tensor) -> Tensor:
        return (SCALE * projected(coefficients)) @ projected(self.splines(self.sums).T).T


def projected(u: Tensor) -> Tensor:
    """Points (..., k) on the unit sphere in k + 1 dimensions, by stereographic projection."""
    square = (u * u).sum(dim=-1, keepdim=True)
    return torch.cat([2 * u, 1 - square], dim=-1) / (1 + square)


class _Chain:
    """A chain of families as a density over whitened coordinates, in which a unit normal is their base."""

    def __init__(self, families: Iterable[Any], context: Tensor) -> None:
        self._families, self._context = families, context

    def _log_masses(self, family: _Family, before: Tensor) -> Tensor:
        """Of every tent, (*batch, nodes), given the context and points (..., d) before; without these just once."""
        if before.shape[-1] == 0:
            return family.log_masses(self._context)
        return family.log_masses(torch.cat([self._context.expand(*before.shape[:-1], -1), before], dim=-1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density (...,) of points (..., d)."""
        v, begin = torch.special.ndtr(value.double()), 0
        found = -0.5 * (value * value).sum(dim=-1) - 0.5 * value.shape[-1] * np.log(2 * np.pi)
        for family in self._families:
            masses = self._log_masses(family, value[..., :begin]).expand(*value.shape[:-1], -1)
            found = found + family.log_density(v[..., begin : begin + family.width], masses)
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
            nodes = torch.searchsorted(probability, draws.double() * probability[..., -1:])
            node = family.nodes[nodes.movedim(-1, 0).reshape(batch)]
            off = torch.rand(2, *node.shape, dtype=node.dtype).sum(dim=0) - 1
            v = 1 - (1 - (node + off / family.cells).abs()).abs()  # tents at the edges are folded in
            w = torch.cat([w, torch.special.ndtri(v).float()], dim=-1)
        return w
