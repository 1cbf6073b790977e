"""The model as inference sees it: points of the unit cube in, simulations out, every batch kept in the checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.infer.checkpoint import Checkpoint
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
    """

    def __init__(self, session: Session, prior: JointPrior, checkpoint: Checkpoint, progress: Progress) -> None:
        self.session, self.prior, self.checkpoint, self.progress = session, prior, checkpoint, progress

    def __call__(self, u: Points, stage: str, log_density: Points | None = None) -> Simulations:
        """Evaluate points (n, d), counted under `stage`; `log_density` (n,) is of what they were drawn from."""

        def evaluate(part: Points) -> tuple[Points, Points]:
            found = self.session.evaluate(self.prior.transform(part), stage)
            return found.counts, found.log_likelihood

        batches = []
        with self.progress.task(f"evaluating: {stage}", len(u), "evaluation") as tick:
            for start in range(0, len(u), CHUNK):
                part = slice(start, start + CHUNK)
                density = None if log_density is None else log_density[part]
                batches.append(self.checkpoint.evaluate(stage, u[part], density, evaluate))
                tick(len(batches[-1].u))
        return Simulations(
            u,
            torch.from_numpy(np.concatenate([b.counts for b in batches])),
            np.concatenate([b.log_likelihood for b in batches]),
        )

    @property
    def evaluations(self) -> dict[str, int]:
        """Evaluations by stage: recorded ones, and the session's probes, component curves and native fits."""
        recorded = self.checkpoint.evaluations
        return recorded | {k: v for k, v in self.session.evaluations.items() if k not in recorded}

    def spent(self) -> int:
        """Evaluations in all."""
        return sum(self.evaluations.values())
