"""XSPEC's fit statistics for batches of folded models (XSPEC 12.9.1; manual, appendix "Statistics in XSPEC").

With S source and B background counts, t_s and t_b their exposures (times AREASCAL, and for t_b times the ratio of
BACKSCAL, background over source) and y the folded model, all by noticed group:

* ``cstat``: Cash (1979) C; with a background W, where the background rate of each group is at its best value.
* ``pstat``: Poisson data, background rate known exactly.
* ``pgstat``: Poisson data, Gaussian background.
* ``chi``: Gaussian data, background subtracted.

Everything is differentiable in the folded rates, and what does not depend on the model is computed once a spectrum.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .state import XspecError, session

if TYPE_CHECKING:
    from .spectrum import Spectrum

__all__ = ["STATISTICS", "bin_statistic", "fit_statistic"]

log = logging.getLogger(__name__)

STATISTICS = ("chi", "cstat", "pstat", "pgstat")

# XSPEC never lets the model fall below this many counts in a group.
FLOOR = 1e-5

# Values at a time: temporaries that stay in the processor's cache make long spectra several times faster.
_CHUNK = 1 << 16


def fit_statistic(method: str, spectrum: Spectrum, folded: torch.Tensor) -> torch.Tensor:
    """Return XSPEC's fit statistic, -2 ln L up to a constant.

    Parameters
    ----------
    method : {"chi", "cstat", "pstat", "pgstat"}
    spectrum : Spectrum
        With its background, correction, noticed channels; the session's weighting applies to chi.
    folded : Tensor (batch, groups), float64
        Counts/s in each noticed group (`Model.folded`, summed over sources).

    Returns
    -------
    Tensor (batch,)
        NaN where the folded model has a NaN.

    Raises
    ------
    XspecError
        For a statistic the engine lacks, or model weighting with a model of zero counts.
    """
    rows = max(1, _CHUNK // max(folded.shape[-1], 1))
    if folded.requires_grad or folded.shape[0] <= rows:
        return bin_statistic(method, spectrum, folded).sum(dim=-1)
    return torch.cat([bin_statistic(method, spectrum, part).sum(dim=-1) for part in folded.split(rows)])


def bin_statistic(method: str, spectrum: Spectrum, folded: torch.Tensor) -> torch.Tensor:
    """Return the contribution of every noticed group, shape of `folded`; see `fit_statistic`."""
    if method not in STATISTICS:
        raise XspecError(
            f"The fit statistic {method!r} is not available in the embedded engine; choose one of "
            f"{', '.join(STATISTICS)}, "
            "or use XSPEC (HEASoft) for lstat, whittle and the test statistics."
        )
    data = _constants(spectrum)
    if method == "chi":
        return _chi(data, folded)
    _warn_gaussian(method, spectrum)
    if not data.has_background:
        return 2.0 * _cash(data.s, data.log_s, data.ts * _floored(folded, data.ts))
    if method == "pstat":
        return 2.0 * _known_background(data, folded)
    return 2.0 * (_wstat(data, folded) if method == "cstat" else _pgstat(data, folded))


@dataclass
class _Constants:
    """What a spectrum contributes to its statistic; tensors by noticed group (float64)."""

    s: torch.Tensor
    ts: torch.Tensor
    log_s: torch.Tensor
    has_background: bool
    difference: torch.Tensor
    variance: torch.Tensor
    model_variance: torch.Tensor
    b: torch.Tensor
    tb: torch.Tensor
    log_b: torch.Tensor
    b_error: torch.Tensor


def _safe_log(values: np.ndarray) -> np.ndarray:
    return np.log(np.where(values > 0, values, 1.0))


def _constants(spectrum: Spectrum) -> _Constants:
    key = ("statistic", session.weight)
    cached = spectrum._cache.get(key)
    if cached is not None:
        return cached
    notice, grouped, background, correction = (
        spectrum._noticed, spectrum._grouped, spectrum._background, spectrum._correction,
    )  # fmt: skip
    ts = spectrum.exposure * grouped.area_scale
    s = grouped.rate * ts
    zero = np.zeros_like(ts)
    difference, variance, extra = grouped.rate.copy(), spectrum._weighted().copy(), zero
    b = tb = b_error = zero
    minimum = 1.0 / ts**2
    if session.weight == "model":
        variance = zero.copy()
    if background is not None:
        scaled, tb = background._grouped.rate, background._to_counts()
        b = tb * scaled
        difference -= scaled
        variance += background._weighted()
        # XSPEC 12.9.1 multiplies the variance of the rate by t_b once, not twice; kept, so that pgstat agrees.
        b_error = tb * background._weighted()
        # Under model weighting the background's counts in the source region vary too.
        extra = scaled / ts
        minimum = np.minimum(minimum, 1.0 / tb**2)
    if correction is not None and spectrum.cornorm != 0:
        difference -= spectrum.cornorm * correction._grouped.rate
        if background is not None:
            b = b + spectrum.cornorm * correction._to_counts() * correction._grouped.rate
    if session.weight != "model":
        # A bin without any error gets that of one count, as in XSPEC.
        variance = np.where(variance == 0.0, minimum, variance)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values[notice], dtype=float))

    constants = _Constants(
        s=tensor(s), ts=tensor(ts), log_s=tensor(_safe_log(s)), has_background=background is not None,
        difference=tensor(difference), variance=tensor(variance), model_variance=tensor(extra),
        b=tensor(b), tb=tensor(tb), log_b=tensor(_safe_log(b)), b_error=tensor(b_error),
    )  # fmt: skip
    spectrum._cache[key] = constants
    return constants


def _warn_gaussian(method: str, spectrum: Spectrum) -> None:
    """As XSPEC, go on with Gaussian data, but say that the number means little."""
    if ("warned", method) in spectrum._cache:
        return
    spectrum._cache["warned", method] = True
    background = spectrum._background
    if not spectrum.isPoisson:
        log.warning(
            "%s statistic is only valid for Poisson data: %s has other errors. Use chi.", method, spectrum.fileName
        )
    if method == "cstat" and background is not None and not background.isPoisson:
        log.warning(
            "cstat with the background %s, which is not Poisson, is not valid: use pgstat.", background.fileName
        )


def _floored(folded: torch.Tensor, ts: torch.Tensor) -> torch.Tensor:
    return torch.maximum(folded, FLOOR / ts)


def _cash(s: torch.Tensor, log_s: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Half of Cash's C for m expected counts, with Castor's constant that makes it zero at m = s."""
    return m - s + s * (log_s - torch.log(m))


def _known_background(data: _Constants, folded: torch.Tensor) -> torch.Tensor:
    return _cash(data.s, data.log_s, data.ts * _floored(folded + data.b / data.tb, data.ts))


def _wstat(data: _Constants, folded: torch.Tensor) -> torch.Tensor:
    """Half of W: C of source and background with the background rate f of each group maximised out."""
    s, b, ts, tb = data.s, data.b, data.ts, data.tb
    t = ts + tb
    y = _floored(folded, ts)
    no_source, no_background = s == 0, b == 0
    # t f^2 + p f - b y = 0, the positive root; written so that neither sign of p cancels.
    p = t * y - s - b
    root = torch.sqrt(p * p + 4.0 * t * torch.clamp(b, min=1e-300) * y)
    # torch evaluates both branches: keep the unused denominator away from zero.
    f = torch.where(p >= 0, 2.0 * b * y / (root + torch.abs(p)), (root - p) / (2.0 * t))
    regular = ~(no_source | no_background)
    f = torch.where(regular, f, torch.ones_like(f))
    both = (
        ts * y
        + t * f
        - s * torch.log(ts * (y + f))
        - b * torch.log(tb * f)
        - s * (1 - data.log_s)
        - b * (1 - data.log_b)
    )
    without_s = ts * y - b * torch.log(tb / t)
    low = -tb * y - s * torch.log(ts / t)
    without_b = torch.where(y <= s / t, low, _cash(s, data.log_s, ts * y))
    return torch.where(no_source, without_s, torch.where(no_background, without_b, both))


def _pgstat(data: _Constants, folded: torch.Tensor) -> torch.Tensor:
    """Half of PG: Poisson source, Gaussian background with the background rate f of each group maximised out."""
    s, b, v, ts, tb = data.s, data.b, data.b_error, data.ts, data.tb
    exact, no_source = v == 0, s == 0
    v = torch.where(exact, torch.ones_like(v), v)
    y, ratio = folded, ts / tb
    q2 = tb * tb
    p = ts * v - tb * b + q2 * y
    c = ts * v * y - s * v - tb * b * y
    sign = torch.where(p >= 0, 1.0, -1.0)
    q = -0.5 * (p + sign * torch.sqrt(torch.clamp(p * p - 4.0 * q2 * c, min=1e-300)))
    q = torch.where(q == 0, torch.full_like(q, -1e-300), q)
    f = q / q2
    f = torch.where(f < 0, c / q, f)
    usual = ~(exact | no_source)
    safe = torch.where(usual, ts * (y + f), torch.ones_like(y))
    gaussian = ts * (y + f) - s * torch.log(safe) + 0.5 * (b - tb * f) ** 2 / v - s * (1 - data.log_s)
    empty = ts * y + b * ratio - 0.5 * v * ratio * ratio
    return torch.where(exact, _known_background(data, folded), torch.where(no_source, empty, gaussian))


def _chi(data: _Constants, folded: torch.Tensor) -> torch.Tensor:
    difference = data.difference - folded
    if session.weight != "model":
        return difference * difference / data.variance
    variance = data.variance + data.model_variance + folded / data.ts
    if bool((variance == 0).any()):
        raise XspecError(
            "Cannot calculate chi-square using model weighting: the model gives channels zero variance. "
            "Ignore channels without counts, or use standard weighting or cstat."
        )
    return difference * difference / variance
