"""Jensen-Shannon divergence between two weighted samples of one parameter, and what sampling alone makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from xspec_sixsa.result import weighted_quantile

__all__ = ["Divergence", "jensen_shannon"]

BINS = 40
LEAST_LIMIT = 0.002  # nat: smaller divergences do not matter, however large the samples


@dataclass(frozen=True)
class Divergence:
    """A divergence and its limit.

    Attributes
    ----------
    value : float
        Natural logarithm; 0 for equal histograms, ln 2 for disjoint ones.
    limit : float
        The larger of 0.002 nat and the 99.9 % quantile for two samples of one distribution.
    floor : float
        What two samples of one distribution, of these sizes, have on average.
    """

    value: float
    limit: float
    floor: float = 0.0

    @property
    def indistinguishable(self) -> bool:
        """Whether sampling alone explains the divergence."""
        return self.value < self.limit


def jensen_shannon(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    weights_a: NDArray[np.float64] | None = None,
    weights_b: NDArray[np.float64] | None = None,
    sizes: tuple[float, float] | None = None,
) -> Divergence:
    """Divergence of two samples of one parameter.

    Forty equal bins between the joint 0.1 % and 99.9 % quantiles and two end bins (B = 42). For samples of the same
    distribution ``8 JSD / (1/n1 + 1/n2)`` follows chi-squared with B - 1 degrees of freedom, n being effective sizes
    (Lin 1991, and the usual expansion of the likelihood-ratio statistic).

    Parameters
    ----------
    a, b : ndarray, shapes (n1,), (n2,)
    weights_a, weights_b : ndarray, optional
        Non-negative; equal by default.
    sizes : (float, float), optional
        Effective sizes where they are less than what the weights say: draws of a Markov chain repeat each other.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> a, b = rng.normal(size=4000), rng.normal(size=4000)
    >>> jensen_shannon(a, b).indistinguishable
    True
    >>> shifted = jensen_shannon(a, b + 0.3)
    >>> print(f"{shifted.value:.4f} nat, limit {shifted.limit:.4f}: {shifted.indistinguishable}")
    0.0131 nat, limit 0.0047: False
    """
    pairs = [(x, np.ones(len(x)) if w is None else np.asarray(w)) for x, w in ((a, weights_a), (b, weights_b))]
    shares = [w / w.sum() for _, w in pairs]
    kish = [float(1 / (w**2).sum()) for w in shares]
    effective = kish if sizes is None else [min(n, size) for n, size in zip(kish, sizes, strict=True)]
    both, joint = np.concatenate([a, b]), np.concatenate([w / 2 for w in shares])
    low, high = weighted_quantile(both, [0.001, 0.999], joint)
    edges = np.concatenate([[-np.inf], np.linspace(low, high, BINS + 1), [np.inf]])
    p, q = (np.histogram(x, edges, weights=w)[0] for (x, _), w in zip(pairs, shares, strict=True))
    middle = (p + q) / 2
    value = sum(0.5 * np.sum(h[h > 0] * np.log(h[h > 0] / middle[h > 0])) for h in (p, q))
    unit = sum(1 / max(n, 1.0) for n in effective) / 8
    limit = max(LEAST_LIMIT, stats.chi2.ppf(0.999, BINS + 1) * unit)
    return Divergence(float(value), float(limit), float((BINS + 1) * unit))
