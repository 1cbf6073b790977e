"""Free-free Gaunt factors.

Kellogg, Baldwin & Koch (1975, ApJ 199, 299): the Born approximation times a quadratic in u = E/kT whose coefficients,
tabulated by u and by gamma^2 = Z^2 Ry / kT, were fitted to Karzas & Latter (1961); and, for cool plasmas
(gamma^2 > 0.1), the table of Kurucz (1970, SAO Special Report 309).  The numbers are those XSPEC uses, jumps between
ranges included.
"""

from __future__ import annotations

import torch

__all__ = ["HELIUM", "free_free"]

HELIUM = 0.085  # n(He) / n(H) of XSPEC's bremss
RYDBERG = 0.01358  # keV
HIGHEST_U = 50.0  # no emission above
LOWEST_U = 0.003  # the quadratics are held below

# Limits between the six ranges of u and of 1000 gamma^2; where the latter are anchored, and how wide they are
U_LIMITS = (0.03, 0.30, 1.0, 5.0, 15.0)
GAMMA_LIMITS = (1.773, 3.0, 5.6234, 10.0, 30.0)
GAMMA_ANCHORS = (1.0, 1.7783, 3.0, 5.6234, 10.0, 30.0)
GAMMA_WIDTHS = (0.7783, 1.2217, 2.6234, 4.3766, 20.0, 70.0)

# Rows: gamma^2 (7), columns: range of u (6)
CONSTANT = (
    (1.001, 1.004, 1.017, 1.036, 1.056, 1.121),
    (1.001, 1.005, 1.017, 1.046, 1.073, 1.115),
    (0.9991, 1.005, 1.03, 1.055, 1.102, 1.176),
    (0.997, 1.005, 1.035, 1.069, 1.134, 1.186),
    (0.9962, 1.004, 1.042, 1.1, 1.193, 1.306),
    (0.9874, 0.9962, 1.047, 1.156, 1.327, 1.485),
    (0.9681, 0.9755, 1.020, 1.208, 1.525, 1.965),
)
LINEAR = (
    (0.3029, 0.1616, 0.04757, 0.013, 0.0049, -0.0032),
    (0.4905, 0.2155, 0.08357, 0.02041, 0.00739, 0.00029),
    (0.654, 0.2833, 0.08057, 0.03257, 0.00759, -0.00151),
    (1.029, 0.391, 0.1266, 0.05149, 0.01274, 0.00324),
    (0.9569, 0.4891, 0.1764, 0.05914, 0.01407, -0.00024),
    (1.236, 0.7579, 0.326, 0.1077, 0.028, 0.00548),
    (1.327, 1.017, 0.6017, 0.205, 0.0605, 0.00187),
)
QUADRATIC = (
    (-1.323, -0.254, -0.01571, -0.001, -0.000184, 0.00008),
    (-4.762, -0.3386, -0.03571, -0.001786, -0.0003, 0.00001),
    (-6.349, -0.4206, -0.02571, -0.003429, -0.000234, 0.00005),
    (-13.231, -0.59, -0.04571, -0.005714, -0.000445, -0.00004),
    (-7.672, -0.6852, -0.0643, -0.005857, -0.00042, 0.00004),
    (-7.143, -0.9947, -0.12, -0.01007, -0.000851, -0.00004),
    (-3.175, -1.116, -0.2270, -0.01821, -0.001729, 0.00023),
)
# Rows: log10 u = -4 ... 1.5 by 0.5 (12), columns: log10 gamma^2 = -1 ... 2 by 0.5 (7)
KURUCZ = (
    (5.40, 5.25, 5.00, 4.69, 4.48, 4.16, 3.85),
    (4.77, 4.63, 4.40, 4.13, 3.87, 3.52, 3.27),
    (4.15, 4.02, 3.80, 3.57, 3.27, 2.98, 2.70),
    (3.54, 3.41, 3.22, 2.97, 2.70, 2.45, 2.20),
    (2.94, 2.81, 2.65, 2.44, 2.21, 2.01, 1.81),
    (2.41, 2.32, 2.19, 2.02, 1.84, 1.67, 1.50),
    (1.95, 1.90, 1.80, 1.68, 1.52, 1.41, 1.30),
    (1.55, 1.56, 1.51, 1.42, 1.33, 1.25, 1.17),
    (1.17, 1.30, 1.32, 1.30, 1.20, 1.15, 1.11),
    (0.86, 1.00, 1.15, 1.18, 1.15, 1.11, 1.08),
    (0.59, 0.76, 0.97, 1.09, 1.13, 1.10, 1.08),
    (0.38, 0.53, 0.76, 0.96, 1.08, 1.09, 1.09),
)


def _tensor(rows: tuple) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _born(u: torch.Tensor) -> torch.Tensor:
    """0.5513 exp(u/2) K0(u/2), K0 from Abramowitz & Stegun 9.8.5 and 9.8.6."""
    x = 0.5 * u
    near = x <= 2.0
    h = torch.where(near, 0.5 * x, 0.5) ** 2
    t = torch.where(near, x / 3.75, 0.5) ** 2
    i0 = 1 + t * (3.5156229 + t * (3.0899424 + t * (1.2067492 + t * (0.2659732 + t * (0.0360768 + t * 0.0045813)))))
    k0 = -0.5 * h.log() * i0 - 0.57721566
    k0 = k0 + h * (
        0.42278420 + h * (0.23069756 + h * (0.03488590 + h * (0.00262698 + h * (0.00010750 + h * 0.0000074))))
    )
    far = torch.where(near, 4.0, x)
    g = -2.0 / far
    tail = 1.25331414 + g * (
        0.07832358 + g * (0.02189568 + g * (0.01062446 + g * (0.00587872 + g * (0.0025154 + g * 0.00053208))))
    )
    return 0.5513 * torch.where(near, torch.exp(torch.where(near, x, 0.0)) * k0, tail / far.sqrt())


def _hot(u: torch.Tensor, gamma2: torch.Tensor) -> torch.Tensor:
    born = _born(u)
    g = (1000.0 * gamma2).clamp_max(100.0)
    if bool((g < 1.0).all()):
        return born
    m = torch.bucketize(g.detach(), _tensor(GAMMA_LIMITS)).squeeze(1)
    share = (g.squeeze(1) - _tensor(GAMMA_ANCHORS)[m]) / _tensor(GAMMA_WIDTHS)[m]
    held = u.clamp_min(LOWEST_U)
    n = torch.bucketize(held.detach(), _tensor(U_LIMITS)).expand(g.shape[0], -1)
    factor = torch.zeros_like(n, dtype=torch.float64)
    for power, rows in enumerate((CONSTANT, LINEAR, QUADRATIC)):
        table = _tensor(rows)
        mixed = (1.0 - share[:, None]) * table[m] + share[:, None] * table[m + 1]
        factor = factor + mixed.gather(1, n) * held**power
    return torch.where(g < 1.0, 1.0, factor) * born


def _cool(u: torch.Tensor, gamma2: torch.Tensor) -> torch.Tensor:
    table = _tensor(KURUCZ)
    row = 2.0 * u.log10() + 8.0
    col = 2.0 * gamma2.log10() + 2.0
    k = row.detach().trunc().clamp_min(0)
    j = col.detach().trunc()
    inside = (k < 11) & (j >= 0) & (j < 6)
    ki, ji = k.clamp(0, 10).long(), j.clamp(0, 5).long()
    s, t = row - k, col - j
    ki, ji = torch.broadcast_tensors(ki, ji)
    low = (1.0 - t) * table[ki, ji] + t * table[ki, ji + 1]
    high = (1.0 - t) * table[ki + 1, ji] + t * table[ki + 1, ji + 1]
    return torch.where(inside, (1.0 - s) * low + s * high, 0.0)


def free_free(energy: torch.Tensor, kt: torch.Tensor, charge: int) -> torch.Tensor:
    """Return the Gaunt factor.

    Parameters
    ----------
    energy : Tensor (n,) or (batch, n)
        keV, positive.
    kt : Tensor (batch, 1)
        Temperature, keV.
    charge : int
        Of the ion.

    Returns
    -------
    Tensor (batch, n)
        Zero above E = 50 kT, and where Kurucz's table ends.
    """
    u = energy / kt
    gamma2 = charge * charge * RYDBERG / kt
    dark = u > HIGHEST_U
    u = torch.where(dark, 1.0, u)
    cool = gamma2 > 0.1
    if bool(cool.all()):
        value = _cool(u, gamma2)
    elif not bool(cool.any()):
        value = _hot(u, gamma2)
    else:
        value = torch.where(cool, _cool(u, gamma2.clamp_min(0.1)), _hot(u, gamma2.clamp_max(0.1)))
    return torch.where(dark, 0.0, value)
