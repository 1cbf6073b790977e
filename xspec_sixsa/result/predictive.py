"""A spectrum beside posterior draws of its expected counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

__all__ = ["NO_ROWS", "SpectrumPredictive", "check_index", "pack", "unpack"]

INDEX = "index"
NO_ROWS = np.empty(0, dtype=np.int64)
NO_ROWS.flags.writeable = False


@dataclass(eq=False)
class SpectrumPredictive:
    """One spectrum beside k equal-weight posterior draws of its expected counts (what `predictive.png` shows).

    Attributes
    ----------
    name : str
        The spectrum's file name.
    energies : ndarray (n, 2)
        Edges of the noticed groups, keV.
    exposure : float
        Seconds.
    counts, counts_error : ndarray (n,)
        Observed source-region counts per group, and their error.
    background : ndarray (n,) or None
        Background counts scaled to the source region.
    background_ratio : ndarray (n,) or None
        ``background`` over the counts that the background file holds.
    total : ndarray (k, n)
        Expected counts, scaled background included.
    components : dict of str to ndarray (k, n)
        Expected counts of each additive component.
    statistic : str
        "cstat", "pstat", "pgstat" or "chi": what the residuals are measured with.
    """

    name: str
    energies: np.ndarray
    exposure: float
    counts: np.ndarray
    counts_error: np.ndarray
    background: np.ndarray | None
    total: np.ndarray
    components: dict[str, np.ndarray] = field(default_factory=dict)
    statistic: str = "cstat"
    background_ratio: np.ndarray | None = None


def pack(spectra: list[SpectrumPredictive], index: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of spectra and of their draws' rows, for one file; empty for no spectra."""
    arrays = {INDEX: np.asarray(index, dtype=np.int64)} if spectra and len(index) else {}
    for i, spectrum in enumerate(spectra):
        for key, value in asdict(spectrum).items():
            if key == "components":
                arrays[f"{i}.component_names"] = np.array(list(value), dtype=str)
                for j, curve in enumerate(value.values()):
                    arrays[f"{i}.component{j}"] = np.asarray(curve, dtype=np.float32)
            elif key == "total":
                # Six digits are enough for a picture, and k draws of every bin are the bulk of the file.
                arrays[f"{i}.total"] = np.asarray(value, dtype=np.float32)
            elif value is not None:
                arrays[f"{i}.{key}"] = np.asarray(value)
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> tuple[list[SpectrumPredictive], np.ndarray]:
    """The spectra, and the rows of their draws, that `pack` made the arrays of; rows empty in files without them."""
    spectra = []
    for i in range(1 + max((int(key.split(".")[0]) for key in arrays if key != INDEX), default=-1)):
        names = [str(name) for name in arrays[f"{i}.component_names"]]
        spectra.append(
            SpectrumPredictive(
                name=str(arrays[f"{i}.name"]),
                energies=arrays[f"{i}.energies"],
                exposure=float(arrays[f"{i}.exposure"]),
                counts=arrays[f"{i}.counts"],
                counts_error=arrays[f"{i}.counts_error"],
                background=arrays.get(f"{i}.background"),
                total=arrays[f"{i}.total"],
                components={name: arrays[f"{i}.component{j}"] for j, name in enumerate(names)},
                statistic=str(arrays[f"{i}.statistic"]),
                background_ratio=arrays.get(f"{i}.background_ratio"),
            )
        )
    return spectra, arrays.get(INDEX, NO_ROWS)


def check_index(index: np.ndarray, spectra: list[SpectrumPredictive], rows: int) -> np.ndarray:
    """`index` as (k,) of int, if it can be the rows of the spectra's k draws among so many.

    Raises
    ------
    ValueError
        If it is not whole numbers, points at no draw, or is of another length than a spectrum's `total`.
    """
    index = np.asarray(index)
    if index.size == 0:
        return NO_ROWS
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(
            f"predictive_index is of shape {index.shape} and type {index.dtype}; it must be whole numbers (k,): the "
            "rows of samples that predictive_data was made from."
        )
    if index.min() < 0 or index.max() >= rows:
        raise ValueError(
            f"predictive_index has rows {index.min()} to {index.max()}; there are {rows} draws, counted from 0."
        )
    for spectrum in spectra:
        if len(spectrum.total) != index.size:
            raise ValueError(
                f"predictive_index has {index.size} rows, but {spectrum.name} has {len(spectrum.total)} draws of its "
                "expected counts: both must be of the same draws. Leave predictive_index empty where they are unknown."
            )
    return index.astype(np.int64)
