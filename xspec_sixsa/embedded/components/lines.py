"""Emission lines; the share of the profile that falls into each energy bin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from xspec_sixsa.embedded.components.numerics import column, redshifted
from xspec_sixsa.embedded.componenttype import ComponentType, parameter

__all__ = ["COMPONENTS"]

Cumulative = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

LINE_ENERGY = parameter("LineE", "keV", 6.5, 0.0, 0.0, 1e6, 1e6, 0.05)
WIDTH = (0.1, 0.0, 0.0, 10.0, 20.0, 0.05)
REDSHIFT = parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01)
CUT = ("LINECRITLEVEL",)
"""The model string that says how little of a line is negligible."""
FAR = 40.0  # widths; beyond, erf is 1 and its slope 0 in double precision


def _shares(edges: torch.Tensor, centre: torch.Tensor, cumulative: torch.Tensor, negligible: float) -> torch.Tensor:
    """Return the share of a line in each bin as XSPEC counts it.

    Going outwards from the centre XSPEC stops where less than ``negligible`` of the line is left inside the grid,
    and puts that rest into the bin it has reached; the bins beyond stay empty.

    Parameters
    ----------
    edges, centre : Tensor
        Energies (1 or batch, nE + 1) and (batch, 1).
    cumulative : Tensor (batch, nE + 1)
        The share of the line below each edge, up to a constant.
    """
    first, last = cumulative[:, :1], cumulative[:, -1:]
    below, above = cumulative - first, last - cumulative
    # a line centred outside the grid is followed inwards from the grid's end, however little of it there is
    starts = torch.zeros(edges.shape[-1], dtype=torch.bool)
    starts[[0, -1]] = True
    below = torch.where((below < negligible) & ~(starts & (centre > edges[..., -1:])), 0.0, below)
    above = torch.where((above < negligible) & ~(starts & (centre < edges[..., :1])), 0.0, above)
    return torch.diff(torch.where(edges <= centre, below, (last - first) - above), dim=-1)


def _line(
    edges: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, cumulative: Cumulative, negligible: float
) -> torch.Tensor:
    """Return a line's share in each bin; a line of width 0 is put into the bin with low < centre <= high."""
    sharp = width <= 0.0
    share = _shares(edges, centre, cumulative(edges - centre, torch.where(sharp, 1.0, width), centre), negligible)
    if not bool(sharp.any()):
        return share
    delta = ((edges[..., :-1] < centre) & (centre <= edges[..., 1:])).to(share.dtype)
    return torch.where(sharp, delta, share)


def _gauss(distance: torch.Tensor, sigma: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.erf((distance / (math.sqrt(2.0) * sigma)).clamp(-FAR, FAR))


def _lorentz(distance: torch.Tensor, width: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    return torch.atan(2.0 * distance / width) / (0.5 * math.pi + torch.atan(2.0 * centre / width))


def gaussian(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A Gaussian line of 1 photon/cm2/s; Sigma = 0 is a line within one bin.  What falls outside the grid is lost."""
    return _line(edges, column(p, 0), column(p, 1), _gauss, 1e-8)


def zgauss(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`gaussian` in the emitter's frame, divided by 1 + z (time dilation)."""
    z = column(p, 2)
    return _line(redshifted(edges, z), column(p, 0), column(p, 1), _gauss, 1e-8) / (1.0 + z)


def lorentz(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """A Lorentzian of full width Width at half maximum, of total 1 over positive energies."""
    return _line(edges, column(p, 0), column(p, 1), _lorentz, 1e-6)


COMPONENTS = (
    ComponentType("gaussian", "add", (LINE_ENERGY, parameter("Sigma", "keV", *WIDTH)), gaussian, strings=CUT),
    ComponentType("zgauss", "add", (LINE_ENERGY, parameter("Sigma", "keV", *WIDTH), REDSHIFT), zgauss, strings=CUT),
    ComponentType("lorentz", "add", (LINE_ENERGY, parameter("Width", "keV", *WIDTH)), lorentz, strings=CUT),
)
