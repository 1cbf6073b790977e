"""XSPEC's ``model.dat``: which models there are, what parameters they have and how their functions are called.

The format is that of the XSPEC manual's appendix C, "Adding models to XSPEC".
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from xspec_sixsa.embedded.componenttype import ParameterInfo

__all__ = ["Definition", "read_definitions"]

KINDS = ("add", "mul", "con", "mix", "acn", "amx")
UNBOUNDED = 1.0e20
"""Limits of parameters for which model.dat has none."""


@dataclass(frozen=True)
class Definition:
    """One model of ``model.dat``.

    Attributes
    ----------
    name : str
    kind : {"add", "mul", "con", "mix", "acn", "amx"}
        Additive, multiplicative, convolution, mixing, pile-up.
    function : str
        As model.dat writes it, with the prefix that says how it is called: ``C_cflux``, ``c_xscomptb``, ``F_ismabs``,
        ``xsabsw``.
    parameters : tuple of ParameterInfo
        In XSPEC's order, without the ``norm`` of additive models.
    per_spectrum : bool
        Whether the value depends on the spectrum that it is folded with (its XFLT keywords).
    """

    name: str
    kind: str
    function: str
    parameters: tuple[ParameterInfo, ...]
    per_spectrum: bool


def read_definitions(path: Path) -> tuple[Definition, ...]:
    """Read a ``model.dat``.

    Returns
    -------
    tuple of Definition
        In the file's order, which is that in which XSPEC resolves abbreviations.

    Raises
    ------
    ValueError
        For a line that is neither a model nor one of its parameters, with its number.
    """
    lines = [(number, line.strip()) for number, line in enumerate(path.read_text("latin-1").splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    found: list[Definition] = []
    place = 0
    while place < len(lines):
        number, line = lines[place]
        words = line.split()
        if len(words) < 7 or words[5] not in KINDS:
            raise ValueError(f"{path}, line {number}: {line!r} does not begin a model (name, parameters, ...).")
        count = int(words[1])
        rows = lines[place + 1 : place + 1 + count]
        parameters = tuple(_parameter(path, number, text) for number, text in rows)
        flags = words[6:]
        found.append(Definition(words[0], words[5], words[4], parameters, "1" in flags[1:2]))
        place += 1 + count
    return tuple(found)


def _parameter(path: Path, number: int, text: str) -> ParameterInfo:
    """Read ``name unit value hard_min soft_min soft_max hard_max delta``, ``*scale unit value``, ``$switch value``."""
    try:
        words = shlex.split(text)
        mark, name = (words[0][0], words[0][1:]) if words[0][0] in "*$" else ("", words[0])
        if not mark:
            numbers = [_number(word) for word in words[2:8]]
            value, hard_min, soft_min, soft_max, hard_max, delta = numbers
            return ParameterInfo(name, words[1].strip(), value, delta, hard_min, soft_min, soft_max, hard_max)
        # A switch may lack its unit, and both may have limits that XSPEC does not use.
        unit, rest = ("", words[1:]) if len(words) == 2 else (words[1].strip(), words[2:])
        kind = "scale" if mark == "*" else "switch"
        return ParameterInfo(name, unit, _number(rest[0]), -1.0, -UNBOUNDED, -UNBOUNDED, UNBOUNDED, UNBOUNDED, kind)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}, line {number}: {text!r} is not a parameter of a model ({error}).") from error


def _number(word: str) -> float:
    return float(word.lower().replace("d", "e"))
