"""How probable each bin's counts are under each posterior draw: what leave-one-out and ArviZ start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xspec_sixsa.result import Result, SpectrumPredictive

__all__ = ["log_predictive", "log_predictives"]


def log_predictives(result: Result) -> list[NDArray[np.float64]] | None:
    """`log_predictive` of every spectrum of a result.

    Returns
    -------
    list of ndarray (k, n), or None
        None where one of them has none, there are no spectra, or errors depend on the model (`Fit.weight = "model"`).
    """
    spectra = result.predictive_data
    modelled = result.fingerprint.get("weight") == "model" and any(s.statistic == "chi" for s in spectra)
    if not spectra or modelled:
        return None
    parts = [part for part in map(log_predictive, spectra) if part is not None]
    return parts if len(parts) == len(spectra) else None


def log_predictive(spectrum: SpectrumPredictive) -> NDArray[np.float64] | None:
    """Ln p of each bin for each posterior draw that the folder holds, (k, n); None where it does not hold enough.

    Normalised, so that models, runs and other programs can be compared: Poisson for cstat without background and for
    pstat, Gaussian for chi. With a background file cstat is W, the likelihood of source and background counts at the
    best background rate of each bin: so is this. None for pgstat.
    """
    from scipy import stats

    from xspec_sixsa.common.fitstatistic import FLOOR, wstat

    total = np.asarray(spectrum.total, dtype=float)
    if spectrum.statistic == "chi":
        return np.asarray(stats.norm.logpdf(spectrum.counts, total, spectrum.counts_error))
    if spectrum.statistic == "pstat" or (spectrum.statistic == "cstat" and spectrum.background is None):
        # XSPEC's own floor of the expected counts
        counts = np.maximum(np.round(spectrum.counts), 0.0)  # negative ones count as none, as in XSPEC
        return np.asarray(stats.poisson.logpmf(counts, np.maximum(total, FLOOR)))
    if spectrum.statistic == "cstat" and spectrum.background_ratio is not None:
        b, ratio = spectrum.background / spectrum.background_ratio, spectrum.background_ratio
        # W is zero where source and background are just as recorded
        saturated = sum(stats.poisson.logpmf(np.round(x), np.round(x)) for x in (spectrum.counts, b))
        expected = np.maximum(total - spectrum.background, FLOOR)
        return np.asarray(saturated - 0.5 * wstat(spectrum.counts, b, ratio, expected))
    return None
