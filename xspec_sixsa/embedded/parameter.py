"""`Parameter`: the handle that PyXspec shows on a model parameter, with PyXspec's attributes and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from xspec_sixsa.embedded.parameterstate import ParameterState, bump_structure
from xspec_sixsa.embedded.state import XspecError

__all__ = ["Parameter"]

_PRIORS = {"cons": 0, "exp": 1, "jeffreys": 0, "gauss": 2}
"""XSPEC's prior types and how many hyperparameters each takes."""


class _Owner(Protocol):
    """What a handle needs of its `Model`: the parameter at a local index, and the way to change some of them."""

    def state(self, index: int) -> ParameterState: ...

    def apply(self, changes: Mapping[int, float | int | str]) -> None: ...


class Parameter:
    """PyXspec's parameter handle; made by `Model`, never directly.

    `values` reads as ``[val, delta, min, bot, top, max]`` and takes a number, a string, a tuple or a list; `frozen`,
    `link` (without the leading ``=`` when set) and `prior` can be set, the rest only read.
    """

    __slots__ = ("__index", "__name", "__parent")

    __index: int
    __name: str
    __parent: _Owner

    def __init__(self, name: str, index: int, parent: _Owner) -> None:
        object.__setattr__(self, "_Parameter__name", name)
        object.__setattr__(self, "_Parameter__index", index)
        object.__setattr__(self, "_Parameter__parent", parent)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        raise XspecError(f"***Error: Attribute {name} does not exist in class Parameter  Did you misspell?\n")

    def _state(self) -> ParameterState:
        return self.__parent.state(self.__index)

    def _rebind(self, what: str) -> None:
        raise XspecError(f"Error: Cannot rebind a Parameter object's {what}")

    @property
    def values(self) -> list[float]:
        """The six numbers ``[val, delta, min, bot, top, max]``; one number for a switch or scale parameter."""
        return self._state().six()

    @values.setter
    def values(self, value: Any) -> None:
        if isinstance(value, (tuple, list)):
            value = ",".join(str(float(v)) if not isinstance(v, str) else v for v in value)
        elif not isinstance(value, str):
            value = float(value)
        self.__parent.apply({self.__index: value})

    @property
    def frozen(self) -> bool:
        """Whether a fit leaves it alone; False while linked."""
        return self._state().frozen

    @frozen.setter
    def frozen(self, value: Any) -> None:
        self._state().freeze(bool(value))

    @property
    def link(self) -> str:
        """The link expression, beginning with ``=``; empty when not linked.  Set it without the ``=``."""
        link = self._state().link
        return "" if link is None else link.text

    @link.setter
    def link(self, value: str) -> None:
        if not isinstance(value, str):
            raise XspecError(f'Error: a link is set with a string such as "p2*0.5", not {value!r}.')
        if not value.strip():
            self._state().untie()
        elif value.strip().startswith("="):
            raise XspecError(f"Invalid link expression: {value!r}: leave the '=' out (XSPEC ignores this form).")
        else:
            self.__parent.apply({self.__index: "=" + value})

    def untie(self) -> None:
        """Remove the link, if any; the present value is kept."""
        self._state().untie()

    @property
    def prior(self) -> tuple[Any, ...]:
        """Prior for `Fit.bayes`: ``('CONS',)`` or type and hyperparameters (cons, exp, jeffreys, gauss)."""
        return self._state().prior

    @prior.setter
    def prior(self, value: str | tuple[Any, ...]) -> None:
        if isinstance(value, str):
            value = tuple(value.split())
        if not isinstance(value, tuple) or not value:
            raise XspecError(
                "Error: prior must be set to one of the following:\n        <priorType>  # string\n"
                "        (<priorType>,[<hyper 1>],[<hyper 2>]...)  # tuple of string and floats"
            )
        if not isinstance(value[0], str):
            raise XspecError("Error: priorType must be a string")
        matches = [kind for kind in _PRIORS if kind.startswith(value[0].lower())]
        if not value[0] or not matches:
            raise XspecError(
                f"Error executing bayes command: prior type {value[0]!r} is none of cons, exp, jeffreys, gauss."
            )
        kind = matches[0]
        if len(value) - 1 < _PRIORS[kind]:
            raise XspecError(
                f"Error executing bayes command: {kind} needs {_PRIORS[kind]} hyperparameter(s), got {len(value) - 1}."
            )
        if kind != "cons" and not self._state().free:
            raise XspecError(
                f"Error executing bayes command: {self._state().label} is not a currently active fit "
                "parameter: thaw or untie it first."
            )
        hyper = tuple(float(number) for number in value[1 : 1 + _PRIORS[kind]])
        self._state().prior = (kind.upper(), *hyper)
        bump_structure()

    @property
    def name(self) -> str:
        """Parameter name (get only)."""
        return self.__name

    @name.setter
    def name(self, value: Any) -> None:
        self._rebind("name")

    @property
    def index(self) -> int:
        """Position within its Model object, from 1 (get only)."""
        return self.__index

    @index.setter
    def index(self, value: Any) -> None:
        self._rebind("index")

    @property
    def unit(self) -> str:
        """Unit, empty where there is none (get only)."""
        return self._state().unit

    @unit.setter
    def unit(self, value: Any) -> None:
        self._rebind("unit string")

    @property
    def error(self) -> tuple[float, float, str]:
        """``(low, high, status code)`` of the last `Fit.error` (get only)."""
        return self._state().error

    @error.setter
    def error(self, value: Any) -> None:
        self._rebind("error attribute")

    @property
    def sigma(self) -> float:
        """Uncertainty from the last fit's covariance; -1 for a switch or scale (get only)."""
        state = self._state()
        return state.sigma if state.kind == "variable" else -1.0

    @sigma.setter
    def sigma(self, value: Any) -> None:
        self._rebind("sigma")

    def __float__(self) -> float:
        return self._state().current()

    def __add__(self, other: Any) -> float:
        return float(self) + (float(other) if isinstance(other, Parameter) else other)

    __radd__ = __add__

    def __iadd__(self, other: Any) -> Parameter:
        self.values = self + other
        return self

    def __mul__(self, other: Any) -> float:
        return float(self) * (float(other) if isinstance(other, Parameter) else other)

    __rmul__ = __mul__

    def __imul__(self, other: Any) -> Parameter:
        self.values = self * other
        return self

    def __repr__(self) -> str:
        return f"<Parameter {self._state().label} = {float(self):.6g}>"
