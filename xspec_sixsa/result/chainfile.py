"""XSPEC's CHAIN FITS, written and read.

The layout is the one that XSPEC 12 writes itself (`chain run` with `chain filetype fits`): an empty primary header, and
a binary table ``CHAIN`` with one double column per free parameter in XSPEC's order, then ``FIT_STATISTIC``. XSPEC loads
a file whose order or units differ without a word and then does not use it: names and units must be the session's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.common.fitsfile import FitsFileError, check_table, open_fits

__all__ = ["ChainData", "read_chain", "write_chain"]

STATISTIC_COLUMN = "FIT_STATISTIC"
_NAME = re.compile(r"^(?P<parameter>.+?)__(?:(?P<model>.+)__)?(?P<index>[1-9]\d*)$")
CHAIN_TYPES = ("GoodmanWeare", "MetropolisHastings")


@dataclass(frozen=True)
class ChainData:
    """What a chain file holds.

    Attributes
    ----------
    names, units : list of str
        One per free parameter, e.g. ``nH__1`` and ``10^22`` (empty where XSPEC has no unit).
    samples : ndarray (n, d)
        Physical values, rows of equal weight.
    statistic : ndarray (n,)
        XSPEC's fit statistic of each row.
    header : dict
        The table's keywords (``CHAINTYP``, ``NWALKERS``, ``HISTORY`` as one string, ...).
    """

    names: list[str]
    units: list[str]
    samples: np.ndarray
    statistic: np.ndarray
    header: dict[str, object] = field(default_factory=dict)


def write_chain(
    path: str | os.PathLike[str],
    names: Sequence[str],
    units: Sequence[str],
    samples: np.ndarray,
    statistic: np.ndarray,
    *,
    history: Sequence[str] = (),
    chain_type: str = "GoodmanWeare",
    walkers: int | None = None,
    statistic_unit: str = "",
) -> Path:
    """Write a chain that XSPEC loads and uses; atomic, an existing file is replaced.

    Parameters
    ----------
    path : path
        The file to write.
    names, units : sequences of str, length d
        ``<parameter>__[<model>__]<index>`` in XSPEC's order, and XSPEC's own unit strings ("" for none).
    samples : array (n, d)
        Physical values (never log10), rows of equal weight.
    statistic : array (n,)
        Fit statistic of each row (-2 ln L).
    history : sequence of str
        Lines for the table's HISTORY, e.g. the effective sample size.
    chain_type : {"GoodmanWeare", "MetropolisHastings"}
        Written as ``CHAINTYP``, with the keywords that XSPEC demands of each.
    walkers : int, optional
        ``NWALKERS``; default: an even divisor of n, the smallest that is at least 2 d where there is one.
    statistic_unit : str
        Unit of the last column; XSPEC puts the statistic's name there.

    Raises
    ------
    ValueError
        If shapes do not fit together, a name is not a chain name or comes twice, or a value is not finite.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "chain.fits")
    >>> draws = np.array([[0.10, 1.9], [0.12, 2.0], [0.11, 2.1], [0.09, 1.8]])
    >>> written = write_chain(path, ["nH__1", "PhoIndex__2"], ["10^22", ""], draws, [30.5, 29.9, 30.1, 31.0])
    >>> chain = read_chain(path)
    >>> chain.names, chain.units
    (['nH__1', 'PhoIndex__2'], ['10^22', ''])
    >>> chain.samples.shape, chain.statistic.min().item()
    ((4, 2), 29.9)
    >>> write_chain(path, ["nH"], [""], draws[:, :1], [30.5, 29.9, 30.1, 31.0])
    Traceback (most recent call last):
        ...
    ValueError: ...
    """
    from astropy.io import fits

    names, units = list(names), list(units)
    samples = np.atleast_2d(np.asarray(samples, dtype=float))
    statistic = np.asarray(statistic, dtype=float).ravel()
    _check(names, units, samples, statistic, chain_type)
    rows, width = samples.shape

    columns = [
        fits.Column(name=name, format="D", unit=unit or None, array=samples[:, i])
        for i, (name, unit) in enumerate(zip(names, units, strict=True))
    ]
    columns.append(fits.Column(name=STATISTIC_COLUMN, format="D", unit=statistic_unit or None, array=statistic))
    table = fits.BinTableHDU.from_columns(columns, name="CHAIN")
    table.header["CHAINTYP"] = chain_type
    if chain_type == "GoodmanWeare":
        table.header["NWALKERS"] = int(walkers) if walkers else default_walkers(rows, width)
    else:
        table.header["TEMPR001"] = 1.0
        table.header["STROW001"] = 1
    for line in history:
        table.header.add_history(line.encode("ascii", "replace").decode())
    path = Path(path)
    with atomic_path(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(temporary, overwrite=True, checksum=False)
    return path


def read_chain(path: str | os.PathLike[str]) -> ChainData:
    """Read a chain written by XSPEC, by this package or by BXA.

    Parameters
    ----------
    path : path
        FITS file, as `chain filetype fits` writes it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a FITS file with a CHAIN table that ends in FIT_STATISTIC.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No chain file {path}.")
    with open_fits(path) as hdus:
        if "CHAIN" not in hdus:
            raise FitsFileError(f"{path} has no CHAIN table: it is not one of XSPEC's chains (`chain filetype fits`).")
        table = hdus["CHAIN"]
        check_table(table, path)
        columns = table.columns
        if len(columns) < 2 or columns.names[-1] != STATISTIC_COLUMN:
            raise FitsFileError(
                f"The last column of {path} is {columns.names[-1] if columns.names else 'missing'}, "
                f"not {STATISTIC_COLUMN}: XSPEC would refuse this chain."
            )
        words = [name for name in columns.names if np.asarray(table.data[name]).dtype.kind not in "iuf"]
        if words:
            raise FitsFileError(
                f"{path}: column {words[0]} does not hold real numbers: it is not one of XSPEC's chains."
            )
        values = np.column_stack([np.asarray(table.data[name], dtype=float) for name in columns.names])
        wrong = ~np.isfinite(values)
        if wrong.any():
            raise FitsFileError(
                f"{path}: {int(wrong.any(axis=1).sum())} rows of the chain are NaN or infinite: it cannot be weighed. "
                "Run the chain again."
            )
        header = {key: table.header[key] for key in table.header if key not in ("HISTORY", "COMMENT", "")}
        header["HISTORY"] = "\n".join(table.header.get("HISTORY", []))
        return ChainData(
            names=list(columns.names[:-1]),
            units=[column.unit or "" for column in columns][:-1],
            samples=values[:, :-1],
            statistic=values[:, -1],
            header=header,
        )


def default_walkers(rows: int, width: int) -> int:
    """Smallest even divisor of `rows` that is at least ``2 * width``; else the largest even one; else 1.

    XSPEC appends to a Goodman-Weare chain only in whole, even sets of walkers.
    """
    even = [n for n in range(2, rows + 1, 2) if rows % n == 0]
    large = [n for n in even if n >= 2 * width]
    return large[0] if large else (even[-1] if even else 1)


def _check(names: list[str], units: list[str], samples: np.ndarray, statistic: np.ndarray, chain_type: str) -> None:
    rows, width = samples.shape
    if chain_type not in CHAIN_TYPES:
        raise ValueError(f"Chain type {chain_type!r} is unknown to XSPEC: use one of {', '.join(CHAIN_TYPES)}.")
    if not (len(names) == len(units) == width):
        raise ValueError(f"{len(names)} names and {len(units)} units do not fit samples with {width} columns.")
    if rows == 0 or statistic.size != rows:
        raise ValueError(
            f"{rows} rows of samples and {statistic.size} statistics: a chain needs as many of both, at least one."
        )
    bad = [name for name in names if not _NAME.match(name)]
    if bad:
        raise ValueError(f"{bad[0]!r} is not a chain name: XSPEC expects <parameter>__[<model>__]<index>, e.g. nH__1.")
    if len(set(names)) != width:
        raise ValueError(f"A parameter comes twice in {names}: XSPEC could not tell the columns apart.")
    if not (np.isfinite(samples).all() and np.isfinite(statistic).all()):
        raise ValueError(
            "The chain has values that are not finite: XSPEC would compute wrong errors from it. Leave these rows out."
        )
