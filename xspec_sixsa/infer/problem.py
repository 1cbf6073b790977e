"""What inference works on: a model to evaluate, noise, seeds, and what may be spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.trained import Trained

__all__ = ["Problem", "Simulate"]

Points = NDArray[np.float64]


class Simulate(Protocol):
    """Evaluates points of the unit cube."""

    def __call__(self, u: Points, stage: str, log_density: Points | None = None) -> Simulations:
        """Evaluate points (n, d), each one evaluation, counted under `stage`; `log_density`: what they come from."""


@dataclass
class Problem:
    """A posterior to be found.

    Attributes
    ----------
    dimension : int
        Free parameters.
    simulate : Simulate
    spent : callable
        Evaluations made so far.
    noise : Noise
    settings : Settings
        Its sizes are set for the dimension.
    streams : Streams
    progress : Progress
    factors : Factors or None
        The model's linear structure, where it has one that is to be used.
    trained : Trained or None
        Compressor and estimator of an earlier run, to begin with where one is to be trained.
    """

    dimension: int
    simulate: Simulate
    spent: Callable[[], int]
    noise: Noise
    settings: Settings
    streams: Streams
    progress: Progress
    factors: Factors | None = None
    trained: Trained | None = None

    def __post_init__(self) -> None:
        self.settings = self.settings.sized(self.dimension)

    @property
    def left(self) -> int:
        """Evaluations left in the budget."""
        return self.settings.budget - self.spent()

    def prior_draws(self, n: int) -> Points:
        """Space-filling draws from the prior, shape (n, d): a scrambled Sobol sequence."""
        power = int(np.ceil(np.log2(max(n, 2))))
        return qmc.Sobol(self.dimension, rng=self.streams.numpy("prior")).random_base2(power)[:n]
