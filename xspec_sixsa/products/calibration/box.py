"""The calibration box: where the truths of simulated spectra are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.priors import JointPrior, PriorsLike, bind, normalise
from xspec_sixsa.session.opened import open_session
from xspec_sixsa.session.session import Session

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["Box"]

Points = NDArray[np.float64]

SIGMAS = 5.0  # half the box, in standard deviations of the posterior


@dataclass
class Box:
    """The calibration box: a session, and its prior restricted to be uniform over the box's own unit cube.

    Attributes
    ----------
    session : Session
    prior : JointPrior
    limits : ndarray (d, 2)
        In the prior's unit cube.
    """

    session: Session
    prior: JointPrior
    limits: Points

    @classmethod
    def of(cls, result: Result, priors: PriorsLike, box: Points | None, xspec: ModuleType | None) -> Box:
        """The box of a result; see `calibration.calibrate`."""
        session = open_session(result, xspec)
        if priors is None:
            if result.output is None or not (Path(result.output) / "priors.toml").is_file():
                raise ValueError("The result's folder has no priors.toml: give the run's `priors`.")
            priors = Path(result.output) / "priors.toml"
        prior = bind(normalise(priors)[0], session)
        if box is None:
            keep = result.weights > 0
            w, u = result.weights[keep], prior.cdf(result.samples[keep])
            mean = w @ u
            sd = np.sqrt(w @ (u - mean) ** 2)
            box = np.stack([mean - SIGMAS * sd, mean + SIGMAS * sd], axis=1)
        box = np.clip(np.asarray(box, dtype=float), 0.0, 1.0)
        if box.shape != (session.n_free, 2) or not np.all(box[:, 1] > box[:, 0]):
            raise ValueError(f"The calibration box must be ({session.n_free}, 2), low below high, in the unit cube.")
        return cls(session, prior, box)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What identifies session and prior."""
        return self.session.fingerprint() | {"priors": self.prior.to_dict()}

    def transform(self, v: Points) -> Points:
        """Physical parameters (n, d) at points of the box's unit cube."""
        low, high = self.limits.T
        return self.prior.transform(low + v * (high - low))

    def evaluate(self, v: Points, stage: str) -> tuple[Points, Points]:
        """Exact expected counts (n, n_bins), NaN where the model failed, and log L of the true observation (n,)."""
        found = self.session.evaluate(self.transform(v), stage)
        return np.where(found.ok[:, None], found.counts, np.nan), found.log_likelihood
