"""`Xset`: the session's settings, its log file, and sessions saved to and restored from .xcm files."""

from __future__ import annotations

import os
from typing import Any, TextIO

import numpy as np

from xspec_sixsa import __version__
from xspec_sixsa.embedded.abundances import name_of
from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.settings import (
    add_model_string,
    set_abundances,
    set_cosmology,
    set_cross_sections,
    set_model_strings,
    set_seed,
)
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["Xset", "XspecSettings"]


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

    _parallel: _Parallel

    def __init__(self) -> None:
        object.__setattr__(self, "_parallel", _Parallel())

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), property) and not self.allowNewAttributes:
            raise XspecError(
                f"Xset has no attribute {name!r}. Did you misspell it? "
                "To add attributes of your own set Xset.allowNewAttributes = True."
            )
        object.__setattr__(self, name, value)

    @property
    def abund(self) -> str:
        """Abundance table: angr (default), aneb, aspl, feld, grsa, lodd or wilm, also abbreviated; or ``"file NAME"``.

        A file holds 30 numbers, atoms of hydrogen to zinc relative to hydrogen; what is given back then is ``"file"``.
        """
        return name_of(session.abund)

    @abund.setter
    def abund(self, table: str) -> None:
        set_abundances(table)

    @property
    def xsect(self) -> str:
        """Photoelectric cross-sections: vern (default), bcmc or obcm."""
        return session.xsect

    @xsect.setter
    def xsect(self, value: str) -> None:
        set_cross_sections(value)

    @property
    def cosmo(self) -> tuple[str, ...]:
        """H0 (km/s/Mpc), q0 and Lambda0 as strings; set with one string, empty places (``",,0.7"``) staying."""
        return tuple(f"{value:g}" for value in session.cosmo)

    @cosmo.setter
    def cosmo(self, values: str) -> None:
        set_cosmology(values)

    @property
    def chatter(self) -> int:
        """How much is shown on the terminal, 0 to 25 (default 10)."""
        return session.chatter

    @chatter.setter
    def chatter(self, value: int) -> None:
        session.chatter = _integer(value, "Chatter")

    @property
    def logChatter(self) -> int:
        """How much goes to the log file, 0 to 25 (default 10)."""
        return session.log_chatter

    @logChatter.setter
    def logChatter(self, value: int) -> None:
        session.log_chatter = _integer(value, "Log chatter")

    @property
    def allowPrompting(self) -> bool:
        """Kept for scripts (default True): the engine never asks."""
        return session.allow_prompting

    @allowPrompting.setter
    def allowPrompting(self, value: bool) -> None:
        session.allow_prompting = _boolean(value, "allowPrompting")

    @property
    def allowNewAttributes(self) -> bool:
        """Whether `Xset` takes attributes it does not have (default False); the engine's other objects never do."""
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
        set_seed(value)

    @property
    def parallel(self) -> _Parallel:
        """Number of processes by context (``leven``, ``error``, ...): always 1."""
        return self._parallel

    @property
    def version(self) -> tuple[str, str]:
        """(PyXspec version spoken, what really computes)."""
        return ("2.0.0", f"xspec_sixsa.embedded {__version__} (speaks XSPEC 12.9.1)")

    @property
    def modelStrings(self) -> tuple[tuple[str, str], ...]:
        """Keys and values of the model strings, in the order of the keys; set with a dict or such a tuple."""
        return tuple(sorted(session.model_strings.items()))

    @modelStrings.setter
    def modelStrings(self, value: dict[str, str] | tuple[tuple[str, str], ...]) -> None:
        set_model_strings(value)

    def addModelString(self, key: str, value: str) -> None:
        """Add a key and its value to the model strings; ``"mdatadir"`` and ``"abund"`` do what XSPEC's `xset` does.

        Raises
        ------
        XspecError
            For a key under which XSPEC computes a component of ours differently, where its own is not installed.
        """
        add_model_string(key, value)

    def delModelString(self, key: str) -> None:
        """Remove a model string; nothing happens where there is none."""
        session.model_strings.pop(key.strip().upper(), None)
        session.touch()

    @property
    def log(self) -> TextIO | None:
        """The open log file, or None."""
        return session.log_file

    def openLog(self, fileName: str) -> TextIO:
        """Open a log file (closing the one that is open) and return it."""
        if not isinstance(fileName, str):
            raise XspecError("Error: setLog argument must be a file name string.")
        self.closeLog()
        try:
            session.log_file = open(fileName, "w", encoding="utf-8")
        except OSError as error:
            raise XspecError(f"The log file {fileName} cannot be opened ({error.strerror}).") from error
        return session.log_file

    def closeLog(self) -> None:
        """Close the log file, if one is open."""
        if session.log_file is not None:
            session.log_file.close()
            session.log_file = None

    def show(self) -> None:
        """Print the settings."""
        h0, q0, lambda0 = self.cosmo
        lines = [
            f"Abundance table: {self.abund} {session.abund_file}".rstrip(),
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
        from xspec_sixsa.embedded.xcm_save import save

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
        save(path, data=info[0] in "af", model=info[0] in "am")

    def restore(self, fileName: str) -> None:
        """Restore data, models and settings from an .xcm file; on any error the session is as before.

        Raises
        ------
        XspecError
            With the command and the line that cannot be restored.
        """
        from xspec_sixsa.embedded.xcm import restore

        if not isinstance(fileName, str):
            raise XspecError("Error: restore argument must be a file name string.")
        restore(fileName)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise XspecError(f"Error: {name} argument must be an integer.")
    return int(value)


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise XspecError(f"Error: {name} argument must be a bool.")
    return value


Xset = XspecSettings()
"""The one settings object."""
