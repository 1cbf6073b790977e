"""The model definitions behind `Model`: an expression, and its parameters for each data group.

The parameters of later data groups are linked to the first group's until they are given values of their own, as in
XSPEC.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xspec_sixsa.embedded.componenttype import ParameterInfo, parameter
from xspec_sixsa.embedded.expression import Expression, attribute_names, parse
from xspec_sixsa.embedded.links import Link
from xspec_sixsa.embedded.parameterstate import ParameterState, bump_structure, modify
from xspec_sixsa.embedded.state import XspecError, session

if TYPE_CHECKING:
    from xspec_sixsa.embedded.model import Model

__all__ = ["ModelRecord", "apply_changes", "create_record", "find_parameter"]

logger = logging.getLogger(__name__)

FORBIDDEN = ("none", "clear", "act", "inact")
"""Words that XSPEC's model command would take for something else at the start of an expression."""


NORM = parameter("norm", "", 1.0, 0.0, 0.0, 1.0e20, 1.0e24, 0.01)
"""The norm that XSPEC gives every additive component."""


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
    handles : dict of int to Model
        The PyXspec objects given out so far, by data group; `model.model_of` makes them.
    """

    def __init__(self, name: str, source: int, expression: Expression) -> None:
        self.name, self.source, self.expression = name, source, expression
        self.active = True
        self.component_names = attribute_names([component.name for component in expression.components])
        self.layout: list[tuple[int, ParameterInfo, bool]] = []
        self.spans: list[tuple[int, int]] = []
        for number, component in enumerate(expression.components):
            start = len(self.layout)
            self.layout += [(number, info, False) for info in component.parameters]
            if component.kind == "add":
                self.layout.append((number, NORM, True))
            self.spans.append((start, len(self.layout)))
        self.groups: dict[int, list[ParameterState]] = {}
        self.flux: tuple[float, ...] = (0.0,) * 6
        self.lumin: tuple[float, ...] = (0.0,) * 6
        self._synced = -1
        self.handles: dict[int, Model] = {}

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
        return sorted({int(s.dataGroup) for s in session.spectra if s.has_source(self.source)}) if self.active else []

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
        self.handles = {group: handle for group, handle in self.handles.items() if group in wanted}
        self.groups = {}
        for group in wanted:
            if group not in kept:
                kept[group] = [
                    ParameterState(info, self, group, i, norm) for i, (_, info, norm) in enumerate(self.layout, start=1)
                ]
                fresh = True
            else:
                fresh = False
            self.groups[group] = kept[group]
            if fresh and group != wanted[0]:
                for mine, primary in zip(kept[group], kept[wanted[0]], strict=True):
                    mine.set_link(_link_to(primary))
        bump_structure()

    def release(self) -> None:
        """Break the links of other models to this one, before it goes."""
        release_links({id(state) for states in self.groups.values() for state in states})


def _link_to(primary: ParameterState) -> Link:
    return Link("p1", lambda name, index: primary)


def release_links(doomed: set[int]) -> None:
    """Untie, keeping their values, all parameters whose link refers to one that goes."""
    for record in session.models.values():
        for states in record.groups.values():
            for state in states:
                if (
                    id(state) not in doomed
                    and state.link is not None
                    and any(id(member) in doomed for member in state.link.members)
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
        bump_structure()
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
