"""Comptonisation of soft photons in a hot plasma."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from xspec_sixsa.embedded.components.numerics import column, differentiated, lower_gamma, smooth_energies, trapezoid
from xspec_sixsa.embedded.componenttype import ComponentType, parameter

__all__ = ["COMPONENTS"]

ELECTRON_REST = 511.0  # keV
STEEPEST = 10.0  # XSPEC holds the spectral index alpha here
CONVERGED = 1e-4  # XSPEC stops iterating alpha when a step is smaller; its answer carries that step
ITERATIONS = 50


def _beta(tau: torch.Tensor, sphere: torch.Tensor) -> torch.Tensor:
    """Return the eigenvalue beta of the diffusion of photons (Titarchuk 1994, ApJ 434, 570, eqs. 27-30)."""
    thin = tau <= 0.1
    thick_tau = torch.where(thin, 1.0, tau)
    t23 = (thick_tau + 2.0 / 3.0) ** 2
    ball = math.pi**2 * -torch.expm1(-0.7 * thick_tau) / (3.0 * t23) + torch.exp(-1.4 * thick_tau) * torch.log(
        4.0 / (3.0 * thick_tau)
    )
    slab = math.pi**2 * -torch.expm1(-1.35 * thick_tau) / (12.0 * t23)
    slab = slab + 0.45 * torch.exp(-3.7 * thick_tau) * torch.log(10.0 / (3.0 * thick_tau))
    thin_tau = torch.where(thin, tau, 0.1)
    thin_ball = torch.log(4.0 / (3.0 * thin_tau))
    thin_slab = -torch.log(thin_tau * torch.log(1.53 / thin_tau))
    return torch.where(sphere, torch.where(thin, thin_ball, ball), torch.where(thin, thin_slab, slab))


def _correction(tau: torch.Tensor, kt: torch.Tensor, sphere: torch.Tensor) -> torch.Tensor:
    """Return the factor by which scattering in a finite cloud shifts photons (Hua & Titarchuk 1995, ApJ 449, 188)."""
    effective = tau / (1.0 + (kt / 39.2) ** 0.86)
    small = effective < 0.01
    t = torch.where(small, 1.0, effective)
    lost = -torch.expm1(-t)
    ball = 1.0 - 3.0 / t * (1.0 - 2.0 / t + 2.0 / t**2 * lost)
    return torch.where(small, 0.5 * effective, torch.where(sphere, ball, 1.0 - lost / t))


def _next_index(alpha: torch.Tensor, beta: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Return the right-hand side of the equation of alpha (Titarchuk & Lyubarskij 1995, ApJ 450, 876)."""
    log_gamma = torch.lgamma(2.0 * alpha + 2.0)
    # XSPEC replaces exp(log_gamma) by 1e34 above log_gamma = 70
    log_d0 = (
        math.log(3.0)
        + torch.log((alpha + 3.0) * alpha + 4.0)
        + log_gamma
        - torch.log(alpha + 3.0)
        - 2.0 * torch.log(alpha + 2.0)
    )
    log_d0 = torch.where(log_gamma > 70.0, math.log(1e34), log_d0)
    gain = (alpha + 3.0) * theta / (1.0 + theta) + 4.0 * torch.exp(log_d0 / alpha) * theta**2
    return beta / torch.log1p(gain)


def _index(beta: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Return the spectral index alpha by XSPEC's iteration; its derivative is that of the fixed point."""
    with torch.no_grad():
        alpha = (torch.sqrt(2.25 + beta / theta) - 1.5).clamp_max(STEEPEST)
        running = torch.ones_like(alpha, dtype=torch.bool)
        for _ in range(ITERATIONS):
            following = _next_index(alpha, beta, theta)
            last = running & ((following - alpha).abs() <= CONVERGED)
            # where the step is small enough the answer is `following`: keep what it is computed from
            running = running & ~last
            if not bool(running.any()):
                break
            alpha = torch.where(running, following, alpha)
        if not (differentiated(beta) or differentiated(theta)):
            # an iteration that never settles ends on its 50th value
            return torch.where(running, alpha, _next_index(alpha, beta, theta)).clamp_max(STEEPEST)
        step = 1e-5 * alpha
        slope = (_next_index(alpha + step, beta, theta) - _next_index(alpha - step, beta, theta)) / (2.0 * step)
    # no_grad stops derivatives backward only
    alpha, slope = alpha.detach(), slope.detach()
    value = _next_index(alpha, beta, theta)
    # implicit function theorem; a slope of 1 would mean that there is no isolated solution
    value = value.detach() + (value - value.detach()) / (1.0 - slope).clamp_min(1e-3)
    return value.clamp_max(STEEPEST)


def compTT(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """Thermal Comptonisation of a Wien spectrum of temperature T0 in a plasma of kT and depth taup (Titarchuk 1994).

    ``approx <= 1``: a disk, above: a sphere; beta from Titarchuk's analytic approximation (XSPEC's other choice,
    ``approx < 0``, lies outside the parameter's hard limits).  The integral is Gauss-Laguerre of order 10, as in XSPEC.
    The density is computed on coarse energies (`SmoothEnergies`), spread to the edges and integrated by the
    two-point rule.
    """
    z, t0, kt, tau, approx = (column(p, i) for i in range(5))
    sphere = approx > 1.0
    theta = kt / ELECTRON_REST
    alpha = _index(_beta(tau, sphere), theta)
    smooth = smooth_energies(edges)
    energy = smooth.nodes * (1.0 + z)
    x = energy / kt
    soft = energy / t0
    shifted = x * _correction(tau, kt, sphere) ** (1.0 / (3.0 + alpha))

    nodes, weights = np.polynomial.laguerre.laggauss(10)
    escape = torch.zeros_like(x)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        log_term = (alpha + 2.0) * torch.log(shifted + node) + alpha * math.log(node)
        escape = escape + weight * torch.exp(log_term) * (shifted + node - alpha - 3.0)
    escape = escape * torch.exp(-torch.lgamma(2.0 * alpha + 4.0)) / alpha
    slope = 2.0 * alpha + 3.0
    scattered = escape * torch.exp(-(alpha + 1.0) * soft.log() - x) * slope * lower_gamma(3.0 + alpha, soft)
    norm = alpha * (alpha + 3.0) / (2.0 * slope) / t0 * kt
    # far in the Wien tail the density underflows: 1e-300 stands for nothing
    fine = smooth.spread(torch.log((norm * scattered).clamp_min(1e-300)))
    fine = torch.where(_in_range(edges * (1.0 + z), alpha, kt, t0, slope), fine, 0.0)
    soft = edges * ((1.0 + z) / t0)
    return trapezoid(fine + norm / (alpha + 3.0) * (soft * soft * torch.exp(-soft)), edges)


def _in_range(
    energy: torch.Tensor, alpha: torch.Tensor, kt: torch.Tensor, t0: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """Return where XSPEC computes scattered photons: it drops them where a factor passes 10**(+-27)."""
    x = energy.detach()
    exponent = (-1.0 - alpha) * torch.log10((x / t0).clamp_min(1e-300)) - 0.4343 * x / kt + torch.log10(slope)
    return exponent.abs() < 27.0


COMPONENTS = (
    ComponentType(
        "compTT",
        "add",
        (
            parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01),
            parameter("T0", "keV", 0.1, 0.001, 0.01, 100.0, 100.0, 0.010),
            parameter("kT", "keV", 50.0, 2.0, 2.0, 500.0, 500.0, 0.1),
            parameter("taup", "", 1.0, 0.01, 0.01, 100.0, 200.0, 0.1),
            parameter("approx", "", 1.0, 0.0, 0.0, 5.0, 200.0, -0.1),
        ),
        compTT,
    ),
)
