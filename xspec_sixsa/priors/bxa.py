"""BXA's prior helpers and its lists of transformations (Buchner et al. 2014; bxa.xspec 5), by BXA's meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xspec_sixsa.priors.kinds import from_words
from xspec_sixsa.priors.prior import Prior, PriorError

__all__ = [
    "SoftLimitsError",
    "create_custom_prior_for",
    "create_gaussian_prior_for",
    "create_jeffreys_prior_for",
    "create_loguniform_prior_for",
    "create_uniform_prior_for",
    "from_bxa",
]

KEYS = ("model", "index", "name", "transform", "aftertransform")


class SoftLimitsError(PriorError, UserWarning):
    """Hard and soft limits differ. Also a UserWarning: that is what BXA 5 raises there."""


def create_uniform_prior_for(model: Any, par: Any) -> Prior:
    """Uniform between the parameter's soft limits, which must equal the hard ones.

    Parameters
    ----------
    model : Model
        PyXspec's, real or embedded.
    par : Parameter
        One of its parameters.

    Raises
    ------
    PriorError
        If the soft limits differ from the hard ones.
    """
    return from_words((model, _index(par)), "uniform", _limits(par))


def create_loguniform_prior_for(model: Any, par: Any) -> Prior:
    """Log-uniform between the parameter's soft limits, which must equal the hard ones and be above 0.

    Parameters
    ----------
    model, par : Model, Parameter
        As for `create_uniform_prior_for`.

    Raises
    ------
    PriorError
        If the limits are not so.
    """
    low, high = _limits(par)
    if low <= 0.0:
        raise PriorError(
            f"{par.name}: its lower limit is {low:g}, and a log-uniform prior needs one above 0. Set it first: "
            f"parameter.values = (value, delta, 1e-10, 1e-10, {high:g}, {high:g}), with your own numbers.",
            par.name,
            low,
        )
    return from_words((model, _index(par)), "loguniform", (low, high))


def create_jeffreys_prior_for(model: Any, par: Any) -> Prior:
    """BXA's older name of `create_loguniform_prior_for`.

    Parameters
    ----------
    model, par : Model, Parameter
        As for `create_uniform_prior_for`.
    """
    return create_loguniform_prior_for(model, par)


def create_gaussian_prior_for(model: Any, par: Any, mean: float, std: float) -> Prior:
    """A normal distribution *clipped* at the soft limits: what lies beyond them is piled up on them.

    That is BXA's meaning; `xspec_sixsa.normal` truncates and renormalises.

    Parameters
    ----------
    model, par : Model, Parameter
        As for `create_uniform_prior_for`.
    mean, std : float
        Of the whole distribution, before it is clipped.
    """
    low, high = _limits(par)
    numbers = from_words((model, _index(par)), "normal", (mean, std, low, high)).numbers
    return Prior((model, _index(par)), "clipped normal", numbers)


def create_custom_prior_for(
    model: Any, par: Any, transform: Callable[[Any], Any], aftertransform: Callable[[Any], Any] = lambda x: x
) -> Prior:
    """A prior by its transformation of a unit-interval number.

    Parameters
    ----------
    model, par : Model, Parameter
        As for `create_uniform_prior_for`.
    transform : callable
        From a number in [0, 1] to the number that BXA samples, for example a logarithm.
    aftertransform : callable, optional
        From that to the parameter in XSPEC's unit; default: as it is.
    """
    return _by_transformation(model, _index(par), par.name, transform, aftertransform)


def from_bxa(transformations: Iterable[Mapping[str, Any]]) -> list[Prior]:
    """Priors from BXA's `transformations`, the dicts that its ``create_*_prior_for`` return.

    The functions are used as they are: a value is ``aftertransform(transform(u))``.

    Parameters
    ----------
    transformations : iterable of dict
        With ``model``, ``index``, ``name``, ``transform`` and ``aftertransform``.

    Raises
    ------
    PriorError
        If an entry is no such dict, named by what it lacks.
    """
    priors = []
    for position, entry in enumerate(transformations, start=1):
        missing = [key for key in KEYS if key not in entry] if isinstance(entry, Mapping) else list(KEYS)
        if missing:
            raise PriorError(
                f"Entry {position} of the BXA transformations lacks {', '.join(missing)}. Make it with one of "
                "bxa.xspec.create_*_prior_for.",
                value=entry,
            )
        priors.append(_by_transformation(entry["model"], entry["index"], entry["name"], entry["transform"],
                                         entry["aftertransform"]))  # fmt: skip
    return priors


class Transformation:
    """BXA's two functions of one number as a quantile function of arrays."""

    def __init__(self, name: str, transform: Callable[[Any], Any], aftertransform: Callable[[Any], Any]) -> None:
        self.name, self.transform, self.aftertransform = name, transform, aftertransform
        # Most take arrays as well, a hundred times faster, but min() and max() in them do not.
        probe = np.linspace(0.0, 1.0, 33)
        try:
            whole = np.asarray(aftertransform(transform(probe)), dtype=np.float64)
        except Exception:
            self.takes_arrays = False
        else:
            self.takes_arrays = whole.shape == probe.shape and np.array_equal(
                whole, self._one_by_one(probe), equal_nan=True
            )

    def ppf(self, u: ArrayLike) -> NDArray[np.float64]:
        """Physical values at numbers in [0, 1]."""
        u = np.asarray(u, dtype=np.float64)
        if self.takes_arrays and u.ndim:
            return np.asarray(self.aftertransform(self.transform(u)), dtype=np.float64)
        return self._one_by_one(u)

    def _one_by_one(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        values = [float(self.aftertransform(self.transform(float(number)))) for number in u.ravel()]
        return np.array(values, dtype=np.float64).reshape(u.shape)


def _by_transformation(
    model: Any, index: int, name: str, transform: Callable[[Any], Any], aftertransform: Callable[[Any], Any]
) -> Prior:
    for function in (transform, aftertransform):
        if not callable(function):
            raise PriorError(f"{name}: {function!r} is not a function of a number in [0, 1].", name, function)
    return Prior((model, index), "bxa", distribution=Transformation(name, transform, aftertransform))


def _index(par: Any) -> int:
    # A PyXspec Parameter tells its place in the model in no public way; BXA reads the same.
    return int(par._Parameter__index)


def _limits(par: Any) -> tuple[float, float]:
    _, _, hard_low, low, high, hard_high = par.values
    if hard_low != low or hard_high != high:
        raise SoftLimitsError(
            f"{par.name}: hard limits {hard_low:g}..{hard_high:g} and soft limits {low:g}..{high:g} differ, and "
            "BXA's priors "
            f"need them equal. Set parameter.values = (value, delta, {low:g}, {low:g}, {high:g}, {high:g}), or use "
            "xspec_sixsa.uniform(parameter, low, high) and its siblings.",
            par.name,
            tuple(par.values),
        )
    return float(low), float(high)
