"""Type II PHA files, a spectrum in each row (OGIP memo 92-007a): one row as the table of a type I file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xspec_sixsa.embedded.state import XspecError

__all__ = ["type_one"]


def type_one(hdu: Any, path: Path, row: int | None) -> Any:
    """Return a row as a table with a row for each channel; what is one number or name a spectrum becomes a keyword.

    Parameters
    ----------
    hdu : BinTableHDU
        The SPECTRUM extension.
    path : Path
        For messages.
    row : int or None
        From 1.

    Raises
    ------
    XspecError
        Without a row, for one that is not there, and for a type I file.
    """
    from astropy.io import fits

    n = len(hdu.data)
    values = next((column for column in hdu.columns.names if column.upper() in ("COUNTS", "RATE")), None)
    if values is None or np.ndim(hdu.data[values][0] if n else 0) == 0:
        raise XspecError(f"{path}: a row was asked for, {path.name}{{{row}}}, of a file of one spectrum. Leave it out.")
    if row is None or not 1 <= row <= n:
        said = "which row is not said" if row is None else f"there is no row {row}"
        raise XspecError(f"{path}: a type II file of {n} spectra, and {said}: {path.name}{{1}} to {path.name}{{{n}}}.")
    spectrum, length = hdu.data[row - 1], np.size(hdu.data[values][row - 1])
    columns, keywords = [], {}
    for column in hdu.columns:
        cell = spectrum[column.name]
        if np.ndim(cell) and np.size(cell) == length:
            cell = np.asarray(cell)
            columns.append(fits.Column(column.name.upper(), "J" if cell.dtype.kind in "iu" else "D", array=cell))
        elif np.size(cell) == 1:
            cell = np.ravel(cell)[0]
            keywords[column.name.upper()[:8]] = cell.strip() if isinstance(cell, str) else cell.item()
    table = fits.BinTableHDU.from_columns(columns, name=hdu.name)
    for card in hdu.header.cards:
        if (
            card.keyword
            and card.keyword not in table.header
            and card.keyword[:5] not in ("TFORM", "TTYPE", "TUNIT", "TLMIN")
        ):
            table.header.append(card)
    table.header.update(keywords)
    names = [column.upper() for column in hdu.columns.names]
    lowest = hdu.header.get(f"TLMIN{names.index('CHANNEL') + 1}") if "CHANNEL" in names else None
    if lowest is not None:
        table.header[f"TLMIN{[column.name for column in columns].index('CHANNEL') + 1}"] = lowest
    return table
