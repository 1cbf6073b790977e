"""Norms in units of what the observation allows them at the shapes at hand: coordinates in which posteriors are simple.

At given shapes a spectrum is linear in its norms, so that they can be found at once, by Fisher scoring, and with them
the covariance that the observation leaves them. A norm's place relative to these is all that remains to be explored:
whatever bends norms and shapes together (a fainter black body that is hotter) is gone, and a component that moves to
other shapes takes the norms along that fit there.

The map of the cube onto itself is a change of variables, whatever the scoring has found: no posterior depends on it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from xspec_sixsa.common.fitstatistic import CHUNK
from xspec_sixsa.infer.coordinates import EDGE
from xspec_sixsa.infer.emulatedproposal import EmulatedProposal
from xspec_sixsa.infer.factoredemulator import FactoredEmulator

__all__ = ["ConditionedNorms", "ConditionedPrior", "ConditionedProposal"]

Points = NDArray[np.float64]

SCORINGS = 6  # of Fisher's steps: one goes at most one unit of the prior; with 4, corners were lost (twelve_parameters)
REACH = 7.0  # probits of a norm's prior within which the scoring stays
TABLE = 1025  # of a norm over its prior, from -REACH - 1 to REACH + 1 in probits
GROUPS = 50  # of bins, in which norms are scored: a rough answer is as good
WIDER = 1.3  # than Fisher's covariance
BEND = 0.7  # of the tails: sinh(BEND s) / BEND standard deviations lie s off in the new coordinates
KEPT = 1 << 23  # counts of parts that are kept at once
LEAST_COUNTS = 1e-3  # expected in a group, in its variance


class ConditionedNorms:
    """A map of the unit cube onto itself that leaves shapes as they are, and conditions the norms on them.

    Parameters
    ----------
    emulator : FactoredEmulator
    power : float, default 1.0
        Of the likelihood that conditions the norms.
    """

    def __init__(self, emulator: FactoredEmulator, power: float = 1.0) -> None:
        self.emulator, self.power, self._noise = emulator, power, emulator.noise
        factors, noise, n = emulator.factors, self._noise, self._noise.n_bins
        self._norms = np.array(factors.norms)
        self._parts = [[part.norm for part in factors.parts].index(norm) for norm in factors.norms]
        self._others = [number for number, part in enumerate(factors.parts) if part.norm is None]
        gaussian = noise.gaussian[:n]
        background = torch.where(gaussian, 0.0, noise.expected(torch.zeros(1, n))[0, :n])
        self._size = -(-n // GROUPS)
        self._gaussian = self._grouped(gaussian.double()[None])[0] > 0
        self._any_gaussian = bool(gaussian.any())
        self._background, self._observed, self._variance = (
            self._grouped(row[None])[0] for row in (background, noise.observed[:n].double(), noise.sigma[:n].square())
        )
        z, self._spacing = np.linspace(-REACH - 1, REACH + 1, TABLE, retstep=True)
        u = np.full((TABLE, factors.dimension), 0.5)
        u[:, self._norms] = ndtr(z)[:, None]
        norms = factors.transform(u)[:, self._norms] / emulator.reference[self._parts]
        self._table = torch.tensor(norms.T.copy())
        self._slopes = self._table.diff(dim=1) / self._spacing

    def forward(self, u: Points) -> tuple[Points, Points]:
        """Conditioned points (n, d) of points u (n, d) of the cube, and ``log |du/dv|`` (n,)."""
        u = np.clip(u, EDGE, 1 - EDGE)
        conditional = self._conditional(self._groups(u))
        z = torch.tensor(ndtri(u[:, self._norms]))
        w = conditional.standard(z)
        s = torch.asinh(BEND * w) / BEND
        v = u.copy()
        v[:, self._norms] = ndtr(s.numpy()).clip(EDGE, 1 - EDGE)
        return v, conditional.log_volume(z, w, s)

    def inverse(self, v: Points) -> tuple[Points, Points]:
        """Points (n, d) of the cube for conditioned points v (n, d), and ``log |du/dv|`` (n,)."""
        v = np.clip(v, EDGE, 1 - EDGE)
        return self._placed(v, self._groups(v))

    def log_likelihood(self, u: Points) -> Points:
        """Emulated log likelihood to the power, (n,), of points (n, d) of the cube."""
        return self.power * self.emulator.log_likelihood(u)

    def log_density(self, v: Points) -> Points:
        """Emulated likelihood to the power, as a density of conditioned points (n, d): logarithm (n,)."""
        v = np.clip(v, EDGE, 1 - EDGE)
        most = max(16, KEPT // (len(self.emulator.factors.parts) * self._noise.n_bins))
        return np.concatenate([self._log_density(part) for part in np.array_split(v, -(-len(v) // most))])

    def _log_density(self, v: Points) -> Points:
        parts = self._in_parts(v)
        curves = [self.emulator.of_parts(part) for part in parts]
        u, volume = self._placed(v, torch.cat([self._grouped(found) for found in curves]).double())
        amplitudes = torch.tensor(self.emulator.amplitudes(u), dtype=torch.float32).split([len(part) for part in parts])
        scored = [
            self._noise.statistics.log_likelihood(torch.bmm(norms[:, None], part)[:, 0])
            for norms, part in zip(amplitudes, curves, strict=True)
        ]
        return np.asarray(self.power * torch.cat(scored).numpy() + volume)

    def _in_parts(self, points: Points) -> list[Points]:
        return np.array_split(points, -(-len(points) // max(16, CHUNK // self._noise.n_bins)))

    def _groups(self, u: Points) -> Tensor:
        """Curves of the parts in groups of bins, (n, parts, groups)."""
        return torch.cat([self._grouped(self.emulator.of_parts(part)) for part in self._in_parts(u)]).double()

    def _placed(self, v: Points, groups: Tensor) -> tuple[Points, Points]:
        """What `inverse` gives, for curves in groups."""
        conditional = self._conditional(groups)
        s = torch.tensor(ndtri(v[:, self._norms]))
        w = torch.sinh(BEND * s) / BEND
        z = conditional.probits(w)
        u = v.copy()
        u[:, self._norms] = ndtr(z.numpy()).clip(EDGE, 1 - EDGE)
        return u, conditional.log_volume(z, w, s)

    def _conditional(self, curves: Tensor) -> _Conditional:
        """What the observation allows the norms of curves (n, parts, groups): Fisher scoring from their medians."""
        units, rest = curves[:, self._parts], self._background + curves[:, self._others].sum(dim=1)
        z = torch.zeros(units.shape[:2], dtype=torch.float64)
        prior = torch.eye(z.shape[1], dtype=torch.float64)
        for step in range(SCORINGS + 1):
            norms, slopes = self._tabulated(z)
            expected = (norms[:, :, None] * units).sum(dim=1).add_(rest)  # of few norms faster than a product
            inverse = expected.clamp(min=LEAST_COUNTS)
            if self._any_gaussian:
                inverse = torch.where(self._gaussian, self._variance, inverse)
            inverse = inverse.reciprocal_()
            steep = self.power * slopes
            information = torch.bmm(units * inverse[:, None], units.transpose(1, 2)) * (
                steep[:, :, None] * slopes[:, None]
            )
            precision = information + prior
            if step < SCORINGS:
                residual = ((self._observed - expected) * inverse)[:, :, None]
                gradient = steep * torch.bmm(units, residual)[:, :, 0] - z
                z = (z + torch.linalg.solve(precision, gradient).clamp(-1, 1)).clamp(-REACH, REACH)
        values, vectors = torch.linalg.eigh(precision)
        # the prior alone has one; of curves that are far too bright rounding would leave less, or less than nothing
        return _Conditional(z, values.clamp(min=1.0), vectors)

    def _grouped(self, x: Tensor) -> Tensor:
        """Sums over groups of bins, the last dimension."""
        missing = -x.shape[-1] % self._size
        return torch.nn.functional.pad(x, (0, missing)).unflatten(-1, (-1, self._size)).sum(dim=-1)

    def _tabulated(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Norms and their slopes at probits of their priors, all (n, norms)."""
        place = (z + REACH + 1) / self._spacing
        row = place.long()
        norm = torch.arange(z.shape[1])
        slopes = self._slopes[norm, row]
        return self._table[norm, row] + slopes * (place - row) * self._spacing, slopes


class _Conditional:
    """A normal distribution of the norms' probits at each of many shapes.

    Parameters
    ----------
    centre : Tensor, shape (n, norms)
    values, vectors : Tensor, shapes (n, norms) and (n, norms, norms)
        Of its inverse covariance: what `torch.linalg.eigh` gives. Its symmetric root does not know the norms' order, so
        that components of one kind can trade places.
    """

    def __init__(self, centre: Tensor, values: Tensor, vectors: Tensor) -> None:
        self._centre, self._scales, self._vectors = centre, WIDER / values.sqrt(), vectors

    def _turned(self, x: Tensor, scales: Tensor) -> Tensor:
        inner = torch.bmm(self._vectors.transpose(1, 2), x[:, :, None])
        return torch.bmm(self._vectors, scales[:, :, None] * inner)[:, :, 0]

    def standard(self, z: Tensor) -> Tensor:
        """Standard deviations (n, norms) from the centre."""
        return self._turned(z - self._centre, 1 / self._scales)

    def probits(self, w: Tensor) -> Tensor:
        """The inverse of `standard`."""
        return self._centre + self._turned(w, self._scales)

    def log_volume(self, z: Tensor, w: Tensor, s: Tensor) -> Points:
        """``log |du/dv|`` (n,) where u is ``ndtr(z)``, z lies w off, and v is ``ndtr(s)``, s being the bent w."""
        bent = torch.log1p((BEND * w) ** 2)
        volume: Points = (0.5 * (s**2 - z**2 + bent).sum(dim=1) + self._scales.log().sum(dim=1)).numpy()
        return volume


class ConditionedProposal(EmulatedProposal):
    """A proposal over conditioned points, as one over the cube.

    Parameters
    ----------
    proposal : EmulatedProposal
    conditioned : ConditionedNorms
    """

    def __init__(self, proposal: EmulatedProposal, conditioned: ConditionedNorms) -> None:
        self._proposal, self._conditioned = proposal, conditioned
        self.log_norm_err = proposal.log_norm_err

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        return self._conditioned.inverse(self._proposal.draw(n))[0]

    def log_density(self, u: Points) -> Points:
        """Log density in the cube, shape (n,)."""
        v, volume = self._conditioned.forward(u)
        return self._proposal.log_density(v) - volume


class ConditionedPrior:
    """A proposal of the prior's shapes, with norms that fit them: it has draws near to every mode.

    Parameters
    ----------
    conditioned : ConditionedNorms
    """

    def __init__(self, conditioned: ConditionedNorms) -> None:
        self._conditioned, self._dimension = conditioned, conditioned.emulator.factors.dimension

    def draw(self, n: int) -> Points:
        """Points of shape (n, d), from torch's default generator."""
        return self._conditioned.inverse(torch.rand(n, self._dimension, dtype=torch.float64).numpy())[0]

    def log_density(self, u: Points) -> Points:
        """Log density in the cube, shape (n,)."""
        return -self._conditioned.forward(u)[1]
