"""One- and two-dimensional posteriors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from xspec_sixsa.products.plots.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILION,
    axis_label,
    mark_verdict,
    new_figure,
    powers_of_ten,
    save_figure,
)
from xspec_sixsa.result import weighted_quantile
from xspec_sixsa.result.summary import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xspec_sixsa.result import Result

__all__ = ["corner_plot"]

LEARNED = "latent basis functions, unweighted"


def corner_plot(
    result: Result,
    path: str | os.PathLike[str],
    *,
    truth: Mapping[str, float] | None = None,
    overlays: Mapping[str, tuple[np.ndarray, np.ndarray | None]] | None = None,
) -> Path:
    """Draw one- and two-dimensional posteriors with 68 and 95 % contours.

    Where a run trained latent basis functions (``estimator="lbf"``), the marginals have these beside the weighted ones.

    Parameters
    ----------
    result : Result
    path : path
        PNG, PDF or SVG by its suffix.
    truth : dict of name to value, optional
        Values to mark besides the best fit, e.g. those a spectrum was faked from.
    overlays : dict of label to (samples (m, d), weights (m,) or None), optional
        Other posteriors of the same parameters in the same order, e.g. from BXA.
    """
    import corner
    import matplotlib as mpl
    from matplotlib.lines import Line2D

    keep, weights = result.weights > 0, result.weights[result.weights > 0]
    if keep.sum() < 2:
        raise ValueError(f"{keep.sum()} draws with weight are too few for a corner plot.")
    width = len(result.names)
    unit, power = powers_of_ten(result)
    sets = [("xspec_sixsa", result.samples[keep] / unit, weights)]
    for label, (samples, other) in (overlays or {}).items():
        samples = np.asarray(samples, dtype=float)
        if samples.ndim != 2 or samples.shape[1] != width:
            raise ValueError(f"Overlay {label!r} has shape {samples.shape}; the result has {width} parameters.")
        sets.append((label, samples / unit, np.ones(len(samples)) if other is None else np.asarray(other, dtype=float)))

    marks: list[tuple[str, np.ndarray, str, Literal["-", "--"]]] = []
    marks.append(("best fit", result.best_fit / unit, VERMILION, "-"))
    if truth is not None:
        marks.append(("truth", np.array([truth.get(name, np.nan) for name in result.names]) / unit, "black", "--"))
    learned = result.network_data.get("marginals_draws")
    limits = _limits(sets, [values for _, values, _, _ in marks])
    labels = [axis_label(*parts) for parts in zip(result.labels, result.units, power, strict=True)]

    with mpl.rc_context(STYLE):
        figure = new_figure(max(2.0 * width + 1.2, 4.5), max(2.0 * width + 1.2, 4.5))
        colours = (BLUE, ORANGE, GREEN, PURPLE)
        for i, (_, samples, w) in enumerate(sets):
            # Smoothing only where there are many draws: it would hide how few they are.
            ess = w.sum() ** 2 / (w**2).sum()
            corner.corner(
                samples,
                weights=w / w.sum(),
                fig=figure,
                labels=labels,
                range=limits,
                bins=30 if ess > 300 else 15,
                smooth=1.0 if ess > 300 else None,
                levels=(0.68, 0.95),
                color=colours[i % len(colours)],
                plot_datapoints=False,
                fill_contours=i == 0,
                plot_density=False,
                no_fill_contours=i > 0,
                quiet=True,
                hist_kwargs={"density": True, "linewidth": 1.4},
                label_kwargs={"fontsize": 10},
                max_n_ticks=4,
            )
        grid = np.array(figure.axes[: width * width]).reshape(width, width)
        for _, values, colour, line in marks:
            _mark(grid, values, colour, line)
        if learned is not None:
            for i in range(width):
                _marginal(grid[i, i], learned[:, i] / unit[i], limits[i])
        for i in range(width):
            inside = [h.get_ydata() if hasattr(h, "get_ydata") else h.get_xy()[:, 1] for h in grid[i, i].patches]
            top = max((float(np.max(y)) for y in inside if len(y)), default=1.0)
            grid[i, i].set_ylim(0, 1.15 * top)
            low, mid, high = weighted_quantile(sets[0][1][:, i], [0.16, 0.5, 0.84], weights)
            grid[i, i].set_title(_value_with_errors(low, mid, high), fontsize=10)
        handles = [Line2D([], [], color=colours[i % 4], label=sets[i][0]) for i in range(len(sets))]
        handles += [Line2D([], [], color=PURPLE, linestyle=":", label=LEARNED)] if learned is not None else []
        handles += [Line2D([], [], color=colour, linestyle=line, label=name) for name, _, colour, line in marks]
        # Upper right: the corner that a corner plot leaves empty; below the first title where there is one panel only.
        figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.98, 0.98), fontsize=11)
        if not result.reliable:
            figure.subplots_adjust(top=figure.subplotpars.top - 0.3 / figure.get_figheight())  # room for the verdict
        mark_verdict(figure, result)
        return save_figure(figure, path)


def _mark(grid: np.ndarray, values: np.ndarray, colour: str, line: str) -> None:
    for i in range(len(values)):
        for j in range(i + 1):
            axis = grid[i, j]
            if np.isfinite(values[j]):
                axis.axvline(values[j], color=colour, linestyle=line, linewidth=0.9)
            if i != j and np.isfinite(values[i]):
                axis.axhline(values[i], color=colour, linestyle=line, linewidth=0.9)


def _marginal(axis: Axes, values: np.ndarray, limits: tuple[float, float]) -> None:
    """A network's marginal, in the panel's range: what lies beyond is not shown, but counts."""
    height, edges = np.histogram(values, bins=60, range=limits)
    density = np.append(height, 0) / (len(values) * (edges[1] - edges[0]))
    axis.step(edges, density, where="post", color=PURPLE, linestyle=":", linewidth=1.2)


def _limits(sets: list[tuple[str, np.ndarray, np.ndarray]], marks: list[np.ndarray]) -> list[tuple[float, float]]:
    """Common axis ranges: 99.8 % of every posterior and the marks, a little wider, never empty."""
    limits = []
    for i in range(sets[0][1].shape[1]):
        ends = np.concatenate([weighted_quantile(samples[:, i], [0.001, 0.999], w) for _, samples, w in sets])
        low, high = ends.min(), ends.max()
        width = high - low
        for values in marks:
            # A mark far away (a failed run) must not squeeze the posterior into one bin.
            if np.isfinite(values[i]) and low - 2 * width <= values[i] <= high + 2 * width:
                low, high = min(low, values[i]), max(high, values[i])
        pad = 0.06 * (high - low) if high > low else max(abs(low), 1e-30) * 0.01
        limits.append((float(low - pad), float(high + pad)))
    return limits


def _value_with_errors(low: float, mid: float, high: float) -> str:
    scale = (high - low) / 2
    text = format_value(mid, scale)
    return rf"${text}^{{+{format_value(high - mid, scale)}}}_{{-{format_value(mid - low, scale)}}}$"
