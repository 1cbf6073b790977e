"""What the strategies share that search with an emulator, and draw the posterior that it gives."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulatedproposal import EmulatedProposal
from xspec_sixsa.infer.estimate import Amortised
from xspec_sixsa.infer.factoredsearch import FactoredSearch
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import FlowProposal, Mixture, Proposal, StudentProposal
from xspec_sixsa.infer.refinement import BROAD, KERNELS, Pilots
from xspec_sixsa.infer.rounds import Rounds
from xspec_sixsa.infer.search import Search
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Searching"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]


class Searching:
    """The common half of `emulated.Emulated` and `factored.Factored`.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    search : Search or FactoredSearch
        Made by `begin`.
    """

    search: Search | FactoredSearch
    prior: Simulations

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.rounds, self.pilots = Rounds(problem), Pilots(problem)
        self.network: Amortised | None = None

    @property
    def accuracy(self) -> float:
        """Error of the emulator in log L that ends the search."""
        return self.search.accuracy

    def _train_explorer(self, compressor: str, more: Simulations | None = None, new: int = 0) -> FlowProposal:
        """A neural posterior that saw emulated spectra of the whole prior, and `more`; `new` evaluations were made."""
        problem, s, earlier = self._problem, self._problem.settings, len(self.rounds)
        u = problem.streams.numpy("emulated", earlier).random((s.emulated, problem.dimension))
        spectra = Simulations(u, self.search.emulator.spectra(u), np.zeros(len(u)))
        self.network, record = self.rounds.train(
            spectra if more is None else spectra + more,
            s.explorer_steps,
            compressor,
            lambda: self._points(earlier),
            self.search.emulator,
        )
        flow = self.network.proposal
        with problem.streams.torch("explorer", earlier):
            samples = flow.draw(s.pilot)
        log_weights = self.search.emulator.log_likelihood(samples) - flow.log_density(samples)
        share = effective_sample_size(log_weights) / len(samples)
        log.info("%s: its draws of the emulated posterior are %.2g %% effective", self.network.name, 100 * share)
        self.rounds.records.append(record | {"evaluations": new, "samples": samples, "emulated_efficiency": share})
        return flow

    def _points(self, earlier: int) -> Points:
        """Equally weighted points (n, d) of the emulated posterior, as far as it is known."""
        if isinstance(self.search, FactoredSearch):
            return self.search.points
        return self.search.sample(self._problem.streams.numpy("posterior", earlier))

    def _search_on(self, reserve: float) -> None:
        """Search, and record the steps; `reserve` evaluations are left for draws, for each exact one wanted."""
        s, done = self._problem.settings, len(self.search.steps)
        self.search.run(s.searches, int(reserve * s.exact_ess))
        for step in self.search.steps[done:]:
            self.rounds.records.append({"round": len(self.rounds) + 1, "training": {}} | step)

    def _freeze(self, proposal: EmulatedProposal, attempt: int, explorer: Proposal | None) -> Frozen:
        """The emulated posterior, with a share of broad draws that grows with every attempt."""
        with self._problem.streams.torch("defensive", attempt):
            broad: Proposal = StudentProposal(Whitening.of(proposal.draw(KERNELS)))
        if explorer is not None:
            broad = Mixture([broad, explorer], [0.8, 0.2])
        mixture = Mixture([proposal, broad], [1 - BROAD * attempt, BROAD * attempt])
        return Frozen(mixture, proposal.log_norm_err, teachable=True)

    def emulator_error(self, draws: FinalDraws) -> float | None:
        """Standard deviation of exact minus emulated log L over the posterior: see `FinalDraws.error_of`."""
        return draws.error_of(self.search.emulator.log_likelihood(draws.u)) if len(draws) else None

    def emulator_summary(self, draws: FinalDraws) -> dict[str, Any]:
        """What the emulator is worth, and whether the observation looks like a simulated one: see `Strategy`."""
        error = self.emulator_error(draws)
        if error is None:
            return {}
        return self.search.recovery().summary(error, self.search.measured, self.search.emulator.components)
