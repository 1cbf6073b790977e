"""Model parameters: their six numbers, freezing and links.

`ParameterState` is the parameter itself, kept by its model.  A value beyond the hard limits raises here, where XSPEC
prints a message and silently keeps the old value.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xspec_sixsa.embedded.componenttype import ParameterInfo
from xspec_sixsa.embedded.links import Link
from xspec_sixsa.embedded.state import XspecError, session

if TYPE_CHECKING:
    from xspec_sixsa.embedded.record import ModelRecord

__all__ = ["ParameterState", "bump_structure", "bump_values", "modify", "values_version"]

logger = logging.getLogger(__name__)

_LIMIT_NAMES = ("3rd (lower bound)", "4th (soft lower limit)", "5th (soft upper limit)", "6th (upper bound)")


class _Versions:
    """Counters that caches are keyed by: `values` for any number changed, `structure` for free or linked sets."""

    values = 0
    structure = 0


def values_version() -> tuple[int, int]:
    """Return counters that rise with every change of a value, and of which parameters are free or linked."""
    return _Versions.values, _Versions.structure


class ParameterState:
    """One parameter of one model object (one data group).

    Attributes
    ----------
    name, unit : str
        As in XSPEC's model.dat.
    kind : {"variable", "scale", "switch"}
        Scale and switch parameters have a value only: they can be neither freed nor fitted.
    value, delta, hard_min, soft_min, soft_max, hard_max : float
        PyXspec's six numbers; `delta` is kept positive, `frozen` apart from it.
    link : Link or None
        The expression that sets the value, if any.
    sigma : float
        Uncertainty from the last fit, 0 before one.
    error : tuple
        ``(low, high, code)`` of the last `Fit.error`.
    prior : tuple
        Type and hyperparameters for `Fit.bayes`.
    """

    __slots__ = (
        "defaults",
        "delta",
        "error",
        "frozen",
        "group",
        "hard_max",
        "hard_min",
        "index",
        "kind",
        "link",
        "name",
        "norm",
        "prior",
        "record",
        "sigma",
        "soft_max",
        "soft_min",
        "unit",
        "value",
    )

    def __init__(self, info: ParameterInfo, record: ModelRecord, group: int, index: int, norm: bool = False) -> None:
        self.name, self.unit = info.name, info.unit
        self.kind = info.kind
        self.defaults = (
            float(info.value),
            float(info.delta),
            float(info.hard_min),
            float(info.soft_min),
            float(info.soft_max),
            float(info.hard_max),
        )
        self.record, self.group, self.index, self.norm = record, group, index, norm
        self.link: Link | None = None
        self.sigma = 0.0
        self.error: tuple[float, float, str] = (0.0, 0.0, "FFFFFFFFF")
        self.prior: tuple[Any, ...] = ("CONS",)
        self.reset()

    def reset(self) -> None:
        """Return to the model's own defaults, as XSPEC does with a parameter whose link is broken by a number."""
        self.value, delta, self.hard_min, self.soft_min, self.soft_max, self.hard_max = self.defaults
        self.frozen = delta <= 0.0 or self.kind != "variable"
        self.delta = abs(delta) or 1.0e-3

    @property
    def global_index(self) -> int:
        """Index that runs on over the model's data groups."""
        return self.record.offset(self.group) + self.index

    @property
    def reference(self) -> str:
        """How a link expression refers to this parameter: ``p2`` or ``name:p2``."""
        name = self.record.name
        return f"{name}:p{self.global_index}" if name else f"p{self.global_index}"

    @property
    def label(self) -> str:
        """Component and parameter, for messages: ``TBabs.nH (parameter 1)``."""
        where = f"{self.record.name}:{self.global_index}" if self.record.name else str(self.global_index)
        return f"{self.record.component_of(self.index)}.{self.name} (parameter {where})"

    @property
    def free(self) -> bool:
        """Whether a fit varies it."""
        return self.link is None and not self.frozen and self.kind == "variable"

    def current(self) -> float:
        """Return the value, through the link where there is one."""
        return self.value if self.link is None else float(self.link.value(ParameterState.current))

    def six(self) -> list[float]:
        """Return PyXspec's list; a frozen parameter's delta is shown negative."""
        if self.kind != "variable":
            return [self.current()]
        shown = session_delta(self)
        return [
            self.current(),
            -shown if self.frozen else shown,
            self.hard_min,
            self.soft_min,
            self.soft_max,
            self.hard_max,
        ]

    def snapshot(self) -> tuple[Any, ...]:
        """Return everything `restore` needs."""
        return (
            self.value,
            self.delta,
            self.hard_min,
            self.soft_min,
            self.soft_max,
            self.hard_max,
            self.frozen,
            self.link,
        )

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Undo changes made since `snapshot`."""
        (self.value, self.delta, self.hard_min, self.soft_min, self.soft_max, self.hard_max, self.frozen, self.link) = (
            saved
        )

    def set_link(self, link: Link) -> None:
        """Tie the value to an expression; a linked parameter is never frozen."""
        if any(member is self for member in link.members):
            raise XspecError(f"Invalid link expression: Attempt to link parameter to itself: {self.label}.")
        if link.depends_on(self):
            raise XspecError(f"Invalid link expression: {link.text} leads back to {self.label} itself.")
        for member in link.members:
            if (member.kind == "switch") != (self.kind == "switch"):
                raise XspecError(
                    f"Invalid link expression: {self.label} and {member.label}: a switch parameter can "
                    "only be linked to a switch."
                )
            if self.kind == "scale" and member.kind == "variable":
                raise XspecError(
                    "Invalid link expression: Attempt to link constant scaling factor "
                    f"{self.label} to variable fitting parameter {member.label}."
                )
        if self.kind == "switch" and link.simple is None:
            raise XspecError("Invalid link expression: Switches may only take links of type par x = par y")
        self.frozen = self.kind != "variable"
        self.link = link
        _Versions.structure += 1
        _Versions.values += 1

    def untie(self) -> None:
        """Break the link and keep its present value; limits return to the model's own, as in XSPEC."""
        if self.link is None:
            return
        value, frozen = self.current(), _all_frozen(self)
        self.link = None
        self.reset()
        self.value = min(max(value, self.hard_min), self.hard_max) if self.kind == "variable" else value
        self.frozen = frozen or self.kind != "variable"
        _Versions.structure += 1
        _Versions.values += 1

    def freeze(self, frozen: bool) -> None:
        """Freeze or thaw; XSPEC merely says so where a link, switch or scale makes that meaningless."""
        if self.link is not None:
            logger.warning("%s is linked and cannot be frozen or thawed: untie it first.", self.label)
        elif self.kind != "variable":
            logger.warning("%s is a %s and cannot be frozen or thawed.", self.label, self.kind)
        elif self.frozen != frozen:
            self.frozen = frozen
            _Versions.structure += 1

    def set_number(self, value: float) -> None:
        """Set the value alone; a link is broken, and the limits then are the model's own again, as in XSPEC."""
        value = float(value)
        if not math.isfinite(value):
            raise XspecError(
                f"Error: Cannot apply new parameter settings. {self.label}: value {value} is not a finite number."
            )
        if self.link is not None:
            self.link = None
            self.reset()
            _Versions.structure += 1
        if self.kind == "switch":
            value = float(math.floor(value))
        elif self.kind == "variable" and not self.hard_min <= value <= self.hard_max:
            raise XspecError(
                f"Error: Cannot apply new parameter settings. {self.label}: desired value {value:g} is "
                f"outside hard range {self.hard_min:g} - {self.hard_max:g}. "
                f"(XSPEC would print this and silently keep {self.value:g}.) "
                'Widen the limits first, for instance with values = "value,,min,bot,top,max".'
            )
        if value != self.value:
            self.value = value
        _Versions.values += 1


def session_delta(state: ParameterState) -> float:
    """Return the fit delta: the parameter's own, or proportional to its value where `Fit.delta` says so."""
    proportional = session.proportional_delta
    value = state.current() if proportional > 0.0 else 0.0
    return abs(proportional * value) if value else state.delta


def _all_frozen(state: ParameterState) -> bool:
    if state.link is None:
        return state.frozen
    return all(_all_frozen(member) for member in state.link.members)


def _fields(text: str) -> list[tuple[int, str]]:
    """Split ``"v,d,,bot top"`` into (position, text): commas count, blanks separate, an empty field is skipped."""
    result, position = [], 0
    for piece in text.split(","):
        words = piece.split()
        for offset, word in enumerate(words):
            result.append((position + offset, word))
        position += max(len(words), 1)
    return result


def modify(state: ParameterState, value: float | int | str, find: Callable[[str, int], ParameterState | None]) -> None:
    """Apply one of PyXspec's forms: a number, ``"v,d,hmin,smin,smax,hmax"`` or ``"= expression"``.

    Raises
    ------
    XspecError
        For an unreadable field, limits out of order or a value beyond the hard limits; the caller restores.
    """
    if not isinstance(value, str):
        state.set_number(value)
        return
    text = value.strip()
    if text.startswith("="):
        state.set_link(Link(text[1:], find))
        return
    fields = _fields(text)
    if not fields or text.startswith("/"):
        return
    numbers = {}
    for position, word in fields[:6]:
        try:
            numbers[position] = float(re.sub(r"[dD]", "e", word))
        except ValueError:
            what = ["value", "delta", *(f"{name} field" for name in _LIMIT_NAMES)][min(position, 5)]
            raise XspecError(
                f"Error: Cannot apply new parameter settings. {state.label}: {what}: {word!r} is not a number."
            ) from None
        if not math.isfinite(numbers[position]):
            raise XspecError(f"Error: Cannot apply new parameter settings. {state.label}: {word!r} is not finite.")
    if state.kind != "variable" or (state.link is None and set(numbers) == {0}):
        state.set_number(numbers.get(0, state.value))
        return
    if state.link is not None:
        state.link = None
        state.reset()
    if 1 in numbers:
        if numbers[1] == 0.0:
            state.frozen = not state.frozen
        else:
            state.frozen, state.delta = numbers[1] < 0.0, abs(numbers[1])
    state.hard_min = numbers.get(2, state.hard_min)
    state.soft_min = numbers.get(3, state.soft_min)
    state.soft_max = numbers.get(4, state.soft_max)
    state.hard_max = numbers.get(5, state.hard_max)
    if state.soft_min < state.hard_min or state.soft_max > state.hard_max or state.hard_min > state.hard_max:
        raise XspecError(
            f"Error: Cannot apply new parameter settings. {state.label}: limits {state.hard_min:g}, "
            f"{state.soft_min:g}, {state.soft_max:g}, {state.hard_max:g} are out of order: "
            "hard min <= soft min and soft max <= hard max."
        )
    _Versions.structure += 1
    state.set_number(numbers.get(0, state.value))


def bump_values() -> None:
    """Make cached evaluations stale after values were written directly."""
    _Versions.values += 1


def bump_structure() -> None:
    """Make compiled evaluations stale after parameters were added, removed, tied or freed directly."""
    _Versions.structure += 1
    _Versions.values += 1
