"""QQ plot: cumulative counts, observed against expected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xspec_sixsa.products.plots.style import BLUE, STYLE, new_figure, save_figure

if TYPE_CHECKING:
    from xspec_sixsa.result import SpectrumPredictive

__all__ = ["plot_qq"]

REPLICAS = 500


def plot_qq(spectrum: SpectrumPredictive, path: str | os.PathLike[str]) -> Path:
    """Draw cumulative counts against the expected ones, and their difference against energy with simulated bands.

    Parameters
    ----------
    spectrum : SpectrumPredictive
        Its draws' mean is what is expected. The bands hold 68 and 95 % of spectra simulated from the draws, scaled to
        the expected sum.
    path : path
    """
    import matplotlib as mpl

    order = np.argsort(spectrum.energies.min(axis=1))
    energy = spectrum.energies[order].max(axis=1)
    data, total = spectrum.counts[order], np.maximum(spectrum.total[:, order], 1e-5)
    rng = np.random.default_rng(0)
    draws = total[rng.integers(len(total), size=REPLICAS)]
    fake = rng.normal(draws, spectrum.counts_error[order]) if spectrum.statistic == "chi" else rng.poisson(draws)
    expected = np.cumsum(total.mean(axis=0))
    # of the expected sum, which a fit sets and simulated spectra are free in
    fake = fake * (expected[-1] / np.maximum(fake.sum(axis=1, keepdims=True), 1.0))
    with mpl.rc_context(STYLE):
        figure = new_figure(8.6, 4.0)
        left, right = figure.subplots(1, 2)
        left.plot(expected, np.cumsum(data), color=BLUE, label=spectrum.name)
        left.plot(expected, expected, color="black", linewidth=0.8, linestyle="--")
        left.set(xlabel="cumulative counts expected", ylabel="cumulative counts observed")
        left.legend(fontsize=8)
        for low, high, shade in ((0.025, 0.975, "0.9"), (0.16, 0.84, "0.8")):
            band = np.quantile(np.cumsum(fake, axis=1) - expected, [low, high], axis=0)
            right.fill_between(energy, *band, color=shade, label=f"{100 * (high - low):.0f} % of simulated spectra")
        right.plot(energy, np.cumsum(data) - expected, color=BLUE)
        right.axhline(0, color="black", linewidth=0.8, linestyle="--")
        right.set(xscale="log", xlabel="energy (keV)", ylabel="observed $-$ expected below this energy")
        right.legend(fontsize=8)
        figure.tight_layout()
        return save_figure(figure, path)
