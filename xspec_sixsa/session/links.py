"""Linked parameters against their limits: XSPEC looks at the limits of free ones only.

A link may drive a parameter where its component fails: XSPEC then prints an error and keeps the spectrum, and the
statistic, of the parameter set before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from xspec_sixsa.session.parameters import chain_name, parameters_of

__all__ = ["Links", "beyond", "embedded_beyond"]

ROUNDING = 1e-6  # of a limit: XSPEC takes values at the end of a table as equal within this


class Links:
    """The links of a PyXspec session whose values may leave their limits.

    A parameter that merely repeats the one of its own name (another data group's) goes as far as that one does.

    Parameters
    ----------
    objects : iterable of (model name, data group, Model)
    """

    def __init__(self, objects: Iterable[tuple[str, int, Any]]) -> None:
        objects = list(objects)
        named = {
            (name, model.startParIndex + offset): parameter.name
            for name, _, model in objects
            for offset, (_, parameter) in enumerate(parameters_of(model))
        }
        self._watched: list[tuple[Any, int, str, str, float, float]] = []
        for name, _, model in objects:
            for offset, (_, parameter) in enumerate(parameters_of(model)):
                link, values = parameter.link.strip(), parameter.values
                if not link or len(values) < 6:
                    continue
                copied = re.fullmatch(r"=\s*(?:(\w+):)?p?(\d+)", link)
                if copied and named.get((copied[1] or name, int(copied[2]))) == parameter.name:
                    continue
                called = chain_name(parameter.name, name, model.startParIndex + offset)
                self._watched.append((model, offset + 1, called, link, float(values[2]), float(values[5])))

    def outside(self) -> str:
        """Which linked parameter is beyond its limits now; empty where none is."""
        for model, index, called, link, low, high in self._watched:
            reason = beyond(called, link, float(model(index).values[0]), low, high)
            if reason:
                return reason
        return ""


def beyond(name: str, link: str, value: float, low: float, high: float) -> str:
    """In words that a linked value is beyond its limits; empty where it is not."""
    if low - ROUNDING * abs(low) <= value <= high + ROUNDING * abs(high):
        return ""
    return f"{name} is {value:g} by its link ({link}), outside its limits {low:g} to {high:g}"


def embedded_beyond(theta: np.ndarray) -> list[str]:
    """As `Links.outside` for each row of free parameters (n, d), on the embedded engine."""
    from xspec_sixsa.embedded.evaluate import linked_values

    reasons = [""] * len(theta)
    for state, link, values in linked_values(theta):
        simple = link.simple
        if simple is not None and simple.name == state.name:
            continue
        called = chain_name(state.name, state.record.name, state.global_index)
        for row in range(len(theta)):
            value = float(values[row if len(values) > 1 else 0])
            reasons[row] = reasons[row] or beyond(called, link.text, value, state.hard_min, state.hard_max)
    return reasons
