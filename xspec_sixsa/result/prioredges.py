"""Does a prior cut the posterior? From a result's weighted draws and the priors of its fingerprint: no evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.priors.prior import equal_steps
from xspec_sixsa.result.summary import percent

if TYPE_CHECKING:
    from xspec_sixsa.result.result import Result

__all__ = ["PriorEdge", "prior_edges", "prior_ranges"]

OUTERMOST = 0.02  # share of the prior's range that is called its edge
DENSE = 2.0  # posterior over prior density at the edge: below it, the parameter is hardly constrained there
NEAR = 0.13  # density at the edge in units of 1/sd; a Gaussian's is below it from 1.5 sd on, where 7 % are cut off
CAUTION = 2.0  # standard errors of the draws by which both must be passed


@dataclass(frozen=True)
class PriorEdge:
    """A limit of a prior at which the posterior piles up; print it.

    Attributes
    ----------
    name, label : str
        Chain name, and what XSPEC shows.
    side : {"lower", "upper"}
    limit : float
        In the parameter's unit.
    mass : float
        Share of the posterior within 2 % of the prior's range (logarithmic for a log-uniform one) of the limit.
    logarithmic : bool
    hard : bool
        Whether the limit is the parameter's hard one in XSPEC as well.
    """

    name: str
    label: str
    side: str
    limit: float
    mass: float
    logarithmic: bool
    hard: bool

    def __str__(self) -> str:
        lower = self.side == "lower"
        found = (
            f"{self.label} ({self.name}): the posterior piles up at its prior's {self.side} limit {self.limit:g} "
            f"({percent(self.mass)} of it within {100 * OUTERMOST:g} % of the range)"
        )
        if self.hard:
            opposite = "an upper" if lower else "a lower"
            return (
                f"{found}, which is the parameter's hard limit: if nothing can lie beyond, quote {opposite} limit "
                "instead of an interval."
            )
        found += f": the prior cuts it. {'Lower' if lower else 'Raise'} the limit and fit again"
        if self.logarithmic and lower:
            found += "; if the posterior follows, the data only give an upper limit, and that depends on the prior"
        return found + "."


def prior_edges(result: Result) -> list[PriorEdge]:
    """Limits of uniform and log-uniform priors (BXA's too) that cut the posterior.

    A parameter that the data hardly constrain fills its prior, and is not meant: at the limit the posterior must be at
    least twice as dense as the prior, and as dense as a Gaussian is within 1.5 standard deviations of its mean.

    Parameters
    ----------
    result : Result
        Empty without draws of weight, or where the fingerprint holds no priors.
    """
    weights = result.weights
    if not (weights > 0).any():
        return []
    hard_limits = result.fingerprint.get("limits", {})
    found = []
    for name, low, high, logarithmic in prior_ranges(result.fingerprint):
        if name not in result.names:
            continue
        column = result.names.index(name)
        keep = weights > 0
        values, w = result.samples[keep, column], weights[keep]
        u = np.log(values / low) / np.log(high / low) if logarithmic else (values - low) / (high - low)
        sd = float(np.sqrt(w @ (u - w @ u) ** 2))
        for side, limit, distance in (("lower", low, u), ("upper", high, 1 - u)):
            if _piles_up(distance, w, sd, result.ess):
                hard = hard_limits.get(name, (None, None))[side == "upper"]
                found.append(
                    PriorEdge(
                        name, result.labels[column], side, limit, float(w[distance < OUTERMOST].sum()), logarithmic,
                        hard is not None and bool(np.isclose(limit, hard, rtol=1e-6, atol=0.0)),
                    )
                )  # fmt: skip
    return found


def _piles_up(distance: np.ndarray, weights: np.ndarray, sd: float, ess: float) -> bool:
    reach = min(OUTERMOST, 0.5 * sd)  # a narrow posterior may lie near the limit and yet far off for its width
    if reach <= 0:
        return False
    mass = float(weights[distance < reach].sum())
    density = (mass - CAUTION * np.sqrt(max(mass * (1 - mass), 0.0) / max(ess, 1.0))) / reach
    return density > DENSE and density * sd > NEAR


def prior_ranges(fingerprint: Mapping[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """Name, low, high and whether logarithmic, of every parameter whose prior has walls.

    Parameters
    ----------
    fingerprint : mapping
        Of a result.
    """
    for entry in fingerprint.get("priors", {}).get("priors", []):
        if len(entry["parameters"]) != 1:
            continue
        name, kind = entry["parameters"][0], entry["kind"]
        if kind in ("uniform", "loguniform"):
            yield name, float(entry["low"]), float(entry["high"]), kind == "loguniform"
        elif kind == "bxa":
            # known by its values at 0.05, 0.15 ... 0.95 (JointPrior.to_dict)
            probe = np.asarray(entry["probe"], dtype=float)
            for logarithmic in (False, True):
                step = equal_steps(probe, logarithmic=logarithmic)
                if step is not None:
                    first, last = np.log(probe[[0, -1]]) if logarithmic else probe[[0, -1]]
                    ends = np.array([first - step / 2, last + step / 2])
                    low, high = np.exp(ends) if logarithmic else ends
                    yield name, float(low), float(high), logarithmic
                    break
