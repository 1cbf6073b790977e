"""Many emulated draws, corrected by few exact ones: the emulated posterior as a control variate.

Of N draws u of a proposal q the exact likelihood L is known, and of M >> N the emulated one, L_e. Any expectation under
the exact posterior is that under the emulated one plus a correction that the N draws measure, and whose scatter is that
of ``L / L_e`` alone (Owen 2013, Monte Carlo theory, methods, examples, section 8.9). The correction is carried by the
emulated draws' weights: ``log(L / L_e)`` is regressed on a quadratic in the parameters, so that evidence, means and
covariances are the exact draws', and whatever else is read off the draws follows. Where more is missed than a quadratic
follows (steps of a plasma's lines), kernels learn it first; each fifth of the exact draws meets what the others say.
"""

from __future__ import annotations

import functools
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

__all__ = ["MOST_EXACT", "QUANTILES", "ControlVariate", "control_variate", "corrected_draws"]

Points = NDArray[np.float64]

RIDGE = 1e-3  # of the features' own scatter
LEAST = 5  # exact draws for each coefficient of a quadratic; with fewer the correction is linear
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of every parameter's posterior, whose remaining error is measured
ENOUGH = 0.95  # of the wanted effective samples: their own number scatters
MOST_EMULATED = 5  # times the wanted effective samples: their own error is then a fifth of what is allowed
MOST_EXACT = 0.5  # exact draws to a wanted effective sample from which all draws may as well be exact
SURE = 0.05  # the same from which it is known how many are needed
GROWTH = 3  # times as many exact draws, at most, before it is asked again how many are needed
TOO_LARGE = 0.5  # of its statistical error, that a quantile may still be off
# Variance of exact over corrected weights from which kernels are asked in any case: an eighth of it, in nat, is all
# that a histogram's divergence shows of it, and no comparison minds 0.002 nat.
ROUGH = 0.01
BETTER = 0.95  # of the effective samples with them, that those without must fall short of
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
        Effective samples: the emulated draws' own error and the correction's, added.
    correction_ess : float
        As many as the correction alone would leave: ``exact / var(L / corrected L_e)``, relative to its mean, for the
        quantile that what is left disturbs most.
    mean_ess, quantile_ess : ndarray, shape (d,), (d, QUANTILES)
        The same for each parameter's mean and quantiles: errors of their own.
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
    correction_ess: float
    mean_ess: Points
    quantile_ess: Points
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
        return 1.1 * max(wanted / (1 - 1 / MOST_EMULATED) / self.correction_ess, 1.3)

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
        all may as well be, where it was given up, or where the budget is spent.
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
        if gives_up(found) or hopeless or problem.left <= 0:
            return found
        draws.extend(problem, stage, min(more, problem.left))


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
    regression, learned = _regressed(draws, emulated), None
    if regression.correction.quadratic and (regression.variance > ROUGH or regression.remaining(wanted) >= TOO_LARGE):
        known, kernels = _with_kernels(draws, emulated)
        other = _regressed(draws, known)
        if BETTER * other.ess > regression.ess:
            regression, learned = other, kernels
    # their own error adds to the correction's: as many as leave what is wanted, where the correction allows that
    allowed = 1 - wanted / regression.ess
    own_wanted = wanted / allowed if allowed > 1 / MOST_EMULATED else wanted
    rate = own_rate or effective_sample_size(emulated - draws.log_density) / len(emulated)
    u = proposal.draw(int(1.05 * own_wanted / max(rate, 0.01)) + 1)
    density, values = proposal.log_density(u), log_likelihood(u)
    corrected = regression.correction(u, values if learned is None else values + learned(u))
    log_weights = corrected - density
    own = 1 / effective_sample_size(log_weights)
    ess = 1 / (own + 1 / regression.ess)
    log_z, log_z_err = log_evidence(log_weights)
    return ControlVariate(
        u=u,
        log_likelihood=corrected,
        log_density=density,
        exact=len(draws),
        ess=float(ess),
        correction_ess=regression.ess,
        mean_ess=1 / (own + 1 / regression.mean_ess),
        quantile_ess=1 / (own + 1 / regression.quantile_ess),
        log_z=float(log_z + np.log(regression.ratio)),
        log_z_err=float(np.hypot(np.hypot(log_z_err, regression.error), draws.frozen.density_err)),
        shift=_shift(u, values - density, log_weights, ess),
        remaining=regression.remaining(ess),
    )


def _shift(u: Points, before: Points, after: Points, ess: float) -> float:
    """The largest change of a quantile's probability from log weights (m,) before, in units of its error."""
    before, after = np.exp(before - before.max()), np.exp(after - after.max())
    levels, largest = np.array(QUANTILES), 0.0
    for x in u.T:
        ends = weighted_quantile(x, QUANTILES, after)
        below = np.array([before[x <= end].sum() for end in ends]) / before.sum()
        largest = max(largest, float((abs(below - levels) / np.sqrt(levels * (1 - levels) / ess)).max()))
    return largest


@dataclass(frozen=True, eq=False)
class _Correction:
    """What a regression on the parameters adds to emulated log likelihoods.

    Attributes
    ----------
    whitening : Whitening
    quadratic : bool
        Whether there are draws enough for more than a linear correction.
    centre, slope : ndarray (features,)
    mean : float
    """

    whitening: Whitening
    quadratic: bool
    centre: Points
    slope: Points
    mean: float

    def __call__(self, points: Points, emulated: Points) -> Points:
        """Corrected log likelihoods (m,) of points (m, d), from emulated ones."""
        features = _features(self.whitening.forward(points), self.quadratic) - self.centre
        corrected: Points = emulated + self.mean + features @ self.slope
        return corrected


@dataclass(frozen=True, eq=False)
class _Regressed:
    """A regression of exact log likelihoods, less emulated ones, on the parameters.

    Attributes
    ----------
    correction : _Correction
    u : ndarray (n, d)
        The exact draws.
    shares : ndarray (n,)
        Their corrected posterior weights, which sum to one.
    left : ndarray (n,)
        What the correction misses: exact over corrected weights, draw by draw, relative to their mean.
    ratio : float
        That mean.
    variance, effective : float
        Of `left`, what the regression's coefficients hide included; effective exact draws.
    """

    correction: _Correction
    u: Points
    shares: Points
    left: Points
    ratio: float
    variance: float
    effective: float

    @property
    def error(self) -> float:
        """Of the mean of what is left, relative to it."""
        return float(np.sqrt(self.variance / self.effective))

    @functools.cached_property
    def _quantiles(self) -> list[tuple[float, NDArray[np.bool_]]]:
        """Levels, and which draws lie below, of all parameters."""
        return [
            (q, x <= end)
            for x in self.u.T
            for q, end in zip(QUANTILES, weighted_quantile(x, QUANTILES, self.shares), strict=True)
        ]

    def _ess(self, off: NDArray[np.floating], seen: float) -> float:
        """Effective samples whose statistical error is the correction's, for what differs from its mean by `off` (n,).

        What is left may lie where that is large: as if `LEAST` more draws than the `seen` ones there scattered evenly.
        """
        squares = self.shares * (self.left - 1) ** 2
        uneven = squares @ off**2 / max(squares.sum() * (self.shares @ off**2), 1e-300)
        return self.effective / max(self.variance * (seen * uneven + LEAST) / (seen + LEAST), 1e-12)

    @functools.cached_property
    def mean_ess(self) -> Points:
        """Of every parameter's mean, (d,)."""
        return np.array([self._ess(x - self.shares @ x, self.effective) for x in self.u.T])

    @functools.cached_property
    def quantile_ess(self) -> Points:
        """Of every parameter's quantiles, (d, QUANTILES)."""
        found = [self._ess(below - q, self.effective * min(q, 1 - q)) for q, below in self._quantiles]
        return np.reshape(found, (-1, len(QUANTILES)))

    @property
    def ess(self) -> float:
        """Of the quantile that the correction leaves least sure, or were what it leaves even.

        A mean may have fewer, by a single draw far off.
        """
        even = self.effective / max(self.variance, 1e-12)
        return float(min(even, self.quantile_ess.min()))

    def remaining(self, ess: float) -> float:
        """`ControlVariate.remaining`, where so many samples are effective."""
        largest = 0.0
        for (q, below), own in zip(self._quantiles, self.quantile_ess.flat, strict=True):
            missed = abs(float(self.shares @ ((self.left - 1) * (below - q)))) / np.sqrt(q * (1 - q))
            largest = max(largest, (missed - 3 / np.sqrt(own)) * np.sqrt(ess))
        return float(largest)


def _regressed(draws: FinalDraws, emulated: Points) -> _Regressed:
    """Correct emulated log likelihoods (n,) of exact draws."""
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
    correction = _Correction(whitening, quadratic, centre, slope, mean)
    control = correction(draws.u, emulated)
    left = np.where(known, np.exp(np.minimum(draws.log_likelihood - control, 50.0)), 0.0)
    own = np.exp(control - draws.log_density - base.max())
    own /= own.sum()
    ratio = float(own @ left)
    variance = float(own @ (left / ratio - 1) ** 2) * effective / max(effective - len(slope) - 1, 1.0)
    return _Regressed(correction, draws.u, own, left / ratio, ratio, variance, effective)


def _with_kernels(draws: FinalDraws, emulated: Points) -> tuple[Points, Callable[[Points], Points]]:
    """Emulated values (n,) with what kernels learn from exact draws that they miss, and that at other points (m, d).

    That may go in steps along one parameter. At an exact draw it is what other folds say, so that what is left there is
    as elsewhere; at other points it is the folds' mean, whose error the exact draws thus measure. Nowhere is more added
    than was seen.
    """
    base = emulated - draws.log_density
    w = np.exp(base - base.max())
    used = np.flatnonzero(np.isfinite(draws.log_likelihood) & (w > RELEVANT))[:TEACHERS]
    difference = torch.tensor(draws.log_likelihood[used] - emulated[used])
    w = w[used] / w[used].sum()

    def left_out(regression: KernelRegression) -> float:
        return float(w @ regression.left_out[:, 0].numpy() ** 2)

    ways, x = (None, *range(draws.u.shape[1])), draws.u[used]
    way, best = min(
        ((way, KernelRegression(x, difference[:, None], w, rough=way)) for way in ways),
        key=lambda pair: left_out(pair[1]),
    )
    low, high = float(difference.min()), float(difference.max())
    fold = np.arange(len(used)) % FOLDS
    of_others = [
        KernelRegression(x[fold != k], difference[fold != k, None], w[fold != k], best.scales, rough=way)
        for k in range(FOLDS)
    ]

    def added(points: Points) -> Points:
        told = torch.stack([regression(points)[:, 0] for regression in of_others])
        return told.clamp_(low, high).mean(dim=0).numpy()

    known = emulated + added(draws.u)
    for k, regression in enumerate(of_others):
        rows = used[fold == k]
        known[rows] = emulated[rows] + regression(draws.u[rows])[:, 0].clamp(low, high).numpy()
    return known, added


def _features(w: Points, quadratic: bool) -> Points:
    if not quadratic:
        return w
    i, j = np.triu_indices(w.shape[1])
    return np.concatenate([w, w[:, i] * w[:, j]], axis=1)
