"""The rounds of a run: compressor and flow trained on spectra, and the record of it."""

from __future__ import annotations

from typing import Any

from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Rounds"]

OTHER_COMPRESSOR = {"autoencoder": "pca"}  # tried where final draws do not pass; the auto-encoder after any other


class Rounds:
    """What was trained, round by round.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    records : list of dict
        Per round or search step: ``round, evaluations, samples, training``, and what its strategy adds.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.records: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.records)

    def train(self, spectra: Simulations, steps: int, compressor: str) -> tuple[NeuralPosterior, dict[str, Any]]:
        """Train the next round's networks; the flow is trained for so many steps.

        Returns
        -------
        NeuralPosterior
        dict
            The beginning of the round's record, to be completed and added to `records`.
        """
        number, n = len(self) + 1, len(spectra.u)
        compress, posterior = make_compressor(compressor), NeuralPosterior(steps=steps)
        steps = getattr(compress, "steps", 0) + posterior.steps
        problem = self._problem
        with (
            problem.streams.torch("round", number),
            problem.progress.task(f"round {number}: training on {n} spectra", steps) as tick,
        ):
            compress.fit(spectra.counts, problem.noise, tick)
            posterior.fit(spectra.u, spectra.counts, problem.noise, compress, tick)
        curves = {"compressor": compress.curve, "flow": posterior.curve}
        record = {"round": number, "compressor": compressor, "training": {k: v for k, v in curves.items() if v}}
        return posterior, record

    def other_compressor(self) -> str:
        """What one compressor hides from the flow, another may show: which to try instead of the settings' own."""
        return OTHER_COMPRESSOR.get(self._problem.settings.compressor, "autoencoder")
