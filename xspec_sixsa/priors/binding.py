"""Priors matched with a session's parameters: checked against XSPEC's limits, and completed from them."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from xspec_sixsa.priors.joint import ROUNDING, JointPrior
from xspec_sixsa.priors.kinds import exponential, loguniform, normal, uniform
from xspec_sixsa.priors.prior import Prior, PriorError

__all__ = ["WIDEST_DEFAULT", "bind"]

log = logging.getLogger(__name__)

# A default range wider than this many times the parameter's value (or 1, if that is more) was chosen by nobody: XSPEC's
# own limits reach 1e24 for a norm and 1e6 for a column density, but 200 for a temperature.
WIDEST_DEFAULT = 1e5
# A normal or custom prior with less of its probability inside the limits is a slip of the pen.
LEAST_INSIDE = 1e-6
BAYES = ("cons", "exp", "jeffreys", "gauss")


class FreeParameter(Protocol):
    """What is asked of a session's free parameter."""

    @property
    def chain_name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def values(self) -> Sequence[float]: ...
    @property
    def prior(self) -> tuple[Any, ...]: ...


class HasParameters(Protocol):
    """What is asked of a session."""

    @property
    def parameters(self) -> Sequence[FreeParameter]:
        """In XSPEC's order."""

    def find(self, reference: Any) -> FreeParameter:
        """The one that an object, index or name means; ValueError for a frozen, linked or unknown one."""


def bind(priors: Iterable[Prior], session: HasParameters) -> JointPrior:
    """Match priors with a session's free parameters, check them, and complete them from XSPEC's limits and `bayes`.

    A parameter without a prior takes its `bayes` prior (cons, exp, jeffreys, gauss) where the session has one, else a
    uniform one over its hard limits; refused where these span more than 1e5 times the larger of its value and 1:
    nobody chose such a range (XSPEC's norms: 0 to 1e24).

    Parameters
    ----------
    priors : iterable of Prior
        For some or all free parameters, in any order.
    session : object
        `parameters` in XSPEC's order and ``find(reference)``, ValueError for a frozen, linked or unknown one.

    Raises
    ------
    PriorError
        For the first prior that cannot be used; or naming every parameter that needs a prior and has none.
    """
    parameters = list(session.parameters)
    if not parameters:
        raise PriorError("The session has no free parameter: nothing to fit. Thaw one (parameter.frozen = False).")
    by_name = {parameter.chain_name: parameter for parameter in parameters}
    bound: dict[str, Prior] = {}
    for prior in priors:
        found = [_find(session, reference, by_name) for reference in prior.references]
        names = [parameter.chain_name for parameter in found]
        for position, name in enumerate(names):
            if name in bound or name in names[:position]:
                raise PriorError(
                    f"{name} has two priors: {_said(bound.get(name, prior))}, {_said(prior)}. Drop one.", name
                )
        if prior.is_joint:
            prior = dataclasses.replace(prior, parameter=tuple(names))
            _check_function(prior, found)
        else:
            prior = _within_limits(dataclasses.replace(prior, parameter=names[0]), found[0])
        bound |= dict.fromkeys(names, prior)
    needy = []
    for name, parameter in by_name.items():
        if name not in bound:
            try:
                bound[name] = _default(parameter)
            except PriorError as error:
                needy.append(str(error))
            else:
                log.info("%s: no prior given, taking %s", name, bound[name].describe())
    if needy:
        raise PriorError("\n".join(needy))
    unique = list({id(bound[name]): bound[name] for name in by_name}.values())
    limits = [_hard(parameter) for parameter in parameters]
    labels, units = ([getattr(p, name, "") or "" for p in parameters] for name in ("label", "unit"))
    return JointPrior(list(by_name), unique, limits, labels, units)


def _find(session: HasParameters, reference: Any, by_name: dict[str, FreeParameter]) -> FreeParameter:
    try:
        parameter = session.find(reference)
    except ValueError as error:
        message = str(error)
        if not any(name in message for name in by_name):
            message += f" Free parameters: {', '.join(by_name)}."
        raise PriorError(message, value=reference) from error
    if parameter.chain_name not in by_name:
        raise PriorError(
            f"{parameter.chain_name} is not free. Free parameters: {', '.join(by_name)}.", parameter.chain_name
        )
    return parameter


def _hard(parameter: FreeParameter) -> tuple[float, float]:
    return float(parameter.values[2]), float(parameter.values[5])


def _said(prior: Prior) -> str:
    return prior.describe().strip()


def _within_limits(prior: Prior, parameter: FreeParameter) -> Prior:
    """Check a prior against the hard limits; give a truncated kind the limits that it has not."""
    name, (low, high) = prior.parameter, _hard(parameter)
    if prior.kind in ("normal", "lognormal", "exponential"):
        _refuse_beyond(prior, name, prior.low if "low" in prior.numbers else low, low, high)
        _refuse_beyond(prior, name, prior.high if "high" in prior.numbers else high, low, high)
        if prior.kind == "lognormal" and high <= 0.0:
            raise PriorError(
                f"{name}: a lognormal prior is of positive values; its hard maximum is {high:g}.", name, high
            )
        _check_inside(prior, name, max(prior.low, low), min(prior.high, high))
        numbers = {**prior.numbers}
        for key, limit in (("low", low), ("high", high)):
            if math.isfinite(limit):
                numbers.setdefault(key, limit)
        if numbers.get("low", -math.inf) >= numbers.get("high", math.inf):
            raise PriorError(
                f"{name}: nothing is left of the {prior.describe()} within hard limits {low:g}..{high:g}.", name
            )
        return dataclasses.replace(prior, numbers=numbers)
    numbers = {}
    for key, value, limit in zip(("low", "high"), prior.support, (low, high), strict=True):
        if math.isfinite(value) or prior.distribution is None:
            _refuse_beyond(prior, name, value, low, high)
        elif math.isfinite(limit):
            numbers[key] = limit
    if prior.distribution is None:
        return prior
    if numbers:
        _check_inside(prior, name, low, high)
        prior = dataclasses.replace(prior, numbers=numbers)
    _check_function(prior, [parameter])
    return prior


def _refuse_beyond(prior: Prior, name: str, value: float, low: float, high: float) -> None:
    if low - ROUNDING * abs(low) <= value <= high + ROUNDING * abs(high):
        return
    which, limit = ("minimum", low) if value < low else ("maximum", high)
    raise PriorError(
        f"{name}: its {prior.kind} prior goes to {value:g}, beyond XSPEC's hard {which} {limit:g}. XSPEC would keep "
        "its old "
        f"value there and the likelihood would be wrong. Stay within {low:g} to {high:g}, or widen the parameter's "
        "limits "
        "(parameter.values = (value, delta, min, bottom, top, max), or newpar).",
        name,
        value,
    )


def _check_inside(prior: Prior, name: str, low: float, high: float) -> None:
    """Refuse a prior that lies practically wholly outside the limits; say when it is cut noticeably."""
    whole = dataclasses.replace(prior, numbers={k: v for k, v in prior.numbers.items() if k not in ("low", "high")})
    if prior.kind == "exponential":
        return  # it is defined by its limits: nothing is cut off
    inside = float(whole.cdf(high) - (whole.cdf(low) if math.isfinite(low) else 0.0))
    if inside < LEAST_INSIDE:
        raise PriorError(
            f"{name}: only {inside:.1g} of its prior ({prior.describe()}) lies within {low:g} to {high:g}. Check "
            "its numbers"
            + (" (mean and sd are of ln(value))" if prior.kind == "lognormal" else "")
            + ", or widen the parameter's limits.",
            name,
            inside,
        )
    if inside < 0.99:
        log.info("%s: %.3g of the %s prior lies within %g to %g; it is cut there", name, inside, prior.kind, low, high)


def _check_function(prior: Prior, parameters: Sequence[FreeParameter]) -> None:
    """Run a user's function once, on points that reach the faces of the cube."""
    names = [parameter.chain_name for parameter in parameters]
    rng = np.random.default_rng(0)
    points = rng.random((256, len(names)))
    points = np.vstack([points, np.round(points[:64]), np.full(len(names), 0.5)])
    JointPrior(names, [prior], [_hard(parameter) for parameter in parameters]).transform(points)


def _default(parameter: FreeParameter) -> Prior:
    """The prior that XSPEC itself has for a parameter."""
    name, (low, high) = parameter.chain_name, _hard(parameter)
    given = getattr(parameter, "prior", None)
    if isinstance(given, str):
        given = (given,)
    kind, numbers = ("cons", []) if not given else (str(given[0]).lower(), [float(number) for number in given[1:]])
    if kind not in BAYES:
        raise PriorError(
            f"{name}: XSPEC's bayes prior {kind!r} is not known here (cons, exp, jeffreys, gauss are). Give a prior "
            "for it.",
            name,
            kind,
        )
    if kind == "cons" and high - low <= WIDEST_DEFAULT * max(abs(float(parameter.values[0])), 1.0):
        soft_low, soft_high = float(parameter.values[3]), float(parameter.values[4])
        prior = uniform(name, low, high)
        origin = "XSPEC's hard limits"
        if (soft_low, soft_high) != (low, high):
            origin += f"; its soft ones are {soft_low:g} to {soft_high:g}"
        if _is_norm(parameter) and low <= 0.0:
            origin += f"; for a norm consider {_suggestion(parameter)}"
    elif kind == "cons":
        raise PriorError(
            f"{name}: give a prior. XSPEC's own limits, {low:g} to {high:g}, span nothing that a spectrum could use. "
            f"For example {_suggestion(parameter)}, with your own numbers, or set the parameter's limits.",
            name,
            (low, high),
        )
    elif kind == "jeffreys":
        if low <= 0.0:
            raise PriorError(
                f"{name}: its bayes prior jeffreys (1/value) cannot start at its hard minimum {low:g}. Raise the "
                "minimum above "
                f"0, or give a prior, for example {_suggestion(parameter, logarithmic=True)}.",
                name,
                low,
            )
        prior, origin = loguniform(name, low, high), "bayes jeffreys, XSPEC's hard limits"
    else:
        # XSPEC 12.9.1: exp's number is the scale, ln prior = -value/scale; gauss has mean and sigma (manual, "bayes").
        needed = 1 if kind == "exp" else 2
        if len(numbers) < needed:
            raise PriorError(f"{name}: its bayes prior {kind} has {len(numbers)} of {needed} numbers.", name, given)
        prior = exponential(name, numbers[0]) if kind == "exp" else normal(name, numbers[0], numbers[1])
        origin = f"bayes {kind}"
    return _within_limits(dataclasses.replace(prior, origin=origin), parameter)


def _is_norm(parameter: FreeParameter) -> bool:
    return parameter.chain_name.split("__")[0] == "norm"


def _suggestion(parameter: FreeParameter, *, logarithmic: bool | None = None) -> str:
    value, (low, high) = float(parameter.values[0]), _hard(parameter)
    scale = abs(value) or 1.0
    if logarithmic if logarithmic is not None else _is_norm(parameter):
        return f'loguniform("{parameter.chain_name}", {max(low, scale * 1e-2):g}, {min(high, scale * 1e2):g})'
    return f'uniform("{parameter.chain_name}", {max(low, -10 * scale):g}, {min(high, 10 * scale):g})'
