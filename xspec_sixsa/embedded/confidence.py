"""Confidence ranges by profile: `Fit.error`."""

from __future__ import annotations

import logging
import re

import numpy as np

from xspec_sixsa.embedded.compiled import Program
from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.fitting import degrees_of_freedom, last_fit, present_statistic, ready, refit
from xspec_sixsa.embedded.levenberg import minimise
from xspec_sixsa.embedded.loadedchain import in_sync, interval
from xspec_sixsa.embedded.parameterstate import ParameterState
from xspec_sixsa.embedded.show import parameter_range
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["profile_bound", "run_error"]

logger = logging.getLogger(__name__)

TOLERANCE = 0.01
"""How near the statistic must come to the wanted increase (XSPEC's own default)."""


class _NewMinimum(Exception):
    """The profile went below the best fit; carries the better point."""

    def __init__(self, theta: np.ndarray) -> None:
        super().__init__("new minimum")
        self.theta = theta


def profile_bound(
    program: Program,
    theta: np.ndarray,
    best: float,
    k: int,
    direction: int,
    delta: float,
    step: float,
    trials: int = 20,
    tolerance: float = TOLERANCE,
) -> tuple[float, str]:
    """Find where the profile of one parameter has risen by `delta`.

    Parameters
    ----------
    program, theta, best
        Compiled session, best-fit values (d,) and their statistic.
    k : int
        Which free parameter.
    direction : int
        -1 for the lower bound, +1 for the upper.
    delta : float
        Rise of the statistic (2.706 for 90 per cent of one parameter).
    step : float
        First guess of the distance.

    Returns
    -------
    bound : float
        0 where the hard limit was reached first, as XSPEC reports it.
    status : str
        ``""``, ``"limit"`` or ``"failed"``.
    """
    state = program.free[k]
    limit = state.hard_min if direction < 0 else state.hard_max
    others = np.array([j for j in range(len(theta)) if j != k], dtype=int)
    start = theta.copy()

    def rise(value: float) -> float:
        nonlocal start
        point = start.copy()
        point[k] = value
        result = minimise(program, point, others, max_iterations=50, tolerance=1.0e-4)
        if result.statistic < best - 1.0e-3:
            raise _NewMinimum(result.theta)
        start = result.theta
        return result.statistic - best - delta

    inner, f_inner = theta[k], -delta
    outer = theta[k] + direction * step
    for _ in range(60):
        outer = max(outer, limit) if direction < 0 else min(outer, limit)
        f_outer = rise(outer)
        if abs(f_outer) < tolerance:
            return float(outer), ""
        if f_outer > 0.0:
            break
        if outer == limit:
            return 0.0, "limit"
        # The profile is nearly a parabola about the best fit: aim there, at least half as far again.
        risen = max(f_outer + delta, 1.0e-12)
        inner, f_inner = outer, f_outer
        distance = abs(outer - theta[k])
        outer = theta[k] + direction * distance * float(np.clip(np.sqrt(delta / risen) * 1.05, 1.3, 8.0))
    else:
        return 0.0, "failed"
    for _ in range(max(trials, 40)):
        # Interpolate the square root of the rise, which is nearly straight, kept inside the bracket.
        low, high = np.sqrt(max(f_inner + delta, 0.0)), np.sqrt(f_outer + delta)
        share = (np.sqrt(delta) - low) / (high - low) if high > low else 0.5
        middle = inner + float(np.clip(share, 0.02, 0.98)) * (outer - inner)
        f_middle = rise(middle)
        if abs(f_middle) < tolerance:
            return float(middle), ""
        if f_middle > 0.0:
            outer, f_outer = middle, f_middle
        else:
            inner, f_inner = middle, f_middle
        if abs(outer - inner) <= 1.0e-10 * max(abs(outer), 1.0e-300):
            return float(middle), ""
    return float(middle), "failed"


def _arguments(text: str) -> tuple[float, float, int, float, str]:
    """Read XSPEC's argument string: (delta, largest reduced chi, trials, tolerance, parameter ranges)."""
    words = text.replace(",", " , ").split()
    delta, largest, trials, tolerance = session.error_delta, 2.0, 20, TOLERANCE
    place = 0
    while place < len(words):
        word = words[place].lower()
        if word.startswith("stop"):
            fields, place, commas = [""], place + 1, 0
            while place < len(words) and commas < 3 and len(fields) <= 2:
                if words[place] == ",":
                    commas += 1
                    fields.append("")
                elif not fields[-1]:
                    fields[-1] = words[place]
                    if len(fields) == 2 or (place + 1 < len(words) and words[place + 1] != ","):
                        if len(fields) == 2:
                            place += 1
                            break
                        fields.append("")
                place += 1
            trials = int(fields[0]) if fields[0] else trials
            tolerance = float(fields[1]) if len(fields) > 1 and fields[1] else tolerance
        elif word.startswith("max"):
            if place + 1 >= len(words):
                raise XspecError("Error: 'error maximum' needs a number: the largest reduced chi-squared.")
            largest = float(words[place + 1])
            place += 2
        elif re.fullmatch(r"(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][-+]?\d+)", word):
            delta = float(word)
            place += 1
        elif word == ",":
            place += 1
        else:
            break
    ranges = " ".join(word for word in words[place:] if word != ",")
    return delta, largest, trials, tolerance, ranges


def run_error(text: str) -> None:
    """Carry out an `error` command: from the loaded chains where they are in sync, else by profiling the statistic.

    Raises
    ------
    XspecError
        Before a fit, for a parameter range that does not exist, or where the reduced chi-squared is too large.
    """
    try:
        delta, largest, trials, tolerance, ranges = _arguments(text)
    except ValueError:
        raise XspecError(f'Error: error {text!r} cannot be read: for instance "2.706 1-3".') from None
    session.error_delta = delta
    program = ready()
    wanted = [state for _, state in parameter_range(ranges or "1")]
    from_chains = in_sync()
    if from_chains:
        report("Errors calculated from chains")
    else:
        last_fit()
    if not from_chains:
        _check_reduced_chi(wanted, largest)
    report(f" Parameter   Confidence Range ({delta:g})")
    for state in wanted:
        if not state.free:
            state.error = (0.0, 0.0, "FFFFFTFFF")
            report(
                f" {state.global_index:>6}  *** is not a variable model parameter "
                "and no confidence range is calculated."
            )
            continue
        if from_chains:
            state.error = (*interval(state.global_index, delta, state.record.name), "FFFFFFFFF")
        else:
            k = next(i for i, other in enumerate(program.free) if other is state)
            state.error = _both_bounds(program, k, delta, trials, tolerance)
        low, high, _ = state.error
        value = state.value
        report(
            f" {state.global_index:>6} {low:>12.6g} {high:>12.6g}    "
            f"({low - value if low else 0.0:.6g},{high - value if high else 0.0:.6g})"
        )


def _check_reduced_chi(wanted: list[ParameterState], largest: float) -> None:
    """Refuse, as XSPEC does, ranges about a fit so bad that they would mean nothing."""
    dof = degrees_of_freedom()
    if session.spectra[0].statMethod != "chi" or dof <= 0:
        return
    reduced = present_statistic() / dof
    if reduced > largest:
        for state in wanted:
            state.error = (0.0, 0.0, "FFFFFFFFT")
        raise XspecError(f"Error: Cannot do error calc: Reduced Chi^2 (= {reduced:.6g}) > maximum ({largest:g}). "
                         f"Use for instance Fit.error(\"maximum {reduced * 1.5:.3g} ...\").")  # fmt: skip


def _both_bounds(program: Program, k: int, delta: float, trials: int, tolerance: float) -> tuple[float, float, str]:
    found_new = False
    for _ in range(5):
        theta = np.array([state.value for state in program.free])
        best = present_statistic()
        state = program.free[k]
        step = state.sigma * np.sqrt(delta) if state.sigma > 0.0 else state.delta
        try:
            low, low_status = profile_bound(program, theta, best, k, -1, delta, step, trials, tolerance)
            high, high_status = profile_bound(program, theta, best, k, +1, delta, step, trials, tolerance)
        except _NewMinimum as better:
            found_new = True
            found = refit(program, better.theta, max_iterations=200)
            logger.warning("A new best fit was found while stepping %s: statistic %.6g.", state.label, found.statistic)
            continue
        flags = [
            found_new,
            False,
            False,
            low_status == "limit",
            high_status == "limit",
            False,
            low_status == "failed",
            high_status == "failed",
            False,
        ]
        return low, high, "".join("T" if flag else "F" for flag in flags)
    return 0.0, 0.0, "TFTFFFTTF"
