"""Many emulated draws, corrected by few exact ones: the emulated posterior as a control variate.

Of N draws u of a proposal q the exact likelihood L is known, and of M >> N the emulated one, L_e. Any expectation under
the exact posterior is that under the emulated one plus a correction that the N draws measure, and whose scatter is that
of ``L / L_e`` alone (Owen 2013, Monte Carlo theory, methods, examples, section 8.9). The correction is carried by the
emulated draws' weights: ``log(L / L_e)`` is regressed on a quadratic in the parameters, so that evidence, means and
covariances are the exact draws', and whatever else is read off the draws follows. Where more is missed than a quadratic
follows (steps of a plasma's lines), kernels learn it first; each fifth of the exact draws meets what the others say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.importance import effective_sample_size, log_evidence
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.regression import KernelRegression
from xspec_sixsa.result.weighted import weighted_quantile

__all__ = ["MOST_EXACT", "ControlVariate", "control_variate", "corrected_draws"]

Points = NDArray[np.float64]

RIDGE = 1e-3  # of the features' own scatter
LEAST = 5  # exact draws for each coefficient of a quadratic; with fewer the correction is linear
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of every parameter's posterior, whose remaining error is measured
ENOUGH = 0.95  # of the wanted effective samples: their own number scatters
MOST_EXACT = 0.5  # exact draws to a wanted effective sample from which all draws may as well be exact
SURE = 0.05  # the same from which it is known how many are needed
GROWTH = 3  # times as many exact draws, at most, before it is asked again how many are needed
TOO_LARGE = 0.5  # of its statistical error, that a quantile may still be off
# Variance of exact over corrected weights from which kernels are asked in any case: an eighth of it, in nat, is all
# that a histogram's divergence shows of it, and no comparison minds 0.002 nat.
ROUGH = 0.01
BETTER = 0.95  # of that variance, that they must leave at most
RELEVANT = 0.01  # of the largest weight, from which an exact draw teaches them
FOLDS = 5  # in turns: draws of one meet what those of the others say
TEACHERS = 2000  # exact draws, at most, that teach them: their cost grows with the third power


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
        ``exact / var(L / corrected L_e)``, relative to its mean, at most the draws' own; for the quantile that
        what is left disturbs most.
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

    def needed(self, wanted: float) -> int:
        """How many exact draws that makes."""
        return int(self.exact * self.more(wanted))


def corrected_draws(
    draws: FinalDraws,
    problem: Problem,
    stage: str,
    log_likelihood: Callable[[Points], Points],
    gives_up: Callable[[ControlVariate], bool] = lambda found: False,
) -> ControlVariate:
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
    gives_up : callable
        Whether a correction that is not good enough is not to be pursued.

    Returns
    -------
    ControlVariate
        The last one. It is not good enough (`ControlVariate.is_enough`) where so many draws would have to be exact that
        all may as well be, or where it was given up.
    """
    wanted = problem.settings.target_ess
    while True:
        task = problem.progress.task("correcting emulated draws", 1, "ensemble")
        with problem.streams.torch(f"{stage} corrected", len(draws)), task:
            found = control_variate(draws, log_likelihood, wanted)
        if found.is_enough(wanted):
            return found
        needed = found.needed(wanted)
        more = min(needed, GROWTH * len(draws)) - len(draws)
        hopeless = needed > MOST_EXACT * wanted and len(draws) >= SURE * wanted
        if gives_up(found) or hopeless or more > problem.left:
            return found
        draws.extend(problem, stage, more)


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
    base = emulated - draws.log_density
    rate = effective_sample_size(base) / len(base)
    u = proposal.draw(int(1.05 * wanted / max(own_rate or rate, 0.01)) + 1)
    density, values = proposal.log_density(u), log_likelihood(u)
    plain = _regressed(draws, emulated, u, values)
    found = plain.judged(draws, u, values, density)
    if plain.quadratic and (plain.variance > ROUGH or not found.is_small):
        known, taught = _with_kernels(draws, emulated, u, values)
        learned = _regressed(draws, known, u, taught)
        if learned.variance < BETTER * plain.variance:
            return learned.judged(draws, u, values, density)
    return found


@dataclass(frozen=True, eq=False)
class _Regressed:
    """Emulated log likelihoods with a regression of the exact ones on the parameters.

    Attributes
    ----------
    log_likelihood : ndarray (m,)
        Corrected, of the emulated draws.
    shares : ndarray (n,)
        Corrected posterior weights of the exact draws; they sum to one.
    left : ndarray (n,)
        What the correction misses: exact over corrected weights, draw by draw, relative to their mean.
    ratio : float
        That mean.
    variance, effective : float
        Of `left`, what the regression's coefficients hide included; effective exact draws.
    quadratic : bool
        Whether there are draws enough for more than a linear correction.
    """

    log_likelihood: Points
    shares: Points
    left: Points
    ratio: float
    variance: float
    effective: float
    quadratic: bool

    def _unevenness(self, u: Points, at: Points) -> float:
        """The largest variance of a quantile's probability, in units of what an even scatter would leave it.

        What is left may lie in one tail. As if `LEAST` more draws beyond each quantile (d, QUANTILES) scattered evenly.
        """
        squares, largest = self.shares * (self.left - 1) ** 2, 1.0
        for x, ends in zip(u.T, at, strict=True):
            for q, end in zip(QUANTILES, ends, strict=True):
                ratio = squares @ ((x <= end) - q) ** 2 / max(squares.sum() * q * (1 - q), 1e-300)
                beyond = self.effective * min(q, 1 - q)
                largest = max(largest, (beyond * ratio + LEAST) / (beyond + LEAST))
        return float(largest)

    def judged(self, draws: FinalDraws, u: Points, values: Points, density: Points) -> ControlVariate:
        """Emulated draws u (m, d) of log densities (m,), emulated as `values` (m,), and how far they can be trusted."""
        log_weights = self.log_likelihood - density
        weights = np.exp(log_weights - log_weights.max())
        at = np.array([weighted_quantile(x, QUANTILES, weights) for x in u.T])
        uneven = self._unevenness(draws.u, at)
        ess = min(effective_sample_size(log_weights), self.effective / max(self.variance * uneven, 1e-12))
        log_z_m, log_z_err_m = log_evidence(log_weights)
        err = float(np.hypot(log_z_err_m, np.hypot(np.sqrt(self.variance / self.effective), draws.frozen.density_err)))
        shift, remaining = 0.0, 0.0
        before = np.exp(values - density - (values - density).max())
        for column, ends in enumerate(at):
            x = u[:, column]
            for q, end in zip(QUANTILES, ends, strict=True):
                error = np.sqrt(q * (1 - q) / ess)
                shift = max(shift, abs(before[x <= end].sum() / before.sum() - q) / error)
                missed = float(self.shares @ ((self.left - 1) * ((draws.u[:, column] <= end) - q)))
                noise = np.sqrt(self.variance * q * (1 - q) / self.effective)
                remaining = max(remaining, (abs(missed) - 3 * noise) / error)
        return ControlVariate(
            u, self.log_likelihood, density, len(draws), float(ess), float(log_z_m + np.log(self.ratio)), err,
            float(shift), float(remaining),
        )  # fmt: skip


def _regressed(draws: FinalDraws, emulated: Points, u: Points, values: Points) -> _Regressed:
    """Correct emulated values, those of the exact draws (n,) and of emulated draws u (m, d), (m,)."""
    base = emulated - draws.log_density
    known = np.isfinite(draws.log_likelihood)
    difference = draws.log_likelihood[known] - emulated[known]
    w = np.exp(base[known] - base.max())
    effective = effective_sample_size(base)
    whitening = Whitening.of(draws.u[known], w)
    d, shares = draws.u.shape[1], w / w.sum()
    quadratic = d + d * (d + 1) // 2 <= effective / LEAST
    features = _features(whitening.forward(draws.u[known]), quadratic)
    centre, mean = shares @ features, float(shares @ difference)
    features -= centre
    gram = features.T @ (shares[:, None] * features)
    slope = np.linalg.solve(gram + RIDGE * np.diag(np.diag(gram)), features.T @ (shares * (difference - mean)))

    def corrected(points: Points, emulated: Points) -> Points:
        return emulated + mean + (_features(whitening.forward(points), quadratic) - centre) @ slope

    control = corrected(draws.u, emulated)
    left = np.where(known, np.exp(np.minimum(draws.log_likelihood - control, 50.0)), 0.0)
    own = np.exp(control - draws.log_density - base.max())
    own /= own.sum()
    ratio = float(own @ left)
    variance = float(own @ (left / ratio - 1) ** 2) * effective / max(effective - len(slope) - 1, 1.0)
    return _Regressed(corrected(u, values), own, left / ratio, ratio, variance, effective, quadratic)


def _with_kernels(draws: FinalDraws, emulated: Points, u: Points, values: Points) -> tuple[Points, Points]:
    """Emulated values, (n,) and (m,), with kernels on what exact draws say they miss.

    That may go in steps along one parameter. At an exact draw it is what other folds say, so that what is left there is
    as elsewhere. Nowhere is more added than was seen.
    """
    base = emulated - draws.log_density
    w = np.exp(base - base.max())
    used = np.flatnonzero(np.isfinite(draws.log_likelihood) & (w > RELEVANT))[:TEACHERS]
    difference = torch.tensor(draws.log_likelihood[used] - emulated[used])
    w = w[used] / w[used].sum()

    def left_out(regression: KernelRegression) -> float:
        return float(w @ regression.left_out[:, 0].numpy() ** 2)

    ways, x = (None, *range(u.shape[1])), draws.u[used]
    way, best = min(
        ((way, KernelRegression(x, difference[:, None], w, rough=way)) for way in ways),
        key=lambda pair: left_out(pair[1]),
    )
    low, high = float(difference.min()), float(difference.max())
    added = best(draws.u)[:, 0]
    for fold in range(FOLDS):
        asked = np.arange(len(used)) % FOLDS == fold
        others = KernelRegression(x[~asked], difference[~asked, None], w[~asked], best.scales, rough=way)
        added[used[asked]] = others(x[asked])[:, 0]
    return emulated + added.clamp(low, high).numpy(), values + best(u)[:, 0].clamp(low, high).numpy()


def _features(w: Points, quadratic: bool) -> Points:
    if not quadratic:
        return w
    i, j = np.triu_indices(w.shape[1])
    return np.concatenate([w, w[:, i] * w[:, j]], axis=1)
