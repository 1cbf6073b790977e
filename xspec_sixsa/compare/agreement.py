"""Two methods beside each other: parameter by parameter, evidence, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from xspec_sixsa.compare.divergence import Divergence, jensen_shannon
from xspec_sixsa.compare.posterior import Posterior

__all__ = ["LEAST_ESS", "SIGMAS", "TITLES", "MethodComparison", "ParameterComparison", "beside", "pair"]

TITLES = {"bxa": "BXA", "nautilus": "nautilus", "mcmc": "XSPEC Goodman-Weare", "mh": "XSPEC Metropolis-Hastings"}
SIGMAS = 3.0
"""Evidences further apart than so many of their errors disagree."""
LEAST_ESS = 100
"""Fewer effective samples agree with almost anything."""
NO_MATTER_SHIFT, NO_MATTER_WIDTH = 0.1, 0.1
"""Differences that change no conclusion: shifts in sigma, and relative widths of the 68 % interval."""


@dataclass(frozen=True)
class ParameterComparison:
    """One parameter by two methods.

    Attributes
    ----------
    name : str
    divergence : Divergence
        Jensen-Shannon, with the limit below which sampling alone explains it, and its average (`floor`).
    shift : float
        Their median minus ours, in our standard deviations (half the 68 % interval).
    ratio_68, ratio_90 : float
        Widths of their central intervals over ours.
    """

    name: str
    divergence: Divergence
    shift: float
    ratio_68: float
    ratio_90: float

    @property
    def matters(self) -> bool:
        """Whether the difference is more than sampling, and large enough to change a conclusion."""
        large = abs(self.shift) > NO_MATTER_SHIFT or max(abs(self.ratio_68 - 1), abs(self.ratio_90 - 1)) > (
            NO_MATTER_WIDTH
        )
        return not self.divergence.indistinguishable and large


@dataclass
class MethodComparison:
    """One other method beside ours.

    Attributes
    ----------
    other : Posterior
    parameters : list of ParameterComparison
        Empty where the other method did not finish.
    delta_log_z, delta_log_z_err : float or None
        Their evidence minus ours (natural logarithm), and its error.
    agreement : {"agrees", "agrees within 0.1 sigma", "says little", "DISAGREES", "not finished"}
        It says little with fewer than 100 effective samples.
    why : list of str
        Who is suspect where they disagree, and what limits the comparison.
    """

    other: Posterior
    parameters: list[ParameterComparison]
    delta_log_z: float | None = None
    delta_log_z_err: float | None = None
    agreement: str = "not finished"
    why: list[str] = field(default_factory=list)

    @property
    def evidence_agrees(self) -> bool:
        """Whether the evidences are within three sigma (also where there is none to compare)."""
        if self.delta_log_z is None or not self.delta_log_z_err:
            return True
        return abs(self.delta_log_z) < SIGMAS * self.delta_log_z_err

    @property
    def agrees(self) -> bool:
        """Whether nothing differs that matters."""
        return self.agreement.startswith("agrees")


def pair(a: Posterior, b: Posterior, names: Sequence[str]) -> list[ParameterComparison]:
    """Parameter by parameter, `b` beside `a`."""
    median_a, median_b = a.quantile(0.5), b.quantile(0.5)
    widths = {level: (a.width(level), b.width(level)) for level in (0.68, 0.90)}
    return [
        ParameterComparison(
            name,
            jensen_shannon(a.samples[:, i], b.samples[:, i], a.weights, b.weights, (a.ess, b.ess)),
            float(2 * (median_b[i] - median_a[i]) / widths[0.68][0][i]),
            float(widths[0.68][1][i] / widths[0.68][0][i]),
            float(widths[0.90][1][i] / widths[0.90][0][i]),
        )
        for i, name in enumerate(names)
    ]


def beside(ours: Posterior, other: Posterior, names: Sequence[str]) -> MethodComparison:
    """`other` beside `ours`, with the verdict."""
    found = MethodComparison(other, pair(ours, other, names))
    if other.log_z is not None and other.log_z_err is not None:
        found.delta_log_z = other.log_z - float(ours.log_z or 0.0)
        found.delta_log_z_err = float(np.hypot(other.log_z_err, ours.log_z_err or 0.0))
    if not found.evidence_agrees or any(p.matters for p in found.parameters):
        found.agreement = "DISAGREES"
    elif other.ess < LEAST_ESS:
        found.agreement = "says little"
    elif all(p.divergence.indistinguishable for p in found.parameters):
        found.agreement = "agrees"
    else:
        found.agreement = f"agrees within {NO_MATTER_SHIFT:g} sigma"
    return found
