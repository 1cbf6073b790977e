"""Thermal continua: black bodies, the multicolour disk, bremsstrahlung."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from xspec_sixsa.embedded.components import gaunt
from xspec_sixsa.embedded.components.numerics import (
    TINY_ENERGY,
    column,
    redshifted,
    simpson,
    smooth_energies,
    trapezoid,
)
from xspec_sixsa.embedded.componenttype import ComponentType, parameter

__all__ = ["COMPONENTS"]

REDSHIFT = parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01)
# photons/keV/cm2/s of pi B_E for a radius of 1 km at 10 kpc: 2 pi / (h^3 c^2) (1 km / 10 kpc)^2
SPHERE = 1.0344e-3
# the same normalised to 1e39 erg/s at 10 kpc: 15 / (4 pi^5) 1e39 / (10 kpc)^2 / (1 keV), times kT**-4
LUMINOSITY = 8.0525
HIGHEST_X = 60.0
# photons/keV/cm2/s of the disk; XSPEC's constant, 0.4 % above (8/3) SPHERE
DISK = 1.0 / 361.0
SMALLEST_DISK_TEMPERATURE = 1e-6  # keV; the disk of Tin = 0 is dark


def _planck(edges: torch.Tensor, kt: torch.Tensor) -> torch.Tensor:
    """E^2 / (exp(E/kT) - 1) by the two-point rule; nothing in bins that end above 60 kT.  Both are what XSPEC does."""
    energy = edges.clamp_min(TINY_ENERGY)
    # E/kT below 1e-13 only for the stand-in of an edge at zero; exp(-x) never overflows and 1 - exp(-x) stays positive
    x = (energy / kt).clamp_min(1e-13)
    q = torch.exp(-x)
    flux = trapezoid(energy * energy * q / (1.0 - q), edges)
    if float(x.detach()[..., -1].max()) <= HIGHEST_X:
        return flux
    return torch.where(x[..., 1:] > HIGHEST_X, 0.0, flux)


def bbody(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A black body of luminosity 1e39 erg/s at 10 kpc at norm 1."""
    kt = column(p, 0)
    return _planck(edges, kt) * (LUMINOSITY / kt**4)


def bbodyrad(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A black body of radius 1 km at 10 kpc at norm 1."""
    return _planck(edges, column(p, 0)) * SPHERE


def zbbody(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`bbody` in the emitter's frame, divided by 1 + z."""
    kt, z = column(p, 0), column(p, 1)
    return _planck(redshifted(edges, z), kt) * (LUMINOSITY / (kt**4 * (1.0 + z)))


@functools.cache
def _disk_table() -> tuple[float, float, torch.Tensor]:
    """Return start and step in ln x of ln J(x) + x, J(x) = integral from x to infinity of s^(5/3) / (e^s - 1) ds."""
    step, start, stop = 0.02, np.log(1e-5), np.log(2e3)
    grid = start + step * np.arange(int((stop - start) / step) + 1)
    # J(x) e^x = integral over v > 0 of (x + v)^(5/3) e^-v / (1 - e^-(x+v)); v = w^3 softens the integrand at small x
    nodes, weights = np.polynomial.legendre.leggauss(400)
    w = 2.0 * (nodes + 1.0)
    v, dv = w**3, 3 * w**2 * 2.0 * weights
    s = np.exp(grid)[:, None] + v
    return start, step, torch.tensor(np.log((s ** (5 / 3) * np.exp(-v) / -np.expm1(-s) * dv).sum(1)))


def _interpolate(start: float, step: float, table: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    position = ((x - start) / step).clamp(1.0, table.numel() - 3.0)
    base = position.detach().floor().clamp(1, table.numel() - 3).long()
    t = position - base
    y0, y1, y2, y3 = (table[base + k] for k in (-1, 0, 1, 2))
    return (
        -t * (t - 1) * (t - 2) * y0
        + 3 * (t + 1) * (t - 1) * (t - 2) * y1
        - 3 * (t + 1) * t * (t - 2) * y2
        + (t + 1) * t * (t - 1) * y3
    ) / 6


def diskbb(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A disk of black-body rings, T ~ r^(-3/4) (Mitsuda et al. 1984, PASJ 36, 741), norm 1 = 1 km at 10 kpc, face-on.

    Per keV, ``DISK Tin^2 x^(-2/3) J(x)`` with ``x = E/Tin`` and ``J(x)`` the integral of s^(5/3)/(e^s - 1) from x up;
    XSPEC uses an interpolation formula that follows the same integral within 1e-4.
    """
    tin = column(p, 0).clamp_min(SMALLEST_DISK_TEMPERATURE)
    points = torch.cat([edges, 0.5 * (edges[1:] + edges[:-1])]).sort()
    smooth = smooth_energies(points.values)
    ln_x = smooth.nodes.log() - tin.log()
    log_density = _interpolate(*_disk_table(), ln_x) - ln_x.exp() - (2.0 / 3.0) * ln_x
    density = smooth.spread(log_density) * (DISK * tin * tin)
    return simpson(density[:, 0::2], density[:, 1::2], edges)


def _bremsstrahlung(edges: torch.Tensor, kt: torch.Tensor) -> torch.Tensor:
    energy = edges.clamp_min(TINY_ENERGY)
    total = gaunt.free_free(energy, kt, 1) + 4.0 * gaunt.HELIUM * gaunt.free_free(energy, kt, 2)
    density = total * torch.exp(-energy / kt) / (energy * kt.sqrt())
    return trapezoid(torch.where(edges > 0.0, density, 0.0), edges)


def bremss(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """Bremsstrahlung of hydrogen and 8.5 % helium; norm 1 = 3.02e-15 / (4 pi D^2) integral of n_e n_H dV."""
    return _bremsstrahlung(edges, column(p, 0))


def zbremss(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`bremss` in the emitter's frame, divided by 1 + z."""
    z = column(p, 1)
    return _bremsstrahlung(redshifted(edges, z), column(p, 0)) / (1.0 + z)


_BBODY_KT = parameter("kT", "keV", 3.0, 1e-4, 1e-2, 100.0, 200.0, 0.01)
_BREMSS_KT = parameter("kT", "keV", 7.0, 1e-4, 1e-4, 100.0, 200.0, 0.05)

COMPONENTS = (
    ComponentType("bbody", "add", (_BBODY_KT,), bbody),
    ComponentType("bbodyrad", "add", (parameter("kT", "keV", 3.0, 1e-4, 1e-3, 100.0, 200.0, 0.01),), bbodyrad),
    ComponentType("zbbody", "add", (_BBODY_KT, REDSHIFT), zbbody),
    ComponentType("diskbb", "add", (parameter("Tin", "keV", 1.0, 0.0, 0.0, 1000.0, 1000.0, 0.01),), diskbb),
    ComponentType("bremss", "add", (_BREMSS_KT,), bremss),
    ComponentType("zbremss", "add", (_BREMSS_KT, REDSHIFT), zbremss),
)
