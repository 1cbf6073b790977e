"""Smooth maps between vectors in closed form, and principal components under weights.

Rasmussen & Williams 2006, sections 2.2, 2.7 and 5.4 (kernels, explicit basis functions, marginal likelihood).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from xspec_sixsa.common.fitstatistic import CHUNK
from xspec_sixsa.common.seeding import Streams

__all__ = ["KernelRegression", "principal_components"]

Points = NDArray[np.float64]

MOST_COMPONENTS = 64
ROUNDED = 1e-13  # of the largest squared singular value: what lies below is the rounding of double precision
SCALED_ON = 400  # parameter sets on which length scales are found
RELEVANT = 0.01  # share of the largest weight from which a parameter set counts for length scales
SHORTEST_LONGEST = (-3, 5)  # logarithms of length scales, in standard deviations of the points
IMPOSSIBLE = 1e12  # loss of length scales that give no kernel
SCALE_STEPS, SCALE_STEPS_AGAIN = 30, 12  # of the search for length scales: from nothing, and from earlier ones
WIDE, SHORT, NOISELESS = 0.7, -2.5, -8.0  # logarithms of length scales, and of noise, that a search begins with
# Of length scales, and of steps' variance relative to smooth kernels': rough beginnings beside those of a smooth map.
WIDER, ROUGH, HARDLY_ROUGH = 2.0, -4.0, -8.0
LEAST_MOST_ROUGH = (-14, 3)
FAR = 20.0  # standard deviations: steps are a random walk over what points there are
UNEXPLAINED = -3.0  # logarithm of the noise from which kernels explain so little that other beginnings are tried


class KernelRegression:
    """A map between vectors: quadratic trend plus Gaussian kernels on the training points.

    Parameters
    ----------
    x : ndarray, shape (n, d)
    y : Tensor, shape (n, k)
    weights : ndarray, shape (n,)
        Where the map must be right: they set the coordinates, the trend, and which points set the length scales.
    scales : Tensor, shape (d + 1,) or (d + 2,), optional
        Where the search for the logarithms of length scales, roughness (where there is any) and noise begins: those of
        an earlier regression, or of a smooth one.
    noiseless : bool, default False
        Whether noise that is found there is but what a wider kernel cannot follow.
    rough : int, optional
        Coordinate along which the map goes in steps beside what is smooth: beside Gaussian kernels there are
        exponential ones along it, so that a step is known to lie between two points.
    mixed : bool, default True
        Whether length scales belong to coordinates in which the points are uncorrelated; else, and with steps, to those
        of x: a curve may bend along one that points are correlated in with another.
    """

    def __init__(
        self,
        x: Points,
        y: Tensor,
        weights: Points,
        scales: Tensor | None = None,
        *,
        noiseless: bool = False,
        rough: int | None = None,
        mixed: bool = True,
    ) -> None:
        self._rough = rough is not None  # along the first coordinate
        self._centre = np.average(x, axis=0, weights=weights)
        spread = (weights / weights.sum())[:, None] * (x - self._centre)
        covariance = spread.T @ (x - self._centre)
        covariance += 1e-12 * max(np.trace(covariance), 1e-300) * np.eye(x.shape[1])
        order = sorted(range(x.shape[1]), key=lambda column: column != rough)
        if self._rough or not mixed:
            covariance = np.diag(covariance.diagonal())
        self._whitening = np.empty_like(covariance)
        self._whitening[order] = np.linalg.inv(np.linalg.cholesky(covariance[np.ix_(order, order)])).T
        self._pairs = torch.triu_indices(x.shape[1], x.shape[1])
        points, w = self._coordinates(x), torch.tensor(weights / weights.sum())
        trend = self._trend(points)
        gram = trend.T @ (w[:, None] * trend)
        ridge = 1e-10 * torch.trace(gram) / len(gram) * torch.eye(len(gram), dtype=torch.float64)
        self._coefficients = torch.linalg.solve(gram + ridge, trend.T @ (w[:, None] * y))
        residual = y - trend @ self._coefficients
        # not the very best only: crowded, they would tell how the map wriggles, not how far it reaches
        relevant = max(int((w > RELEVANT * w.max()).sum()), min(SCALED_ON, len(w)))
        chosen = torch.linspace(0, relevant - 1, min(SCALED_ON, relevant)).long()
        best = torch.argsort(w, descending=True, stable=True)[chosen]
        self.scales = _length_scales(points[best], residual[best], scales, noiseless, order if self._rough else None)
        self._widths = self.scales[: x.shape[1]].exp()
        scaled = points / self._widths
        self._points = torch.cat([scaled, -0.5 * (scaled * scaled).sum(1, keepdim=True)], dim=1).T.contiguous()
        kernel = self._kernel(points)
        kernel.diagonal().add_(float(self.scales[-1].exp()) + 1e-10)
        self._cholesky = torch.linalg.cholesky(kernel)
        self._links = torch.cholesky_solve(residual, self._cholesky)
        self._spread = float((residual * self._links).sum()) / len(x)

    def _kernel(self, x: Tensor) -> Tensor:
        """Kernels (n, centres) at whitened points (n, d): the squared distance's three terms in one product."""
        scaled = x / self._widths
        extended = torch.cat([scaled, scaled.new_ones(len(x), 1)], dim=1)
        exponents = torch.addmm(-0.5 * (scaled * scaled).sum(1, keepdim=True), extended, self._points)
        return self._with_steps(exponents, scaled[:, :1] - self._points[:1]) if self._rough else exponents.exp_()

    def _with_steps(self, exponents: Tensor, apart: Tensor) -> Tensor:
        """Gaussian kernels of `exponents` (n, m), and those of points so far apart in steps (n, m)."""
        return exponents.exp() + _steps(exponents, apart, self._widths[0], self.scales[-2])

    def _coordinates(self, x: Points) -> Tensor:
        return torch.tensor((x - self._centre) @ self._whitening)

    def _trend(self, x: Tensor) -> Tensor:
        first, second = (x.index_select(1, column) for column in self._pairs)
        return torch.cat([x.new_ones(len(x), 1), x, first * second], dim=1)

    @functools.cached_property
    def left_out(self) -> Tensor:
        """Vectors minus what would be predicted without them (n, k): leave-one-out residuals in closed form.

        Rasmussen & Williams, eq. 5.12; the trend and the length scales still know them.
        """
        return self._links / torch.cholesky_inverse(self._cholesky).diagonal()[:, None]

    def uncertainty(self, x: Points) -> Tensor:
        """Covariance (n, n) of the errors at points x (n, d), summed over the vectors' entries."""
        kernels = self._kernel(self._coordinates(x))
        told = torch.linalg.solve_triangular(self._cholesky, kernels.T, upper=False)
        scaled = self._coordinates(x) / self._widths
        exponents = -0.5 * torch.cdist(scaled, scaled) ** 2
        prior = self._with_steps(exponents, scaled[:, :1] - scaled[:, :1].T) if self._rough else exponents.exp()
        return self._spread * (prior - told.T @ told)

    def __call__(self, x: Points) -> Tensor:
        """Predicted vectors (n, k) at x (n, d)."""
        rows = max(1, CHUNK // self._points.shape[1])
        points = self._coordinates(x)
        kernels = torch.cat([self._kernel(part) @ self._links for part in points.split(rows)])
        return self._trend(points) @ self._coefficients + kernels

    def differentiable(self, x: Tensor) -> Tensor:
        """The same for points x (n, d), float64, that gradients are wanted of."""
        points = (x - torch.tensor(self._centre)) @ torch.tensor(self._whitening)
        return self._trend(points) @ self._coefficients + self._kernel(points) @ self._links


def _steps(exponents: Tensor, apart: Tensor, width: Tensor, roughness: Tensor) -> Tensor:
    """Kernels (n, m) of steps along a coordinate, of which points are so many `width` apart; `exponents`: Gaussian."""
    far = width / FAR
    beyond = apart.abs().sub_(far)  # of the square of which a linear term is left, once the Gaussian's is taken out
    return torch.addcmul(exponents, beyond, beyond, value=0.5).add_(roughness - 0.5 * far * far).exp_()


def _length_scales(x: Tensor, y: Tensor, begin: Tensor | None, noiseless: bool, order: list[int] | None) -> Tensor:
    """What maximises the marginal likelihood, one variance for all y: logarithms of length scales, roughness and noise.

    Seen from wide kernels, what varies within a small part of one parameter's range (a line's energy) is noise, and
    taking it for that a maximum of its own: where there can be none, searches also begin with one short scale each.
    There are steps where `order`, that of the coordinates, is given; beside them the rest may be smoother than it was
    without, so that searches begin with both.
    """
    d, rough = x.shape[1], order is not None
    wide = torch.tensor([WIDE] * d + [NOISELESS], dtype=torch.float64)
    starts, steps = [wide if begin is None else begin], SCALE_STEPS if begin is None else SCALE_STEPS_AGAIN
    if order is not None:
        wide, (first,), steps = torch.tensor([WIDER] * d + [ROUGH, NOISELESS], dtype=torch.float64), starts, SCALE_STEPS
        if len(first) == d + 1:  # a smooth map's
            first = torch.cat([first[order], torch.tensor([HARDLY_ROUGH]), first[-1:].clamp(max=NOISELESS)])
        starts = [first, wide]
    tried = [_maximised(x, y, start, steps, rough) for start in starts]
    best, _ = min(tried, key=lambda found: found[1])
    if noiseless and best[-1] > UNEXPLAINED:
        short = wide.repeat(d, 1)
        short.diagonal().fill_(SHORT)
        tried += [_maximised(x, y, start, SCALE_STEPS, rough) for start in short]
        best, _ = min(tried, key=lambda found: found[1])
    return best


def _maximised(x: Tensor, y: Tensor, start: Tensor, steps: int, rough: bool) -> tuple[Tensor, float]:
    """The local maximum of the marginal likelihood that `start` leads to, and its loss."""
    # not torch's optimisers: loading them takes seconds
    found = minimize(
        lambda values: _loss(x, y, torch.tensor(values), rough), start.numpy(), jac=True, method="L-BFGS-B",
        bounds=[SHORTEST_LONGEST] * x.shape[1] + [LEAST_MOST_ROUGH] * rough + [(-20, 0)], options={"maxiter": steps},
    )  # fmt: skip
    return (torch.tensor(found.x) if found.fun < IMPOSSIBLE else start), float(found.fun)


def _loss(x: Tensor, y: Tensor, scales: Tensor, rough: bool) -> tuple[float, Points]:
    """Negative logarithm of the marginal likelihood, and its derivatives: Rasmussen & Williams, eq. 5.9."""
    n, widths, noise = len(x), scales[: x.shape[1]].exp(), scales[-1].exp()
    scaled = x / widths
    squares = -0.5 * (scaled * scaled).sum(dim=1)
    exponents = torch.addmm(squares[:, None] + squares, scaled, scaled.T).clamp_(max=0)
    kernel = exponents.exp()
    if rough:
        apart = scaled[:, :1] - scaled[:, :1].T
        steps = _steps(exponents, apart, widths[0], scales[-2])
        kernel += steps
    covariance = kernel.clone()
    covariance.diagonal().add_(noise + 1e-10)
    factor, info = torch.linalg.cholesky_ex(covariance)
    if int(info):  # kernels so wide that rounding makes them singular
        return IMPOSSIBLE, np.zeros(len(scales))
    links = torch.cholesky_solve(y, factor)
    misfit = (y * links).sum().clamp(min=1e-300)
    slope = torch.addmm(torch.cholesky_inverse(factor), links, links.T, alpha=-float(n / misfit))
    shared = slope * kernel
    # the sum over pairs of what they share times their squared distance, axis by axis
    slopes = [shared.sum(dim=1) @ (scaled * scaled) - (scaled * (shared @ scaled)).sum(dim=0)]
    if rough:  # steps are as wide whatever the first length scale
        of_steps = slope * steps
        slopes[0][0] -= 0.5 * (of_steps * apart * apart).sum()
        slopes.append(0.5 * of_steps.sum()[None])
    slopes.append((0.5 * slope.diagonal().sum() * noise)[None])
    loss = 0.5 * n * torch.log(misfit) + torch.log(factor.diagonal()).sum()
    return float(loss), torch.cat(slopes).numpy()


def principal_components(y: Tensor, w: Tensor, most_lost: float, most: int = MOST_COMPONENTS) -> Tensor:
    """Basis (n_bins, k) of centred spectra (n, n_bins) under weights: as few as lose no more than `most_lost`."""
    scaled = y * w.sqrt()[:, None]
    k = min(most, *y.shape)
    if min(y.shape) > 4 * k:
        with Streams(0).torch("principal components"):  # a random sketch: the same for the same spectra
            basis = torch.linalg.qr(torch.svd_lowrank(scaled.float(), q=k, niter=3)[2].double())[0]
    elif len(scaled) < scaled.shape[1]:
        # of the spectra's products, a far smaller matrix: what it rounds away is far below what may be lost
        values, vectors = torch.linalg.eigh(scaled @ scaled.T)
        seen = int((values > ROUNDED * values[-1]).sum())
        k = min(k, max(seen, 1))
        basis = torch.linalg.qr(scaled.T @ vectors[:, -k:].flip(1))[0]
    else:
        basis = torch.linalg.svd(scaled, full_matrices=False)[2][:k].T
    kept = ((scaled @ basis) ** 2).sum(dim=0)
    lost = (scaled**2).sum() - kept.cumsum(dim=0)
    enough = torch.nonzero(lost <= most_lost)
    return basis[:, : int(enough[0]) + 1 if len(enough) else k].contiguous()
