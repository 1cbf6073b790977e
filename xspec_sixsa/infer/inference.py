"""From the first simulations to exact weights: a strategy finds a proposal, and fresh draws from it are the result.

*Final draws* come from the proposal that the strategy (`factored`, `emulated`, `simulated`) found, frozen; only these
enter the result. Where they do not pass the verdict they teach the next proposal, and flow and another compressor are
trained anew.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

import numpy as np

from xspec_sixsa.infer.controlvariate import ControlVariate, corrected_draws
from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulated import Emulated
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.simulated import Simulated
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.strategy import NotLearnedError, Strategy
from xspec_sixsa.infer.verdict import verdict

__all__ = ["Inference"]

log = logging.getLogger(__name__)

FIRST_DRAWS = 2  # times what learning from them costs: draws of a proposal that has not been tried
HOPELESS = 0.05  # effective samples per draw below which a better proposal is sought at once
GROWTH = 2  # times as many draws as there are, at most, of a proposal that may turn out to be worth little
LEARNED = 0.85  # effective samples per draw of an emulator that has learned from draws of its own posterior
BETTER = 1.1  # times as many effective per draw as before, from which a lesson has helped
DEAR = 3  # times what a lesson and new draws cost: exact draws of a correction from which these are to be preferred
NEEDS = 0.8  # of the exact draws that corrections needed before, from which a lesson has helped
LESSON = 2  # steps that a lesson takes, with those that judge it
RELEARNED = 5  # most sets of final draws that are given up because learning from them is cheaper than going on


class Inference:
    """One run of the method on one problem.

    Parameters
    ----------
    problem : Problem
    strategy : Strategy, optional
        Default: simulations only where the settings say so; else an emulator, factored where the problem has factors.

    Attributes
    ----------
    draws : FinalDraws or None
        The final draws, which are the result; an interrupt leaves those drawn so far, and none between two sets.
    control : ControlVariate or None
        Emulated draws that these correct, where the settings ask for them and the correction is small.
    """

    def __init__(self, problem: Problem, strategy: Strategy | None = None) -> None:
        self.problem = problem
        self.strategy = strategy or _strategy(problem)
        self.draws: FinalDraws | None = None
        self.control: ControlVariate | None = None
        self._rates: list[float] = []  # effective samples per draw of the sets that were given up to be learned from
        self._needs: list[int] = []  # exact draws that corrections needed which were given up for the same

    def begin(self, first: Simulations) -> None:
        """Learn from prior-wide simulations."""
        self.strategy.begin(first)

    def run(self) -> None:
        """Find a proposal, and draw from it until the verdict is good or all is spent; `begin` comes before."""
        problem, s = self.problem, self.problem.settings
        judged = 0
        for attempt in itertools.count(1):
            last = judged == s.attempts - 1
            frozen = self._propose(attempt, last_resort=last and judged > 0)
            learning = frozen.teachable and attempt - judged <= RELEARNED
            gives_up = self._worth_learning if learning else None if last else self._hopeless
            self.draws = draws = FinalDraws(frozen, problem.dimension)
            stage = "final" if attempt == 1 else f"final {attempt}"
            finished = self._draw(draws, stage, gives_up) or not learning
            reasons = self.verdict() if finished else []
            if not finished:
                self._rates.append(draws.weights.efficiency)
                log.info(
                    "%.0f %% of the first draws are effective: they now teach a better proposal",
                    100 * draws.weights.efficiency,
                )
            elif not reasons and s.exact == "control":
                finished = self._correct(draws, stage, learning)
                reasons = self.verdict()
            if finished:
                judged += 1
                if not reasons or judged == s.attempts or problem.left < 2 * s.target_ess:
                    return
                log.info("the draws do not pass (%s): they now teach a better proposal", "; ".join(reasons))
                if judged == 1:
                    self.strategy.change_compressor()
            self.strategy.learn(draws)
            self.draws = None

    def _correct(self, draws: FinalDraws, stage: str, learning: bool) -> bool:
        """Emulated draws, corrected by more exact ones until that is good enough; else all draws are to be exact.

        False where a lesson by these draws, and new ones, are cheaper than what the correction needs.
        """
        s, emulator, first = self.problem.settings, self.strategy.emulator, len(draws)
        again = s.exact_ess / LEARNED + LESSON * self.strategy.step

        def is_dear(found: ControlVariate) -> bool:
            needed = found.needed(s.target_ess)
            if found.exact > first:  # it has come to that
                worth = not self._needs and needed - found.exact > again
            else:
                worth = needed < NEEDS * min(self._needs, default=np.inf)
            return learning and worth and needed - first > DEAR * again

        if emulator is not None:
            found = corrected_draws(draws, self.problem, stage, emulator.log_likelihood, is_dear)
            spent = self.problem.left <= 0
            if found.is_enough(s.target_ess) or (spent and found.is_small and found.ess > draws.weights.ess):
                self.control = found
            elif is_dear(found):
                self._needs.append(found.needed(s.target_ess))
                log.info("a correction needs %d exact draws: the first teach the emulator", self._needs[-1])
                return False
        if self.control is None:
            log.warning("The emulator is not good enough for a correction by few exact draws: every draw is exact.")
            s.exact = "draws"
            self._draw(draws, stage, None)
        return True

    def _propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        try:
            return self.strategy.propose(attempt, last_resort=last_resort)
        except NotLearnedError as error:
            log.warning("The model is now emulated as a whole: %s.", error)
        records = self.strategy.rounds.records
        self.strategy = Emulated(self.problem)
        self.strategy.rounds.records += records
        self.begin(self.problem.simulate(self.problem.prior_draws(self.problem.settings.first), "round 1"))
        return self.strategy.propose(attempt, last_resort=last_resort)

    def _draw(self, draws: FinalDraws, stage: str, gives_up: Callable[[FinalDraws], bool] | None) -> bool:
        """Draw until there are enough, or the budget is spent; False if given up."""
        wanted = self.problem.settings.exact_ess
        while True:
            ess = draws.weights.ess
            missing = wanted - ess
            if missing <= 0 or self.problem.left <= 0:
                return True
            if len(draws) and gives_up is not None and gives_up(draws):
                return False
            if len(draws):
                rate, most = max(ess / len(draws), 0.01), 1000 if gives_up is None else GROWTH * len(draws)
            else:
                rate, most = 1.0, FIRST_DRAWS * max(self.strategy.step, 50)
            size = int(np.clip(1.05 * missing / rate, 100, min(most, 1000)))
            draws.extend(self.problem, stage, size)

    def _hopeless(self, draws: FinalDraws) -> bool:
        return draws.weights.efficiency < HOPELESS

    def _worth_learning(self, draws: FinalDraws) -> bool:
        """Whether a new set of draws, after a step in which these teach the emulator, is cheaper than going on."""
        s, rate, best = self.problem.settings, max(draws.weights.efficiency, 1e-3), max(self._rates, default=0.0)
        expected = LEARNED if rate > BETTER * best else best
        again = s.exact_ess / expected + LESSON * self.strategy.step
        return s.exact_ess / rate - len(draws) > again and self.problem.left > 2 * again

    def verdict(self) -> list[str]:
        """Reasons not to trust the final draws; empty for a reliable posterior."""
        if self.draws is None:
            return ["there are no final draws"]
        return verdict(self.draws, self.problem, self.strategy.emulator_error(self.draws)) + self.shortfall

    @property
    def shortfall(self) -> list[str]:
        """The reason that corrected draws give, where the budget has ended their correction; empty without."""
        s, control = self.problem.settings, self.control
        if control is None or control.is_enough(s.target_ess):
            return []
        return [
            f"ESS {control.ess:.0f} below the wanted {s.target_ess:.0f}: the budget of {s.budget} evaluations is spent "
            f"({control.exact} of them correct emulated draws). Raise `budget`, or ask for fewer effective samples."
        ]


def _strategy(problem: Problem) -> Strategy:
    if problem.settings.training == "simulated":
        return Simulated(problem)
    return Emulated(problem) if problem.factors is None else Factored(problem)
