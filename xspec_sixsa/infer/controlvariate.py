"""Many emulated draws, corrected by few exact ones: the emulated posterior as a control variate.

Of N draws u of a proposal q the exact likelihood L is known, and of M >> N the emulated one, L_e. Any expectation under
the exact posterior is that under the emulated one plus a correction that the N draws measure, and whose scatter is that
of ``L / L_e`` alone (Owen 2013, Monte Carlo theory, methods, examples, section 8.9). The correction is carried by the
emulated draws' weights: ``log(L / L_e)`` is regressed on a quadratic in the parameters, so that evidence, means and
covariances are the exact draws', and whatever else is read off the draws follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.importance import effective_sample_size, log_evidence
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.result.weighted import weighted_quantile

__all__ = ["MOST_EXACT", "ControlVariate", "control_variate", "corrected_draws"]

Points = NDArray[np.float64]

RIDGE = 1e-3  # of the features' own scatter
LEAST = 5  # exact draws for each coefficient of a quadratic; with fewer the correction is linear
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of every parameter's posterior, whose remaining error is measured
ENOUGH = 0.95  # of the wanted effective samples: their own number scatters
MOST_EXACT = 0.5  # exact draws to a wanted effective sample from which all draws may as well be exact
TOO_LARGE = 0.5  # of its statistical error, that a quantile may still be off


@dataclass(frozen=True, eq=False)
class ControlVariate:
    """Emulated draws whose weights carry the exact draws' correction.

    Attributes
    ----------
    u : ndarray, shape (m, d)
        Points of the unit cube.
    log_likelihood, log_density : ndarray, shape (m,)
        Emulated and corrected; of the proposal.
    exact : int
        Exact evaluations that the correction rests on.
    ess : float
        ``exact / var(L / corrected L_e)``, relative to its mean, at most the draws' own.
    log_z, log_z_err : float
    shift : float
        The largest change of a quantile's probability that the correction made, in units of its statistical error.
    remaining : float
        The largest such difference that exact draws still show after it, beyond what their number explains.
    """

    u: Points
    log_likelihood: Points
    log_density: Points
    exact: int
    ess: float
    log_z: float
    log_z_err: float
    shift: float
    remaining: float

    @property
    def log_weights(self) -> Points:
        """Natural logarithms, (m,)."""
        return self.log_likelihood - self.log_density

    @property
    def is_small(self) -> bool:
        """Whether what the correction leaves is small against the statistical error."""
        return self.remaining < TOO_LARGE

    def is_enough(self, wanted: float) -> bool:
        """Whether it can stand for so many effective samples."""
        return self.is_small and self.ess >= ENOUGH * wanted

    def more(self, wanted: float) -> float:
        """How many times as many exact draws it needs for so many effective samples, where it is not enough."""
        return 1.1 * max(wanted / self.ess, 1.3)


def corrected_draws(
    draws: FinalDraws, problem: Problem, stage: str, log_likelihood: Callable[[Points], Points]
) -> ControlVariate | None:
    """Emulated draws for the wanted effective samples, corrected by exact ones.

    Parameters
    ----------
    draws : FinalDraws
        Exact ones; they are extended where the correction needs more.
    problem : Problem
    stage : str
        Of the evaluations.
    log_likelihood : callable
        Emulated, of points (n, d), shape (n,).

    Returns
    -------
    ControlVariate or None
        None where so many would have to be exact that all may as well be.
    """
    wanted = problem.settings.target_ess
    while True:
        task = problem.progress.task("correcting emulated draws", 1, "ensemble")
        with problem.streams.torch(f"{stage} corrected", len(draws)), task:
            found = control_variate(draws, log_likelihood, wanted)
        if found.is_enough(wanted):
            return found
        needed = int(len(draws) * found.more(wanted))
        if needed > MOST_EXACT * wanted or needed - len(draws) > problem.left:
            return None
        draws.extend(problem, stage, needed - len(draws))


def control_variate(
    draws: FinalDraws, log_likelihood: Callable[[Points], Points], wanted: float, own_rate: float | None = None
) -> ControlVariate:
    """Correct emulated draws by exact ones.

    Draws from torch's default generator.

    Parameters
    ----------
    draws : FinalDraws
        Exact ones.
    log_likelihood : callable
        Emulated, of points (n, d), shape (n,).
    wanted : float
        Effective samples.
    own_rate : float, optional
        Effective emulated samples per draw of the draws' proposal; default: as of the exact draws. To be given where
        these come from a mixture of which the proposal is a part.
    """
    proposal = draws.frozen.proposal
    emulated = log_likelihood(draws.u)
    known = np.isfinite(draws.log_likelihood)
    difference = draws.log_likelihood[known] - emulated[known]
    base = emulated - draws.log_density
    w = np.exp(base - base.max())
    rate = effective_sample_size(base) / len(base)
    effective = len(draws) * rate
    u = proposal.draw(int(1.05 * wanted / max(own_rate or rate, 0.01)) + 1)
    density, values = proposal.log_density(u), log_likelihood(u)
    whitening = Whitening.of(draws.u[known], w[known])
    d, shares = draws.u.shape[1], w[known] / w[known].sum()
    quadratic = d + d * (d + 1) // 2 <= effective / LEAST
    features = _features(whitening.forward(draws.u[known]), quadratic)
    centre, mean = shares @ features, float(shares @ difference)
    features -= centre
    gram = features.T @ (shares[:, None] * features)
    slope = np.linalg.solve(gram + RIDGE * np.diag(np.diag(gram)), features.T @ (shares * (difference - mean)))

    def corrected(points: Points, emulated: Points) -> Points:
        return emulated + mean + (_features(whitening.forward(points), quadratic) - centre) @ slope

    control, found = corrected(draws.u, emulated), corrected(u, values)
    log_weights = found - density
    # what the correction misses: exact over corrected weights, draw by draw
    left = np.where(known, np.exp(np.minimum(draws.log_likelihood - control, 50.0)), 0.0)
    own = np.exp(control - draws.log_density - base.max())
    own /= own.sum()
    ratio = float(own @ left)
    variance = float(own @ (left / ratio - 1) ** 2) * effective / max(effective - len(slope) - 1, 1.0)
    own_ess = effective_sample_size(log_weights)
    ess = min(own_ess, effective / max(variance, 1e-12))
    log_z_m, log_z_err_m = log_evidence(log_weights)
    err = float(np.hypot(log_z_err_m, np.hypot(np.sqrt(variance / effective), draws.frozen.density_err)))
    shift, remaining = 0.0, 0.0
    weights = np.exp(log_weights - log_weights.max())
    before = np.exp(values - density - (values - density).max())
    for column in range(d):
        x = u[:, column]
        for q, at in zip(QUANTILES, weighted_quantile(x, QUANTILES, weights), strict=True):
            error = np.sqrt(q * (1 - q) / ess)
            shift = max(shift, abs(before[x <= at].sum() / before.sum() - q) / error)
            missed = float(own @ ((left / ratio - 1) * ((draws.u[:, column] <= at) - q)))
            noise = np.sqrt(variance * q * (1 - q) / effective)
            remaining = max(remaining, (abs(missed) - 3 * noise) / error)
    return ControlVariate(
        u, found, density, len(draws), float(ess), float(log_z_m + np.log(ratio)), err, float(shift), float(remaining)
    )


def _features(w: Points, quadratic: bool) -> Points:
    if not quadratic:
        return w
    i, j = np.triu_indices(w.shape[1])
    return np.concatenate([w, w[:, i] * w[:, j]], axis=1)
