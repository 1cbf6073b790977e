"""Photoelectric absorption: exp(-nH sigma), sigma averaged over each bin as XSPEC does it."""

from __future__ import annotations

import functools
from typing import Any

import torch

from xspec_sixsa.embedded.components.crosssections import (
    ABUNDANCES,
    BalucinskaChurch,
    check_xsect,
    dusty_gas,
    gas_with_molecules,
    photoelectric,
)
from xspec_sixsa.embedded.components.numerics import as_key, column, differentiated, redshifted
from xspec_sixsa.embedded.componenttype import ComponentType, parameter
from xspec_sixsa.embedded.library.catalogue import library
from xspec_sixsa.embedded.state import Abundances, EngineSession

__all__ = ["COMPONENTS"]

NH = parameter("nH", "10^22", 1.0, 0.0, 0.0, 1e5, 1e6, 1e-3)
COVERING = parameter("CvrFract", "", 0.5, 0.0, 0.05, 0.95, 1.0, 0.01)
REDSHIFT = parameter("Redshift", "", 0.0, -0.999, -0.999, 10.0, 10.0, -0.01)
LYMAN = 0.0135984  # keV; phabs and wabs are transparent below
HIGHEST = 100.0  # keV; nothing absorbs above

# Morrison & McCammon (1983, ApJ 270, 119), table 2: upper energies (keV) and c0, c1, c2 of
# sigma = (c0 + c1 E + c2 E^2) E^-3 1e-24 cm^2.  XSPEC continues the first and last ranges.
MM83_EDGES = (0.1, 0.284, 0.4, 0.532, 0.707, 0.867, 1.303, 1.840, 2.471, 3.210, 4.038, 7.111, 8.331, 10.0)
MM83_C0 = (17.3, 34.6, 78.1, 71.4, 95.5, 308.9, 120.6, 141.3, 202.7, 342.7, 352.2, 433.9, 629.0, 701.2, 953.2)
MM83_C1 = (608.1, 267.9, 18.8, 66.8, 145.8, -380.6, 169.3, 146.8, 104.7, 18.7, 18.7, -2.4, 30.9, 25.2, 0.0)
MM83_C2 = (-2150.0, -476.1, 4.3, -51.4, -61.1, 294.0, -47.7, -31.5, -17.0, 0.0, 0.0, 0.75, 0.0, 0.0, 0.0)
MM83_BELOW = 0.03  # keV; below, 33.6 E^-3


@functools.lru_cache(maxsize=16)
def _library_section(kind: str, table: Abundances, xsect: str, raw_edges: bytes) -> torch.Tensor:
    models = library()
    assert models is not None
    return models.optical_depth(kind, _energies(raw_edges), EngineSession(abund=table, xsect=xsect))


@functools.lru_cache(maxsize=16)
def _tabulated_section(kind: str, table: Abundances, xsect: str, raw_edges: bytes) -> torch.Tensor:
    if kind == "TBabs":
        return dusty_gas(table, raw_edges)
    edges = _energies(raw_edges)
    # phabs sees energies in single precision, which decides on which side of a threshold an edge lies
    return _section(kind, table, xsect, (edges.float().double() if kind == "phabs" else edges)[None])


def _energies(raw: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(raw), dtype=torch.float64)


def _section(kind: str, table: Abundances, xsect: str, edges: torch.Tensor) -> torch.Tensor:
    """Return the cross-section in each bin, (rows, nE + 1) -> (rows, nE)."""
    if kind != "phabs":
        sigma = torch.where(edges < HIGHEST, gas_with_molecules(table)(edges), 0.0)
        return 0.5 * (sigma[:, :-1] + sigma[:, 1:])
    section = photoelectric(table, check_xsect(xsect))
    if isinstance(section, BalucinskaChurch):
        mean = section(edges)
    else:
        sigma = section(edges)
        mean = 0.5 * (sigma[:, :-1] + sigma[:, 1:])
    low = edges[:, :-1]
    return torch.where((low < LYMAN) | (low > HIGHEST), 0.0, mean)


def _transmission(
    kind: str, edges: torch.Tensor, nh: torch.Tensor, z: torch.Tensor | None, settings: Any
) -> torch.Tensor:
    table, xsect, models = settings.abund, settings.xsect.lower(), library()
    shifted = edges if z is None else redshifted(edges, z)
    if z is None or (shifted.shape[0] == 1 and not differentiated(z)):
        # XSPEC's own where it is installed, else from our tables
        sigma = (_library_section if models else _tabulated_section)(kind, table, xsect, as_key(shifted))
    elif models and isinstance(table, str) and table not in ABUNDANCES:
        # a redshift that varies, with abundances that our tables lack: not differentiable
        name = "zphabs" if kind == "phabs" else kind
        return models.spectra(models.definitions[name], edges, torch.cat(torch.broadcast_tensors(nh, z), 1), settings)
    else:
        sigma = _section(kind, table, xsect, shifted)
    return torch.exp(-nh * sigma)


def TBabs(edges: torch.Tensor, p: torch.Tensor, settings: Any) -> torch.Tensor:
    """The interstellar medium of Wilms, Allen & McCray (2000, ApJ 542, 914): gas, H2 and dust."""
    return _transmission("TBabs", edges, column(p, 0), None, settings)


def zTBabs(edges: torch.Tensor, p: torch.Tensor, settings: Any) -> torch.Tensor:
    """The same in the emitter's frame, without dust."""
    return _transmission("zTBabs", edges, column(p, 0), column(p, 1), settings)


def phabs(edges: torch.Tensor, p: torch.Tensor, settings: Any) -> torch.Tensor:
    """Neutral gas with the session's abundances and cross-sections (vern: Verner et al. 1996, bcmc)."""
    return _transmission("phabs", edges, column(p, 0), None, settings)


def zphabs(edges: torch.Tensor, p: torch.Tensor, settings: Any) -> torch.Tensor:
    """`phabs` in the emitter's frame."""
    return _transmission("phabs", edges, column(p, 0), column(p, 1), settings)


def pcfabs(edges: torch.Tensor, p: torch.Tensor, settings: Any) -> torch.Tensor:
    """`phabs` before a share CvrFract of the source."""
    return 1.0 - column(p, 1) * (1.0 - phabs(edges, p, settings))


def zpcfabs(edges: torch.Tensor, p: torch.Tensor, settings: Any) -> torch.Tensor:
    """`pcfabs` in the emitter's frame."""
    return 1.0 - column(p, 1) * (1.0 - _transmission("phabs", edges, column(p, 0), column(p, 2), settings))


def _mm83(energy: torch.Tensor, piece: torch.Tensor) -> torch.Tensor:
    """Return Morrison & McCammon's cross-section (1e-22 cm^2) by the polynomial of a range."""
    c0, c1, c2 = (
        1e-2 * torch.tensor((*first, *c), dtype=torch.float64)
        for first, c in (((33.6,), MM83_C0), ((0.0,), MM83_C1), ((0.0,), MM83_C2))
    )
    e = energy.clamp_min(1e-3)
    sigma = (c0[piece] / e + c1[piece]) / e / e + c2[piece] / e
    return torch.where(energy < LYMAN, 0.0, sigma)


def _wisconsin(edges: torch.Tensor, nh: torch.Tensor) -> torch.Tensor:
    """Average the transmission over each bin by the two-point rule on both sides of every edge inside it."""
    limits = torch.tensor((MM83_BELOW, *MM83_EDGES), dtype=torch.float64)
    low, high = edges[..., :-1].contiguous(), edges[..., 1:].contiguous()
    first = torch.bucketize(low.detach(), limits, right=True)
    last = torch.bucketize(high.detach(), limits)
    most = int((last - first).max())
    total: torch.Tensor | float = 0.0
    for step in range(most + 1):
        piece = torch.minimum(first + step, last)
        start = low if step == 0 else torch.minimum(torch.maximum(low, limits[(piece - 1).clamp_min(0)]), high)
        stop = torch.where(piece < last, limits[piece.clamp_max(limits.numel() - 1)], high)
        left, right = torch.exp(-nh * _mm83(start, piece)), torch.exp(-nh * _mm83(stop, piece))
        counts = (first + step <= last).to(low.dtype)
        total = total + 0.5 * counts * (stop - start) * (left + right)
    return total / (high - low)


def wabs(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """Neutral gas with the fixed abundances and cross-sections of Morrison & McCammon (1983)."""
    return _wisconsin(edges, column(p, 0))


def zwabs(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
    """`wabs` in the emitter's frame."""
    return _wisconsin(redshifted(edges, column(p, 1)), column(p, 0))


COMPONENTS = (
    ComponentType("TBabs", "mul", (NH,), TBabs, strings=("TBABSVERSION",)),
    ComponentType("zTBabs", "mul", (NH, REDSHIFT), zTBabs, strings=("TBABSVERSION",)),
    ComponentType("phabs", "mul", (NH,), phabs),
    ComponentType("zphabs", "mul", (NH, REDSHIFT), zphabs),
    ComponentType("wabs", "mul", (NH,), wabs),
    ComponentType("zwabs", "mul", (NH, REDSHIFT), zwabs),
    ComponentType("pcfabs", "mul", (NH, COVERING), pcfabs),
    ComponentType("zpcfabs", "mul", (NH, COVERING, REDSHIFT), zpcfabs),
)
