"""Measure components, then propose (the default where a model can be factored): norms exact, curves emulated.

`factoredsearch.FactoredSearch` measures each additive component's curve where the emulated posterior is; the proposal
is the emulated posterior itself. With the likelihood of the whole prior at hand no network has to explore it; one is
trained, on emulated spectra, where the draws do not pass the verdict.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.factoredsearch import FactoredSearch
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import FlowProposal, Mixture, Proposal, StudentProposal
from xspec_sixsa.infer.refinement import BROAD, KERNELS, Pilots
from xspec_sixsa.infer.rounds import Rounds
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.strategy import NotLearnedError

__all__ = ["Factored"]

PRIOR = 500  # emulated spectra that stand for the prior


class Factored:
    """The `Strategy` that searches with a factored emulator.

    Parameters
    ----------
    problem : Problem
        With `factors`.

    Attributes
    ----------
    search : FactoredSearch
        Made by `begin`.
    """

    search: FactoredSearch
    prior: Simulations
    step: int

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.rounds, self.pilots = Rounds(problem), Pilots(problem)
        self.network: NeuralPosterior | None = None
        self._explorer: Proposal | None = None

    @property
    def emulator(self) -> FactoredEmulator | None:
        """The search's emulator, as it is now."""
        return self.search.emulator

    def begin(self, first: Simulations) -> None:
        """Measure every part over the prior."""
        problem = self._problem
        if problem.factors is None:
            raise ValueError("A model that has not been factored has no factored emulator.")
        before = problem.spent()
        self.search = FactoredSearch(problem, problem.factors)
        self.step = self.search.step
        u = problem.prior_draws(PRIOR)
        self.prior = Simulations(u, self.search.emulator.spectra(u), self.search.emulator.log_likelihood(u))
        spent = len(first.u) + problem.spent() - before
        self.rounds.records.append(
            {"round": 1, "evaluations": spent, "samples": np.empty((0, problem.dimension)), "training": {}}
        )

    def propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        """Search on, and freeze the emulated posterior; refinement is the last resort."""
        if last_resort:
            return self.pilots.refine(attempt)
        s, search, streams = self._problem.settings, self.search, self._problem.streams
        done = len(search.steps)
        search.run(s.searches, int(1.1 * s.target_ess))
        for step in search.steps[done:]:
            self.rounds.records.append({"round": len(self.rounds) + 1, "training": {}} | step)
        if search.has_failed and self._problem.left > s.first + 2 * s.target_ess:
            raise NotLearnedError(
                f"after {search.measured} curves the factored emulator is off by {search.error:.2g} in log L, with the "
                f"likelihood to the power {search.steps[-1]['power']:.2g}"
            )
        proposal = search.proposal()
        with streams.torch("defensive", attempt):
            broad: Proposal = StudentProposal(Whitening.of(proposal.draw(KERNELS)))
        if self._explorer is not None:
            broad = Mixture([broad, self._explorer], [0.8, 0.2])
        mixture = Mixture([proposal, broad], [1 - BROAD * attempt, BROAD * attempt])
        return Frozen(mixture, proposal.log_norm_err, teachable=True)

    def learn(self, draws: FinalDraws) -> None:
        """Curves are measured where the draws show the emulator to be off; refinement takes them for a pilot."""
        self.search.learn(draws)
        self.pilots.set_aside(draws)

    def change_compressor(self) -> None:
        """Ask a neural posterior, trained on emulated spectra of the whole prior, where else the posterior may be."""
        problem, s = self._problem, self._problem.settings
        u = problem.streams.numpy("emulated", len(self.rounds)).random((s.emulated, problem.dimension))
        spectra = Simulations(u, self.search.emulator.spectra(u), np.zeros(len(u)))
        self.network, record = self.rounds.train(spectra, s.explorer_steps, s.compressor)
        self._explorer = flow = FlowProposal(self.network.flow, self.network.whitening)
        with problem.streams.torch("explorer", len(self.rounds)):
            samples = flow.draw(s.pilot)
        self.rounds.records.append(record | {"evaluations": 0, "samples": samples})

    def emulator_error(self, draws: FinalDraws) -> float | None:
        """Standard deviation of exact minus emulated log L over the posterior: see `FinalDraws.error_of`."""
        return draws.error_of(self.search.emulator.log_likelihood(draws.u)) if len(draws) else None

    def emulator_summary(self, draws: FinalDraws) -> dict[str, Any]:
        """What the emulator is worth, and whether the observation looks like a simulated one: see `Strategy`."""
        error = self.emulator_error(draws)
        if error is None:
            return {}
        emulator = self.search.emulator
        found = self.search.recovery().summary(error, self.search.measured, emulator.components)
        return found | {"parts": len(emulator.factors.parts)}
