"""How the counts that a prior expects depend on each parameter, beside those that were observed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from xspec_sixsa.products.plots.style import BLUE, STYLE, new_figure, save_figure

__all__ = ["plot_reach"]

COLUMNS = 3
LOPSIDED = 0.6  # a median below this share of the mean asks for a logarithmic axis


def plot_reach(
    theta: ArrayLike, counts: ArrayLike, observed: float, labels: Sequence[str], path: str | os.PathLike[str]
) -> Path:
    """Draw expected counts against every parameter.

    Parameters
    ----------
    theta : array (n, d)
        Draws of the prior.
    counts : array (n,)
        Expected source counts, all spectra together.
    observed : float
        Observed ones, less the background.
    labels : sequence of str, length d
    path : path
        PNG, PDF or SVG by its suffix.
    """
    import matplotlib as mpl

    theta, counts = np.asarray(theta, dtype=float), np.maximum(np.asarray(counts, dtype=float), 1e-3)
    rows = math.ceil(len(labels) / COLUMNS)
    with mpl.rc_context(STYLE):
        figure = new_figure(9.5, 0.6 + 2.6 * rows)
        axes = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
        for axis, values, label in zip(axes, theta.T, labels, strict=False):
            axis.scatter(values, counts, s=6, color=BLUE, alpha=0.5, linewidth=0)
            axis.axhline(max(observed, 1e-3), color="black", linewidth=1.1)
            axis.set(yscale="log", xlabel=label)
            if values.min() > 0 and np.median(values) < LOPSIDED * values.mean():
                axis.set_xscale("log")
        for axis in axes[::COLUMNS]:
            axis.set_ylabel("source counts")
        for axis in axes[len(labels) :]:
            axis.set_visible(False)
        axes[0].set_title(f"line: {observed:.0f} observed", fontsize=10, loc="left")
        figure.tight_layout()
        return save_figure(figure, path)
