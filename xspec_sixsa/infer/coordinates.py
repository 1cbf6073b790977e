"""Unconstrained, whitened coordinates of the unit cube, in which networks and mixtures live.

``z = probit(u)`` makes a prior (uniform in the cube) a unit normal, so a flow's own base is the prior and nothing it
draws can leave the prior; an affine map then whitens the region of interest. `Straightening` takes bends out first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["Coordinates", "Straightening", "Whitening"]

EDGE = 1e-15  # closer to a face of the cube float64 cannot tell a point from the face
LOG_2PI = np.log(2 * np.pi)
DEGREE = 3  # of a bend in one coordinate; two together bend by their product
REACH = 4.0  # standard deviations beyond which a bend goes on straight
RIDGE = 1e-3  # of the features' own scatter: few points must not make up bends


class Coordinates(Protocol):
    """A smooth map of the unit cube onto whitened, unbounded coordinates."""

    def forward(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cube to coordinates, both of shape (n, d)."""

    def inverse(self, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates to the cube (n, d), and ``log |du/dw|`` (n,)."""

    def log_volume(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """``log |du/dw|`` at points of the cube (n, d), shape (n,): added to a density in the cube, that in w."""


@dataclass(frozen=True)
class Whitening:
    """``z = centre + w @ factor.T`` with ``z = probit(u)``.

    Attributes
    ----------
    centre : ndarray, shape (d,)
    factor : ndarray, shape (d, d)
        Lower Cholesky factor of the covariance in z.
    """

    centre: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def of(cls, u: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Whitening:
        """Whitening by the (weighted) mean and covariance of points.

        Parameters
        ----------
        u : ndarray, shape (n, d)
            Points in the unit cube.
        weights : ndarray, shape (n,), optional
            Non-negative; equal by default.
        """
        return cls.of_probits(ndtri(np.clip(u, EDGE, 1 - EDGE)), weights)

    @classmethod
    def of_probits(cls, z: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Whitening:
        """The same, of ``probit(u)``."""
        centre = np.average(z, axis=0, weights=weights)
        covariance = np.atleast_2d(np.asarray(np.cov(z, rowvar=False, aweights=weights), dtype=np.float64))
        # a direction without spread (all points equal) would make the factor singular
        floor = 1e-12 * max(float(np.trace(covariance)), 1e-12)
        factor = np.linalg.cholesky(covariance + floor * np.eye(len(centre)))
        return cls(centre, np.asarray(factor, dtype=np.float64))

    def forward(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cube to whitened coordinates, both of shape (n, d)."""
        z = ndtri(np.clip(u, EDGE, 1 - EDGE))
        return np.linalg.solve(self.factor, (z - self.centre).T).T

    def inverse(self, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whitened coordinates to the cube.

        Returns
        -------
        u : ndarray, shape (n, d)
        log_volume : ndarray, shape (n,)
            ``log |du/dw|``: a density in the cube is the density in w divided by its exponential.
        """
        z = self.centre + w @ self.factor.T
        return np.clip(ndtr(z), EDGE, 1 - EDGE), self._log_volume(z)

    def log_volume(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """``log |du/dw|`` at points of the cube (n, d), shape (n,)."""
        return self._log_volume(ndtri(np.clip(u, EDGE, 1 - EDGE)))

    def _log_volume(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return -0.5 * (z**2 + LOG_2PI).sum(axis=1) + np.log(np.diag(self.factor)).sum()


class Straightening:
    """Whitening of a bent cloud: each coordinate less its polynomial trend in those that scatter more.

    A posterior that fills the prior of one parameter and ties another to it is a line in the cube, an S in probits, and
    neither is what a mixture of ellipsoids fits well. The trend is subtracted in turn, widest coordinate first, so the
    map is triangular and its volume that of the whitening.

    Parameters
    ----------
    u : ndarray, shape (n, d)
        Equally weighted points of the cube.
    """

    def __init__(self, u: NDArray[np.float64]) -> None:
        z = ndtri(np.clip(u, EDGE, 1 - EDGE))
        self._order = np.argsort(-z.std(axis=0), kind="stable")
        self._mean, self._sd = u.mean(axis=0)[self._order], u.std(axis=0)[self._order] + EDGE
        z, x = z[:, self._order], self._standard(u[:, self._order])
        self._trends = []
        for j in range(z.shape[1]):
            features = self._features(x[:, :j])
            gram = features.T @ features + RIDGE * len(u) * np.eye(features.shape[1])
            self._trends.append(np.linalg.solve(gram, features.T @ (z[:, j] - z[:, j].mean())))
        self._whitening = Whitening.of_probits(z - self._trend(x))

    def _standard(self, u: NDArray[np.float64], first: int = 0) -> NDArray[np.float64]:
        which = slice(first, first + u.shape[1])
        return np.clip((u - self._mean[which]) / self._sd[which], -REACH, REACH)

    @staticmethod
    def _features(x: NDArray[np.float64]) -> NDArray[np.float64]:
        i, j = np.triu_indices(x.shape[1], 1)
        powers = [x**k for k in range(1, DEGREE + 1)]
        return np.concatenate([np.ones((len(x), 1)), *powers, x[:, i] * x[:, j]], axis=1)

    def _trend(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([self._features(x[:, :j]) @ trend for j, trend in enumerate(self._trends)], axis=1)

    def forward(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cube to coordinates, both of shape (n, d)."""
        u = np.clip(u, EDGE, 1 - EDGE)[:, self._order]
        straight = ndtri(u) - self._trend(self._standard(u))
        return np.linalg.solve(self._whitening.factor, (straight - self._whitening.centre).T).T

    def inverse(self, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates to the cube (n, d), and ``log |du/dw|`` (n,)."""
        z = self._whitening.centre + w @ self._whitening.factor.T
        u, x = np.empty_like(z), np.empty_like(z)
        for j, trend in enumerate(self._trends):
            z[:, j] += self._features(x[:, :j]) @ trend
            u[:, self._order[j]] = np.clip(ndtr(z[:, j]), EDGE, 1 - EDGE)
            x[:, j : j + 1] = self._standard(u[:, self._order[j], None], j)
        return u, self._whitening.log_volume(u)

    def log_volume(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """``log |du/dw|`` at points of the cube (n, d), shape (n,)."""
        return self._whitening.log_volume(u)
