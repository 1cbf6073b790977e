"""Model definitions and parameter commands of an .xcm file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from xspec_sixsa.embedded.fit import Fit
from xspec_sixsa.embedded.model import model_of
from xspec_sixsa.embedded.parameterstate import ParameterState, bump_structure
from xspec_sixsa.embedded.record import ModelRecord, apply_changes, create_record, find_parameter
from xspec_sixsa.embedded.state import session
from xspec_sixsa.embedded.xcm_script import Statement, parse_ranges

__all__ = ["PARAMETER_COMMANDS", "define_model"]


def define_model(statement: Statement, find_file: Callable[[str], str]) -> None:
    """Run a `model` command with its parameter lines.

    Parameters
    ----------
    statement : Statement
        ``model [source:name] expression``, ``model none`` or ``model clear``.
    find_file : callable
        Gives the path of a table model's file.
    """
    words = list(statement.words)
    if not words or words[0].lower() in ("none", "clear"):
        session.models.clear()
        session.touch()
        return
    if words[0].lower() in ("active", "inactive"):
        raise statement.error("models are not switched on and off by the embedded engine.")
    source, name = 1, ""
    head, colon, tail = words[0].partition(":")
    if colon and head.isdigit():
        source, name = int(head), tail
        words.pop(0)
    if not words:
        raise statement.error("the model has no expression.")
    record = create_record(_with_table_paths(" ".join(words), find_file), name, source)
    states = record.states
    if len(statement.parameters) > len(states):
        raise statement.error(
            f"{len(statement.parameters)} parameter lines, but the model has {len(states)} parameters: "
            "do its components, and the data groups, agree with those of the engine?"
        )
    values, links = [], []
    for state, line in zip(states, statement.parameters, strict=False):
        if line.startswith("/*"):
            break
        if line.startswith("="):
            links.append((state, line))
        elif not line.startswith("/"):
            values.append((state, line))
    # Links last, since giving a value to a parameter that is already tied would untie it.
    apply_changes([*values, *links])


def _with_table_paths(expression: str, find_file: Callable[[str], str]) -> str:
    parts, rest = "", expression
    while "table{" in rest:
        before, _, after = rest.partition("table{")
        name, _, rest = after.partition("}")
        parts += f"{before}table{{{find_file(name.strip())}}}"
    return parts + rest


def _record(name: str, statement: Statement) -> ModelRecord:
    if name not in session.models:
        raise statement.error(f"there is no model named {name!r}." if name else "there is no model without a name.")
    return session.models[name]


def _parameter(name: str, index: int, statement: Statement) -> ParameterState:
    record = _record(name, statement)
    state = find_parameter(name, index)
    if state is None:
        raise statement.error(f"there is no parameter {index}: the model has {len(record.states)}.")
    return state


def _split_name(word: str) -> tuple[str, str]:
    name, colon, rest = word.partition(":")
    return (name, rest) if colon else ("", word)


def _parameters(statement: Statement) -> Iterator[ParameterState]:
    """Parameters of ``1-3,5 bkg:2-**``."""
    for word in " ".join(statement.words).replace(",", " ").split():
        name, ranges = _split_name(word)
        for index in parse_ranges(ranges, statement, len(_record(name, statement).states)):
            yield _parameter(name, index, statement)


def _newpar(statement: Statement) -> None:
    if len(statement.words) < 2:
        raise statement.error("newpar needs a parameter and its value.")
    name, first = _split_name(statement.words[0])
    numbers = parse_ranges(first, statement, len(_record(name, statement).states))
    fields = [text.strip() for text in " ".join(statement.words[1:]).split("&")]
    if len(fields) > 1:
        numbers = list(range(numbers[0], numbers[0] + len(fields)))
    changes = []
    for i, index in enumerate(numbers):
        text = fields[min(i, len(fields) - 1)]
        state = _parameter(name, index, statement)
        if text and not text.startswith("/"):
            changes.append((state, text))
    apply_changes(changes)


def _freeze(statement: Statement) -> None:
    for state in _parameters(statement):
        state.freeze(True)


def _thaw(statement: Statement) -> None:
    for state in _parameters(statement):
        state.freeze(False)


def _untie(statement: Statement) -> None:
    for state in _parameters(statement):
        state.untie()


def _bayes(statement: Statement) -> None:
    words = statement.words
    if words and words[0].lower() in ("on", "off"):
        Fit.bayes = words[0].lower()
        return
    name, index = _split_name(words[0]) if words else ("", "")
    if not index.isdigit() or len(words) < 2:
        raise statement.error("only `bayes on|off` and `bayes <parameter> <prior> <numbers>` are restored.")
    state = _parameter(name, int(index), statement)
    handle = model_of(state.record, state.group)(state.index)
    handle.prior = (words[1], *(float(word) for word in words[2:]))
    bump_structure()


PARAMETER_COMMANDS: dict[str, Callable[[Statement], None]] = {
    "newpar": _newpar, "freeze": _freeze, "thaw": _thaw, "untie": _untie, "bayes": _bayes,
}  # fmt: skip
