"""The session's settings as text sets them: by an attribute of `Xset` or by a line of an .xcm file."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from xspec_sixsa.embedded.state import XspecError, session

__all__ = [
    "add_model_string", "available_abundances", "available_cross_sections", "fields", "set_abundances", "set_cosmology",
    "set_cross_sections", "set_model_strings", "set_seed",
]  # fmt: skip

log = logging.getLogger(__name__)

COSMO_NAMES = ("H0", "q0", "Lambda0")
# Model strings that change what one of the engine's own components computes; the engine does not follow them, so
# taking them silently would give a number that differs from XSPEC's.
EFFECTIVE_MODEL_STRINGS = {
    "POW_EMIN": "the norm of powerlaw becomes a flux",
    "POW_EMAX": "the norm of powerlaw becomes a flux",
    "LINECRITLEVEL": "gaussian lines are cut at another level",
}


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
    """Take an abundance table, by its name or the beginning of it, for models evaluated from now on.

    Raises
    ------
    XspecError
        For a table that the engine lacks, an ambiguous name, or a file.
    """
    words = _words(table, "abund")
    if words[0].lower() == "file":
        raise XspecError(
            f"abund {table!r}: the embedded engine does not read abundance files; "
            f"its tables are {', '.join(available_abundances())}. With HEASoft installed real XSPEC reads yours."
        )
    matches = [name for name in available_abundances() if name.startswith(words[0].lower())]
    if len(matches) != 1:
        raise XspecError(
            f"abund {table!r} is {'ambiguous' if matches else 'unknown'}: "
            f"the engine has {', '.join(available_abundances())}."
        )
    if session.abund != matches[0]:
        session.abund = matches[0]
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
        _check_model_string(key)
    session.model_strings = {key.upper(): text for key, text in items.items()}
    session.touch()


def add_model_string(key: str, value: str) -> None:
    """Add a key and its value to the model strings.

    Raises
    ------
    XspecError
        If XSPEC would compute one of the engine's own components differently under this key.
    """
    if not isinstance(key, str) or not isinstance(value, str):
        raise XspecError("Error: addModelString requires 2 string arguments.")
    _check_model_string(key)
    log.info("model string %s = %s reaches XSPEC's compiled models; the engine's own components read none", key, value)
    session.model_strings[key.strip().upper()] = value.strip()
    session.touch()


def _check_model_string(key: str) -> None:
    reason = EFFECTIVE_MODEL_STRINGS.get(key.strip().upper())
    if reason:
        raise XspecError(
            f"Model string {key.strip().upper()} is refused: under it {reason}, which the embedded engine does not "
            "compute. With HEASoft installed use real XSPEC."
        )


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
