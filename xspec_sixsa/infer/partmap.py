"""A component's curve, learned: shape parameters to expected counts for a norm of one.

Curves are emulated in the scale in which they are smooth, logarithms or square roots, whichever predicts curves better
that it has not seen; principal components are taken in units of the observation's noise, so that what is lost is known
in those units, too.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.infer.regression import KernelRegression, principal_components

__all__ = ["PartMap"]

Points = NDArray[np.float64]

FLOOR = 0.05  # of a bin's noise: what a component adds below it need not be known relative to itself
MOST = 200  # principal components: a line that moves through the band needs one a resolution element
LOST = 1e-5  # squared distance per curve, in units of the noise's variance, that principal components may lose


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
        self._constant = torch.tensor(curves[0]) if x.shape[1] == 0 else None
        self.error = 0.0
        self.logarithmic: bool | None = None
        if self._constant is not None:
            return
        self._amplitude = abs(amplitude)
        counts = torch.tensor(curves) * self._amplitude
        self._floor = FLOOR * torch.tensor(variance).sqrt()
        share = torch.tensor(weights / weights.sum())
        kept = None if previous is None else previous.logarithmic
        found = [
            self._fitted(x, counts, weights, share, torch.tensor(variance), logarithmic, previous)
            for logarithmic in ((True, False) if kept is None else (kept,))
        ]
        self.error, self.logarithmic, self._centre, self._decoder, self.regression = min(found, key=lambda f: f[0])

    def _fitted(
        self,
        x: Points,
        counts: Tensor,
        weights: Points,
        share: Tensor,
        variance: Tensor,
        logarithmic: bool,
        previous: PartMap | None,
    ) -> tuple[float, bool, Tensor, Tensor, KernelRegression]:
        """Error of left-out curves in units of noise (root of the sum over bins), and the map in one scale."""
        raised = counts.clamp(min=0) + self._floor
        y = raised.log() if logarithmic else 2 * raised.sqrt()
        centre = share @ y
        # counts per unit of y, over the noise that a spectrum so bright would have
        typical = centre.exp() if logarithmic else (0.5 * centre).square()
        unit = (typical if logarithmic else typical.sqrt()) / (variance + typical).sqrt()
        basis = principal_components((y - centre) * unit, share, LOST, MOST)
        latents = ((y - centre) * unit) @ basis
        decoder = basis.T / unit
        scales = None if previous is None else previous.regression.scales
        regression = KernelRegression(x, latents, weights, scales, noiseless=True)
        missed = regression.left_out @ decoder
        if logarithmic:
            change = raised * torch.expm1(missed.clamp(-50, 50))
        else:
            change = (0.5 * y + 0.5 * missed) ** 2 - raised
        squared = (change**2 / (variance + raised)).sum(dim=1)
        # a curve that is far off must not drown the others
        return float((share @ squared.clamp(max=1e6)).sqrt()), logarithmic, centre, decoder, regression

    @property
    def components(self) -> int:
        """Principal components; 0 for a curve that nothing shapes."""
        return 0 if self._constant is not None else self._decoder.shape[0]

    def uncertainty(self, x: Points) -> Tensor:
        """Covariance (n, n) of the errors at points x (n, p), in units of the noise's variance."""
        return torch.zeros(len(x), len(x)) if self._constant is not None else self.regression.uncertainty(x)

    def __call__(self, x: Points) -> Tensor:
        """Counts for a norm of one, (n, n_bins), at points (n, p)."""
        if self._constant is not None:
            return self._constant.expand(len(x), -1)
        y = torch.addmm(self._centre, self.regression(x), self._decoder)
        raised = y.clamp_(max=60).exp_() if self.logarithmic else y.mul_(0.5).clamp_(min=0).square_()
        return raised.sub_(self._floor).clamp_(min=0).div_(self._amplitude)
