"""Energies beyond the responses' on which models are evaluated: XSPEC's `energies extend`, for convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["Extension", "extended", "set_energies"]

SPACINGS = ("log", "lin")


@dataclass(frozen=True)
class Extension:
    """Bins added below or above a response's energies.

    Attributes
    ----------
    energy : float
        How far they go, keV.
    bins : int
    spacing : {"log", "lin"}
    """

    energy: float
    bins: int
    spacing: str


def set_energies(words: list[str]) -> None:
    """Carry out an `energies` command: ``["extend", "high", "50.", "100", "log"]`` or ``["reset"]``.

    Numbers that are left out are those of the last `energies extend`, as in XSPEC; it starts with none.

    Raises
    ------
    XspecError
        For anything but ``extend`` and ``reset``, or numbers that cannot be used.
    """
    text = " ".join(words)
    if [word.lower() for word in words] == ["reset"]:
        session.extensions = {}
        session.touch()
        return
    if len(words) < 3 or words[0].lower() != "extend":
        raise XspecError(
            f"energies {text} is not in the embedded engine, which evaluates on the responses' energies and on those "
            "that `energies extend low|high,<keV>,<bins>,log|lin` adds; `energies reset` ends that. For others use "
            "XSPEC (HEASoft)."
        )
    side, numbers = words[1].lower(), words[2:]
    if side not in ("low", "high"):
        raise XspecError(f"energies {text}: extend `low` or `high`, not {words[1]!r}.")
    last = session.last_extension
    try:
        energy = float(numbers[0])
        bins = int(numbers[1]) if len(numbers) > 1 else last.bins if last else 0
    except ValueError:
        raise XspecError(f"energies {text}: give keV and a number of bins, as in high,50,100,log.") from None
    spacing = numbers[2].lower() if len(numbers) > 2 else last.spacing if last else "log"
    if not energy > 0.0 or bins < 1 or spacing not in SPACINGS:
        raise XspecError(
            f"energies {text}: needs an energy above 0 keV, at least 1 bin, and log or lin; this says {energy:g} keV, "
            f"{bins} bins, {spacing}. For instance: high,50,100,log."
        )
    session.last_extension = Extension(energy, bins, spacing)
    session.extensions = {**session.extensions, side: session.last_extension}
    session.touch()


def extended(edges: np.ndarray) -> tuple[np.ndarray, slice]:
    """Return a response's energies (nE + 1,) with what `energies extend` adds, and which of the bins are its own."""
    low, high = session.extensions.get("low"), session.extensions.get("high")
    before = after = np.empty(0)
    if low is not None and low.energy < edges[0]:
        before = _between(low.energy, float(edges[0]), low)[:-1]
    if high is not None and high.energy > edges[-1]:
        after = _between(float(edges[-1]), high.energy, high)[1:]
    return np.concatenate([before, edges, after]), slice(len(before), len(before) + len(edges) - 1)


def _between(low: float, high: float, extension: Extension) -> np.ndarray:
    space = np.geomspace if extension.spacing == "log" else np.linspace
    return space(low, high, extension.bins + 1)
