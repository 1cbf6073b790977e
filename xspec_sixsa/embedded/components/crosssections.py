"""Photoelectric cross-sections per hydrogen atom, from packaged tables (made by ``tables/make_absorption.py``)."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import torch

from xspec_sixsa.embedded.state import Abundances, XspecError

__all__ = ["ABUNDANCES", "BalucinskaChurch", "CrossSection", "dusty_gas", "gas_with_molecules", "photoelectric"]

ABUNDANCES = ("angr", "feld", "aneb", "grsa", "wilm", "lodd", "aspl")
XSECTS = ("vern", "bcmc", "obcm")
TABLE = Path(__file__).with_name("tables") / "absorption.npz"
LOWEST_EDGE = 0.09  # keV; the resonances of helium below are no edges
H2 = 1000  # the molecule's number in the tables
COLUMN = 1e22  # cm^-2; the unit of nH

# The neutral medium of TBabs (Wilms, Allen & McCray 2000, ApJ 542, 914)
MOLECULAR = 0.2  # share of the hydrogen atoms that sit in H2
DUST_DENSITY = 1.0  # g/cm^3
DUST_RADII = (0.025e-4, 0.25e-4)  # cm; the sizes follow a^-3.5
ATOMIC_MASS = 1.6605655e-24  # g
WEIGHTS = {
    1: 1,
    2: 4,
    6: 12,
    7: 14,
    8: 16,
    10: 20,
    11: 23,
    12: 24,
    13: 27,
    14: 28,
    16: 32,
    17: 35,
    18: 40,
    20: 40,
    24: 52,
    26: 56,
    27: 59,
    28: 59,
}
IN_GAS = {
    6: 0.5,
    8: 0.6,
    11: 0.25,
    12: 0.2,
    13: 0.02,
    14: 0.1,
    16: 0.6,
    17: 0.5,
    20: 0.003,
    24: 0.03,
    26: 0.3,
    27: 0.05,
    28: 0.04,
}


@functools.cache
def _tables() -> dict[str, np.ndarray]:
    with np.load(TABLE) as stored:
        return {name: stored[name] for name in stored.files}


@functools.cache
def _elements(name: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return (ln keV, ln cm^2) for each element of a set of cross-sections."""
    t = _tables()
    start = t[f"{name}_start"]
    x, y = np.log(t[f"{name}_energy"]), np.log(t[f"{name}_sigma"].astype(np.float64))
    own = {int(z): (x[a:b], y[a:b]) for z, a, b in zip(t[f"{name}_z"], start[:-1], start[1:], strict=True)}
    return {**_elements("bcmc"), **own} if name == "obcm" else own


def abundance(table: Abundances) -> dict[int, float]:
    """Return the number of atoms per hydrogen atom of each absorbing element."""
    t = _tables()
    if not isinstance(table, str):
        return {int(z): table[z - 1] for z in t["abund_z"]}
    names = [str(n) for n in t["abund_names"]]
    if table.lower() not in names:
        raise XspecError(f"abund {table!r} is not among the embedded abundance tables; take one of {', '.join(names)}.")
    return dict(zip((int(z) for z in t["abund_z"]), t["abund"][names.index(table.lower())].tolist(), strict=True))


def check_xsect(name: str) -> str:
    """Return the name of a set of cross-sections, or say which there are."""
    if name.lower() not in XSECTS:
        raise XspecError(f"xsect {name!r} is unknown; take one of {', '.join(XSECTS)}.")
    return name.lower()


def _at(set_name: str, z: int, x: np.ndarray) -> np.ndarray:
    return np.exp(np.interp(x, *_elements(set_name)[z]))


def _weights(table: Abundances, molecules: bool) -> dict[int, float]:
    weights = abundance(table)
    if molecules:
        weights = {**weights, 1: weights[1] * (1.0 - MOLECULAR), H2: 0.5 * MOLECULAR * weights[1]}
    return {z: w for z, w in weights.items() if w > 0.0}


class CrossSection:
    """Cross-section of a mixture of elements, in 1e-22 cm^2 per hydrogen atom, at any energy; differentiable in it.

    Straight lines in (ln E, ln sigma) between the energies of all the elements' tables, edges resolved.
    """

    def __init__(self, set_name: str, weights: dict[int, float]) -> None:
        x = np.unique(np.concatenate([_elements(set_name)[z][0] for z in weights]))
        total = sum(w * _at(set_name, z, x) for z, w in weights.items())
        y = np.log(total * COLUMN)
        self.x, self.y = torch.tensor(x), torch.tensor(y)
        self.slope = torch.tensor(np.diff(y) / np.diff(x))

    def __call__(self, energy: torch.Tensor) -> torch.Tensor:
        """Return sigma at energies (any shape, keV); held constant outside 0.01-100 keV."""
        x = energy.clamp(0.01, 100.0).log()
        i = torch.searchsorted(self.x, x.detach().contiguous(), right=True).clamp(1, self.x.numel() - 1) - 1
        return torch.exp(self.y[i] + self.slope[i] * (x - self.x[i]))


class BalucinskaChurch:
    """Cross-section in each bin with ``xsect bcmc`` or ``obcm``, in 1e-22 cm^2 per hydrogen atom.

    XSPEC takes it at the middle of the bin; in a bin that contains an edge of an element, that element's
    ln(sigma E^3) is averaged over the two parts, each taken at its own middle and weighted with its width.
    """

    def __init__(self, set_name: str, weights: dict[int, float]) -> None:
        self.total = CrossSection(set_name, weights)
        self.edges: list[tuple[float, CrossSection]] = []
        for z, weight in weights.items():
            x, y = _elements(set_name)[z]
            jumps = np.flatnonzero((np.diff(x) < 3e-7) & (np.abs(np.diff(y)) > 0.01) & (x[:-1] > np.log(LOWEST_EDGE)))
            single = CrossSection(set_name, {z: weight})
            self.edges += [(float(np.exp(x[j + 1])), single) for j in jumps]

    def __call__(self, edges: torch.Tensor) -> torch.Tensor:
        """Return the cross-section in bins given by their edges, (rows, nE + 1) -> (rows, nE)."""
        low, high = edges[:, :-1], edges[:, 1:]
        middle = 0.5 * (low + high)
        sigma = self.total(middle)
        for energy, single in self.edges:
            bin_of = (
                torch.searchsorted(edges.detach().contiguous(), torch.full((edges.shape[0], 1), energy), right=True) - 1
            )
            inside = (bin_of >= 0) & (bin_of < low.shape[1])
            where = bin_of.clamp(0, low.shape[1] - 1)
            a, b, c = (e.gather(1, where) for e in (low, high, middle))
            first, second = 0.5 * (a + energy), 0.5 * (b + energy)
            share = (energy - a) / (b - a)
            log_mean = share * (single(first) * first**3).log() + (1.0 - share) * (single(second) * second**3).log()
            change = torch.exp(log_mean) / c**3 - single(c)
            sigma = sigma.scatter_add(1, where, torch.where(inside, change, 0.0))
        return sigma


@functools.lru_cache(maxsize=16)
def photoelectric(table: Abundances, xsect: str) -> CrossSection | BalucinskaChurch:
    """Return the cross-section of neutral gas with an abundance table: that of phabs and its relatives."""
    weights = _weights(table, molecules=False)
    return CrossSection(xsect, weights) if xsect == "vern" else BalucinskaChurch(xsect, weights)


@functools.lru_cache(maxsize=16)
def gas_with_molecules(table: Abundances) -> CrossSection:
    """Return the cross-section of gas with a fifth of its hydrogen in H2, without dust: that of zTBabs."""
    return CrossSection("tb", _weights(table, molecules=True))


@functools.lru_cache(maxsize=16)
def dusty_gas(table: Abundances, raw_edges: bytes) -> torch.Tensor:
    """Return the cross-section of TBabs in each bin, in 1e-22 cm^2 per hydrogen atom, for edges given as bytes.

    Gas, H2 and grains of sizes ``a^-3.5`` whose interiors are shielded (Wilms et al. 2000, appendix): a grain of
    radius a has the depth ``c a`` with ``c = (4/3) rho sigma / m``; sigma is the mean cross-section and m the mean
    mass per atom in dust.
    Integrated over sizes, with ``a1 < a < a2``::

        f(a) = -2 a^(-1/2) (1 - exp(-c a)) + 2 sqrt(pi c) erf(sqrt(c a)),    g(a) = 2 a^(1/2)
        sigma_dust = M / (4/3 rho) * [f(a2) - f(a1)] / [g(a2) - g(a1)]

    M being the dust mass per hydrogen atom.  XSPEC takes each element's cross-section in a bin as the mean of its ends.
    """
    edges = np.frombuffer(raw_edges)
    x = np.log(np.clip(edges, 0.01, None))
    gas, dust = np.zeros(edges.size - 1), np.zeros(edges.size - 1)
    atoms = mass = 0.0
    for z, w in _weights(table, molecules=True).items():
        at_edges = np.where(edges < 100.0, _at("tb", z, x), 0.0)
        mean = 0.5 * (at_edges[:-1] + at_edges[1:])
        in_gas = IN_GAS.get(z, 1.0)
        gas += w * in_gas * mean
        in_dust = w * (1.0 - in_gas)
        dust += in_dust * mean
        atoms += in_dust
        mass += in_dust * WEIGHTS.get(z, 0) * ATOMIC_MASS
    c = (4.0 / 3.0) * DUST_DENSITY * (dust / atoms) / (mass / atoms)
    erf = np.vectorize(math.erf, otypes=[float])

    def integral(a: float) -> np.ndarray:
        return 2.0 * np.expm1(-c * a) / math.sqrt(a) + 2.0 * np.sqrt(math.pi * c) * erf(np.sqrt(c * a))

    small, large = DUST_RADII
    grains = (
        mass
        / (4.0 / 3.0 * DUST_DENSITY)
        * (integral(large) - integral(small))
        / (2.0 * (math.sqrt(large) - math.sqrt(small)))
    )
    return torch.tensor((gas + grains) * COLUMN)
