"""Parameters of many spectra over their number or time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.products.plots.style import BLUE, STYLE, VERMILION, axis_label, new_figure, save_figure

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["plot_overview", "position"]

WIDE = 30.0  # ratio of the largest to the smallest value that asks for a logarithmic axis


def position(table: Table) -> tuple[NDArray[np.float64], str]:
    """Where the spectra of a catalogue stand, and what that is: their times where all have one, else their numbers."""
    times = np.asarray(table["time"], dtype=float)
    return (times, "time") if np.isfinite(times).all() else (np.arange(1.0, len(table) + 1), "spectrum")


def plot_overview(
    table: Table, names: Sequence[str], labels: Sequence[str], units: Sequence[str], path: str | os.PathLike[str]
) -> Path:
    """Draw medians and 68 % intervals of every parameter, and the counts, over number or time.

    Parameters
    ----------
    table : astropy.table.Table
        A survey's catalogue. Failed spectra are left out, unreliable ones have another colour and an open symbol.
    names, labels, units : sequence of str
        Of the parameters: chain names, what XSPEC shows, XSPEC's units.
    path : path
        PNG, PDF or SVG by its suffix.
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    x, along = position(table)
    good = np.asarray(table["status"]) == "reliable"
    poor = np.asarray(table["status"]) == "unreliable"
    with mpl.rc_context(STYLE):
        figure = new_figure(9.0, 0.8 + 1.6 * (len(names) + 1))
        axes = figure.subplots(len(names) + 1, 1, sharex=True, squeeze=False)[:, 0]
        for axis, name, label, unit in zip(axes, names, labels, units, strict=False):
            middle, low, high = (np.asarray(table[f"{name}_{kind}"], float) for kind in ("median", "low68", "high68"))
            for those, colour, fill in ((good, BLUE, BLUE), (poor, VERMILION, "white")):
                error = [middle[those] - low[those], high[those] - middle[those]]
                axis.errorbar(
                    x[those], middle[those], error, fmt="o", markersize=3.5, color=colour, markerfacecolor=fill,
                    linewidth=1,
                )  # fmt: skip
            _scale(axis, np.concatenate([low, high])[np.tile(good | poor, 2)])
            axis.set_ylabel(axis_label(label, unit, 0))
        counts = np.asarray(table["counts"], float)
        axes[-1].plot(x, counts, "s", markersize=3, color="0.4")
        axes[-1].set(ylabel="counts", xlabel=along)
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=along != "time"))
        _scale(axes[-1], counts[np.isfinite(counts)])
        figure.align_ylabels()
        figure.tight_layout()
        return save_figure(figure, path)


def _scale(axis: object, values: NDArray[np.float64]) -> None:
    if len(values) and values.min() > 0 and values.max() > WIDE * values.min():
        axis.set_yscale("log")  # type: ignore[attr-defined]
