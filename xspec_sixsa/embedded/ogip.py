"""OGIP files: PHA spectra, redistribution matrices and effective areas, read (`ogip_write` writes them).

The formats are OGIP memos OGIP-92-007 and 007a (PHA) and CAL/GEN/92-002 and 92-002a (RMF, ARF).  Where files in
the wild differ from the memos this module follows what XSPEC 12.9.1 accepts, and refuses, with the file named,
what XSPEC would load as something else than what the file says.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.embedded.ogip_matrix import on_finer_energies, unpacked_matrix
from xspec_sixsa.embedded.ogip_table import (
    column_of,
    extension_of,
    extensions_of,
    find_file,
    needed_column,
    number_of,
    open_fits,
    single_precision,
    text_of,
    tlmin_of,
)
from xspec_sixsa.embedded.ogip_types import ARF, PHA, RMF
from xspec_sixsa.embedded.ogip_typetwo import type_one
from xspec_sixsa.embedded.ogip_write import write_arf, write_pha, write_rmf
from xspec_sixsa.embedded.state import XspecError

if TYPE_CHECKING:
    pass

__all__ = ["ARF", "PHA", "RMF", "find_file", "read_arf", "read_pha", "read_rmf", "write_arf", "write_pha", "write_rmf"]

log = logging.getLogger(__name__)

# XSPEC replaces energies that are zero or negative by the smallest normal float32.
SMALLEST_ENERGY = float(np.finfo(np.float32).tiny)


_SCALES = {"BACKSCAL": "area that the spectrum was extracted from", "AREASCAL": "share of the area that was used"}


def _scale(hdu: Any, path: Path, key: str, quality: np.ndarray | None, n: int) -> tuple[np.ndarray, bool]:
    column = column_of(hdu, path, key)
    if column is None:
        # BACKSCAL and AREASCAL are mandatory for XSPEC: it refuses the file too.
        value = single_precision(number_of(hdu.header, path, key))
        if value < 0.0:
            raise XspecError(f"{path}: {key} is {value:g}; the {_SCALES[key]} cannot be negative. Correct the keyword.")
        if value == 0.0:
            log.warning("%s: %s is 0; 1.0 is used, as XSPEC does", path, key)
        return np.full(n, value or 1.0), True
    scale = column.astype(float)
    good = quality != 1 if quality is not None else np.ones(n, bool)
    wrong = ~(scale >= 0) & good
    if scale.shape != (n,) or wrong.any() or not np.isfinite(scale[good]).all():
        raise XspecError(
            f"{path}: {key} is negative or no number in {int(wrong.sum())} channels, or has not one value for each; "
            f"the {_SCALES[key]} must be positive."
        )
    bad = (scale == 0) & good
    if bad.any():
        log.warning("%s: %s is 0 in %d good channels; 1.0 is used there, as XSPEC does", path, key, bad.sum())
        scale[bad] = 1.0
    return scale, False


def _ancillary(header: Any, path: Path, key: str, suffix: str) -> str:
    name = text_of(header, key)
    if name.lower() == "%match%":
        return str(path.with_suffix(suffix))
    return "" if name.lower()[:4] == "none" else name


def _of_channels(hdu: Any, path: Path, key: str, n: int) -> np.ndarray | None:
    """A column with one number for each channel, or None."""
    column = column_of(hdu, path, key)
    if column is not None and column.shape != (n,):
        raise XspecError(f"{path}: column {key} has the shape {column.shape}, not one number for each of {n} channels.")
    return column


def _errors(hdu: Any, path: Path, key: str, quality: np.ndarray | None, n: int) -> np.ndarray | None:
    """STAT_ERR or SYS_ERR: none negative or NaN in a channel that can be used."""
    column = _of_channels(hdu, path, key, n)
    if column is None:
        return None
    good = quality != 1 if quality is not None else np.ones(n, bool)
    wrong = good & ~((column >= 0) & np.isfinite(column))
    if wrong.any():
        raise XspecError(
            f"{path}: {key} is {column[wrong][0]:g} in channel row {int(np.flatnonzero(wrong)[0]) + 1} (and in "
            f"{int(wrong.sum()) - 1} more); an error is a number of at least 0. Extract the spectrum again."
        )
    return column.astype(float)


def _flags(hdu: Any, path: Path, key: str, n: int) -> np.ndarray | None:
    """QUALITY or GROUPING: a column, or a keyword that holds for all channels."""
    column = _of_channels(hdu, path, key, n)
    if column is not None:
        flags = column.astype(int)
        allowed = (flags >= 0) & (flags <= 5) if key == "QUALITY" else np.abs(flags) == 1
        if not allowed.all():
            reset = 0 if key == "QUALITY" else 1
            if key == "QUALITY" or (flags[~allowed] != 0).any():
                log.warning(
                    "%s: %d values of %s are not allowed; reset to %d, as XSPEC does",
                    path,
                    (~allowed).sum(),
                    key,
                    reset,
                )
            flags = np.where(allowed, flags, reset)
        return flags
    value = hdu.header.get(key)
    if key == "QUALITY" and isinstance(value, (int, float)) and 0 < int(value) <= 5:
        return np.full(n, int(value))
    return None


def read_pha(name: str, beside: str | Path | None = None, what: str = "spectrum") -> PHA:
    """Read one spectrum of a PHA file.

    Parameters
    ----------
    name : str
        Path, and perhaps an extension (``[1]``, ``[SPECTRUM]``, ``+1``) or, of a type II file, a row (``{3}``).
        Relative ones are looked for in the current folder, then in that of `beside`.
    what : str
        What the file is called in messages (``spectrum``, ``background``).

    Raises
    ------
    XspecError
        File missing, no spectrum, type II without a row, no channels, channels with gaps, exposure not positive.
    """
    path = find_file(name, beside, what)
    with open_fits(path) as hdus:
        _, chosen, row = split_name(name)
        hdu = extension_of(hdus, path, "SPECTRUM", None, ("SPECTRUM",), chosen)
        if row is not None or text_of(hdu.header, "HDUCLAS4").upper() == "TYPE:II":
            hdu = type_one(hdu, path, row)
        header, columns = hdu.header, {n.upper() for n in hdu.columns.names}
        is_counts = "COUNTS" in columns and "RATE" not in columns
        values = needed_column(hdu, path, "COUNTS" if is_counts else "RATE")
        detchans = int(number_of(header, path, "DETCHANS"))
        if detchans < 1:
            raise XspecError(f"{path}: DETCHANS is {detchans}; a detector has at least one channel.")
        if values.ndim > 1 or values.dtype == object or values.size > detchans:
            raise XspecError(
                f"{path}: a type II file ({len(values)} spectra in rows): say which one, {path.name}{{1}} to "
                f"{path.name}{{{len(values)}}}."
            )
        n = values.size
        if n == 0:
            raise XspecError(f"{path}: the {what} is empty (no channels). Check how the file was extracted.")
        channel = _of_channels(hdu, path, "CHANNEL", n)
        if channel is not None and not np.isfinite(channel).all():
            raise XspecError(f"{path}: channel numbers are NaN or infinite; the file is corrupt.")
        channels = np.arange(1, n + 1) if channel is None else channel.astype(int)
        if (np.diff(channels) != 1).any():
            where = int(np.flatnonzero(np.diff(channels) != 1)[0])
            raise XspecError(
                f"{path}: channel numbers have a gap after {channels[where]} (next is {channels[where + 1]}); "
                "every detector channel must have its row."
            )
        first = tlmin_of(hdu, path, "CHANNEL")
        first = (1 if channels[0] > 0 else 0) if first is None else first
        if channels[0] < first or channels[-1] > first + detchans - 1:
            raise XspecError(
                f"{path}: channels {channels[0]}-{channels[-1]} are outside the legal {first}-{first + detchans - 1} "
                "(TLMIN, DETCHANS). Correct these keywords."
            )
        exposure_column = column_of(hdu, path, "EXPOSURE")
        exposure = (
            float(exposure_column[0])
            if exposure_column is not None
            else single_precision(number_of(header, path, "EXPOSURE"))
        )
        if not exposure > 0:
            raise XspecError(
                f"{path}: exposure is {exposure} s; a positive EXPOSURE is needed to turn rates into counts."
            )
        quality = _flags(hdu, path, "QUALITY", n)
        poisson = _truth(header, path, "POISSERR")
        stat = None if poisson else _errors(hdu, path, "STAT_ERR", quality, n)
        if stat is None and not poisson:
            log.warning("%s: neither STAT_ERR nor POISSERR = T: errors are zero, as XSPEC takes them", path)
        systematic = _errors(hdu, path, "SYS_ERR", quality, n)
        everywhere = number_of(header, path, "SYS_ERR", 0.0)
        if everywhere < 0.0:
            raise XspecError(f"{path}: SYS_ERR is {everywhere:g}; an error is a number of at least 0.")
        if systematic is None and what == "spectrum" and everywhere > SMALLEST_ENERGY:
            systematic = np.full(n, everywhere)
        area, area_is_key = _scale(hdu, path, "AREASCAL", quality, n)
        back, back_is_key = _scale(hdu, path, "BACKSCAL", quality, n)
        values = values.astype(float)
        if not np.isfinite(values).all():
            raise XspecError(
                f"{path}: {(~np.isfinite(values)).sum()} channels are NaN or infinite; the file is corrupt."
            )
        clas2 = text_of(header, "HDUCLAS2").upper()
        if poisson and is_counts and clas2 != "NET" and (values < 0).any():
            row = int(np.flatnonzero(values < 0)[0])
            raise XspecError(
                f"{path}: {int((values < 0).sum())} channels have negative COUNTS (channel {channels[row]}: "
                f"{values[row]:g}), and POISSERR = T: no counts are negative. A background-subtracted spectrum says "
                "HDUCLAS2 = NET, POISSERR = F and has STAT_ERR; otherwise extract it again."
            )
        return PHA(
            path=name, values=values, channels=channels, exposure=exposure, is_counts=is_counts, first_channel=first,
            detchans=detchans, poisson=poisson, stat_err=stat, sys_err=systematic,
            quality=quality, grouping=_flags(hdu, path, "GROUPING", n), area_scale=area, back_scale=back,
            area_is_key=area_is_key, back_is_key=back_is_key,
            corr_scale=single_precision(number_of(header, path, "CORRSCAL", 1.0)),
            net=clas2 == "NET" or (clas2 in ("", "UNKNOWN") and bool((values < 0).any())),
            backfile=_ancillary(header, path, "BACKFILE", ".bck"),
            corrfile=_ancillary(header, path, "CORRFILE", ".cor"),
            respfile=_ancillary(header, path, "RESPFILE", ".rsp"),
            ancrfile=_ancillary(header, path, "ANCRFILE", ".arf"),
            telescope=text_of(header, "TELESCOP", "UNKNOWN"), instrument=text_of(header, "INSTRUME", "UNKNOWN"),
            channel_type=text_of(header, "CHANTYPE", "PHA"),
        )  # fmt: skip


def _truth(header: Any, path: Path, key: str) -> bool:
    """A logical keyword, False where it is missing; some tools write T and F as text."""
    value = header.get(key, False)
    if isinstance(value, str) and value.strip().upper() in ("T", "TRUE", "F", "FALSE"):
        return value.strip().upper()[0] == "T"
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise XspecError(f"{path}: keyword {key} is {value!r}; T or F is needed.")
    return bool(value)


def _check_energies(path: Path, low: np.ndarray, high: np.ndarray) -> None:
    if low.shape != high.shape or low.ndim != 1 or not (np.isfinite(low) & np.isfinite(high) & (high >= low)).all():
        raise XspecError(f"{path}: energy bins are not increasing finite numbers; the file is corrupt.")


def read_rmf(name: str, beside: str | Path | None = None) -> RMF:
    """Read a response matrix (extension MATRIX or SPECRESP MATRIX) with its EBOUNDS.

    Raises
    ------
    XspecError
        File missing, truncated or inconsistent, with the row at fault.
    """
    path = find_file(name, beside, "response")
    with open_fits(path) as hdus:
        chosen = split_name(name)[1]
        hdu, *more = extensions_of(hdus, path, "RESPONSE", "RSP_MATRIX", ("MATRIX", "SPECRESP MATRIX"), chosen)
        bounds = extension_of(hdus, path, "RESPONSE", "EBOUNDS", ("EBOUNDS",))
        e_min, e_max = (
            np.maximum(needed_column(bounds, path, k).astype(float), SMALLEST_ENERGY) for k in ("E_MIN", "E_MAX")
        )
        if not (np.isfinite(e_min).all() and np.isfinite(e_max).all()) or e_min.ndim != 1 or e_min.size == 0:
            raise XspecError(f"{path}: EBOUNDS has no channels, or energies that are no numbers; the file is corrupt.")
        detchans = int(number_of(hdu.header, path, "DETCHANS", e_min.size))
        if detchans != e_min.size:
            raise XspecError(
                f"{path}: DETCHANS is {detchans} but EBOUNDS has {e_min.size} rows; the response is inconsistent."
            )
        low, high = (needed_column(hdu, path, key).astype(float) for key in ("ENERG_LO", "ENERG_HI"))
        if low.size == 0:
            raise XspecError(f"{path}: the matrix has no energy bins; the file is empty or truncated.")
        _check_energies(path, low, high)
        # As XSPEC: a zero energy would make 1/E infinite.
        high = np.maximum(high, SMALLEST_ENERGY)
        low = np.where(low < SMALLEST_ENERGY, np.maximum(SMALLEST_ENERGY, high / 1000.0), low)
        matrix, first = unpacked_matrix(hdu, path, detchans)
        for other in more:
            matrix = matrix + on_finer_energies(unpacked_matrix(other, path, detchans)[0], other, hdu, path)
        if more:
            log.info(
                "%s: its %d MATRIX extensions are summed, as XSPEC 12.11 and newer do (older ones take the first)",
                path, len(more) + 1,
            )  # fmt: skip
        return RMF(
            path=name, energy_lo=low, energy_hi=high, e_min=e_min, e_max=e_max, matrix=matrix, first_channel=first,
            lo_thres=number_of(hdu.header, path, "LO_THRES", 0.0), telescope=text_of(hdu.header, "TELESCOP", "UNKNOWN"),
            instrument=text_of(hdu.header, "INSTRUME", "UNKNOWN"), channel_type=text_of(hdu.header, "CHANTYPE", "PHA"),
        )  # fmt: skip


def read_arf(name: str, beside: str | Path | None = None) -> ARF:
    """Read an effective area (extension SPECRESP, HDUCLAS2 = SPECRESP).

    XSPEC 12.9.1 skips an ARF whose HDUCLAS2 is wrong and folds without effective area; here it is an error.
    """
    path = find_file(name, beside, "effective area (ARF)")
    with open_fits(path) as hdus:
        hdu = extension_of(hdus, path, "RESPONSE", "SPECRESP", ("SPECRESP",), split_name(name)[1])
        low, high, area = (needed_column(hdu, path, k).astype(float) for k in ("ENERG_LO", "ENERG_HI", "SPECRESP"))
        if area.ndim > 1:
            raise XspecError(
                f"{path}: a type II ARF (one area a row); the embedded engine reads type I only. Split it."
            )
        if low.size == 0:
            raise XspecError(f"{path}: the effective area has no energy bins; the file is empty or truncated.")
        _check_energies(path, low, high)
        wrong = ~(np.isfinite(area) & (area >= 0))
        if wrong.any():
            raise XspecError(
                f"{path}: {wrong.sum()} effective areas are negative, NaN or infinite (the first: "
                f"{area[wrong][0]:g} cm2); the file is corrupt. Make the ARF again."
            )
        return ARF(
            name,
            low,
            high,
            area,
            text_of(hdu.header, "TELESCOP", "UNKNOWN"),
            text_of(hdu.header, "INSTRUME", "UNKNOWN"),
        )
