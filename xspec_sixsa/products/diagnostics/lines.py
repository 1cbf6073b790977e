"""Residual lines: a matched filter as wide as the response, its significance corrected for trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.fitstatistic import FLOOR
from xspec_sixsa.embedded.ogip import RMF
from xspec_sixsa.products.diagnostics.pvalues import SUSPECT, share_worse

__all__ = ["LineHint", "find_line", "response_fwhm"]

Vector = NDArray[np.float64]

FWHM = 2 * np.sqrt(2 * np.log(2))
REACH = 3.0  # standard deviations to which a line's kernel reaches
WIDTHS = (1.0, 2.0, 4.0)  # FWHM tried, in bins, where the response cannot be read


@dataclass(frozen=True)
class LineHint:
    """The largest narrow residual of a spectrum.

    Attributes
    ----------
    energy, fwhm : float
        keV.
    counts, counts_err : float
        Above the model (negative: missing), of a line of that width, and the error.
    local : float
        ``counts / counts_err``, in sigma.
    p_value : float
        Chance of a residual as large anywhere in the spectrum, at any width tried.
    """

    energy: float
    fwhm: float
    counts: float
    counts_err: float
    local: float
    p_value: float

    def __str__(self) -> str:
        kind = "excess" if self.counts > 0 else "deficit"
        lead = f"{kind} of {abs(self.counts):.3g} +- {self.counts_err:.2g} counts at {self.energy:.3g} keV"
        numbers = f"{abs(self.local):.1f} sigma there, p = {self.p_value:.2g} with all energies tried"
        if self.p_value >= SUSPECT:
            return f"no line: the largest residual is an {lead} ({numbers})".replace("an deficit", "a deficit")
        what = "an emission line may be missing: add a gaussian there" if self.counts > 0 else (
            "an absorption line or edge may be missing, or the gain be off: add one there"
        )  # fmt: skip
        return f"{lead} ({numbers}): {what}, and compare with `sixsa rank`"


def find_line(
    energies: NDArray[np.float64],
    data: Vector,
    model: Vector,
    variance: Vector,
    simulated: NDArray[np.float64],
    fwhm: Callable[[Vector], Vector] | None = None,
) -> LineHint:
    """Matched filter of the residuals with lines as wide as the response, centred on every bin.

    Parameters
    ----------
    energies : ndarray (n, 2)
        Edges of the bins, keV.
    data, model, variance : ndarray (n,)
        Counts, expected counts, and the variance of the data under the model.
    simulated : ndarray (k, n)
        Spectra of the model, whose largest residuals give the p-value. They are not fitted, the data are: it errs on
        the cautious side.
    fwhm : callable, optional
        Energies to full widths, keV; default: 1, 2 and 4 bins.
    """
    low, high = energies.min(axis=1), energies.max(axis=1)
    centre = 0.5 * (low + high)
    widths = [fwhm(centre)] if fwhm is not None else [factor * (high - low) for factor in WIDTHS]
    variance = np.maximum(variance, FLOOR)
    best: tuple[float, int, int, Vector] | None = None
    largest = np.zeros(len(simulated))
    for k, width in enumerate(widths):
        kernels = _kernels(low, high, centre, width)
        norm = np.sqrt((kernels**2 / variance).sum(axis=1))
        filters = (kernels / variance) / norm[:, None]
        significance = filters @ (data - model)
        where = int(np.argmax(np.abs(significance)))
        if best is None or abs(significance[where]) > abs(best[0]):
            best = float(significance[where]), where, k, norm
        largest = np.maximum(largest, np.abs((simulated - model) @ filters.T).max(axis=1))
    if best is None:
        raise ValueError("A spectrum without bins has no line to look for.")
    local, where, k, norm = best
    error = float(1 / norm[where])
    return LineHint(
        float(centre[where]), float(widths[k][where]), local * error, error, local, share_worse(largest >= abs(local))
    )


def _kernels(low: Vector, high: Vector, centre: Vector, width: Vector) -> NDArray[np.float64]:
    """Share of a line at each bin's centre that falls into every bin, (lines, bins)."""
    from scipy.special import ndtr

    sigma = np.maximum(width, 1e-12)[:, None] / FWHM
    reach = np.clip((np.stack([low, high])[:, None, :] - centre[:, None]) / sigma, -REACH, REACH)
    return ndtr(reach[1]) - ndtr(reach[0])


def response_fwhm(rmf: RMF) -> Callable[[Vector], Vector]:
    """Full width at half maximum of a redistribution matrix, keV, as a function of energy.

    Parameters
    ----------
    rmf : RMF
        As `embedded.ogip.read_rmf` gives it.
    """
    matrix = rmf.matrix.tocsc()
    low, high = np.asarray(rmf.e_min, dtype=float), np.asarray(rmf.e_max, dtype=float)
    energy = 0.5 * (np.asarray(rmf.energy_lo, dtype=float) + np.asarray(rmf.energy_hi, dtype=float))
    chosen = np.unique(np.linspace(0, matrix.shape[1] - 1, 300).astype(int))
    widths = []
    for k in chosen:
        column = matrix[:, [k]].toarray()[:, 0] / np.maximum(high - low, 1e-12)
        above = column > 0.5 * column.max() if column.max() > 0 else np.zeros(len(column), bool)
        widths.append((high - low)[above].sum())
    known = np.array(widths) > 0
    return lambda e: np.interp(e, energy[chosen][known], np.array(widths)[known])
