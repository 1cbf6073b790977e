"""The kinds of prior that users write: by function, by words as in Tcl, or by a table as in TOML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xspec_sixsa.priors.prior import Prior, PriorError, title_of

__all__ = [
    "KINDS",
    "custom",
    "exponential",
    "from_mapping",
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


def uniform(parameter: Any, low: float, high: float) -> Prior:
    """Equal probability everywhere in [low, high], in the parameter's unit.

    Parameters
    ----------
    parameter : object
        A PyXspec Parameter, ``(model, index)``, or its name in XSPEC's chains.
    low, high : float

    Examples
    --------
    >>> prior = uniform("nH__1", 0.0, 0.5)
    >>> prior.describe()
    'uniform low 0 high 0.5'
    >>> prior.ppf([0.0, 0.5, 1.0]).tolist()
    [0.0, 0.25, 0.5]
    """
    return _make(parameter, "uniform", {"low": low, "high": high})


def loguniform(parameter: Any, low: float, high: float) -> Prior:
    """Equal probability for every order of magnitude in [low, high], low > 0 (Jeffreys' prior of a scale).

    Parameters
    ----------
    parameter : object
        As for `uniform`.
    low, high : float

    Examples
    --------
    Half of the probability lies in each of the two decades:

    >>> prior = loguniform("norm__5", 1e-5, 1e-3)
    >>> print(prior.ppf([0.25, 0.5, 0.75]))
    [3.16227766e-05 1.00000000e-04 3.16227766e-04]

    >>> loguniform("norm__5", 0.0, 1e-3)
    Traceback (most recent call last):
        ...
    xspec_sixsa.priors.prior.PriorError: norm__5: low of the loguniform prior is 0: a logarithm has no lower end...
    """
    return _make(parameter, "loguniform", {"low": low, "high": high})


def normal(parameter: Any, mean: float, sd: float, low: float | None = None, high: float | None = None) -> Prior:
    """A normal distribution truncated to [low, high] (default: the parameter's hard limits) and renormalised.

    Parameters
    ----------
    parameter : object
        As for `uniform`.
    mean, sd : float
        Of the whole distribution, before it is cut.
    low, high : float, optional

    Examples
    --------
    A column density known from radio maps; it cannot be negative:

    >>> prior = normal("nH__1", 0.02, 0.01, low=0.0)
    >>> print(prior.ppf([0.0, 0.5, 0.9]).round(4))
    [0.     0.0203 0.0329]
    """
    return _make(parameter, "normal", {"mean": mean, "sd": sd, "low": low, "high": high})


def lognormal(parameter: Any, mean: float, sd: float, low: float | None = None, high: float | None = None) -> Prior:
    """A value whose natural logarithm is normal, truncated to [low, high] (default: the parameter's hard limits).

    Parameters
    ----------
    parameter : object
        As for `uniform`.
    mean, sd : float
        Of ln(value): ``mean=math.log(1e-4), sd=2.3`` is 1e-4 within about an order of magnitude.
    low, high : float, optional

    Examples
    --------
    >>> prior = lognormal("norm__3", math.log(1e-4), 2.3)
    >>> print(prior.ppf([0.16, 0.5, 0.84]))
    [1.01545010e-05 1.00000000e-04 9.84784975e-04]
    """
    return _make(parameter, "lognormal", {"mean": mean, "sd": sd, "low": low, "high": high})


def exponential(parameter: Any, scale: float, low: float | None = None, high: float | None = None) -> Prior:
    """Density proportional to exp(-value/scale) in [low, high] (default: the parameter's hard limits).

    This is XSPEC's ``bayes <par> exp <scale>`` (XSPEC manual, "bayes").

    Parameters
    ----------
    parameter : object
        As for `uniform`.
    scale : float
        Above 0, in the parameter's unit.
    low, high : float, optional

    Examples
    --------
    >>> prior = exponential("nH__1", 0.1, low=0.0)
    >>> print(prior.ppf([0.0, 0.5, 0.95]).round(4))
    [0.     0.0693 0.2996]
    """
    return _make(parameter, "exponential", {"scale": scale, "low": low, "high": high})


def custom(parameter: Any, frozen: Any) -> Prior:
    """Any scipy frozen distribution, or another object with ``ppf`` (and ``cdf``, where it can), vectorised.

    An infinite tail is cut at the parameter's hard limit and the rest renormalised; this needs ``cdf``.

    Parameters
    ----------
    parameter : object
        As for `uniform`.
    frozen : object
        For example ``scipy.stats.beta(2, 5)``.

    Examples
    --------
    A covering fraction, most likely about a fifth:

    >>> from scipy import stats
    >>> prior = custom("CvrFract__2", stats.beta(2, 5))
    >>> prior.describe()
    'custom beta(2, 5)'
    >>> print(prior.ppf([0.0, 0.5, 1.0]).round(3))
    [0.    0.264 1.   ]
    """
    if not callable(getattr(frozen, "ppf", None)):
        raise PriorError(
            f"{title_of(parameter)}: a custom prior needs an object with ppf, got {type(frozen).__name__}. "
            "Give a frozen distribution such as scipy.stats.beta(2, 5), with its numbers.",
            title_of(parameter),
            frozen,
        )
    try:
        middle = frozen.ppf(0.5)
    except TypeError as error:
        raise PriorError(
            f"{title_of(parameter)}: the custom prior's ppf(0.5) fails: {error}. Is it frozen, with its numbers, "
            "such as "
            "scipy.stats.beta(2, 5)?",
            title_of(parameter),
            frozen,
        ) from error
    if np.ndim(middle) != 0:
        raise PriorError(
            f"{title_of(parameter)}: the custom distribution is not of one number (ppf(0.5) has shape "
            f"{np.shape(middle)}). Use joint(...) for several parameters.",
            title_of(parameter),
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
        Takes unit-cube coordinates (n, k), returns physical values (n, k), each row by itself. Example, kT_2 always
        above kT_1: ``lambda u: np.column_stack([5 * u[:, 0], 5 * u[:, 0] + (5 - 5 * u[:, 0]) * u[:, 1]])``.
    kind : str, default "joint"
        A word for tables and logs.

    Examples
    --------
    Two temperatures below 5 keV, the second always the hotter one, so that the components cannot change places:

    >>> def ordered(u):
    ...     cool = 5 * u[:, 0]
    ...     return np.column_stack([cool, cool + (5 - cool) * u[:, 1]])
    >>> prior = joint(["kT__2", "kT__4"], ordered, "ordered")
    >>> prior.describe()
    'ordered prior of kT__2, kT__4'
    >>> prior.function(np.array([[0.2, 0.5]])).tolist()
    [[1.0, 3.0]]
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

    Parameters
    ----------
    parameter : object
        As for `uniform`.
    kind : str
        One of `KINDS`, or XSPEC's word for it (``jeffreys``, ``gauss``, ``exp``).
    numbers : sequence of float or str
        In the order of `KINDS`; the last may be left out where a kind has limits.

    Examples
    --------
    >>> from_words("nH__1", "uniform", ["0", "0.5"]).numbers
    {'low': 0.0, 'high': 0.5}
    """
    kind = _kind(parameter, kind)
    needed, optional = KINDS[kind]
    names = needed + optional
    if not len(needed) <= len(numbers) <= len(names):
        usage = " ".join([*needed, *(f"?{name}?" for name in optional)])
        raise PriorError(
            f"{title_of(parameter)}: {kind} takes the numbers {usage}, got {len(numbers)}: "
            f"{' '.join(map(str, numbers))}.",
            title_of(parameter),
            list(numbers),
        )
    return _make(parameter, kind, dict(zip(names, numbers, strict=False)))


def from_mapping(parameter: Any, table: Mapping[str, Any]) -> Prior:
    """A prior from a mapping with `kind` and its numbers by name, as a TOML table gives it.

    Examples
    --------
    >>> from_mapping("norm__5", {"kind": "loguniform", "low": 1e-5, "high": 1e-2}).describe()
    'loguniform low 1e-05 high 0.01'
    """
    if "kind" not in table:
        raise PriorError(
            f'{title_of(parameter)}: no kind. Write kind = "uniform" (or {", ".join(KINDS)}).', title_of(parameter)
        )
    kind = _kind(parameter, table["kind"])
    given = {name: value for name, value in table.items() if name != "kind"}
    needed, optional = KINDS[kind]
    for name in given:
        if name not in needed + optional:
            raise PriorError(
                f"{title_of(parameter)}: a {kind} prior has no {name!r}; it takes {', '.join(needed + optional)}.",
                title_of(parameter),
                given[name],
            )
    for name in needed:
        if name not in given:
            raise PriorError(f"{title_of(parameter)}: a {kind} prior needs {name!r}.", title_of(parameter))
    return _make(parameter, kind, given)


def _kind(parameter: Any, kind: Any) -> str:
    name = ALIASES.get(str(kind).lower(), str(kind).lower())
    if name not in KINDS:
        raise PriorError(
            f"{title_of(parameter)}: no kind of prior {kind!r}; there are {', '.join(KINDS)} "
            "(custom and joint ones only from Python).",
            title_of(parameter),
            kind,
        )
    return name


def _make(parameter: Any, kind: str, given: Mapping[str, Any]) -> Prior:
    """Check the numbers as far as this goes without a session."""
    title = title_of(parameter)
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
