"""Latent basis functions beside a neural spline flow on posteriors of two parameters: bands, a ring, a spiral.

    python benchmarks/bases.py --seeds 1 --seeds 2 --seeds 3

Parameters are uniform in the square from -1 to 1, and one number is observed with Gaussian noise: their sum's
absolute value, their distance from the middle, or the sine of an angle that turns with it. After the toys of LBF-NPE
(ICLR 2026), whose formulas and noise are the paper's own: compare the methods, and digits with the paper's with care.
The 256,000 simulations are as many as 1,000 steps of the flow see: few teach a flexible density their own scatter.
The forward KL is taken by quadrature on 200 x 200 points, for 50 observations that no network has seen.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable

import click
import numpy as np
import torch
from torch import Tensor

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.estimate.estimator import Amortised
from xspec_sixsa.infer.estimate.lbf import LatentBasis
from xspec_sixsa.infer.estimate.npe import NeuralPosterior

OBSERVATIONS, POINTS = 50, 200
EDGE = 1e-12  # of the unit square, at which probits are cut


def bands(z: Tensor) -> Tensor:
    return z.sum(dim=1).abs()


def ring(z: Tensor) -> Tensor:
    return z.norm(dim=1)


def spiral(z: Tensor) -> Tensor:
    return torch.sin(torch.atan2(z[:, 1], z[:, 0]) - 6 * z.norm(dim=1))


TOYS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "bands": (bands, 0.1), "ring": (ring, 0.1), "spiral": (spiral, 0.3)
}  # fmt: skip
METHODS: dict[str, Callable[[int], Amortised]] = {
    "nsf": lambda steps: NeuralPosterior(steps=steps),
    "splines": lambda steps: LatentBasis(steps=steps),
    "adaptive": lambda steps: LatentBasis(basis="adaptive", steps=steps),
}


def forward_kl(toy: str, method: str, steps: int, simulations: int) -> dict[str, float]:
    """Mean over observations, nats, with its standard error; and the seconds of the training."""
    observe, sigma = TOYS[toy]
    v = torch.rand(simulations, 2, dtype=torch.float64).clamp(EDGE, 1 - EDGE)
    x = observe(2 * v - 1) + sigma * torch.randn(1, simulations, dtype=torch.float64)
    centre, spread = x.mean(), x.std()
    estimator, began = METHODS[method](steps), time.monotonic()
    estimator.begin(2, 1)
    estimator.learn(torch.special.ndtri(v).float(), ((x - centre) / spread).float()[:, :, None])
    seconds = time.monotonic() - began
    axis = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    grid = torch.cartesian_prod(axis, axis)
    expected, w = observe(2 * grid - 1), torch.special.ndtri(grid).float()
    base = torch.distributions.Normal(0.0, 1.0).log_prob(w).sum(dim=1)
    found = []
    for truth in 2 * torch.rand(OBSERVATIONS, 1, 2, dtype=torch.float64) - 1:
        seen = observe(truth) + sigma * torch.randn(1, dtype=torch.float64)
        log_p = torch.log_softmax(-0.5 * ((seen - expected) / sigma) ** 2, dim=0)
        with torch.no_grad():
            log_q = estimator.density(((seen - centre) / spread).float()).log_prob(w) - base
        found.append(float(log_p.exp() @ (log_p + np.log(len(grid)) - log_q)))
    return {"kl": float(np.mean(found)), "kl_err": float(np.std(found) / OBSERVATIONS**0.5), "seconds": seconds}


@click.command(help=__doc__)
@click.option("--toy", "toys", multiple=True, type=click.Choice([*TOYS]), default=[*TOYS])
@click.option("--method", "methods", multiple=True, type=click.Choice([*METHODS]), default=[*METHODS])
@click.option("--steps", type=int, default=1000)
@click.option("--simulations", type=int, default=256_000)
@click.option("--seeds", multiple=True, type=int, default=(1,), help="Repeat for several.")
def main(toys: tuple[str, ...], methods: tuple[str, ...], steps: int, simulations: int, seeds: tuple[int, ...]) -> None:
    """Train and measure; see the module's docstring."""
    with one_thread():
        for toy, method, seed in itertools.product(toys, methods, seeds):
            with Streams(seed).torch("bases"):
                found = forward_kl(toy, method, steps, simulations)
            click.echo(json.dumps({"toy": toy, "method": method, "seed": seed, **found}))


if __name__ == "__main__":
    main()
