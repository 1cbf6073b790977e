"""What another method found for the same problem, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xspec_sixsa.result import WeightedDraws

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["CompareError", "Posterior"]


class CompareError(ValueError):
    """A comparison that cannot be made, and why."""


@dataclass(eq=False)
class Posterior(WeightedDraws):
    """Draws of one method, its evidence and its cost.

    Attributes
    ----------
    method : str
        ``"xspec_sixsa"``, ``"bxa"``, ``"nautilus"``, ``"mcmc"`` (Goodman-Weare), ``"mh"`` (Metropolis-Hastings), or the
        name of what was read.
    samples : ndarray (n, d)
        Physical values.
    weights : ndarray (n,)
        Non-negative, summing to 1.
    ess : float
        Effective samples: of a nested sampler its own count, of a chain its length over the autocorrelation time.
    log_z, log_z_err : float or None
        Evidence (natural logarithm); None where the method gives none.
    evaluations : int or None
        Parameter sets through all spectra; None where it is not known.
    seconds_model, seconds_other : float or None
        Wall-clock inside the model and outside.
    best_statistic : float
        Least fit statistic among the draws; NaN where the method kept none.
    r_hat, correlation : float
        Of a chain: the largest split R-hat of a parameter, and the longest autocorrelation time (in steps); NaN else.
    steps : int
        Steps a chain went, in each walker; 0 for draws that are none.
    finished : bool
        False where a time limit ended it: the draws are then empty.
    iterations : int
        Of a nested sampler that was stopped: how many points it had replaced.
    seed : int or None
    settings : dict
        What the method was told.
    notes : list of str
    """

    method: str
    samples: np.ndarray
    weights: np.ndarray
    ess: float
    log_z: float | None = None
    log_z_err: float | None = None
    evaluations: int | None = None
    seconds_model: float | None = None
    seconds_other: float | None = None
    best_statistic: float = np.nan
    r_hat: float = np.nan
    correlation: float = np.nan
    steps: int = 0
    finished: bool = True
    iterations: int = 0
    seed: int | None = None
    settings: dict[str, float | int | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples = np.atleast_2d(np.asarray(self.samples, dtype=float))
        weights = np.asarray(self.weights, dtype=float)
        self.weights = weights / weights.sum() if weights.size else weights
        if self.samples.size and self.samples.shape[0] != self.weights.size:
            raise ValueError(f"{self.weights.size} weights for {self.samples.shape[0]} draws of {self.method}.")

    @classmethod
    def of(cls, result: Result, method: str = "xspec_sixsa") -> Posterior:
        """A run of this package."""
        keep = result.weights > 0
        if not keep.any():
            raise CompareError(f"The run has no draw of finite likelihood: {'; '.join(result.reasons)}.")
        inside = sum(value for key, value in result.seconds.items() if key in ("evaluation", "polish"))
        return cls(
            method, result.samples[keep], result.weights[keep], result.ess, result.log_z, result.log_z_err,
            sum(result.evaluations.values()), inside, sum(result.seconds.values()) - inside,
            float(-2 * result.log_likelihood[keep].max()), seed=result.seed,
        )  # fmt: skip

    @classmethod
    def unfinished(cls, method: str, width: int, **known: object) -> Posterior:
        """What a time limit left: no draws, only the cost so far."""
        return cls(method, np.empty((0, width)), np.empty(0), 0.0, finished=False, **known)  # type: ignore[arg-type]

    @property
    def seconds(self) -> float | None:
        """Wall-clock in all."""
        return None if self.seconds_model is None else self.seconds_model + (self.seconds_other or 0.0)

    @property
    def is_chain(self) -> bool:
        """Whether the draws are steps of a Markov chain."""
        return self.steps > 0

    def width(self, level: float) -> np.ndarray:
        """Widths of the central credible intervals, (d,)."""
        return np.diff(self.interval(level), axis=1)[:, 0]
