"""Emission lines; the share of the profile that falls into each energy bin."""

from __future__ import annotations

import math
from typing import Any

import torch

from .component import ComponentType, parameter
from .numerics import column, redshifted

__all__ = ["COMPONENTS"]

LINE_ENERGY = parameter("LineE", "keV", 6.5, 0.0, 0.0, 1e6, 1e6, 0.05)
WIDTH = (0.1, 0.0, 0.0, 10.0, 20.0, 0.05)
REDSHIFT = parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01)
FAR = 40.0  # widths; beyond, erf is 1 and its slope 0 in double precision


def _profile(edges: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, shape: Any) -> torch.Tensor:
    """Return the profile's share in each bin; a line of width 0 puts all into the bin with low < centre <= high."""
    sharp = width <= 0.0
    share = shape(edges - centre, torch.where(sharp, 1.0, width))
    if not bool(sharp.any()):
        return share
    delta = ((edges[..., :-1] < centre) & (centre <= edges[..., 1:])).to(share.dtype)
    return torch.where(sharp, delta, share)


def _gauss(distance: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    x = (distance / (math.sqrt(2.0) * sigma)).clamp(-FAR, FAR)
    # erf on the left of the centre and -erf on the right keep full precision near the edge of the grid only; plain
    # differences are good to 1e-16 of the line, XSPEC itself stops at 1e-8
    return 0.5 * torch.diff(torch.erf(x), dim=-1)


def gaussian(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A Gaussian line of total 1 photon/cm2/s; Sigma = 0 is a line within one bin.  What falls outside the grid is lost."""
    return _profile(edges, column(p, 0), column(p, 1), _gauss)


def zgauss(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`gaussian` in the emitter's frame, divided by 1 + z (time dilation)."""
    z = column(p, 2)
    return _profile(redshifted(edges, z), column(p, 0), column(p, 1), _gauss) / (1.0 + z)


def lorentz(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A Lorentzian of full width Width at half maximum, of total 1 over positive energies."""
    centre = column(p, 0)

    def shape(distance: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        norm = 0.5 * math.pi + torch.atan(2.0 * centre / width)
        return torch.diff(torch.atan(2.0 * distance / width), dim=-1) / norm

    return _profile(edges, centre, column(p, 1), shape)


COMPONENTS = (
    ComponentType("gaussian", "add", (LINE_ENERGY, parameter("Sigma", "keV", *WIDTH)), gaussian),
    ComponentType("zgauss", "add", (LINE_ENERGY, parameter("Sigma", "keV", *WIDTH), REDSHIFT), zgauss),
    ComponentType("lorentz", "add", (LINE_ENERGY, parameter("Width", "keV", *WIDTH)), lorentz),
)
