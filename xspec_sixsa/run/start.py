"""`start`: where XSPEC's own fit is to begin, by one pass of the spectrum through paired auto-encoders."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.priors import JointPrior, PriorsLike, bind, normalise
from xspec_sixsa.run.network import Network
from xspec_sixsa.session import Session

__all__ = ["Start", "start"]

log = logging.getLogger(__name__)

POINTS = ("before", "one pass", "inversion", "fit")

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """Where the session was, what one pass and its refinement gave, and where XSPEC's fit ended.

    Attributes
    ----------
    prior : JointPrior
    theta : ndarray (4, d)
        Physical parameters: ``before``, after ``one pass`` of the surrogate inverse, after latent-space ``inversion``,
        and after the ``fit``, where the session now is.
    statistic : ndarray (4,)
        XSPEC's own there; NaN where the model failed.
    began : str
        Which of the first three the fit began from: the best one within the priors.
    trained_on : str
        What spectra the networks learned from.
    looks : str
        Whether the observation looks like a simulated one, with RRE and RMA and their limits (`emulator.Recovery`).
    evaluations : dict of str to int
        By stage, those of the training first.
    seconds : dict of str to float
        By kind of work.
    seed : int
    complaint : str
        Why XSPEC has no valid fit there; empty where it has one.
    """

    prior: JointPrior
    theta: Points
    statistic: Points
    began: str
    trained_on: str
    looks: str
    evaluations: dict[str, int]
    seconds: dict[str, float]
    seed: int
    complaint: str

    @property
    def well(self) -> bool:
        """Whether XSPEC has a valid fit, no worse than what was there before."""
        return not self.complaint and not self.statistic[0] < self.statistic[3]

    def __str__(self) -> str:
        titles = zip(self.prior.labels, self.prior.names, self.prior.units, strict=True)
        rows: list[list[str]] = [["parameter", "unit", *POINTS]]
        for (label, name, unit), values in zip(titles, self.theta.T, strict=True):
            rows.append([f"{label} ({name})", unit, *(f"{value:.5g}" for value in values)])
        rows.append(["fit statistic", "", *(f"{value:.7g}" for value in self.statistic)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            cells = [cell.ljust(w) for cell, w in zip(row[:2], widths[:2], strict=True)]
            lines.append("  ".join([*cells, *(cell.rjust(w) for cell, w in zip(row[2:], widths[2:], strict=True))]))
        lines[1:1] = lines[-1:-1] = ["-" * len(lines[0])]
        spent = ", ".join(f"{stage} {n}" for stage, n in self.evaluations.items())
        taken = ", ".join(f"{kind} {value:.1f}" for kind, value in self.seconds.items())
        lines += [
            "",
            f"The fit began from: {self.began}. Networks trained on {self.trained_on}; seed {self.seed}.",
            self.looks,
            f"Evaluations  {sum(self.evaluations.values())}  ({spent})",
            f"Seconds      {sum(self.seconds.values()):.1f}  ({taken})",
        ]
        if self.statistic[0] < self.statistic[3]:
            lines.append(
                f"PROBLEM: what was there before fits better ({self.statistic[0]:.7g}), and lies outside the priors: "
                "widen them, or fit from there without them."
            )
        if self.complaint:
            lines.append(f"PROBLEM: {self.complaint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Its numbers by name, as JSON takes them."""
        where = [name.replace(" ", "_") for name in POINTS]
        values = {
            name: dict(zip(self.prior.names, row.tolist(), strict=True))
            for name, row in zip(where, self.theta, strict=True)
        }
        return {
            "well": self.well, "statistic": dict(zip(where, self.statistic.tolist(), strict=True)), **values,
            "began": self.began, "evaluations": dict(self.evaluations), "total": sum(self.evaluations.values()),
            "seconds": sum(self.seconds.values()), "seed": self.seed, "complaint": self.complaint,
        }  # fmt: skip


def start(
    priors: PriorsLike = None,
    *,
    seed: int | None = None,
    workers: int | None = None,
    network: str | os.PathLike[str] | None = None,
    progress: bool = True,
    xspec: ModuleType | None = None,
) -> Start:
    """Find a starting point by one pass of the spectrum through paired auto-encoders, and let XSPEC fit from there.

    The networks are trained in this call, on spectra of the whole prior: emulated ones where the model is linear in
    its norms (some 50-200 evaluations), else evaluated ones (120 a parameter). One pass of the surrogate inverse turns
    the observed spectrum into parameters, latent-space inversion refines these without a further evaluation, and
    ``Fit.perform`` goes on from the best within the priors, with the fitting method that is chosen (leven). The
    parameters' values are set to what it finds; all else in the session is as it was.

    Parameters
    ----------
    priors, workers, progress, xspec
        As for `fit`. The priors say where to look: XSPEC's fit stays within them, or there is a complaint.
    seed : int, optional
        Same seed and machine, same answer; drawn and reported when not given.
    network : path, optional
        Folder of an earlier run with this model and response, as for `fit`: the networks learn from the curves or
        spectra that it knows, and some 30 evaluations see that these hold.

    Returns
    -------
    Start

    Raises
    ------
    ValueError
        For priors or sessions that cannot work, as `fit` does, before anything is spent; for an observation outside
        the prior's reach (`coverage.CoverageError`), and for models that fail everywhere, after the first evaluations.

    References
    ----------
    Chung, Hart, Chung, Peters & Haber, arXiv 2405.13220.
    """
    given, _ = normalise(priors)
    session = Session(xspec, workers=workers)
    prior = bind(given, session)
    learned = None if network is None else Network.load(network, session, prior)
    streams, clock, began = Streams(seed), Progress(progress), time.monotonic()
    for line in prior.describe():
        log.info("prior  %s", line)
    before = np.array([p.values[0] for p in session.parameters])
    # torch takes seconds to load: bad input has been refused by now
    from xspec_sixsa.run.inverse import invert

    with session:
        found = invert(session, prior, streams, clock, learned)
        tried = session.evaluate(np.concatenate([before[None], found.theta]), "start")
        usable = tried.ok & np.all((tried.theta >= prior.support[:, 0]) & (tried.theta <= prior.support[:, 1]), axis=1)
        if not usable.any():
            raise ValueError(
                f"The model failed where the networks put the observation ({'; '.join(filter(None, tried.reasons))}): "
                "the session is as it was. Narrow the priors to where the model works."
            )
        best = int(np.argmin(np.where(usable, tried.statistic, np.inf)))
        with clock.task("native fit", 1, "fit in XSPEC"):
            fitted = session.best_fit(tried.theta[best], prior.support)
    taught = found.evaluations
    seconds = clock.seconds
    return Start(
        prior,
        np.concatenate([tried.theta, fitted.theta[None]]),
        np.append(tried.statistic, fitted.statistic),
        POINTS[best],
        found.trained_on,
        found.looks,
        taught | {k: v for k, v in session.evaluations.items() if k not in taught},
        seconds | {"other": time.monotonic() - began - sum(seconds.values())},
        streams.seed,
        fitted.complaint,
    )
