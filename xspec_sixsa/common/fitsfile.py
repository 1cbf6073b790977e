"""FITS files whose tables are whole: a header that promises more than the file holds is refused before it is believed.

Files come from users, archives and broken downloads. What is wrong with one ends in one sentence that names it; nothing
is allocated for a number of rows that only a header says.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["FitsFileError", "check_table", "open_fits", "split_name"]

log = logging.getLogger(__name__)

MOST_COLUMNS = 999  # FITS standard 4.0, section 7.3
LARGEST_RATIO = 300  # of a gzipped file to what it unpacks to: zeros reach a thousand, tables a tenth of that
SMALL = 64 << 20  # bytes that any gzipped file may unpack to
_DAMAGE = re.compile(r"truncated|validating header|missing END|corrupt|premature", re.IGNORECASE)


_NAME = re.compile(r"^(?P<file>.*?)(?:\[(?P<extension>[^\[\]]+)\]|\+(?P<number>\d+))?(?:\{(?P<row>\d+)\})?$", re.DOTALL)


def split_name(name: str) -> tuple[str, str, int | None]:
    """File, extension and row of a name as XSPEC takes it; the latter are empty and None where it has none.

    Examples
    --------
    >>> split_name("a.pha{3}"), split_name("a.rmf[MATRIX]"), split_name("a.pha+1")
    (('a.pha', '', 3), ('a.rmf', 'MATRIX', None), ('a.pha', '1', None))
    """
    found = _NAME.match(name)
    if found is None or os.path.exists(name):
        return name, "", None
    return found["file"], found["extension"] or found["number"] or "", int(found["row"]) if found["row"] else None


class FitsFileError(ValueError):
    """A file that cannot be read as FITS, or a table that is not what its header says."""


@contextlib.contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a FITS file, gzipped or not.

    Parameters
    ----------
    path : path

    Yields
    ------
    astropy.io.fits.HDUList
        Its data are read when they are asked for; `check_table` first.

    Raises
    ------
    FitsFileError
        Where the file is no FITS file, or whatever goes wrong with it inside the block.
    OSError
        Where it cannot be opened at all.
    """
    from astropy.io import fits

    path = Path(path)
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    again = "Make or download it again"
    with warnings.catch_warnings(record=True) as said, contextlib.ExitStack() as opened:
        warnings.simplefilter("always")
        try:
            source = io.BytesIO(_unpacked(path)) if packed else path
            hdus = opened.enter_context(fits.open(source, memmap=False, lazy_load_hdus=False))
        except FitsFileError:
            raise
        except Exception as error:  # astropy raises what its parsers raise
            raise FitsFileError(f"{path}: cannot be read as FITS ({error}). {again}.") from error
        try:
            yield hdus
        except Exception as error:
            if type(error).__module__.startswith("xspec_sixsa"):
                raise
            what = f"{type(error).__name__}: {error}"
            raise FitsFileError(f"{path}: cannot be read ({what}); the file is damaged. {again}.") from error
        # an error has said more
        for text in dict.fromkeys(str(warning.message) for warning in said):
            if _DAMAGE.search(text):
                log.warning("%s: the file seems damaged (%s). %s", path, text, again)


def check_table(hdu: Any, path: str | os.PathLike[str]) -> None:
    """Refuse a table whose header is no table's, or that is longer than its file; warn where its checksum is wrong.

    Raises
    ------
    FitsFileError
        With the keyword and its value.
    """
    header, what = hdu.header, f"{path}: extension {hdu.name}"
    found = {}
    for key in ("NAXIS1", "NAXIS2", "PCOUNT", "TFIELDS"):
        value = header.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise FitsFileError(f"{what}: {key} is {value!r}, and must be a whole number of at least 0.")
        found[key] = value
    columns = found["TFIELDS"]
    if not 0 < columns <= MOST_COLUMNS or f"TFORM{columns}" not in header:
        raise FitsFileError(f"{what}: TFIELDS is {columns}, but its columns are not as many: the header is damaged.")
    info = hdu.fileinfo()
    size = found["NAXIS1"] * found["NAXIS2"] + found["PCOUNT"]
    there = max(0, info["file"].size - info["datLoc"])
    if size > there:
        raise FitsFileError(
            f"{what} should have {size} bytes ({found['NAXIS2']} rows of {found['NAXIS1']}), and the file has {there}: "
            "it is cut off, or NAXIS2 is wrong. Make or download it again."
        )
    width = hdu.columns.dtype.itemsize
    if width != found["NAXIS1"]:
        raise FitsFileError(f"{what}: NAXIS1 is {found['NAXIS1']}, but its columns take {width} bytes: it is damaged.")
    with contextlib.suppress(ValueError, TypeError):  # a DATASUM that is no number
        if "DATASUM" in header and hdu.verify_datasum() == 0:
            log.warning(
                "%s was changed after its DATASUM was written: by a tool that left that as it was, or it is damaged",
                what,
            )


def _unpacked(path: Path) -> bytes:
    """What a gzipped file holds; refused where it is cut off, or unpacks to more than any table of its size would."""
    most = max(SMALL, LARGEST_RATIO * path.stat().st_size)
    try:
        with gzip.open(path) as stream:
            content = stream.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise FitsFileError(f"{path}: cannot be unpacked ({error}): cut off or damaged. Download it again.") from error
    if len(content) > most:
        raise FitsFileError(f"{path}: unpacks to more than {most >> 20} MB, {LARGEST_RATIO} times its size.")
    return content
