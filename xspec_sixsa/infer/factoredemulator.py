"""Parameters to expected spectra, part by part: each component's curve learned, norms and constants exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.infer.alike import alike
from xspec_sixsa.infer.emulator import Emulator, Recovery, SpectrumEmulator
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.partmap import PartMap

__all__ = ["FactoredEmulator"]

Points = NDArray[np.float64]

MANY = 500  # bins, below which a likelihood costs much the same however many there are
WORTHWHILE = 3  # times fewer of them, for which bins that are alike are taken together
STEP = 1e-6  # of the unit cube: priors' quantile functions, which may be the user's own, are differenced


class FactoredEmulator(SpectrumEmulator):
    """Unit-cube parameters to expected source counts, as a sum of emulated parts.

    Parameters
    ----------
    factors : Factors
    maps : sequence of PartMap
        One a curve: see `Factors.sharing`.
    noise : Noise

    Attributes
    ----------
    reference : ndarray, shape (parts,)
        The norms for which parts are emulated.
    """

    def __init__(self, factors: Factors, maps: Sequence[PartMap], noise: Noise) -> None:
        self.factors, self.maps, self._noise = factors, list(maps), noise
        self.reference = np.ones(len(factors.parts))
        for numbers, curve in zip(factors.sharing, self.maps, strict=True):
            self.reference[numbers] = curve.amplitude

    @property
    def components(self) -> int:
        """Principal components of all parts together."""
        return sum(m.components for m in self.maps)

    def coarse(self, lost: float) -> FactoredEmulator:
        """A far cheaper one of nearly the same likelihood: see `alike.alike`; itself where there is none."""
        noise, n = self._noise, self._noise.n_bins
        if n < MANY:
            return self
        changes = [np.flatnonzero(np.diff(scale.bins)) + 1 for scale in self.factors.scales]
        edges = np.unique(np.concatenate([[0, n], *changes, [s.stop for s in noise.observation.slices]])).astype(int)
        starts = alike(self.maps, edges.tolist(), lost)
        if WORTHWHILE * len(starts) > n:
            return self
        maps = [curve.grouped(starts) for curve in self.maps]
        return FactoredEmulator(self.factors.grouped(starts), maps, Noise(noise.observation.grouped(starts)))

    def __call__(self, u: Points) -> Tensor:
        """Expected source counts (n, n_bins), float32, at points of the unit cube (n, d)."""
        return self.of_norms(u)

    def differentiable(self, u: Tensor) -> Tensor:
        """The same in float64 at points (n, d), float64, that gradients are wanted of."""
        factors, theta = self.factors, _physical(self.factors.transform, u)
        counts = torch.zeros(len(u), self._noise.n_bins, dtype=torch.float64)
        for numbers, curve in zip(factors.sharing, self.maps, strict=True):
            for part in (factors.parts[number] for number in numbers):
                shape = curve.differentiable(u[:, part.inputs]) / curve.amplitude
                counts = counts + (shape if part.norm is None else theta[:, part.norm, None] * shape)
        multipliers: Any = factors.multipliers(theta)
        for bins, multiplier in multipliers:
            counts = torch.where(torch.as_tensor(bins), multiplier[:, None] * counts, counts)
        return counts

    @torch.no_grad()
    def of_norms(self, u: Points, norms: Sequence[int] | None = None) -> Tensor:
        """The same, of the parts that belong to some of the norms; None: of all parts."""
        theta = self.factors.transform(u)
        amplitudes = torch.tensor(self.factors.amplitudes(theta) / self.reference, dtype=torch.float32)
        counts = torch.zeros(len(u), self._noise.n_bins)
        for number, curve in self._curves(u):
            if norms is None or self.factors.parts[number].norm in norms:
                counts.addcmul_(curve, amplitudes[:, number, None])
        return self._multiplied(counts, theta)

    @torch.no_grad()
    def of_parts(self, u: Points) -> Tensor:
        """Counts (n, parts, n_bins), float32, of every part for its norm `reference`, at points (n, d) of the cube."""
        counts = torch.empty(len(u), len(self.factors.parts), self._noise.n_bins)
        for number, curve in self._curves(u):
            counts[:, number] = curve
        return self._multiplied(counts, self.factors.transform(u)) if self.factors.scales else counts

    def amplitudes(self, u: Points) -> Points:
        """What multiplies the parts (n, parts) that `of_parts` gives, at points (n, d) of the cube."""
        return self.factors.amplitudes(self.factors.transform(u)) / self.reference

    def _multiplied(self, counts: Tensor, theta: Points) -> Tensor:
        """Counts (n, ..., n_bins) with the constants that multiply some spectra, at physical parameters (n, d)."""
        for bins, multiplier in self.factors.multipliers(theta):
            shape = (len(theta), *[1] * (counts.dim() - 1))
            counts[..., torch.as_tensor(bins)] *= torch.tensor(multiplier, dtype=counts.dtype).reshape(shape)
        return counts

    def _curves(self, u: Points) -> Iterator[tuple[int, Tensor]]:
        for numbers, curve in zip(self.factors.sharing, self.maps, strict=True):
            for number in numbers:
                yield number, curve(u[:, self.factors.parts[number].inputs])

    def recovery(self, u: Points) -> Recovery:
        """Judge the observation against spectra of points (n, d) of the cube: `Emulator.recovery` of these spectra.

        Draws noise from torch's default generator.
        """
        return Emulator(u, self(u).double(), np.ones(len(u)), self._noise).recovery(u)


def _physical(transform: Callable[[Points], Points], u: Tensor) -> Any:
    """Physical parameters (n, d) at points (n, d), with the transform's derivatives."""
    at, d = u.detach().numpy(), u.shape[1]
    slopes = np.empty((*at.shape, d))
    for j, shift in enumerate(STEP * np.eye(d)):
        high, low = np.clip(at + shift, 0, 1), np.clip(at - shift, 0, 1)
        slopes[:, :, j] = (transform(high) - transform(low)) / (high - low)[:, j, None]
    return torch.tensor(transform(at)) + torch.einsum("nij,nj->ni", torch.tensor(slopes), u - u.detach())
