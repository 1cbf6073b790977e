"""What files and session asked for, beside what is attached: XSPEC prints an error, and goes on without.

A header's RESPFILE, ANCRFILE or BACKFILE that is missing on disk, or an ARF of other energies, leaves a spectrum
without response, effective area or background; the posterior would then be that of another problem.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.embedded.ogip import read_arf, read_pha, read_rmf
from xspec_sixsa.embedded.ogip_table import extension_of, extensions_of, open_fits, text_of

__all__ = ["check_attached"]

log = logging.getLogger(__name__)

_COMMAND = re.compile(r"^\s*(da(?:ta?)?|resp(?:o(?:n(?:se?)?)?)?|arf?|ba(?:c(?:k(?:g(?:r(?:nd?)?)?)?)?)?)\s+(\S.*)$")
_FULL_NAMES = {"d": "data", "r": "response", "a": "arf", "b": "backgrnd"}
_KEYWORDS = {"response": "RESPFILE", "arf": "ANCRFILE", "backgrnd": "BACKFILE"}
_MEANINGS = {"response": "response", "arf": "effective area (ARF)", "backgrnd": "background"}
_WITHOUT = {
    "response": "no model can be folded through it",
    "arf": "it would be folded with another effective area, or none, and norms would be wrong by that factor",
    "backgrnd": "it would be fitted with another background, or none",
}

REDISTRIBUTION = {"REDIST", "DETECTOR"}  # the older word is ASCA's

Place = tuple[str, int, int]  # command, source, spectrum


def check_attached(module: ModuleType, lines: Iterable[str]) -> None:
    """Refuse spectra that lack what their headers or the session named; warn of a pure redistribution matrix.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine, in the folder that relative names are read from.
    lines : iterable of str
        The session's commands: a file that was restored, or `observe.saved_lines`.

    Raises
    ------
    ValueError
        Naming the file, who asked for it, and why XSPEC could not use it.
    """
    asked = _asked(lines)
    for number in range(1, module.AllData.nSpectra + 1):
        spectrum = module.AllData(number)
        header = _header(spectrum.fileName)
        attached = _attached(spectrum)
        who = f"Spectrum {number} ({spectrum.fileName})"
        if not any(command == "response" for command, _ in attached):
            named = asked.get(("response", 1, number), header.get("RESPFILE", ""))
            why = f": {named}: {_cause('response', named, spectrum)}" if named else " and its header names none"
            raise ValueError(
                f"{who} has no response{why}. Without one {_WITHOUT['response']}: give it one (XSPEC: `response "
                f"{number} file`; Python: AllData({number}).response = file), or leave the spectrum out."
            )
        for command, keyword in _KEYWORDS.items():
            sources = {1} | {source for c, source, n in asked if (c, n) == (command, number)}
            for source in sorted(sources):
                wanted, by = asked.get((command, source, number)), f"the session's `{command} {source}:{number}`"
                if wanted is None and source == 1 and not (command == "arf" and ("response", 1, number) in asked):
                    wanted, by = header.get(keyword, ""), f"its header's {keyword}"
                have = attached.get((command, source), "")
                if not wanted or (have and (by.startswith("its header") or _same(have, wanted))):
                    continue
                cause = _cause(command, wanted, spectrum)
                raise ValueError(
                    f"{who} lacks its {_MEANINGS[command]} {wanted}, named by {by}: {cause}. XSPEC went on with "
                    f"{have or 'none'}; {_WITHOUT[command]}. Put the file right, attach another one, or, where none "
                    f"is wanted, write NONE into the header (fthedit {_base(spectrum.fileName)} {keyword} add NONE)."
                )
        kinds = _matrices(attached.get(("response", 1), ""))
        if len(kinds) > 1 and not _sums_matrices(module):
            log.warning(
                "%s: its response %s has %d MATRIX extensions, which XSPEC 12.11 and newer sum. This one folds with "
                "the first alone: photons are missing. Use a newer XSPEC or the embedded engine, or a response made in "
                "one piece (rslmkrmf splitrmf=no).", who, attached["response", 1], len(kinds),
            )  # fmt: skip
        if ("arf", 1) not in attached and kinds and set(kinds) <= REDISTRIBUTION:
            log.warning(
                "%s has no ARF, and its response %s is a redistribution matrix only: norms are per cm2 of effective "
                "area, not the source's. Attach the ARF (XSPEC: `arf %d file`).", who, attached["response", 1], number,
            )  # fmt: skip


def _asked(lines: Iterable[str]) -> dict[Place, str]:
    """The last file asked for by command, source and spectrum; empty where "none" was."""
    asked: dict[Place, str] = {}
    for line in lines:
        match = _COMMAND.match(line)
        if match is None or "$" in line:
            continue
        command = _FULL_NAMES[match[1][0]]
        try:
            words = shlex.split(match[2])
        except ValueError:
            continue
        source, number = 1, 1
        for word in words:
            place = re.fullmatch(r"(?:(\d+):)?(\d+)", word)
            if place:
                source, number = int(place[1] or 1), int(place[2])
                continue
            if command == "data":
                # loading a spectrum forgets what was attached to the one before it
                asked = {key: name for key, name in asked.items() if key[2] != number}
            elif word not in ("/", ",", "-"):
                if command == "response":
                    asked.pop(("arf", source, number), None)
                asked[command, 1 if command == "backgrnd" else source, number] = (
                    "" if word.lower().startswith("none") else word
                )
            number += 1
    return asked


def _attached(spectrum: Any) -> dict[tuple[str, int], str]:
    """Names of the attached files by command and source."""
    found: dict[tuple[str, int], str] = {}
    for source in range(1, 11):
        try:
            response = spectrum.multiresponse[source - 1]
            found["response", source] = response.rmf
            found["arf", source] = response.arf
        except Exception:  # PyXspec raises plain Exception where there is none
            continue
    try:
        found["backgrnd", 1] = spectrum.background.fileName
    except Exception:  # none attached
        pass
    return found


def _header(name: str) -> dict[str, str]:
    """RESPFILE, ANCRFILE and BACKFILE of a spectrum's header; nothing where it cannot be read from here."""
    path = Path(_base(name))
    try:
        with open_fits(path) as hdus:
            header = extension_of(hdus, path, "SPECTRUM", None, ("SPECTRUM",)).header
            named = {keyword: text_of(header, keyword) for keyword in _KEYWORDS.values()}
    except Exception as error:  # a missing file, or one that XSPEC reads and we do not: then nothing can be compared
        log.debug("%s: its header is not read: %s", name, error)
        return {}
    return {keyword: file for keyword, file in named.items() if file and not re.match(r"(?i)none|%match%", file)}


def _matrices(name: str) -> list[str]:
    """HDUCLAS3 of every matrix that a response's name asks for; nothing where it cannot be read from here."""
    file, chosen, *_ = split_name(name)
    path = Path(file)
    try:
        with open_fits(path) as hdus:
            found = extensions_of(hdus, path, "RESPONSE", "RSP_MATRIX", ("MATRIX", "SPECRESP MATRIX"), chosen)
            return [text_of(hdu.header, "HDUCLAS3").upper() for hdu in found]
    except Exception:  # as above
        return []


def _sums_matrices(module: ModuleType) -> bool:
    if hasattr(module, "evaluate_batch"):
        return True
    try:
        return tuple(int(part) for part in module.Xset.version[1].split(".")[:2]) >= (12, 11)
    except (AttributeError, IndexError, TypeError, ValueError):  # nothing says so
        return False


def _cause(command: str, name: str, spectrum: Any) -> str:
    """Why XSPEC could not use a file, as far as can be found out."""
    path = Path(_base(name)).expanduser()
    if not path.is_file():
        beside = Path(_base(spectrum.fileName)).parent / path
        hint = f" (it lies beside the spectrum, in {beside.parent.absolute()}: work there)" if beside.is_file() else ""
        return f"there is no such file in {path.absolute().parent}{hint}"
    try:
        if command == "backgrnd":
            bins, what = len(read_pha(str(path)).values), "channels"
            other, of = len(read_pha(_base(spectrum.fileName)).values), "the spectrum"
        elif command == "arf":
            bins, what = len(read_arf(str(path)).area), "energy bins"
            other, of = len(read_rmf(_base(spectrum.response.rmf)).energy_lo), "the response"
        else:
            bins, what = read_rmf(str(path)).detchans, "channels"
            other, of = read_pha(_base(spectrum.fileName)).detchans, "the spectrum"
    except Exception as error:  # what our reader says of the file
        return str(error).rstrip(".")
    return f"it has {bins} {what}, and {of} {other}" if bins != other else "XSPEC printed why"


def _base(name: str) -> str:
    return split_name(name)[0]


def _same(one: str, other: str) -> bool:
    return Path(_base(one)).name == Path(_base(other)).name
