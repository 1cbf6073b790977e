"""Parameters and components found by what people call them: a chain name, a component's name, "the absorption"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.parameters import chain_name, model_objects, parameters_of

__all__ = ["component_number", "named_parameter", "without_absorption"]


def without_absorption(
    module: ModuleType, parameters: list[FreeParameter], which: bool | str | Sequence[str]
) -> tuple[list[int], list[str], Callable[[], None], Callable[[], None]]:
    """Which columns of theta are column densities, their names, and how all of them are set to zero and checked."""
    found = [
        (model_name, group, component, p)
        for model_name, group, model in model_objects(module)
        for component, p in parameters_of(model)
        if p.name.lower() == "nh" and p.unit == "10^22"
    ]
    components = list(dict.fromkeys(component for _, _, component, _ in found))
    wanted = components if isinstance(which, bool) else [which] if isinstance(which, str) else list(which)
    unknown = [name for name in wanted if name not in components]
    if unknown or not wanted:
        have = f"there are {', '.join(components)}" if components else "the model has no column density (nH)"
        raise ValueError(f"No absorption {', '.join(unknown)} to take away: {have}.")
    chosen = [entry for entry in found if entry[2] in wanted]
    columns = [
        k
        for k, parameter in enumerate(parameters)
        if any(
            (parameter.model, parameter.group, parameter.component, parameter.name) == (name, group, component, p.name)
            for name, group, component, p in chosen
        )
    ]

    def prepare() -> None:
        for _, _, _, p in chosen:
            if p.link:
                p.link = ""
            old = p.values
            # the user's limits, or the model's, may exclude zero
            p.values = ",".join(repr(float(x)) for x in (0.0, old[1], min(old[2], 0.0), min(old[3], 0.0), *old[4:6]))

    def check() -> None:
        for _, _, component, p in chosen:
            if p.values[0] != 0.0:
                raise ValueError(f"XSPEC does not take {component} {p.name} = 0: leave it out of `unabsorbed`")

    names = dict.fromkeys(f"{component} {p.name}" for _, _, component, p in chosen)
    return columns, list(names), prepare, check


def named_parameter(module: ModuleType, name: str) -> Any:
    """The Parameter object of a chain name, free or not."""
    known = {}
    for model_name, _, model in model_objects(module):
        for offset, (_, p) in enumerate(parameters_of(model)):
            known[chain_name(p.name, model_name, model.startParIndex + offset)] = p
    if name not in known:
        raise ValueError(f"No parameter {name!r}: there are {', '.join(known)}.")
    return known[name]


def component_number(module: ModuleType, component: int | str) -> int | str:
    """What XSPEC's `eqwidth` takes: a number, or "model:number", of a component that may be given by name."""
    if isinstance(component, int) or component.rpartition(":")[2].strip().isdigit():
        return int(component) if str(component).isdigit() else component
    name, _, wanted = component.rpartition(":")
    for model_name, _, model in model_objects(module):
        if model_name == name and wanted in model.componentNames:
            number = model.componentNames.index(wanted) + 1
            return f"{name}:{number}" if name else number
    raise ValueError(f"No component {component!r} in the model; give its name as in Model.componentNames, or number.")
