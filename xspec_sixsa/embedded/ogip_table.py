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

__all__ = [
    "column_of", "extension_of", "find_file", "needed_column", "number_of", "open_fits", "single_precision", "text_of",
    "tlmin_of",
]  # fmt: skip


def find_file(name: str, beside: str | Path | None = None, what: str = "file") -> Path:
    """Return the path of an existing file: from the current folder as XSPEC does, else beside another file.

    Raises
    ------
    XspecError
        When it is in neither place, or when the name asks for a row (``file{3}``).
    """
    if "{" in name:
        raise XspecError(
            f"{name}: row specifiers in braces select spectra of type II files, which the embedded engine does not "
            "read. Split the file into type I spectra (FTOOL cmppha/splitpha), or use XSPEC (HEASoft)."
        )
    path = Path(name).expanduser()
    tried = [path]
    if not path.is_absolute() and beside is not None:
        tried.append(Path(beside).parent / path)
    for candidate in tried:
        if candidate.is_file():
            return candidate
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


def extension_of(hdus: Any, path: Path, clas1: str, clas2: str | None, names: tuple[str, ...]) -> Any:
    """Return the table extension of an OGIP class, else of one of the classical names."""
    tables = [hdu for hdu in hdus if str(hdu.header.get("XTENSION", "")).strip() == "BINTABLE"]
    for hdu in tables:
        header = hdu.header
        if text_of(header, "HDUCLAS1").upper() == clas1 and (
            clas2 is None or text_of(header, "HDUCLAS2").upper() == clas2
        ):
            check_table(hdu, path)
            return hdu
    for hdu in tables:
        # a name is enough only where the file does not say what kind of table it is
        wanted = {"HDUCLAS1": clas1, "HDUCLAS2": clas2}
        given = {key: text_of(hdu.header, key).upper() for key, value in wanted.items() if value is not None}
        if hdu.name in names and all(value in ("", "UNKNOWN", wanted[key]) for key, value in given.items()):
            check_table(hdu, path)
            return hdu
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
