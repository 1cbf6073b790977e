"""One table of all spectra of a survey: medians and intervals, evidence, rates, verdict and flags."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.common.files import atomic_path

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FAILED", "failed_row", "make_table", "row_of", "write_table"]

FAILED = "failed"
"""The status of a spectrum that has no posterior."""

Row = dict[str, Any]


def row_of(name: str, file: str, time: float, found: Mapping[str, Any]) -> Row:
    """A spectrum's row, of what `Result.as_dict` gives, its counts and bins, and why a guide did not serve it."""
    spectrum = found["fingerprint"]["spectra"][0]
    row: Row = {
        "name": name, "file": file, "time": time, "status": found["status"],
        "exposure": spectrum["exposure"], "counts": found["counts"], "bins": found["bins"],
        "statistic": found["best_statistic"], "log_z": found["log_z"], "log_z_err": found["log_z_err"],
        "ess": found["ess"], "k_hat": found["k_hat"], "evaluations": found["evaluations_total"],
        "emulator_error": found["emulator"].get("error", np.nan),
    }  # fmt: skip
    for parameter, entry in found["parameters"].items():
        row |= {f"{parameter}_best": entry["best_fit"], f"{parameter}_median": entry.get("median", np.nan)}
        for level in ("68", "90"):
            low, high = entry.get(f"interval_{level}", (np.nan, np.nan))
            row |= {f"{parameter}_low{level}": low, f"{parameter}_high{level}": high}
    flags = [f"{edge['name']} at its prior's {edge['side']} limit" for edge in found["prior_edges"]]
    if found["emulator"] and not found["emulator"]["inside"]:
        flags.append("not like a simulated spectrum")
    if found["unguided"]:
        flags.append(f"explored without the guide: {found['unguided']}")
    return row | {"flags": "; ".join(flags), "reasons": "; ".join(found["reasons"])}


def failed_row(name: str, file: str, time: float, reason: str) -> Row:
    """The row of a spectrum that has no posterior, and why."""
    return {"name": name, "file": file, "time": time, "status": FAILED, "reasons": " ".join(reason.split())}


def make_table(rows: Sequence[Row], units: Mapping[str, str]) -> Table:
    """An astropy table of rows; numbers that a failed spectrum does not have are NaN.

    Parameters
    ----------
    rows : sequence of dict
    units : mapping of str to str
        XSPEC's units by parameter, as far as they are FITS units.
    """
    from astropy.table import Table

    columns = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    texts = {key for row in rows for key, value in row.items() if isinstance(value, str)}
    table = Table(
        {
            key: [str(row.get(key, "")) if key in texts else float(row.get(key, np.nan)) for row in rows]
            for key in columns
        }
    )
    for parameter, unit in units.items():
        for key in columns:
            if key.rsplit("_", 1)[0] == parameter and unit:
                table[key].unit = unit
    return table


def write_table(table: Table, folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``catalogue.fits`` and ``catalogue.csv``, each as a whole."""
    made = []
    for name, form in (("catalogue.fits", "fits"), ("catalogue.csv", "ascii.csv")):
        path = Path(folder) / name
        with atomic_path(path) as temporary:
            table.write(temporary, format=form, overwrite=True)
        made.append(path)
    return made
