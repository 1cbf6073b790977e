"""Every evaluation ever made, kept on disk batch by batch, so that a stopped run loses at most one batch.

A run draws from named random streams (`seeding.Streams`) and trains on what it evaluated, so that a resumed run asks
for the same parameter sets in the same order: the checkpoint answers those that the stopped run evaluated, and the rest
goes to the model. Batches answered so are counted as evaluations, since they were made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import atomic_path

__all__ = ["Batch", "Checkpoint"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Parameter sets evaluated together.

    Attributes
    ----------
    stage : str
    u : ndarray, shape (n, d)
        Unit cube.
    log_density : ndarray, shape (n,)
        Of the draws, in the cube; NaN where they were not drawn from a density in closed form.
    log_likelihood : ndarray, shape (n,)
        ``-inf`` where the model failed.
    counts : ndarray of float32, shape (n, n_bins)
        Expected source counts.
    """

    stage: str
    u: NDArray[np.float64]
    log_density: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    counts: NDArray[np.float32]


class Checkpoint:
    """The evaluations of one run.

    Parameters
    ----------
    folder : path, optional
        Where batches are written as they are made (``batch_00001.npz`` ...); none are without it (see `keep`).
    resume : bool, default False
        Answer from the batches that lie there.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, resume: bool = False) -> None:
        self.batches: list[Batch] = []
        self._folder = Path(folder) if folder is not None else None
        self._replay: list[Path] = []
        self.replayed = 0
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            if resume:
                self._replay = sorted(self._folder.glob("batch_*.npz"))

    @property
    def evaluations(self) -> dict[str, int]:
        """Evaluations by stage."""
        counted: dict[str, int] = {}
        for batch in self.batches:
            counted[batch.stage] = counted.get(batch.stage, 0) + len(batch.u)
        return counted

    def __len__(self) -> int:
        return sum(len(batch.u) for batch in self.batches)

    def evaluate(
        self,
        stage: str,
        u: NDArray[np.float64],
        log_density: NDArray[np.float64] | None,
        model: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]],
    ) -> Batch:
        """Evaluate one batch, or answer it from what a stopped run left.

        Parameters
        ----------
        stage : str
        u : ndarray, shape (n, d)
        log_density : ndarray, shape (n,), optional
        model : callable
            ``model(u) -> (counts (n, n_bins), log_likelihood (n,))``.
        """
        known = self._known(u)
        if known is None:
            counts, log_likelihood = model(u)
            density = np.full(len(u), np.nan) if log_density is None else np.asarray(log_density, dtype=float)
            known = Batch(stage, u, density, log_likelihood, counts.astype(np.float32))
            self._write(known, len(self.batches) + 1)
        else:
            self.replayed += len(u)
        self.batches.append(known)
        return known

    def keep(self, folder: str | os.PathLike[str]) -> None:
        """Write batches to `folder` from now on, those made so far included (unless they already lie there)."""
        if self._folder == Path(folder):
            return
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        for number, batch in enumerate(self.batches, start=1):
            self._write(batch, number)

    def _known(self, u: NDArray[np.float64]) -> Batch | None:
        if not self._replay:
            return None
        path = self._replay.pop(0)
        with np.load(path, allow_pickle=False) as saved:
            if saved["u"].shape == u.shape and np.array_equal(saved["u"], u):
                return Batch(
                    str(saved["stage"]), saved["u"], saved["log_density"], saved["log_likelihood"], saved["counts"]
                )
        log.warning(
            "The resumed run draws other parameter sets than the stopped one from %s on (another machine, number of "
            "threads or version of torch?): these are evaluated anew.",
            path.name,
        )
        for stale in (path, *self._replay):
            stale.unlink()
        self._replay = []
        return None

    def _write(self, batch: Batch, number: int) -> None:
        if self._folder is None:
            return
        with atomic_path(self._folder / f"batch_{number:05d}.npz") as path, path.open("wb") as file:
            np.savez(
                file,
                stage=np.array(batch.stage),
                u=batch.u,
                log_density=batch.log_density,
                log_likelihood=batch.log_likelihood,
                counts=batch.counts,
            )
