"""Goodman and Weare's affine-invariant sampler on the engine's batches (2010, CAMCoS 5, 65)."""

from __future__ import annotations

import numpy as np
import torch

from xspec_sixsa.common.ensemble import stretch_moves
from xspec_sixsa.embedded.evaluate import evaluate, free_parameters
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["goodman_weare"]


def goodman_weare(
    walkers: int, burn: int, steps: int, start: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Run stretch moves on two half ensembles in turn, each half evaluated as one batch.

    Parameters
    ----------
    walkers, burn, steps : int
        Size of the ensemble (even), steps thrown away, steps kept.
    start : (ndarray (walkers, d), ndarray (walkers,)), optional
        Positions and statistics to go on from; drawn around the present parameters by default.

    Returns
    -------
    samples : ndarray (steps * walkers, d)
        In XSPEC's order of rows: all walkers of the first step, then of the second, ...
    statistic : ndarray (steps * walkers,)
    """
    rng = session.generator
    limits = np.array([state.six()[2::3] for state in free_parameters()])
    positions, statistic = _first_walkers(walkers, limits, rng) if start is None else (start[0].copy(), start[1].copy())

    def log_density(theta: np.ndarray) -> np.ndarray:
        inside = ((theta >= limits[:, 0]) & (theta <= limits[:, 1])).all(axis=1)
        value = np.full(len(theta), -np.inf)
        if inside.any():
            value[inside] = -0.5 * _statistic(theta[inside])
        return value

    samples, statistics = [], []
    moves = stretch_moves(log_density, positions, -0.5 * statistic, burn + steps, rng)
    for step, (positions, value) in enumerate(moves):
        if step >= burn:
            samples.append(positions.copy())
            statistics.append(-2 * value)
    return np.concatenate(samples), np.concatenate(statistics)


def _first_walkers(walkers: int, limits: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Walkers around the present values: with the fit's covariance where it is valid, else 10 deltas to either side."""
    states = free_parameters()
    centre = np.array([state.current() for state in states])
    covariance = _fit_covariance()
    deltas = np.array([abs(state.six()[1]) for state in states])
    positions = np.tile(centre, (walkers, 1))
    todo = np.arange(walkers)
    for _ in range(1000):
        if covariance is not None:
            offsets = rng.multivariate_normal(np.zeros(len(centre)), covariance, size=len(todo))
        else:
            offsets = 20 * deltas * (rng.random((len(todo), len(centre))) - 0.5)
        trial = centre + offsets
        good = np.asarray(((trial >= limits[:, 0]) & (trial <= limits[:, 1])).all(axis=1))
        good[good] = np.isfinite(_statistic(trial[good])) if good.any() else False
        positions[todo[good]] = trial[good]
        todo = todo[~good]
        if not len(todo):
            return positions, _statistic(positions)
    raise XspecError("Chain: no starting points with a finite statistic were found around the present parameters. "
                     "Fit first (Fit.perform()), or widen the hard limits.")  # fmt: skip


def _fit_covariance() -> np.ndarray | None:
    """The last fit's covariance (d, d), if it was a fit of the present free parameters."""
    fit = session.last_fit
    if fit is None or [id(state) for state in fit.states] != [id(state) for state in free_parameters()]:
        return None
    matrix = fit.covariance
    # A pegged parameter has no variance: the walkers would never leave its limit.
    return matrix if np.isfinite(matrix).all() and (np.diag(matrix) > 0).all() else None


def _statistic(theta: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        values = evaluate(theta).statistic.numpy()
    return np.where(np.isfinite(values), values, np.inf)
