"""One prior: of one parameter by its quantile function, or of several through a user's transform of the unit cube."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Prior", "PriorError", "equal_steps", "title_of"]


class PriorError(ValueError):
    """A prior that cannot be used, found before anything is spent.

    Attributes
    ----------
    parameter : str or None
        The parameter's name, as far as it is known.
    value : object
        What was given.
    """

    def __init__(self, message: str, parameter: str | None = None, value: Any = None) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.value = value


@dataclass(frozen=True, eq=False)
class Prior:
    """A prior and the parameter it belongs to; made by `uniform` and its siblings.

    Parameters
    ----------
    parameter : object
        A PyXspec Parameter, ``(model, index)`` or a chain name such as ``"norm__5"``; of a joint prior a tuple.
    kind : str
        ``"uniform"``, ``"loguniform"``, ``"normal"``, ``"lognormal"``, ``"exponential"``, ``"custom"``,
        ``"clipped normal"`` and ``"bxa"`` (BXA's), or a joint prior's own word.
    numbers : mapping of str to float
        The kind's numbers by name. `low` and `high` of a truncated kind are absent until it is bound to a session.
    distribution : object, optional
        Of a custom prior: has ``ppf``, and ``cdf`` where it can.
    function : callable, optional
        Of a joint prior: unit-cube columns (n, k) to physical values (n, k).
    origin : str
        Where the prior comes from, as shown to the user; empty where the user gave it.

    Examples
    --------
    `ppf` goes from the unit interval to the parameter, `cdf` back:

    >>> from xspec_sixsa import uniform
    >>> prior = uniform("PhoIndex__2", 1.0, 3.0)
    >>> prior.ppf(0.25).item(), prior.cdf(1.5).item()
    (1.5, 0.25)
    >>> prior.support
    (1.0, 3.0)
    """

    parameter: Any
    kind: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    distribution: Any = None
    function: Callable[[NDArray[np.float64]], ArrayLike] | None = None
    origin: str = ""

    @property
    def is_joint(self) -> bool:
        """Whether this is a prior of several parameters."""
        return self.function is not None

    @property
    def references(self) -> tuple[Any, ...]:
        """The parameters, always as a tuple."""
        return tuple(self.parameter) if self.is_joint else (self.parameter,)

    @property
    def title(self) -> str:
        """The parameter's name for messages."""
        return ", ".join(title_of(reference) for reference in self.references)

    @property
    def low(self) -> float:
        """Lower limit of truncation, -inf where there is none (yet)."""
        return self.numbers.get("low", -math.inf)

    @property
    def high(self) -> float:
        """Upper limit of truncation, inf where there is none (yet)."""
        return self.numbers.get("high", math.inf)

    @cached_property
    def frozen(self) -> Any:
        """The scipy frozen distribution of the kind (of ln value for a lognormal), or the user's."""
        # scipy.stats takes half a second to import, and `import xspec_sixsa` should not.
        from scipy import stats

        n = self.numbers
        if self.kind == "uniform":
            return stats.uniform(n["low"], n["high"] - n["low"])
        if self.kind == "loguniform":
            return stats.loguniform(n["low"], n["high"])
        if self.kind == "normal":
            return stats.truncnorm(
                (self.low - n["mean"]) / n["sd"], (self.high - n["mean"]) / n["sd"], n["mean"], n["sd"]
            )
        if self.kind == "lognormal":
            low, high = (_log(limit) for limit in (max(self.low, 0.0), self.high))
            return stats.truncnorm((low - n["mean"]) / n["sd"], (high - n["mean"]) / n["sd"], n["mean"], n["sd"])
        if self.kind == "exponential":
            low, high = self.support
            if not math.isfinite(high):
                return stats.expon(low, n["scale"])
            return stats.truncexpon((high - low) / n["scale"], low, n["scale"])
        if self.kind == "clipped normal":
            return stats.norm(n["mean"], n["sd"])
        return self.distribution

    @cached_property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value, in the parameter's unit; of a bare ``ppf``: its values at 0 and 1."""
        self._one_parameter()
        if self.kind == "lognormal":
            return max(self.low, 0.0), self.high
        if self.kind == "exponential" and not math.isfinite(self.low):
            return 0.0, self.high
        if self.distribution is None:
            return self.low, self.high
        low, high = _quantile_range(self.distribution)
        return max(low, self.low), min(high, self.high)

    def ppf(self, u: ArrayLike) -> NDArray[np.float64]:
        """Physical values at unit-cube coordinates, element by element.

        Parameters
        ----------
        u : array_like
            Numbers in [0, 1]. Exactly 0 and 1 are moved inwards where they would give an infinity.
        """
        self._one_parameter()
        inside: NDArray[np.float64] = np.asarray(u, dtype=np.float64)
        low, high = self.support
        if not math.isfinite(low):
            inside = np.maximum(inside, np.finfo(np.float64).tiny)
        if not math.isfinite(high):
            inside = np.minimum(inside, 1.0 - np.finfo(np.float64).epsneg)
        if self._cut is not None:
            below, above = self._cut
            inside = below + inside * (above - below)
        values = self._quantiles(inside)
        if self.kind == "lognormal":
            values = np.exp(values)
        if self.distribution is not None and not hasattr(self.distribution, "support"):
            low, high = self.low, self.high  # a bare ppf need not rise: its ends bound nothing
        # Rounding alone can leave the support: exp(log(x)) is not x.
        return np.clip(values, low, high)

    def _quantiles(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind not in ("uniform", "loguniform"):
            return np.asarray(self.frozen.ppf(u), dtype=np.float64)
        # scipy's own formulas: its checks take longer than an emulated spectrum
        low, high = self.numbers["low"], self.numbers["high"]
        if self.kind == "uniform":
            values = u * (high - low) + low
        else:
            values = np.exp(np.log(low) + u * (np.log(high) - np.log(low)))
        return np.where((u >= 0) & (u <= 1), values, np.nan)

    def cdf(self, values: ArrayLike) -> NDArray[np.float64]:
        """Unit-cube coordinates of physical values: the inverse of `ppf`.

        A distribution without ``cdf`` is inverted by bisection where its ``ppf`` rises.

        Raises
        ------
        PriorError
            For a joint prior, and for a ``ppf`` that does not rise.
        """
        self._one_parameter()
        values = np.asarray(values, dtype=np.float64)
        if self.kind == "lognormal":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(self.frozen.cdf(np.log(values)), dtype=np.float64)
        if not hasattr(self.frozen, "cdf"):
            return self._invert(values)
        u = np.asarray(self.frozen.cdf(values), dtype=np.float64)
        return u if self._cut is None else self._uncut(u)

    def describe(self) -> str:
        """The kind and its numbers, as the user would write them."""
        words = [self.kind] + [f"{name} {value:g}" for name, value in self.numbers.items()]
        if self.kind == "custom":
            words.insert(1, _distribution_name(self.distribution))
        elif self.kind == "bxa":
            low, high = self.support
            words.append(f"transformation, {low:g} to {high:g}")
        elif self.is_joint:
            words.append(f"prior of {self.title}")
        return " ".join(words) + (f"  ({self.origin})" if self.origin else "")

    @cached_property
    def _cut(self) -> tuple[float, float] | None:
        """Probabilities of a user's distribution at the two limits; None where nothing is cut off."""
        if self.distribution is None or not {"low", "high"} & set(self.numbers):
            return None
        whole = replace(self, numbers={})
        below = float(whole.cdf(self.low)) if math.isfinite(self.low) else 0.0
        above = float(whole.cdf(self.high)) if math.isfinite(self.high) else 1.0
        return below, above

    def _uncut(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        below, above = self._cut or (0.0, 1.0)
        return np.clip((u - below) / (above - below), 0.0, 1.0)

    def _one_parameter(self) -> None:
        if self.is_joint:
            raise PriorError(
                f"The {self.kind} prior of {self.title} has no quantile function of its own: it is a joint one."
            )

    def _invert(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        probe = self.ppf(np.linspace(0.0, 1.0, 257))
        if not np.all(np.diff(probe) > 0.0):
            raise PriorError(
                f"{self.title}: the {self.kind} prior has no cdf and its ppf does not rise everywhere, so values "
                "cannot be "
                "turned back into unit-cube coordinates. Give it a cdf."
            )
        low, high = np.zeros_like(values), np.ones_like(values)
        for _ in range(54):  # one for each bit of a float in [0, 1]
            middle = 0.5 * (low + high)
            left = self.ppf(middle) < values
            low, high = np.where(left, middle, low), np.where(left, high, middle)
        return np.where(np.isnan(values), np.nan, 0.5 * (low + high))


def title_of(reference: Any) -> str:
    """A name for messages of whatever a user refers to a parameter by."""
    if isinstance(reference, str):
        return reference
    if isinstance(reference, tuple) and len(reference) == 2:
        model = getattr(reference[0], "name", reference[0]) or ""
        return f"parameter {model}{':' if model else ''}{reference[1]}"
    name = getattr(reference, "chain_name", None) or getattr(reference, "name", None)
    return str(name) if name else repr(reference)


def equal_steps(values: ArrayLike, *, logarithmic: bool) -> float | None:
    """What tells a (log-)uniform prior by what it does, whoever wrote it and under whatever name.

    Parameters
    ----------
    values : array_like, shape (n,)
        A quantile function's, at equidistant probabilities.
    logarithmic : bool
        Whether the values' logarithms are meant.

    Returns
    -------
    float or None
        The step from each to the next; None where they do not rise by equal steps.
    """
    y = np.asarray(values, dtype=np.float64)
    if not np.isfinite(y).all() or (logarithmic and y.min() <= 0):
        return None
    y = np.log(y) if logarithmic else y
    step = float(y[-1] - y[0]) / (len(y) - 1)
    return step if step > 0 and np.allclose(np.diff(y), step, rtol=1e-6, atol=0.0) else None


def _log(value: float) -> float:
    if value <= 0.0:
        return -math.inf
    return math.log(value) if math.isfinite(value) else math.inf


def _quantile_range(distribution: Any) -> tuple[float, float]:
    if hasattr(distribution, "support"):
        low, high = distribution.support()
    else:
        low, high = distribution.ppf(0.0), distribution.ppf(1.0)
    return min(float(low), float(high)), max(float(low), float(high))


def _distribution_name(distribution: Any) -> str:
    name = getattr(getattr(distribution, "dist", None), "name", None)
    if name is None:
        return type(distribution).__name__
    words = [f"{value:g}" for value in distribution.args] + [f"{k}={v:g}" for k, v in distribution.kwds.items()]
    return f"{name}({', '.join(words)})"
