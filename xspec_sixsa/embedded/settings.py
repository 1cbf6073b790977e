"""The session's settings as text sets them: by an attribute of `Xset` or by a line of an .xcm file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from xspec_sixsa.embedded.abundances import FILE, read_abundances
from xspec_sixsa.embedded.state import XspecError, session

__all__ = [
    "OTHER_COMMANDS", "SETTERS", "add_model_string", "available_abundances", "available_cross_sections", "fields",
    "set_abundances", "set_cosmology", "set_cross_sections", "set_data_folder", "set_model_strings", "set_seed",
]  # fmt: skip

COSMO_NAMES = ("H0", "q0", "Lambda0")
OTHER_COMMANDS = ("delta", "method", "seed", "statistic", "weight")
"""What `xset` sets besides model strings and `SETTERS`."""


def available_abundances() -> tuple[str, ...]:
    """Names of the abundance tables that the engine has, in alphabetical order."""
    from xspec_sixsa.embedded.components.crosssections import ABUNDANCES
    from xspec_sixsa.embedded.library.catalogue import library

    models = library()
    return tuple(sorted({*ABUNDANCES, *(models.abundances if models else ())}))


def available_cross_sections() -> tuple[str, ...]:
    """Names of the photoelectric cross-section sets that the engine has."""
    from xspec_sixsa.embedded.components.crosssections import XSECTS

    return XSECTS


def set_abundances(table: str) -> None:
    """Take abundances for models evaluated from now on: a table, by its name or the start of it, or ``"file NAME"``.

    Raises
    ------
    XspecError
        For a table that the engine lacks, an ambiguous name, or a file that holds no abundances.
    """
    words = _words(table, "abund")
    if words[0].lower() == FILE:
        if len(words) < 2:
            raise XspecError("abund file: the file's name is missing, as in `abund file mine.txt`.")
        path = os.path.abspath(os.path.expanduser(table.split(None, 1)[1].strip()))
        session.abund, session.abund_file = read_abundances(path), path
        session.touch()
        return
    matches = [name for name in available_abundances() if name.startswith(words[0].lower())]
    if len(matches) != 1:
        raise XspecError(
            f"abund {table!r} is {'ambiguous' if matches else 'unknown'}: "
            f"the engine has {', '.join(available_abundances())}."
        )
    if session.abund != matches[0]:
        session.abund, session.abund_file = matches[0], ""
        session.touch()


def set_cross_sections(value: str) -> None:
    """Take a set of photoelectric cross-sections for models evaluated from now on.

    Raises
    ------
    XspecError
        For a set that the engine lacks.
    """
    name = _words(value, "xsect")[0].lower()
    if name not in available_cross_sections():
        raise XspecError(f"xsect {value!r} is unknown: the engine has {', '.join(available_cross_sections())}.")
    if session.xsect != name:
        session.xsect = name
        session.touch()


def set_cosmology(values: str) -> None:
    """Take H0 (km/s/Mpc), q0 and Lambda0 from one string, e.g. ``"50 .5 0."``; an empty place (``",,0.7"``) stays.

    Raises
    ------
    XspecError
        For anything but up to three numbers, the first of them positive.
    """
    if not isinstance(values, str):
        raise XspecError('Xset.cosmo takes one string, e.g. "70 0 .73" or ",,0.7".')
    new = list(session.cosmo)
    for i, word in enumerate(fields(values)):
        if i >= 3:
            raise XspecError(f"Xset.cosmo = {values!r}: at most three numbers, {', '.join(COSMO_NAMES)}.")
        if word:
            try:
                new[i] = float(word)
            except ValueError:
                raise XspecError(f"Xset.cosmo = {values!r}: {word!r} is not a number.") from None
    if new[0] <= 0:
        raise XspecError(f"Xset.cosmo = {values!r}: H0 must be positive.")
    session.cosmo = (new[0], new[1], new[2])
    session.touch()


def set_data_folder(name: str) -> None:
    """Take the compiled models' data from a folder, for models evaluated from now on; empty: from the usual places.

    Raises
    ------
    XspecError
        Where there is no such folder.
    """
    folder = os.path.abspath(os.path.expanduser(name.strip())) if name.strip() else ""
    if folder and not os.path.isdir(folder):
        raise XspecError(f"mdatadir {name.strip()}: there is no folder {folder}, so no model could read its data.")
    session.data_folder = folder
    session.touch()


def set_seed(value: int) -> None:
    """Restart the engine's generator."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise XspecError("Error: Seed argument must be an integer")
    session.generator = np.random.default_rng(np.random.SeedSequence(abs(value)))


def set_model_strings(value: dict[str, str] | tuple[tuple[str, str], ...]) -> None:
    """Replace all model strings; see `add_model_string` for what is refused."""
    items = dict(value)
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in items.items()):
        raise XspecError("Error: All names and value entries must be strings.")
    for key in items:
        _check_followed(key.strip().upper())
    session.model_strings = {key.upper(): text for key, text in items.items()}
    session.touch()


def add_model_string(key: str, value: str) -> None:
    """Carry out `xset key value`: add to the model strings, or, as there, set what has a name of its own (`SETTERS`).

    Raises
    ------
    XspecError
        For `OTHER_COMMANDS`, which are set elsewhere in Python, and for a key under which XSPEC computes a component of
        ours differently, where XSPEC's compiled models are not installed.
    """
    if not isinstance(key, str) or not isinstance(value, str):
        raise XspecError("Error: addModelString requires 2 string arguments.")
    name = key.strip()
    if name.lower() in SETTERS:
        SETTERS[name.lower()](value)
        return
    if name.lower() in OTHER_COMMANDS:
        raise XspecError(f"Model string {key!r}: {name} is an attribute of Fit or Xset, and set there.")
    _check_followed(name.upper())
    session.model_strings[name.upper()] = value.strip()
    session.touch()


def _check_followed(key: str) -> None:
    from xspec_sixsa.embedded.components import REGISTRY
    from xspec_sixsa.embedded.library.catalogue import library

    names = [component.name for component in REGISTRY.values() if key in component.strings]
    if names and library() is None:
        raise XspecError(
            f"Model string {key} is refused: XSPEC computes {', '.join(names)} differently under it, which the "
            "engine's own functions do not. XSPEC's compiled ones do: pip install xspectrampoline."
        )


SETTERS: dict[str, Callable[[str], None]] = {
    "abund": set_abundances, "cosmo": set_cosmology, "mdatadir": set_data_folder, "xsect": set_cross_sections,
}  # fmt: skip
"""What `xset` sets by its name."""


def _words(value: Any, name: str) -> list[str]:
    words = value.split() if isinstance(value, str) else []
    if not words:
        raise XspecError(f"Error: {name} argument must be a string")
    return words


def fields(text: str) -> list[str]:
    """Split as XSPEC does: at blanks and commas; an empty place between two commas is an empty field."""
    fields: list[str] = []
    for part in text.split(","):
        fields.extend(part.split() or [""])
    return fields
