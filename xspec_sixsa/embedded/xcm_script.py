"""XSPEC command scripts as a list of statements: words, braces, continued lines, and the lines of a model's parameters.

Only what XSPEC's own `save` writes, and what people add to such files by hand, is understood; a script that uses Tcl as
a language (variables, loops, procedures) is refused by name, since running half of it would restore another session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from xspec_sixsa.embedded.state import XspecError

__all__ = ["COMMANDS", "Statement", "parse_ranges", "parse_script"]

COMMANDS = tuple(
    "abund addcomp addline arf autosave backgrnd bayes cd chain chatter comsum corfile cornorm cosmo cpd data delcomp "
    "diagrsp dummyrsp editmod energies eqwidth error exit extend fakeit fit flux freeze ftest gain genetic goodness "
    "hardcopy help identify ignore improve initpackage iplot lmod log logchatter lrt lumin margin mdefine method model "
    "modid multifake newpar notice parallel plot pwd query quit recornrm renorm rescalecov response rerror rfreeze "
    "rmodel rnewpar rthaw runtie save script setplot show simftest source statistic steppar suggest syscall systematic "
    "tclout tcloutr thaw time uncertain undo untie version weight writefits xsect xset".split()
)
# XSPEC accepts these short forms although they begin several commands.
SHORT = {
    "da": "data", "mo": "model", "ig": "ignore", "no": "notice", "stat": "statistic", "res": "response",
    "ba": "backgrnd", "new": "newpar", "f": "fit", "fr": "freeze", "th": "thaw", "me": "method", "q": "quit",
}  # fmt: skip
TCL_WORDS = frozenset(
    "set unset proc for foreach while if else switch expr puts eval catch rename namespace package global upvar "
    "return break continue lappend append incr open close exec file glob after".split()
)
_PARAMETER_LINE = re.compile(r"^[\s]*([-+.\d,=/]|nan)")


@dataclass
class Statement:
    """One command of a script.

    Attributes
    ----------
    line : int
        Line number in the file, from 1.
    command : str
        Full name of the XSPEC command.
    words : list of str
        Its arguments.
    text : str
        The command as it stands in the file.
    parameters : list of str
        Of a `model` command: the lines (or ``&`` fields) that set its parameters.
    """

    line: int
    command: str
    words: list[str]
    text: str
    parameters: list[str] = field(default_factory=list)

    def error(self, message: str) -> XspecError:
        """An error that names the line and the command."""
        return XspecError(f"line {self.line}, `{self.text.strip()}`: {message}")


def parse_script(text: str) -> list[Statement]:
    """Split a command script into statements.

    Parameters
    ----------
    text : str
        The content of an .xcm file.

    Returns
    -------
    list of Statement
        In the order of the file, up to a `quit`; comments and empty lines are gone, continued lines are joined.

    Raises
    ------
    XspecError
        For Tcl constructs, unknown commands and unbalanced quotes or braces, with the line's number.
    """
    statements: list[Statement] = []
    for number, line in _logical_lines(text):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if statements and statements[-1].command == "model" and _PARAMETER_LINE.match(line):
            statements[-1].parameters.append(stripped)
            continue
        for part in _split_commands(stripped):
            statement = _statement(number, part)
            if statement.command in ("quit", "exit"):
                return statements
            statements.append(statement)
    return statements


def parse_ranges(text: str, statement: Statement, highest: int | None = None) -> list[int]:
    """Numbers named by ``1-3,5 7-**``; ``**`` (or ``*``) is the first or last one.

    Parameters
    ----------
    text : str
        Ranges separated by blanks or commas.
    statement : Statement
        For the error message.
    highest : int, optional
        What ``**`` stands for.
    """
    numbers: list[int] = []
    for item in text.replace(",", " ").split():
        low, dash, high = item.partition("-")
        try:
            first = 1 if low.startswith("*") else int(low)
            if not dash:
                last = highest if low.startswith("*") and highest is not None else first
            else:
                last = highest if high.startswith("*") and highest is not None else int(high)
        except ValueError:
            raise statement.error(f"{item!r} is not a number or a range of numbers.") from None
        numbers.extend(range(first, last + 1))
    return numbers


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not pending:
            start = number
        if line.rstrip().endswith("\\") and not line.lstrip().startswith("#"):
            pending += line.rstrip()[:-1] + " "
            continue
        lines.append((start, pending + line))
        pending = ""
    if pending:
        lines.append((start, pending))
    return lines


def _split_commands(line: str) -> list[str]:
    """Commands of one line: Tcl's ``;`` separates them outside quotes and braces."""
    parts, depth, quoted, current = [], 0, False, ""
    for i, character in enumerate(line):
        escaped = i > 0 and line[i - 1] == "\\"
        if character == '"' and not escaped and depth == 0:
            quoted = not quoted
        elif character == "{" and not quoted and not escaped:
            depth += 1
        elif character == "}" and not quoted and not escaped:
            depth -= 1
        if character == ";" and depth == 0 and not quoted and not escaped:
            parts.append(current)
            current = ""
        else:
            current += character
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]


def _statement(number: int, text: str) -> Statement:
    first = text.split(None, 1)[0]
    blank = Statement(number, first, [], text)
    if first in TCL_WORDS and first not in COMMANDS:
        raise blank.error(f"`{first}` is Tcl, not an XSPEC setting; the embedded engine runs no Tcl scripts. "
                          "Load the script in XSPEC and `save all` a session file.")  # fmt: skip
    if first.startswith("@"):
        raise blank.error("scripts within scripts are not run. Put that file's commands here, or restore it by itself.")
    command = _command(first.lower(), blank)
    words = _words(text, blank)[1:]
    if command == "model" and "&" in words:
        cut = words.index("&")
        fields = " ".join(words[cut + 1 :]).split("&")
        return Statement(number, command, words[:cut], text, [f.strip() or "/" for f in fields])
    return Statement(number, command, words, text)


def _command(word: str, statement: Statement) -> str:
    if word in COMMANDS:
        return word
    if word in SHORT:
        return SHORT[word]
    matches = [name for name in COMMANDS if name.startswith(word)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise statement.error(f"`{word}` could be any of {', '.join(matches)}: write the command out.")
    raise statement.error(f"`{word}` is not a command that the embedded engine knows.")


def _words(text: str, statement: Statement) -> list[str]:
    """Words as Tcl splits them: "quoted ones" and {braced ones} are one word, a backslash keeps the next character."""
    words: list[str] = []
    i, n = 0, len(text)
    while i < n:
        if text[i].isspace():
            i += 1
            continue
        if text[i] in '"{':
            word, i = _enclosed(text, i, statement)
        else:
            word = ""
            while i < n and not text[i].isspace():
                if text[i] == "\\" and i + 1 < n:
                    i += 1
                elif text[i] in "$[":
                    raise statement.error("Tcl variables and commands in [] are not understood by the embedded engine.")
                word += text[i]
                i += 1
        words.append(word)
    return words


def _enclosed(text: str, start: int, statement: Statement) -> tuple[str, int]:
    opening = text[start]
    depth, word, i = 1, "", start + 1
    while i < len(text):
        character = text[i]
        if character == "\\" and opening == '"' and i + 1 < len(text):
            i += 1
            word += text[i]
        elif character == ("}" if opening == "{" else '"') and (depth := depth - 1) == 0:
            return word, i + 1
        else:
            if opening == "{" and character == "{":
                depth += 1
            word += character
        i += 1
    raise statement.error(f"a {opening} is never closed.")
