"""OGIP files written: spectra, redistribution matrices and effective areas that XSPEC reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xspec_sixsa.embedded.ogip_types import ARF, PHA, RMF
from xspec_sixsa.embedded.state import XspecError

__all__ = ["write_arf", "write_pha", "write_rmf"]


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
        fits.Column("ENERG_LO", "D", "keV", array=rmf.energy_lo),
        fits.Column("ENERG_HI", "D", "keV", array=rmf.energy_hi),
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
        [fits.Column("ENERG_LO", "D", "keV", array=arf.energy_lo),
         fits.Column("ENERG_HI", "D", "keV", array=arf.energy_hi),
         fits.Column("SPECRESP", "D", "cm**2", array=arf.area)], name="SPECRESP")  # fmt: skip
    hdu.header.update({
        "TELESCOP": arf.telescope, "INSTRUME": arf.instrument, "FILTER": "NONE", "HDUCLASS": "OGIP",
        "HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "HDUVERS": "1.1.0",
    })  # fmt: skip
    _write(path, [hdu], overwrite)
