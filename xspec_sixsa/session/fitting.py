"""XSPEC's own short fit, from a point that is good already, and the best fit that priors allow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from xspec_sixsa.session.evaluator import Evaluator
from xspec_sixsa.session.measure import Measure, Values

__all__ = ["NO_FIT", "BestFit", "best_fit", "native_fit"]

log = logging.getLogger(__name__)

NO_FIT = "no fit in XSPEC: "
"""How the reason begins why XSPEC is left without a valid fit."""
AT_ONCE, GAIN = 3, 0.1  # iterations of a fit, and what they must gain in statistic to be followed by more
ROUNDING = 1e-9  # of a statistic: a fit that begins at the best may end there by other sums
NO_GAIN = 1e6  # in statistic: a fit that has converged whatever it gains, and leaves XSPEC with a valid fit
AT_LIMIT = 1e-6  # of the limit: a fit that ends closer to it was held there

Trial = Callable[[np.ndarray, Measure, int, Callable[[], None]], Values]


@dataclass(frozen=True)
class BestFit:
    """Where the model is left.

    Attributes
    ----------
    theta : ndarray (d,)
    statistic : float
    evaluations : int
        As `native_fit` counts them.
    complaint : str
        Why XSPEC has no valid fit there, beginning with `NO_FIT`; empty where it has one.
    """

    theta: np.ndarray
    statistic: float
    evaluations: int
    complaint: str = ""


def best_fit(
    module: ModuleType, evaluator: Evaluator, trial: Trial, theta: np.ndarray, iterations: int, support: np.ndarray
) -> BestFit:
    """Fit within `support`, and leave the model at the best point, with a valid fit of XSPEC's where it can have one.

    XSPEC's fit knows nothing of priors, may be led by a link to where the model fails, and then ends the whole program
    ("Spectrum array size mismatch"). So it is tried apart first, with the parameters' limits narrowed to the priors'.

    Parameters
    ----------
    trial : callable
        `Backend.measure`: in a child process on real XSPEC; the session is as before afterwards.
    theta : ndarray (d,)
        Where it starts, within `support`.
    iterations : int
    support : ndarray (d, 2)
        Least and greatest value of each parameter under its prior.
    """
    hard = evaluator.hard_limits
    low, high = np.clip(support, hard[:, :1], hard[:, 1:]).T

    def apart() -> np.ndarray:
        best, statistic, spent = native_fit(module, evaluator, theta, iterations)
        # the fit may have ended on a spectrum that it only kept
        _, statistic, reason = evaluator(best)
        if reason:
            raise ValueError(reason)
        return np.array([*best, statistic, spent + 1])

    values, reasons = trial(theta[None], apart, len(theta) + 2, lambda: evaluator.limit(theta, low, high))
    if reasons[0]:
        _, statistic, reason = evaluator(theta)
        why = f"{NO_FIT}it was tried apart and failed ({reasons[0]}), so the best draw stands"
        return BestFit(theta, statistic, 2, why + (f"; there {reason}" if reason else ""))
    best, statistic, spent = values[0, :-2], float(values[0, -2]), int(values[0, -1])
    held = _held(evaluator, best, low, high)
    if not held:
        found, reached, more = native_fit(module, evaluator, best, 1, NO_GAIN)  # it was fitted
        spent += more
        held = _beyond(evaluator, found, low, high)
        if not held:
            return BestFit(found, reached, spent)
    evaluator.set(best)
    return BestFit(
        best, statistic, spent + 1,
        f"{NO_FIT}the likelihood is highest outside the priors ({held}), and the best fit is the best within them; "
        "`flux err` and `eqwidth err` need a fit, so widen the prior where it has no reason to end there",
    )  # fmt: skip


def _held(evaluator: Evaluator, best: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Which parameters ended at a limit that is their prior's, not XSPEC's own."""
    hard, found = evaluator.hard_limits, []
    for k, name in enumerate(evaluator.names):
        for limit, own, side in ((low[k], hard[k, 0], "lower"), (high[k], hard[k, 1], "upper")):
            scale = abs(limit) if limit else min(high[k] - low[k], 1.0)
            if limit != own and np.isfinite(limit) and abs(best[k] - limit) <= AT_LIMIT * scale:
                found.append(f"{name} at its prior's {side} limit {limit:g}")
    return ", ".join(found)


def _beyond(evaluator: Evaluator, best: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    return ", ".join(
        f"{name} = {best[k]:g}, its prior from {low[k]:g} to {high[k]:g}"
        for k, name in enumerate(evaluator.names)
        if not low[k] <= best[k] <= high[k]
    )


def native_fit(
    module: ModuleType, evaluator: Evaluator, theta: np.ndarray, iterations: int, delta: float | None = None
) -> tuple[np.ndarray, float, int]:
    """Fit from `theta` with XSPEC's present method, and leave the model at the best of start and fit.

    Parameters
    ----------
    module : module
    evaluator : Evaluator
    theta : ndarray (d,)
    iterations : int
        Where a fit stops at the latest: along a valley it would creep on for next to nothing, so it stops before where
        three iterations gain no more than 0.1. Fit.nIterations is restored afterwards.
    delta : float, optional
        Gain in statistic from which an iteration is not the last; default: Fit.criticalDelta as it is.

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
    saved, chatter = (fit.nIterations, fit.criticalDelta), module.Xset.chatter
    embedded = hasattr(module, "evaluate_batch")
    before = _count(module)
    _, start, reason = evaluator(theta)
    if reason:
        raise RuntimeError(f"The fit cannot start there: {reason}.")
    # The clock is set by a second evaluation elsewhere by a hair, so that XSPEC cannot answer from memory.
    unit = 0.0 if embedded else _seconds(evaluator, theta)
    begin = time.perf_counter()
    try:
        if embedded:
            module.Xset.chatter = 0  # or each part would warn that it is not the last
        if delta is not None:
            fit.criticalDelta = delta
        for done in range(0, iterations, AT_ONCE):
            fit.nIterations = min(AT_ONCE, iterations - done)
            reached = float(fit.statistic)
            fit.perform()
            if not reached - float(fit.statistic) > GAIN:
                break
        else:
            log.warning(
                "XSPEC's own fit has not converged after %d iterations (statistic %.6g).", iterations, fit.statistic
            )
    except Exception as error:  # PyXspec raises plain Exception, e.g. for more parameters than bins
        log.warning("XSPEC's own fit failed (%s): the best point found so far is kept, without a valid fit.", error)
    finally:
        if (fit.nIterations, fit.criticalDelta) != saved:
            fit.nIterations, fit.criticalDelta = saved
        if embedded:
            module.Xset.chatter = chatter
    spent = time.perf_counter() - begin
    best, statistic = evaluator.get(), float(fit.statistic)
    if not np.isfinite(statistic) or statistic > start + ROUNDING * max(abs(start), 1.0) or not np.isfinite(best).all():
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
