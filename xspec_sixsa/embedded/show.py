"""What `Model.show`, `AllModels.show` and `Fit.show` print: parameter tables and the fit summary, in XSPEC's layout."""

from __future__ import annotations

import math

from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.parameterstate import ParameterState
from xspec_sixsa.embedded.record import ModelRecord
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["number_text", "parameter_range", "show_all", "show_components", "show_model"]

WIDTH = 72


def number_text(value: float) -> str:
    """Return a number with six significant digits, fixed between 0.1 and 1e4, else in scientific notation."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:.1f}"
    exponent = math.floor(math.log10(abs(value)))
    return f"{value:.{5 - exponent}f}" if -1 <= exponent <= 3 else f"{value:.5E}"


def _heading(record: ModelRecord) -> list[str]:
    name = f"{record.name}:" if record.name else ""
    source = f" Source No.: {record.source}" if session.spectra else ""
    status = f"   {'Active' if record.active else 'Inactive'}/{'On' if record.on else 'Off'}"
    return [
        "",
        "=" * WIDTH,
        f"Model {name}{record.expression.numbered}{source}{status}",
        "Model Model Component  Parameter  Unit     Value",
        " par  comp",
    ]


def _line(record: ModelRecord, state: ParameterState) -> str:
    component = record.layout[state.index - 1][0]
    name = record.expression.components[component].name
    shown = str(int(state.current())) if state.kind == "switch" else number_text(state.current())
    if state.link is not None:
        tail = state.link.text
    elif state.frozen:
        tail = "frozen"
    else:
        tail = f"+/-  {number_text(state.sigma):<13}"
    return f"{state.global_index:>4}{component + 1:>5}   {name:<11}{state.name:<11}{state.unit:<9}{shown:<13}{tail}"


def show_model(record: ModelRecord, group: int | None = None) -> None:
    """Print one model's parameters; of one data group, or of all."""
    record.sync()
    lines = _heading(record)
    groups = sorted(record.groups) if group is None else [group]
    for number in groups:
        if len(record.groups) > 1:
            lines.append(f"{'':27}Data group: {number}")
        lines += [_line(record, state) for state in record.groups[number]]
    report("\n".join([*lines, "_" * WIDTH, ""]))


def show_all(ranges: str | None = None) -> None:
    """Print all models, or the parameters of ranges such as ``"1-3 bkg:2"``."""
    if ranges is None or not ranges.strip():
        for record in session.models.values():
            show_model(record)
        return
    lines = []
    for record, state in parameter_range(ranges):
        lines.append(_line(record, state))
    report("\n".join(lines))


def parameter_range(text: str) -> list[tuple[ModelRecord, ParameterState]]:
    """Read ``"1-3,5 bkg:2-4 *"`` into parameters.

    Raises
    ------
    XspecError
        For a range that names no parameter.
    """
    found = []
    for word in text.replace(",", " ").split():
        name, _, span = word.rpartition(":")
        record = session.models.get(name)
        if record is None:
            raise XspecError(f"Error: There is no model {name or 'without a name'} for the parameter range {word!r}.")
        states = record.states
        first, _, last = span.partition("-")
        try:
            low = 1 if first in ("*", "**", "") else int(first)
            high = len(states) if last in ("*", "**") or first in ("*", "**") else int(last) if last else low
        except ValueError:
            raise XspecError(f"Error: {word!r} is not a parameter range such as 1-3 or bkg:2.") from None
        if not 1 <= low <= high <= len(states):
            raise XspecError(f"Error: parameter range {word!r} lies outside 1-{len(states)}.")
        found += [(record, state) for state in states[low - 1 : high]]
    return found


def show_components() -> None:
    """Print the components that the engine has."""
    from xspec_sixsa.embedded.components import REGISTRY

    lines = []
    for kind, title in (("add", "Additive Models"), ("mul", "Multiplicative Models")):
        names = sorted((c.name for c in REGISTRY.values() if c.kind == kind), key=str.lower)
        rows = [names[i : i + 6] for i in range(0, len(names), 6)]
        lines += [f" {title}:", *(" ".join(f"{name:<11}" for name in row) for row in rows)]
    lines += [" Table models may be used with the commands atable{*.fits}, mtable{*.fits}, etable{*.fits}."]
    report("\n".join(lines))
