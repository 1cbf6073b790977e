"""A fit at the session's present values: whether it can be done, its statistic, and what it leaves behind."""

from __future__ import annotations

import logging

import numpy as np

from xspec_sixsa.embedded.compiled import Program, program
from xspec_sixsa.embedded.evaluate import current
from xspec_sixsa.embedded.levenberg import Minimum, curvature, linearise, minimise
from xspec_sixsa.embedded.parameterstate import ParameterState, bump_values
from xspec_sixsa.embedded.renorm import scale_norms
from xspec_sixsa.embedded.scoring import fit_statistic
from xspec_sixsa.embedded.state import LastFit, XspecError, session

__all__ = ["degrees_of_freedom", "fit", "last_fit", "present_statistic", "present_test_statistic", "ready", "refit",
           "simulated_parameters"]  # fmt: skip

logger = logging.getLogger(__name__)


def present_statistic() -> float:
    """Return the fit statistic at the present values; 0 without data or model, as in PyXspec."""
    if not session.spectra or not session.models:
        return 0.0
    present = current()
    if not present.program.parts:
        return 0.0
    return present.statistic


def present_test_statistic() -> float:
    """Return the test statistic at the present values; 0 without data or model."""
    if not session.spectra or not session.models:
        return 0.0
    present = current()
    total = 0.0
    for number, rate in zip(present.program.modelled, present.rates(), strict=True):
        total += float(fit_statistic(session.stat_test, session.spectra[number - 1], rate)[0])
    return total


def degrees_of_freedom() -> int:
    """Return the noticed bins of all modelled spectra minus the free parameters; 0 without data or model."""
    if not session.spectra or not session.models:
        return 0
    compiled = program()
    return sum(compiled.group_count(number) for number in compiled.modelled) - len(compiled.free)


def ready() -> Program:
    """Return the compiled session.

    Raises
    ------
    XspecError
        Naming what stands in the way of a fit: no data, no model, no free parameter, or more of them than bins.
    """
    if not session.spectra:
        raise XspecError("Error executing command: fit. Cannot fit: no data defined: load a Spectrum first.")
    compiled = program()
    if not compiled.parts:
        raise XspecError("Error executing command: fit. Cannot fit: No models are currently active: define "
                         "a Model first.")  # fmt: skip
    if not compiled.free:
        raise XspecError("Error executing command: fit. Cannot fit: no variable parameters: thaw one "
                         "(Parameter.frozen = False).")  # fmt: skip
    dof = degrees_of_freedom()
    if dof < 0:
        raise XspecError(f"Error executing command: fit. Cannot fit: {len(compiled.free)} free parameters for "
                         f"{dof + len(compiled.free)} bins.")  # fmt: skip
    return compiled


def fit() -> None:
    """Fit the free parameters, after a renormalisation unless `Fit.renorm` is "none".

    Raises
    ------
    XspecError
        As `ready`, or from a start where the statistic is not finite.
    """
    compiled = ready()
    if session.renorm != "none":
        scale_norms(compiled)
    theta = np.array([state.value for state in compiled.free])
    limit = session.fit_iterations if session.query == "no" else max(session.fit_iterations, 200)
    found = refit(compiled, theta, limit)
    if not found.converged and session.chatter > 0:
        logger.warning("The fit stopped after %d iterations without convergence (statistic %.6g).",
                       found.iterations, found.statistic)  # fmt: skip


def refit(compiled: Program, theta: np.ndarray, max_iterations: int) -> Minimum:
    """Minimise from a start, take the values over, and set covariance and sigmas.

    Parameters
    ----------
    compiled : Program
        From `ready`.
    theta : ndarray (d,)
        Where to start.
    max_iterations : int
        Bound on the number of iterations.
    """
    found = minimise(compiled, theta, max_iterations=max_iterations, tolerance=session.critical_delta)
    for state, value in zip(compiled.free, found.theta, strict=True):
        state.value = float(value)
    bump_values()
    _set_covariance(compiled, found)
    return found


def _set_covariance(compiled: Program, found: Minimum) -> None:
    """Compute covariance and sigmas at a minimum over all free parameters."""
    theta, pegged = found.theta, found.pegged
    covariance = np.zeros((len(theta), len(theta)))
    vary = np.flatnonzero(~pegged)
    if len(vary):
        model = found.linearised or linearise(compiled, theta, np.arange(len(theta)), found.rates)
        half = curvature(compiled, theta, model)[np.ix_(vary, vary)]
        scale = np.sqrt(np.where(np.diag(half) > 0.0, np.diag(half), 1.0))
        # A singular value below 1e-12 of the largest is dropped, as XSPEC's fit does, rather than inverted.
        inverse = np.linalg.pinv(half / np.outer(scale, scale), rcond=1.0e-12, hermitian=True)
        covariance[np.ix_(vary, vary)] = inverse / np.outer(scale, scale)
    for k, state in enumerate(compiled.free):
        state.sigma = -1.0 if pegged[k] else float(np.sqrt(max(covariance[k, k], 0.0)))
    session.last_fit = LastFit(list(compiled.free), theta, covariance)


def last_fit() -> LastFit:
    """Return what the last fit found.

    Raises
    ------
    XspecError
        Before the first fit.
    """
    if session.last_fit is None:
        raise XspecError("Error: there is no covariance: run Fit.perform() first.")
    return session.last_fit


def simulated_parameters() -> tuple[float, ...]:
    """Return all parameters, by model and index, at one draw of the free ones from the last fit's covariance."""
    found = last_fit()
    draw = session.generator.multivariate_normal(found.theta, found.covariance)
    columns = {id(state): float(np.clip(value, state.hard_min, state.hard_max))
               for state, value in zip(found.states, draw, strict=True)}  # fmt: skip

    def of(state: ParameterState) -> float:
        return state.link.value(of) if state.link is not None else columns.get(id(state), state.value)

    return tuple(float(of(state)) for record in session.models.values() for state in record.states)
