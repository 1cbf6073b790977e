"""Goodman & Weare's affine-invariant moves (2010, CAMCoS 5, 65) on a vectorised density."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["stretch_moves"]

STRETCH = 2.0
"""Stretch factors lie between 1/a and a, with density 1/sqrt(z); a = 2 as the authors recommend and XSPEC takes."""

Points = NDArray[np.float64]


def stretch_moves(
    log_density: Callable[[Points], Points],
    positions: Points,
    values: Points | None,
    steps: int,
    rng: np.random.Generator,
    islands: int = 1,
) -> Iterator[tuple[Points, Points]]:
    """Move two half ensembles in turn, each half evaluated as one batch.

    Parameters
    ----------
    log_density : callable
        Of points (n, d); shape (n,), ``-inf`` where there is no density.
    positions : ndarray, shape (walkers, d)
        An even number of walkers on every island; left as it was.
    values : ndarray, shape (walkers,), optional
        Their log densities, if known.
    steps : int
    rng : numpy.random.Generator
    islands : int, default 1
        Parts of the ensemble, in the walkers' order and equally large, that do not know of each other.

    Yields
    ------
    positions, values : ndarray
        After every step; valid until the next.
    """
    positions = positions.copy()
    values = log_density(positions) if values is None else values.copy()
    d = positions.shape[1]
    half = len(positions) // islands // 2
    # halves of every island, (islands, half)
    first, second = np.arange(2 * half * islands).reshape(islands, 2, half).transpose(1, 0, 2)
    for _ in range(steps):
        for own, other in ((first, second), (second, first)):
            partners = positions[np.take_along_axis(other, rng.integers(half, size=other.shape), axis=1)]
            z = ((STRETCH - 1) * rng.random(own.shape) + 1) ** 2 / STRETCH
            proposed = partners + z[..., None] * (positions[own] - partners)
            new = log_density(proposed.reshape(-1, d)).reshape(own.shape)
            accepted = np.log(rng.random(own.shape)) < (d - 1) * np.log(z) + new - values[own]
            positions[own] = np.where(accepted[..., None], proposed, positions[own])
            values[own] = np.where(accepted, new, values[own])
        yield positions, values
