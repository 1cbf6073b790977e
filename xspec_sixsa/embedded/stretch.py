"""Goodman and Weare's affine-invariant sampler on the engine's batches (2010, CAMCoS 5, 65)."""

from __future__ import annotations

import numpy as np

from .state import XspecError
from .xset import random_generator

__all__ = ["goodman_weare"]

STRETCH = 2.0
"""Stretch factors lie between 1/a and a, with density 1/sqrt(z); a = 2 as the authors recommend and XSPEC takes."""


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
    from .evaluate import free_parameters

    rng = random_generator()
    limits = np.array([state.six()[2::3] for state in free_parameters()])
    positions, statistic = _first_walkers(walkers, limits, rng) if start is None else (start[0].copy(), start[1].copy())
    half, d = walkers // 2, positions.shape[1]
    samples, statistics = np.empty((steps, walkers, d)), np.empty((steps, walkers))
    for step in range(-burn, steps):
        for own, other in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
            partners = positions[other][rng.integers(half, size=half)]
            z = ((STRETCH - 1) * rng.random(half) + 1) ** 2 / STRETCH
            proposed = partners + z[:, None] * (positions[own] - partners)
            inside = ((proposed >= limits[:, 0]) & (proposed <= limits[:, 1])).all(axis=1)
            new = np.full(half, np.inf)
            if inside.any():
                new[inside] = _statistic(proposed[inside])
            log_ratio = (d - 1) * np.log(z) - 0.5 * (new - statistic[own])
            accepted = np.log(rng.random(half)) < log_ratio
            positions[own] = np.where(accepted[:, None], proposed, positions[own])
            statistic[own] = np.where(accepted, new, statistic[own])
        if step >= 0:
            samples[step], statistics[step] = positions, statistic
    return samples.reshape(-1, d), statistics.ravel()


def _first_walkers(
    walkers: int, limits: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Walkers around the present values: with the fit's covariance where it is valid, else 10 deltas to either side."""
    from .evaluate import free_parameters

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
        good = ((trial >= limits[:, 0]) & (trial <= limits[:, 1])).all(axis=1)
        good[good] = np.isfinite(_statistic(trial[good])) if good.any() else False
        positions[todo[good]] = trial[good]
        todo = todo[~good]
        if not len(todo):
            return positions, _statistic(positions)
    raise XspecError("Chain: no starting points with a finite statistic were found around the present parameters. "
                     "Fit first (Fit.perform()), or widen the hard limits.")  # fmt: skip


def _fit_covariance() -> np.ndarray | None:
    """The last fit's covariance (d, d), if it was a fit of the present free parameters."""
    from .evaluate import free_parameters
    from .fit import Fit

    fit = Fit._fit
    if fit is None or [id(state) for state in fit["states"]] != [id(state) for state in free_parameters()]:
        return None
    matrix = fit["covariance"]
    # A pegged parameter has no variance: the walkers would never leave its limit.
    return matrix if np.isfinite(matrix).all() and (np.diag(matrix) > 0).all() else None


def _statistic(theta: np.ndarray) -> np.ndarray:
    import torch

    from .evaluate import evaluate

    with torch.no_grad():
        values = evaluate(theta).statistic.numpy()
    return np.where(np.isfinite(values), values, np.inf)
