"""Where the score compressor takes the model's derivatives: the posterior's mean, or those of its modes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from xspec_sixsa.infer.compress.score import Fiducial
from xspec_sixsa.infer.coordinates import EDGE, Whitening
from xspec_sixsa.infer.emulator import SpectrumEmulator
from xspec_sixsa.infer.problem import Problem

__all__ = ["Slopes", "modes"]

Points = NDArray[np.float64]

STEP = 5e-3  # of the unit cube: above what a model's own rounding spoils, below where counts bend
INSIDE = 0.01  # of the unit cube, that fiducials stay away from its faces
LEAST_SHARE = 0.1  # of the posterior, in a mode of its own
CLUSTERED = 600  # points that modes are told from


def modes(u: Points) -> Points:
    """Means (k, d) of the separate modes of equally weighted points (n, d) of the cube.

    Notes
    -----
    Modes are what HDBSCAN tells apart (Campello, Moulavi & Sander 2013), in whitened probits.
    """
    from sklearn.cluster import HDBSCAN

    u = u[:: -(-len(u) // CLUSTERED)]
    z = ndtri(np.clip(u, EDGE, 1 - EDGE))
    least = max(int(LEAST_SHARE * len(u)), 5)
    clusters = HDBSCAN(min_cluster_size=least, allow_single_cluster=True, copy=True)
    found = clusters.fit_predict(Whitening.of(u).forward(u))
    labels = [label for label in np.unique(found) if label >= 0]
    means = np.array([z[found == label].mean(axis=0) for label in labels]) if len(labels) > 1 else z.mean(axis=0)[None]
    return np.clip(ndtr(means), INSIDE, 1 - INSIDE)


class Slopes:
    """Counts and their derivatives at points of the cube: an emulator's, or differences of evaluations.

    Parameters
    ----------
    problem : Problem
    emulator : SpectrumEmulator or None
        None: central differences, two evaluations a parameter and one of the point itself, counted as ``score``.

    Attributes
    ----------
    affordable : int
        Points of the posterior at which the loss of information may be measured.
    """

    def __init__(self, problem: Problem, emulator: SpectrumEmulator | None) -> None:
        self._problem, self._emulator = problem, emulator
        self.affordable = 20 if emulator is not None else 4

    def __call__(self, u: Points) -> list[Fiducial]:
        """At points (n, d); those where the model fails are left out."""
        if self._emulator is not None:
            return [Fiducial(*self._emulator.jacobian(point)) for point in u]
        d = u.shape[1]
        steps = STEP * np.concatenate([np.zeros((1, d)), np.eye(d), -np.eye(d)])
        u = np.clip(u, STEP, 1 - STEP)
        counts = self._problem.simulate((u[:, None] + steps).reshape(-1, d), "score").counts.double()
        found = []
        for block in counts.reshape(len(u), 2 * d + 1, -1):
            if bool(block.isfinite().all()):
                found.append(Fiducial(block[0], (block[1 : d + 1] - block[d + 1 :]).T / (2 * STEP)))
        return found
