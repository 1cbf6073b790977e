"""`Model` and `Component`: PyXspec's handles on one data group of a model definition (`record.ModelRecord`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from xspec_sixsa.embedded.parameter import Parameter
from xspec_sixsa.embedded.parameterstate import ParameterState
from xspec_sixsa.embedded.record import ModelRecord, apply_changes, create_record
from xspec_sixsa.embedded.show import show_components, show_model
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["Component", "Model", "collate", "model_of"]

logger = logging.getLogger(__name__)


class Component:
    """One component of a model: an attribute for each parameter, `name` and `parameterNames`."""

    name: str
    parameterNames: list[str]

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

    name: str
    expression: str
    nParameters: int
    componentNames: list[str]
    _record: ModelRecord
    _group: int
    _parameters: list[Parameter]

    def __init__(self, exprString: str, modName: str = "", sourceNum: int = 1, setPars: Any = None) -> None:
        if not isinstance(modName, str):
            raise XspecError("Error: If 2nd argument is supplied, it must be a model name string.")
        if not isinstance(sourceNum, int):
            raise XspecError("Error: If 3rd argument is supplied, it must be an integer for source number.")
        record = create_record(exprString, modName, sourceNum)
        group = min(record.groups)
        self._attach(record, group)
        record.handles[group] = self
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

    def __call__(self, parIdx: int) -> Parameter:
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
        raise XspecError(
            "Error: Python Model object reference no longer corresponds to\n          an actual XSPEC model."
        )

    def state(self, index: int) -> ParameterState:
        """Return the parameter of a local index."""
        return self.states()[index - 1]

    def apply(self, changes: Mapping[int, float | int | str]) -> None:
        """Set parameters by local index; all of them or, if one is refused, none."""
        states = self.states()
        apply_changes([(states[index - 1], value) for index, value in changes.items()])

    @property
    def startParIndex(self) -> int:
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

    def setPars(self, *parVals: Any) -> None:
        """Change several parameters at once: ``setPars(0.1, "1.5 -1", {5: 3.2e5})``; indices are local."""
        self.apply(collate(self, parVals))

    def untie(self) -> None:
        """Break all links of this object's parameters; they keep their values."""
        for state in self.states():
            state.untie()

    def energies(self, spectrumIndex: int) -> list[float]:
        """Return the energies (keV) on which the model is evaluated for a spectrum; 0 for the dummy response's."""
        from xspec_sixsa.embedded.evaluate import current, dummy_edges

        self._check_index(spectrumIndex)
        if spectrumIndex == 0:
            return dummy_edges().tolist()
        self._check_used(spectrumIndex)
        return current().edges(self._record, spectrumIndex).tolist()

    def values(self, spectrumIndex: int) -> list[float]:
        """Return the model (photons/cm2/s in each energy bin) for a spectrum; 0 when it serves none."""
        from xspec_sixsa.embedded.evaluate import current

        self._check_index(spectrumIndex)
        if spectrumIndex == 0 and not self._record.on:
            self.states()
            return current().dummy_flux(self._record).tolist()
        self._check_used(spectrumIndex)
        return current().flux(self._record, spectrumIndex).tolist()

    def folded(self, spectrumIndex: int) -> list[float]:
        """Return the folded model (counts/s in each noticed group) of a spectrum in this object's data group."""
        from xspec_sixsa.embedded.evaluate import current

        self._check_index(spectrumIndex)
        self._check_used(spectrumIndex)
        return current().folded(self._record, spectrumIndex).tolist()

    def show(self) -> None:
        """Show this model's parameters."""
        self.states()
        show_model(self._record, self._group)

    @staticmethod
    def showList() -> None:
        """Show the components that the engine has."""
        show_components()

    @staticmethod
    def _check_index(index: Any) -> None:
        if not isinstance(index, int):
            raise XspecError("Error: Argument must be a spectrum number (int).")

    def _check_used(self, index: int) -> None:
        self.states()
        if (
            not 1 <= index <= len(session.spectra)
            or not self._record.active
            or int(session.spectra[index - 1].dataGroup) != self._group
            or not session.spectra[index - 1].has_source(self._record.source)
        ):
            raise XspecError(
                "Error: Cannot retrieve array for this model and spectrum number. "
                f"{self!r} is not used with spectrum {index} of {len(session.spectra)}: "
                "take the object of that spectrum's own data group, AllModels(spectrum.dataGroup, name)."
            )


def model_of(record: ModelRecord, group: int) -> Model:
    """Return the model object of one data group: the same one each time.

    Raises
    ------
    XspecError
        For a data group that the model does not serve.
    """
    record.sync()
    if group not in record.groups:
        shown = f"model name: {record.name}" if record.name else "unnamed model"
        raise XspecError(f"Error: No model object exists for {shown}, data group {group}")
    if group not in record.handles:
        record.handles[group] = Model._of(record, group)
    return record.handles[group]


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
            raise XspecError(
                f"Error: Attempting to set par {place} in a model with only {model.nParameters} parameters.\n"
            )
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
