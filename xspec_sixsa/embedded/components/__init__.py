"""The embedded engine's model components: what there is, by name."""

from __future__ import annotations

from xspec_sixsa.embedded.components import absorption, additive_thermal, comptonised, lines, multiplicative, powerlaws
from xspec_sixsa.embedded.components.names import CONVOLUTIONS, MIXING, XSPEC_NAMES, resolve
from xspec_sixsa.embedded.componenttype import ComponentType, Function
from xspec_sixsa.embedded.library.catalogue import library
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["REGISTRY", "available", "function_of", "lookup"]

REGISTRY: dict[str, ComponentType] = {
    component.name: component
    for family in (absorption, additive_thermal, comptonised, lines, multiplicative, powerlaws)
    for component in family.COMPONENTS
}
"""Every component of our own, by XSPEC's name."""

HEASOFT = "https://heasarc.gsfc.nasa.gov/docs/software/heasoft/"
INSTEAD = f"pip install xspectrampoline (XSPEC's compiled models), or use the PyXspec of HEASoft ({HEASOFT})."


def available() -> dict[str, ComponentType]:
    """Return every component that there is, by name: our own, and those of the library where it is installed."""
    models = library()
    if models is None:
        return dict(REGISTRY)
    return {name: REGISTRY.get(name) or models.component(name) for name in models.served} | REGISTRY


def function_of(component: ComponentType) -> Function:
    """Return what evaluates a component under the session's model strings: its own function, or XSPEC's (`strings`)."""
    models = library()
    if models is None or not any(key in session.model_strings for key in component.strings):
        return component.function
    return models.component(component.name).function


def lookup(name: str) -> ComponentType:
    """Return a component by its name or by XSPEC's abbreviation of it, in any case.

    An abbreviation means what it means in XSPEC: the first name of *its* list that begins so, even one that the
    engine lacks.

    Raises
    ------
    XspecError
        For a name that XSPEC does not know, or a model that only XSPEC has.
    """
    models = library()
    names = XSPEC_NAMES if models is None else tuple(models.definitions)
    full = resolve(name, names)
    if full in REGISTRY:
        return REGISTRY[full]
    if models is not None:
        if full is not None:
            models.check_data(full, session)
            return models.component(full)
        raise XspecError(
            f"{name!r} is not a valid model component name; `sixsa models` lists those that there are. "
            f"Local models need HEASoft ({HEASOFT})."
        )
    have = ", ".join(sorted(REGISTRY, key=str.lower))
    if name.lower() in MIXING:
        raise XspecError(
            f"{name} is a mixing or pile-up model, which the embedded engine does not have: use XSPEC (HEASoft)."
        )
    if name.lower() in CONVOLUTIONS:
        raise XspecError(f"{name} is a convolution model, which the embedded engine does not have: {INSTEAD}")
    if full in XSPEC_NAMES:
        meant = full if full.lower() == name.lower() else f"{name} (= {full})"
        raise XspecError(
            f"Model component {meant} is one of XSPEC's that the embedded engine does not have. It has: {have}. "
            f"For the others, {INSTEAD}"
        )
    raise XspecError(
        f"{name!r} is not a valid model component name. The embedded engine has: {have}. "
        f"Local models need HEASoft ({HEASOFT})."
    )
