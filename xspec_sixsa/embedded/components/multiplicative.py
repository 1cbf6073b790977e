"""Factors that are not photoelectric absorption: constants, edges, cut-offs; averaged over each bin as XSPEC does."""

from __future__ import annotations

from typing import Any

import torch

from xspec_sixsa.embedded.components.numerics import TINY_ENERGY, column, power_integral, redshifted
from xspec_sixsa.embedded.componenttype import ComponentType, parameter

__all__ = ["COMPONENTS"]

REDSHIFT = parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01)
ELECTRON_REST = 510.999  # keV


def _mean(at_edges: torch.Tensor) -> torch.Tensor:
    return 0.5 * (at_edges[..., :-1] + at_edges[..., 1:])


def constant(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """The same factor at all energies."""
    return column(p, 0).expand(p.shape[0], edges.numel() - 1)


def _edge(edges: torch.Tensor, threshold: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    exists = threshold > 0.0
    x = edges / torch.where(exists, threshold, 1.0)
    above = torch.exp(-depth * x.clamp_min(1.0) ** -3)
    low, high = x[..., :-1], x[..., 1:]
    whole = 0.5 * (above[..., :-1] + above[..., 1:])
    split = ((1.0 - low) + 0.5 * (torch.exp(-depth) + above[..., 1:]) * (high - 1.0)) / (high - low)
    factor = torch.where(low >= 1.0, whole, torch.where(high >= 1.0, split, 1.0))
    return torch.where(exists, factor, 1.0)


def edge(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """1 below edgeE, exp(-MaxTau (E/edgeE)**-3) above."""
    return _edge(edges, column(p, 0), column(p, 1))


def zedge(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`edge` in the emitter's frame."""
    return _edge(redshifted(edges, column(p, 2)), column(p, 0), column(p, 1))


def _cut(edges: torch.Tensor, start: torch.Tensor, fold: torch.Tensor) -> torch.Tensor:
    # XSPEC lets the exponent never fall below 0.001 keV / foldE
    return _mean(torch.exp(-(edges - start).clamp_min(0.001) / fold))


def highecut(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """1 below cutoffE, exp((cutoffE - E)/foldE) above."""
    return _cut(edges, column(p, 0), column(p, 1))


def zhighect(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`highecut` in the emitter's frame."""
    return _cut(redshifted(edges, column(p, 2)), column(p, 0), column(p, 1))


def expabs(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """exp(-LowECut/E)."""
    return _mean(torch.exp(-column(p, 0) / edges.clamp_min(TINY_ENERGY)))


def plabs(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """Coef E**-index, averaged over each bin."""
    x = edges.clamp_min(TINY_ENERGY).log()
    return column(p, 1) * power_integral(1.0 - column(p, 0), x[:-1], x[1:]) / (edges[1:] - edges[:-1])


def cabs(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """Compton scattering out of the line of sight: exp(-1.21 nH sigma), sigma that of Klein & Nishina at mid-bin.

    Rybicki & Lightman (1979), eq. 7.5; below 13 keV its expansion in E / 511 keV.
    """
    w = 0.5 * (edges[1:] + edges[:-1]) / ELECTRON_REST
    small = w <= 0.025
    series = 1.0 + w * (-140 + w * (364 + w * (-931 + w * (2288 - w * 5440)))) / 70.0
    s = torch.where(small, 1.0, w)
    log = torch.log1p(2 * s)
    full = 0.75 * (
        (1 + s) / s**3 * (2 * s * (1 + s) / (1 + 2 * s) - log) + log / (2 * s) - (1 + 3 * s) / (1 + 2 * s) ** 2
    )
    return torch.exp(-column(p, 0) * (1.21 * 0.665e-2) * torch.where(small, series, full))


def spexpcut(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """exp(-(E/Ecut)**alpha)."""
    x = edges.clamp_min(TINY_ENERGY).log() - column(p, 0).clamp_min(TINY_ENERGY).log()
    return _mean(torch.exp(-torch.exp((column(p, 1) * x).clamp_max(7.0))))


def _edge_parameters(redshift: bool) -> tuple:
    own = (
        parameter("edgeE", "keV", 7.0, 0.0, 0.0, 100.0, 100.0, 0.05),
        parameter("MaxTau", "", 1.0, 0.0, 0.0, 5.0, 10.0, 0.01),
    )
    return (*own, REDSHIFT) if redshift else own


def _cut_parameters(soft: float, hard: float) -> tuple:
    return (
        parameter("cutoffE", "keV", 10.0, 1e-4, 1e-2, soft, hard, 0.01),
        parameter("foldE", "keV", 15.0, 1e-4, 1e-2, soft, hard, 0.01),
    )


COMPONENTS = (
    ComponentType("constant", "mul", (parameter("factor", "", 1.0, 0.0, 0.0, 1e10, 1e10, 0.01),), constant),
    ComponentType("edge", "mul", _edge_parameters(False), edge),
    ComponentType("zedge", "mul", _edge_parameters(True), zedge),
    ComponentType("highecut", "mul", _cut_parameters(1e6, 1e6), highecut),
    ComponentType("zhighect", "mul", (*_cut_parameters(100.0, 200.0), REDSHIFT), zhighect),
    ComponentType("expabs", "mul", (parameter("LowECut", "keV", 2.0, 0.0, 0.0, 100.0, 200.0, 0.01),), expabs),
    ComponentType(
        "plabs",
        "mul",
        (
            parameter("index", "", 2.0, 0.0, 0.0, 5.0, 5.0, 0.01),
            parameter("coef", "", 1.0, 0.0, 0.0, 100.0, 100.0, 0.01),
        ),
        plabs,
    ),
    ComponentType("cabs", "mul", (parameter("nH", "10^22", 1.0, 0.0, 0.0, 1e5, 1e6, 1e-3),), cabs),
    ComponentType(
        "spexpcut",
        "mul",
        (
            parameter("Ecut", "keV", 10.0, 0.0, 0.0, 1e6, 1e6, 0.1),
            parameter("alpha", "", 1.0, -5.0, -5.0, 5.0, 5.0, 0.01),
        ),
        spexpcut,
    ),
)
