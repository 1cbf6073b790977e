"""One guide for all spectra of a response: a density of their parameters, given what each has recorded.

It is trained on the expected evidence lower bound over recorded spectra of the prior, which some of the spectra's own
exposures, groups and backgrounds give, through their emulators' differentiable likelihood. For each spectrum it is
then tuned a little, and the populations that explore the emulated posterior begin with its draws.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.estimate.guide import Guide
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.proposal import FlowProposal
from xspec_sixsa.survey.bands import LEAST, Bands
from xspec_sixsa.survey.template import Observed

__all__ = ["STEPS", "TEACHERS", "SharedGuide"]

TEACHERS = 8  # spectra whose noise a guide is trained with
BANDS = 20  # of equal counts, whose rates it is told
SPECTRA = 4000  # noiseless ones that it is trained on, in all
BATCH = 64  # spectra of a step, with one draw of the guide each
HELD_OUT = 256  # spectra that judge it
STEPS, TUNING = 1000, 25  # of its training, and for one spectrum
CHECKS = 5  # of the latter
LEARNING_RATE = 3e-3
FARTHEST = 5.0  # standard deviations of the prior's spectra, beyond which a guide is told no more


class SharedGuide:
    """A guide that is told rates and counts in bands of channels.

    Parameters
    ----------
    kind : {"flow", "gaussian"}
    dimension : int
    observed : sequence of Observed
        All that share it.
    teachers : sequence of (Observed, SpectrumEmulator)
        Some of them, with their emulators over the whole prior. A step has the noise of one of them.
    tick : callable
        Called with the number of steps just made.

    Raises
    ------
    FloatingPointError
        Where its training has come to nothing.

    Notes
    -----
    Draws from torch's default generator.
    """

    def __init__(
        self,
        kind: str,
        dimension: int,
        observed: Sequence[Observed],
        teachers: Sequence[tuple[Observed, SpectrumEmulator]],
        tick: Callable[[int], None],
    ) -> None:
        self._bands = Bands(observed, BANDS)
        each, held_out = SPECTRA // len(teachers), HELD_OUT // len(teachers)
        expected = [emulator(torch.rand(each, dimension, dtype=torch.float64).numpy()) for _, emulator in teachers]
        recorded = [emulator.noise.draw(counts) for (_, emulator), counts in zip(teachers, expected, strict=True)]
        told = torch.cat([self._told(one, emulator.noise, x)
                          for (one, emulator), x in zip(teachers, recorded, strict=True)])  # fmt: skip
        self._centre, self._spread = told.mean(dim=0), told.std(dim=0).clamp(min=1e-6)
        self._whitening = Whitening(np.zeros(dimension), np.eye(dimension))  # the prior's
        self._guide = Guide(kind, told.shape[1], self._whitening)

        def loss(k: int, x: Tensor, power: float) -> Tensor:
            (one, emulator), noise = teachers[k], teachers[k][1].noise
            context = self._context(one, noise, x)
            return self._guide.bound(emulator, context, 1, lambda counts: noise.log_likelihood(x, counts), power)

        def fresh(power: float) -> Tensor:
            k = int(torch.randint(len(teachers), (1,)))
            rows = torch.randint(held_out, each, (BATCH,))
            return loss(k, teachers[k][1].noise.draw(expected[k][rows]), power)

        def validation() -> Tensor:
            return torch.stack([loss(k, x[:held_out], 1.0) for k, x in enumerate(recorded)]).mean()

        self.curve = self._guide.amortise(fresh, validation, STEPS, LEARNING_RATE, tick)

    def tuned(self, one: Observed, noise: Noise, emulator: SpectrumEmulator) -> FlowProposal:
        """The guide for one spectrum, moved a little to where its emulator's likelihood is largest.

        Parameters
        ----------
        one : Observed
        noise : Noise
            Its own.
        emulator : SpectrumEmulator
            Of its groups, or of fewer.
        """
        guide, context = copy.deepcopy(self._guide), self._context(one, noise, noise.observed[None])
        log_likelihood = emulator.noise.statistics.log_likelihood
        guide.tune(
            lambda draws: guide.bound(emulator, context, draws, log_likelihood), TUNING, LEARNING_RATE, checks=CHECKS
        )
        return FlowProposal(guide(context[0]), self._whitening)

    def _told(self, one: Observed, noise: Noise, recorded: Tensor) -> Tensor:
        """What is told of recorded spectra (n, n_inputs): logarithms of their rates and counts in the bands."""
        rates = self._bands.log_rates(one, noise.net(recorded).numpy())
        counts = self._bands.sums(one, recorded[:, : noise.n_bins].numpy())
        return torch.tensor(np.concatenate([rates, np.log(np.maximum(counts, LEAST))], axis=1))

    def _context(self, one: Observed, noise: Noise, recorded: Tensor) -> Tensor:
        told = (self._told(one, noise, recorded) - self._centre) / self._spread
        return told.clamp(-FARTHEST, FARTHEST).float()
