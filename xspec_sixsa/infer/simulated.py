"""Networks trained on simulations alone: the rounds of SIXSA III (arXiv 2512.16709), then refinement.

Rounds of draws from the prior restricted to the posterior's highest-density region so far; compressor and flow are
trained on all draws inside that region, and a pilot batch with exact weights says how good the flow is. Then flows
fitted to the pilots' exactly weighted draws, piloted in turn, while that pays.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulatedproposal import chosen
from xspec_sixsa.infer.estimate import Amortised
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import temper
from xspec_sixsa.infer.refinement import KERNELS, Pilots, smoothed
from xspec_sixsa.infer.region import Region
from xspec_sixsa.infer.rounds import Rounds
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Simulated"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

KNOWN = 30.0  # effective points that a fiducial's mean is taken of


class Simulated:
    """The `Strategy` of SIXSA III.

    Parameters
    ----------
    problem : Problem
    """

    emulator = None
    accuracy = float("nan")
    prior: Simulations

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.rounds, self.pilots = Rounds(problem), Pilots(problem)
        self.network: Amortised | None = None
        self.step = problem.settings.batch

    def begin(self, first: Simulations) -> None:
        """Take the simulations of the first round."""
        self.prior, self._training = first, first[first.usable]

    def _search(self) -> None:
        """Rounds, until the flow is good enough to refine, or does not get better."""
        problem, s = self._problem, self._problem.settings
        regions: list[Region] = []
        new = len(self.prior.u)
        for number in range(1, s.rounds + 1):
            posterior = self._round(s.compressor, new)
            good = self.pilots.tried[-1].efficiency >= s.enough_to_refine
            if good or number == s.rounds or self.pilots.stalled:
                return
            size = min(s.later, problem.left - 2 * s.pilot - int(s.target_ess))
            if size < s.pilot:
                log.info("rounds end: the budget of %d leaves no room for another", s.budget)
                return
            regions.append(Region.of(posterior, s.truncation, self._training))
            with problem.streams.torch("truncated", number):
                u = regions[-1].draw(size, regions[:-1])
            simulations = problem.simulate(u, f"round {number + 1}")
            inside = regions[-1].contains(self._training.u)
            self._training = self._training[inside] + simulations[simulations.usable]
            new = len(simulations.u)

    def _round(self, compressor: str, new: int = 0) -> NeuralPosterior:
        """Train compressor and flow, and judge the flow by a pilot; `new` evaluations were made for it."""
        problem = self._problem
        posterior, record = self.rounds.train(
            self._training, problem.settings.flow_steps, compressor, self._posterior, None
        )
        if not isinstance(posterior, NeuralPosterior):
            raise TypeError(f"Rounds are drawn from within a flow, and {posterior.name} is none.")
        number = record["round"]
        self.network = self.network or posterior
        flow = posterior.proposal
        with problem.streams.torch("defensive", number):
            proposal = smoothed(flow, flow.draw(KERNELS))
        pilot = self.pilots.judge(proposal, f"pilot {number}", number)
        record |= {"evaluations": new + len(pilot.u), "ess": pilot.ess, "efficiency": pilot.ess / len(pilot.u)}
        self.rounds.records.append(record | {"samples": pilot.u})
        log.info(
            "round %d (%s): %d simulations, the flow's draws are %.1f %% effective",
            number, compressor, len(self._training.u), 100 * record["efficiency"],
        )  # fmt: skip
        return posterior

    def _posterior(self) -> Points:
        """Points of the posterior, as far as the best pilot's exact weights tell, or the simulations' of the prior."""
        if not self.pilots.tried:
            return chosen(self._training.u, temper(self._training.log_likelihood, KNOWN), KERNELS)
        pilot = self.pilots.best
        return chosen(pilot.u, temper(pilot.log_weights, KNOWN), KERNELS)

    def propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        """Rounds, then refinements; freeze the best proposal tried."""
        if not len(self.rounds):
            self._search()
        return self.pilots.refine(attempt)

    def learn(self, draws: FinalDraws) -> None:
        """Refinement takes them as a pilot."""
        self.pilots.set_aside(draws)

    def change_compressor(self) -> None:
        """Another round on the same simulations, where the budget has room for its pilot."""
        s = self._problem.settings
        if self._problem.left > 2 * s.target_ess + s.pilot:
            self._round(self.rounds.other_compressor())

    def emulator_error(self, draws: FinalDraws) -> float | None:
        """None: there is no emulator."""
        return None

    def emulator_summary(self, draws: FinalDraws) -> dict[str, Any]:
        """Empty: there is no emulator."""
        return {}
