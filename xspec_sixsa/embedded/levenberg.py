"""Levenberg-Marquardt minimisation of the fit statistic, within the hard limits.

The folded model is linearised about the present point (central differences of one batched evaluation); the
statistic's own first and second derivatives in the folded rates come from autograd, bin by bin.  That is the
Gauss-Newton step with Poisson weights for cstat and its relatives, and the ordinary one for chi
(More 1978; XSPEC manual, appendix B).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from xspec_sixsa.embedded.compiled import Program
from xspec_sixsa.embedded.evaluate import area_time, evaluate
from xspec_sixsa.embedded.scoring import fit_statistic
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["Linearised", "Minimum", "curvature", "linearise", "minimise"]

logger = logging.getLogger(__name__)

STEP = 1.0e-5
"""Relative step of the central differences: near the cube root of the float64 precision."""
DAMPINGS = (0.1, 1.0, 10.0, 1.0e3)
"""Factors on the damping: the first is tried alone, the others together in one batch where it disappoints."""
RADII = (0.1, 0.3, 1.0, 3.0)
"""Trust-region radii tried in the same batch, in units of the largest single step (`_reach`)."""

NOTHING = 0.01
"""Share of the tolerance that is not worth a step: of XSPEC's 0.01, what a hundredth of an uncertainty changes."""

KEPT = 0.5
"""Share of the promised gain from which a step is taken without trying others."""


@dataclass(frozen=True)
class Linearised:
    """The folded model about a point.

    Attributes
    ----------
    vary : ndarray of int (d',)
        Which parameters it is linearised in.
    rates, slopes : list of Tensor
        Folded rates (m,) and their derivatives (m, d'), by spectrum.
    """

    vary: np.ndarray
    rates: list[Tensor]
    slopes: list[Tensor]


@dataclass
class Minimum:
    """Where a minimisation ended.

    Attributes
    ----------
    theta : ndarray (d,)
    statistic : float
    iterations : int
    converged : bool
    rates : list of Tensor (m,)
        Folded rates there, by spectrum.
    pegged : ndarray of bool (d,)
        Parameters held at a hard limit with the statistic falling beyond it.
    linearised : Linearised or None
        About there, where no step followed on it.
    """

    theta: np.ndarray
    statistic: float
    iterations: int
    converged: bool
    rates: list[Tensor]
    pegged: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    linearised: Linearised | None = None


def _bounds(program: Program) -> tuple[np.ndarray, np.ndarray]:
    return (np.array([s.hard_min for s in program.free]), np.array([s.hard_max for s in program.free]))


def linearise(program: Program, theta: np.ndarray, vary: np.ndarray, rates: list[Tensor]) -> Linearised:
    """Take the derivatives of the folded rates at a point, whose rates (m,) are known, in the varied parameters."""
    low, high = _bounds(program)
    deltas = np.array([s.delta for s in program.free])
    steps = STEP * np.where(theta != 0.0, np.abs(theta), deltas)
    rows, spans = [], []
    for k in vary:
        up, down = theta.copy(), theta.copy()
        up[k], down[k] = min(theta[k] + steps[k], high[k]), max(theta[k] - steps[k], low[k])
        rows += [up, down]
        spans.append(up[k] - down[k] or 1.0)
    with torch.no_grad():
        folded = evaluate(np.array(rows), statistic=False).folded
    scale = torch.tensor(spans, dtype=torch.float64)
    return Linearised(vary, rates, [((rate[0::2] - rate[1::2]) / scale[:, None]).T for rate in folded])


def _statistic_derivatives(number: int, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and second derivatives of one spectrum's statistic in its folded rates, bin by bin."""
    spectrum = session.spectra[number - 1]
    with torch.enable_grad():
        variable = rate.detach().clone().requires_grad_(True)
        value = fit_statistic(spectrum.statMethod, spectrum, variable[None, :]).sum()
        (first,) = torch.autograd.grad(value, variable, create_graph=True)
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.sum(), variable)
        else:
            second = torch.zeros_like(first)
    return first.detach(), second.detach()


def _prior_derivatives(program: Program, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.enable_grad():
        row = torch.tensor(theta[None, :], dtype=torch.float64, requires_grad=True)
        term = program.prior_term(program.values(row))
        if not isinstance(term, Tensor) or not term.requires_grad:
            return np.zeros(len(theta)), np.zeros(len(theta))
        (first,) = torch.autograd.grad(term.sum(), row, create_graph=True)
        if not first.requires_grad:
            return first.detach()[0].numpy(), np.zeros(len(theta))
        (second,) = torch.autograd.grad(first.sum(), row)
    return first.detach()[0].numpy(), second[0].numpy()


def _normal_equations(
    program: Program, theta: np.ndarray, model: Linearised, observed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient (d',) and approximate second derivatives (d', d') of the statistic."""
    vary = model.vary
    gradient, hessian = np.zeros(len(vary)), np.zeros((len(vary), len(vary)))
    for number, rate, slope in zip(program.modelled, model.rates, model.slopes, strict=True):
        first, second = _statistic_derivatives(number, rate)
        if not observed and session.spectra[number - 1].statMethod != "chi":
            # Far from the minimum the observed curvature 2S/m^2 of a Poisson bin is useless (it explodes where the
            # model is low); its expectation 2t/m is not.  Backgrounds flatten it, hence the lower bound only.
            expected = 2.0 * area_time(session.spectra[number - 1]) / rate.clamp(min=1.0e-30)
            second = torch.minimum(second.clamp(min=0.0) if _has_background(number) else expected, expected)
            second = torch.maximum(second, 1.0e-3 * expected)
        good = torch.isfinite(first) & torch.isfinite(second) & torch.isfinite(slope).all(dim=1)
        first, second = torch.where(good, first, 0.0), torch.where(good, second, 0.0).clamp(min=0.0)
        slope = torch.where(good[:, None], slope, 0.0)
        gradient += (slope.T @ first).numpy()
        hessian += (slope.T @ (second[:, None] * slope)).numpy()
    first_prior, second_prior = _prior_derivatives(program, theta)
    gradient += first_prior[vary]
    hessian[np.diag_indices(len(vary))] += np.maximum(second_prior[vary], 0.0)
    return gradient, hessian


def _has_background(number: int) -> bool:
    return bool(session.spectra[number - 1].has_background)


def minimise(
    program: Program,
    theta: np.ndarray,
    vary: np.ndarray | None = None,
    max_iterations: int = 100,
    tolerance: float = 1.0e-6,
) -> Minimum:
    """Minimise the statistic over some of the free parameters.

    Parameters
    ----------
    program : Program
        From `evaluate.program`.
    theta : ndarray (d,)
        Where to start; not changed.
    vary : ndarray of int, optional
        Which to vary (default all).
    max_iterations : int
        Bound on the number of accepted steps (default 100).
    tolerance : float
        Change of the statistic below which a step counts as the last (default 1e-6).

    Raises
    ------
    XspecError
        Where the statistic is not finite at the start.
    """
    low, high = _bounds(program)
    theta = np.clip(np.array(theta, dtype=float), low, high)
    vary = np.arange(len(theta)) if vary is None else np.asarray(vary, dtype=int)
    with torch.no_grad():
        present = evaluate(theta[None, :])
    best, rates = float(present.statistic[0]), [rate[0] for rate in present.folded]
    if not np.isfinite(best):
        raise XspecError(
            f"Error: Unable to fit when starting with fit statistic = {best}: give starting values "
            "where the model is finite and positive."
        )
    damping, converged, iteration = 1.0e-3, not len(vary), 0
    pegged = np.zeros(len(theta), bool)
    model = None
    while not converged and iteration < max_iterations:
        iteration += 1
        model = linearise(program, theta, vary, rates)
        gradient, hessian = _normal_equations(program, theta, model, observed=False)
        at_low, at_high = theta[vary] <= low[vary], theta[vary] >= high[vary]
        held = (at_low & (gradient > 0.0)) | (at_high & (gradient < 0.0))
        pegged[:] = False
        pegged[vary[held]] = True
        loose = np.flatnonzero(~held)
        step_taken = False
        if not len(loose):
            converged = True
            break
        promised = _gain(gradient[loose], hessian[np.ix_(loose, loose)])
        if promised <= NOTHING * tolerance:
            converged = True
            break
        while damping < 1.0e14:
            near, far = _reach(program, theta)
            first, *others = (damping * factor for factor in DAMPINGS)
            trials = [_trial(theta, vary, loose, gradient, hessian, first, near, far)]
            tried = [_try(trials)]
            if not best - tried[0][0].min() >= KEPT * promised:
                more = [_trial(theta, vary, loose, gradient, hessian, other, near, far) for other in others]
                more += _trust_trials(theta, vary, loose, gradient, hessian, near, far)
                trials, tried = trials + more, [*tried, _try(more)]
            statistics = np.concatenate([values for values, _ in tried])
            winner = int(np.argmin(statistics))
            if statistics[winner] < best:
                gained, best, theta = best - statistics[winner], float(statistics[winner]), trials[winner]
                rates = [torch.cat(spectrum)[winner] for spectrum in zip(*(folded for _, folded in tried), strict=True)]
                if winner < len(DAMPINGS):
                    damping = max(damping * DAMPINGS[winner], 1.0e-12)
                step_taken, model = True, None
                break
            damping *= 1.0e4
        # where no direction lowers it, it is a minimum to the precision of the numbers
        converged = not step_taken or gained <= tolerance
        logger.debug("iteration %d: statistic %.8g, damping %.1e", iteration, best, damping)
    return Minimum(theta, best, iteration, converged, rates, pegged, model)


def _try(trials: list[np.ndarray]) -> tuple[np.ndarray, list[Tensor]]:
    """Return the statistics (n,) of trials, infinite where they are none, and their folded rates (n, m)."""
    with torch.no_grad():
        result = evaluate(np.array(trials))
    statistics = result.statistic.numpy()
    return np.where(np.isfinite(statistics), statistics, np.inf), result.folded


def _gain(gradient: np.ndarray, hessian: np.ndarray) -> float:
    """Return by how much the whole step would lower the statistic, were it the paraboloid that it seems."""
    scale = np.sqrt(np.where(np.diag(hessian) > 0.0, np.diag(hessian), 1.0))
    inverse = np.linalg.pinv(hessian / np.outer(scale, scale), rcond=1.0e-12, hermitian=True)
    scaled = gradient / scale
    return 0.5 * float(scaled @ inverse @ scaled)


def _reach(program: Program, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far one step may go: within the hard limits, and not so far that a component is lost for good.

    A norm driven to zero, or a temperature to its limit, no longer changes the spectrum and would never come back.
    """
    low, high = _bounds(program)
    deltas = np.array([s.delta for s in program.free])
    norms = np.array([s.norm for s in program.free])
    span = np.maximum(0.5 * np.abs(theta), 50.0 * deltas)
    down = np.where(norms & (theta > 0.0), 0.75 * theta, span)
    up = np.where(norms, np.where(theta > 0.0, 9.0 * theta, np.inf), span)
    return np.maximum(low, theta - down), np.minimum(high, theta + up)


def _trial(
    theta: np.ndarray,
    vary: np.ndarray,
    loose: np.ndarray,
    gradient: np.ndarray,
    hessian: np.ndarray,
    damping: float,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Return a damped step, parameters that would leave `low` to `high` stopped there and the rest solved again."""
    target = theta.copy()
    active = loose.copy()
    offset = np.zeros(len(vary))
    for _ in range(len(loose)):
        if not len(active):
            break
        block = hessian[np.ix_(active, active)]
        diagonal = np.diag(block).copy()
        scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        stopped = np.setdiff1d(loose, active)
        right = -(gradient[active] + hessian[np.ix_(active, stopped)] @ offset[stopped])
        normal = block / np.outer(scale, scale) + damping * np.eye(len(active))
        solution = np.linalg.lstsq(normal, right / scale, rcond=1.0e-14)[0] / scale
        flat = diagonal <= 0.0
        solution[flat] = 0.0
        offset[active] = solution
        wanted = theta[vary[active]] + solution
        beyond = (wanted < low[vary[active]]) | (wanted > high[vary[active]])
        if not beyond.any():
            break
        limited = active[beyond]
        offset[limited] = np.clip(wanted[beyond], low[vary[limited]], high[vary[limited]]) - theta[vary[limited]]
        active = active[~beyond]
    target[vary] += offset
    return np.clip(target, low, high)


def _trust_trials(
    theta: np.ndarray,
    vary: np.ndarray,
    loose: np.ndarray,
    gradient: np.ndarray,
    hessian: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
) -> list[np.ndarray]:
    """Return steps of bounded length, measured parameter by parameter in what one step may change at most.

    Marquardt's scaling lets a parameter that hardly matters yet (the temperature of a component of tiny norm) run
    away; this one does not.
    """
    free = vary[loose]
    down, up = theta[free] - near[free], far[free] - theta[free]
    reach = np.where(np.isfinite(up), np.maximum(down, up), np.maximum(down, 1.0))
    reach = np.where(reach > 0.0, reach, 1.0e-300)
    values, vectors = np.linalg.eigh(hessian[np.ix_(loose, loose)] * np.outer(reach, reach))
    values = np.maximum(values, 0.0)
    slope = vectors.T @ (gradient[loose] * reach)
    trials = []
    for radius in RADII:
        low, high = 0.0, 1.0
        top = max(float(values[-1]), 1.0e-300)
        if np.linalg.norm(slope / (values + 1.0e-14 * top)) > radius:
            low, high = np.log(1.0e-14 * top), np.log(max(float(np.linalg.norm(slope)) / radius, top) * 10.0)
            for _ in range(60):
                middle = 0.5 * (low + high)
                longer = np.linalg.norm(slope / (values + np.exp(middle))) > radius
                low, high = (middle, high) if longer else (low, middle)
            shift = np.exp(high)
        else:
            shift = 1.0e-14 * top
        target = theta.copy()
        target[free] -= reach * (vectors @ (slope / (values + shift)))
        trials.append(np.clip(target, near, far))
    return trials


def curvature(program: Program, theta: np.ndarray, model: Linearised) -> np.ndarray:
    """Return half the second derivatives (d', d') of the statistic, with observed weights, as XSPEC's covariance."""
    return 0.5 * _normal_equations(program, np.asarray(theta, float), model, observed=True)[1]
