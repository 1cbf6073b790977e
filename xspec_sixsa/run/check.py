"""`check`: what the priors say of the data before anything is spent: ranges, reach, failures, cost."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.observation import Observation
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.coverage import CoverageError, check_coverage
from xspec_sixsa.priors import JointPrior, PriorsLike, bind, normalise
from xspec_sixsa.products.plots.networks import plot_coverage
from xspec_sixsa.products.plots.reach import plot_reach
from xspec_sixsa.session import Session

__all__ = ["PriorCheck", "check"]

TYPICAL = (1_100, 4_500)  # evaluations of the benchmarks' fits: docs/method.md
MOSTLY = 0.9  # of the draws must be usable


@dataclass(frozen=True)
class PriorCheck:
    """Draws of the prior and their spectra.

    Attributes
    ----------
    prior : JointPrior
    observation : Observation
    theta : ndarray (n, d)
        Physical parameters.
    counts : ndarray (n, n_bins)
        Expected source counts, NaN where the model failed.
    failures : Counter of str
        Why the model failed, and how often.
    more_counts : float
        Share of the spectra with more counts than observed.
    complaint : str
        Why the prior cannot reach the observation; empty where it does.
    seconds : float
        Of one evaluation, by all workers together.
    seed : int
    """

    prior: JointPrior
    observation: Observation
    theta: NDArray[np.float64]
    counts: NDArray[np.float64]
    failures: Counter[str]
    more_counts: float
    complaint: str
    seconds: float
    seed: int

    @property
    def well(self) -> bool:
        """Whether the prior reaches the observation, and the model works over most of it."""
        return not self.complaint and bool(self.usable.mean() >= MOSTLY)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which draws have a spectrum, (n,)."""
        return np.asarray(np.isfinite(self.counts).all(axis=1))

    def __str__(self) -> str:
        n, usable = len(self.theta), int(self.usable.sum())
        lines = [*self.prior.describe(), "", f"{usable} of {n} draws of the prior have a spectrum (seed {self.seed})"]
        lines += [f"  {number} failed: {reason}" for reason, number in self.failures.most_common(3)]
        lines.append(
            f"PROBLEM: {self.complaint}"
            if self.complaint
            else f"{100 * self.more_counts:.0f} % of them have more counts than the observation"
        )
        low, high = (round(evaluations * self.seconds, 1) for evaluations in TYPICAL)
        lines.append(
            f"an evaluation takes {1e3 * self.seconds:.2g} ms here; fits of the benchmarks took {TYPICAL[0]:,} to "
            f"{TYPICAL[1]:,} (docs/method.md): {low:g} to {high:g} s, and the emulator's training on top"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Its numbers by name, as JSON takes them."""
        return {
            "well": self.well, "draws": len(self.theta), "usable": int(self.usable.sum()), "complaint": self.complaint,
            "more_counts": self.more_counts, "seconds": self.seconds, "seed": self.seed,
            "failures": [{"reason": reason, "times": times} for reason, times in self.failures.most_common()],
        }  # fmt: skip

    def plot(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Draw ``coverage_1.png`` of each spectrum, and ``reach.png``, counts against every parameter.

        Parameters
        ----------
        directory : path
            Made where it is not there; pictures of these names are replaced.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        made: list[Path] = []
        rng = Streams(self.seed).numpy("noise")
        usable = self.usable
        if not usable.any():
            return made
        for number, (data, where) in enumerate(
            zip(self.observation.spectra, self.observation.slices, strict=True), start=1
        ):
            expected = np.maximum(self.counts[usable][:, where] + data.expected_background, 0.0)
            recorded = rng.poisson(expected) if data.sigma is None else rng.normal(expected, data.sigma)
            path = directory / f"coverage_{number}.png"
            made.append(plot_coverage(recorded, data.counts, data.energies, path, title=data.name))
        observed = sum(float((data.counts - data.expected_background).sum()) for data in self.observation.spectra)
        totals = self.counts[usable].sum(axis=1)
        labels = [f"{label} ({name})" for label, name in zip(self.prior.labels, self.prior.names, strict=True)]
        made.append(plot_reach(self.theta[usable], totals, observed, labels, directory / "reach.png"))
        return made


def check(
    priors: PriorsLike = None,
    *,
    draws: int = 200,
    seed: int | None = None,
    workers: int | None = None,
    xspec: ModuleType | None = None,
) -> PriorCheck:
    """Evaluate a few draws of the priors on the session that XSPEC holds; nothing is written, the session stays.

    Parameters
    ----------
    priors, workers, xspec
        As for `fit`.
    draws : int, default 200
        Evaluations spent.
    seed : int, optional

    Returns
    -------
    PriorCheck

    Raises
    ------
    ValueError
        For priors or sessions that cannot work, as `fit` does.
    """
    if draws < 2:
        raise ValueError(f"draws = {draws}: at least 2 are needed to see a range.")
    session = Session(xspec, workers=workers)
    prior = bind(normalise(priors)[0], session)
    streams = Streams(seed)
    theta = prior.transform(streams.numpy("prior").random((draws, len(prior))))
    with session:
        session.evaluate(theta[:1], "check")  # whatever happens once is no part of the price
        began = time.monotonic()
        found = session.evaluate(theta, "check")
        seconds = (time.monotonic() - began) / draws
    usable, complaint, more = found.ok & np.isfinite(found.counts).all(axis=1), "", float("nan")
    if not usable.any():
        complaint = "the model failed at every draw: narrow the priors to where it works"
    else:
        try:
            more = check_coverage(found.counts[usable], session.observation).total
        except CoverageError as error:
            complaint = str(error)
    counts = np.where(usable[:, None], found.counts, np.nan)
    failures = Counter(reason for reason in found.reasons if reason)
    return PriorCheck(prior, session.observation, theta, counts, failures, more, complaint, seconds, streams.seed)
