"""The rounds of a run: compressor and flow trained on spectra, and the record of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.infer.compress import Compressor
from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.compress.score import Score
from xspec_sixsa.infer.coverage import bands_beyond
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.estimate import Amortised
from xspec_sixsa.infer.estimate import estimator as make_estimator
from xspec_sixsa.infer.fiducials import Slopes, modes
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.trained import Trained, within

__all__ = ["Rounds"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

JUDGED = 300  # spectra of the emulated posterior that say which RRE and RMA are usual
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
        self._last: tuple[Amortised, dict[str, Any]] | None = None  # that was trained here, and its settings
        self._used = False  # what an earlier run has trained

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

        What an earlier run has trained takes their place where it is of the same settings: as it is, if the noise is
        nearly that of its training, and the observation like simulated spectra; else it is trained on.

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
        record = {"round": len(self) + 1, "compressor": compressor, "estimator": self._problem.settings.estimator}
        network, settings = self._estimator(steps, emulator), self._settings(steps, compressor)
        earlier = None if emulator is None else self._earlier(settings)
        if earlier is None or emulator is None:
            record |= self._begin(network, spectra, compressor, posterior, emulator)
            self._last = network, settings
        else:
            record |= self._go_on(network, earlier, spectra, posterior, emulator)
        curves = {"compressor": network.compressor.curve, network.name: network.curve}
        return network, record | {"training": {k: v for k, v in curves.items() if v}}

    @property
    def trained(self) -> Trained | None:
        """What was trained here last, as numbers; an earlier run's where nothing was."""
        problem = self._problem
        if self._last is not None:
            return Trained.of(*self._last, problem.noise)
        return None if problem.trained is None or problem.trained.why_not else problem.trained

    def _earlier(self, settings: dict[str, Any]) -> Trained | None:
        """What an earlier run has trained, where it can be used; once, as a second round is to find something else."""
        earlier = self._problem.trained
        if earlier is None or self._used:
            return None
        why_not = earlier.why_not or earlier.other_settings(settings)
        if why_not:
            log.info(
                "%s: trained from the beginning, as the one kept in %s is of other %s",
                settings["estimator"], earlier.folder, why_not,
            )  # fmt: skip
        self._used = not why_not
        return earlier if self._used else None

    def _go_on(
        self,
        network: Amortised,
        earlier: Trained,
        spectra: Simulations,
        posterior: Callable[[], Points],
        emulator: SpectrumEmulator,
    ) -> dict[str, Any]:
        """Take up what an earlier run has trained, as it is or to train it on; what the round's record says of it."""
        problem, number, where = self._problem, len(self) + 1, f"{network.name} of {earlier.folder}"
        state = {key: torch.tensor(value) for key, value in within("state", earlier.arrays).items()}
        with problem.streams.torch("earlier", number):
            network.restore(state, make_compressor(earlier.settings["compressor"]))
            recovery = emulator.recovery(posterior()[:JUDGED])
        differs = earlier.other_noise(problem.noise)
        differs += bands_beyond(spectra.counts.numpy(), problem.noise.observation)
        if not recovery.inside:
            differs.append(
                f"RRE {recovery.rre:.3g} (limit {recovery.rre_limit:.3g}), RMA {recovery.rma:.3g} (limit "
                f"{recovery.rma_limit:.3g})"
            )
        if differs:
            log.warning("%s does not hold here (%s): it is trained on", where, "; ".join(differs))
        else:
            log.info("%s: taken as it is, for nearly the same noise and an observation like simulated ones", where)
        steps = network.steps_to_train_on if differs else network.steps_to_condition
        with (
            problem.streams.torch("round", number),
            problem.progress.task(f"round {number}: {where}", steps) as tick,
        ):
            if differs:
                network.train_on(spectra.u, spectra.counts, problem.noise, tick)
                self._last = network, earlier.settings
            else:
                network.condition(problem.noise, tick)
        return {"network": "trained on" if differs else "kept"}

    def _begin(
        self,
        network: Amortised,
        spectra: Simulations,
        compressor: str,
        posterior: Callable[[], Points],
        emulator: SpectrumEmulator | None,
    ) -> dict[str, Any]:
        """Train both from the beginning; what the round's record says of it."""
        problem, number, n = self._problem, len(self) + 1, len(spectra.u)
        slopes = Slopes(problem, emulator)
        compress: Compressor
        if compressor == "score":
            with problem.streams.torch("fiducials", number):
                points = posterior()
            # the mean of a bent posterior may lie where a model fails
            compress = Score(slopes(modes(points)) or slopes(points[:FALLBACKS]))
        else:
            compress = make_compressor(compressor)
        steps = getattr(compress, "steps", 0) + network.steps
        with (
            problem.streams.torch("round", number),
            problem.progress.task(f"round {number}: training on {n} spectra", steps) as tick,
        ):
            compress.fit(spectra.counts, problem.noise, tick)
            network.fit(spectra.u, spectra.counts, problem.noise, compress, tick)
        if not isinstance(compress, Score):
            return {}
        kept = compress.information_kept(slopes(points[:: max(len(points) // slopes.affordable, 1)]))
        log.info(
            "score at %d fiducial point(s): %.0f-%.0f %% of the Fisher information on each parameter is kept over "
            "the posterior", len(compress.fiducials), 100 * kept.min(), 100 * kept.max(),
        )  # fmt: skip
        return {"fiducials": len(compress.fiducials), "information_kept": kept.tolist()}

    def _settings(self, steps: int, compressor: str) -> dict[str, Any]:
        """What networks must have in common for one to take the other's place, as plain values."""
        s, spectra = self._problem.settings, self._problem.noise.observation.spectra
        own = {"lbf": {"basis": s.basis}, "variational": {"guide": s.guide}}.get(s.estimator, {})
        statistics = [f"{one.statistic}{'' if one.background is None else ' with background'}" for one in spectra]
        return {"compressor": compressor, "estimator": s.estimator, "steps": steps, "statistics": statistics} | own

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
