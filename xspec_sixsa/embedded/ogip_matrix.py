"""The compressed rows of an OGIP redistribution matrix, unpacked (CAL/GEN/92-002)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.embedded.ogip_table import needed_column, tlmin_of
from xspec_sixsa.embedded.state import XspecError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["on_finer_energies", "unpacked_matrix"]

log = logging.getLogger(__name__)

MOST_ELEMENTS = 200_000_000
"""Of a matrix on finer energies: 2.4 GB."""


def _padded(column: np.ndarray, rows: int) -> np.ndarray:
    """An integer column of scalars, vectors or variable-length arrays as (rows, widest)."""
    if column.dtype != object:
        return column.reshape(rows, -1).astype(np.int64)
    width = max((np.size(v) for v in column), default=0)
    table = np.zeros((rows, max(width, 1)), dtype=np.int64)
    for i, v in enumerate(column):
        table[i, : np.size(v)] = v
    return table


def unpacked_matrix(hdu: Any, path: Path, detchans: int) -> tuple[csr_array, int]:
    """Unpack the compressed rows: each group of a row is N_CHAN consecutive channels from F_CHAN on."""
    from scipy.sparse import csr_array

    first = tlmin_of(hdu, path, "F_CHAN")
    if first is None:
        log.debug("%s: no TLMIN for F_CHAN; 1 is assumed, as XSPEC does", path)
        first = 1
    n_grp = needed_column(hdu, path, "N_GRP").astype(np.int64).ravel()
    rows = n_grp.size
    f_chan, n_chan = (_padded(needed_column(hdu, path, key), rows) for key in ("F_CHAN", "N_CHAN"))
    raw = needed_column(hdu, path, "MATRIX")
    if n_grp.min(initial=0) < 0 or n_grp.max(initial=0) > min(f_chan.shape[1], n_chan.shape[1]):
        bad = int(np.flatnonzero((n_grp < 0) | (n_grp > f_chan.shape[1]))[0])
        raise XspecError(
            f"{path}: row {bad + 1} says N_GRP = {n_grp[bad]} but F_CHAN and N_CHAN hold {f_chan.shape[1]}; "
            "the matrix is corrupt. Make or download the response again."
        )
    used = np.arange(f_chan.shape[1]) < n_grp[:, None]
    starts, lengths = f_chan[used] - first, n_chan[:, : f_chan.shape[1]][used]
    row_of_group = np.repeat(np.arange(rows), n_grp)
    outside = (lengths < 0) | ((lengths > 0) & ((starts < 0) | (starts >= detchans)))
    if outside.any():
        i = int(np.flatnonzero(outside)[0])
        raise XspecError(
            f"{path}: row {row_of_group[i] + 1} has a group of {lengths[i]} channels from {starts[i] + first} on, "
            f"outside the channels {first}-{first + detchans - 1}; TLMIN of F_CHAN or the matrix is wrong. "
            "Make the response again."
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
    inside = channel < detchans
    if not inside.all():
        log.warning(
            "%s: %d matrix elements are past the last channel, %d; they are left out, as XSPEC does", path,
            int((~inside).sum()), first + detchans - 1,
        )  # fmt: skip
        channel, energy, elements = channel[inside], energy[inside], elements[inside]
    matrix = csr_array((elements, (channel, energy)), shape=(detchans, rows))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix, first


def on_finer_energies(matrix: csr_array, hdu: Any, finer: Any, path: Path) -> csr_array:
    """Give a further MATRIX extension's matrix the energies of the first, of which each of its own holds several.

    That is how XRISM's ``rslmkrmf splitrmf=yes splitcomb=yes`` keeps Resolve's electron-loss continuum: on energies 16
    times as wide as those of the line's core. Every fine bin gets the column of the wide bin around it, or nothing
    outside them all; a photon is redistributed the same, and the effective area is taken at its own energy.
    """
    from scipy.sparse import csr_array

    energies = [[needed_column(h, path, k).astype(float) for k in ("ENERG_LO", "ENERG_HI")] for h in (hdu, finer)]
    (low, high), (fine_low, fine_high) = energies
    if np.array_equal(low, fine_low) and np.array_equal(high, fine_high):
        return matrix
    edges, tolerance = np.append(low[:1], high), 0.01 * (fine_high - fine_low)  # edges in single precision differ
    of = np.searchsorted(edges, 0.5 * (fine_low + fine_high), side="right") - 1
    within = (of >= 0) & (of < low.size)
    of = np.where(within, of, 0)
    across = within & ((fine_low < low[of] - tolerance) | (fine_high > high[of] + tolerance))
    if (np.diff(edges) <= 0).any() or (low[1:] - high[:-1] > tolerance.min()).any() or across.any():
        raise XspecError(
            f"{path}: its MATRIX extensions have energy bins that do not lie within each other, so they cannot be "
            f"summed. Take one, {path.name}[1], or use XSPEC 12.11 or newer (HEASoft)."
        )
    matrix = matrix.tocsc()
    n = int(np.diff(matrix.indptr)[of[within]].sum())
    if n > MOST_ELEMENTS:
        raise XspecError(
            f"{path}: on the energies of its first MATRIX extension the others have {n:.2g} elements, more than the "
            f"{MOST_ELEMENTS:.0e} that fit into memory here. Make a smaller response (rslmkrmf whichrmf=L), or use "
            "XSPEC (HEASoft)."
        )
    return csr_array(matrix[:, of].multiply(within[None, :]))
