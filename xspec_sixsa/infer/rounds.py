"""The rounds of a run: compressor and flow trained on spectra, and the record of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.compress import Compressor
from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.compress.score import Score
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.estimate import Amortised
from xspec_sixsa.infer.estimate import estimator as make_estimator
from xspec_sixsa.infer.fiducials import Slopes, modes
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Rounds"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

FALLBACKS = 3  # points of the posterior that stand for a mean where the model fails
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

    def train(
        self,
        spectra: Simulations,
        steps: int,
        compressor: str,
        posterior: Callable[[], Points],
        emulator: SpectrumEmulator | None,
    ) -> tuple[Amortised, dict[str, Any]]:
        """Train the next round's networks; estimators are trained for so many steps, a variational one for more.

        Parameters
        ----------
        spectra : Simulations
        steps : int
        compressor : str
        posterior : callable
            Equally weighted points (n, d) of the posterior, as far as it is known.
        emulator : SpectrumEmulator or None
            What else knows the model's derivatives, which the score compressor needs.

        Returns
        -------
        Amortised
            The settings' estimator, trained.
        dict
            The beginning of the round's record, to be completed and added to `records`.
        """
        problem, number, n, s = self._problem, len(self) + 1, len(spectra.u), self._problem.settings
        slopes = Slopes(problem, emulator)
        record: dict[str, Any] = {"round": number, "compressor": compressor, "estimator": s.estimator}
        compress: Compressor
        if compressor == "score":
            with problem.streams.torch("fiducials", number):
                points = posterior()
            # the mean of a bent posterior may lie where a model fails
            compress = Score(slopes(modes(points)) or slopes(points[:FALLBACKS]))
        else:
            compress = make_compressor(compressor)
        network = self._estimator(steps, emulator)
        steps = getattr(compress, "steps", 0) + network.steps
        with (
            problem.streams.torch("round", number),
            problem.progress.task(f"round {number}: training on {n} spectra", steps) as tick,
        ):
            compress.fit(spectra.counts, problem.noise, tick)
            network.fit(spectra.u, spectra.counts, problem.noise, compress, tick)
        if isinstance(compress, Score):
            kept = compress.information_kept(slopes(points[:: max(len(points) // slopes.affordable, 1)]))
            record |= {"fiducials": len(compress.fiducials), "information_kept": kept.tolist()}
            log.info(
                "score at %d fiducial point(s): %.0f-%.0f %% of the Fisher information on each parameter is kept over "
                "the posterior", len(compress.fiducials), 100 * kept.min(), 100 * kept.max(),
            )  # fmt: skip
        curves = {"compressor": compress.curve, network.name: network.curve}
        return network, record | {"training": {k: v for k, v in curves.items() if v}}

    def _estimator(self, steps: int, emulator: SpectrumEmulator | None) -> Amortised:
        s = self._problem.settings
        options: dict[str, dict[str, Any]] = {
            "npe": {"steps": steps},
            "lbf": {"steps": steps, "basis": s.basis},
            "variational": {"steps": 3 * steps, "emulator": emulator, "guide": s.guide},
        }
        return make_estimator(s.estimator, **options[s.estimator])

    def other_compressor(self) -> str:
        """What one compressor hides from the flow, another may show: which to try instead of the settings' own."""
        return OTHER_COMPRESSOR.get(self._problem.settings.compressor, "autoencoder")
