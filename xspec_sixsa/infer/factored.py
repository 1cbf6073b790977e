"""Measure components, then propose (the default where a model can be factored): norms exact, curves emulated.

`factoredsearch.FactoredSearch` measures each additive component's curve where the emulated posterior is; the proposal
is the emulated posterior itself. With the likelihood of the whole prior at hand no network has to explore it; one is
trained, on emulated spectra, where the draws do not pass the verdict.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.factoredsearch import FactoredSearch
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import Proposal
from xspec_sixsa.infer.searching import Searching
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.strategy import NotLearnedError

__all__ = ["Factored"]

PRIOR = 500  # emulated spectra that stand for the prior


class Factored(Searching):
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
    step: int

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
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
        s, search = self._problem.settings, self.search
        self._search_on(1.1)
        if search.has_failed and self._problem.left > s.first + 2 * s.target_ess:
            raise NotLearnedError(
                f"after {search.measured} curves the factored emulator is off by {search.error:.2g} in log L, with the "
                f"likelihood to the power {search.steps[-1]['power']:.2g}"
            )
        if self._explorer is None and s.estimator != "npe":  # one that was asked for
            self._explorer = self._train_explorer(s.compressor)
        return self._freeze(search.proposal(), attempt, self._explorer)

    def learn(self, draws: FinalDraws) -> None:
        """Curves are measured where the draws show the emulator to be off; refinement takes them for a pilot."""
        self.search.learn(draws)
        self.pilots.set_aside(draws)

    def change_compressor(self) -> None:
        """Ask a neural posterior, trained on emulated spectra of the whole prior, where else the posterior may be."""
        self._explorer = self._train_explorer(self._problem.settings.compressor)

    def emulator_summary(self, draws: FinalDraws) -> dict[str, Any]:
        """What the emulator is worth, and whether the observation looks like a simulated one: see `Strategy`."""
        found = super().emulator_summary(draws)
        return found | {"parts": len(self.search.emulator.factors.parts)} if found else {}
