"""OGIP files: PHA spectra, redistribution matrices and effective areas, read and written.

The formats are OGIP memos OGIP-92-007 and 007a (PHA) and CAL/GEN/92-002 and 92-002a (RMF, ARF).  Where files in
the wild differ from the memos this module follows what XSPEC 12.9.1 accepts, and refuses, with the file named,
what XSPEC would load as something else than what the file says.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .state import XspecError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ARF", "PHA", "RMF", "find_file", "read_arf", "read_pha", "read_rmf", "write_arf", "write_pha", "write_rmf"]

log = logging.getLogger(__name__)

# XSPEC replaces energies that are zero or negative by the smallest normal float32.
SMALLEST_ENERGY = float(np.finfo(np.float32).tiny)


@dataclass
class PHA:
    """One type I spectrum as its file has it: nothing grouped, scaled or ignored.

    Attributes
    ----------
    path : str
        File name as given.
    values : ndarray (n,)
        Counts, or counts/s where ``is_counts`` is False.
    channels : ndarray of int (n,)
        Detector channel numbers, consecutive.
    exposure : float
        Seconds.
    first_channel, detchans : int
        Lowest legal channel number (TLMIN) and the number of legal channels.
    poisson : bool
        The POISSERR keyword.
    stat_err, sys_err : ndarray (n,) or None
        Statistical error (unit of ``values``) and fractional systematic error.
    quality, grouping : ndarray of int (n,) or None
        None where the file has neither column nor a keyword that says anything.
    area_scale, back_scale : ndarray (n,)
    area_is_key, back_is_key : bool
        Whether those are keywords (one number) rather than columns.
    net : bool
        HDUCLAS2 = NET: background already subtracted.
    backfile, corrfile, respfile, ancrfile : str
        Empty where the file says ``none``.
    """

    path: str
    values: np.ndarray
    channels: np.ndarray
    exposure: float
    is_counts: bool = True
    first_channel: int = 1
    detchans: int = 0
    poisson: bool = True
    stat_err: np.ndarray | None = None
    sys_err: np.ndarray | None = None
    quality: np.ndarray | None = None
    grouping: np.ndarray | None = None
    area_scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    back_scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    area_is_key: bool = True
    back_is_key: bool = True
    corr_scale: float = 1.0
    net: bool = False
    backfile: str = ""
    corrfile: str = ""
    respfile: str = ""
    ancrfile: str = ""
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"
    channel_type: str = "PHA"

    @property
    def offset(self) -> int:
        """Position of the first channel of the file among the detector's legal channels."""
        return int(self.channels[0]) - self.first_channel


@dataclass
class RMF:
    """A redistribution matrix.

    Attributes
    ----------
    path : str
    energy_lo, energy_hi : ndarray (nE,)
        Photon energy bins, keV.
    e_min, e_max : ndarray (channels,)
        Nominal channel energies (EBOUNDS), keV.
    matrix : scipy.sparse.csr_array (channels, nE)
        With the effective area inside when the file is a ``SPECRESP MATRIX`` with area (a .rsp).
    first_channel : int
        Number of the first channel (TLMIN of F_CHAN).
    lo_thres : float
        Lower threshold that was applied when the matrix was made; kept, as XSPEC does, without effect.
    """

    path: str
    energy_lo: np.ndarray
    energy_hi: np.ndarray
    e_min: np.ndarray
    e_max: np.ndarray
    matrix: csr_array
    first_channel: int = 1
    lo_thres: float = 0.0
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"
    channel_type: str = "PHA"

    @property
    def detchans(self) -> int:
        """Number of detector channels."""
        return self.e_min.size

    @property
    def edges(self) -> np.ndarray:
        """Edges of the photon energy bins, keV, shape (nE + 1,)."""
        return np.concatenate([self.energy_lo[:1], self.energy_hi])


@dataclass
class ARF:
    """An effective area: ``area`` (nE,) in cm2 on energy bins in keV."""

    path: str
    energy_lo: np.ndarray
    energy_hi: np.ndarray
    area: np.ndarray
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"


# ---------------------------------------------------------------------------------------------------------- reading


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


def _open(path: Path) -> Any:
    from astropy.io import fits

    try:
        return fits.open(path, memmap=False)
    except OSError as error:
        raise XspecError(f"{path}: cannot be read as FITS ({error}). Check the file; download it again.") from error


def _text(header: Any, key: str, default: str = "") -> str:
    return str(header.get(key, default)).strip()


def _extension(hdus: Any, path: Path, clas1: str, clas2: str | None, names: tuple[str, ...]) -> Any:
    """Return the table extension of an OGIP class, else of one of the classical names."""
    tables = [hdu for hdu in hdus if hdu.header.get("XTENSION", "").strip() == "BINTABLE"]
    for hdu in tables:
        header = hdu.header
        if _text(header, "HDUCLAS1").upper() == clas1 and (clas2 is None or _text(header, "HDUCLAS2").upper() == clas2):
            return hdu
    for hdu in tables:
        if hdu.name in names and clas2 is None:
            return hdu
        if hdu.name in names and _text(hdu.header, "HDUCLAS2").upper() in ("", "UNKNOWN"):
            return hdu
    found = ", ".join(
        f"{hdu.name or '(no name)'} (HDUCLAS1={_text(hdu.header, 'HDUCLAS1', '?')}, "
        f"HDUCLAS2={_text(hdu.header, 'HDUCLAS2', '?')})" for hdu in tables
    )  # fmt: skip
    raise XspecError(
        f"{path}: no extension with HDUCLAS1={clas1}" + (f", HDUCLAS2={clas2}" if clas2 else "")
        + f" or named {' or '.join(names)}; it has {found or 'no table'}. "
        "Is this the right file? Otherwise correct the keywords (fthedit): read as it stands it would be skipped silently by XSPEC."
    )  # fmt: skip


def _column(hdu: Any, path: Path, name: str) -> np.ndarray | None:
    try:
        names = {n.upper(): n for n in hdu.columns.names}
        return None if name not in names else np.asarray(hdu.data[names[name]])
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise XspecError(
            f"{path}: column {name} cannot be read ({error}); the file is truncated or corrupt."
        ) from error


def _need(hdu: Any, path: Path, name: str) -> np.ndarray:
    values = _column(hdu, path, name)
    if values is None:
        raise XspecError(f"{path}: extension {hdu.name} has no column {name}, which an OGIP file must have.")
    return values


def _number(header: Any, path: Path, key: str, default: float | None = None) -> float:
    value = header.get(key, default)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise XspecError(f"{path}: keyword {key} is {value!r}; a number is needed.") from error


def _single(value: float) -> float:
    """Round to float32: XSPEC reads EXPOSURE and the scale keywords in single precision, and so must we to agree."""
    return float(np.float32(value))


def _tlmin(hdu: Any, column: str) -> int | None:
    names = [n.upper() for n in hdu.columns.names]
    if column not in names:
        return None
    value = hdu.header.get(f"TLMIN{names.index(column) + 1}")
    return None if value is None else int(float(value))


def _scale(hdu: Any, path: Path, key: str, quality: np.ndarray | None, n: int) -> tuple[np.ndarray, bool]:
    column = _column(hdu, path, key)
    if column is None:
        # BACKSCAL and AREASCAL are mandatory for XSPEC: it refuses the file too.
        value = _single(_number(hdu.header, path, key))
        if value == 0.0:
            log.warning("%s: %s is 0; 1.0 is used, as XSPEC does", path, key)
        return np.full(n, value or 1.0), True
    scale = column.astype(float)
    bad = (scale == 0) & (quality != 1 if quality is not None else np.ones(n, bool))
    if bad.any():
        log.warning("%s: %s is 0 in %d good channels; 1.0 is used there, as XSPEC does", path, key, bad.sum())
        scale[bad] = 1.0
    return scale, False


def _ancillary(header: Any, path: Path, key: str, suffix: str) -> str:
    name = _text(header, key)
    if name.lower() == "%match%":
        return str(path.with_suffix(suffix))
    return "" if name.lower()[:4] == "none" else name


def _flags(hdu: Any, path: Path, key: str, n: int) -> np.ndarray | None:
    """QUALITY or GROUPING: a column, or a keyword that holds for all channels."""
    column = _column(hdu, path, key)
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
    """Read a type I PHA file.

    Parameters
    ----------
    name : str
        Path; relative ones are looked for in the current folder, then in that of `beside`.
    what : str
        What the file is called in messages (``spectrum``, ``background``).

    Raises
    ------
    XspecError
        File missing, not a type I spectrum, type II, no channels, channels with gaps, exposure not positive.
    """
    path = find_file(name, beside, what)
    with _open(path) as hdus:
        hdu = _extension(hdus, path, "SPECTRUM", None, ("SPECTRUM",))
        header, columns = hdu.header, {n.upper() for n in hdu.columns.names}
        is_counts = "COUNTS" in columns and "RATE" not in columns
        values = _need(hdu, path, "COUNTS" if is_counts else "RATE")
        detchans = int(_number(header, path, "DETCHANS"))
        if values.ndim > 1 or values.dtype == object or values.size > detchans:
            raise XspecError(
                f"{path}: a type II file ({len(values)} spectra in rows); the embedded engine reads type I files only. "
                "Split it into type I spectra, or use XSPEC (HEASoft)."
            )
        n = values.size
        if n == 0:
            raise XspecError(f"{path}: the {what} is empty (no channels). Check how the file was extracted.")
        channel = _column(hdu, path, "CHANNEL")
        channels = np.arange(1, n + 1) if channel is None else channel.astype(int)
        if (np.diff(channels) != 1).any():
            where = int(np.flatnonzero(np.diff(channels) != 1)[0])
            raise XspecError(
                f"{path}: channel numbers have a gap after {channels[where]} (next is {channels[where + 1]}); "
                "every detector channel must have its row."
            )
        first = _tlmin(hdu, "CHANNEL")
        first = (1 if channels[0] > 0 else 0) if first is None else first
        if channels[0] < first or channels[-1] > first + detchans - 1:
            raise XspecError(
                f"{path}: channels {channels[0]}-{channels[-1]} are outside the legal {first}-{first + detchans - 1} "
                "(TLMIN, DETCHANS). Correct these keywords."
            )
        exposure_column = _column(hdu, path, "EXPOSURE")
        exposure = (
            float(exposure_column[0]) if exposure_column is not None else _single(_number(header, path, "EXPOSURE"))
        )
        if not exposure > 0:
            raise XspecError(
                f"{path}: exposure is {exposure} s; a positive EXPOSURE is needed to turn rates into counts."
            )
        quality = _flags(hdu, path, "QUALITY", n)
        stat = _column(hdu, path, "STAT_ERR")
        poisson = bool(header.get("POISSERR", False))
        if stat is None and not poisson:
            log.warning("%s: neither STAT_ERR nor POISSERR = T: errors are zero, as XSPEC takes them", path)
        systematic = _column(hdu, path, "SYS_ERR")
        if systematic is None and what == "spectrum" and abs(_number(header, path, "SYS_ERR", 0.0)) > SMALLEST_ENERGY:
            systematic = np.full(n, _number(header, path, "SYS_ERR"))
        area, area_is_key = _scale(hdu, path, "AREASCAL", quality, n)
        back, back_is_key = _scale(hdu, path, "BACKSCAL", quality, n)
        values = values.astype(float)
        if not np.isfinite(values).all():
            raise XspecError(
                f"{path}: {(~np.isfinite(values)).sum()} channels are NaN or infinite; the file is corrupt."
            )
        clas2 = _text(header, "HDUCLAS2").upper()
        return PHA(
            path=name, values=values, channels=channels, exposure=exposure, is_counts=is_counts, first_channel=first,
            detchans=detchans, poisson=poisson, stat_err=None if stat is None else stat.astype(float),
            sys_err=None if systematic is None else systematic.astype(float),
            quality=quality, grouping=_flags(hdu, path, "GROUPING", n), area_scale=area, back_scale=back,
            area_is_key=area_is_key, back_is_key=back_is_key, corr_scale=_single(_number(header, path, "CORRSCAL", 1.0)),
            net=clas2 == "NET" or (clas2 in ("", "UNKNOWN") and bool((values < 0).any())),
            backfile=_ancillary(header, path, "BACKFILE", ".bck"), corrfile=_ancillary(header, path, "CORRFILE", ".cor"),
            respfile=_ancillary(header, path, "RESPFILE", ".rsp"), ancrfile=_ancillary(header, path, "ANCRFILE", ".arf"),
            telescope=_text(header, "TELESCOP", "UNKNOWN"), instrument=_text(header, "INSTRUME", "UNKNOWN"),
            channel_type=_text(header, "CHANTYPE", "PHA"),
        )  # fmt: skip


def _padded(column: np.ndarray, rows: int) -> np.ndarray:
    """An integer column of scalars, vectors or variable-length arrays as (rows, widest)."""
    if column.dtype != object:
        return column.reshape(rows, -1).astype(np.int64)
    width = max((np.size(v) for v in column), default=0)
    table = np.zeros((rows, max(width, 1)), dtype=np.int64)
    for i, v in enumerate(column):
        table[i, : np.size(v)] = v
    return table


def _matrix(hdu: Any, path: Path, detchans: int) -> tuple[csr_array, int]:
    """Unpack the compressed rows: each group of a row is N_CHAN consecutive channels from F_CHAN on."""
    from scipy.sparse import csr_array

    first = _tlmin(hdu, "F_CHAN")
    if first is None:
        log.debug("%s: no TLMIN for F_CHAN; 1 is assumed, as XSPEC does", path)
        first = 1
    n_grp = _need(hdu, path, "N_GRP").astype(np.int64).ravel()
    rows = n_grp.size
    f_chan, n_chan = (_padded(_need(hdu, path, key), rows) for key in ("F_CHAN", "N_CHAN"))
    raw = _need(hdu, path, "MATRIX")
    if n_grp.min(initial=0) < 0 or n_grp.max(initial=0) > min(f_chan.shape[1], n_chan.shape[1]):
        bad = int(np.flatnonzero((n_grp < 0) | (n_grp > f_chan.shape[1]))[0])
        raise XspecError(
            f"{path}: row {bad + 1} says N_GRP = {n_grp[bad]} but F_CHAN and N_CHAN hold {f_chan.shape[1]}; "
            "the matrix is corrupt. Make or download the response again."
        )
    used = np.arange(f_chan.shape[1]) < n_grp[:, None]
    starts, lengths = f_chan[used] - first, n_chan[:, : f_chan.shape[1]][used]
    row_of_group = np.repeat(np.arange(rows), n_grp)
    bad = (lengths < 0) | ((lengths > 0) & ((starts < 0) | (starts + lengths > detchans)))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise XspecError(
            f"{path}: row {row_of_group[i] + 1} has a group of {lengths[i]} channels from {starts[i] + first} on, outside "
            f"the channels {first}-{first + detchans - 1}; TLMIN of F_CHAN or the matrix is wrong. Make the response again."
        )
    per_row = np.bincount(row_of_group, weights=lengths, minlength=rows).astype(np.int64)
    if raw.dtype == object:
        have = np.array([np.size(v) for v in raw], dtype=np.int64)
    else:
        raw = raw.reshape(rows, -1)
        have = np.full(rows, raw.shape[1])
    if (have < per_row).any():
        i = int(np.flatnonzero(have < per_row)[0])
        raise XspecError(
            f"{path}: row {i + 1} needs {per_row[i]} matrix elements (sum of N_CHAN) and has {have[i]}; "
            "the matrix is truncated or corrupt. Make or download the response again."
        )
    if raw.dtype == object:
        parts = [np.asarray(v, dtype=float).ravel()[:k] for v, k in zip(raw, per_row, strict=True)]
        elements = np.concatenate(parts) if parts else np.empty(0)
    else:
        elements = raw[np.arange(raw.shape[1]) < per_row[:, None]].astype(float)
    if not np.isfinite(elements).all():
        raise XspecError(
            f"{path}: {(~np.isfinite(elements)).sum()} matrix elements are NaN or infinite; the file is corrupt."
        )
    ends = np.cumsum(lengths)
    channel = np.arange(elements.size) + np.repeat(starts - (ends - lengths), lengths)
    energy = np.repeat(np.arange(rows), per_row)
    matrix = csr_array((elements, (channel, energy)), shape=(detchans, rows))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix, first


def read_rmf(name: str, beside: str | Path | None = None) -> RMF:
    """Read a response matrix (extension MATRIX or SPECRESP MATRIX) with its EBOUNDS.

    Raises
    ------
    XspecError
        File missing, truncated or inconsistent, with the row at fault.
    """
    path = find_file(name, beside, "response")
    with _open(path) as hdus:
        hdu = _extension(hdus, path, "RESPONSE", "RSP_MATRIX", ("MATRIX", "SPECRESP MATRIX"))
        bounds = _extension(hdus, path, "RESPONSE", "EBOUNDS", ("EBOUNDS",))
        e_min, e_max = (np.maximum(_need(bounds, path, k).astype(float), SMALLEST_ENERGY) for k in ("E_MIN", "E_MAX"))
        detchans = int(_number(hdu.header, path, "DETCHANS", e_min.size))
        if detchans != e_min.size:
            raise XspecError(
                f"{path}: DETCHANS is {detchans} but EBOUNDS has {e_min.size} rows; the response is inconsistent."
            )
        low, high = (_need(hdu, path, key).astype(float) for key in ("ENERG_LO", "ENERG_HI"))
        if low.size == 0:
            raise XspecError(f"{path}: the matrix has no energy bins; the file is empty or truncated.")
        if not (np.isfinite(low).all() and np.isfinite(high).all()) or (high < low).any():
            raise XspecError(f"{path}: energy bins are not increasing finite numbers; the file is corrupt.")
        # As XSPEC: a zero energy would make 1/E infinite.
        high = np.maximum(high, SMALLEST_ENERGY)
        low = np.where(low < SMALLEST_ENERGY, np.maximum(SMALLEST_ENERGY, high / 1000.0), low)
        matrix, first = _matrix(hdu, path, detchans)
        return RMF(
            path=name, energy_lo=low, energy_hi=high, e_min=e_min, e_max=e_max, matrix=matrix, first_channel=first,
            lo_thres=_number(hdu.header, path, "LO_THRES", 0.0), telescope=_text(hdu.header, "TELESCOP", "UNKNOWN"),
            instrument=_text(hdu.header, "INSTRUME", "UNKNOWN"), channel_type=_text(hdu.header, "CHANTYPE", "PHA"),
        )  # fmt: skip


def read_arf(name: str, beside: str | Path | None = None) -> ARF:
    """Read an effective area (extension SPECRESP, HDUCLAS2 = SPECRESP).

    XSPEC 12.9.1 skips an ARF whose HDUCLAS2 is wrong and folds without effective area; here it is an error.
    """
    path = find_file(name, beside, "effective area (ARF)")
    with _open(path) as hdus:
        hdu = _extension(hdus, path, "RESPONSE", "SPECRESP", ("SPECRESP",))
        low, high, area = (_need(hdu, path, k).astype(float) for k in ("ENERG_LO", "ENERG_HI", "SPECRESP"))
        if area.ndim > 1:
            raise XspecError(
                f"{path}: a type II ARF (one area a row); the embedded engine reads type I only. Split it."
            )
        if not np.isfinite(area).all():
            raise XspecError(
                f"{path}: {(~np.isfinite(area)).sum()} effective areas are NaN or infinite; the file is corrupt."
            )
        return ARF(
            name, low, high, area, _text(hdu.header, "TELESCOP", "UNKNOWN"), _text(hdu.header, "INSTRUME", "UNKNOWN")
        )


# ---------------------------------------------------------------------------------------------------------- writing


def _write(path: str | Path, hdus: list[Any], overwrite: bool) -> None:
    from astropy.io import fits

    try:
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=overwrite)
    except OSError as error:
        raise XspecError(f"{path}: cannot be written ({error}). Give another name, or allow overwriting.") from error


def write_pha(path: str | Path, pha: PHA, overwrite: bool = True) -> None:
    """Write a type I spectrum (counts as integers where they are whole numbers); see `PHA`."""
    from astropy.io import fits

    whole = pha.is_counts and bool((pha.values == np.round(pha.values)).all())
    columns = [
        fits.Column("CHANNEL", "J", array=pha.channels),
        fits.Column("COUNTS" if pha.is_counts else "RATE", "J" if whole else "D",
                    unit="count" if pha.is_counts else "count/s", array=pha.values),
    ]  # fmt: skip
    if pha.stat_err is not None and not pha.poisson:
        columns.append(fits.Column("STAT_ERR", "D", array=pha.stat_err))
    if pha.sys_err is not None:
        columns.append(fits.Column("SYS_ERR", "D", array=pha.sys_err))
    if pha.quality is not None:
        columns.append(fits.Column("QUALITY", "I", array=pha.quality))
    if pha.grouping is not None:
        columns.append(fits.Column("GROUPING", "I", array=pha.grouping))
    if not pha.area_is_key:
        columns.append(fits.Column("AREASCAL", "D", array=pha.area_scale))
    if not pha.back_is_key:
        columns.append(fits.Column("BACKSCAL", "D", array=pha.back_scale))
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    header = {
        "HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "NET" if pha.net else "TOTAL",
        "HDUCLAS3": "COUNT" if pha.is_counts else "RATE", "HDUVERS": "1.2.1", "TELESCOP": pha.telescope,
        "INSTRUME": pha.instrument, "FILTER": "NONE", "CHANTYPE": pha.channel_type, "EXPOSURE": pha.exposure,
        "CORRSCAL": pha.corr_scale, "CORRFILE": pha.corrfile or "none",
        "POISSERR": pha.poisson, "DETCHANS": pha.detchans or pha.values.size,
        "TLMIN1": pha.first_channel, "TLMAX1": pha.first_channel + (pha.detchans or pha.values.size) - 1,
    }  # fmt: skip
    for key, value in (("BACKFILE", pha.backfile), ("RESPFILE", pha.respfile), ("ANCRFILE", pha.ancrfile)):
        header[key] = value or "none"
    if pha.area_is_key:
        header["AREASCAL"] = float(pha.area_scale[0])
    if pha.back_is_key:
        header["BACKSCAL"] = float(pha.back_scale[0])
    if pha.sys_err is None:
        header["SYS_ERR"] = 0
    hdu.header.update(header)
    _write(path, [hdu], overwrite)


def write_rmf(path: str | Path, rmf: RMF, overwrite: bool = True, specresp: bool = False) -> None:
    """Write a response matrix with variable-length rows and as many groups a row as its zeros ask for.

    Parameters
    ----------
    specresp : bool, default False
        Name the extension SPECRESP MATRIX and its class FULL: the effective area is inside.
    """
    from astropy.io import fits

    by_energy = rmf.matrix.tocsc()
    by_energy.sort_indices()
    n_grp, f_chan, n_chan, elements = [], [], [], []
    for i in range(rmf.energy_lo.size):
        span = slice(by_energy.indptr[i], by_energy.indptr[i + 1])
        channel, value = by_energy.indices[span], by_energy.data[span]
        cuts = np.flatnonzero(np.diff(channel) != 1) + 1
        runs = np.split(channel, cuts) if channel.size else []
        n_grp.append(len(runs))
        f_chan.append(np.array([run[0] + rmf.first_channel for run in runs], dtype=np.int32))
        n_chan.append(np.array([run.size for run in runs], dtype=np.int32))
        elements.append(value.astype(np.float32))

    def vector(values: list[np.ndarray]) -> np.ndarray:
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out

    columns = [
        fits.Column("ENERG_LO", "D", "keV", array=rmf.energy_lo), fits.Column("ENERG_HI", "D", "keV", array=rmf.energy_hi),
        fits.Column("N_GRP", "I", array=n_grp), fits.Column("F_CHAN", "PJ()", array=vector(f_chan)),
        fits.Column("N_CHAN", "PJ()", array=vector(n_chan)), fits.Column("MATRIX", "PE()", array=vector(elements)),
    ]  # fmt: skip
    common = {
        "TELESCOP": rmf.telescope, "INSTRUME": rmf.instrument, "FILTER": "NONE", "CHANTYPE": rmf.channel_type,
        "DETCHANS": rmf.detchans, "HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUVERS": "1.3.0",
    }  # fmt: skip
    matrix = fits.BinTableHDU.from_columns(columns, name="SPECRESP MATRIX" if specresp else "MATRIX")
    matrix.header.update(common | {
        "HDUCLAS2": "RSP_MATRIX", "HDUCLAS3": "FULL" if specresp else "REDIST", "LO_THRES": rmf.lo_thres,
        "TLMIN4": rmf.first_channel, "TLMAX4": rmf.first_channel + rmf.detchans - 1,
    })  # fmt: skip
    channels = np.arange(rmf.detchans) + rmf.first_channel
    bounds = fits.BinTableHDU.from_columns(
        [fits.Column("CHANNEL", "J", array=channels), fits.Column("E_MIN", "D", "keV", array=rmf.e_min),
         fits.Column("E_MAX", "D", "keV", array=rmf.e_max)], name="EBOUNDS")  # fmt: skip
    bounds.header.update(common | {"HDUCLAS2": "EBOUNDS", "TLMIN1": rmf.first_channel,
                                   "TLMAX1": rmf.first_channel + rmf.detchans - 1})  # fmt: skip
    _write(path, [matrix, bounds], overwrite)


def write_arf(path: str | Path, arf: ARF, overwrite: bool = True) -> None:
    """Write an effective area."""
    from astropy.io import fits

    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("ENERG_LO", "D", "keV", array=arf.energy_lo), fits.Column("ENERG_HI", "D", "keV", array=arf.energy_hi),
         fits.Column("SPECRESP", "D", "cm**2", array=arf.area)], name="SPECRESP")  # fmt: skip
    hdu.header.update({
        "TELESCOP": arf.telescope, "INSTRUME": arf.instrument, "FILTER": "NONE", "HDUCLASS": "OGIP",
        "HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "HDUVERS": "1.1.0",
    })  # fmt: skip
    _write(path, [hdu], overwrite)
