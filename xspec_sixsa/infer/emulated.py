"""Emulate, then propose (the default): networks are trained on emulated spectra, and the emulator itself proposes.

Compressor and flow are trained on emulated spectra of the whole prior, and `search.Search` evaluates where the emulated
posterior is until the emulator is right there; the proposal is the emulated posterior itself. The last remedy, where
its draws do not pass, is refinement.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulator import Emulator
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import FlowProposal, Mixture, StudentProposal
from xspec_sixsa.infer.refinement import BROAD, KERNELS, Pilots
from xspec_sixsa.infer.rounds import Rounds
from xspec_sixsa.infer.search import Search
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Emulated"]


class Emulated:
    """The `Strategy` that searches with an emulator.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    search : Search
        Made by `begin`.
    """

    search: Search
    prior: Simulations

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.rounds, self.pilots = Rounds(problem), Pilots(problem)
        self.network: NeuralPosterior | None = None
        self.step = problem.settings.batch
        self._taught: Simulations | None = None

    @property
    def emulator(self) -> Emulator | None:
        """The search's emulator, as it is now."""
        return self.search.emulator

    def begin(self, first: Simulations) -> None:
        """A first emulator."""
        self.prior, self._training = first, first[first.usable]
        self.search = Search(self._problem, self._training)

    def _explore(self, compressor: str, new: int = 0) -> None:
        """Train the neural posterior that explores for the emulator, on spectra of the whole prior."""
        problem, s, earlier = self._problem, self._problem.settings, len(self.rounds)
        u = problem.streams.numpy("emulated", earlier).random((s.emulated, problem.dimension))
        spectra = Simulations(u, self.search.emulator.spectra(u), np.zeros(len(u))) + self._training
        self.network, record = self.rounds.train(spectra, s.explorer_steps, compressor)
        self.search.explorer = flow = FlowProposal(self.network.flow, self.network.whitening)
        with problem.streams.torch("explorer", earlier):
            samples = flow.draw(s.pilot)
        self.rounds.records.append(record | {"evaluations": new, "samples": samples})

    def propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        """Search on, and freeze the emulated posterior; refinement is the last resort."""
        if last_resort:
            return self.pilots.refine(attempt)
        s, search, streams = self._problem.settings, self.search, self._problem.streams
        if search.explorer is None:
            self._explore(s.compressor, len(self.prior.u))
        if self._taught is not None:
            search.add(self._taught)
        done = len(search.steps)
        search.run(s.searches, int(1.2 * s.target_ess))
        for step in search.steps[done:]:
            self.rounds.records.append({"round": len(self.rounds) + 1, "training": {}} | step)
        proposal = search.proposal()
        with streams.torch("defensive", attempt):
            broad = StudentProposal(Whitening.of(proposal.draw(KERNELS)))
        if search.explorer is None:
            raise RuntimeError("The search has no explorer: `begin` comes before `propose`.")
        widest = Mixture([broad, search.explorer], [0.8, 0.2])
        mixture = Mixture([proposal, widest], [1 - BROAD * attempt, BROAD * attempt])
        return Frozen(mixture, proposal.log_norm_err, teachable=True)

    def learn(self, draws: FinalDraws) -> None:
        """The emulator takes them as evaluations, and refinement as a pilot."""
        self._taught = draws.simulations
        self.pilots.set_aside(draws)

    def change_compressor(self) -> None:
        """Another explorer, trained on the same spectra."""
        self._explore(self.rounds.other_compressor())

    def emulator_error(self, draws: FinalDraws) -> float | None:
        """Standard deviation of exact minus emulated log L over the posterior: see `FinalDraws.error_of`."""
        return draws.error_of(self.search.emulator.log_likelihood(draws.u)) if len(draws) else None

    def emulator_summary(self, draws: FinalDraws) -> dict[str, Any]:
        """What the emulator is worth, and whether the observation looks like a simulated one: see `Strategy`."""
        error = self.emulator_error(draws)
        if error is None:
            return {}
        return self.search.recovery().summary(error, len(self.search.simulations.u), self.search.emulator.components)
