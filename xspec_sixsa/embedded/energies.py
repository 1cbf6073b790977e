"""Energies on which models are evaluated instead of the responses', or beyond them: XSPEC's command `energies`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xspec_sixsa.embedded.settings import fields
from xspec_sixsa.embedded.state import XspecError, session

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Extension", "Range", "names_file", "own_energies", "rebinning", "set_energies", "with_extensions"]

SPACINGS = ("log", "lin")


@dataclass(frozen=True)
class Range:
    """Energies between two others.

    Attributes
    ----------
    low, high : float
        keV.
    bins : int
    spacing : {"log", "lin"}
    """

    low: float
    high: float
    bins: int
    spacing: str

    def edges(self) -> np.ndarray:
        """Return the edges of the bins, (bins + 1,)."""
        return (np.geomspace if self.spacing == "log" else np.linspace)(self.low, self.high, self.bins + 1)


@dataclass(frozen=True)
class Extension:
    """Bins added below or above a response's energies.

    Attributes
    ----------
    side : {"low", "high"}
    energy : float
        How far they go, keV.
    bins : int
    spacing : {"log", "lin"}
    """

    side: str
    energy: float
    bins: int
    spacing: str


FUZZ = 5e-8  # relative
FIRST_RANGE = Range(0.1, 10.0, 1000, "lin")
FIRST_EXTENSION = Extension("high", 100.0, 200, "log")
"""XSPEC's defaults for what the first command leaves out."""


def set_energies(command: str) -> None:
    """Carry out an `energies` command.

    Parameters
    ----------
    command : str
        ``".1 50. 1000 log  100. 5 lin"``, ``",,500"``, the name of a file, ``"extend high,50,100,log"``, ``"reset"``.
        What is left out is as in the last such command, as in XSPEC.

    Raises
    ------
    XspecError
        For words that are neither, numbers that cannot be used, or a file that cannot.
    """
    word, _, rest = command.strip().partition(" ")
    if word.lower() == "reset":
        session.energies, session.extensions = (), {}
    elif word.lower() == "extend":
        _extend(rest)
    elif word and names_file(word):
        session.energies, session.extensions = _from_file(command.strip()), {}
    elif word:
        session.ranges = session.energies = _ranges(command)
        session.extensions = {}
    session.touch()


def own_energies() -> np.ndarray | None:
    """Return the energies (nE + 1,) that the user has set in place of all responses'; None without."""
    if not session.energies:
        return None
    return np.concatenate([session.energies[0].edges()[:1], *(part.edges()[1:] for part in session.energies)])


def with_extensions(edges: np.ndarray) -> tuple[np.ndarray, slice]:
    """Return a response's energies (nE + 1,) with what `energies extend` adds, and which of the bins are its own."""
    low, high = session.extensions.get("low"), session.extensions.get("high")
    before = after = np.empty(0)
    if low is not None and low.energy < edges[0]:
        before = Range(low.energy, float(edges[0]), low.bins, low.spacing).edges()[:-1]
    if high is not None and high.energy > edges[-1]:
        after = Range(float(edges[-1]), high.energy, high.bins, high.spacing).edges()[1:]
    return np.concatenate([before, edges, after]), slice(len(before), len(before) + len(edges) - 1)


def rebinning(edges: np.ndarray, onto: np.ndarray) -> csr_array:
    """Return the share of each bin that lies in each of others.

    Parameters
    ----------
    edges, onto : ndarray (nE + 1,), (n + 1,)
        keV, ascending.

    Returns
    -------
    csr_array (n, nE)

    Raises
    ------
    XspecError
        Where they have no energy in common: XSPEC then gives no model at all.
    """
    from scipy.sparse import coo_array

    low, high = max(edges[0], onto[0]), min(edges[-1], onto[-1])
    if low >= high:
        raise XspecError(
            f"The energies that are set ({edges[0]:g}-{edges[-1]:g} keV) and the response's ({onto[0]:g}-{onto[-1]:g} "
            "keV) have nothing in common, so no model can be folded: set others, or go back to the responses' "
            '(`energies reset`; Python: AllModels.setEnergies("reset")).'
        )
    cuts = np.unique(np.concatenate([edges, onto]).clip(low, high))
    middle, width = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
    source, target = (np.searchsorted(bins, middle, side="right") - 1 for bins in (edges, onto))
    share = width / np.diff(edges)[source]
    share[onto[target] < edges[0] * (1.0 - FUZZ)] = 0.0  # XSPEC 12.9.1 leaves out a bin that begins below all energies
    return coo_array((share, (target, source)), shape=(len(onto) - 1, len(edges) - 1)).tocsr()


def names_file(word: str) -> bool:
    """Return whether the first word of an `energies` command is the name of a file."""
    return word.lower() not in ("extend", "reset") and not _is_number(fields(word)[0])


def _is_number(text: str) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def _number(text: str, default: float, command: str) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        raise XspecError(f"energies {command}: {text!r} is not a number.") from None


def _bins_and_spacing(words: list[str], default: Range | Extension, command: str) -> tuple[int, str]:
    bins = _number(words[0], default.bins, command)
    spacing = words[1].lower() or default.spacing
    if bins < 1 or bins != int(bins) or spacing not in SPACINGS:
        raise XspecError(
            f"energies {command.strip()}: needs at least 1 bin, and log or lin; this says {bins:g} bins, {spacing}. "
            "For instance: .1 50. 1000 log, or extend high,50,100,log."
        )
    return int(bins), spacing


def _ranges(command: str) -> tuple[Range, ...]:
    """Read ``low high bins log|lin``, then any number of ``high bins log|lin``."""
    words, old = fields(command), session.ranges or (FIRST_RANGE,)
    low = _number(words[0], old[0].low, command)
    found: list[Range] = []
    for k, start in enumerate(range(1, max(len(words), 2), 3)):
        given = [*words[start : start + 3], "", "", ""][:3]
        default = old[k] if k < len(old) else replace(found[-1], high=float("nan"))
        high = _number(given[0], default.high, command)
        part = Range(low, high, *_bins_and_spacing(given[1:], default, command))
        if not 0.0 <= low < high or (part.spacing == "log" and low == 0.0):
            raise XspecError(
                f"energies {command.strip()}: from {low:g} to {high:g} keV is no range ({part.spacing}): energies "
                "ascend, from 0 keV or, in a logarithmic range, from more."
            )
        found.append(part)
        low = high
    return tuple(found)


def _extend(command: str) -> None:
    """Read ``low|high energy bins log|lin``."""
    last = session.last_extension or FIRST_EXTENSION
    words = [*fields(command), "", "", "", ""]
    side, energy = words[0].lower() or last.side, _number(words[1], last.energy, f"extend {command}")
    if side not in ("low", "high"):
        raise XspecError(f"energies extend {command}: extend `low` or `high`, not {words[0]!r}.")
    if not energy > 0.0:
        raise XspecError(f"energies extend {command}: an energy above 0 keV is needed, not {energy:g}.")
    bins, spacing = _bins_and_spacing(words[2:4], last, f"extend {command}")
    session.last_extension = Extension(side, energy, bins, spacing)
    session.energies, session.extensions = (), {**session.extensions, side: session.last_extension}


def _from_file(name: str) -> tuple[Range, ...]:
    """Read energies (keV), one a line in ascending order, with ``#`` before comments; each bin is a range."""
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise XspecError(
            f"energies {name}: the file cannot be read ({error.strerror}). Give energies, as in .1 50. 1000 log, a "
            "file of them, `extend` or `reset`."
        ) from error
    energies: list[float] = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        if not _is_number(word) or not float(word) >= 0.0 or (energies and not float(word) > energies[-1]):
            raise XspecError(f"{name}, line {number}: {word!r} is not an energy in keV above the one before it.")
        energies.append(float(word))
    if len(energies) < 2:
        raise XspecError(f"{name} has {len(energies)} energies: at least two are needed, which bound a bin.")
    return tuple(Range(low, high, 1, "lin") for low, high in itertools.pairwise(energies))
