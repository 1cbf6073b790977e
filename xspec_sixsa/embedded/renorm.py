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
ROUNDING = 1.0e-12
"""Share of a rate below which what does not scale with the norms is nothing."""


def scale_norms(program: Program) -> float:
    """Multiply the free norms by the factor that lowers the statistic most; nothing where there is no free norm.

    Rates are linear in the factor: two evaluations give them at all factors, a third one sees that the best is better.

    Returns
    -------
    float
        The factor, 1 where none was better.
    """
    columns = [k for k, state in enumerate(program.free) if state.norm]
    theta = np.array([state.value for state in program.free])
    if not theta[columns].any():
        return 1.0
    low = np.array([state.hard_min for state in program.free])
    high = np.array([state.hard_max for state in program.free])

    def scaled(factors: np.ndarray) -> np.ndarray:
        rows = np.repeat(theta[None, :], len(factors), axis=0)
        rows[:, columns] *= factors[:, None]
        return rows

    def allowed(factors: np.ndarray) -> np.ndarray:
        rows = scaled(factors)[:, columns]
        return factors[((rows >= low[columns]) & (rows <= high[columns])).all(axis=1)]

    with torch.no_grad():
        other = next(iter(allowed(np.array([2.0, 0.5]))), None)
        if other is None:
            return 1.0
        found = evaluate(scaled(np.array([1.0, other])))
        scaling = [(rate[1:] - rate[:1]) / (other - 1.0) for rate in found.folded]
        rest = [rate[:1] - part for rate, part in zip(found.folded, scaling, strict=True)]
        fixed = [
            torch.where(part.abs() > ROUNDING * rate[:1].abs(), part, 0.0)
            for rate, part in zip(found.folded, rest, strict=True)
        ]

        def statistics(factors: np.ndarray) -> np.ndarray:
            column = torch.as_tensor(factors)[:, None]
            rates = [part + column * more for part, more in zip(fixed, scaling, strict=True)]
            values = program.statistic(rates, program.values(torch.as_tensor(scaled(factors)))).numpy()
            return np.where(np.isfinite(values), values, np.inf)

        lowest = float(found.statistic[0]) if torch.isfinite(found.statistic[0]) else np.inf
        if lowest < statistics(np.array([1.0 / NEARLY, NEARLY])).min():
            # the statistic has one minimum along the factor
            return 1.0
        best, reached, factors, ratio = 1.0, lowest, allowed(FACTORS), FACTORS[1] / FACTORS[0]
        for _ in range(4):
            values = statistics(factors)
            if len(factors) and values.min() < reached:
                reached, best = float(values.min()), float(factors[np.argmin(values)])
            factors = allowed(best * np.geomspace(1.0 / ratio, ratio, 17))
            ratio **= 1 / 8
        # a link may let a norm enter otherwise
        if best == 1.0 or not float(evaluate(scaled(np.array([best]))).statistic[0]) < lowest:
            return 1.0
    for k in columns:
        program.free[k].value = float(theta[k] * best)
    bump_values()
    return best
