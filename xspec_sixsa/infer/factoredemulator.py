"""Parameters to expected spectra, part by part: each component's curve learned, norms and constants exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.infer.emulator import Emulator, Recovery, SpectrumEmulator
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.partmap import PartMap

__all__ = ["FactoredEmulator"]

Points = NDArray[np.float64]


class FactoredEmulator(SpectrumEmulator):
    """Unit-cube parameters to expected source counts, as a sum of emulated parts.

    Parameters
    ----------
    factors : Factors
    maps : sequence of PartMap
        One a curve: see `Factors.sharing`.
    noise : Noise
    """

    def __init__(self, factors: Factors, maps: Sequence[PartMap], noise: Noise) -> None:
        self.factors, self.maps, self._noise = factors, list(maps), noise

    @property
    def components(self) -> int:
        """Principal components of all parts together."""
        return sum(m.components for m in self.maps)

    def __call__(self, u: Points) -> Tensor:
        """Expected source counts (n, n_bins), float64, at points of the unit cube (n, d)."""
        return self.of_norms(u)

    @torch.no_grad()
    def of_norms(self, u: Points, norms: Sequence[int] | None = None) -> Tensor:
        """The same, of the parts that belong to some of the norms; None: of all parts."""
        theta = self.factors.transform(u)
        amplitudes = torch.tensor(self.factors.amplitudes(theta))
        counts = torch.zeros(len(u), self._noise.n_bins, dtype=torch.float64)
        for number, curve in self._curves(u):
            if norms is None or self.factors.parts[number].norm in norms:
                counts.addcmul_(curve, amplitudes[:, number, None])
        for bins, multiplier in self.factors.multipliers(theta):
            counts[:, torch.as_tensor(bins)] *= torch.tensor(multiplier)[:, None]
        return counts

    @torch.no_grad()
    def of_parts(self, u: Points) -> Tensor:
        """Counts of every part for a norm of one, (n, parts, n_bins), float64, at points of the unit cube (n, d)."""
        counts = torch.empty(len(u), len(self.factors.parts), self._noise.n_bins, dtype=torch.float64)
        for number, curve in self._curves(u):
            counts[:, number] = curve
        for bins, multiplier in self.factors.multipliers(self.factors.transform(u)):
            counts[:, :, torch.as_tensor(bins)] *= torch.tensor(multiplier)[:, None, None]
        return counts

    def _curves(self, u: Points) -> Iterator[tuple[int, Tensor]]:
        for numbers, curve in zip(self.factors.sharing, self.maps, strict=True):
            for number in numbers:
                yield number, curve(u[:, self.factors.parts[number].inputs])

    def recovery(self, u: Points) -> Recovery:
        """Judge the observation against spectra of points (n, d) of the cube: `Emulator.recovery` of these spectra.

        Draws noise from torch's default generator.
        """
        return Emulator(u, self(u), np.ones(len(u)), self._noise).recovery(u)
