"""A small Poisson problem whose posterior is known by quadrature: a power law in twenty bins."""

from __future__ import annotations

import numpy as np
import torch

from xspec_sixsa.common.observation import Observation, SpectrumData
from xspec_sixsa.infer.compress.score import Fiducial
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.simulations import Simulations

ENERGY = np.geomspace(0.5, 8, 21)
CENTRE = np.sqrt(ENERGY[1:] * ENERGY[:-1])
LOW, HIGH = np.array([0.0, np.log(3.0)]), np.array([4.0, np.log(3000.0)])


def expected_counts(u: np.ndarray) -> np.ndarray:
    """Counts (n, 20) of index U(0, 4) and norm logU(3, 3000) for points of the unit square."""
    index, log_norm = (LOW + u * (HIGH - LOW)).T
    return np.exp(log_norm)[:, None] * CENTRE ** -index[:, None] * np.diff(ENERGY)


OBSERVED = np.random.default_rng(5).poisson(expected_counts(np.array([[0.45, 0.5]]))[0]).astype(float)


def log_likelihood(u: np.ndarray) -> np.ndarray:
    """-C/2 of the Cash statistic."""
    m = expected_counts(u)
    return (OBSERVED - m - np.where(OBSERVED > 0, OBSERVED * np.log(np.maximum(OBSERVED, 1) / m), 0)).sum(axis=1)


def log_evidence_by_quadrature(points: int = 1500) -> float:
    """Evidence on a midpoint grid fine enough for 1e-4."""
    grid = (np.arange(points) + 0.5) / points
    u = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    value = np.concatenate([log_likelihood(part) for part in np.array_split(u, 50)])
    return float(value.max() + np.log(np.exp(value - value.max()).mean()))


def simulate(u: np.ndarray, stage: str = "", log_density: np.ndarray | None = None) -> Simulations:
    return Simulations(u, torch.tensor(expected_counts(u), dtype=torch.float32), log_likelihood(u))


def observation(**changes: object) -> Observation:
    one = {
        "name": "toy",
        "index": 1,
        "counts": OBSERVED,
        "exposure": 1.0,
        "background": None,
        "background_ratio": None,
        "sigma": None,
        "statistic": "cstat",
        "energies": np.stack([ENERGY[:-1], ENERGY[1:]], axis=1),
    }
    return Observation((SpectrumData(**(one | changes)),))


def noise(**changes: object) -> Noise:
    return Noise(observation(**changes))


def fiducial(u: np.ndarray) -> Fiducial:
    """Counts and their exact derivatives at a point (2,) of the unit square."""
    counts = expected_counts(u[None])[0]
    slopes = np.stack([-np.log(CENTRE) * (HIGH - LOW)[0], np.full(20, (HIGH - LOW)[1])], axis=1)
    return Fiducial(torch.tensor(counts), torch.tensor(counts[:, None] * slopes))
