"""One spectrum of a survey: its own emulator and posterior, learned from what is evaluated for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.common.observation import Observation
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.conditioned import ConditionedPrior
from xspec_sixsa.infer.controlvariate import control_variate
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.coverage import check_coverage
from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulatedproposal import weighed
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.optimum import optimum
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import Mixture, Proposal, StudentProposal
from xspec_sixsa.infer.refinement import KERNELS
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.sharedcurves import CurveLibrary, Fold
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.priors import JointPrior, save_toml
from xspec_sixsa.products.report import illustrate
from xspec_sixsa.run.assemble import assemble
from xspec_sixsa.session import FreeParameter
from xspec_sixsa.survey.reference import fold_of
from xspec_sixsa.survey.template import Observed

if TYPE_CHECKING:
    from xspec_sixsa.survey.guide import SharedGuide

__all__ = ["BATCHES", "MORE", "Evaluate", "Member", "Plan"]

Points = NDArray[np.float64]
Evaluate = Callable[[Points, str], NDArray[np.floating]]

RELEVANT = 40.0  # log likelihood below the best from which a draw has no weight
BATCHES = 4  # that a member's final draws are told apart by, for the verdict
MORE = 1.5  # times as many exact draws where those that there are do not pass the verdict
NO_WEIGHT = 15.0  # log weight below the largest from which a draw has none
FULL_RATE = 0.9  # effective emulated samples per draw of a member's own proposal
GUIDED = (0.6, 0.2, 0.2)  # shares of a guide's own draws, of broad ones about it, and of the prior's fitting shapes
GUIDE_DRAWS = 4000  # that judge a guide
LEAST_GUIDED = 0.02  # of them, that are effective: with fewer, populations get there no sooner than from the prior


@dataclass(frozen=True)
class Plan:
    """What all members of a survey have in common.

    Attributes
    ----------
    prior : JointPrior
    parameters : list of FreeParameter
    norms : dict of str to list of int, or None
        As `Session.norms_by_component`.
    settings : Settings
    options : dict
        As the user gave them, for `priors.toml`.
    seed : int
    pictures : sequence of str
        Which are drawn for each spectrum.
    guide : SharedGuide, optional
        Where their first proposals begin.
    """

    prior: JointPrior
    parameters: list[FreeParameter]
    norms: dict[str, list[int]] | None
    settings: Settings
    options: dict[str, Any]
    seed: int
    pictures: Sequence[str] = ()
    guide: SharedGuide | None = None


class MemberSession:
    """What `assemble` asks of a session, of a spectrum that XSPEC does not hold."""

    def __init__(self, plan: Plan, observed: Observed) -> None:
        self.parameters, self._norms = plan.parameters, plan.norms
        self.observation: Observation = observed.observation
        self.evaluations: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        return [p.chain_name for p in self.parameters]

    @property
    def labels(self) -> list[str]:
        return [p.label for p in self.parameters]

    @property
    def units(self) -> list[str]:
        return [p.unit for p in self.parameters]

    def norms_by_component(self) -> dict[str, list[int]] | None:
        return self._norms

    def component_counts(self, theta: Points) -> dict[str, Points]:
        return {}  # of emulated curves only: a survey spends nothing on a picture


class Member:
    """A spectrum's inference, begun with a library of curves.

    Parameters
    ----------
    plan : Plan
    observed : Observed
    library : CurveLibrary
    evaluate : callable
        Points of the cube (n, d), and a stage's name: expected counts (n, channels of the response), NaN where the
        model failed.

    Attributes
    ----------
    inference : Inference
    frozen : list of Frozen
        What it draws from, the latest last.
    """

    def __init__(self, plan: Plan, observed: Observed, library: CurveLibrary, evaluate: Evaluate) -> None:
        self.plan, self.observed, self._evaluate = plan, observed, evaluate
        self._fold: Fold = fold_of(observed)
        self.streams = Streams(_seed(plan.seed, observed.entry.name))
        self._noise = Noise(observed.observation)
        self.session = MemberSession(plan, observed)
        self.problem = Problem(
            len(plan.parameters), self._simulate, self._spent, self._noise, plan.settings, self.streams,
            Progress(False), library.folded(self._fold),
        )  # fmt: skip
        self.frozen: list[Frozen] = []
        self._first = Simulations.none(len(plan.parameters), self._noise.n_bins)
        self._kept: list[tuple[NDArray[np.int_], Points, Points]] = []
        self._best = -np.inf

    def begin(self) -> None:
        """Learn from the library's curves, and see whether the prior reaches the observation."""
        self.strategy = Factored(self.problem)
        self.inference = Inference(self.problem, self.strategy)
        self.inference.begin(self._first)
        check_coverage(self.strategy.prior.counts.numpy(), self.observed.observation)

    def train(self) -> int:
        """Search as a spectrum alone does; what it measures goes to the library. How many steps it took."""
        self._locate()
        self.strategy._search_on(1.1)
        return len(self.strategy.search.steps)

    def propose(self) -> str:
        """Freeze the emulated posterior as something to draw from.

        The survey's guide, where there is one, begins the first time; a population of the prior does later, and where
        the guide is worth little: what is returned says so, and is empty otherwise.
        """
        attempt, search, why = len(self.frozen) + 1, self.strategy.search, ""
        search.start = None
        if attempt == 1:
            if self.plan.guide is not None:
                search.start, why = self._start(self.plan.guide)
            with self.streams.torch("guide", attempt):
                self._locate()
        self.frozen.append(self.strategy._freeze(search.proposal(), attempt, None))
        return why

    def _start(self, guide: SharedGuide) -> tuple[Proposal | None, str]:
        """Where a guide has populations begin; or none, and why."""
        coarse, emulator = self.strategy.search.coarse_and_nearly_exact()
        with self.streams.torch("guide"):
            tuned = guide.tuned(self.observed, self._noise, coarse.emulator)
            broad = StudentProposal(Whitening.of(tuned.draw(KERNELS)))
            start = Mixture([tuned, broad, ConditionedPrior(coarse)], GUIDED)
            share = effective_sample_size(weighed(start, emulator.log_likelihood, GUIDE_DRAWS)[1]) / GUIDE_DRAWS
        if share >= LEAST_GUIDED:
            return start, ""
        return None, f"{100 * share:.2g} % of the guide's draws were effective"

    def _locate(self) -> None:
        if self.problem.factors is not None and self.problem.factors.surveyed:
            self.strategy.search.locate()

    def draw(self, n: int, number: int) -> Points:
        """Draws (n, d) of the latest proposal."""
        with self.streams.torch("final", number):
            return self.frozen[-1].proposal.draw(n)

    def log_densities(self, u: Points, first: int = 0) -> list[Points]:
        """Log densities (n,) of points (n, d), by each of its proposals from the number `first` on."""
        return [frozen.proposal.log_density(u) for frozen in self.frozen[first:]]

    def score(self, start: int, u: Points, counts: NDArray[np.floating]) -> Points:
        """Exact log likelihoods (n,) of evaluated points, the first of them the survey's number `start`."""
        folded = self._fold(counts)
        log_likelihood = self._log_likelihood(folded)
        self._best = max(self._best, float(log_likelihood.max(initial=-np.inf)))
        relevant = np.flatnonzero(log_likelihood > self._best - RELEVANT)
        self._kept.append((start + relevant, log_likelihood[relevant], folded[relevant].astype(np.float32)))
        return log_likelihood

    def optimum(self) -> Points:
        """Where its emulated likelihood is largest, (d,)."""
        draws, emulator = self.inference.draws, self.strategy.emulator
        if draws is None or emulator is None or not len(draws):
            raise RuntimeError("it has no draws")
        return optimum(emulator.smooth_log_likelihood, draws.u, int(np.argmax(draws.log_likelihood)))

    def judge(self, u: Points, log_mixture: Points, batches: NDArray[np.int_]) -> float:
        """How many times as many exact draws as there are it needs for its target; 1 where it has enough.

        Parameters
        ----------
        u : ndarray (N, d)
            All draws of the survey, in the order in which they were scored.
        log_mixture : ndarray (N,)
            Log density of what they come from.
        batches : ndarray of int (N,)
        """
        inference, settings, emulator = self.inference, self.problem.settings, self.strategy.emulator
        inference.draws = draws = self._final_draws(u, log_mixture, batches)
        inference.control = None
        if settings.exact == "draws" or emulator is None or draws.weights.ess == 0:
            return 1.0
        with self.streams.torch("control", len(draws)):
            found = control_variate(
                _mattering(draws, emulator), emulator.log_likelihood, settings.target_ess, FULL_RATE
            )
        if found.is_enough(settings.target_ess):
            inference.control = found
            return MORE if inference.verdict() else 1.0
        return found.more(settings.target_ess)

    def want_every_draw_exact(self) -> None:
        """Have no emulated draws corrected."""
        self.problem.settings.exact = "draws"

    def learn(self, u: Points, log_mixture: Points, batches: NDArray[np.int_]) -> None:
        """Measure curves where exact draws show the emulator to be off; arguments as for `judge`."""
        self.strategy.search.learn(self._final_draws(u, log_mixture, batches))

    def _final_draws(self, u: Points, log_mixture: Points, batches: NDArray[np.int_]) -> FinalDraws:
        rows, log_likelihood, counts = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        relevant = log_likelihood > self._best - RELEVANT
        rows, log_likelihood, counts = rows[relevant], log_likelihood[relevant], counts[relevant]
        draws = FinalDraws(self.frozen[-1], u.shape[1])
        draws.u, draws.log_likelihood, draws.batches = u[rows], log_likelihood, batches[rows]
        # those left out are draws without weight: what remains comes from a density that is larger by as much
        draws.log_density = log_mixture[rows] + np.log(len(u) / max(len(rows), 1))
        draws._counts = [torch.tensor(counts)]
        return draws

    def finish(
        self, folder: Path, evaluations: dict[str, int], u: Points, counts: NDArray[np.floating], seconds: float
    ) -> dict[str, Any]:
        """Write the posterior's folder: result, chain, priors, pictures; what `Result.as_dict` gives.

        Parameters
        ----------
        folder : Path
        evaluations : dict of str to int
            Those that were made for this spectrum.
        u, counts : ndarray (d,), (channels,)
            Its emulator's optimum, evaluated.
        seconds : float
            Of the survey, for each spectrum.
        """
        if self.inference.control is None:
            self.want_every_draw_exact()  # so many are then needed for its verdict
        session: Any = self.session
        session.evaluations = Counter(evaluations)
        model = RecordedModel(session, self.plan.prior, Checkpoint(), Progress(False))
        fingerprint = self.observed.fingerprint | {"priors": self.plan.prior.to_dict()}
        record = {"seed": self.plan.seed, "fingerprint": fingerprint}
        result = assemble(self.inference, model, self._first, record, "", with_common_norm=False)
        log_likelihood = float(self._log_likelihood(self._fold(counts[None]))[0])
        if -2 * log_likelihood < result.best_statistic:
            result.best_fit, result.best_statistic = self.plan.prior.transform(u[None])[0], -2 * log_likelihood
        result.seconds = {"survey": seconds}
        result.save(folder)
        if result.ess > 0:
            result.save_chain(folder / "chain.fits")
        save_toml(folder / "priors.toml", self.plan.prior, self.plan.options | {"seed": self.plan.seed})
        illustrate(result, folder, only=self.plan.pictures)
        return result.as_dict()

    def _simulate(self, u: Points, stage: str, log_density: Points | None = None) -> Simulations:
        folded = self._fold(self._evaluate(u, stage))
        return Simulations(u, torch.tensor(folded, dtype=torch.float32), self._log_likelihood(folded))

    def _log_likelihood(self, folded: Points) -> Points:
        found = self._noise.statistics.log_likelihood(torch.tensor(folded)).numpy()
        return np.where(np.isfinite(found), found, -np.inf)

    def _spent(self) -> int:
        return 0  # the budget is the survey's


def _mattering(draws: FinalDraws, emulator: SpectrumEmulator) -> FinalDraws:
    """Those draws that have a weight, exact or emulated.

    Where other spectra's draws are, far from this one's posterior, its emulator is wrong by factors that no correction
    need know of.
    """
    emulated = emulator.log_likelihood(draws.u)
    exact_weight, weight = draws.log_likelihood - draws.log_density, emulated - draws.log_density
    keep = (exact_weight > exact_weight.max() - NO_WEIGHT) | (weight > weight.max() - NO_WEIGHT)
    found = FinalDraws(draws.frozen, draws.u.shape[1])
    found.u, found.log_likelihood, found.batches = draws.u[keep], draws.log_likelihood[keep], draws.batches[keep]
    found.log_density = draws.log_density[keep] + np.log(len(draws) / keep.sum())
    return found


def _seed(seed: int, name: str) -> int:
    """A spectrum's own seed: it depends on the survey's and on its name, not on the other spectra."""
    return int(np.random.SeedSequence(seed, spawn_key=(crc32(name.encode()),)).generate_state(1, np.uint64)[0])
