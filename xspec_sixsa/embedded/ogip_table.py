"""Finding and reading the tables of FITS files, with errors that name the file, the thing and the value."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xspec_sixsa.common import fitsfile
from xspec_sixsa.common.fitsfile import FitsFileError, check_table
from xspec_sixsa.embedded.state import XspecError

_ALIASES = {"EBOUNDS": ("PI_EBOUNDS",)}
"""Other words for a class, where the extension's name is right."""

__all__ = [
    "column_of", "extension_of", "extensions_of", "find_file", "needed_column", "number_of", "open_fits",
    "single_precision", "text_of", "tlmin_of",
]  # fmt: skip


def find_file(name: str, beside: str | Path | None = None, what: str = "file") -> Path:
    """Return the path of an existing file: from the current folder as XSPEC does, else beside another file.

    What `name` says of an extension or a row (``file.rmf[MATRIX]``, ``file.pha+1``, ``file.pha{3}``) is no part of the
    path. Where there is no such file but a gzipped one, that is taken, as CFITSIO does.

    Raises
    ------
    XspecError
        When it is in neither place.
    """
    path = Path(fitsfile.split_name(name)[0]).expanduser()
    tried = [path]
    if not path.is_absolute() and beside is not None:
        tried.append(Path(fitsfile.split_name(str(beside))[0]).parent / path)
    for candidate in tried:
        for file in (candidate, candidate.with_name(f"{candidate.name}.gz")):
            if file.is_file():
                return file
    raise XspecError(
        f"{what} {name} not found (looked for {', '.join(str(p.absolute()) for p in tried)}). "
        "Give its path, or work in the folder where it lies."
    )


@contextlib.contextmanager
def open_fits(path: Path) -> Iterator[Any]:
    """Open a FITS file; the error says which file is broken, and how (see `common.fitsfile`)."""
    try:
        with fitsfile.open_fits(path) as hdus:
            yield hdus
    except (FitsFileError, OSError) as error:
        raise XspecError(str(error)) from error


def text_of(header: Any, key: str, default: str = "") -> str:
    """Return a keyword as text without blanks around it, `default` where it is missing."""
    return str(header.get(key, default)).strip()


def extension_of(hdus: Any, path: Path, clas1: str, clas2: str | None, names: tuple[str, ...], chosen: str = "") -> Any:
    """Return the table extension of an OGIP class, else of one of the classical names, else the `chosen` one.

    The first, where there are several: `extensions_of` gives all.
    """
    return extensions_of(hdus, path, clas1, clas2, names, chosen)[0]


def extensions_of(
    hdus: Any, path: Path, clas1: str, clas2: str | None, names: tuple[str, ...], chosen: str = ""
) -> list[Any]:
    """As `extension_of`, all that there are; `chosen` is a name, or a number from 1, that the user gave."""
    tables = [hdu for hdu in hdus if str(hdu.header.get("XTENSION", "")).strip() == "BINTABLE"]
    if chosen:
        tables = [
            hdu
            for number, hdu in enumerate(hdus)
            if hdu in tables and chosen.upper() in (str(number), hdu.name.upper())
        ]
    wanted = {"HDUCLAS1": clas1, "HDUCLAS2": clas2}
    given = [{k: text_of(hdu.header, k).upper() for k, v in wanted.items() if v is not None} for hdu in tables]
    of_class = [hdu for hdu, words in zip(tables, given, strict=True) if all(words[k] == wanted[k] for k in words)]
    # a name is enough only where the file does not say what kind of table it is
    of_name = [
        hdu
        for hdu, words in zip(tables, given, strict=True)
        if hdu.name in names
        and all(word in ("", "UNKNOWN", wanted[k], *_ALIASES.get(str(wanted[k]), ())) for k, word in words.items())
    ]
    for hdu in of_class or of_name:
        check_table(hdu, path)
    if of_class or of_name:
        return of_class or of_name
    found = ", ".join(
        f"{hdu.name or '(no name)'} (HDUCLAS1={text_of(hdu.header, 'HDUCLAS1', '?')}, "
        f"HDUCLAS2={text_of(hdu.header, 'HDUCLAS2', '?')})" for hdu in tables
    )  # fmt: skip
    raise XspecError(
        f"{path}: no extension with HDUCLAS1={clas1}" + (f", HDUCLAS2={clas2}" if clas2 else "")
        + f" or named {' or '.join(names)}; it has {found or 'no table'}. "
        "Is this the right file? Otherwise correct the keywords (fthedit): "
        "read as it stands it would be skipped silently by XSPEC."
    )  # fmt: skip


def column_of(hdu: Any, path: Path, name: str) -> np.ndarray | None:
    """Return a column of numbers by its name in capitals, None where there is none."""
    names = {n.upper(): n for n in hdu.columns.names}
    if name not in names:
        return None
    try:
        values = np.asarray(hdu.data[names[name]])
    except Exception as error:  # astropy raises what its parsers raise
        raise XspecError(
            f"{path}: column {name} cannot be read ({error}); the file is truncated or corrupt."
        ) from error
    kinds = {np.asarray(value).dtype.kind for value in values} if values.dtype == object else {values.dtype.kind}
    if not kinds <= set("iuf"):
        raise XspecError(f"{path}: column {name} does not hold real numbers (TFORM {hdu.columns[names[name]].format}).")
    return values


def needed_column(hdu: Any, path: Path, name: str) -> np.ndarray:
    """Return a column that the extension must have."""
    values = column_of(hdu, path, name)
    if values is None:
        raise XspecError(f"{path}: extension {hdu.name} has no column {name}, which an OGIP file must have.")
    return values


def number_of(header: Any, path: Path, key: str, default: float | None = None) -> float:
    """Return a keyword as a finite number; without a `default` it must be there."""
    value = header.get(key, default)
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise XspecError(f"{path}: keyword {key} is {value!r}; a number is needed.")
    return number


def single_precision(value: float) -> float:
    """Round to float32: XSPEC reads EXPOSURE and the scale keywords in single precision, and so must we to agree."""
    return float(np.float32(value))


def tlmin_of(hdu: Any, path: Path, column: str) -> int | None:
    """Return the lowest legal value (TLMIN) of a column, None where the file does not say it."""
    names = [n.upper() for n in hdu.columns.names]
    if column not in names:
        return None
    key = f"TLMIN{names.index(column) + 1}"
    return int(number_of(hdu.header, path, key)) if key in hdu.header else None
