"""Power laws, plain, broken, curved and cut off; integrated over each energy bin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from xspec_sixsa.embedded.components.numerics import TINY_ENERGY, column, power_integral, simpson
from xspec_sixsa.embedded.componenttype import ComponentType, parameter

__all__ = ["COMPONENTS"]

INDEX = (1.0, -3.0, -2.0, 9.0, 10.0, 0.01)
BAND = ("POW_EMIN", "POW_EMAX")
"""Model strings that make the norm an energy flux between two energies."""


def _logs(edges: torch.Tensor) -> torch.Tensor:
    return edges.clamp_min(TINY_ENERGY).log()


def powerlaw(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """E**-PhoIndex photons/keV/cm2/s, normalised at 1 keV; integrated exactly, PhoIndex = 1 included."""
    x = _logs(edges)
    return power_integral(1.0 - column(p, 0), x[:-1], x[1:])


def zpowerlw(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A power law in the emitter's frame: [E (1 + z)]**-PhoIndex, normalised at 1 keV there; bins stretch by 1 + z."""
    exponent, stretch = 1.0 - column(p, 0), 1.0 + column(p, 1)
    x = _logs(edges)
    return power_integral(exponent, x[:-1], x[1:]) * torch.exp((exponent - 1.0) * stretch.log())


def cutoffpl(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """E**-PhoIndex exp(-E / HighECut), by Gauss-Legendre quadrature in ln E.

    XSPEC takes differences of incomplete gamma functions; the quadrature equals the integral to better than 1e-8.
    """
    x = _logs(edges)
    half, middle = 0.5 * (x[1:] - x[:-1]), 0.5 * (x[1:] + x[:-1])
    widest = float(half.max())
    order = 2 if widest < 0.01 else 4 if widest < 0.15 else 16 if widest < 1.5 else 64
    nodes, weights = np.polynomial.legendre.leggauss(order)
    exponent, rate = 1.0 - column(p, 0), 1.0 / column(p, 1)
    total = 0.0
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        at = middle + node * half
        total = total + weight * torch.exp(exponent * at - rate * at.exp())
    return total * half


def bknpower(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """E**-PhoIndx1 below BreakE, BreakE**(PhoIndx2 - PhoIndx1) E**-PhoIndx2 above; exact in the break's bin too."""
    x = _logs(edges)
    at = column(p, 1).clamp_min(TINY_ENERGY).log()
    low, high = torch.minimum(x, at), torch.maximum(x, at)
    soft, hard = 1.0 - column(p, 0), 1.0 - column(p, 2)
    below = power_integral(soft, low[:, :-1], low[:, 1:])
    return below + torch.exp((soft - hard) * at) * power_integral(hard, high[:, :-1], high[:, 1:])


def bkn2pow(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A power law with two breaks, continuous at both."""
    x = _logs(edges)
    first = column(p, 1).clamp_min(TINY_ENERGY).log()
    second = torch.maximum(column(p, 3).clamp_min(TINY_ENERGY).log(), first)
    a1, a2, a3 = (1.0 - column(p, i) for i in (0, 2, 4))
    pieces = torch.minimum(x, first), torch.minimum(torch.maximum(x, first), second), torch.maximum(x, second)
    scale = torch.exp((a1 - a2) * first)
    flux = power_integral(a1, pieces[0][:, :-1], pieces[0][:, 1:])
    flux = flux + scale * power_integral(a2, pieces[1][:, :-1], pieces[1][:, 1:])
    return flux + scale * torch.exp((a2 - a3) * second) * power_integral(a3, pieces[2][:, :-1], pieces[2][:, 1:])


def logpar(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """(E/pivotE)**(-alpha - beta log10(E/pivotE)) (Massaro et al. 2004, A&A 413, 489); Simpson's rule, as XSPEC."""
    alpha, beta, pivot = column(p, 0), column(p, 1), column(p, 2)

    def density(energy: torch.Tensor) -> torch.Tensor:
        x = energy.clamp_min(TINY_ENERGY).log() - pivot.log()
        return torch.exp(-(alpha + beta / math.log(10.0) * x) * x)

    return simpson(density(edges), density(0.5 * (edges[1:] + edges[:-1])), edges)


def expdec(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """exp(-factor E), integrated exactly; zero at factor = 0, as XSPEC has it."""
    factor = column(p, 0)
    safe = torch.where(factor == 0.0, 1.0, factor)
    flux = torch.exp(-safe * edges[:-1]) * -torch.expm1(-safe * (edges[1:] - edges[:-1])) / safe
    return torch.where(factor == 0.0, 0.0, flux)


def pegpwrlw(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A power law of energy flux 1e-12 erg/cm2/s between eMin and eMax; of 1 micro-Jy where they are equal."""
    index, low, high = column(p, 0), column(p, 1), column(p, 2)
    plain = (low <= 0.0) | (high <= 0.0)
    point = (low == high) & ~plain
    low_safe = torch.where(plain, 1.0, low)
    high_safe = torch.where(plain | point, 2.0 * low_safe, high)
    energy_flux = 1.602e3 * power_integral(2.0 - index, low_safe.log(), high_safe.log())
    scale = torch.where(point, 1.509e-3 * torch.exp((index - 1.0) * low_safe.log()), 1.0 / energy_flux)
    return powerlaw(edges, p) * torch.where(plain, 1.0, scale)


COMPONENTS = (
    ComponentType("powerlaw", "add", (parameter("PhoIndex", "", *INDEX),), powerlaw, strings=BAND),
    ComponentType(
        "zpowerlw",
        "add",
        (parameter("PhoIndex", "", *INDEX), parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01)),
        zpowerlw,
        strings=BAND,
    ),
    ComponentType(
        "cutoffpl",
        "add",
        (parameter("PhoIndex", "", *INDEX), parameter("HighECut", "keV", 15.0, 0.01, 1.0, 500.0, 500.0, 0.01)),
        cutoffpl,
        strings=BAND,
    ),
    ComponentType(
        "bknpower",
        "add",
        (
            parameter("PhoIndx1", "", *INDEX),
            parameter("BreakE", "keV", 5.0, 0.0, 1e-2, 1e6, 1e6, 0.01),
            parameter("PhoIndx2", "", 2.0, *INDEX[1:]),
        ),
        bknpower,
        strings=BAND,
    ),
    ComponentType(
        "bkn2pow",
        "add",
        (
            parameter("PhoIndx1", "", *INDEX),
            parameter("BreakE1", "keV", 5.0, 0.0, 1e-2, 1e6, 1e6, 0.01),
            parameter("PhoIndx2", "", 2.0, *INDEX[1:]),
            parameter("BreakE2", "keV", 10.0, 0.0, 1e-2, 1e6, 1e6, 0.01),
            parameter("PhoIndx3", "", 3.0, *INDEX[1:]),
        ),
        bkn2pow,
        strings=BAND,
    ),
    ComponentType(
        "logpar",
        "add",
        (
            parameter("alpha", "", 1.5, 0.0, 0.0, 4.0, 4.0, 0.01),
            parameter("beta", "", 0.2, -4.0, -4.0, 4.0, 4.0, 0.01),
            parameter("pivotE", "", 1.0, 1e-10, 1e-10, 1e10, 1e10, -1.0, kind="scale"),
        ),
        logpar,
    ),
    ComponentType("expdec", "add", (parameter("factor", "", 1.0, 0.0, 0.0, 100.0, 100.0, 0.01),), expdec),
    ComponentType(
        "pegpwrlw",
        "add",
        (
            parameter("PhoIndex", "", *INDEX),
            parameter("eMin", "keV", 2.0, -100.0, -100.0, 1e10, 1e10, -0.01),
            parameter("eMax", "keV", 10.0, -100.0, -100.0, 1e10, 1e10, -0.01),
        ),
        pegpwrlw,
    ),
)
