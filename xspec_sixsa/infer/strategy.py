"""What a way to a proposal has to do: the seam between the loop of `inference` and its two strategies."""

from __future__ import annotations

from typing import Any, Protocol

from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.emulator import ReducedEmulator
from xspec_sixsa.infer.estimate import Amortised
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.refinement import Pilots
from xspec_sixsa.infer.rounds import Rounds
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["NotLearnedError", "Strategy"]


class NotLearnedError(RuntimeError):
    """Why a strategy found no proposal: another one is to be tried."""


class Strategy(Protocol):
    """A way to a proposal.

    Attributes
    ----------
    rounds : Rounds
    pilots : Pilots
    network : Amortised or None
        The one that was trained on spectra of the whole prior.
    emulator : ReducedEmulator, FactoredEmulator or None
    prior : Simulations
        Spectra of the whole prior, evaluated or emulated; made by `begin`.
    accuracy : float
        Error in log L that its emulator was to reach.
    step : int
        Evaluations that a proposal costs which has learned from final draws.
    """

    prior: Simulations
    step: int

    @property
    def accuracy(self) -> float:
        """Error in log L that its emulator was to reach."""

    rounds: Rounds
    pilots: Pilots
    network: Amortised | None

    @property
    def emulator(self) -> ReducedEmulator | FactoredEmulator | None:
        """As it is now."""

    def begin(self, first: Simulations) -> None:
        """Learn from prior-wide simulations."""

    def propose(self, attempt: int, *, last_resort: bool) -> Frozen:
        """Freeze the best proposal there is for this set of final draws; `last_resort`: the last, others failed.

        Raises
        ------
        NotLearnedError
            When there is none worth a draw.
        """

    def learn(self, draws: FinalDraws) -> None:
        """Take final draws that did not pass as teachers of the next proposal."""

    def change_compressor(self) -> None:
        """Train on the same spectra through another compressor."""

    def emulator_error(self, draws: FinalDraws) -> float | None:
        """Standard deviation of exact minus emulated log L over the posterior; None without an emulator."""

    def emulator_summary(self, draws: FinalDraws) -> dict[str, Any]:
        """What the emulator is worth, and whether the observation looks like a simulated one.

        Returns
        -------
        dict
            ``error`` (`emulator_error`), ``evaluations`` it learned from, ``components``, and of `Recovery`: ``rre``,
            ``rma``, their limits, ``inside``, and ``start``: the point of the unit cube (d,) that inversion gives.
            A factored one's ``parts``, too. Empty without an emulator, and where none of the draws has a likelihood.
        """
