"""Posteriors of simulated spectra, by the method that `fit` uses: what `calibration` tests.

One emulator of the calibration box begins every spectrum's search, and one network explores for it. A spectrum whose
exact weights show that the emulator is not good enough there gets search steps of its own.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

from xspec_sixsa import priors as prior_module
from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.common.fitstatistic import ObservedStatistic
from xspec_sixsa.common.observation import Observation
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.emulator import CENTRES, Emulator
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.proposal import FlowProposal
from xspec_sixsa.infer.rounds import Inference, Settings, Simulations
from xspec_sixsa.infer.search import Search
from xspec_sixsa.products.calibration.ranks import KINDS, uniform_rank
from xspec_sixsa.session.opened import open_session

if TYPE_CHECKING:
    from xspec_sixsa.priors import JointPrior
    from xspec_sixsa.result import Result

__all__ = ["Problem", "Task", "Teacher", "infer_all", "name_of", "simulated_observation"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

SIGMAS = 5.0  # half the box, in standard deviations of the posterior
HELD_OUT = 100  # evaluations that judge the emulator
ACCURACY = 0.5  # of the emulator in log L at which it is taught no further
STEP = 200  # evaluations per parameter that teach it at a time
NETWORK_SPECTRA, NETWORK_DRAWS = 4000, 500
SAME_STATISTIC = 1e-3  # relative to the distance from the best: counts are kept in single precision
SEARCHES = 5  # steps of a spectrum's own search
BANK = "evaluations.npz"


@dataclass
class Problem:
    """The session, and the prior restricted to the box: uniform over the box's own unit cube.

    Attributes
    ----------
    session : Session
    prior : JointPrior
    box : ndarray (d, 2)
        In the prior's unit cube.
    """

    session: Any
    prior: JointPrior
    box: Points

    @classmethod
    def of(cls, result: Result, priors: Any, box: Points | None, xspec: ModuleType | None) -> Problem:
        """The problem of a result; see `calibration.calibrate`."""
        session = open_session(result, xspec)
        if priors is None:
            if result.output is None or not (Path(result.output) / "priors.toml").is_file():
                raise ValueError("The result's folder has no priors.toml: give the run's `priors`.")
            priors = Path(result.output) / "priors.toml"
        prior = prior_module.bind(prior_module.normalise(priors)[0], session)
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
        return self.session.fingerprint() | {"priors": self.prior.to_dict()}

    def theta(self, v: Points) -> Points:
        """Physical parameters (n, d) at points of the box's unit cube."""
        low, high = self.box.T
        return self.prior.transform(low + v * (high - low))

    def evaluate(self, v: Points, stage: str) -> tuple[Points, Points]:
        """Exact expected counts (n, n_bins), NaN where the model failed, and log L of the true observation (n,)."""
        found = self.session.evaluate(self.theta(v), stage)
        return np.where(found.ok[:, None], found.counts, np.nan), found.log_likelihood


@dataclass
class Teacher:
    """What all spectra share: exact evaluations over the box, and the emulator and network that learned from them.

    Attributes
    ----------
    v : ndarray (n, d)
    counts : Tensor, float32, (n, n_bins)
    emulator : Emulator
    network : NeuralPosterior
    error : float
        Root mean square error of the emulator in log L, on spectra simulated at held-out evaluations.
    evaluations : dict of str to int
    """

    v: Points
    counts: torch.Tensor
    emulator: Emulator
    network: NeuralPosterior
    error: float
    evaluations: dict[str, int]

    @classmethod
    def of(cls, problem: Problem, folder: Path, seed: int) -> Teacher:
        """Evaluate over the box until the emulator is accurate there, or holds as many points as it can."""
        streams, noise, d = Streams(seed), Noise(problem.session.observation), problem.session.n_free
        points = qmc.Sobol(d, rng=streams.numpy("prior")).random_base2(12)
        held = streams.numpy("held out").random((HELD_OUT, d))
        stored = _load(folder / BANK)
        with problem.session:
            if "held" not in stored:
                stored["held"], log_likelihood = problem.evaluate(held, "held out")
                _check_statistic(problem.session.observation, stored["held"], log_likelihood)
            size = max(len(stored.get("counts", ())), STEP * d)
            while True:
                done = len(stored.get("counts", ()))
                if done < size:
                    new = problem.evaluate(points[done:size], "box")[0].astype(np.float32)
                    stored["counts"] = np.concatenate([stored["counts"], new]) if done else new
                    with atomic_path(folder / BANK) as temporary:
                        np.savez(temporary, **stored)
                good = np.isfinite(stored["counts"]).all(axis=1)
                v, counts = points[:size][good], torch.tensor(stored["counts"][good])
                emulator = Emulator(v, counts, np.ones(len(v)), noise)
                with streams.torch("held out"):
                    error = _error(emulator, held, stored["held"], problem.session.observation, noise)
                log.info("the box's emulator: %d evaluations, off by %.2f in log L", size, error)
                if error < ACCURACY or size + STEP * d > CENTRES:
                    break
                size += STEP * d
        with streams.torch("network"):
            emulator.parameters(noise.observed[None])  # the inverse is learned once, for all copies
            v_network = streams.numpy("network").random((NETWORK_SPECTRA, d))
            expected = emulator.spectra(v_network)
            compress, network = make_compressor("autoencoder"), NeuralPosterior()
            compress.fit(expected, noise)
            network.fit(v_network, expected, noise, compress)
        evaluations = {"box": size, "held out": HELD_OUT, "probe": int(problem.session.evaluations["probe"])}
        return cls(v, counts, emulator, network, error, evaluations)

    def flow_given(self, noise: Noise) -> FlowProposal:
        """The network's posterior given another observation."""
        network = self.network.given(noise)
        return FlowProposal(network.flow, network.whitening)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with np.load(path) as stored:
        return dict(stored)


def _error(emulator: Emulator, held: Points, counts: Points, observation: Observation, noise: Noise) -> float:
    good = np.isfinite(counts).all(axis=1)
    exact, emulated = torch.tensor(counts[good]), emulator(held[good])
    recorded = noise.draw(exact)
    errors = []
    for x, m, e in zip(recorded, exact, emulated, strict=True):
        statistic = ObservedStatistic(simulated_observation(observation, x.numpy()))
        value = statistic.log_likelihood(torch.stack([m, e])).numpy()
        errors.append(value[1] - value[0])
    return float(np.sqrt(np.mean(np.square(errors))))


def _check_statistic(observation: Observation, counts: Points, log_likelihood: Points) -> None:
    good = np.isfinite(counts).all(axis=1) & np.isfinite(log_likelihood)
    if not good.any():
        raise ValueError("The model failed everywhere in the calibration box: give another box.")
    ours = ObservedStatistic(observation).log_likelihood(torch.tensor(counts[good])).numpy()
    theirs = log_likelihood[good]
    best = int(np.argmax(theirs))
    off = np.abs((ours - ours[best]) - (theirs - theirs[best])) / (1 + theirs[best] - theirs)
    if off.max() > SAME_STATISTIC:
        log.warning(
            "XSPEC's statistic differs from the formula by %.2g of its range (model weighting or systematics?): what "
            "is calibrated is the method under the formula.",
            off.max(),
        )


def simulated_observation(observation: Observation, recorded: Points) -> Observation:
    """The observation with other data.

    Parameters
    ----------
    observation : Observation
    recorded : ndarray (n_inputs,)
        As `Noise.draw` gives it: source (chi: net) counts of all spectra, then background counts.
    """
    spectra, after = [], observation.n_bins
    for s, where in zip(observation.spectra, observation.slices, strict=True):
        changes: dict[str, Any] = {"counts": recorded[where]}
        if s.statistic == "chi":
            changes["counts"] = recorded[where] + s.expected_background
        elif s.background is not None:
            changes["background"] = recorded[after : after + s.n_bins]
            after += s.n_bins
        spectra.append(replace(s, **changes))
    return Observation(tuple(spectra))


class _TaughtSearch(Search):
    """A search that begins with the box's emulator, and makes steps only after that has failed."""

    def __init__(self, teacher: Teacher, *args: Any) -> None:
        self._teacher, self._tried = teacher, False
        super().__init__(*args)

    def _learn(self, previous: Emulator | None) -> None:
        if previous is None:
            self.emulator = self._teacher.emulator.given(self.noise)
        else:
            super()._learn(previous)

    def run(self, most: int, reserve: int) -> None:
        if self._tried:
            self._learn(self.emulator)
            super().run(most, reserve)
        self._tried = True


class _TaughtInference(Inference):
    """`rounds.Inference` that begins with a teacher; `first` is what the teacher learned from."""

    teacher: Teacher

    def _begin_search(self, first: Simulations) -> None:
        s = self.settings
        self.search = _TaughtSearch(
            self.teacher, self.simulate, self.left, self.noise, self.streams, self.progress, first, s.batch, s.explore,
            s.accuracy,
        )  # fmt: skip
        self.search.explorer = self.teacher.flow_given(self.noise)


@dataclass
class Task:
    """One spectrum after another: simulate, infer, rank; each gives one file in `folder`.

    Attributes
    ----------
    problem, teacher
    folder : Path
    seed : int
    target_ess, budget : int
        Effective samples wanted, and most evaluations, a spectrum.
    """

    problem: Problem
    teacher: Teacher
    folder: Path
    seed: int
    target_ess: int
    budget: int
    spent: int = field(init=False, default=0)

    def simulate(self, k: int) -> tuple[Points, Noise, Streams]:
        """Truth (1, d) in the box's cube, the spectrum recorded there, and the streams of spectrum `k`."""
        streams = Streams(int(np.random.SeedSequence(self.seed, spawn_key=(k,)).generate_state(1)[0]))
        rng, observation = streams.numpy("truth"), self.problem.session.observation
        while True:  # where the model fails, the likelihood is zero: no truth lies there
            truth = rng.random((1, self.problem.session.n_free))
            counts, _ = self._evaluate(truth)
            if np.isfinite(counts).all():
                break
        with streams.torch("noise"):
            recorded = Noise(observation).draw(torch.tensor(counts))[0].numpy()
        return truth, Noise(simulated_observation(observation, recorded)), streams

    def infer(self, k: int) -> None:
        """Do spectrum `k`; it depends on the seed and `k` alone."""
        self.spent = 0
        truth, noise, streams = self.simulate(k)
        teacher = self.teacher

        def simulate(v: Points, stage: str, log_density: Points | None = None) -> Simulations:
            return _scored(v, torch.tensor(self._evaluate(v)[0], dtype=torch.float32), noise)

        settings = Settings(target_ess=self.target_ess, budget=self.budget, searches=SEARCHES)
        inference = _TaughtInference(
            truth.shape[1], simulate, lambda: self.spent, noise, settings, streams, Progress(show=False)
        )
        inference.teacher = teacher
        inference.run(_scored(teacher.v, teacher.counts, noise))
        with streams.torch("network draws"):
            network = inference.search.explorer.draw(NETWORK_DRAWS)
        w = np.exp(inference.weights.log_weights - inference.weights.log_weights.max())
        sets = [(inference.u, w), (inference.u, np.ones_like(w)), (network, np.ones(len(network)))]
        rng = streams.numpy("ranks")
        uniform, reference = rng.random(truth.shape[1] + 1), rng.random(truth.shape[1])
        ranks, coverage = {}, {}
        for kind, (v, weights) in zip(KINDS, sets, strict=True):
            below, weights = v < truth, weights / weights.sum()
            ranks[kind] = [uniform_rank(b, weights, r) for b, r in zip(below.T, uniform[1:], strict=True)]
            nearer = ((v - reference) ** 2).sum(axis=1) < ((truth - reference) ** 2).sum()
            coverage[kind] = uniform_rank(nearer, weights, uniform[0])
        record = {
            "truth": self.problem.theta(truth)[0].tolist(),
            "ranks": ranks,
            "coverage": coverage,
            "ess": inference.weights.ess,
            "reasons": inference.verdict(),
            "evaluations": self.spent,
        }
        with atomic_path(self.folder / name_of(k)) as temporary:
            temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")

    def _evaluate(self, v: Points) -> tuple[Points, Points]:
        evaluations = self.problem.session.evaluations
        before = sum(evaluations.values())
        found = self.problem.evaluate(v, "spectra")
        self.spent += sum(evaluations.values()) - before  # a process that begins probes the model
        return found


def _scored(v: Points, counts: torch.Tensor, noise: Noise) -> Simulations:
    """Simulations with the exact log L of a simulated observation, from exact expected counts."""
    log_likelihood = noise.statistics.log_likelihood(counts.double()).numpy()
    return Simulations(v, counts, np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf))


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
        min(workers or os.cpu_count() or 1, len(which)), multiprocessing.get_context("fork"), _begin
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
    # a fork has no threads of its parent's pools, and would wait for them for ever
    torch.set_num_threads(1)
    threadpool_limits(1)  # two processes with as many BLAS threads each wait for one another
    logging.getLogger("xspec_sixsa").setLevel(logging.ERROR)
    session = _TASK.problem.session
    session.workers = 1
    session.__enter__()


def _one(k: int) -> None:
    _TASK.infer(k)
