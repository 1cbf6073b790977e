"""Emulate, then propose (the default): networks are trained on emulated spectra, and the emulator itself proposes.

Compressor and flow are trained on emulated spectra of the whole prior, and `search.Search` evaluates where the emulated
posterior is until the emulator is right there; the proposal is the emulated posterior itself. The last remedy, where
its draws do not pass, is refinement.
"""

from __future__ import annotations

from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulator import ReducedEmulator
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.search import Search
from xspec_sixsa.infer.searching import Searching
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Emulated"]


class Emulated(Searching):
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

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.step = problem.settings.batch
        self._taught: Simulations | None = None

    @property
    def emulator(self) -> ReducedEmulator | None:
        """The search's emulator, as it is now."""
        return self.search.emulator

    def begin(self, first: Simulations) -> None:
        """A first emulator."""
        self.prior, self._training = first, first[first.usable]
        self.search = Search(self._problem, self._training)

    def _explore(self, compressor: str, new: int = 0) -> None:
        """Train the neural posterior that explores for the emulator."""
        self.search.explorer = self._train_explorer(compressor, self._training, new)

    def propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        """Search on, and freeze the emulated posterior; refinement is the last resort."""
        if last_resort:
            return self.pilots.refine(attempt)
        if self.search.explorer is None:
            self._explore(self._problem.settings.compressor, len(self.prior.u))
        if self._taught is not None:
            self.search.add(self._taught)
        self._search_on(1.2)
        return self._freeze(self.search.proposal(), attempt, self.search.explorer)

    def learn(self, draws: FinalDraws) -> None:
        """The emulator takes them as evaluations, and refinement as a pilot."""
        self._taught = draws.simulations
        self.pilots.set_aside(draws)

    def change_compressor(self) -> None:
        """Another explorer, trained on the same spectra."""
        self._explore(self.rounds.other_compressor())
