"""Spectra of one response in a few bands of its channels: what those of other groups and exposures are compared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.survey.template import Observed

__all__ = ["Bands"]

Points = NDArray[np.float64]

LEAST = 0.5  # counts, which stand for none


class Bands:
    """Bands of about equal counts in all of the spectra together.

    Parameters
    ----------
    observed : sequence of Observed
    most : int
    """

    def __init__(self, observed: Sequence[Observed], most: int) -> None:
        channels = np.concatenate([np.repeat(o.channels[o.starts], o.observation.spectra[0].counts.astype(int).clip(0))
                                   for o in observed])  # fmt: skip
        self._edges = np.unique(np.quantile(channels, np.arange(1, most) / most)) if len(channels) else np.empty(0)

    def sums(self, one: Observed, values: Points) -> Points:
        """Sums (..., bands) of values (..., groups) of a spectrum."""
        band = np.searchsorted(self._edges, one.channels[one.starts], side="right")
        return values @ np.eye(len(self._edges) + 1)[band]

    def log_rates(self, one: Observed, net: Points) -> Points:
        """Logarithms of rates (..., bands), counts per second, for net counts (..., groups) of a spectrum."""
        return np.asarray(np.log(np.maximum(self.sums(one, net), LEAST) / one.observation.spectra[0].exposure))
