"""`Model`, `Component`, and the model definitions behind them.

A `ModelRecord` is one model of the session: its expression, and one set of parameters for each data group that it
serves, those of later groups linked to the first group's until they are given values of their own.  `Model` is
PyXspec's handle on one data group of a record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from . import parameter as _parameter
from .expression import Expression, attribute_names, parse
from .links import Link
from .parameter import Parameter, ParameterState, modify
from .state import XspecError, session

__all__ = ["Component", "Model", "ModelRecord", "apply_changes", "collate", "create_record", "find_parameter"]

logger = logging.getLogger(__name__)

FORBIDDEN = ("none", "clear", "act", "inact")
"""Words that XSPEC's model command would take for something else at the start of an expression."""


class NormInfo:
    """The norm that XSPEC gives every additive component."""

    name, unit, kind = "norm", "", "variable"
    value, delta, hard_min, soft_min, soft_max, hard_max = 1.0, 0.01, 0.0, 0.0, 1.0e20, 1.0e24


class ModelRecord:
    """One model of the session, over all the data groups that it serves.

    Attributes
    ----------
    name : str
        Empty for the unnamed model.
    source : int
        Source number; each spectrum's response of that number folds the model.
    active : bool
        False once another model has taken over its source.
    expression : Expression
    component_names : list of str
        Names as attributes: ``mekal``, ``mekal_5``.
    groups : dict of int to list of ParameterState
        By data group, ascending.
    """

    def __init__(self, name: str, source: int, expression: Expression) -> None:
        self.name, self.source, self.expression = name, source, expression
        self.active = True
        self.component_names = attribute_names([component.name for component in expression.components])
        self.layout: list[tuple[int, Any, bool]] = []
        self.spans: list[tuple[int, int]] = []
        for number, component in enumerate(expression.components):
            start = len(self.layout)
            self.layout += [(number, info, False) for info in component.parameters]
            if component.kind == "add":
                self.layout.append((number, NormInfo, True))
            self.spans.append((start, len(self.layout)))
        self.groups: dict[int, list[ParameterState]] = {}
        self.flux: tuple[float, ...] = (0.0,) * 6
        self.lumin: tuple[float, ...] = (0.0,) * 6
        self._synced = -1
        self._handles: dict[int, Model] = {}

    @property
    def n_parameters(self) -> int:
        """Number of parameters in each data group."""
        return len(self.layout)

    @property
    def states(self) -> list[ParameterState]:
        """All parameters, by global index."""
        self.sync()
        return [state for group in sorted(self.groups) for state in self.groups[group]]

    def offset(self, group: int) -> int:
        """Return the number of parameters before those of a data group."""
        return sorted(self.groups).index(group) * self.n_parameters

    def component_of(self, index: int) -> str:
        """Return the attribute name of the component that holds the local parameter `index` (from 1)."""
        return self.component_names[self.layout[index - 1][0]]

    def served_groups(self) -> list[int]:
        """Return the data groups with a spectrum that this model's source applies to."""
        return sorted({int(s.dataGroup) for s in session.spectra if has_source(s, self.source)}) if self.active else []

    @property
    def on(self) -> bool:
        """Whether it is folded with any spectrum."""
        return bool(self.served_groups())

    def sync(self) -> None:
        """Bring the data groups up to date with the loaded spectra."""
        if self._synced == session.generation and self.groups:
            return
        wanted = self.served_groups() or [min(self.groups, default=1)]
        if sorted(self.groups) != wanted:
            self._regroup(wanted)
        self._synced = session.generation

    def _regroup(self, wanted: list[int]) -> None:
        first = min(self.groups, default=None)
        kept = {group: states for group, states in self.groups.items() if group in wanted}
        if first is not None and wanted[0] not in kept:
            # The lowest group carries the values of all that are linked to it: it is renumbered, not lost.
            kept[wanted[0]] = self.groups[first]
            for state in kept[wanted[0]]:
                state.group = wanted[0]
        elif first is not None and first not in kept:
            for mine, old in zip(kept[wanted[0]], self.groups[first], strict=True):
                mine.link = None
                mine.restore((*old.snapshot()[:-1], None))
        kept_ids = {id(state) for states in kept.values() for state in states}
        dropped = {id(s) for states in self.groups.values() for s in states if id(s) not in kept_ids}
        release_links(dropped)
        self._handles = {group: handle for group, handle in self._handles.items() if group in wanted}
        self.groups = {}
        for group in wanted:
            if group not in kept:
                kept[group] = [ParameterState(info, self, group, i, norm)
                               for i, (_, info, norm) in enumerate(self.layout, start=1)]
                fresh = True
            else:
                fresh = False
            self.groups[group] = kept[group]
            if fresh and group != wanted[0]:
                for mine, primary in zip(kept[group], kept[wanted[0]], strict=True):
                    mine.set_link(Link("p1", lambda name, index, primary=primary: primary))
        _parameter.bump_structure()

    def handle(self, group: int) -> Model:
        """Return the PyXspec object of one data group."""
        self.sync()
        if group not in self.groups:
            shown = f"model name: {self.name}" if self.name else "unnamed model"
            raise XspecError(f"Error: No model object exists for {shown}, data group {group}")
        if group not in self._handles:
            self._handles[group] = Model._of(self, group)
        return self._handles[group]

    def release(self) -> None:
        """Break the links of other models to this one, before it goes."""
        release_links({id(state) for states in self.groups.values() for state in states})


def has_source(spectrum: Any, source: int) -> bool:
    """Whether a spectrum is folded through a response of the given source number."""
    if source == 1:
        return getattr(spectrum, "has_response", True) is not False
    try:
        responses = spectrum.multiresponse
    except AttributeError:
        return False
    try:
        return responses[source - 1] is not None
    except Exception:  # noqa: BLE001 - an unset source raises, in PyXspec too
        return False


def release_links(doomed: set[int]) -> None:
    """Untie, keeping their values, all parameters whose link refers to one that goes."""
    for record in session.models.values():
        for states in record.groups.values():
            for state in states:
                if id(state) not in doomed and state.link is not None and any(
                    id(member) in doomed for member in state.link.members
                ):
                    logger.warning("%s was linked to a parameter that is gone: it keeps its value.", state.label)
                    state.untie()


def find_parameter(name: str, index: int) -> ParameterState | None:
    """Return the parameter of a global index in the named model (``""`` the unnamed one), or None."""
    record = session.models.get(name)
    if record is None:
        return None
    states = record.states
    return states[index - 1] if 1 <= index <= len(states) else None


def apply_changes(changes: Iterable[tuple[ParameterState, float | int | str]]) -> None:
    """Change several parameters, or none at all if one of the changes is refused."""
    done: list[tuple[ParameterState, tuple[Any, ...]]] = []
    try:
        for state, value in changes:
            done.append((state, state.snapshot()))
            modify(state, value, find_parameter)
    except XspecError:
        for state, saved in reversed(done):
            state.restore(saved)
        _parameter.bump_structure()
        raise


def create_record(text: str, name: str = "", source: int = 1) -> ModelRecord:
    """Define a model, replacing one of the same name, and return its record.

    Raises
    ------
    XspecError
        For an expression that cannot be used, or a source without a name.
    """
    if not isinstance(text, str):
        raise XspecError(f"Error: the model expression must be a string, not {text!r}.")
    name = "".join(name.split())
    if text.lower().lstrip().startswith(FORBIDDEN):
        raise XspecError("Error: 'clear','none','act', and 'inact' forbidden in this context")
    if source < 1:
        raise XspecError(f"Error: source number must be at least 1, not {source}.")
    if not name and source != 1:
        raise XspecError("Error: When assigning to source > 1, model must be given a name.")
    if name and (name[0].isdigit() or not all(letter.isalnum() or letter == "_" for letter in name)):
        raise XspecError(f"Error: model name {name!r} must be letters, digits and underscores, a letter first.")
    record = ModelRecord(name, source, parse(text))
    if name in session.models:
        session.models.pop(name).release()
    for other in session.models.values():
        if other.source == source and other.active:
            other.active = False
    session.models[name] = record
    session.touch()
    record.sync()
    return record


class Component:
    """One component of a model: an attribute for each parameter, `name` and `parameterNames`."""

    def __init__(self, name: str, parameters: list[Parameter]) -> None:
        self.__dict__.update({par.name: par for par in parameters})
        self.__dict__["name"] = name
        self.__dict__["parameterNames"] = [par.name for par in parameters]

    def __setattr__(self, attribute: str, value: Any) -> None:
        if attribute in self.parameterNames:
            if not isinstance(value, Parameter):
                self.__dict__[attribute].values = value
            elif value is not self.__dict__[attribute]:
                self.__dict__[attribute].values = float(value)
        elif attribute == "name":
            raise XspecError("Error: Cannot rebind a Component object's name")
        elif attribute == "parameterNames":
            raise XspecError("Error: Cannot rebind a Component object's parameter names list")
        else:
            raise XspecError(f"***Error: Attribute {attribute} does not exist in class Component  Did you misspell?\n")

    def __repr__(self) -> str:
        return f"<Component {self.name}: {', '.join(self.parameterNames)}>"


class Model:
    """A model for the loaded data; PyXspec's `Model`.

    Parameters
    ----------
    exprString : str
        The model expression; names may be abbreviated.
    modName : str, optional
        Name; required for a source number above 1.
    sourceNum : int, optional
        Source number (default 1).
    setPars : number, str, list, tuple or dict, optional
        First values, as for `setPars`; if one is refused the model keeps its defaults and the error is raised.

    Attributes
    ----------
    expression, name : str
    componentNames : list of str
    nParameters, startParIndex : int
        Number of parameters of this object and the global index of its first.
    <component> : Component
        One attribute for each component.
    flux, lumin : tuple
        Six numbers from `AllModels.calcFlux` and `calcLumin` without data.
    """

    def __init__(self, exprString: str, modName: str = "", sourceNum: int = 1, setPars: Any = None) -> None:  # noqa: N803
        if not isinstance(modName, str):
            raise XspecError("Error: If 2nd argument is supplied, it must be a model name string.")
        if not isinstance(sourceNum, int):
            raise XspecError("Error: If 3rd argument is supplied, it must be an integer for source number.")
        record = create_record(exprString, modName, sourceNum)
        group = min(record.groups)
        self._attach(record, group)
        record._handles[group] = self
        if setPars is not None:
            try:
                self.setPars(setPars)
            except XspecError as error:
                raise XspecError(f"{error}\nError: Model parameters will retain their default values.") from None
        self.show()

    @classmethod
    def _of(cls, record: ModelRecord, group: int) -> Model:
        handle = cls.__new__(cls)
        handle._attach(record, group)
        return handle

    def _attach(self, record: ModelRecord, group: int) -> None:
        own = self.__dict__
        own["_record"], own["_group"] = record, group
        own["name"], own["expression"] = record.name, record.expression.text
        own["nParameters"] = record.n_parameters
        own["_parameters"] = [
            Parameter(info.name, i, self) for i, (_, info, _norm) in enumerate(record.layout, start=1)
        ]
        for name, (start, stop) in zip(record.component_names, record.spans, strict=True):
            own[name] = Component(name, own["_parameters"][start:stop])
        own["componentNames"] = list(record.component_names)

    def __setattr__(self, attribute: str, value: Any) -> None:
        if attribute in self.componentNames:
            raise XspecError("Error: Cannot rebind a Model object's component")
        if attribute == "componentNames":
            raise XspecError("Error: Cannot rebind a Model object's component names list")
        if attribute in ("expression", "name", "nParameters", "startParIndex", "flux", "lumin"):
            raise XspecError(f"Error: Cannot rebind a Model object's {attribute}")
        raise XspecError(f"***Error: Attribute {attribute} does not exist in class Model  Did you misspell?\n")

    def __call__(self, parIdx: int) -> Parameter:  # noqa: N803
        """Return the parameter of a local index, 1 to `nParameters`."""
        if not isinstance(parIdx, int):
            raise XspecError("Error: Argument must be an integer.")
        if not 1 <= parIdx <= self.nParameters:
            raise XspecError(f"Error: Valid range of parameters for this object: 1-{self.nParameters}")
        return self._parameters[parIdx - 1]

    def __repr__(self) -> str:
        return f"<Model {self.name + ':' if self.name else ''}{self.expression}, data group {self._group}>"

    def states(self) -> list[ParameterState]:
        """Return this data group's parameters; raises where the model has been removed or replaced."""
        record = self._record
        if session.models.get(record.name) is record:
            record.sync()
            if self._group in record.groups:
                return record.groups[self._group]
        raise XspecError("Error: Python Model object reference no longer corresponds to\n"
                         "          an actual XSPEC model.")

    def state(self, index: int) -> ParameterState:
        """Return the parameter of a local index."""
        return self.states()[index - 1]

    def apply(self, changes: Mapping[int, float | int | str]) -> None:
        """Set parameters by local index; all of them or, if one is refused, none."""
        states = self.states()
        apply_changes([(states[index - 1], value) for index, value in changes.items()])

    @property
    def startParIndex(self) -> int:  # noqa: N802
        """Global index of this object's first parameter."""
        self.states()
        return self._record.offset(self._group) + 1

    @property
    def flux(self) -> tuple[float, ...]:
        """(ergs, low, high, photons, low, high) from the last `calcFlux` without data."""
        return self._record.flux

    @property
    def lumin(self) -> tuple[float, ...]:
        """The same from the last `calcLumin` without data."""
        return self._record.lumin

    def setPars(self, *parVals: Any) -> None:  # noqa: N802, N803
        """Change several parameters at once: ``setPars(0.1, "1.5 -1", {5: 3.2e5})``; indices are local."""
        self.apply(collate(self, parVals))

    def untie(self) -> None:
        """Break all links of this object's parameters; they keep their values."""
        for state in self.states():
            state.untie()

    def energies(self, spectrumIndex: int) -> list[float]:  # noqa: N803
        """Return the energies (keV) on which the model is evaluated for a spectrum; 0 for the dummy response's."""
        from . import evaluate

        self._check_index(spectrumIndex)
        if spectrumIndex == 0:
            return evaluate.dummy_edges().tolist()
        self._check_used(spectrumIndex)
        return session.spectra[spectrumIndex - 1].folding(self._record.source).edges.tolist()

    def values(self, spectrumIndex: int) -> list[float]:  # noqa: N803
        """Return the model (photons/cm2/s in each energy bin) for a spectrum; 0 when it serves none."""
        from . import evaluate

        self._check_index(spectrumIndex)
        if spectrumIndex == 0 and not self._record.on:
            self.states()
            return evaluate.current().dummy_flux(self._record).tolist()
        self._check_used(spectrumIndex)
        return evaluate.current().flux(self._record, spectrumIndex).tolist()

    def folded(self, spectrumIndex: int) -> list[float]:  # noqa: N803
        """Return the folded model (counts/s in each noticed group) of a spectrum in this object's data group."""
        from . import evaluate

        self._check_index(spectrumIndex)
        self._check_used(spectrumIndex)
        return evaluate.current().folded(self._record, spectrumIndex).tolist()

    def show(self) -> None:
        """Show this model's parameters."""
        from .show import show_model

        self.states()
        show_model(self._record, self._group)

    @staticmethod
    def showList() -> None:  # noqa: N802
        """Show the components that the engine has."""
        from .show import show_components

        show_components()

    @staticmethod
    def _check_index(index: Any) -> None:
        if not isinstance(index, int):
            raise XspecError("Error: Argument must be a spectrum number (int).")

    def _check_used(self, index: int) -> None:
        self.states()
        if (not 1 <= index <= len(session.spectra) or not self._record.active
                or int(session.spectra[index - 1].dataGroup) != self._group
                or not has_source(session.spectra[index - 1], self._record.source)):
            raise XspecError(
                "Error: Cannot retrieve array for this model and spectrum number. "
                f"{self!r} is not used with spectrum {index} of {len(session.spectra)}: "
                "take the object of that spectrum's own data group, AllModels(spectrum.dataGroup, name)."
            )


def collate(model: Model, arguments: Iterable[Any]) -> dict[int, float | int | str]:
    """Gather `setPars` arguments into a dictionary by local index, as PyXspec numbers them."""
    changes: dict[int, float | int | str] = {}
    index = 1

    def put(place: int, value: Any, what: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (float, int, str)):
            try:
                value = float(value)  # numpy scalars and zero-dimensional arrays
            except (TypeError, ValueError):
                raise XspecError(f"Error: {what} contains invalid argument type: {type(value).__name__}") from None
        if place > model.nParameters:
            raise XspecError(f"Error: Attempting to set par {place} in a model with only {model.nParameters} "
                             "parameters.\n")
        if place in changes:
            logger.warning("***Warning: Duplicate setPars entries for par %d.  Will use most recent.", place)
        changes[place] = value

    for argument in arguments:
        if isinstance(argument, dict):
            for key, value in argument.items():
                if not isinstance(key, int):
                    raise XspecError("Error: Dict key must be a parameter index integer.")
                if key < 1:
                    raise XspecError(f"Error: {key} is not a valid parameter index.")
                put(key, value, "Dictionary entry")
                index = key + 1
        elif isinstance(argument, (tuple, list)):
            for value in argument:
                put(index, value, "Sequence")
                index += 1
        elif isinstance(argument, (float, int, str)) or hasattr(argument, "__float__"):
            put(index, argument, "Argument")
            index += 1
        else:
            raise XspecError(f"Error: Invalid parameter argument type: {type(argument).__name__}")
    return changes


def __getattr__(name: str) -> Any:
    # `manager` builds on this module, and people look for AllModels beside Model.
    if name == "AllModels":
        from .manager import AllModels

        return AllModels
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
