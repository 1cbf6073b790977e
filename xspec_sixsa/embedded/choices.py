"""How the words of `Fit`'s settings are read: names with abbreviations, spectrum ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["resolve", "spectrum_numbers", "words_of"]


def words_of(value: Any, what: str) -> list[str]:
    """Return the words of a setting given as a string, or as a list of strings and numbers."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, (list, tuple)):
        return [word for item in value for word in str(item).split()]
    raise XspecError(f"Error: {what} argument must be a string or list")


def spectrum_numbers(words: list[str]) -> list[int]:
    """Read ``["1-3", "5"]`` into spectrum numbers."""
    numbers: list[int] = []
    for word in " ".join(words).replace(",", " ").split():
        match = re.fullmatch(r"(\d+|\*+)(?:-(\d+|\*+))?", word)
        if match is None:
            raise XspecError(f"Error: {word!r} is not a spectrum number or range such as 1-3.")
        first = 1 if match[1].startswith("*") else int(match[1])
        last = len(session.spectra) if (match[2] or match[1]).startswith("*") else int(match[2] or match[1])
        if not 1 <= first <= last <= len(session.spectra):
            raise XspecError(f"Error: spectrum range {word!r}: {len(session.spectra)} spectra are loaded.")
        numbers += range(first, last + 1)
    return numbers


def resolve(name: str, known: Iterable[str], what: str, absent: Iterable[str] = ()) -> str:
    """Return the choice a word or its abbreviation means; what XSPEC has and the engine lacks is named as such."""
    known = tuple(known)
    name = name.lower()
    for choice in known:
        if name == choice:
            return choice
    matches = [choice for choice in known if name and choice.startswith(name)]
    if matches and name not in absent:
        return matches[0]
    if name in absent:
        hint = " (cstat becomes the W-statistic where a background is attached)" if name == "wstat" else ""
        raise XspecError(
            f"Error: {what} {name!r} is not available in the embedded engine{hint}: it has {', '.join(known)}."
        )
    raise XspecError(f"Error: {what} {name!r} is not known: use one of {', '.join(known)}.")
