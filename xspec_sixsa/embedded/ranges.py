"""The ranges of `ignore` and `notice`: XSPEC's own syntax, and which channels a range of energies takes.

Integers are channels (of the grouped spectrum, from 1), numbers with a point or an exponent are energies in keV,
``**`` is an end, ``*`` the previous value.  XSPEC remembers, from one command to the next, the last ranges and
whether they were energies, and so does this module: after ``ignore 2.0-3.0``, ``ignore *-5`` means 2-5 keV.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from xspec_sixsa.embedded.state import XspecError

__all__ = ["ChannelRange", "RangeMemory", "channels_of_energies", "compact", "parse_ranges"]

_END = -2.0
_NUMBER = r"(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d*)?|\*{1,2}"
_RANGE = re.compile(
    r"^(?:(?P<s1>\d+|\*{1,2})(?:-(?P<s2>\d+|\*{1,2}))?:)?"
    rf"(?:(?P<c1>{_NUMBER})(?:-(?P<c2>{_NUMBER}))?)?$"
)


@dataclass
class RangeMemory:
    """What XSPEC remembers between commands: the last spectra, the last channels, and their kind."""

    spectra: tuple[float, float] = (1.0, 1.0)
    channels: tuple[float, float] = (_END, _END)
    energies: bool = False


@dataclass(frozen=True)
class ChannelRange:
    """One parsed range: spectra and channels (or keV) from low to high; None is an open end."""

    spectra: tuple[int | None, int | None]
    low: float | None
    high: float | None
    energies: bool = field(default=False)


def _value(text: str, previous: float) -> float:
    if text == "**":
        return _END
    if text == "*":
        return previous
    try:
        return float(text)
    except ValueError:
        return float(text.rstrip("eE+-"))


def _pair(first: str | None, second: str | None, previous: tuple[float, float]) -> tuple[float, float]:
    if first is None:
        return previous
    if second is None:
        # A lone wild card takes everything; a lone number itself.
        return (_END, _END) if first.startswith("*") else (_value(first, 0.0),) * 2
    return _value(first, previous[0]), _value(second, previous[1])


def _channel(value: float) -> float:
    return 1.0 if value == 0 else float(int(value))


def parse_ranges(text: str, memory: RangeMemory, command: str = "ignore") -> list[ChannelRange]:
    """Parse an `ignore` or `notice` string, e.g. ``"1:**-0.5 10.0-**"``, and update the memory.

    Raises
    ------
    XspecError
        For a range that XSPEC would reject (it prints a message and goes on; a typing error must not pass here).
    """
    words: list[str] = []
    for word in text.replace(",", " ").split():
        # "1: 3-5" is one range with a space after the colon.
        if words and words[-1].endswith(":") and ":" not in word:
            words[-1] += word
        else:
            words.append(word)
    found = []
    for word in words:
        match = _RANGE.match(word)
        if not match or not word:
            raise XspecError(
                f"***Xspec Error: Invalid ignore/notice string: {word!r} in {command}({text!r}). "
                'Ranges are "3-10" (channels) or "0.5-2.0" (keV), "**" for an end, with "1-2:" before them for spectra.'
            )
        spectra = _pair(match["s1"], match["s2"], memory.spectra)
        channels = _pair(match["c1"], match["c2"], memory.channels)
        parts = [match["c1"], match["c2"]]
        marked = any(p and re.search(r"[.eE]", p) for p in parts)
        # "*" and a missing range repeat the previous one, kind included; "**" does not.
        wild = match["c1"] is None or "*" in (match["s1"], match["s2"], *parts)
        memory.energies = marked or (memory.energies and wild)
        if not memory.energies:
            channels = (_channel(channels[0]), _channel(channels[1]))
        memory.spectra, memory.channels = spectra, channels
        low, high = (None if v == _END else v for v in channels)
        first, last = (None if v == _END else int(v) for v in spectra)
        found.append(ChannelRange((first, last), low, high, memory.energies))
    return found


def channels_of_energies(e_min: np.ndarray, e_max: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """Return which channels (bool) a range of energies takes: from the one that contains `low` to that of `high`.

    A range wholly outside takes none.  An upper edge equal to `low` still belongs to it, as in XSPEC.
    """
    ascending = e_min[0] < e_min[-1] if e_min.size > 1 else True
    if not ascending:
        return channels_of_energies(e_min[::-1], e_max[::-1], low, high)[::-1]
    begin = e_min[0] - 1e-12 if low is None else low
    end = e_max[-1] + 1e-12 if high is None else high
    if begin > end:
        begin, end = end, begin
    taken = np.zeros(e_min.size, bool)
    if end > e_min[0] and begin <= e_max[-1]:
        first = int(np.argmax(e_max >= begin))
        beyond = np.flatnonzero(e_max[first:] >= end)
        last = first + int(beyond[0]) if beyond.size else e_min.size - 1
        taken[first : last + 1] = True
    return taken


def compact(numbers: list[int]) -> str:
    """Write channel numbers as XSPEC does: ``"1 3-5 7"``."""
    if not numbers:
        return ""
    array = np.asarray(numbers)
    cuts = np.flatnonzero(np.diff(array) != 1) + 1
    runs = np.split(array, cuts)
    return " ".join(str(run[0]) if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs)
