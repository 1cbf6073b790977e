"""The model as inference sees it: points of the unit cube in, simulations out, every batch kept in the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.infer.checkpoint import Batch, Checkpoint
from xspec_sixsa.infer.factors import Factors, Hints, find_factors
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.session import Session

__all__ = ["CHUNK", "RecordedModel"]

CHUNK = 500  # evaluations between checkpoints: what a killed run can lose

Points = NDArray[np.float64]


class RecordedModel:
    """Evaluates points of the prior's unit cube, or answers them from what a stopped run left.

    Parameters
    ----------
    session : Session
    prior : JointPrior
    checkpoint : Checkpoint
    progress : Progress
    transform : callable, optional
        From points of the cube (n, d) to physical parameters; default: the prior's.
    """

    def __init__(
        self,
        session: Session,
        prior: JointPrior,
        checkpoint: Checkpoint,
        progress: Progress,
        transform: Callable[[Points], Points] | None = None,
    ) -> None:
        self.session, self.prior, self.checkpoint, self.progress = session, prior, checkpoint, progress
        self._transform = transform or prior.transform

    def __call__(self, u: Points, stage: str, log_density: Points | None = None) -> Simulations:
        """Evaluate points (n, d), counted under `stage`; `log_density` (n,) is of what they were drawn from."""
        batches = self._batches(u, stage, self._transform, log_density)
        return Simulations(
            u,
            torch.from_numpy(np.concatenate([b.counts for b in batches])),
            np.concatenate([b.log_likelihood for b in batches]),
        )

    def curves(self, theta: Points) -> Points:
        """Expected source counts (n, n_bins) at physical parameters (n, d), NaN where the model gives none.

        Counted under "curves"; no likelihood is wanted, as norms may be zero there.
        """
        batches = self._batches(theta, "curves", lambda theta: theta)
        return np.concatenate([b.counts for b in batches]).astype(float)

    def _batches(
        self, x: Points, stage: str, physical: Callable[[Points], Points], log_density: Points | None = None
    ) -> list[Batch]:
        """Evaluate rows (n, d), which `physical` turns into XSPEC's values, in batches that the checkpoint keeps."""

        def evaluate(part: Points) -> tuple[Points, Points]:
            found = self.session.evaluate(physical(part), stage)
            return found.counts, found.log_likelihood

        batches = []
        with self.progress.task(f"evaluating: {stage}", len(x), "evaluation") as tick:
            for start in range(0, len(x), CHUNK):
                part = slice(start, start + CHUNK)
                density = None if log_density is None else log_density[part]
                batches.append(self.checkpoint.evaluate(stage, x[part], density, evaluate))
                tick(len(batches[-1].u))
        return batches

    def factors(self) -> tuple[Factors | None, str]:
        """The model's linear structure, or None and why there is none; see `find_factors`."""
        session = self.session
        parameters, limits = session.parameters, session.hard_limits
        norms = [k for k in session.additive_norms() if limits[k, 0] <= 0 <= limits[k, 1]]
        own = {
            norm: [
                k
                for k, p in enumerate(parameters)
                if k != norm and (p.model, p.component) == (parameters[norm].model, parameters[norm].component)
            ]
            for norm in norms
        }
        constants = [k for k, p in enumerate(parameters) if p.response is None and p.component.startswith("constant")]
        kinds = {k: re.sub(r"_\d+$", "", p.component) if k in norms else p.name for k, p in enumerate(parameters)}
        hints = Hints(norms, own, constants, self.prior.columns, session.observation.slices, kinds)
        return find_factors(self._transform, self.curves, hints, session.n_free)

    @property
    def evaluations(self) -> dict[str, int]:
        """Evaluations by stage: recorded ones, and the session's probes, component curves and native fits."""
        recorded = self.checkpoint.evaluations
        return recorded | {k: v for k, v in self.session.evaluations.items() if k not in recorded}

    def spent(self) -> int:
        """Evaluations in all."""
        return sum(self.evaluations.values())
