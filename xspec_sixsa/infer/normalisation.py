"""The common normalisation of a model integrated in closed form (Rao-Blackwell): what it adds to a run's weights.

Where all additive norms are multiplied by s, the expected counts are, and Cash's C changes by

    log L(s) = log L(1) + X log s - (s - 1) M,    X: counts observed, M: counts expected, both over all bins.

Under log-uniform priors this ray is a straight line through the unit cube: with ``t = log s`` the norm i moves by
``t / width_i``, its prior's logarithmic width. The target's marginal over t is a truncated gamma integral, the
proposal's a quadrature that needs no evaluation, and their ratio is the weight of the whole ray (Casella & Robert 1996,
Biometrika 83, 81). It is reported beside a result, and no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc, gammaln, logsumexp

from xspec_sixsa.infer.emulatedproposal import EmulatedProposal
from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.infer.proposal import Mixture, Proposal
from xspec_sixsa.priors.prior import equal_steps
from xspec_sixsa.result.summary import percent
from xspec_sixsa.session.norms import NoCommonScaleError

if TYPE_CHECKING:
    from xspec_sixsa.common.observation import Observation
    from xspec_sixsa.priors.joint import JointPrior
    from xspec_sixsa.session import Session

__all__ = [
    "Rays",
    "check_conditions",
    "check_linear",
    "common_norm",
    "log_gamma_integral",
    "log_marginal",
    "ray_weights",
]

Vector = NDArray[np.float64]

STAGE = "linearity"
FARTHEST = np.log(3.0)  # the most that a norm is scaled by to see whether counts follow
SINGLE = 1e-6  # relative: counts are kept in single precision
CANCELLED = 1e-6  # differences of the incomplete gamma function below this have lost digits
NODES = 64  # of a Gauss-Legendre rule over what is left of a truncated gamma: exact to 1e-10
DENSITY, LEAST_NODES = 3.0, 8  # nodes of a proposal's quadrature for each unit of asinh(distance / width)
NARROW = 7.0  # widths beyond which an emulated likelihood has nothing
APART = 4.0  # widths between a draw and its ray's likelihood from where both get nodes of their own
AT_ONCE = 20000


@dataclass(frozen=True)
class Rays:
    """The lines through draws along which all norms are scaled together.

    Attributes
    ----------
    u : ndarray, shape (n, d)
        The draws, at t = 0.
    direction : ndarray, shape (d,)
        Change of u for a unit of t: one over the logarithmic width of a norm's prior, zero for other parameters.
    """

    u: Vector
    direction: Vector

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Values of t, each (n,), where the rays enter and leave the cube."""
        moved = self.direction > 0
        u, rate = self.u[:, moved], self.direction[moved]
        return np.max(-u / rate, axis=1), np.min((1 - u) / rate, axis=1)

    def points(self, t: Vector) -> Vector:
        """Points (n, k, d) of the cube at t (n, k)."""
        return np.clip(self.u[:, None] + t[:, :, None] * self.direction, 0.0, 1.0)


def log_gamma_integral(observed: float, expected: Vector, low: Vector, high: Vector) -> Vector:
    """``log`` of the integral of ``exp(observed t - expected (exp(t) - 1))`` over t from `low` to `high`.

    With ``s = exp(t)`` it is ``exp(M) M^-X Gamma(X) [P(X, M exp(high)) - P(X, M exp(low))]``, P the regularised
    incomplete gamma function (DLMF 8.2.4). Where only the tail of it is inside, P underflows or cancels, and what is
    left, a monotone piece of a log-concave function, is integrated by Gauss-Legendre.

    Parameters
    ----------
    observed : float
        Counts X, above 0.
    expected : ndarray, shape (n,)
        Counts M at t = 0.
    low, high : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
    """
    a, b = expected * np.exp(low), expected * np.exp(high)
    share = np.where(
        a > observed,
        gammaincc(observed, a) - gammaincc(observed, b),
        np.where(
            b < observed,
            gammainc(observed, b) - gammainc(observed, a),
            1.0 - gammainc(observed, a) - gammaincc(observed, b),
        ),
    )
    cut = share < CANCELLED
    with np.errstate(divide="ignore"):
        result = expected - observed * np.log(expected) + gammaln(observed) + np.log(np.where(cut, 1.0, share))
    if cut.any():
        result[cut] = _log_tail(observed, expected[cut], low[cut], high[cut])
    return result


def _log_tail(observed: float, expected: Vector, low: Vector, high: Vector) -> Vector:
    """As `log_gamma_integral`, by quadrature over the reach of the largest value, which is at one end or inside."""
    top = np.clip(np.log(observed / expected), low, high)
    with np.errstate(divide="ignore"):
        reach = 45.0 / np.abs(observed - expected * np.exp(top))  # log-concave: below exp(-45) of the top beyond it
    low, high = np.maximum(low, top - reach), np.minimum(high, top + reach)
    node, weight = np.polynomial.legendre.leggauss(NODES)
    half = 0.5 * (high - low)[:, None]
    t = low[:, None] + half * (node + 1)
    return logsumexp(observed * t - expected[:, None] * np.expm1(t), axis=1, b=half * weight)


def log_marginal(proposal: Proposal, rays: Rays, observed: float, expected: Vector, refine: int = 1) -> Vector:
    """``log`` of the integral of a proposal's density over t along each ray, from face to face of the cube.

    Gauss-Legendre in ``asinh(distance / width)`` from where the ray's likelihood has its mass, `width` being the
    likelihood's: as fine as that in the middle, and as fine as any broader density needs further out. Where a draw lies
    more than a few widths from there, the density has mass around the draw too, and the ray is halved between the two.
    A mixture's parts are integrated one by one: an emulated likelihood, the dearest, is as narrow as the likelihood.

    Parameters
    ----------
    proposal : Proposal
    rays : Rays
        Of n draws.
    observed : float
    expected : ndarray, shape (n,)
        Counts of the draws, above 0.
    refine : int, default 1
        Factor on the number of nodes, and on how far they reach.

    Returns
    -------
    ndarray, shape (n,)
    """
    if isinstance(proposal, Mixture):
        parts = [log_marginal(part, rays, observed, expected, refine) for part in proposal.parts]
        return logsumexp(parts, axis=0, b=proposal.shares[:, None])
    reach = refine * NARROW if isinstance(proposal, EmulatedProposal) else np.inf
    low, high = rays.bounds
    top = np.clip(np.log(observed / expected), low, high)
    curvature = expected * np.exp(top)
    slope = np.abs(observed - curvature)
    width = 1 / (np.sqrt(slope**2 + curvature) + slope)  # where log L has fallen by a half
    apart = np.abs(top) > APART * width
    total, draw = np.full(len(top), -np.inf), np.zeros(len(top))
    for centre, other, rows in ((top, draw, np.full(len(top), True)), (draw, top, apart)):
        begin = np.where(apart & (other < centre), 0.5 * top, low)
        end = np.where(apart & (other > centre), 0.5 * top, high)
        first = np.maximum(np.arcsinh((begin - centre) / width), -np.arcsinh(reach))
        last = np.minimum(np.arcsinh((end - centre) / width), np.arcsinh(reach))
        if rows.any():
            some = Rays(rays.u[rows], rays.direction)
            part = _log_piece(proposal, some, first[rows], last[rows], centre[rows], width[rows], refine)
            total[rows] = np.logaddexp(total[rows], part)
    return total


def _log_piece(
    proposal: Proposal, rays: Rays, first: Vector, last: Vector, centre: Vector, width: Vector, refine: int
) -> Vector:
    """As `log_marginal`, between two values of ``asinh((t - centre) / width)``, by the nodes that the widest needs."""
    number = refine * max(LEAST_NODES, int(np.ceil(DENSITY * np.max(last - first))))
    node, weight = np.polynomial.legendre.leggauss(number)
    half = 0.5 * (last - first)[:, None]
    x = first[:, None] + half * (node + 1)
    points = rays.points(centre[:, None] + width[:, None] * np.sinh(x)).reshape(-1, rays.u.shape[1])
    parts = [proposal.log_density(part) for part in np.array_split(points, -(-len(points) // AT_ONCE))]
    return logsumexp(np.concatenate(parts).reshape(x.shape), axis=1, b=half * weight * width[:, None] * np.cosh(x))


def ray_weights(
    rays: Rays,
    log_likelihood: Vector,
    observed: float,
    expected: Vector,
    proposal: Proposal,
    batches: NDArray[np.int_],
    density_err: float = 0.0,
) -> Weights:
    """Weights of the draws' rays: the target's marginal over the proposal's.

    Parameters
    ----------
    rays : Rays
        Of n draws.
    log_likelihood, expected : ndarray, shape (n,)
        Of the draws; those with ``-inf`` keep a weight of zero.
    observed : float
    proposal : Proposal
        What they were drawn from.
    batches : ndarray of int, shape (n,)
    density_err : float
        See `importance.Weights`.
    """
    log_weights = np.full(len(log_likelihood), -np.inf)
    good = np.isfinite(log_likelihood)
    kept = Rays(rays.u[good], rays.direction)
    target = log_likelihood[good] + log_gamma_integral(observed, expected[good], *kept.bounds)
    log_weights[good] = target - log_marginal(proposal, kept, observed, expected[good])
    return Weights(log_weights, batches, density_err)


def check_conditions(session: Session, prior: JointPrior) -> Vector:
    """The direction of the rays, shape (d,), where a model's scale can be integrated out; nothing is evaluated.

    Raises
    ------
    NoCommonScaleError
        Says which condition does not hold.
    """
    _check_statistic(session.observation)
    columns = [session.names.index(p.chain_name) for p in session.common_norms()]
    direction = np.zeros(session.n_free)
    for column in columns:
        direction[column] = 1 / _log_width(prior, column)
    return direction


def _check_statistic(observation: Observation) -> None:
    for data in observation.spectra:
        if data.statistic != "cstat" or data.background is not None:
            how = "with a background file (W-statistic)" if data.background is not None else "not by C-stat"
            raise NoCommonScaleError(f"spectrum {data.index} ({data.name}) is scored by {data.statistic}, {how}")


def _log_width(prior: JointPrior, column: int) -> float:
    """``log(high / low)`` of a parameter's log-uniform prior, whoever wrote it."""
    own = next(p for p, columns in zip(prior.priors, prior.columns, strict=True) if column in columns)
    if not own.is_joint:
        u = np.linspace(0.0, 1.0, 9)
        step = equal_steps(own.ppf(u), logarithmic=True)
        if step is not None:
            return (len(u) - 1) * step
    name = f"{prior.labels[column]} ({prior.names[column]})"
    raise NoCommonScaleError(f"the prior of {name} is {own.kind}, not loguniform")


def check_linear(
    session: Session,
    prior: JointPrior,
    rays: Rays,
    log_likelihood: Vector,
    counts: Vector,
    rows: Sequence[int],
) -> None:
    """Scale the norms of some draws up and down, and see whether every bin's counts and log L follow.

    Parameters
    ----------
    session : Session
        Evaluations are counted under "linearity": two a draw.
    rays : Rays
        Of those draws and others, (n).
    log_likelihood : ndarray, shape (n,)
    counts : ndarray, shape (n, n_bins)
    rows : sequence of int
        Which draws.

    Raises
    ------
    NoCommonScaleError
        With the largest deviation.
    """
    chosen = Rays(rays.u[rows], rays.direction)
    low, high = chosen.bounds
    t = np.stack([np.maximum(0.5 * low, -FARTHEST), np.minimum(0.5 * high, FARTHEST)], axis=1)
    found = session.evaluate(prior.transform(chosen.points(t).reshape(-1, rays.u.shape[1])), STAGE)
    if not found.ok.all():
        raise NoCommonScaleError(f"the model fails where its norms are scaled ({next(filter(None, found.reasons))})")
    t = t.reshape(-1)
    before = np.repeat(counts[rows].astype(float), 2, axis=0)
    wanted = before * np.exp(t)[:, None]
    error = np.abs(found.counts - wanted) / (wanted + 1e-3 * wanted.mean(axis=1, keepdims=True))
    if error.max() > SINGLE:
        raise NoCommonScaleError(
            f"the expected counts do not follow the norms (off by {percent(float(error.max()))} in one bin)"
        )
    observed, expected = _observed(session), before.sum(axis=1)
    scaled = observed * t - expected * np.expm1(t)
    off = np.abs(found.log_likelihood - np.repeat(log_likelihood[rows], 2) - scaled)
    if np.any(off > SINGLE * (1 + observed * np.abs(t) + expected * np.abs(np.expm1(t)))):
        raise NoCommonScaleError(f"log L does not follow the norms as Cash's C does (off by {off.max():.2g})")


def common_norm(
    session: Session,
    prior: JointPrior,
    u: Vector,
    log_likelihood: Vector,
    counts: Vector,
    proposal: Proposal,
    plain: Weights,
) -> dict[str, Any]:
    """What integrating the common normalisation gives for a run's final draws.

    Parameters
    ----------
    session : Session
    prior : JointPrior
    u : ndarray, shape (n, d)
    log_likelihood : ndarray, shape (n,)
    counts : ndarray, shape (n, n_bins)
        Expected source counts of the draws.
    proposal : Proposal
        The frozen one.
    plain : Weights
        The draws' own.

    Returns
    -------
    dict
        ``norms`` (chain names), ``ess``, ``gain`` (of effective samples, 0.1 is 10 %), ``log_z``, ``log_z_err``; or
        ``why_not`` alone, where a condition does not hold.
    """
    try:
        rays = Rays(u, check_conditions(session, prior))
        best = int(np.argmax(log_likelihood))
        positive = np.flatnonzero(np.isfinite(log_likelihood))
        farthest = positive[np.argmax(((u[positive] - u[best]) ** 2).sum(axis=1))]
        check_linear(session, prior, rays, log_likelihood, counts, [best, farthest])
    except NoCommonScaleError as reason:
        return {"why_not": str(reason)}
    observed, expected = _observed(session), counts.sum(axis=1, dtype=float)
    weights = ray_weights(rays, log_likelihood, observed, expected, proposal, plain.batches, plain.density_err)
    return {
        "norms": [name for name, rate in zip(session.names, rays.direction, strict=True) if rate > 0],
        "ess": weights.ess,
        "gain": weights.ess / plain.ess - 1,
        "log_z": weights.log_z,
        "log_z_err": weights.log_z_err,
    }


def _observed(session: Session) -> float:
    """Counts of all bins, of which C takes negative ones for none."""
    return float(np.maximum(session.observation.counts, 0.0).sum())
