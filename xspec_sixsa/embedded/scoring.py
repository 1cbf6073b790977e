"""The fit statistic of a spectrum that is loaded in the engine: its constants, read once, and the formulas' checks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from xspec_sixsa.common.fitstatistic import CHUNK, STATISTICS, Bins, safe_log
from xspec_sixsa.common.fitstatistic import bin_statistic as formula
from xspec_sixsa.embedded.state import XspecError, session

if TYPE_CHECKING:
    from xspec_sixsa.embedded.spectrum import Spectrum

__all__ = ["STATISTICS", "bin_statistic", "fit_statistic"]

log = logging.getLogger(__name__)


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
    rows = max(1, CHUNK // max(folded.shape[-1], 1))
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
    if method != "chi":
        _warn_gaussian(method, spectrum)
    elif data.model_variance is not None and bool((data.variance + data.model_variance + folded / data.ts == 0).any()):
        raise XspecError(
            "Cannot calculate chi-square using model weighting: the model gives channels zero variance. "
            "Ignore channels without counts, or use standard weighting or cstat."
        )
    return formula(method, data, folded)


def _constants(spectrum: Spectrum) -> Bins:
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
        b_error = tb**2 * background._weighted()
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

    constants = Bins(
        s=tensor(s), ts=tensor(ts), log_s=tensor(safe_log(s)), has_background=background is not None,
        difference=tensor(difference), variance=tensor(variance),
        model_variance=tensor(extra) if session.weight == "model" else None,
        b=tensor(b), tb=tensor(tb), log_b=tensor(safe_log(b)), b_error=tensor(b_error),
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
