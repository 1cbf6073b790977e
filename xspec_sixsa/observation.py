"""What was observed: counts, exposure, background and statistic of every spectrum, in plain numpy arrays.

Everything above the session layer (noise, compressors, predictive checks) works from these numbers and never touches
XSPEC.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

__all__ = ["STATISTICS", "Observation", "SpectrumData"]

STATISTICS = ("cstat", "pstat", "pgstat", "chi")
"""Fit statistics the session layer understands, by XSPEC's names."""


@dataclass(frozen=True)
class SpectrumData:
    """One spectrum, restricted to its noticed groups.

    Attributes
    ----------
    name : str
        File name as XSPEC shows it.
    index : int
        XSPEC's spectrum number, from 1.
    counts : array (n,)
        Raw source counts per noticed group: the background is not subtracted, for any statistic.
    exposure : float
        Seconds.
    background : array (n,) or None
        Raw background counts per noticed group; None without a background.
    background_ratio : array (n,) or None
        Multiplies `background` to give the background counts expected in `counts`
        (exposure x BACKSCAL x AREASCAL of the source over those of the background).
    sigma : array (n,) or None
        Only for ``"chi"``: standard deviation, in counts, of source minus scaled background, as XSPEC weights it.
    statistic : {"cstat", "pstat", "pgstat", "chi"}
        ``"cstat"`` with a background is the W-statistic.
    energies : array (n, 2)
        Nominal energy bounds of each group, keV.

    Raises
    ------
    ValueError
        When the arrays do not fit together, or are not finite.
    """

    name: str
    index: int
    counts: np.ndarray
    exposure: float
    background: np.ndarray | None
    background_ratio: np.ndarray | None
    sigma: np.ndarray | None
    statistic: str
    energies: np.ndarray

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise ValueError(
                f"{self.name}: fit statistic {self.statistic!r} is not supported; set Fit.statMethod to one of "
                f"{', '.join(STATISTICS)}."
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("counts", "background", "background_ratio", "sigma", "energies") and value is not None:
                value = np.array(value, dtype=np.float64)
                value.flags.writeable = False
                object.__setattr__(self, field.name, value)
                expected = (self.n_bins, 2) if field.name == "energies" else (self.n_bins,)
                if value.shape != expected:
                    raise ValueError(f"{self.name}: {field.name} has shape {value.shape}, not {expected}.")
                if not np.isfinite(value).all():
                    raise ValueError(
                        f"{self.name}: {field.name} is not finite in {int((~np.isfinite(value)).sum())} places, so no "
                        "likelihood can be computed: ignore those channels, or repair the file."
                    )
        if (self.background is None) != (self.background_ratio is None):
            raise ValueError(f"{self.name}: background and background_ratio must be given together.")
        if (self.sigma is not None) != (self.statistic == "chi"):
            raise ValueError(f'{self.name}: sigma belongs to the statistic "chi" and to no other.')

    @property
    def n_bins(self) -> int:
        """Number of noticed groups."""
        return len(self.counts)

    @property
    def expected_background(self) -> np.ndarray:
        """Background counts expected in `counts`, (n,); zero without a background."""
        if self.background is None or self.background_ratio is None:
            return np.zeros(self.n_bins)
        return self.background * self.background_ratio


@dataclass(frozen=True)
class Observation:
    """All loaded spectra, in XSPEC's order.

    Attributes
    ----------
    spectra : tuple of SpectrumData
    """

    spectra: tuple[SpectrumData, ...]

    @property
    def counts(self) -> np.ndarray:
        """Raw source counts of all spectra, concatenated, (n_bins,)."""
        return np.concatenate([spectrum.counts for spectrum in self.spectra]) if self.spectra else np.zeros(0)

    @property
    def n_bins(self) -> int:
        """Number of noticed groups in all spectra."""
        return sum(spectrum.n_bins for spectrum in self.spectra)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each spectrum lies in concatenated arrays."""
        edges = np.concatenate([[0], np.cumsum([spectrum.n_bins for spectrum in self.spectra])]).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True))

    def summary(self) -> list[dict[str, Any]]:
        """Return, for each spectrum, name, groups, counts, exposure and statistic (JSON-able)."""
        return [
            {
                "name": spectrum.name,
                "bins": spectrum.n_bins,
                "counts": float(spectrum.counts.sum()),
                "exposure": spectrum.exposure,
                "statistic": spectrum.statistic,
            }
            for spectrum in self.spectra
        ]
