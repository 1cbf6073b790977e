"""Posteriors of simulated spectra, by the method that `fit` uses: what `calibration` tests.

What is known of the model over the calibration box begins every spectrum's search (`teacher.Teacher`). A spectrum whose
exact weights show that this is not good enough there gets search steps of its own.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.common.cores import available_cores, keep_to_one_core
from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.products.calibration.box import Box
from xspec_sixsa.products.calibration.observations import simulated_observation
from xspec_sixsa.products.calibration.ranks import KINDS, uniform_rank
from xspec_sixsa.products.calibration.teacher import Teacher, scored

__all__ = ["Task", "infer_all", "name_of"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

NETWORK_DRAWS = 500
SEARCHES = 5  # steps of a spectrum's own search


@dataclass
class Task:
    """One spectrum after another: simulate, infer, rank; each gives one file in `folder`.

    Attributes
    ----------
    box : Box
    teacher : Teacher
    folder : Path
    seed : int
    target_ess, budget : int
        Effective samples wanted, and most evaluations, a spectrum.
    """

    box: Box
    teacher: Teacher
    folder: Path
    seed: int
    target_ess: int
    budget: int

    def simulate(self, k: int) -> tuple[Points, Noise, Streams]:
        """Truth (1, d) in the box's cube, the spectrum recorded there, and the streams of spectrum `k`."""
        streams = Streams(int(np.random.SeedSequence(self.seed, spawn_key=(k,)).generate_state(1)[0]))
        rng, observation = streams.numpy("truth"), self.box.session.observation
        while True:  # where the model fails, the likelihood is zero: no truth lies there
            truth = rng.random((1, self.box.session.n_free))
            counts = self._evaluate(truth)
            if np.isfinite(counts).all():
                break
        with streams.torch("noise"):
            recorded = Noise(observation).draw(torch.tensor(counts))[0].numpy()
        return truth, Noise(simulated_observation(observation, recorded)), streams

    def infer(self, k: int) -> None:
        """Do spectrum `k`; it depends on the seed and `k` alone."""
        before = self._evaluations
        truth, noise, streams = self.simulate(k)

        def simulate(u: Points, stage: str, log_density: Points | None = None) -> Simulations:
            return scored(u, torch.tensor(self._evaluate(u), dtype=torch.float32), noise)

        def spent() -> int:
            return self._evaluations - before  # a process that begins probes the model, too

        settings = Settings(target_ess=self.target_ess, budget=self.budget, searches=SEARCHES)
        problem = Problem(truth.shape[1], simulate, spent, noise, settings, streams, Progress(show=False))
        explorer = self.teacher.explorer(noise)
        inference = Inference(problem, self.teacher.strategy(problem, explorer))
        inference.run()
        draws = inference.draws
        if draws is None:
            raise RuntimeError("The inference ended without draws.")
        with streams.torch("network draws"):
            network = explorer.draw(NETWORK_DRAWS)
        w = np.exp(draws.weights.log_weights - draws.weights.log_weights.max())
        sets = [(draws.u, w), (draws.u, np.ones_like(w)), (network, np.ones(len(network)))]
        rng = streams.numpy("ranks")
        uniform, reference = rng.random(truth.shape[1] + 1), rng.random(truth.shape[1])
        ranks, coverage = {}, {}
        for kind, (v, weights) in zip(KINDS, sets, strict=True):
            below, weights = v < truth, weights / weights.sum()
            ranks[kind] = [uniform_rank(b, weights, r) for b, r in zip(below.T, uniform[1:], strict=True)]
            nearer = ((v - reference) ** 2).sum(axis=1) < ((truth - reference) ** 2).sum()
            coverage[kind] = uniform_rank(nearer, weights, uniform[0])
        record = {
            "truth": self.box.transform(truth)[0].tolist(),
            "ranks": ranks,
            "coverage": coverage,
            "ess": draws.weights.ess,
            "reasons": inference.verdict(),
            "evaluations": spent(),
        }
        with atomic_path(self.folder / name_of(k)) as temporary:
            temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")

    def _evaluate(self, v: Points) -> Points:
        """Exact expected counts (n, n_bins), NaN where the model failed."""
        return self.box.evaluate(v, "spectra")[0]

    @property
    def _evaluations(self) -> int:
        return sum(self.box.session.evaluations.values())


def name_of(k: int) -> str:
    """File name of spectrum `k`."""
    return f"{k:05d}.json"


_TASK: Task | None = None
"""Inherited by forked workers: neither XSPEC's session nor the emulator can be sent."""


def infer_all(task: Task, which: list[int], workers: int | None, show: bool) -> None:
    """Do these spectra in forked processes, each with a copy of the session."""
    global _TASK
    _TASK = task
    pool = ProcessPoolExecutor(
        min(workers or available_cores(), len(which)), multiprocessing.get_context("fork"), _begin
    )
    try:
        with Progress(show).task("simulated spectra", len(which), "calibration") as tick:
            for done in as_completed([pool.submit(_one, k) for k in which]):
                done.result()
                tick()
    except BrokenProcessPool:
        raise RuntimeError(
            "A process that inferred simulated spectra died: the model crashed it, or memory ran out. The spectra that "
            "were finished are kept: continue with --resume (and fewer --workers)."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _TASK = None


def _begin() -> None:
    keep_to_one_core()
    logging.getLogger("xspec_sixsa").setLevel(logging.ERROR)
    session = _task().box.session
    session.workers, session.in_process = 1, True
    session.__enter__()


def _one(k: int) -> None:
    _task().infer(k)


def _task() -> Task:
    if _TASK is None:
        raise RuntimeError("This process was forked without a task.")
    return _TASK
