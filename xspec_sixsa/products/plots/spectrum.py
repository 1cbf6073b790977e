"""Observed spectra beside the posterior's models."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.products.plots.style import (
    BLUE,
    COMPONENT_LINES,
    COMPONENTS,
    ONE_SIGMA,
    STYLE,
    TWO_SIGMA,
    mark_verdict,
    mathtext,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xspec_sixsa.result import Result, SpectrumPredictive

__all__ = ["draw_predictions", "predictions_plot", "predictive_plot", "readable_energies", "residuals", "steps"]

log = logging.getLogger(__name__)

MAX_SPECTRA = 12
DEPTH = 1e-5


def predictive_plot(result: Result, path: str | os.PathLike[str]) -> Path:
    """Draw each spectrum with the 68 and 95 % bands of the posterior's model, in total and by component, and residuals.

    The residual of a Poisson bin is its signed root deviance against the median model, ``sign(S - m) sqrt(2 (m - S + S
    ln(S/m)))``, which is close to a standard normal from a few counts on; that of a Gaussian bin is ``(S - m)/sigma``.

    Parameters
    ----------
    result : Result
        With `predictive_data`.
    path : path
        PNG, PDF or SVG by its suffix.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        Where the result holds no posterior-predictive spectra.
    """
    import matplotlib as mpl

    spectra = result.predictive_data
    if not spectra:
        raise ValueError("The result holds no posterior-predictive spectra, so there is nothing to draw.")
    if len(spectra) > MAX_SPECTRA:
        log.warning("%d spectra: only the first %d are drawn", len(spectra), MAX_SPECTRA)
        spectra = spectra[:MAX_SPECTRA]
    columns = min(len(spectra), 3)
    rows = -(-len(spectra) // columns)
    with mpl.rc_context(STYLE):
        figure = new_figure(max(7.5, 5.2 * columns), 5.8 * rows + 0.2)
        outer = figure.add_gridspec(rows, columns, left=0.11 / columns**0.6, right=0.98, top=0.93, bottom=0.10 / rows)
        for i, spectrum in enumerate(spectra):
            inner = outer[i // columns, i % columns].subgridspec(2, 1, height_ratios=(3, 1.2), hspace=0.0)
            upper = figure.add_subplot(inner[0])
            lower = figure.add_subplot(inner[1], sharex=upper)
            _draw_spectrum(upper, spectrum)
            _draw_residuals(lower, spectrum)
        mark_verdict(figure, result)
        return save_figure(figure, path)


def predictions_plot(predictions: Mapping[str, Any], path: str | os.PathLike[str], *, title: str = "") -> Path:
    """Draw what `posterior_predictions_convolved` or `_unconvolved` gave, on XSPEC's own axes.

    Folded: data, 68 and 95 % bands of the model and its components, background, and (data - model)/error below.

    Parameters
    ----------
    predictions : mapping
        ``bins, width, models, names, xlabel, ylabel``; ``data, error, background`` where it is folded.
    path : path
        PNG, PDF or SVG by its suffix.
    title : str, default ""
        Above the picture.
    """
    import matplotlib as mpl

    folded = "data" in predictions
    with mpl.rc_context(STYLE):
        figure = new_figure(7.5, 6.0 if folded else 4.8)
        heights = (3, 1.2) if folded else (1,)
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0.0, left=0.12, right=0.98, top=0.94)
        upper = figure.add_subplot(grid[0])
        draw_predictions(upper, predictions, ["model", *predictions["names"]])
        x, half, edges = predictions["bins"], predictions["width"], _around(predictions)
        median = np.median(predictions["models"][:, 0], axis=0)
        if folded:
            data, error = predictions["data"], predictions["error"]
            if np.any(predictions["background"]):
                upper.plot(x, predictions["background"], ".", color="0.55", markersize=3, label="background, scaled")
            style = {"xerr": half, "fmt": "none", "color": "black", "elinewidth": 0.8}
            upper.errorbar(x, data, yerr=error, label="data", zorder=5, **style)
            lower = figure.add_subplot(grid[1], sharex=upper)
            sigma = np.where(error > 0, error, np.nan)
            _bands(lower, edges, (predictions["models"][:, 0] - median) / sigma, BLUE, None, "-")
            lower.errorbar(x, (data - median) / sigma, yerr=1.0, **style)
            lower.set(ylabel="(data-model)/error", xlabel=upper.get_xlabel())
            upper.tick_params(labelbottom=False)
            upper.set_xlabel("")
        shown = np.concatenate([median, data, predictions["background"]]) if folded else median
        shown = shown[shown > DEPTH * shown.max()]  # an absorbed model falls by a hundred decades
        upper.set_yscale("log")
        upper.set_ylim(0.5 * shown.min(), 2 * shown.max())
        if predictions["xlabel"] != "Channel":
            upper.set_xscale("log")
            readable_energies(lower if folded else upper, edges.min(), edges.max())
        upper.set_xlim(edges.min(), edges.max())
        upper.set_title(title, fontsize=10)
        upper.legend(fontsize=8, ncols=2)
        return save_figure(figure, path)


def draw_predictions(
    axis: Axes,
    predictions: Mapping[str, Any],
    names: Sequence[str],
    plot_args: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Draw the bands of the model and its components into `axis`.

    Parameters
    ----------
    axis : matplotlib Axes
    predictions : mapping
        As for `predictions_plot`.
    names : sequence of str
        Labels of the whole model and of each component; ``"ignore"`` leaves one out.
    plot_args : sequence of mapping, optional
        Arguments of `matplotlib.axes.Axes.plot` for each of them.
    """
    edges = _around(predictions)
    for k in range(predictions["models"].shape[1]):
        name = names[k] if k < len(names) else f"component {k}"
        if name == "ignore":
            continue
        options = dict(plot_args[k]) if plot_args is not None and k < len(plot_args) else {}
        default = ("-", BLUE) if k == 0 else (COMPONENT_LINES[(k - 1) % 4], COMPONENTS[(k - 1) % len(COMPONENTS)])
        line = options.pop("linestyle", options.pop("ls", default[0]))
        colour = options.pop("color", options.pop("c", default[1]))
        _bands(axis, edges, predictions["models"][:, k], colour, options.pop("label", name), line, **options)
    axis.set_xlabel(mathtext(predictions["xlabel"]))
    axis.set_ylabel(mathtext(predictions["ylabel"]))


def _around(predictions: Mapping[str, Any]) -> np.ndarray:
    x, half = np.asarray(predictions["bins"]), np.asarray(predictions["width"])
    return np.column_stack([x - half, x + half])


def _draw_spectrum(axis: Axes, spectrum: SpectrumPredictive) -> None:
    low, high = spectrum.energies[:, 0], spectrum.energies[:, 1]
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    per_kev = 1 / (np.abs(high - low) * spectrum.exposure)
    edges = _step_edges(spectrum)
    _bands(axis, edges, spectrum.total * per_kev, BLUE, "model", "-")
    # Thin components beyond the number of colours are told apart by line as well.
    for j, (name, curve) in enumerate(spectrum.components.items()):
        colour, line = COMPONENTS[j % len(COMPONENTS)], COMPONENT_LINES[j % len(COMPONENT_LINES)]
        _bands(axis, edges, curve * per_kev, colour, name, line)
    if spectrum.background is not None:
        axis.plot(centre, spectrum.background * per_kev, ".", color="0.55", markersize=3, label="background, scaled")
    axis.errorbar(
        centre, spectrum.counts * per_kev, xerr=half, yerr=spectrum.counts_error * per_kev,
        fmt="none", color="black", elinewidth=0.8, label="data", zorder=5,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    data = spectrum.counts * per_kev
    shown = np.concatenate([data[data > 0], np.median(spectrum.total, axis=0) * per_kev])
    shown = shown[shown > 0]
    if shown.size:
        axis.set_ylim(0.3 * shown.min(), 2.5 * shown.max())
    axis.set_xlim(edges.min(), edges.max())
    axis.set_ylabel("counts s$^{-1}$ keV$^{-1}$")
    axis.set_title(spectrum.name, fontsize=10)
    axis.tick_params(labelbottom=False)
    axis.legend(fontsize=8, ncols=2)


def _draw_residuals(axis: Axes, spectrum: SpectrumPredictive) -> None:
    median = np.median(spectrum.total, axis=0)
    residual, sigma = residuals(spectrum, median)
    spread = (spectrum.total - median) / np.where(sigma > 0, sigma, np.nan)
    _bands(axis, _step_edges(spectrum), spread, BLUE, None, "-")
    low, high = spectrum.energies[:, 0], spectrum.energies[:, 1]
    axis.errorbar(
        0.5 * (low + high), residual, xerr=0.5 * (high - low), yerr=1.0, fmt="none", color="black", elinewidth=0.7
    )
    top = max(3.5, 1.15 * float(np.nanmax(np.abs(residual), initial=0.0)) + 1)
    axis.set_ylim(-top, top)
    axis.set_ylabel("residual ($\\sigma$)")
    axis.set_xlabel("energy (keV)")
    readable_energies(axis, spectrum.energies.min(), spectrum.energies.max())


def readable_energies(axis: Axes, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis: 0.5, 1, 2, 5 where there are few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    if high / max(low, 1e-3) < 200:
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())


def residuals(spectrum: SpectrumPredictive, median: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals in units of sigma, and the sigma (counts) by which model bands are put beside them."""
    counts = spectrum.counts
    if spectrum.statistic == "chi":
        sigma = np.where(spectrum.counts_error > 0, spectrum.counts_error, np.nan)
        return (counts - median) / sigma, sigma
    expected = np.maximum(median, 1e-10)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviance = 2 * (expected - counts + np.where(counts > 0, counts * np.log(counts / expected), 0.0))
    return np.sign(counts - median) * np.sqrt(np.maximum(deviance, 0)), np.sqrt(expected)


def _step_edges(spectrum: SpectrumPredictive) -> np.ndarray:
    return np.column_stack([spectrum.energies.min(axis=1), spectrum.energies.max(axis=1)])


def _bands(
    axis: Axes,
    edges: np.ndarray,
    draws: np.ndarray,
    colour: str,
    label: str | None,
    line: Any,
    **options: Any,
) -> None:
    """Median and 68 and 95 % bands as steps over bins that need not touch (ignored channels leave gaps)."""
    order = np.argsort(edges[:, 0])
    for (low, high), alpha in ((TWO_SIGMA, 0.22), (ONE_SIGMA, 0.40)):
        lower, upper = np.quantile(draws[:, order], [low, high], axis=0)
        x, y_low, y_high = steps(edges[order], lower, upper)
        axis.fill_between(x, y_low, y_high, color=colour, alpha=alpha, linewidth=0)
    options = {"linewidth": 1.2, **options}
    median = np.median(draws[:, order], axis=0)
    axis.plot(*steps(edges[order], median), color=colour, linestyle=line, label=label, **options)


def steps(edges: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Corners x and y of histograms over ascending bins (n, 2); NaN where bins do not touch."""
    gap = np.flatnonzero(~np.isclose(edges[1:, 0], edges[:-1, 1], rtol=1e-4)) + 1
    x = np.insert(edges.ravel(), 2 * gap, np.nan)
    return (x, *(np.insert(np.repeat(y, 2), 2 * gap, np.nan) for y in values))
