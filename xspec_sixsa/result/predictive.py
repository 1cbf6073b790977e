"""A spectrum beside posterior draws of its expected counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

__all__ = ["SpectrumPredictive", "pack", "unpack"]


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


def pack(spectra: list[SpectrumPredictive]) -> dict[str, np.ndarray]:
    """Arrays of spectra, for one file; empty for none."""
    arrays = {}
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


def unpack(arrays: Mapping[str, np.ndarray]) -> list[SpectrumPredictive]:
    """The spectra that `pack` made the arrays of."""
    spectra = []
    for i in range(1 + max((int(key.split(".")[0]) for key in arrays), default=-1)):
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
    return spectra
