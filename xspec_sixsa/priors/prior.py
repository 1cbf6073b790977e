"""One prior: of one parameter by its quantile function, or of several through a user's transform of the unit cube."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "KINDS",
    "Prior",
    "PriorError",
    "custom",
    "exponential",
    "from_words",
    "joint",
    "lognormal",
    "loguniform",
    "normal",
    "uniform",
]

# The numbers of each kind by name, in the order of Tcl and the shell; those of the second tuple may be left out.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "uniform": (("low", "high"), ()),
    "loguniform": (("low", "high"), ()),
    "normal": (("mean", "sd"), ("low", "high")),
    "lognormal": (("mean", "sd"), ("low", "high")),
    "exponential": (("scale",), ("low", "high")),
}
ALIASES = {"jeffreys": "loguniform", "gauss": "normal", "gaussian": "normal", "exp": "exponential"}


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
        A PyXspec Parameter, ``(model, index)`` or a chain name such as ``"norm__5"``; for a joint prior a tuple of them.
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
        return ", ".join(_title(reference) for reference in self.references)

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

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value, in the parameter's unit."""
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
        u = np.asarray(u, dtype=np.float64)
        low, high = self.support
        if not math.isfinite(low):
            u = np.maximum(u, np.finfo(np.float64).tiny)
        if not math.isfinite(high):
            u = np.minimum(u, 1.0 - np.finfo(np.float64).epsneg)
        if self.kind == "clipped normal":
            return np.clip(self.frozen.ppf(u), low, high)
        if self.distribution is not None and (below_above := self._cut) is not None:
            u = below_above[0] + u * (below_above[1] - below_above[0])
        values = np.asarray(self.frozen.ppf(u), dtype=np.float64)
        if self.kind == "lognormal":
            values = np.exp(values)
        # Rounding alone can leave the support: 10**log10(x) is not x.
        return values if self.kind == "bxa" else np.clip(values, low, high)

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
        if self.distribution is not None and (below_above := self._cut) is not None:
            u = np.clip((u - below_above[0]) / (below_above[1] - below_above[0]), 0.0, 1.0)
        return u

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
        """Probabilities of a custom distribution below the two limits; None where nothing is cut off."""
        if not {"low", "high"} & set(self.numbers):
            return None
        below = float(self.distribution.cdf(self.low)) if math.isfinite(self.low) else 0.0
        above = float(self.distribution.cdf(self.high)) if math.isfinite(self.high) else 1.0
        return below, above

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


def uniform(parameter: Any, low: float, high: float) -> Prior:
    """Equal probability everywhere in [low, high], in the parameter's unit."""
    return _make(parameter, "uniform", {"low": low, "high": high})


def loguniform(parameter: Any, low: float, high: float) -> Prior:
    """Equal probability for every order of magnitude in [low, high], low > 0 (Jeffreys' prior of a scale)."""
    return _make(parameter, "loguniform", {"low": low, "high": high})


def normal(parameter: Any, mean: float, sd: float, low: float | None = None, high: float | None = None) -> Prior:
    """A normal distribution truncated to [low, high] (default: the parameter's hard limits) and renormalised."""
    return _make(parameter, "normal", {"mean": mean, "sd": sd, "low": low, "high": high})


def lognormal(parameter: Any, mean: float, sd: float, low: float | None = None, high: float | None = None) -> Prior:
    """A value whose natural logarithm is normal, truncated to [low, high] (default: the parameter's hard limits).

    Parameters
    ----------
    mean, sd : float
        Of ln(value): ``mean=math.log(1e-4), sd=2.3`` is 1e-4 within about an order of magnitude.
    """
    return _make(parameter, "lognormal", {"mean": mean, "sd": sd, "low": low, "high": high})


def exponential(parameter: Any, scale: float, low: float | None = None, high: float | None = None) -> Prior:
    """Density proportional to exp(-value/scale) in [low, high] (default: the parameter's hard limits).

    This is XSPEC's ``bayes <par> exp <scale>`` (XSPEC manual, "bayes").
    """
    return _make(parameter, "exponential", {"scale": scale, "low": low, "high": high})


def custom(parameter: Any, frozen: Any) -> Prior:
    """Any scipy frozen distribution, or another object with ``ppf`` (and ``cdf``, where it can), vectorised.

    An infinite tail is cut at the parameter's hard limit and the rest renormalised; this needs ``cdf``.
    """
    if not callable(getattr(frozen, "ppf", None)):
        raise PriorError(
            f"{_title(parameter)}: a custom prior needs an object with ppf, got {type(frozen).__name__}. "
            "Give a frozen distribution such as scipy.stats.beta(2, 5), with its numbers.",
            _title(parameter),
            frozen,
        )
    if np.ndim(frozen.ppf(0.5)) != 0:
        raise PriorError(
            f"{_title(parameter)}: the custom distribution is not of one number (ppf(0.5) has shape "
            f"{np.shape(frozen.ppf(0.5))}). Use joint(...) for several parameters.",
            _title(parameter),
            frozen,
        )
    return Prior(parameter, "custom", distribution=frozen)


def joint(
    parameters: Sequence[Any], transform: Callable[[NDArray[np.float64]], ArrayLike], kind: str = "joint"
) -> Prior:
    """A prior of several parameters that depend on each other.

    Parameters
    ----------
    parameters : sequence
        The k parameters, in the order of `transform`'s columns.
    transform : callable
        Takes unit-cube coordinates (n, k), returns physical values (n, k), row by row independently. Example, kT_2 always
        above kT_1: ``lambda u: np.column_stack([5 * u[:, 0], 5 * u[:, 0] + (5 - 5 * u[:, 0]) * u[:, 1]])``.
    kind : str, default "joint"
        A word for tables and logs.
    """
    if isinstance(parameters, str) or len(parameters) < 1:
        raise PriorError(f"joint(...) needs a list of parameters, got {parameters!r}.", value=parameters)
    if not callable(transform):
        raise PriorError(
            f"joint(...) needs a function of unit-cube coordinates (n, k), got {transform!r}.", value=transform
        )
    return Prior(tuple(parameters), kind, function=transform)


def from_words(parameter: Any, kind: str, numbers: Sequence[float | str]) -> Prior:
    """A prior from a kind and its numbers in order, as Tcl and the shell give them.

    >>> from_words("nH__1", "uniform", ["0", "0.5"]).numbers
    {'low': 0.0, 'high': 0.5}
    """
    kind = _kind(parameter, kind)
    needed, optional = KINDS[kind]
    names = needed + optional
    if not len(needed) <= len(numbers) <= len(names):
        usage = " ".join([*needed, *(f"?{name}?" for name in optional)])
        raise PriorError(
            f"{_title(parameter)}: {kind} takes the numbers {usage}, got {len(numbers)}: "
            f"{' '.join(map(str, numbers))}.",
            _title(parameter),
            list(numbers),
        )
    return _make(parameter, kind, dict(zip(names, numbers, strict=False)))


def from_mapping(parameter: Any, table: Mapping[str, Any]) -> Prior:
    """A prior from a mapping with `kind` and its numbers by name, as a TOML table gives it."""
    if "kind" not in table:
        raise PriorError(
            f'{_title(parameter)}: no kind. Write kind = "uniform" (or {", ".join(KINDS)}).', _title(parameter)
        )
    kind = _kind(parameter, table["kind"])
    given = {name: value for name, value in table.items() if name != "kind"}
    needed, optional = KINDS[kind]
    for name in given:
        if name not in needed + optional:
            raise PriorError(
                f"{_title(parameter)}: a {kind} prior has no {name!r}; it takes {', '.join(needed + optional)}.",
                _title(parameter),
                given[name],
            )
    for name in needed:
        if name not in given:
            raise PriorError(f"{_title(parameter)}: a {kind} prior needs {name!r}.", _title(parameter))
    return _make(parameter, kind, given)


def _kind(parameter: Any, kind: Any) -> str:
    name = ALIASES.get(str(kind).lower(), str(kind).lower())
    if name not in KINDS:
        raise PriorError(
            f"{_title(parameter)}: no kind of prior {kind!r}; there are {', '.join(KINDS)} "
            "(custom and joint ones only from Python).",
            _title(parameter),
            kind,
        )
    return name


def _make(parameter: Any, kind: str, given: Mapping[str, Any]) -> Prior:
    """Check the numbers as far as this goes without a session."""
    title = _title(parameter)
    numbers: dict[str, float] = {}
    for name, value in given.items():
        if value is None:
            continue
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise PriorError(f"{title}: {name} of the {kind} prior is {value!r}; give a finite number.", title, value)
        numbers[name] = number
    for name in ("sd", "scale"):
        if numbers.get(name, 1.0) <= 0.0:
            remedy = "Freeze the parameter to hold it fixed, or give" if numbers[name] == 0.0 else "Give"
            raise PriorError(
                f"{title}: {name} of the {kind} prior is {numbers[name]:g}. {remedy} a {name} above 0.",
                title,
                numbers[name],
            )
    low, high = numbers.get("low", -math.inf), numbers.get("high", math.inf)
    if low >= high:
        raise PriorError(
            f"{title}: low {low:g} is not below high {high:g}: an empty range has no prior. "
            + ("Freeze the parameter to hold it fixed." if low == high else "Exchange the two."),
            title,
            (low, high),
        )
    if kind == "loguniform" and low <= 0.0:
        raise PriorError(
            f"{title}: low of the loguniform prior is {low:g}: a logarithm has no lower end there. Give the "
            "smallest value "
            f"that the spectrum could tell from nothing, such as {high * 1e-6:g}, or take a uniform prior.",
            title,
            low,
        )
    if kind == "lognormal" and high <= 0.0:
        raise PriorError(f"{title}: a lognormal prior is of positive values, but high is {high:g}.", title, high)
    return Prior(parameter, kind, numbers)


def _title(reference: Any) -> str:
    if isinstance(reference, str):
        return reference
    if isinstance(reference, tuple) and len(reference) == 2:
        model = getattr(reference[0], "name", reference[0]) or ""
        return f"parameter {model}{':' if model else ''}{reference[1]}"
    name = getattr(reference, "chain_name", None) or getattr(reference, "name", None)
    return str(name) if name else repr(reference)


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
