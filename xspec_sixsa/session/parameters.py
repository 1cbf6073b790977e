"""Which parameters are free, what they are called, and which of them an object, an index or a name means.

PyXspec's `Parameter` knows only its index within its own Model object, and Model objects are made anew at every call.
What stays is the address inside the model handle (a capsule around XSPEC's own object), so that is what is compared.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.gain import gains

__all__ = ["applies", "chain_name", "find", "free_parameters", "model_objects", "parameters_of"]

log = logging.getLogger(__name__)


def model_objects(module: ModuleType) -> list[tuple[str, int, Any]]:
    """Return (model name, data group, Model object) of every active model, in XSPEC's parameter order."""
    names = list(dict.fromkeys(module.AllModels.sources.values()))
    if hasattr(module, "evaluate_batch"):
        # The embedded engine orders its parameters by model as defined, not by source.
        names = [name for name in dict.fromkeys(model.name for model in module.AllModels) if name in names]
    groups = sorted({module.AllData(i + 1).dataGroup for i in range(module.AllData.nSpectra)}) or [1]
    result = []
    for name in names:
        for group in groups:
            try:
                result.append((name, group, module.AllModels(group, name)))
            except Exception:  # PyXspec raises plain Exception where a source has no response in that group
                continue
    return result


def applies(model: Any, number: int) -> bool:
    """Whether a Model object has a folded model for a spectrum (its source may have no response there)."""
    try:
        model.folded(number)
    except Exception:  # PyXspec raises plain Exception
        return False
    return True


def parameters_of(model: Any) -> list[tuple[str, Any]]:
    """Return (component name, Parameter) of a Model object, in order."""
    return [
        (component, getattr(getattr(model, component), name))
        for component in model.componentNames
        for name in getattr(model, component).parameterNames
    ]


def chain_name(parameter: str, model: str, global_index: int) -> str:
    """Return XSPEC's name of a chain column."""
    return f"{parameter}__{model}__{global_index}" if model else f"{parameter}__{global_index}"


def _label(component: str, name: str, model: str, group: int, groups: int) -> str:
    text = f"{component} {name}"
    if model:
        text = f"{model}: {text}"
    return f"{text} (group {group})" if group > 1 and groups > 1 else text


def free_parameters(module: ModuleType) -> list[FreeParameter]:
    """Return the free parameters of all active models in XSPEC's order.

    Raises
    ------
    ValueError
        Without a model or a free parameter.
    """
    objects = model_objects(module)
    if not objects:
        raise ValueError(
            "No model is active, so there is nothing to fit: define one, for instance Model('TBabs*powerlaw')."
        )
    groups = max(group for _, group, _ in objects)
    found = []
    for name, group, model in objects:
        start = model.startParIndex
        for component, parameter in parameters_of(model):
            values = tuple(float(v) for v in parameter.values)
            # A switch or scale parameter shows its value only, and can never be free.
            if parameter.link or len(values) < 6 or parameter.frozen or values[1] <= 0.0:
                continue
            index = int(parameter._Parameter__index)
            number = start + index - 1
            found.append(
                FreeParameter(
                    name, group, index, number, parameter.name, component, parameter.unit or "", values,
                    chain_name(parameter.name, name, number), _label(component, parameter.name, name, group, groups),
                    tuple(parameter.prior),
                )
            )  # fmt: skip
    for gain in gains(module):
        found += gain.free()
    if not found:
        raise ValueError(
            "No parameter is free: thaw at least one, for instance AllModels(1)(1).frozen = False (or delta > 0)."
        )
    return _in_xspecs_order(module, found)


def _in_xspecs_order(module: ModuleType, found: list[FreeParameter]) -> list[FreeParameter]:
    """Parameters as XSPEC lists its variable ones: with several models, that is the order of their definition."""
    try:
        labels = [str(label) for label in module._pyXspec.getChainManagerInfo()[1]]
    except Exception:  # another engine, or another release: sources are in their order of definition for most people
        return found
    known = {_xspecs_label(p): p for p in found}
    if sorted(labels) != sorted(known):
        log.debug("XSPEC's variable parameters %s are not the free ones %s", labels, list(known))
        return found
    return [known[label] for label in labels]


def _xspecs_label(parameter: FreeParameter) -> str:
    if parameter.response is not None:
        return f"resp {parameter.response[1]}:{parameter.global_index}"
    return f"{parameter.model}:{parameter.global_index}" if parameter.model else str(parameter.global_index)


def _address(owner: Any) -> Any:
    """Return what identifies XSPEC's model object behind a Model, or behind a Parameter's parent."""
    handle = getattr(owner, "_handle", owner)
    if type(handle).__name__ in ("PyCapsule", "PyCObject"):
        name = ctypes.pythonapi.PyCapsule_GetName
        name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        return pointer(handle, name(handle))
    if hasattr(handle, "startParIndex"):
        return handle.name, int(handle.startParIndex)
    return id(handle)


def find(module: ModuleType, parameters: list[FreeParameter], reference: Any) -> FreeParameter:
    """Return the free parameter that `reference` means.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine.
    parameters : list of FreeParameter
    reference : Parameter, (Model, index), (model name, index), str, FreeParameter or BXA transformation
        A chain name (``"nH__1"``) or label (``"TBabs nH"``) as str; the index of a Model object is local, that of a
        model name runs on over data groups. A BXA transformation is a dictionary with ``model`` and ``index``.

    Raises
    ------
    ValueError
        For frozen, linked and unknown parameters, saying what to do.
    """
    if isinstance(reference, FreeParameter):
        reference = reference.chain_name
    if isinstance(reference, str):
        for known in parameters:
            if reference == known.chain_name:
                return known
        matches = [known for known in parameters if reference in (known.label, known.name)]
        if len(matches) == 1:
            return matches[0]
        names = ", ".join(known.chain_name for known in parameters)
        why = "means several parameters" if matches else "is not a free parameter"
        raise ValueError(f"{reference!r} {why}; the free ones are {names}. (Frozen and linked ones have no prior.)")
    if isinstance(reference, Mapping):
        if "model" not in reference or "index" not in reference:
            raise ValueError(f"A transformation needs 'model' and 'index'; this one has {', '.join(reference)}.")
        reference = (reference["model"], reference["index"])
    if isinstance(reference, tuple) and len(reference) == 2:
        owner, index = reference
        index = int(index)
        if isinstance(owner, str):
            for known in parameters:
                if (known.model, known.global_index) == (owner, index):
                    return known
            raise ValueError(
                f"Parameter {index} of the model {owner or 'without a name'} is not free; the free ones are "
                f"{', '.join(known.chain_name for known in parameters)}."
            )
    else:
        if not hasattr(reference, "_Parameter__index"):
            raise ValueError(
                f"{reference!r} is no parameter: give a PyXspec Parameter (m.TBabs.nH), (model, index) or a name such "
                f"as {parameters[0].chain_name!r}."
            )
        owner, index = reference._Parameter__parent, int(reference._Parameter__index)
    wanted = _address(owner)
    for name, group, model in model_objects(module):
        if _address(model) == wanted:
            for known in parameters:
                if (known.model, known.group, known.index) == (name, group, index):
                    return known
            _explain(model, name, group, index)
    for gain in gains(module):
        if _address(gain.response._Response__handle) == wanted:
            for known in parameters:
                if known.response == (gain.spectrum, gain.source) and known.index == index:
                    return known
            raise ValueError(
                f"The gain {reference.name} of spectrum {gain.spectrum} is frozen or linked, so it takes no prior."
            )
    raise ValueError(
        "This parameter belongs to no model that is loaded now (a model that was redefined or removed, or a response): "
        "take it from the present model, for instance AllModels(1)(1)."
    )


def _explain(model: Any, name: str, group: int, index: int) -> None:
    """Say why a parameter of a loaded model is not free."""
    pairs = parameters_of(model)
    if not 1 <= index <= len(pairs):
        raise ValueError(f"The model {model.expression} has parameters 1-{len(pairs)}; there is no {index}.")
    component, parameter = pairs[index - 1]
    label = _label(component, parameter.name, name, group, group)
    number = model.startParIndex + index - 1
    if parameter.link:
        raise ValueError(
            f"{label} (parameter {number}) is linked ({parameter.link.strip()}), so it follows another one and takes "
            "no prior: untie it (.untie()), or give the prior to the parameter it follows."
        )
    raise ValueError(
        f"{label} (parameter {number}) is frozen at {parameter.values[0]:g}, so it takes no prior: thaw it "
        "(.frozen = False), or leave its prior out."
    )
