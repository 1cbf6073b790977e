"""`Xset`: the session's settings, its log file, and sessions saved to and restored from .xcm files."""

from __future__ import annotations

import logging
import os
from typing import Any, TextIO

import numpy as np

from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["Xset", "XspecSettings", "available_abundances", "available_cross_sections", "random_generator", "report"]

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

    return tuple(sorted(ABUNDANCES))


def available_cross_sections() -> tuple[str, ...]:
    """Names of the photoelectric cross-section sets that the engine has."""
    from xspec_sixsa.embedded.components.crosssections import XSECTS

    return XSECTS


def report(text: str, level: int = 10) -> None:
    """Show text as an XSPEC command would: on the terminal and in the open log file, as the chatter levels allow.

    Parameters
    ----------
    text : str
        Lines to show.
    level : int
        The chatter at which XSPEC shows such text (default 10).
    """
    if session.chatter >= level:
        print(text)
    if Xset.log is not None and session.log_chatter >= level:
        Xset.log.write(text + "\n")
        Xset.log.flush()


def random_generator() -> np.random.Generator:
    """The engine's own generator (fakeit, chains), seeded by `Xset.seed`; no global state is touched."""
    return Xset._generator


class _Parallel:
    """`Xset.parallel`: the engine evaluates batches in one process, so every context stays at 1."""

    _CONTEXTS = ("leven", "error", "walkers", "steppar", "goodness")

    def __getattr__(self, name: str) -> int:
        if name in self._CONTEXTS:
            return 1
        raise AttributeError(name)

    def __setattr__(self, name: str, value: int) -> None:
        if name not in self._CONTEXTS:
            raise XspecError(f"Xset.parallel.{name} is unknown: the contexts are {', '.join(self._CONTEXTS)}.")
        if value != 1:
            raise XspecError(
                f"Xset.parallel.{name} = {value} is refused: the engine evaluates whole batches in one process "
                "(see xspec_sixsa.embedded.evaluate_batch); torch.set_num_threads sets its threads. Use 1."
            )

    def reset(self) -> None:
        """Return every context to one process (where they always are)."""


class XspecSettings:
    """PyXspec's ``Xset``.

    Attributes
    ----------
    abund, xsect : str
        Abundance table and photoelectric cross-sections, for models evaluated from now on.
    cosmo : tuple of str
        H0 (km/s/Mpc), q0, Lambda0, as PyXspec returns them; set with one string, e.g. ``"50 .5 0."`` or ``",,0.7"``.
    chatter, logChatter : int
        How much is shown on the terminal and in the log file.
    allowPrompting : bool
        Kept for scripts; the engine never asks.
    seed : int
        Set only: restarts the engine's generator.
    modelStrings : tuple of (str, str)
        Model string database; set with a dict or tuples.
    """

    def __init__(self) -> None:
        object.__setattr__(self, "_log", None)
        object.__setattr__(self, "_parallel", _Parallel())
        object.__setattr__(self, "_generator", np.random.default_rng())

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), property) and not self.allowNewAttributes:
            raise XspecError(
                f"Xset has no attribute {name!r}. Did you misspell it? "
                "To add attributes of your own set Xset.allowNewAttributes = True."
            )
        object.__setattr__(self, name, value)

    @property
    def abund(self) -> str:
        return session.abund

    @abund.setter
    def abund(self, table: str) -> None:
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

    @property
    def xsect(self) -> str:
        return session.xsect

    @xsect.setter
    def xsect(self, value: str) -> None:
        name = _words(value, "xsect")[0].lower()
        if name not in available_cross_sections():
            raise XspecError(f"xsect {value!r} is unknown: the engine has {', '.join(available_cross_sections())}.")
        if session.xsect != name:
            session.xsect = name
            session.touch()

    @property
    def cosmo(self) -> tuple[str, ...]:
        return tuple(f"{value:g}" for value in session.cosmo)

    @cosmo.setter
    def cosmo(self, values: str) -> None:
        if not isinstance(values, str):
            raise XspecError('Xset.cosmo takes one string, e.g. "70 0 .73" or ",,0.7".')
        new = list(session.cosmo)
        for i, word in enumerate(_fields(values)):
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

    @property
    def chatter(self) -> int:
        return session.chatter

    @chatter.setter
    def chatter(self, value: int) -> None:
        session.chatter = _integer(value, "Chatter")

    @property
    def logChatter(self) -> int:
        return session.log_chatter

    @logChatter.setter
    def logChatter(self, value: int) -> None:
        session.log_chatter = _integer(value, "Log chatter")

    @property
    def allowPrompting(self) -> bool:
        return session.allow_prompting

    @allowPrompting.setter
    def allowPrompting(self, value: bool) -> None:
        session.allow_prompting = _boolean(value, "allowPrompting")

    @property
    def allowNewAttributes(self) -> bool:
        return session.allow_new_attributes

    @allowNewAttributes.setter
    def allowNewAttributes(self, value: bool) -> None:
        session.allow_new_attributes = _boolean(value, "allowNewAttributes")

    @property
    def seed(self) -> None:
        """Nothing: PyXspec's seed can only be set."""
        return None

    @seed.setter
    def seed(self, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise XspecError("Error: Seed argument must be an integer")
        object.__setattr__(self, "_generator", np.random.default_rng(np.random.SeedSequence(abs(value))))

    @property
    def parallel(self) -> _Parallel:
        return self._parallel

    @property
    def version(self) -> tuple[str, str]:
        """(PyXspec version spoken, what really computes)."""
        from xspec_sixsa import __version__

        return ("2.0.0", f"xspec_sixsa.embedded {__version__} (speaks XSPEC 12.9.1)")

    @property
    def modelStrings(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(session.model_strings.items()))

    @modelStrings.setter
    def modelStrings(self, value: dict[str, str] | tuple[tuple[str, str], ...]) -> None:
        items = dict(value)
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in items.items()):
            raise XspecError("Error: All names and value entries must be strings.")
        for key in items:
            _check_model_string(key)
        session.model_strings = {key.upper(): text for key, text in items.items()}
        session.touch()

    def addModelString(self, key: str, value: str) -> None:
        """Add a key and its value to the model strings; a key that would change the engine's results is refused.

        Raises
        ------
        XspecError
            If XSPEC would compute one of the engine's own components differently under this key.
        """
        if not isinstance(key, str) or not isinstance(value, str):
            raise XspecError("Error: addModelString requires 2 string arguments.")
        _check_model_string(key)
        log.info("model string %s = %s is kept and saved; no component of the embedded engine reads it", key, value)
        session.model_strings[key.strip().upper()] = value.strip()
        session.touch()

    def delModelString(self, key: str) -> None:
        """Remove a model string; nothing happens where there is none."""
        session.model_strings.pop(key.strip().upper(), None)
        session.touch()

    @property
    def log(self) -> TextIO | None:
        """The open log file, or None."""
        return self._log

    def openLog(self, fileName: str) -> TextIO:
        """Open a log file (closing the one that is open) and return it."""
        if not isinstance(fileName, str):
            raise XspecError("Error: setLog argument must be a file name string.")
        self.closeLog()
        try:
            handle = open(fileName, "w", encoding="utf-8")
        except OSError as error:
            raise XspecError(f"The log file {fileName} cannot be opened ({error.strerror}).") from error
        object.__setattr__(self, "_log", handle)
        return handle

    def closeLog(self) -> None:
        """Close the log file, if one is open."""
        if self._log is not None:
            self._log.close()
            object.__setattr__(self, "_log", None)

    def show(self) -> None:
        """Print the settings."""
        h0, q0, lambda0 = self.cosmo
        lines = [
            f"Abundance table: {self.abund}",
            f"Photoelectric cross-sections: {self.xsect}",
            f"Cosmology: H0 = {h0} km/s/Mpc, q0 = {q0}, Lambda0 = {lambda0}",
            f"Chatter: {self.chatter}, log chatter: {self.logChatter}",
            *(f"{key}  {value}" for key, value in self.modelStrings),
        ]
        report("\n".join(lines))

    def save(self, fileName: str, info: str = "a") -> None:
        """Write the session as an .xcm file that real XSPEC restores, too.

        Parameters
        ----------
        fileName : str
            ``.xcm`` is appended where there is no extension. An existing file is never replaced.
        info : {"a", "f", "m"}
            Everything (default), the data only, or the model only; ``"all"``, ``"files"``, ``"model"`` work as well.
        """
        from xspec_sixsa.embedded import xcm

        if not isinstance(fileName, str) or not fileName.strip():
            raise XspecError("Error: Must provide a file name argument.")
        if not isinstance(info, str) or info[:1] not in ("a", "f", "m"):
            raise XspecError("Error: 2nd argument to 'save' should be 'a', 'f', or 'm'")
        path = fileName.strip()
        if not os.path.splitext(path)[1]:
            path += ".xcm"
        if os.path.exists(path):
            raise XspecError(
                f"{path} exists and is not replaced (XSPEC would ask, and fail without a terminal): "
                "remove it first, or save under another name."
            )
        xcm.save(path, data=info[0] in "af", model=info[0] in "am")

    def restore(self, fileName: str) -> None:
        """Restore data, models and settings from an .xcm file; on any error the session is as before.

        Raises
        ------
        XspecError
            With the command and the line that cannot be restored.
        """
        from xspec_sixsa.embedded import xcm

        if not isinstance(fileName, str):
            raise XspecError("Error: restore argument must be a file name string.")
        xcm.restore(fileName)


def _words(value: Any, name: str) -> list[str]:
    words = value.split() if isinstance(value, str) else []
    if not words:
        raise XspecError(f"Error: {name} argument must be a string")
    return words


def _fields(text: str) -> list[str]:
    """Split as XSPEC does: blanks separate, and so do commas, an empty place between two commas being skipped."""
    fields: list[str] = []
    for part in text.split(","):
        fields.extend(part.split() or [""])
    return fields


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise XspecError(f"Error: {name} argument must be an integer.")
    return int(value)


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise XspecError(f"Error: {name} argument must be a bool.")
    return value


def _check_model_string(key: str) -> None:
    reason = EFFECTIVE_MODEL_STRINGS.get(key.strip().upper())
    if reason:
        raise XspecError(
            f"Model string {key.strip().upper()} is refused: under it {reason}, which the embedded engine does not "
            "compute. With HEASoft installed use real XSPEC."
        )


Xset = XspecSettings()
"""The one settings object."""
