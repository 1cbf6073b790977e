"""From the first simulations to exact weights: two ways to a proposal, one way to the result.

*Emulated* (the default; METHOD.md, section 4): compressor and flow are trained on emulated spectra of the whole prior,
and `search.Search` evaluates where the emulated posterior is until the emulator is right there; the proposal is the
emulated posterior itself.

*Simulated* (SIXSA III): rounds of draws from the prior restricted to the posterior's highest-density region so far;
compressor and flow are trained on all draws inside that region, and a pilot batch with exact weights says how good the
flow is. Then refinement: a flow fitted to the pilots' exactly weighted draws, piloted in turn, while that pays.

Either way *final draws* follow: fresh, from the proposal found, frozen; only these enter the result. Where they do not
pass the verdict they teach the next proposal, flow and another compressor are trained anew, and the last remedy of an
emulated run is refinement.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import qmc

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.importance import Weights, effective_sample_size, pareto_k
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.proposal import (
    FlowProposal,
    KernelProposal,
    Mixture,
    Proposal,
    StudentProposal,
    fit_flow,
    temper,
)
from xspec_sixsa.infer.search import Search

__all__ = ["Inference", "Settings", "Simulations"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

BROAD = 0.05  # share of broad draws in every proposal: guards against a mode that the flow missed
SMOOTH = 0.3  # least share of the smooth part beside a flow
KERNELS = 1000  # points that carry the smooth part
LARGEST_K_HAT = 0.7
FIRST_DRAWS = 400  # of a proposal that has not been tried
HOPELESS = 0.05  # effective samples per draw below which a better proposal is sought at once
LEARNED = 0.85  # effective samples per draw of an emulator that has learned from draws of its own posterior
RELEARNED = 2  # most sets of final draws that are given up because learning from them is cheaper than going on
LARGEST_ERROR = 1.0  # of the emulator in log L over the posterior: beyond it, it knows neither modes nor tails
OTHER_COMPRESSOR = {"autoencoder": "pca"}  # tried where final draws do not pass; the auto-encoder after any other
BATCH_P_VALUE = 1e-3  # the batches' evidences disagree below this


@dataclass
class Simulations:
    """Evaluated parameter sets.

    Attributes
    ----------
    u : ndarray, shape (n, d)
        Unit cube.
    counts : Tensor, float32, shape (n, n_bins)
        Expected source counts.
    log_likelihood : ndarray, shape (n,)
        ``-statistic/2``; ``-inf`` where the model failed.
    """

    u: Points
    counts: torch.Tensor
    log_likelihood: NDArray[np.float64]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether a row's model gave a finite spectrum."""
        return np.isfinite(self.log_likelihood)

    def __getitem__(self, keep: NDArray[np.bool_]) -> Simulations:
        return Simulations(self.u[keep], self.counts[torch.as_tensor(keep)], self.log_likelihood[keep])

    def __add__(self, other: Simulations) -> Simulations:
        return Simulations(
            np.concatenate([self.u, other.u]),
            torch.cat([self.counts, other.counts]),
            np.concatenate([self.log_likelihood, other.log_likelihood]),
        )


@dataclass
class Settings:
    """What a run may spend and when it stops.

    Attributes
    ----------
    target_ess : float
        Effective samples wanted.
    budget : int
        Evaluations that may be spent in all.
    compressor : str
        "autoencoder", "pca", "bands" or "none".
    training : {"emulated", "simulated"}
        What compressor and flow are trained on: emulated spectra, or XSPEC's simulations only (SIXSA III).
    first : int, optional
        Prior-wide simulations to begin with; default: 120 per parameter (emulated), 3000 (simulated).
    batch : int, optional
        Evaluations of a search step; default: 40 per parameter, at least 100.
    explore : float
        Share of a search step that is drawn from the prior and from the flow.
    accuracy : float, optional
        Error of the emulator in log L over the posterior that ends the search: about ``exp(-error^2)`` of the draws
        are effective. Default: ``sqrt(0.8 batch / target_ess)``, within 0.1-0.4: a step that halves the error saves as
        many draws as it costs at ``sqrt(1.3 batch / target_ess)``, and the error is known from a few points only.
    searches : int
        Most search steps before each set of final draws.
    emulated : int
        Emulated spectra that compressor and flow are trained on.
    rounds : int
        Most rounds of neural posterior estimation on simulations.
    later : int
        Most simulations of a round after the first.
    pilot : int
        Draws with exact weights that judge a proposal.
    refinements : int
        Most refinements after the rounds, and before each further attempt.
    attempts : int
        Sets of final draws that are judged: those that fail the verdict only teach the next proposal.
    flow_steps, explorer_steps, refine_steps : int
        Training steps of a round's flow, of the flow that explores for the emulator, and of a refinement's.
    truncation : float
        Mass left outside the highest-density region (SIXSA III: 1e-4).
    enough_to_refine, good_enough : float
        Effective samples per pilot draw that end the rounds, and the refinements.
    teachers : float
        Effective draws per parameter that a final proposal must have been fitted to.
    """

    target_ess: float = 1000
    budget: int = 20000
    compressor: str = "autoencoder"
    training: str = "emulated"
    first: int | None = None
    batch: int | None = None
    explore: float = 0.1
    accuracy: float | None = None
    searches: int = 25
    emulated: int = 4000
    rounds: int = 5
    later: int = 1500
    pilot: int = 400
    refinements: int = 6
    attempts: int = 3
    flow_steps: int = 1000
    explorer_steps: int = 500
    refine_steps: int = 300
    truncation: float = 1e-4
    enough_to_refine: float = 0.2
    good_enough: float = 0.75
    teachers: float = 100

    def sized(self, dimension: int) -> Settings:
        """A copy whose sizes are set for `dimension` free parameters."""
        first = self.first or (120 * dimension if self.training == "emulated" else 3000)
        first = min(first, max(self.budget // 3, 100))
        batch = self.batch or max(40 * dimension, 100)
        accuracy = self.accuracy or float(np.clip(np.sqrt(0.8 * batch / self.target_ess), 0.1, 0.4))
        return replace(self, first=first, batch=batch, accuracy=accuracy)


@dataclass(eq=False)
class Pilot:
    """Exactly weighted draws of one proposal."""

    proposal: Proposal
    u: Points
    log_likelihood: NDArray[np.float64]
    log_density: NDArray[np.float64]
    taught_by: float = 0.0
    """Effective draws that the proposal was fitted to; 0 for a round's."""
    density_err: float = 0.0
    """Relative error of the proposal density's norm."""

    @property
    def log_weights(self) -> NDArray[np.float64]:
        return self.log_likelihood - self.log_density

    @property
    def ess(self) -> float:
        return effective_sample_size(self.log_weights)

    @property
    def efficiency(self) -> float:
        """Effective samples per draw; a tenth of that where a heavy tail makes the number worthless."""
        return self.ess / len(self.u) * (1.0 if pareto_k(self.log_weights) < LARGEST_K_HAT else 0.1)


@dataclass
class Inference:
    """One run of the method on one problem.

    Parameters
    ----------
    dimension : int
        Free parameters.
    simulate : callable
        ``simulate(u, stage, log_density=None) -> Simulations``; every row is one evaluation.
    spent : callable
        Evaluations made so far.
    noise : Noise
    settings : Settings
    streams : Streams
    progress : Progress

    Attributes
    ----------
    u, log_likelihood, log_density, batches : ndarray
        The final draws.
    rounds : list of dict
        A record per round.
    pilots : list of Pilot
    search : Search or None
        The search that led to the proposal of an emulated run.
    network : NeuralPosterior or None
        The one that was trained on spectra of the whole prior.
    """

    dimension: int
    simulate: Callable[..., Simulations]
    spent: Callable[[], int]
    noise: Noise
    settings: Settings
    streams: Streams
    progress: Progress
    rounds: list[dict[str, Any]] = field(default_factory=list)
    pilots: list[Pilot] = field(default_factory=list)
    search: Search | None = None
    network: NeuralPosterior | None = None
    u: Points = field(init=False)
    log_likelihood: NDArray[np.float64] = field(init=False)
    log_density: NDArray[np.float64] = field(init=False)
    batches: NDArray[np.int_] = field(init=False)

    def __post_init__(self) -> None:
        self.settings = self.settings.sized(self.dimension)
        self._forget()

    def _forget(self) -> None:
        self.u = np.empty((0, self.dimension))
        self.log_likelihood = self.log_density = np.empty(0)
        self.batches = np.empty(0, dtype=int)

    # -- the three stages ------------------------------------------------------------------------------------------

    def run(self, first: Simulations) -> None:
        """Rounds, refinement and final draws, from the first round's prior-wide simulations.

        Leaves the final draws in `u`, `log_likelihood`, `log_density` and `batches` (judge them by `verdict`); an
        exception or interrupt leaves those drawn so far.
        """
        s = self.settings
        if s.training == "simulated":
            self._estimate(first)
        else:
            self._begin_search(first)
        attempt = judged = 0
        while True:
            attempt += 1
            last = judged == s.attempts - 1
            searching = self.search is not None and (judged == 0 or not last)
            if searching:
                self._search(attempt)
            else:
                self._refine(attempt)
                self._frozen = self._best()
            learning = searching and attempt - judged <= RELEARNED
            gives_up = self._worth_learning if learning else None if last else self._hopeless
            finished = self._draw(attempt, gives_up)
            if finished or not learning:
                judged += 1
                reasons = self.verdict()
                if not reasons or judged == s.attempts or self.left() < 2 * s.target_ess:
                    return
                log.info("the draws do not pass (%s): they now teach a better proposal", "; ".join(reasons))
                if judged == 1:
                    self._change_compressor()
            else:
                log.info("%.0f %% of the first draws are effective: they now teach a better proposal",
                         100 * self.weights.efficiency)  # fmt: skip
            self._set_aside()

    def _change_compressor(self) -> None:
        """Train on the same spectra through another compressor: what one hides from the flow, another may show."""
        s = self.settings
        name = OTHER_COMPRESSOR.get(s.compressor, "autoencoder")
        if self.search is not None:
            self._explore(name)
        elif self.left() > 2 * s.target_ess + s.pilot:
            self._round(name)

    def _hopeless(self) -> bool:
        return self.weights.efficiency < HOPELESS

    def _worth_learning(self) -> bool:
        """Whether a new set of draws, after a step in which these teach the emulator, is cheaper than going on."""
        s, rate = self.settings, max(self.weights.efficiency, 1e-3)
        again = s.target_ess / LEARNED + s.batch
        return s.target_ess / rate - len(self.u) > again and self.left() > 2 * again

    def _begin_search(self, first: Simulations) -> None:
        """A first emulator, and the neural posterior that explores for it."""
        s = self.settings
        self.search = Search(
            self.simulate, self.left, self.noise, self.streams, self.progress, first[first.usable], s.batch, s.explore,
            s.accuracy,
        )  # fmt: skip
        self._training = self.search.simulations
        self._explore(s.compressor, len(first.u))

    def _explore(self, compressor: str, new: int = 0) -> None:
        """Train the neural posterior that explores for the emulator, on spectra of the whole prior."""
        s, earlier = self.settings, len(self.rounds)
        u = self.streams.numpy("emulated", earlier).random((s.emulated, self.dimension))
        spectra = Simulations(u, self.search.emulator.spectra(u), np.zeros(len(u))) + self._training
        self.network, record = self._train(spectra, s.explorer_steps, compressor)
        self.search.explorer = flow = FlowProposal(self.network.flow, self.network.whitening)
        with self.streams.torch("explorer", earlier):
            samples = flow.draw(s.pilot)
        self.rounds.append(record | {"evaluations": new, "samples": samples})

    def _search(self, attempt: int) -> None:
        """Search on, and freeze the emulated posterior as the proposal of this set of final draws."""
        s, search = self.settings, self.search
        if len(self.pilots):
            search.add(self._taught)
        done = len(search.steps)
        search.run(s.searches, int(1.2 * s.target_ess))
        for step in search.steps[done:]:
            self.rounds.append({"round": len(self.rounds) + 1, "training": {}} | step)
        proposal = search.proposal()
        with self.streams.torch("defensive", attempt):
            broad = StudentProposal(Whitening.of(proposal.draw(KERNELS)))
        broad = Mixture([broad, search.explorer], [0.8, 0.2])
        mixture = Mixture([proposal, broad], [1 - BROAD * attempt, BROAD * attempt])
        self._frozen = Pilot(mixture, self.u, self.log_likelihood, self.log_density, density_err=proposal.log_norm_err)

    def left(self) -> int:
        """Evaluations left in the budget."""
        return self.settings.budget - self.spent()

    def prior_draws(self, n: int) -> Points:
        """Space-filling draws from the prior, shape (n, d): a scrambled Sobol sequence."""
        power = int(np.ceil(np.log2(max(n, 2))))
        return qmc.Sobol(self.dimension, rng=self.streams.numpy("prior")).random_base2(power)[:n]

    def _estimate(self, simulations: Simulations) -> None:
        s = self.settings
        regions: list[_Region] = []
        self._training = simulations[simulations.usable]
        for number in range(1, s.rounds + 1):
            posterior = self._round(s.compressor, len(simulations.u))
            if self.pilots[-1].efficiency >= s.enough_to_refine or number == s.rounds or self._stalled():
                return
            size = min(s.later, self.left() - 2 * s.pilot - int(s.target_ess))
            if size < s.pilot:
                log.info("rounds end: the budget of %d leaves no room for another", s.budget)
                return
            regions.append(_Region.of(posterior, s.truncation, self._training))
            with self.streams.torch("truncated", number):
                u = regions[-1].draw(size, regions[:-1])
            simulations = self.simulate(u, f"round {number + 1}")
            inside = regions[-1].contains(self._training.u)
            self._training = self._training[inside] + simulations[simulations.usable]

    def _round(self, compressor: str, new: int = 0) -> NeuralPosterior:
        """Train compressor and flow, and judge the flow by a pilot; `new` evaluations were made for it."""
        posterior, record = self._train(self._training, self.settings.flow_steps, compressor)
        number = record["round"]
        self.network = self.network or posterior
        flow = FlowProposal(posterior.flow, posterior.whitening)
        with self.streams.torch("defensive", number):
            proposal = _smoothed(flow, flow.draw(KERNELS), SMOOTH)
        pilot = self._pilot(proposal, f"pilot {number}", number)
        record |= {"evaluations": new + len(pilot.u), "ess": pilot.ess, "efficiency": pilot.ess / len(pilot.u)}
        self.rounds.append(record | {"samples": pilot.u})
        log.info(
            "round %d (%s): %d simulations, the flow's draws are %.1f %% effective",
            number, compressor, len(self._training.u), 100 * record["efficiency"],
        )  # fmt: skip
        return posterior

    def _train(self, spectra: Simulations, steps: int, compressor: str) -> tuple[NeuralPosterior, dict[str, Any]]:
        """The next round's networks, and the beginning of its record."""
        number, n = len(self.rounds) + 1, len(spectra.u)
        compress, posterior = make_compressor(compressor), NeuralPosterior(steps=steps)
        steps = getattr(compress, "steps", 0) + posterior.steps
        with (
            self.streams.torch("round", number),
            self.progress.task(f"round {number}: training on {n} spectra", steps) as tick,
        ):
            compress.fit(spectra.counts, self.noise, tick)
            posterior.fit(spectra.u, spectra.counts, self.noise, compress, tick)
        curves = {"compressor": compress.curve, "flow": posterior.curve}
        record = {"round": number, "compressor": compressor, "training": {k: v for k, v in curves.items() if v}}
        return posterior, record

    def _best(self) -> Pilot:
        return max(self.pilots, key=lambda p: p.efficiency)

    def _pilot(self, proposal: Proposal, stage: str, index: int, taught_by: float = 0.0) -> Pilot:
        # refinements' pilots grow: their draws are what the next proposal learns from
        size = self.settings.pilot * (index if taught_by else 1)
        with self.streams.torch(stage, index):
            u = proposal.draw(min(size, max(self.left(), 0)))
        density = proposal.log_density(u)
        pilot = Pilot(proposal, u, self.simulate(u, "pilot", density).log_likelihood, density, taught_by)
        self.pilots.append(pilot)
        return pilot

    def _stalled(self) -> bool:
        """Whether the latest round was no better than an earlier, usable one."""
        efficiency = [p.efficiency for p in self.pilots]
        return len(efficiency) > 1 and efficiency[-1] < 1.2 * max(efficiency[:-1]) and max(efficiency) > 0.05

    def _refine(self, attempt: int) -> None:
        s = self.settings
        for number in range(1, s.refinements + 1):
            best = self._best()
            if best.efficiency >= s.good_enough and best.taught_by >= s.teachers * self.dimension:
                return
            if self.left() < number * s.pilot + s.target_ess:
                log.info("refinement ends: the budget of %d leaves no room for another", s.budget)
                return
            u, log_weights = self._pooled()
            tempered = temper(log_weights, max(60.0, 12.0 * self.dimension))
            with self.streams.torch(f"kernels {attempt}", number):
                share = torch.tensor(np.exp(tempered - tempered.max()))
                points = u[torch.multinomial(share, KERNELS, replacement=True).numpy()]
            proposal = _smoothed(None, points, 1.0)
            ess, least = effective_sample_size(tempered), 20.0 * self.dimension
            if ess >= least:
                label = f"refinement {number}" if attempt == 1 else f"refinement {attempt}.{number}"
                with self.streams.torch(f"refine {attempt}", number), self.progress.task(label, s.refine_steps) as tick:
                    flow = fit_flow(u, tempered, steps=s.refine_steps, tick=tick)
                proposal = _smoothed(flow, points, float(np.clip(least / ess, SMOOTH, 0.5)))
            pilot = self._pilot(proposal, f"refinement {attempt}", number, ess)
            log.info("refinement %d: the proposal's draws are %.1f %% effective", number, 100 * pilot.efficiency)
            if pilot.efficiency < 1.1 * best.efficiency and best.taught_by >= s.teachers * self.dimension:
                return

    def _pooled(self) -> tuple[Points, NDArray[np.float64]]:
        """All pilots' draws, weighted by the mixture of everything they were drawn from.

        Only to *fit* a proposal: weights measured against densities fitted to the same draws bias the evidence
        (METHOD.md, Traps), and never enter a result.
        """
        pilots = [p for p in self.pilots if np.isfinite(p.log_likelihood).any()]
        u = np.concatenate([p.u for p in pilots])
        mixture = Mixture([p.proposal for p in pilots], [len(p.u) for p in pilots])
        return u, np.concatenate([p.log_likelihood for p in pilots]) - mixture.log_density(u)

    def _set_aside(self) -> None:
        """Turn final draws that failed into a pilot: they are exact, and the more numerous the better they teach."""
        self._taught = self._drawn
        self.pilots.append(
            Pilot(self._frozen.proposal, self.u, self.log_likelihood, self.log_density, self._frozen.taught_by)
        )
        if self._frozen in self.pilots:
            self.pilots.remove(self._frozen)  # judged by few draws, it promised more than it held
        self._forget()

    def _draw(self, attempt: int, gives_up: Callable[[], bool] | None) -> bool:
        """Fresh draws from the frozen proposal until there are enough, or the budget is spent; False if given up."""
        s = self.settings
        proposal = self._frozen.proposal
        stage = "final" if attempt == 1 else f"final {attempt}"
        batch = 0
        while True:
            ess = effective_sample_size(self.log_likelihood - self.log_density)
            missing = s.target_ess - ess
            if missing <= 0 or self.left() <= 0:
                return True
            if batch and gives_up is not None and gives_up():
                return False
            rate = max(ess / len(self.u), 0.01) if len(self.u) else 1.0
            size = int(np.clip(1.05 * missing / rate, 100, FIRST_DRAWS if batch == 0 else 1000))
            with self.streams.torch(stage, batch):
                u = proposal.draw(min(size, self.left()))
            density = proposal.log_density(u)
            drawn = self.simulate(u, stage, density)
            self.u = np.concatenate([self.u, u])
            self.log_likelihood = np.concatenate([self.log_likelihood, drawn.log_likelihood])
            self.log_density = np.concatenate([self.log_density, density])
            self.batches = np.concatenate([self.batches, np.full(len(u), batch)])
            self._drawn = drawn if batch == 0 else self._drawn + drawn
            batch += 1

    # -- what came out ---------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Weights:
        """The final draws' exact weights."""
        return Weights(self.log_likelihood - self.log_density, self.batches, self._frozen.density_err)

    @property
    def proposal(self) -> Proposal:
        """The frozen density that the final draws come from."""
        return self._frozen.proposal

    @property
    def counts(self) -> torch.Tensor:
        """Expected source counts of the final draws, float32, shape (n, n_bins)."""
        return self._drawn.counts

    @property
    def emulator_error(self) -> float | None:
        """Standard deviation of exact minus emulated log L over the posterior; None without an emulator.

        Measured on the final draws, which the emulator has not seen.
        """
        finite = np.isfinite(self.log_likelihood)
        if self.search is None or not finite.any():
            return None
        difference = self.log_likelihood[finite] - self.search.emulator.log_likelihood(self.u[finite])
        log_weights = (self.log_likelihood - self.log_density)[finite]
        w = np.exp(log_weights - log_weights.max())
        mean = np.average(difference, weights=w)
        return float(np.sqrt(np.average((difference - mean) ** 2, weights=w)))

    def emulator_summary(self) -> dict[str, Any]:
        """What the emulator is worth, and whether the observation looks like a simulated one; empty without one.

        Returns
        -------
        dict
            ``error`` (`emulator_error`), ``evaluations`` it learned from, ``components``, and of `Recovery`: ``rre``,
            ``rma``, their limits, ``inside``, and ``start``: the point of the unit cube (d,) that inversion gives.
        """
        error = self.emulator_error
        if error is None:
            return {}
        found = self.search.recovery()
        return {
            "error": error,
            "evaluations": len(self.search.simulations.u),
            "components": self.search.emulator.components,
            "rre": found.rre,
            "rre_limit": found.rre_limit,
            "rma": found.rma,
            "rma_limit": found.rma_limit,
            "inside": found.inside,
            "start": found.u,
        }

    def verdict(self) -> list[str]:
        """Reasons not to trust the final draws; empty for a reliable posterior."""
        w, s = self.weights, self.settings
        if w.ess == 0:
            return [
                "no draw with a positive weight: the proposal never met the posterior. Check the priors, or raise "
                "`budget`."
            ]
        reasons = []
        if w.k_hat > LARGEST_K_HAT and w.unseen > w.negligible:
            reasons.append(
                f"k-hat {w.k_hat:.2f} > {LARGEST_K_HAT:.2f} (N = {len(self.u)}, ESS = {w.ess:.0f}), and "
                f"{100 * w.unseen:.1f} % of the evidence is expected beyond the largest weight drawn (limit "
                f"{100 * w.negligible:.1f} %): the proposal misses part of the posterior. Raise `budget`, try another "
                "compressor, or compare with BXA."
            )
        if w.ess < s.target_ess:
            why = (
                f"the budget of {s.budget} evaluations is spent"
                if self.left() <= 0
                else f"only {100 * w.efficiency:.1f} % of the draws are effective"
            )
            reasons.append(
                f"ESS {w.ess:.0f} below the wanted {s.target_ess:.0f}: {why} ({len(self.u)} final draws). Raise "
                "`budget`, or ask for fewer effective samples."
            )
        error = self.emulator_error
        if error is not None and error > LARGEST_ERROR:
            reasons.append(
                f"the emulator is off by {error:.2f} in log L over the posterior (limit {LARGEST_ERROR:g}): it may not "
                'know all of it. Raise `budget`, or train on simulations (training="simulated").'
            )
        chi2, dof = w.batch_chi2
        if dof and stats.chi2.sf(chi2, dof) < BATCH_P_VALUE:
            reasons.append(
                f"independent batches disagree about the evidence (chi2 {chi2:.1f} for {dof} degrees of freedom): rare "
                "draws carry it. Raise `target_ess`, or compare with BXA."
            )
        return reasons


def _smoothed(flow: Proposal | None, points: Points, smooth: float) -> Mixture:
    """A flow made safe to weight by: kernels on equally weighted points fill its holes, a broad share the rest.

    A flow fitted to a few hundred draws leaves holes, most of all in the tails that a prior's edge makes, and a draw in
    a hole has a huge weight.
    """
    parts = [KernelProposal(points), StudentProposal(Whitening.of(points))]
    if flow is None:
        return Mixture(parts, [1 - BROAD, BROAD])
    return Mixture([flow, *parts], [1 - smooth - BROAD, smooth, BROAD])


@dataclass
class _Region:
    """The highest-density region of a flow's posterior: the ball of its base that holds all but `truncation`."""

    posterior: NeuralPosterior
    radius: float

    @classmethod
    def of(cls, posterior: NeuralPosterior, truncation: float, simulations: Simulations) -> _Region:
        region = cls(posterior, float(np.sqrt(stats.chi2.ppf(1 - truncation, simulations.u.shape[1]))))
        # the exact likelihoods know better than a flow that is too sure: simulations of the posterior stay inside
        depth = 0.5 * stats.chi2.ppf(1 - truncation, simulations.u.shape[1])
        best = simulations.u[simulations.log_likelihood >= simulations.log_likelihood.max() - depth]
        outermost = float(region._distance(best).max())
        if outermost > region.radius:
            log.info(
                "the region is widened from %.1f to %.1f base radii: the best simulations lie outside",
                region.radius,
                outermost,
            )
            region.radius = outermost
        return region

    @torch.no_grad()
    def _distance(self, u: Points) -> NDArray[np.float64]:
        w = torch.tensor(self.posterior.whitening.forward(u), dtype=torch.float32)
        return self.posterior.flow.transform(w).norm(dim=1).double().numpy()

    def contains(self, u: Points) -> NDArray[np.bool_]:
        """Whether points (n, d) lie in the region."""
        return self._distance(u) <= self.radius

    @torch.no_grad()
    def draw(self, n: int, within: list[_Region], pool: int = 20) -> Points:
        """Draws from the prior restricted to this region and the earlier ones, shape (<= n, d).

        Uniform draws in the base's ball are resampled, without replacement, by the prior density that the flow's
        volume change gives them: the posterior's shape does not matter, where rejection from the prior or its box
        would accept almost nothing.
        """
        d = len(self.posterior.whitening.centre)
        direction = torch.nn.functional.normalize(torch.randn(pool * n, d), dim=1)
        base = direction * self.radius * torch.rand(pool * n, 1) ** (1 / d)
        w, log_det = self.posterior.flow.transform.inv.call_and_ladj(base)
        u, log_volume = self.posterior.whitening.inverse(w.double().numpy())
        log_weight = log_volume + log_det.double().numpy()
        for region in within:
            log_weight = np.where(region.contains(u), log_weight, -np.inf)
        # Gumbel's trick: the n largest are a weighted draw without replacement
        noise = -np.log(-np.log(torch.rand(len(u), dtype=torch.float64).clamp(min=1e-300).numpy()))
        order = np.argsort(-(log_weight + noise))[:n]
        return u[order[np.isfinite(log_weight[order])]]
