"""What a spectrum recorded, and how spectra of its model scatter: with Poisson, Gaussian and background counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.fitstatistic import FLOOR, wstat
from xspec_sixsa.products.diagnostics.cash import cash, cash_moments
from xspec_sixsa.products.diagnostics.pvalues import REPLICAS
from xspec_sixsa.result import SpectrumPredictive

__all__ = ["Gaussian", "Recorded", "WithBackground", "recorded"]

Vector = NDArray[np.float64]


class Recorded:
    """Poisson counts, with a known background or none: what a diagnosis asks of a spectrum and its noise.

    A recorded spectrum is what `simulate` gives: an array that ends in bins, here and in `Gaussian`.
    """

    def __init__(self, s: SpectrumPredictive) -> None:
        self.recorded: Any = s.counts
        self.models = np.maximum(s.total, FLOOR)

    def simulate(self, model: Vector, rng: np.random.Generator) -> Any:
        """Spectra recorded of expected ones (..., n)."""
        return rng.poisson(model).astype(float)

    def statistic(self, recorded: Any, model: Vector) -> Vector:
        """Fit statistic of recorded spectra, or of one, against expected ones, summed over bins."""
        return cash(recorded, model).sum(axis=-1)

    def net(self, recorded: Any) -> Vector:
        """What the model is expected to give on average."""
        return recorded

    def variance(self, model: Vector) -> Vector:
        """Of the net counts."""
        return model

    def moments(self, model: Vector, rng: np.random.Generator) -> tuple[float, float]:
        """Expectation and variance of the statistic of simulated spectra of the model."""
        mean, variance = cash_moments(model)
        return mean.sum(), variance.sum()


class Gaussian(Recorded):
    """Gaussian net counts."""

    def __init__(self, s: SpectrumPredictive) -> None:
        background = 0.0 if s.background is None else s.background
        self.recorded, self.models, self._sigma = s.counts - background, s.total - background, s.counts_error

    def simulate(self, model: Vector, rng: np.random.Generator) -> Any:
        """Net counts with the errors of the recorded ones."""
        return rng.normal(model, self._sigma)

    def statistic(self, recorded: Any, model: Vector) -> Vector:
        """Chi-squared."""
        return (((recorded - model) / self._sigma) ** 2).sum(axis=-1)

    def variance(self, model: Vector) -> Vector:
        """The recorded errors', whatever the model."""
        return self._sigma**2

    def moments(self, model: Vector, rng: np.random.Generator) -> tuple[float, float]:
        """Those of chi-squared."""
        return float(len(model)), 2.0 * len(model)


class WithBackground(Recorded):
    """Counts and background counts under W: a recorded spectrum is the pair of them.

    Simulated backgrounds follow Gamma(B + 1/2), what the recorded one says of its intensity under Jeffreys' prior.
    """

    def __init__(self, s: SpectrumPredictive) -> None:
        if s.background is None or s.background_ratio is None:
            raise ValueError(f"{s.name} has no background counts to be judged with.")
        self._ratio = s.background_ratio
        self._b = s.background / s.background_ratio
        self.recorded = s.counts, self._b
        self.models = np.maximum(s.total - s.background, FLOOR)

    def simulate(self, model: Vector, rng: np.random.Generator) -> Any:
        """Source counts and background counts, as a pair."""
        intensity = rng.gamma(self._b + 0.5, size=model.shape)
        return rng.poisson(model + self._ratio * intensity).astype(float), rng.poisson(intensity).astype(float)

    def statistic(self, recorded: Any, model: Vector) -> Vector:
        """W."""
        return wstat(recorded[0], recorded[1], self._ratio, model).sum(axis=-1)

    def net(self, recorded: Any) -> Vector:
        """Source counts less the background expected in them."""
        source, background = recorded
        return source - self._ratio * background

    def variance(self, model: Vector) -> Vector:
        """Of source and background counts together."""
        return model + (self._ratio + self._ratio**2) * (self._b + 0.5)

    def moments(self, model: Vector, rng: np.random.Generator) -> tuple[float, float]:
        """By simulation."""
        # no closed form: with few counts W is far from chi-squared
        models = np.broadcast_to(model, (REPLICAS, len(model)))
        values = self.statistic(self.simulate(models, rng), models)
        return values.mean(), values.var()


def recorded(s: SpectrumPredictive) -> Recorded:
    """The spectrum with the noise of its statistic."""
    if s.statistic == "chi":
        return Gaussian(s)
    return WithBackground(s) if s.statistic == "cstat" and s.background is not None else Recorded(s)
