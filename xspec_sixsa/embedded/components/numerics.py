"""Numerics shared by the components: integrals over energy bins, redshifted bins, smooth interpolation in energy."""

from __future__ import annotations

import functools
import math

import torch

__all__ = [
    "SmoothEnergies",
    "as_key",
    "column",
    "differentiated",
    "lower_gamma",
    "power_integral",
    "redshifted",
    "simpson",
    "smooth_energies",
    "trapezoid",
]

TINY_ENERGY = 1e-8  # keV; stands for an edge at zero, where power laws and logarithms do not exist


def column(p: torch.Tensor, index: int) -> torch.Tensor:
    """Return parameter ``index`` of a batch as a column that broadcasts over energies, shape (batch, 1)."""
    return p[:, index : index + 1]


def differentiated(value: torch.Tensor) -> bool:
    """Return whether derivatives with respect to a tensor are being taken: backward, forward or by ``torch.func``."""
    if value.requires_grad or torch.autograd.forward_ad.unpack_dual(value).tangent is not None:
        return True
    # torch.func hides its tensors from both; there is no public question to ask
    return torch._C._functorch.is_functorch_wrapped_tensor(value)


def as_key(energies: torch.Tensor) -> bytes:
    """Return energies as bytes (float64), to keep what was computed for them; they must not be differentiated."""
    while torch._C._functorch.is_functorch_wrapped_tensor(energies):  # what torch.func makes of any result
        energies = torch._C._functorch.get_unwrapped(energies)
    with torch._C._DisableFuncTorch():
        return energies.detach().contiguous().numpy().tobytes()


def redshifted(edges: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return the edges in the emitter's frame: (1, nE + 1) for one fixed redshift, else (batch, nE + 1).

    Parameters
    ----------
    edges : Tensor (nE + 1,)
        Observed energies, keV.
    z : Tensor (batch, 1)
        Redshifts.
    """
    if not differentiated(z) and bool((z == z[0]).all()):
        z = z[:1]
    return edges * (1.0 + z)


def trapezoid(density: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Integrate a density known at the edges over each bin by XSPEC's two-point rule."""
    return (density[..., :-1] + density[..., 1:]) * (0.5 * (edges[..., 1:] - edges[..., :-1]))


def simpson(at_edges: torch.Tensor, at_middles: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Integrate a density known at the edges and the middles of the bins over each bin by Simpson's rule."""
    width = (edges[..., 1:] - edges[..., :-1]) / 6.0
    return (at_edges[..., :-1] + at_edges[..., 1:] + 4.0 * at_middles) * width


def _sinhc(y: torch.Tensor) -> torch.Tensor:
    small = y.abs() < 0.5
    y2 = torch.where(small, y * y, 0.0)
    series = 1.0 + y2 / 6.0 * (1.0 + y2 / 20.0 * (1.0 + y2 / 42.0 * (1.0 + y2 / 72.0 * (1.0 + y2 / 110.0))))
    large = torch.where(small, 1.0, y)
    return torch.where(small, series, torch.sinh(large) / large)


def power_integral(exponent: torch.Tensor, ln_low: torch.Tensor, ln_high: torch.Tensor) -> torch.Tensor:
    """Return the integral of ``E**(exponent - 1) dE`` between bounds given as logarithms; exact, also at exponent 0.

    Written around the logarithmic middle of the bin, ``d exp(a m) sinh(a d / 2) / (a d / 2)``, so that neither the
    value nor its derivative cancels for narrow bins or small exponents.
    """
    width, middle = ln_high - ln_low, 0.5 * (ln_high + ln_low)
    if ln_low.dim() == 1 or ln_low.shape[0] == 1:
        width, middle = width.reshape(-1), middle.reshape(-1)
        widest = 0.5 * float(width.detach().max()) * float(exponent.detach().abs().max())
        if widest < 0.6 and bool((width > 0).all()):
            # ln(sinh y / y) = y^2/6 - y^4/180 + y^6/2835 - y^8/37800: one small matrix product, one exponential
            half2, a2 = (0.5 * width) ** 2, exponent * exponent
            powers = torch.stack([half2 / 6.0, -(half2**2) / 180.0, half2**3 / 2835.0, -(half2**4) / 37800.0, middle])
            return torch.exp(torch.addmm(width.log(), torch.cat([a2, a2**2, a2**3, a2**4, exponent], 1), powers))
    return width * torch.exp(exponent * middle) * _sinhc(0.5 * exponent * width)


def lower_gamma(a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the lower incomplete gamma function gamma(a, x), a in about 1-20, differentiable in both.

    ``torch.special.gammainc`` has no derivative in ``a``.  Power series below ``x = a + 8``, the continued fraction
    of the complement (Lentz; Abramowitz & Stegun 6.5.31) above; both to 1e-9.
    """
    series_side = x < a + 8.0
    xs = torch.where(series_side, x, 1.0)
    term = 1.0 / a.expand_as(xs)
    total = term
    for n in range(1, 80):
        term = term * xs / (a + n)
        total = total + term
    series = torch.exp(a * xs.log() - xs) * total
    xc = torch.where(series_side, 60.0, x)
    fraction = torch.zeros_like(xc)
    for n in range(30, 0, -1):
        fraction = n * (n - a) / (xc + (2 * n + 1) - a - fraction)
    upper = torch.exp(a * xc.log() - xc) / (xc + 1.0 - a - fraction)
    return torch.where(series_side, series, torch.exp(torch.lgamma(a)) - upper)


class SmoothEnergies:
    """Coarse energies on which a smooth spectrum is computed, and the way back to a fine grid.

    Cubic (four-point Lagrange) interpolation of ln f in ln E on nodes 3 % apart: for spectra whose steepest part is
    exp(-E/kT), the error in ln f is below 0.023 h^4 E/kT = 2e-8 E/kT.  Interpolating is a product with a fixed matrix.

    Attributes
    ----------
    nodes : Tensor (n,)
        The coarse energies, keV; the fine energies themselves where there are fewer of them.
    """

    STEP = 0.03

    def __init__(self, energies: torch.Tensor) -> None:
        x = energies.clamp_min(TINY_ENERGY).log()
        count = math.ceil(float(x[-1] - x[0]) / self.STEP) + 4
        self.matrix: torch.Tensor | None = None
        if count >= energies.numel():
            self.nodes = energies.clamp_min(TINY_ENERGY)
            return
        first = float(x[0]) - self.STEP
        position = (x - first) / self.STEP
        base = position.floor().clamp(1, count - 3).long()
        t = position - base
        weights = [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ]
        self.matrix = torch.zeros(count, energies.numel(), dtype=torch.float64)
        rows = torch.arange(energies.numel())
        for k, weight in enumerate(weights):
            self.matrix[base - 1 + k, rows] = weight
        self.nodes = torch.exp(first + self.STEP * torch.arange(count, dtype=torch.float64))

    def spread(self, log_density: torch.Tensor) -> torch.Tensor:
        """Return the density at the fine energies from its logarithm at the nodes, (batch, n) -> (batch, fine)."""
        return torch.exp(log_density if self.matrix is None else log_density @ self.matrix)


@functools.lru_cache(maxsize=16)
def _smooth_energies(raw: bytes) -> SmoothEnergies:
    return SmoothEnergies(torch.frombuffer(bytearray(raw), dtype=torch.float64))


def smooth_energies(energies: torch.Tensor) -> SmoothEnergies:
    """Return the (cached) `SmoothEnergies` of a fine energy grid."""
    return _smooth_energies(as_key(energies))
