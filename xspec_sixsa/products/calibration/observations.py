"""Observations that are like the real one, with other data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.observation import Observation

__all__ = ["simulated_observation"]

Points = NDArray[np.float64]


def simulated_observation(observation: Observation, recorded: Points) -> Observation:
    """The observation with other data.

    Parameters
    ----------
    observation : Observation
    recorded : ndarray (n_inputs,)
        As `Noise.draw` gives it: source (chi: net) counts of all spectra, then background counts.
    """
    spectra, after = [], observation.n_bins
    for s, where in zip(observation.spectra, observation.slices, strict=True):
        changes: dict[str, Any] = {"counts": recorded[where]}
        if s.statistic == "chi":
            changes["counts"] = recorded[where] + s.expected_background
        elif s.background is not None:
            changes["background"] = recorded[after : after + s.n_bins]
            after += s.n_bins
        spectra.append(replace(s, **changes))
    return Observation(tuple(spectra))
