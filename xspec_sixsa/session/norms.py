"""Which free parameters scale the whole model together: the norms of its additive components, links looked through."""

from __future__ import annotations

import re
from types import ModuleType

from xspec_sixsa.embedded.links import Link
from xspec_sixsa.embedded.state import XspecError
from xspec_sixsa.session.components import additive
from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.parameters import chain_name, model_objects, parameters_of

__all__ = ["NoCommonScaleError", "additive_norms", "common_norms", "norms_by_component"]

Key = tuple[str, int]  # model name, number of the parameter in it: what a link refers to

SCALES = (0.37, 2.9)  # what the norms are multiplied by to see what links make of it: no link is made for these
ROUNDING = 1e-9


class NoCommonScaleError(ValueError):
    """Why the expected counts have no common scale that is free, or why it cannot be integrated out."""


def additive_norms(module: ModuleType, parameters: list[FreeParameter]) -> list[int]:
    """Return which of the free parameters are norms of additive components; nothing is evaluated."""
    components = set(additive(model_objects(module)))
    return [
        column
        for column, p in enumerate(parameters)
        if p.response is None and p.name.lower() == "norm" and (p.model, p.component) in components
    ]


def norms_by_component(module: ModuleType, parameters: list[FreeParameter]) -> dict[str, list[int]] | None:
    """Return which free norms make each additive component, by its label; None where these are not all of it.

    A norm may follow that of the same component in another data group, and nothing else.
    """
    columns = {(p.model, p.global_index): k for k, p in enumerate(parameters) if p.response is None}
    objects = model_objects(module)
    components, names = set(additive(objects)), {}
    found: dict[str, list[int]] = {}
    links: list[tuple[str, str, str]] = []
    for name, _, model in objects:
        for number, (component, parameter) in enumerate(parameters_of(model), start=model.startParIndex):
            names[name, number] = component
            if parameter.name.lower() != "norm" or (name, component) not in components:
                continue
            label = f"{name}:{component}" if name else component
            if (name, number) in columns:
                found.setdefault(label, []).append(columns[name, number])
            elif parameter.link:
                links.append((name, component, parameter.link))
            elif float(parameter.values[0]) != 0.0:
                return None
    for name, component, text in links:
        target = re.fullmatch(r"=?\s*p?(\d+)\s*", text.strip())
        if target is None or names.get((name, int(target[1]))) != component:
            return None
    return found


def common_norms(module: ModuleType, parameters: list[FreeParameter]) -> list[FreeParameter]:
    """Return the free additive norms, which in proportion scale every additive component of every model.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine; nothing is evaluated.
    parameters : list of FreeParameter

    Raises
    ------
    NoCommonScaleError
        When a component keeps its norm (frozen, but at zero), a link is not in proportion, or another parameter follows
        a norm.
    """
    objects = model_objects(module)
    components = set(additive(objects))
    links: dict[Key, str] = {}
    values: dict[Key, float] = {}
    norms: dict[Key, str] = {}
    names: dict[Key, str] = {}
    for name, _, model in objects:
        for number, (component, parameter) in enumerate(parameters_of(model), start=model.startParIndex):
            key = (name, number)
            names[key] = f"{component} {parameter.name} ({chain_name(parameter.name, name, number)})"
            values[key] = float(parameter.values[0])
            if parameter.link:
                links[key] = parameter.link.strip()
            if parameter.name.lower() == "norm" and (name, component) in components:
                norms[key] = component
    free = {(p.model, p.global_index): p for p in parameters if p.response is None}
    scaled = [key for key in norms if key in free]
    if not scaled:
        raise NoCommonScaleError("no norm of an additive component is free")
    for key in norms:
        if key not in free and key not in links and values[key] != 0.0:
            raise NoCommonScaleError(
                f"{names[key]} is frozen at {values[key]:g}: that component does not scale with the others"
            )
    for key, text in links.items():
        before, *after = (_follow(key, links, values, scaled, scale) for scale in (1.0, *SCALES))
        power = 1 if key in norms else 0
        for value, scale in zip(after, SCALES, strict=True):
            if not abs(value - before * scale**power) <= ROUNDING * max(abs(value), abs(before)):  # so that NaN is not
                what = "is not in proportion to the free norms" if power else "follows a norm"
                raise NoCommonScaleError(f"{names[key]} {what} ({text})")
    return [free[key] for key in scaled]


def _follow(key: Key, links: dict[Key, str], values: dict[Key, float], scaled: list[Key], scale: float) -> float:
    """Value of a parameter, through its links, with every free norm at a number of its own times `scale`."""
    if key in links:
        try:
            link = Link(links[key].lstrip("= "), lambda name, index: (name, index) if (name, index) in values else None)
            return float(link.value(lambda member: _follow(member, links, values, scaled, scale)))
        except (XspecError, ArithmeticError, TypeError, ValueError) as error:
            raise NoCommonScaleError(f"the link {links[key]} cannot be followed ({error})") from None
    return scale * (1.0 + 0.1 * scaled.index(key)) if key in scaled else values[key]
