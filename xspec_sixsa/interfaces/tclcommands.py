"""The commands about finished runs as XSPEC's prompt has them: -option for --option, and answers for Tcl arrays."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import click
import numpy as np

from xspec_sixsa.interfaces.commands import Answer, runs

__all__ = ["perform", "tcl_array", "usage", "with_one_dash"]

SHELL_ONLY = ("engine", "quiet", "data")
"""Parameters that the prompt decides."""
PROMPT_OPTIONS = {"--target-ess": "-ess"}
"""Named as in `sixsa run`."""


def perform(name: str, words: Sequence[str], session: Callable[[], ModuleType]) -> Answer:
    """Run a command of commands.py.

    Parameters
    ----------
    name : str
    words : sequence of str
        As typed after it.
    session : callable
        Gives the PyXspec with the prompt's session; called where the command evaluates the model, not before.

    Raises
    ------
    ValueError
        For words that the command does not take, saying which it does.
    """
    context = _context(name, session)
    options = [option for param in context.command.params for option in param.opts if option.startswith("-")]
    for word in words:
        if re.fullmatch("-[a-z][a-z-]+", word) and word not in options:
            raise ValueError(f"unknown option {word}; there are {', '.join(options) or 'none'}.")
    with context:
        try:
            context.command.parse_args(context, list(words))
        except click.UsageError as error:
            text = f"{error.format_message()} {context.get_usage()}; `sixsa {name} ?` lists the options."
            raise ValueError(text) from error
        return context.command.invoke(context)


def usage(name: str) -> str:
    """What a command does and takes, as text."""
    context = _context(name)
    return with_one_dash(context.command.get_help(context))


def with_one_dash(text: str) -> str:
    """Options are typed with one dash at the prompt."""
    return re.sub(r"(?<![\w-])--(?=[a-z])", "-", text)


def tcl_array(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested numbers as keys and values of a Tcl array.

    Keys of nested mappings, and numbers from 1 of lists of mappings, are joined by commas: ``models,1,log_z``. A list
    of plain values becomes a Tcl list, true and false 1 and 0, None nothing.
    """
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        value = dict(enumerate(value, start=1))
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from tcl_array(item, f"{key},{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        yield key.replace(" ", "_"), " ".join(_element(_text(item)) for item in value)
    else:
        yield key.replace(" ", "_"), _text(value)


def _context(name: str, session: Callable[[], ModuleType] | None = None) -> click.Context:
    command = copy.copy(runs.commands[name])
    command.params = [copy.copy(param) for param in command.params if param.name not in SHELL_ONLY]
    for param in command.params:
        param.opts = [PROMPT_OPTIONS.get(option, with_one_dash(option)) for option in param.opts]
    # exit codes, of which the epilog speaks, are the shell's
    command.epilog, command.add_help_option = None, False
    return click.Context(command, info_name=f"sixsa {name}", obj=session)


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def _element(text: str) -> str:
    """One word of a Tcl list."""
    if re.search(r"[{}\\]", text):
        return re.sub(r"(\W)", r"\\\1", text)
    return text if re.fullmatch(r"[\w./:+-]+", text) else f"{{{text}}}"
