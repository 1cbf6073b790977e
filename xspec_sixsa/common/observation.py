"""What was observed, as the fit statistic sees it: counts, backgrounds, errors of all noticed groups (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "Observation", "SpectrumData"]

STATISTICS = ("cstat", "pstat", "pgstat", "chi")

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpectrumData:
    """One spectrum's noticed groups, n of them.

    Attributes
    ----------
    name : str
        File name of the spectrum.
    index : int
        XSPEC's spectrum number, from 1.
    counts : ndarray (n,)
        Observed counts in the source region, background included (rate times `exposure` and `area_scale` for files
        that give rates).
    exposure : float
        Seconds.
    energies : ndarray (n, 2)
        Edges of the groups, keV.
    statistic : {"cstat", "pstat", "pgstat", "chi"}
        The fit statistic that XSPEC uses for this spectrum.
    background : ndarray (n,) or None
        Background counts as recorded in the background region (a correction file, times its cornorm, is part of it).
    background_ratio : ndarray (n,) or None
        Source over background exposure x BACKSCAL x AREASCAL: ``background_ratio * background`` is the background
        expected in `counts`.
    background_sigma : ndarray (n,) or None
        Error of `background`, counts, as the pgstat of the XSPEC in use takes it.
    sigma : ndarray (n,) or None
        Error of ``counts - background_ratio * background``, counts; for "chi" only. Under model weighting it is the
        error at the data, while XSPEC's follows the model.
    area_scale : ndarray (n,)
        AREASCAL, or 1 where XSPEC's folded model has it in already: expected counts are
        ``folded * exposure * area_scale``.
    weight : str
        Weighting of chi-squared ("standard", "gehrels", "churazov", "model").
    systematic : float
        Fractional systematic error of the model (XSPEC's `systematic`); enters chi only.
    is_poisson : bool
        Whether XSPEC takes the file's errors for Poisson ones.
    data_group : int
    warnings : tuple of str
        What makes the statistic doubtful for these data.
    """

    name: str
    index: int
    counts: Vector
    exposure: float
    energies: NDArray[np.float64]
    statistic: str
    background: Vector | None = None
    background_ratio: Vector | None = None
    background_sigma: Vector | None = None
    sigma: Vector | None = None
    area_scale: Vector | float = 1.0
    weight: str = "standard"
    systematic: float = 0.0
    is_poisson: bool = True
    data_group: int = 1
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.counts)
        if self.statistic not in STATISTICS:
            raise ValueError(
                f"Spectrum {self.index} ({self.name}) is fitted with the statistic {self.statistic!r}, for which there "
                f'is no noise model. Choose one of {", ".join(STATISTICS)}, as with Fit.statMethod = "cstat".'
            )
        if self.statistic == "chi" and self.sigma is None:
            raise ValueError(f"Spectrum {self.index} ({self.name}) is fitted with chi: its errors `sigma` are needed.")
        if (self.background is None) != (self.background_ratio is None):
            raise ValueError(f"Spectrum {self.index}: `background` and `background_ratio` come together.")
        for name in ("counts", "energies", "background", "background_ratio", "background_sigma", "sigma"):
            if getattr(self, name) is None:
                continue
            value = np.array(getattr(self, name), dtype=float)
            value.flags.writeable = False
            object.__setattr__(self, name, value)
            if len(value) != n:
                raise ValueError(f"Spectrum {self.index}: `{name}` has {len(value)} entries for {n} groups of counts.")
            if not np.isfinite(value).all():
                raise ValueError(
                    f"Spectrum {self.index} ({self.name}): {name} is not finite in {int((~np.isfinite(value)).sum())} "
                    "places, so no likelihood can be computed. Ignore those channels, or repair the file."
                )

    @property
    def n_bins(self) -> int:
        """Noticed groups."""
        return len(self.counts)

    @property
    def expected_background(self) -> Vector:
        """Background expected in `counts`; zeros without a background file."""
        if self.background is None or self.background_ratio is None:  # they come together
            return np.zeros(self.n_bins)
        return self.background_ratio * self.background

    @property
    def area_time(self) -> Vector:
        """Seconds times AREASCAL: what turns a folded rate into counts."""
        return self.exposure * np.broadcast_to(np.asarray(self.area_scale, dtype=float), (self.n_bins,))

    def grouped(self, starts: NDArray[np.int_]) -> SpectrumData:
        """The same counts in groups of its own groups, which begin at `starts` (n,), the first at 0."""

        def summed(x: Vector) -> Vector:
            return np.add.reduceat(x, starts)

        widths = np.diff(starts, append=self.n_bins)
        background, ratio, background_sigma = self.background, self.background_ratio, self.background_sigma
        if background is not None and ratio is not None:  # they come together
            total = summed(background)
            weighed = summed(ratio * background) / np.where(total > 0, total, 1)
            background, ratio = total, np.where(total > 0, weighed, summed(ratio) / widths)
        return replace(
            self,
            counts=summed(self.counts),
            energies=np.stack([self.energies[starts, 0], self.energies[starts + widths - 1, 1]], axis=1),
            background=background,
            background_ratio=ratio,
            background_sigma=None if background_sigma is None else np.sqrt(summed(background_sigma**2)),
            sigma=None if self.sigma is None else np.sqrt(summed(self.sigma**2)),
            area_scale=summed(self.area_time) / widths / self.exposure,
        )


@dataclass(frozen=True, eq=False)
class Observation:
    """All spectra of a session, in XSPEC's order.

    Attributes
    ----------
    spectra : tuple of SpectrumData
    """

    spectra: tuple[SpectrumData, ...]

    @property
    def counts(self) -> Vector:
        """Source-region counts of all spectra, one after the other, shape (n_bins,)."""
        return np.concatenate([s.counts for s in self.spectra]) if self.spectra else np.empty(0)

    @property
    def n_bins(self) -> int:
        """Noticed groups of all spectra."""
        return sum(s.n_bins for s in self.spectra)

    @property
    def warnings(self) -> list[str]:
        """What makes the statistic of any spectrum doubtful, in words."""
        return [warning for s in self.spectra for warning in s.warnings]

    @property
    def slices(self) -> list[slice]:
        """Where each spectrum lies in the concatenated arrays."""
        ends = np.cumsum([s.n_bins for s in self.spectra]).tolist()
        return [slice(end - s.n_bins, end) for end, s in zip(ends, self.spectra, strict=True)]

    def grouped(self, starts: NDArray[np.int_]) -> Observation:
        """The same with groups taken together that begin at `starts`, counted through all spectra."""
        own = [starts[(starts >= where.start) & (starts < where.stop)] - where.start for where in self.slices]
        return Observation(tuple(s.grouped(begin) for s, begin in zip(self.spectra, own, strict=True)))

    def summary(self) -> list[dict[str, str | int | float]]:
        """Name, groups, counts, exposure and statistic of each spectrum, as plain numbers and texts."""
        return [
            {"name": s.name, "bins": s.n_bins, "counts": float(s.counts.sum()), "exposure": s.exposure,
             "statistic": s.statistic}
            for s in self.spectra
        ]  # fmt: skip

    @property
    def area_time(self) -> Vector:
        """Seconds times AREASCAL of every bin, shape (n_bins,)."""
        return np.concatenate([s.area_time for s in self.spectra]) if self.spectra else np.empty(0)
