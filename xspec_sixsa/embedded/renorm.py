"""Renormalisation: one common factor on the free norms."""

from __future__ import annotations

import numpy as np
import torch

from xspec_sixsa.embedded.compiled import Program
from xspec_sixsa.embedded.evaluate import evaluate
from xspec_sixsa.embedded.parameterstate import bump_values

__all__ = ["scale_norms"]

NEARLY = 1.001
"""Factor on the norms within which there is nothing to scale."""
FACTORS = np.geomspace(1.0e-12, 1.0e12, 97)
"""First scan: four factors a decade, enough to bracket a minimum of the one-dimensional statistic."""


def scale_norms(program: Program) -> float:
    """Multiply the free norms by the factor that lowers the statistic most; nothing where there is no free norm.

    Returns
    -------
    float
        The factor, 1 where none was better.
    """
    columns = [k for k, state in enumerate(program.free) if state.norm]
    if not columns:
        return 1.0
    theta = np.array([state.value for state in program.free])

    def statistics(factors: np.ndarray) -> np.ndarray:
        rows = np.repeat(theta[None, :], len(factors), axis=0)
        for k in columns:
            state = program.free[k]
            rows[:, k] = np.clip(theta[k] * factors, state.hard_min, state.hard_max)
        with torch.no_grad():
            values = evaluate(rows).statistic.numpy()
        return np.where(np.isfinite(values), values, np.inf)

    best, factors = 1.0, FACTORS
    lower, lowest, higher = statistics(np.array([1.0 / NEARLY, 1.0, NEARLY])).tolist()
    if lowest < min(lower, higher):
        # the statistic has one minimum along the factor
        return 1.0
    for _ in range(4):
        values = statistics(factors)
        i = int(np.argmin(values))
        if values[i] < lowest:
            lowest, best = float(values[i]), float(factors[i])
        ratio = factors[1] / factors[0]
        factors = best * np.geomspace(1.0 / ratio, ratio, 17)
    if best != 1.0:
        for k in columns:
            state = program.free[k]
            state.value = float(np.clip(theta[k] * best, state.hard_min, state.hard_max))
        bump_values()
    return best
