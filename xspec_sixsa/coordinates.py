"""Unconstrained, whitened coordinates of the unit cube, in which networks live.

``z = probit(u)`` makes a prior (uniform in the cube) a unit normal, so a flow's own base is the prior and nothing it
draws can leave the prior; an affine map then whitens the region of interest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["Whitening"]

EDGE = 1e-15  # closer to a face of the cube float64 cannot tell a point from the face
LOG_2PI = np.log(2 * np.pi)


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
        z = ndtri(np.clip(u, EDGE, 1 - EDGE))
        centre = np.average(z, axis=0, weights=weights)
        covariance = np.atleast_2d(np.cov(z, rowvar=False, aweights=weights))
        # a direction without spread (all points equal) would make the factor singular
        floor = 1e-12 * max(float(np.trace(covariance)), 1e-12)
        return cls(centre, np.linalg.cholesky(covariance + floor * np.eye(len(centre))))

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
        log_volume = -0.5 * (z**2 + LOG_2PI).sum(axis=1) + np.log(np.diag(self.factor)).sum()
        return np.clip(ndtr(z), EDGE, 1 - EDGE), log_volume
