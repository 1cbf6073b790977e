"""Spectra of one response inferred together: one training, and final draws that serve all of them.

Curves of the model's parts are measured where a few spectra that differ most have their posteriors, as each of them
would have them measured alone. Every spectrum then has an emulator of its own, of the same curves folded for it, and a
proposal that covers its emulated posterior. Final draws come from all proposals, each draw is evaluated once, and for
every spectrum it is weighted by this one mixture's density (deterministic mixture weights: Owen & Zhou 2000, J. Am.
Stat. Assoc. 95, 135). Spectra that are short of effective samples get more draws of their own proposal.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.controlvariate import MOST_EXACT
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.sharedcurves import CurveLibrary
from xspec_sixsa.survey.bands import Bands
from xspec_sixsa.survey.crew import Crew, Failure
from xspec_sixsa.survey.guide import STEPS, TEACHERS, SharedGuide
from xspec_sixsa.survey.member import BATCHES, MORE, Evaluate, Member, Plan
from xspec_sixsa.survey.template import Observed

__all__ = ["SharedDraws", "log_mixture", "representatives", "train", "train_guide"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

BANDS = 6  # of equal counts, by whose rates spectra differ
AT_FIRST = 4  # spectra that train the emulator before it may be good enough
SATISFIED = 4  # of them in turn that found nothing to be learned
MOST_TRAINED = 24  # of those that learn
FIRST_DRAWS = 60  # of each spectrum's proposal
LEAST_RATE = 0.05  # effective samples per own draw that more draws are planned for, at least
POOR = 0.3  # effective samples per own draw below which the emulator learns first
MOST_LEARNED = 5  # times that a spectrum's proposal is made anew
MOST_ROUNDS = 15
MOST_JUDGED = 3  # times that a spectrum's draws are judged before they are taken as they are, or all made exact
AT_ONCE = 1000  # evaluations whose counts are held together


def representatives(observed: Sequence[Observed]) -> list[int]:
    """All spectra, those first that differ most from the ones before them; the brightest is the first.

    Spectra differ by the logarithms of their net rates in a few bands.
    """
    bands = Bands(observed, BANDS)
    rates, totals = [], []
    for o in observed:
        data = o.observation.spectra[0]
        rates.append(bands.log_rates(o, data.counts - data.expected_background))
        totals.append(data.counts.sum())
    points = np.array(rates)
    order = [int(np.argmax(totals))]
    distance = np.full(len(points), np.inf)
    while len(order) < len(points):
        distance = np.minimum(distance, ((points - points[order[-1]]) ** 2).sum(axis=1))
        distance[order[-1]] = -1.0
        order.append(int(np.argmax(distance)))
    return order


def train(
    plan: Plan, observed: Sequence[Observed], library: CurveLibrary, evaluate: Evaluate, progress: Progress
) -> None:
    """Measure curves where a few spectra need them, until the next ones need none."""
    order = representatives(observed)
    satisfied, most = 0, min(MOST_TRAINED, len(order))
    with progress.task("training on spectra that differ most", most, "training") as tick:
        for number, k in enumerate(order[:most]):
            tick()
            before = len(library)
            try:
                member = Member(plan, observed[k], library, evaluate)
                member.begin()
                member.train()
            except Exception as error:  # it will say so itself, as one of all
                log.debug("%s does not train: %s", observed[k].entry.name, error)
                continue
            library.maps = member.strategy.search.emulator.maps
            learned = len(library) - before
            log.info("%s: %d curves measured, %d known", observed[k].entry.name, learned, len(library))
            satisfied = 0 if learned else satisfied + 1
            if number + 1 >= AT_FIRST and satisfied >= SATISFIED:
                break


def train_guide(
    plan: Plan, observed: Sequence[Observed], library: CurveLibrary, evaluate: Evaluate, number: int, progress: Progress
) -> SharedGuide | None:
    """What is to guide the spectra's proposals; None, with a warning, where it could not be trained.

    Parameters
    ----------
    number : int
        Of the batch, for the streams.
    """
    exposures = [one.observation.spectra[0].exposure for one in observed]
    spread = np.linspace(0, len(observed) - 1, min(TEACHERS, len(observed))).astype(int)
    teachers: list[tuple[Observed, SpectrumEmulator]] = []
    for k in np.argsort(exposures, kind="stable")[spread]:
        try:
            member = Member(plan, observed[k], library, evaluate)
            member.begin()
        except Exception as error:  # as in `train`
            log.debug("%s does not teach a guide: %s", observed[k].entry.name, error)
            continue
        teachers.append((observed[k], member.strategy.search.emulator))
    if not teachers:
        log.warning("No spectrum could teach a guide: all proposals are found by populations.")
        return None
    task = progress.task(f"training a guide on the noise of {len(teachers)} spectra", STEPS, "training")
    with Streams(plan.seed).torch("guide", number), task as tick:
        try:
            return SharedGuide(plan.settings.guide, len(plan.parameters), observed, teachers, tick)
        except FloatingPointError as error:
            log.warning("No guide (%s): all proposals are found by populations.", error)
            return None


def log_mixture(log_densities: Points, given: Sequence[int]) -> Points:
    """Log density (N,) of draws of which each component gave so many.

    Parameters
    ----------
    log_densities : ndarray (components, N)
        Of every component at every draw, whichever gave it.
    given : sequence of int
        Draws by component, N in all.
    """
    shares = np.array(given) / np.sum(given)
    return np.asarray(logsumexp(log_densities, axis=0, b=shares[:, None]))


class SharedDraws:
    """Final draws of all spectra of one response.

    Parameters
    ----------
    crew : Crew
        Its members have begun.
    plan : Plan
    members : int
        How many there are.
    evaluate : callable
    streams : Streams
    batch : int
        Its number, for the streams.
    budget : int
        Most draws.

    Attributes
    ----------
    failed : dict of int to str
        Members that could not go on, and why.
    own : ndarray of int (members,)
        Draws of each one's own proposals.
    unguided : dict of int to str
        Members that the plan's guide did not serve to the end, and why.
    """

    def __init__(
        self,
        crew: Crew,
        plan: Plan,
        members: int,
        evaluate: Evaluate,
        streams: Streams,
        batch: int,
        budget: int,
    ) -> None:
        self._crew, self._plan, self._evaluate, self._budget = crew, plan, evaluate, budget
        self._streams, self._batch = streams, batch
        self.failed: dict[int, str] = {}
        self.unguided: dict[int, str] = {}
        self.own = np.zeros(members, dtype=int)
        self.u: Points = np.empty((0, len(plan.parameters)))
        self.batches = np.empty(0, dtype=int)
        self._log_likelihood: Points = np.empty((members, 0))
        # component by component: its member, how many draws it gave, its log density at every draw
        self._owners: list[int] = []
        self._given: list[int] = []
        self._log_densities: list[Points] = []

    def _living(self) -> list[int]:
        return [k for k in range(len(self.own)) if k not in self.failed]

    def _ask(self, question: str, by_member: dict[int, tuple[Any, ...]], *common: Any) -> dict[int, Any]:
        """Answers of those that could; the others have failed."""
        answers = self._crew.ask(question, {k: v for k, v in by_member.items() if k not in self.failed}, *common)
        for k, answer in answers.items():
            if isinstance(answer, Failure):
                self.failed[k] = str(answer)
        return {k: answer for k, answer in answers.items() if k not in self.failed}

    def run(self, progress: Progress) -> None:
        """Draw until every member has what it needs, or the budget is spent."""
        members = range(len(self.own))
        with progress.task("covering the emulated posteriors", 1, "ensemble"):
            self._ask("begin", {k: () for k in members})
            self._propose(self._living())
        if self._plan.guide is not None:
            log.info(
                "the guide serves %d of %d spectra; the others are explored by populations of the prior",
                sum(map(self._guided, self._living())), len(self._living()),
            )  # fmt: skip
        settings = self._plan.settings
        wanted = np.full(len(self.own), settings.exact_ess)
        wanted_draws = np.minimum(FIRST_DRAWS, 1.1 * wanted).astype(int)
        learned, tried = np.zeros((2, len(self.own)), dtype=int)
        judged: set[int] = set()
        for number in range(MOST_ROUNDS):
            plan = {k: int(wanted_draws[k]) for k in self._living() if wanted_draws[k] > 0}
            left = self._budget - len(self.u)
            if not plan or left <= 0:
                break
            share = min(left / sum(plan.values()), 1.0)
            with progress.task(f"final draws {number + 1}", 1, "draws"):
                self._draw({k: max(int(share * n), 1) for k, n in plan.items()}, number)
                ess = self._ess()
            log.info(
                "final draws %d: %d in all, effective for a spectrum: %.0f at least, %.0f median",
                number + 1, len(self.u), ess[self._living()].min(initial=np.inf), np.median(ess[self._living()]),
            )  # fmt: skip
            if share < 1:
                break
            rate = np.clip(ess / np.maximum(self.own, 1), LEAST_RATE, 1.0)
            poor = [k for k in self._living() if rate[k] < POOR and ess[k] < wanted[k] and learned[k] < MOST_LEARNED]
            if poor:
                self._learn(poor, "few of its first draws were effective")
                learned[poor] += 1
            enough = [k for k in self._living() if ess[k] >= wanted[k] and k not in judged]
            for k, times in self._judge(enough).items():
                tried[k] += 1
                if times == 1.0 or (times == MORE and tried[k] == MOST_JUDGED):
                    judged.add(k)
                    continue
                # few exact draws may tell too little of the tails: twice as many show whether it is that
                wanted[k] = ess[k] * min(times, 2.0)
                if (times != MORE or self._guided(k)) and learned[k] < MOST_LEARNED:
                    # a few curves cost less than exact draws, and a guide may have missed what a population finds
                    self._learn([k], "its first draws were not enough for the verdict")
                    learned[k] += 1
                elif tried[k] == MOST_JUDGED or wanted[k] > MOST_EXACT * settings.target_ess:
                    wanted[k] = settings.target_ess
                    self._ask("want_every_draw_exact", {k: ()})
            missing = np.where(ess < wanted, np.maximum(1.1 * (wanted - ess) / rate, 10), 0)
            # a rate is known from few draws, and better after learning
            wanted_draws = np.minimum(missing, np.maximum(2 * self.own, FIRST_DRAWS)).astype(int)
        self._judge([k for k in self._living() if k not in judged])

    def _propose(self, members: list[int]) -> None:
        answers = self._ask("propose", {k: () for k in members})
        for k, why in answers.items():
            if why:
                self.unguided[k] = why
            self._owners.append(k)
            self._given.append(0)
            self._log_densities.append(np.empty(len(self.u)))

    def _guided(self, k: int) -> bool:
        """Whether a member's proposal begins with the guide."""
        return self._plan.guide is not None and k not in self.unguided

    def _component(self, k: int) -> list[int]:
        """Numbers of a member's components."""
        return [j for j, owner in enumerate(self._owners) if owner == k]

    def _draw(self, plan: dict[int, int], number: int) -> None:
        drawn = self._ask("draw", {k: (n, number) for k, n in plan.items()})
        u = np.concatenate(list(drawn.values()))
        batches = np.concatenate([np.arange(len(part)) % BATCHES for part in drawn.values()])
        for k, part in drawn.items():
            self.own[k] += len(part)
            self._given[self._component(k)[-1]] += len(part)
        order = self._streams.numpy("order", MOST_ROUNDS * self._batch + number).permutation(len(u))
        u, batches = u[order], batches[order]
        log_likelihood = np.full((len(self.own), len(u)), -np.inf)
        for start in range(0, len(u), AT_ONCE):
            part = u[start : start + AT_ONCE]
            counts = self._evaluate(part, "final")
            for k, found in self._ask(
                "score", {k: () for k in self._living()}, len(self.u) + start, part, counts
            ).items():
                log_likelihood[k, start : start + AT_ONCE] = found
        self._log_likelihood = np.concatenate([self._log_likelihood, log_likelihood], axis=1)
        self.u, self.batches = np.concatenate([self.u, u]), np.concatenate([self.batches, batches])
        # also of those that failed since: what they gave is part of the mixture
        for k, found in self._crew.ask("log_densities", {k: () for k in dict.fromkeys(self._owners)}, u).items():
            if isinstance(found, Failure):
                raise RuntimeError(f"The density of a spectrum's draws cannot be computed: {found}")
            for j, density in zip(self._component(k), found, strict=True):
                self._log_densities[j] = np.concatenate([self._log_densities[j], density])

    def _learn(self, members: list[int], why: str) -> None:
        """New proposals for those whose emulator is off, without a guide; what the old ones gave stays."""
        log.info("%d spectra learn from their first draws", len(members))
        if self._plan.guide is not None:
            self.unguided |= {k: why for k in members if k not in self.unguided}
        self._ask("learn", {k: () for k in members}, self.u, self.log_mixture, self.batches)
        before = len(self._owners)
        self._propose([k for k in members if k not in self.failed])
        for j in range(before, len(self._owners)):
            k = self._owners[j]
            found = self._ask("log_densities", {k: (self.u, len(self._component(k)) - 1)})
            self._log_densities[j] = found[k][0]

    @property
    def log_mixture(self) -> Points:
        """Log density (N,) of what all draws come from."""
        given = [j for j, n in enumerate(self._given) if n]
        return log_mixture(np.array([self._log_densities[j] for j in given]), [self._given[j] for j in given])

    def _ess(self) -> Points:
        mixture = self.log_mixture
        return np.array([effective_sample_size(row - mixture) for row in self._log_likelihood])

    def _judge(self, members: list[int]) -> dict[int, float]:
        with_all = (self.u, self.log_mixture, self.batches) if members else ()
        return self._ask("judge", {k: () for k in members}, *with_all)
