"""Does the prior reach the observation? (SIXSA III, section 3.1 and Fig. 2)"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.observation import Observation

__all__ = ["Coverage", "CoverageError", "bands_beyond", "check_coverage"]

log = logging.getLogger(__name__)

BANDS = 8
TOLERANCE = 5.0  # standard deviations of the observed counts by which simulations may miss them
LOPSIDED = 0.02


class CoverageError(ValueError):
    """No parameter set of the prior gives anything like the observation.

    Attributes
    ----------
    observed, low, high : float
        Observed net counts, and the range that the prior's spectra span.
    """

    def __init__(self, message: str, observed: float, low: float, high: float) -> None:
        super().__init__(message)
        self.observed, self.low, self.high = observed, low, high


@dataclass(frozen=True)
class Coverage:
    """Share of the prior's spectra with more counts than observed.

    Attributes
    ----------
    total : float
        Over all bins; about a half is ideal.
    bands : ndarray
        In adjacent bands of all spectra.
    """

    total: float
    bands: NDArray[np.float64]


def check_coverage(counts: NDArray[np.floating], observation: Observation) -> Coverage:
    """Compare expected source counts drawn from the prior with the observation.

    Parameters
    ----------
    counts : ndarray, shape (n, n_bins)
        Expected source counts of prior draws.
    observation : Observation

    Returns
    -------
    Coverage

    Raises
    ------
    CoverageError
        When every spectrum has more counts than observed in all, or every one fewer, by more than five standard
        deviations.
    """
    net, variance = _net_counts(observation)
    totals = counts.sum(axis=1, dtype=float)
    observed, spread = float(net.sum()), float(np.sqrt(max(variance.sum(), 1.0)))
    low, high = float(totals.min()), float(totals.max())
    if observed > high + TOLERANCE * spread or observed < low - TOLERANCE * spread:
        above = observed > high
        needed = observed / high if above else low / max(observed, 1.0)
        raise CoverageError(
            f"The observation lies outside the prior's reach: {observed:.6g} net counts observed, "
            f"{low:.4g} to {high:.4g} expected in {len(totals)} draws from the prior. The fit would only explore a "
            f"wrong model: {'raise the upper' if above else 'lower the lower'} limits of the norms (by a factor of at "
            f"least {needed:.2g}), and check that response, exposure and units belong to this spectrum.",
            observed,
            low,
            high,
        )
    for beyond in bands_beyond(counts, observation):
        log.warning("%s: the model may not describe them; look at predictive.png.", beyond)
    bands = [
        float((counts[:, a:b].sum(axis=1, dtype=float) > float(net[a:b].sum())).mean())
        for a, b in _bands(counts.shape[1])
    ]
    coverage = Coverage(float((totals > observed).mean()), np.array(bands))
    if not LOPSIDED < coverage.total < 1 - LOPSIDED:
        log.warning(
            "Lopsided prior: %.1f %% of its spectra have more counts than the %.6g observed. A range about the "
            "observation needs fewer evaluations.",
            100 * coverage.total,
            observed,
        )
    else:
        log.info("prior coverage: %.0f %% of the spectra have more counts than observed", 100 * coverage.total)
    return coverage


def bands_beyond(counts: NDArray[np.floating], observation: Observation) -> list[str]:
    """Bands in which the observation is none of the spectra (n, n_bins) drawn from the prior, in words."""
    net, variance = _net_counts(observation)
    found = []
    for a, b in _bands(counts.shape[1]):
        band, seen = counts[:, a:b].sum(axis=1, dtype=float), float(net[a:b].sum())
        margin = TOLERANCE * np.sqrt(max(variance[a:b].sum(), 1.0))
        if seen > band.max() + margin or seen < band.min() - margin:
            found.append(
                f"Bins {a + 1}-{b} hold {seen:.5g} net counts, and no draw from the prior comes near "
                f"({band.min():.4g} to {band.max():.4g})"
            )
    return found


def _bands(n_bins: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, n_bins, min(BANDS, n_bins) + 1).astype(int).tolist()
    return list(itertools.pairwise(edges))


def _net_counts(observation: Observation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    net, variance = [], []
    for s in observation.spectra:
        scaled = s.expected_background
        net.append(s.counts - scaled)
        noise = s.counts if s.background_ratio is None else s.counts + s.background_ratio * scaled
        variance.append(noise if s.sigma is None else s.sigma**2)
    return np.concatenate(net), np.concatenate(variance)
