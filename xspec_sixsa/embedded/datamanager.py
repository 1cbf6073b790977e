"""The container of all spectra: PyXspec's `AllData`, with the syntax of XSPEC's data command."""

from __future__ import annotations

import logging
import re
from typing import Any

from xspec_sixsa.embedded.channels import ignore_memory, notice_memory
from xspec_sixsa.embedded.fakeit import FakeitSettings, fakeit
from xspec_sixsa.embedded.ranges import parse_ranges
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["AllData", "DataManager"]

log = logging.getLogger(__name__)


class DataManager:
    """Spectral data container (PyXspec's ``AllData``; the one object is `AllData`).

    Attributes
    ----------
    nSpectra, nGroups : int
        Get only.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("nSpectra", "nGroups"):
            raise XspecError(f"Error: Cannot rebind AllData's {name} attribute")
        raise XspecError(f"***Error: Attribute {name} does not exist in class DataManager. Did you misspell?")

    @property
    def nSpectra(self) -> int:
        """Number of loaded spectra (get only)."""
        return len(session.spectra)

    @property
    def nGroups(self) -> int:
        """Number of data groups (get only)."""
        return len({s.dataGroup for s in session.spectra})

    def __call__(self, expr: int | str | None = None) -> Spectrum | None:
        """Return a spectrum by number, or load spectra: ``AllData("1:1 a.pha 2:2 b.pha")``.

        A string is XSPEC's data command: ``group:spectrum file ...``.  Spectra above the last one named are removed.
        If any file fails nothing changes.
        """
        if isinstance(expr, int) and not isinstance(expr, bool):
            if not 1 <= expr <= len(session.spectra):
                raise XspecError(f"Error: Spectrum index number is out of range: {expr}")
            return session.spectra[expr - 1]
        if expr is None or (isinstance(expr, str) and expr.strip().lower() == "none"):
            self.clear()
            return None
        if not isinstance(expr, str):
            raise XspecError(f"Error: AllData takes a spectrum number or a data string, not {expr!r}.")
        _replace_spectra(_parse_data(expr))
        return None

    def __iadd__(self, spectra: str) -> DataManager:
        """Append one spectrum (data group 1)."""
        Spectrum(spectra)
        return self

    def __isub__(self, spectra: int | str | Spectrum) -> DataManager:
        """Remove a spectrum by number or object, or all with ``"*"``; the others move up."""
        if isinstance(spectra, Spectrum):
            spectra = spectra.index
        if isinstance(spectra, int):
            kept = [s for s in session.spectra if s is not self(spectra)]
            _list_spectra(kept)
        elif spectra == "*":
            self.clear()
        else:
            raise XspecError("Error: Invalid type for -= operator")
        return self

    def clear(self) -> None:
        """Remove all spectra."""
        session.spectra.clear()
        session.touch()

    def ignore(self, ignoreRange: str) -> None:
        """Ignore ranges in all spectra, or in those named (``"1-2:**-0.5"``); ``"bad"`` drops QUALITY 2-5."""
        _check_text(ignoreRange, "ignore")
        if ignoreRange.strip() == "bad":
            for spectrum in session.spectra:
                spectrum._ignore_bad()
        else:
            _apply_ranges(ignoreRange, False)

    def notice(self, noticeRange: str) -> None:
        """Notice ranges; ``"all"`` for every channel of every spectrum."""
        _check_text(noticeRange, "notice")
        _apply_ranges("**:**" if noticeRange.strip() == "all" else noticeRange, True)

    def fakeit(
        self,
        nSpectra: int = 1,
        settings: FakeitSettings | list[FakeitSettings] | dict[int, FakeitSettings] | None = None,
        applyStats: bool = True,
        filePrefix: str = "",
        noWrite: bool = False,
    ) -> None:
        """Replace the spectra by simulated ones; see `fakeit`."""
        fakeit(nSpectra, settings, applyStats, filePrefix, noWrite)

    def show(self) -> None:
        """Print every spectrum."""
        for spectrum in session.spectra:
            spectrum.show()

    def dummyrsp(self, *args: Any, **kwargs: Any) -> None:
        """Raise: dummy responses exist only in XSPEC."""
        del args, kwargs
        raise XspecError(
            "dummyrsp is not available in the embedded engine. Give response files, or use XSPEC (HEASoft)."
        )

    def diagrsp(self) -> None:
        """Raise: diagonal responses exist only in XSPEC."""
        raise XspecError("diagrsp is not available in the embedded engine. Use XSPEC (HEASoft).")

    def removeDummyrsp(self) -> None:
        """Do nothing: the engine has no dummy responses to remove."""


def _check_text(text: Any, command: str) -> None:
    if not isinstance(text, str):
        raise XspecError(f"Error: Argument to {command} function must be a string.")
    if not session.spectra:
        raise XspecError(f" no data loaded: load a spectrum before {command}({text!r}).")


def _apply_ranges(text: str, notice: bool) -> None:
    text = text if ":" in text else f"**: {text}"
    count = len(session.spectra)
    for part in parse_ranges(text, notice_memory if notice else ignore_memory, "notice" if notice else "ignore"):
        low = 1 if part.spectra[0] is None else part.spectra[0]
        high = count if part.spectra[1] is None else part.spectra[1]
        if not 1 <= min(low, high) <= count:
            raise XspecError(f"Spectrum {min(low, high)} in {text!r} is not loaded: there are {count}.")
        for number in range(min(low, high), min(max(low, high), count) + 1):
            session.spectra[number - 1]._apply(part, notice)


_PAIR = re.compile(r"^(\d+)(?::(\d+))?$")


def _parse_data(text: str) -> list[tuple[int, int, str]]:
    """Turn a data command into (group, spectrum number, file) in order of spectrum number."""
    if text.rstrip().endswith(","):
        raise XspecError(f"data {text!r}: trailing commas are not supported here; name every spectrum that is to stay.")
    records: list[tuple[int, int, str]] = []
    number, group, pending = 1, 1, False
    for word in text.split():
        for item in word.split(","):
            if not item:
                # An empty item between commas leaves that spectrum as it is.
                number += 1
                continue
            match = _PAIR.match(item)
            if match:
                first, second = int(match[1]), match[2]
                group, number = (first, int(second)) if second else (group, first)
                if number < 1 or group < 1:
                    raise XspecError(f"data {text!r}: 0 is not a valid spectrum or data group number.")
                pending = True
            else:
                records.append((group, number, item))
                number += 1
                pending = False
    if pending or not records:
        raise XspecError(
            f'data {text!r}: a file name is missing. Write "group:spectrum file", e.g. "1:1 a.pha 2:2 b.pha".'
        )
    records.sort(key=lambda r: r[1])
    previous, fixed = 0, []
    for group, number, name in records:
        if number <= previous:
            log.warning(
                "coincident spectrum numbers requested: file %s gets number %d, not %d", name, previous + 1, number
            )
            number = previous + 1
        previous = number
        fixed.append((group, number, name))
    return fixed


def _replace_spectra(records: list[tuple[int, int, str]]) -> None:
    spectra: list[Spectrum | None] = list(session.spectra)
    keep_rest = False
    for group, number, name in records:
        if number > len(spectra) + 1:
            log.warning("there is no spectrum %d: file %s gets number %d", number - 1, name, len(spectra) + 1)
            number = len(spectra) + 1
        if group > number:
            raise XspecError(
                f"Data group {group} of spectrum {number} ({name}) may not exceed the spectrum number. "
                f"Write {number}:{number}."
            )
        if name.lower() in ("none", "none/"):
            new, keep_rest = None, name.endswith("/")
        else:
            new, keep_rest = Spectrum._unlisted(name, group), False
        if number == len(spectra) + 1:
            spectra.append(new)
        else:
            spectra[number - 1] = new
        last = number
    if not keep_rest:
        del spectra[last:]
    _list_spectra([s for s in spectra if s is not None])


def _list_spectra(spectra: list[Spectrum]) -> None:
    """Make these the session's spectra, with data groups numbered without gaps."""
    order = {group: i for i, group in enumerate(sorted({s.dataGroup for s in spectra}), start=1)}
    for spectrum in spectra:
        spectrum._data_group = order[spectrum.dataGroup]
    session.spectra[:] = spectra
    session.touch()


AllData = DataManager()
"""The one container of spectra."""
