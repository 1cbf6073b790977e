"""Densities over the unit cube that can be drawn from: what importance weights are measured against.

Draws come from torch's default generator (see `seeding.Streams.torch`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import zuko
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln, logsumexp

from xspec_sixsa.common.fitstatistic import CHUNK
from xspec_sixsa.infer.coordinates import Coordinates, Straightening, Whitening
from xspec_sixsa.infer.importance import tempering_power
from xspec_sixsa.infer.training import train

__all__ = [
    "Density",
    "FlowProposal",
    "KernelProposal",
    "Mixture",
    "Proposal",
    "StudentMixture",
    "StudentProposal",
    "fit_flow",
    "temper",
]

Points = NDArray[np.float64]


class Proposal(Protocol):
    """A normalised density over the unit cube."""

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""

    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Natural log density in unit-cube coordinates, shape (n,)."""


class Density(Protocol):
    """A density over whitened coordinates, one for each of a batch of contexts: what zuko's distributions give."""

    def sample(self, shape: Any = ...) -> torch.Tensor:
        """Points (*shape, *batch, d), from torch's default generator."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of points (..., d)."""


class FlowProposal:
    """A normalizing flow in whitened coordinates.

    Parameters
    ----------
    flow : Density
        With ``sample`` and ``log_prob``, over whitened coordinates; a zuko distribution, for example.
    whitening : Whitening
    """

    def __init__(self, flow: Density, whitening: Whitening) -> None:
        self.flow, self.whitening = flow, whitening

    @torch.no_grad()
    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        return self.whitening.inverse(self.flow.sample((n,)).double().numpy())[0]

    @torch.no_grad()
    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Log density in the cube, shape (n,)."""
        w = self.whitening.forward(u)
        return self.flow.log_prob(torch.tensor(w, dtype=torch.float32)).double().numpy() - self.whitening.log_volume(u)


class StudentProposal:
    """A multivariate Student t in whitened coordinates: broad tails where little is known yet.

    Parameters
    ----------
    whitening : Whitening
    dof : float, default 5
    inflate : float, default 1.2
        Factor on the whitened scale.
    """

    def __init__(self, whitening: Whitening, dof: float = 5.0, inflate: float = 1.2) -> None:
        self.whitening = Whitening(whitening.centre, whitening.factor * inflate)
        d = len(whitening.centre)
        self._dof, self._distribution = dof, stats.multivariate_t(np.zeros(d), np.eye(d), df=dof)

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        return self.whitening.inverse(_student(n, len(self.whitening.centre), self._dof).numpy())[0]

    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Log density in the cube, shape (n,)."""
        w = self.whitening.forward(u)
        return np.atleast_1d(self._distribution.logpdf(w)) - self.whitening.log_volume(u)


class KernelProposal:
    """Points, each blurred by a multivariate Student t: follows any shape, and never falls off faster than its points.

    Parameters
    ----------
    u : ndarray, shape (n, d)
        Equally weighted points in the cube.
    dof : float, default 5
    coordinates : Coordinates, optional
        In which the points are blurred; default: the points' own whitening.

    Notes
    -----
    The bandwidth is Silverman's (1986, eq. 4.14) for the points' own covariance.
    """

    def __init__(self, u: Points, dof: float = 5.0, coordinates: Coordinates | None = None) -> None:
        self._coordinates = Whitening.of(u) if coordinates is None else coordinates
        n, d = u.shape
        points = self._points = torch.tensor(self._coordinates.forward(u))
        self._dof = dof
        self._width = (4 / (d + 2)) ** (1 / (d + 4)) * n ** (-1 / (d + 4))
        half = (dof + d) / 2
        self._norm = (
            gammaln(half) - gammaln(dof / 2) - d / 2 * np.log(dof * np.pi) - d * np.log(self._width) - np.log(n)
        )
        # one plus the squared distance over dof is one product
        self._scale = 1 / (self._width * np.sqrt(dof))
        points = points * self._scale
        self._extended = torch.cat([-2 * points, (points * points).sum(1, keepdim=True) + 1], dim=1).T.contiguous()

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        centre = self._points[torch.randint(len(self._points), (n,))]
        return self._coordinates.inverse((centre + self._width * _student(n, centre.shape[1], self._dof)).numpy())[0]

    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Log density in the cube, shape (n,)."""
        w = self._coordinates.forward(u)
        half = (self._dof + w.shape[1]) / 2
        parts = []
        for part in (torch.tensor(w) * self._scale).split(max(1, CHUNK // len(self._points))):
            ones = torch.ones(len(part), 1, dtype=part.dtype)
            grown = torch.addmm((part * part).sum(1, keepdim=True), torch.cat([part, ones], dim=1), self._extended)
            # rounding must not take a distance below zero; the tails of a Student t do not underflow
            parts.append(grown.clamp_(min=1.0).log_().mul_(-half).exp_().sum(dim=1).log())
        return torch.cat(parts).numpy() + self._norm - self._coordinates.log_volume(u)


class StudentMixture:
    """A mixture of multivariate Student t, fitted to points: follows bent posteriors, and costs little to draw from.

    Parameters
    ----------
    u : ndarray, shape (n, d)
        Equally weighted points in the cube.
    components : int
    coordinates : Coordinates, optional
        In which the mixture is fitted; default: the points' own `Straightening`.
    dof : float, default 8
    inflate : float, default 1.15
        Factor on the components' scales, which a Gaussian mixture is fitted for (expectation maximisation).
    """

    def __init__(
        self,
        u: Points,
        components: int,
        coordinates: Coordinates | None = None,
        dof: float = 8.0,
        inflate: float = 1.15,
    ) -> None:
        from sklearn.mixture import GaussianMixture

        self._coordinates, self._dof = Straightening(u) if coordinates is None else coordinates, dof
        seed = int(torch.randint(2**31, (1,)))
        fitted = GaussianMixture(components, reg_covar=1e-5, init_params="k-means++", random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mixture that has not quite converged covers as well
            fitted.fit(self._coordinates.forward(u))
        self._shares, self._means = torch.tensor(fitted.weights_), torch.tensor(fitted.means_)
        self._factors = torch.linalg.cholesky(torch.tensor(fitted.covariances_)) * inflate
        d = u.shape[1]
        self._inverses = torch.linalg.solve_triangular(
            self._factors, torch.eye(d, dtype=torch.float64).expand_as(self._factors), upper=False
        )
        self._half = (dof + d) / 2
        norm = gammaln(self._half) - gammaln(dof / 2) - d / 2 * np.log(dof * np.pi)
        self._norms = self._shares.log() + norm - self._factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)

    def draw(self, n: int) -> Points:
        """Points of shape (n, d)."""
        chosen = torch.multinomial(self._shares, n, replacement=True)
        t = _student(n, self._means.shape[1], self._dof)
        w = self._means[chosen] + (self._factors[chosen] @ t[:, :, None])[:, :, 0]
        return self._coordinates.inverse(w.numpy())[0]

    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Log density in the cube, shape (n,)."""
        w = self._coordinates.forward(u)
        points = torch.tensor(w)
        parts = []
        for norm, mean, inverse in zip(self._norms, self._means, self._inverses, strict=True):
            squared = ((points - mean) @ inverse.T).square_().sum(dim=1)
            parts.append(norm - self._half * torch.log1p(squared / self._dof))
        return torch.logsumexp(torch.stack(parts), dim=0).numpy() - self._coordinates.log_volume(u)


def _student(n: int, d: int, dof: float) -> torch.Tensor:
    """Standard multivariate Student t, shape (n, d), from torch's default generator."""
    chi2 = torch.distributions.Chi2(torch.tensor(dof, dtype=torch.float64)).sample((n, 1))
    return torch.randn(n, d, dtype=torch.float64) / (chi2 / dof).sqrt()


class Mixture:
    """A mixture of proposals.

    Parameters
    ----------
    parts : sequence of Proposal
    shares : sequence of float
        Positive; normalised here.
    """

    def __init__(self, parts: Sequence[Proposal], shares: Sequence[float]) -> None:
        self.parts = list(parts)
        self.shares = np.asarray(shares, dtype=float) / np.sum(shares)

    def draw(self, n: int) -> Points:
        """Points of shape (n, d), parts in random order."""
        chosen = torch.multinomial(torch.tensor(self.shares), n, replacement=True).numpy()
        pieces = [
            part.draw(k)
            for part, k in zip(self.parts, np.bincount(chosen, minlength=len(self.parts)), strict=True)
            if k
        ]
        return np.concatenate(pieces)[torch.randperm(n).numpy()]

    def log_density(self, u: Points) -> NDArray[np.float64]:
        """Log density in the cube, shape (n,)."""
        parts = np.array([part.log_density(u) for part in self.parts])
        return logsumexp(parts, axis=0, b=self.shares[:, None])


def temper(log_weights: NDArray[np.float64], wanted: float) -> NDArray[np.float64]:
    """Log weights to the largest power (at most one) that leaves them `wanted` effective samples.

    Returns
    -------
    ndarray, shape (n,)
        Unnormalised; zero weights stay zero.
    """
    finite = np.isfinite(log_weights)
    if finite.sum() <= wanted:
        return log_weights
    return np.where(finite, tempering_power(log_weights, wanted) * np.where(finite, log_weights, 0.0), -np.inf)


def fit_flow(
    u: Points,
    log_weights: NDArray[np.float64],
    *,
    steps: int = 800,
    tick: Callable[[int], None] = lambda n: None,
) -> FlowProposal:
    """A neural spline flow fitted to weighted points by maximum likelihood.

    Parameters
    ----------
    u : ndarray, shape (n, d)
    log_weights : ndarray, shape (n,)
    steps : int, default 800

    Returns
    -------
    FlowProposal
        The weights of the best held-out likelihood; a fifth of the points is held out.
    """
    positive = np.isfinite(log_weights)
    u, weights = u[positive], np.exp(log_weights[positive] - log_weights[positive].max())
    whitening = Whitening.of(u, weights)
    w = torch.tensor(whitening.forward(u), dtype=torch.float32)
    share = torch.tensor(weights / weights.sum())
    held = torch.zeros(len(u), dtype=torch.bool)
    held[torch.randperm(len(u))[: max(len(u) // 5, 1)]] = True
    training, p = w[~held], share[~held]
    flow = zuko.flows.NSF(w.shape[1], transforms=3, hidden_features=(64, 64))
    train(
        flow,
        lambda: -flow().log_prob(training[torch.multinomial(p, 512, replacement=True)]).mean(),
        lambda: -(share[held] * flow().log_prob(w[held])).sum() / share[held].sum().clamp(min=1e-300),
        steps=steps,
        learning_rate=2e-3,
        tick=tick,
    )
    return FlowProposal(flow(), whitening)
