"""XSPEC's own short fit, from a point that is good already."""

from __future__ import annotations

import logging
import time
from types import ModuleType

import numpy as np

from xspec_sixsa.session.evaluator import Evaluator

__all__ = ["native_fit"]

log = logging.getLogger(__name__)


def native_fit(
    module: ModuleType, evaluator: Evaluator, theta: np.ndarray, iterations: int
) -> tuple[np.ndarray, float, int]:
    """Fit from `theta` with XSPEC's present method, and leave the model at the best of start and fit.

    Parameters
    ----------
    module : module
    evaluator : Evaluator
    theta : ndarray (d,)
    iterations : int
        Where a fit stops at the latest; Fit.nIterations is restored afterwards.

    Returns
    -------
    best : ndarray (d,)
    statistic : float
    evaluations : int
        Exact on the embedded engine. XSPEC does not tell how often it computed the model: there it is the time the fit
        took in units of one whole evaluation, at least 2 (start and end). A fit recomputes only the components that
        changed, so this counts less than the model calls and as much as the work.
    """
    fit = module.Fit
    saved = fit.nIterations
    embedded = hasattr(module, "evaluate_batch")
    before = _count(module)
    _, start, reason = evaluator(theta)
    if reason:
        raise RuntimeError(f"The fit cannot start there: {reason}.")
    # The clock is set by a second evaluation elsewhere by a hair, so that XSPEC cannot answer from memory.
    unit = 0.0 if embedded else _seconds(evaluator, theta)
    begin = time.perf_counter()
    try:
        fit.nIterations = int(iterations)
        fit.perform()
    except Exception as error:  # PyXspec raises plain Exception, e.g. for more parameters than bins
        log.warning("XSPEC's own fit failed (%s): the best point found so far is kept, without a valid fit.", error)
    finally:
        if fit.nIterations != saved:
            fit.nIterations = saved
    spent = time.perf_counter() - begin
    best, statistic = evaluator.get(), float(fit.statistic)
    if not np.isfinite(statistic) or statistic > start or not np.isfinite(best).all():
        log.warning(
            "XSPEC's own fit ended at a statistic of %.6g, worse than its start %.6g: the start is kept, without "
            "a valid fit.", statistic, start,
        )  # fmt: skip
        evaluator.set(theta)
        best, statistic = np.array(theta), start
    evaluations = _count(module) - before if embedded else max(2, 2 + round(spent / max(unit, 1e-6)))
    return best, statistic, int(evaluations)


def _count(module: ModuleType) -> int:
    if not hasattr(module, "evaluate_batch"):
        return 0
    from xspec_sixsa.embedded.evaluate import evaluations

    return evaluations()


def _seconds(evaluator: Evaluator, theta: np.ndarray) -> float:
    """Seconds of one evaluation; the model is left at `theta`."""
    elsewhere = np.where(theta == 0.0, theta, theta * (1.0 - 1e-9))
    begin = time.perf_counter()
    try:
        evaluator(elsewhere)
    finally:
        seconds = time.perf_counter() - begin
        evaluator.set(theta)
    return seconds
