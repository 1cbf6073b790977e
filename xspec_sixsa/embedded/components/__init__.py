"""The embedded engine's model components: what there is, by name."""

from __future__ import annotations

from xspec_sixsa.embedded.components import absorption, additive_thermal, comptonised, lines, multiplicative, powerlaws
from xspec_sixsa.embedded.components.names import XSPEC_NAMES, resolve
from xspec_sixsa.embedded.componenttype import ComponentType
from xspec_sixsa.embedded.state import XspecError

__all__ = ["REGISTRY", "lookup"]

REGISTRY: dict[str, ComponentType] = {
    component.name: component
    for family in (absorption, additive_thermal, comptonised, lines, multiplicative, powerlaws)
    for component in family.COMPONENTS
}
"""Every component by XSPEC's name."""


def lookup(name: str) -> ComponentType:
    """Return a component by its name or by XSPEC's abbreviation of it, in any case.

    An abbreviation means what it means in XSPEC: the first name of *its* list that begins so, even one that the
    engine lacks.

    Raises
    ------
    XspecError
        For a name that XSPEC does not know, or a model that only XSPEC has.
    """
    full = resolve(name)
    if full in REGISTRY:
        return REGISTRY[full]
    have = ", ".join(sorted(REGISTRY, key=str.lower))
    if full in XSPEC_NAMES:
        meant = full if full.lower() == name.lower() else f"{name} (= {full})"
        raise XspecError(
            f"Model component {meant} is one of XSPEC's that the embedded engine does not have. It has: {have}. "
            "For the others, use the PyXspec of HEASoft (https://heasarc.gsfc.nasa.gov/docs/software/heasoft/)."
        )
    raise XspecError(
        f"{name!r} is not a valid model component name. The embedded engine has: {have}. "
        "Local models need HEASoft (https://heasarc.gsfc.nasa.gov/docs/software/heasoft/)."
    )
