"""A component's curve, learned: shape parameters to expected counts for a norm of one.

Curves are emulated in the scale in which they are smooth, logarithms or square roots, whichever predicts curves better
that it has not seen, and so are the coordinates of its shape parameters: a cut-off's energy bends a curve more, the
lower it is. With a redshift XSPEC moves a plasma's lines in steps, which are looked for. Principal components are taken
in units of the observation's noise, so that what is lost is known in those units, too.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.infer.regression import KernelRegression, principal_components

__all__ = ["PartMap"]

Points = NDArray[np.float64]

FLOOR = 0.05  # of a bin's noise: what a component adds below it need not be known relative to itself
MOST = 200  # principal components: a line that moves through the band needs one a resolution element
WARPS = (
    -3.0,
    3.0,
)  # of a parameter's range: its lower or its upper end is stretched, by a factor of exp(3) on the other
NEGLIGIBLE = 0.05  # error below which neither warps nor steps are sought
BETTER, SMOOTHED = 0.8, 0.9  # of the error without, that a warp, or that kernels which know of steps, must leave
# Times as many curves as warps, or roughness, were chosen with, with which they are anew; steps that were not found
# show late, where a smooth map no longer improves.
AGAIN, NOT_YET = 2, 1.1
MOST_LOG = 60.0  # of counts: beyond what single precision holds is no spectrum
KEPT = 200  # curves, those that matter most, that say how far off a map is and which bins are alike
LOST = 1e-5  # squared distance per curve, in units of the noise's variance, that principal components may lose


class _Scaled:
    """Curves in one scale, as principal components in units of the noise.

    Parameters
    ----------
    raised : Tensor (n, n_bins)
        Counts above a floor.
    share : Tensor (n,)
        Weights that sum to one.
    variance : Tensor (n_bins,)
    logarithmic : bool
        Logarithms, or square roots.

    Attributes
    ----------
    centre, decoder : Tensor (n_bins,), (components, n_bins)
    latents : Tensor (n, components)
    """

    def __init__(self, raised: Tensor, share: Tensor, variance: Tensor, logarithmic: bool) -> None:
        self.logarithmic, self._raised, self._share, self._variance = logarithmic, raised, share, variance
        self._y = raised.log() if logarithmic else 2 * raised.sqrt()
        self.centre = share @ self._y
        # counts per unit of y, over the noise that a spectrum so bright would have
        typical = self.centre.exp() if logarithmic else (0.5 * self.centre).square()
        unit = (typical if logarithmic else typical.sqrt()) / (variance + typical).sqrt()
        apart = (self._y - self.centre) * unit
        basis = principal_components(apart, share, LOST, MOST)
        self.latents, self.decoder = apart @ basis, basis.T / unit

    def errors(self, left_out: Tensor) -> tuple[float, float]:
        """Of curves that were left out, (n, components), in units of noise (root of the sum over bins).

        Root mean square and, hardly raised by a few curves at the edges, geometric mean.
        """
        judged = torch.argsort(self._share, descending=True, stable=True)[:KEPT]
        missed, raised, share = left_out[judged] @ self.decoder, self._raised[judged], self._share[judged]
        if self.logarithmic:
            change = raised * torch.expm1(missed.clamp(-50, 50))
        else:
            change = (0.5 * self._y[judged] + 0.5 * missed) ** 2 - raised
        squared = (change**2 / (self._variance + raised)).sum(dim=1)
        # a curve that is far off must not drown the others
        error = (share @ squared.clamp(max=1e6) / share.sum()).sqrt()
        typical = (share @ squared.clamp(min=LOST).log() / share.sum() / 2).exp()
        return float(error), float(typical)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A map in one scale, and its `_Scaled.errors`."""

    scaled: _Scaled
    regression: KernelRegression
    error: float
    typical: float


def warped(x: Points, warps: Points) -> Points:
    """Points (n, p) of the unit cube in stretched coordinates, from 0 to 1 as they were; a warp of 0 leaves them."""
    bent = warps != 0
    if not bent.any():
        return x
    y = x.copy()
    y[:, bent] = np.expm1(warps[bent] * x[:, bent]) / np.expm1(warps[bent])
    return y


class PartMap:
    """The map of one part (`factors.Part`).

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Where curves were measured; p may be 0, for a curve that nothing shapes.
    curves : ndarray, shape (n, n_bins)
        Counts for a norm of one.
    weights : ndarray, shape (n,)
        Where the map must be right.
    amplitude : float
        The norm for which it must be.
    variance : ndarray, shape (n_bins,)
        Of the observation's noise, in counts.
    previous : PartMap, optional
        Whose length scales the search begins with, and whose scale is kept.

    Attributes
    ----------
    amplitude : float
        Above 0.
    rough : int or None
        Column along which curves go in steps: a redshift, with which XSPEC moves a plasma's lines from one of its
        energy bins to the next.
    """

    def __init__(
        self,
        x: Points,
        curves: Points,
        weights: Points,
        amplitude: float,
        variance: Points,
        previous: PartMap | None = None,
    ) -> None:
        self.warps, self.chosen_with = np.zeros(x.shape[1]), len(x)
        self.rough: int | None = None
        self.rough_with = len(x)
        self.amplitude = abs(amplitude) or 1.0
        self._constant = self.amplitude * torch.tensor(curves[0]) if x.shape[1] == 0 else None
        self.error = 0.0
        self.logarithmic: bool | None = None
        if self._constant is not None:
            return
        counts = torch.tensor(curves) * self.amplitude
        self._floor = FLOOR * torch.tensor(variance).sqrt()
        share = torch.tensor(weights / weights.sum())
        kept = None if previous is None else previous.logarithmic

        def fitted(warps: Points, scaled: _Scaled, rough: int | None, scales: Tensor | None = None) -> _Fit:
            if scales is None and previous is not None and previous.rough == rough:
                scales = previous.regression.scales
            y, bent = scaled.latents, warped(x, warps)
            regression = KernelRegression(bent, y, weights, scales, noiseless=True, rough=rough, mixed=False)
            return _Fit(scaled, regression, *scaled.errors(regression.left_out))

        if previous is not None and len(x) < AGAIN * previous.chosen_with:
            self.warps, self.chosen_with = previous.warps, previous.chosen_with
        if previous is not None and len(x) < (NOT_YET if previous.rough is None else AGAIN) * previous.rough_with:
            self.rough, self.rough_with = previous.rough, previous.rough_with
        raised = counts.clamp(min=0) + self._floor
        ways = (True, False) if kept is None else (kept,)
        scalings = (_Scaled(raised, share, torch.tensor(variance), logarithmic) for logarithmic in ways)
        best = min((fitted(self.warps, scaled, self.rough) for scaled in scalings), key=lambda fit: fit.error)
        columns = range(x.shape[1]) if best.error > NEGLIGIBLE else ()
        for column, warp in itertools.product(columns, WARPS) if self.chosen_with == len(x) else ():
            warps = self.warps.copy()
            warps[column] = warp
            other = fitted(warps, best.scaled, self.rough)
            if other.error < BETTER * best.error:
                best, self.warps = other, warps
        smooth = best.regression.scales
        for column in columns if self.rough_with == len(x) else ():
            other = fitted(self.warps, best.scaled, column, smooth)
            # steps make a smooth map wrong everywhere, not at the edges only
            if other.typical < SMOOTHED * best.typical and other.error < best.error:
                best, self.rough = other, column
        self.error, self.logarithmic, self.regression = best.error, best.scaled.logarithmic, best.regression
        self._centre, self._decoder = best.scaled.centre, best.scaled.decoder
        self._single = (self._centre.float(), self._decoder.float(), self._floor.float())
        known = np.sort(np.argsort(-weights, kind="stable")[:KEPT])
        shares = weights[known] / weights[known].sum()
        self._known, self._variance = raised[known].numpy(), variance
        self._typical = shares @ self._known
        distances = ((self._known - self._typical) ** 2 / (variance + self._typical)).sum(axis=1)
        # of its own distance from the others, or of the noise: curves far from the posterior must not speak for it
        self._shares = shares / np.maximum(distances, 1.0)

    def lost(self, starts: NDArray[np.int_]) -> Points:
        """What known curves differ by, (groups,), beyond their sums over groups of bins that begin at `starts`.

        The share of their squared distances from the typical one, in units of noise, averaged over curves that matter.
        """
        if self._constant is not None:
            return np.zeros(len(starts))
        widths, typical = np.diff(starts, append=len(self._variance)), self._typical
        told = np.repeat(np.add.reduceat(self._known, starts, axis=1), widths, axis=1)
        told *= typical / np.repeat(np.add.reduceat(typical, starts), widths)
        lost: Points = self._shares @ (self._known - told) ** 2 / (self._variance + typical)
        return np.add.reduceat(lost, starts)

    def grouped(self, starts: NDArray[np.int_]) -> PartMap:
        """The same map for groups of bins that begin at `starts`: to first order where bins of a group differ."""
        other = copy.copy(self)

        def summed(x: Tensor) -> Tensor:
            return torch.from_numpy(np.add.reduceat(x.numpy(), starts, axis=-1))

        if self._constant is not None:
            other._constant = summed(self._constant)
            return other
        other._known = np.add.reduceat(self._known, starts, axis=1)
        other._variance = np.add.reduceat(self._variance, starts)
        other._typical = np.add.reduceat(self._typical, starts)
        root = (self._centre / 2).clamp(min=0)
        total = summed(self._centre.exp() if self.logarithmic else root.square())
        if self.logarithmic:
            other._centre, other._decoder = total.log(), summed(self._decoder * self._centre.exp()) / total
        else:
            other._centre, other._decoder = 2 * total.sqrt(), summed(self._decoder * root) / total.sqrt()
        other._floor = summed(self._floor)
        other._single = (other._centre.float(), other._decoder.float(), other._floor.float())
        return other

    @property
    def components(self) -> int:
        """Principal components; 0 for a curve that nothing shapes."""
        return 0 if self._constant is not None else self._decoder.shape[0]

    def uncertainty(self, x: Points) -> Tensor:
        """Covariance (n, n) of the errors at points x (n, p), in units of the noise's variance."""
        return (
            torch.zeros(len(x), len(x))
            if self._constant is not None
            else self.regression.uncertainty(warped(x, self.warps))
        )

    def __call__(self, x: Points) -> Tensor:
        """Counts for the norm `amplitude`, (n, n_bins), float32, at points (n, p): maps err by far more."""
        if self._constant is not None:
            return self._constant.float().expand(len(x), -1)
        centre, decoder, floor = self._single
        y = torch.addmm(centre, self.regression(warped(x, self.warps)).float(), decoder)
        raised = y.clamp_(max=MOST_LOG).exp_() if self.logarithmic else y.mul_(0.5).clamp_(min=0).square_()
        return raised.sub_(floor).clamp_(min=0)

    def differentiable(self, x: Tensor) -> Tensor:
        """The same in float64, for points x (n, p), float64, that gradients are wanted of."""
        if self._constant is not None:
            return self._constant.expand(len(x), -1)
        warps = torch.tensor(self.warps)
        bent = torch.expm1(warps * x) / torch.where(warps == 0, 1.0, torch.expm1(warps))
        y = self._centre + self.regression.differentiable(torch.where(warps == 0, x, bent)) @ self._decoder
        raised = y.clamp(max=MOST_LOG).exp() if self.logarithmic else (0.5 * y).clamp(min=0).square()
        return (raised - self._floor).clamp(min=0)
