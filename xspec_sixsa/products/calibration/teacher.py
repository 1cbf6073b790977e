"""What the inference of all simulated spectra shares: the model over the calibration box, and a network."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from xspec_sixsa.common.fitstatistic import ObservedStatistic
from xspec_sixsa.common.observation import Observation
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.draws import Frozen
from xspec_sixsa.infer.emulated import Emulated
from xspec_sixsa.infer.emulator import CENTRES, Emulator, SpectrumEmulator
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.factoredsearch import FactoredSearch
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import FlowProposal
from xspec_sixsa.infer.search import Search
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.strategy import Strategy
from xspec_sixsa.products.calibration.box import Box
from xspec_sixsa.products.calibration.observations import simulated_observation

__all__ = ["Teacher", "scored", "teach"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

HELD_OUT = 100  # evaluations that judge the emulator
ACCURACY = 0.5  # of the emulator in log L at which it is taught no further
STEP = 200  # evaluations per parameter that teach an emulator of whole spectra at a time
MOST_CURVES = 1000  # that teach a factored one: it is fitted anew for every spectrum
NETWORK_SPECTRA = 4000
SAME_STATISTIC = 1e-3  # relative to the distance from the best: counts are kept in single precision
FOLDER = "box"


class Teacher(ABC):
    """What all spectra share: an emulator of the model over the box, and a network that learned from it.

    Parameters
    ----------
    model : RecordedModel
        Over the box.
    seed : int

    Attributes
    ----------
    error : float
        Root mean square error of the emulator in log L, on spectra simulated at held-out evaluations.
    evaluations : dict of str to int
        That it took, by stage.
    """

    error: float

    def __init__(self, model: RecordedModel, seed: int) -> None:
        self._model, self._streams = model, Streams(seed)
        self._noise = Noise(model.session.observation)
        self._held = model(self._streams.numpy("held out").random((HELD_OUT, self.dimension)), "held out")
        _check_statistic(model.session.observation, self._held)
        emulator = self._learn()
        with self._streams.torch("network"):
            v = self._streams.numpy("network").random((NETWORK_SPECTRA, self.dimension))
            expected = emulator.spectra(v)
            compress, self._network = make_compressor("autoencoder"), NeuralPosterior()
            compress.fit(expected, self._noise)
            self._network.fit(v, expected, self._noise, compress)
        self.evaluations = dict(model.evaluations)

    @property
    def dimension(self) -> int:
        """Free parameters, d."""
        return self._model.session.n_free

    @abstractmethod
    def _learn(self) -> SpectrumEmulator:
        """Evaluate over the box until the emulator is accurate there."""

    @abstractmethod
    def strategy(self, problem: Problem, explorer: FlowProposal) -> Strategy:
        """How a spectrum's posterior is found, begun with what is known.

        Parameters
        ----------
        problem : Problem
        explorer : FlowProposal
            The network's posterior, `explorer(problem.noise)`.
        """

    def explorer(self, noise: Noise) -> FlowProposal:
        """The network's posterior given another observation."""
        return self._network.given(noise).proposal

    def _is_accurate(self, emulator: SpectrumEmulator, evaluations: int) -> bool:
        with self._streams.torch("held out"):
            self.error = _error(emulator, self._held, self._model.session.observation, self._noise)
        log.info("the box's emulator: %d evaluations, off by %.2f in log L", evaluations, self.error)
        return self.error < ACCURACY


class CurvesTeacher(Teacher):
    """Curves of a factored model, measured over the box."""

    def _learn(self) -> SpectrumEmulator:
        model = self._model
        factors, why = model.factors()
        if factors is None:
            raise ValueError(f"The model cannot be factored over the calibration box ({why}): give another box.")
        quiet = Progress(show=False)
        problem = Problem(self.dimension, model, model.spent, self._noise, Settings(), self._streams, quiet, factors)
        self._search = search = FactoredSearch(problem, factors)
        before = 0
        while not self._is_accurate(search.emulator, search.measured) and before < search.measured <= MOST_CURVES / 2:
            before = search.measured
            search.teach_everywhere(before)
        return search.emulator

    def strategy(self, problem: Problem, explorer: FlowProposal) -> Strategy:
        """See `Teacher`."""
        session, emulator = self._model.session, self._search.emulator
        problem.factors = emulator.factors.taught(
            lambda theta: session.evaluate(theta, "spectra").counts,
            [(x, curves) for _, x, curves in self._search.known],
            emulator.maps,
        )
        taught = _TaughtCurves(problem)
        taught.begin(Simulations.none(self.dimension, self._noise.n_bins))
        return taught


class SpectraTeacher(Teacher):
    """Whole spectra over the box, for models that are not factored."""

    def _learn(self) -> SpectrumEmulator:
        d = self.dimension
        points = qmc.Sobol(d, rng=self._streams.numpy("prior")).random_base2(12)
        done = Simulations.none(d, self._noise.n_bins)
        while True:
            done += self._model(points[len(done.u) :][: STEP * d], "box")
            self._v, self._counts = done.u[done.usable], done.counts[torch.as_tensor(done.usable)].double()
            self._emulator = Emulator(self._v, self._counts, np.ones(len(self._v)), self._noise)
            if self._is_accurate(self._emulator, len(done.u)) or len(done.u) + STEP * d > CENTRES:
                with self._streams.torch("inverse"):  # it is learned once, for all copies
                    self._emulator.parameters(self._noise.observed[None])
                return self._emulator

    def strategy(self, problem: Problem, explorer: FlowProposal) -> Strategy:
        """See `Teacher`."""
        first = scored(self._v, self._counts, problem.noise)
        return _TaughtSpectra(problem, first, self._emulator.given(problem.noise), explorer)


class _TaughtCurves(Factored):
    """Begun with curves over the box; it makes search steps only after these have failed."""

    def begin(self, first: Simulations) -> None:
        super().begin(first)
        self.search.locate()

    def propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        if attempt > 1:
            return super().propose(attempt, last_resort=last_resort)
        return self._freeze(self.search.proposal(), attempt, None)


class _TaughtSpectra(Emulated):
    """Begun with whole spectra over the box, and the emulator and the network that learned from them."""

    def __init__(self, problem: Problem, first: Simulations, emulator: Emulator, explorer: FlowProposal) -> None:
        super().__init__(problem)
        self.prior = self._training = first
        self.search = _TaughtSearch(problem, first, emulator)
        self.search.explorer = explorer


class _TaughtSearch(Search):
    """A search that makes steps only after what it begins with has failed."""

    _tried = False

    def run(self, most: int, reserve: int) -> None:
        if self._tried:
            self._learn(self.emulator)
            super().run(most, reserve)
        self._tried = True


def teach(box: Box, folder: Path, seed: int, *, factored: bool) -> Teacher:
    """Learn the model over the box; what it evaluates is kept in `folder`, and taken from there.

    Parameters
    ----------
    box : Box
    folder : path
    seed : int
    factored : bool
        Whether the run whose method is tested had a factored emulator.

    Raises
    ------
    ValueError
        Where the model fails everywhere in the box, or can be factored no longer.
    """
    kind = CurvesTeacher if factored else SpectraTeacher
    with box.session:
        checkpoint, quiet = Checkpoint(folder / FOLDER, resume=True), Progress(show=False)
        return kind(RecordedModel(box.session, box.prior, checkpoint, quiet, box.transform), seed)


def scored(v: Points, counts: torch.Tensor, noise: Noise) -> Simulations:
    """Simulations with the exact log L of a simulated observation, from exact expected counts."""
    log_likelihood = noise.statistics.log_likelihood(counts.double()).numpy()
    return Simulations(v, counts, np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf))


def _error(emulator: SpectrumEmulator, held: Simulations, observation: Observation, noise: Noise) -> float:
    exact = held.counts[torch.as_tensor(held.usable)].double()
    emulated = emulator.spectra(held.u[held.usable]).double()
    errors = []
    for x, m, e in zip(noise.draw(exact), exact, emulated, strict=True):
        statistic = ObservedStatistic(simulated_observation(observation, x.numpy()))
        value = statistic.log_likelihood(torch.stack([m, e])).numpy()
        errors.append(value[1] - value[0])
    return float(np.sqrt(np.mean(np.square(errors))))


def _check_statistic(observation: Observation, held: Simulations) -> None:
    good = held.usable
    if not good.any():
        raise ValueError("The model failed everywhere in the calibration box: give another box.")
    ours = ObservedStatistic(observation).log_likelihood(held.counts[torch.as_tensor(good)].double()).numpy()
    theirs = held.log_likelihood[good]
    best = int(np.argmax(theirs))
    off = np.abs((ours - ours[best]) - (theirs - theirs[best])) / (1 + theirs[best] - theirs)
    if off.max() > SAME_STATISTIC:
        log.warning(
            "XSPEC's statistic differs from the formula by %.2g of its range (model weighting or systematics?): what "
            "is calibrated is the method under the formula.",
            off.max(),
        )
