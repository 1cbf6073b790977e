"""Calibration: ranks of the truth, and expected coverage, which are uniform where posteriors can be believed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.products.plots.style import BLUE, ORANGE, STYLE, VERMILION, mathtext, new_figure, save_figure

__all__ = ["plot_ranks", "plot_tarp"]

COLOURS = {"weighted": BLUE, "proposal": ORANGE, "network": VERMILION}
LINES = {"weighted": "-", "proposal": "--", "network": ":"}
TITLES = {
    "weighted": "after weighting",
    "proposal": "before weighting: the proposal's draws",
    "network": "before weighting: one network for all",
}


def plot_ranks(ranks: Mapping[str, NDArray[np.float64]], labels: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Draw histograms of every parameter's ranks, with the band that holds 99 % of a uniform one's bins.

    Parameters
    ----------
    ranks : mapping of str to ndarray (n, d)
        By kind: "weighted", "proposal", "network".
    labels : sequence of str, length d
    path : path
    """
    import matplotlib as mpl
    from scipy import stats

    n, d = next(iter(ranks.values())).shape
    bins = int(np.clip(n // 10, 4, 20))
    edges = np.linspace(0, 1, bins + 1)
    low, high = stats.binom.ppf([0.005, 0.995], n, 1 / bins)
    columns = min(d, 3)
    rows = -(-d // columns)
    with mpl.rc_context(STYLE):
        figure = new_figure(3.2 * columns, 2.5 * rows + 0.6)
        grid = np.atleast_1d(figure.subplots(rows, columns, sharex=True)).ravel()
        for k, axis in enumerate(grid):
            if k >= d:
                axis.set_visible(False)
                continue
            axis.axhspan(low, high, color="0.88")
            for kind, values in ranks.items():
                counts = np.histogram(values[:, k], edges)[0]
                if kind == "weighted":
                    axis.stairs(counts, edges, fill=True, color=BLUE, alpha=0.45, label=TITLES[kind])
                else:
                    axis.stairs(
                        counts, edges, color=COLOURS[kind], linestyle=LINES[kind], linewidth=1.3, label=TITLES[kind]
                    )
            axis.set_title(mathtext(labels[k]), fontsize=10)
            axis.set(xlim=(0, 1), xlabel="rank of the truth", ylabel="spectra")
        handles = grid[0].get_legend_handles_labels()
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / figure.get_figheight()))
        figure.legend(*handles, loc="upper center", ncols=3 if d > 2 else 1, fontsize=8)
        return save_figure(figure, path)


def plot_tarp(coverage: Mapping[str, NDArray[np.float64]], path: str | os.PathLike[str]) -> Path:
    """Draw expected coverage against credibility (TARP), with the 99 % Kolmogorov-Smirnov band about the diagonal.

    Parameters
    ----------
    coverage : mapping of str to ndarray (n,)
    path : path
    """
    import matplotlib as mpl
    from scipy import stats

    n = len(next(iter(coverage.values())))
    width = stats.kstwo.ppf(0.99, n)
    x = np.linspace(0, 1, 201)
    with mpl.rc_context(STYLE):
        figure = new_figure(4.4, 4.2)
        axis = figure.add_subplot()
        axis.fill_between(x, np.clip(x - width, 0, 1), np.clip(x + width, 0, 1), color="0.88", label="99 % of uniform")
        axis.plot(x, x, color="black", linewidth=0.8)
        for kind, values in coverage.items():
            expected = np.searchsorted(np.sort(values), x, side="right") / n
            axis.plot(x, expected, color=COLOURS[kind], linestyle=LINES[kind], label=TITLES[kind])
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="credibility", ylabel="expected coverage")
        axis.legend(fontsize=8, loc="upper left")
        figure.tight_layout()
        return save_figure(figure, path)
