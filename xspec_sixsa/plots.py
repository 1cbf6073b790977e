"""Pictures of a result: corner, posterior-predictive spectrum, rounds.

Drawn on matplotlib's Agg canvas without pyplot, so that nothing of the user's own figures, backend or style is touched.
Colours are those of Okabe & Ito (2008), told apart with every common colour vision.
"""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._files import atomic_path
from .result import weighted_quantile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .result import Result, SpectrumPredictive

__all__ = ["corner_plot", "plot_all", "predictive_plot", "rounds_plot"]

log = logging.getLogger(__name__)

BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
)  # fmt: skip
COMPONENTS = (ORANGE, GREEN, PURPLE, VERMILION, SKY, YELLOW)
COMPONENT_LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
STYLE = {
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 4),
    "savefig.dpi": 150,
    "text.usetex": False,
}
ONE_SIGMA, TWO_SIGMA = (0.16, 0.84), (0.025, 0.975)
MAX_SPECTRA = 12


def corner_plot(
    result: Result,
    path: str | os.PathLike[str],
    *,
    truth: Mapping[str, float] | None = None,
    overlays: Mapping[str, tuple[np.ndarray, np.ndarray | None]] | None = None,
) -> Path:
    """Draw one- and two-dimensional posteriors with 68 and 95 % contours.

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
    unit, power = _powers_of_ten(result)
    sets = [("xspec_sixsa", result.samples[keep] / unit, weights)]
    for label, (samples, other) in (overlays or {}).items():
        samples = np.asarray(samples, dtype=float)
        if samples.ndim != 2 or samples.shape[1] != width:
            raise ValueError(f"Overlay {label!r} has shape {samples.shape}; the result has {width} parameters.")
        sets.append((label, samples / unit, np.ones(len(samples)) if other is None else np.asarray(other, dtype=float)))

    marks = [("best fit", result.best_fit / unit, VERMILION, "-")]
    if truth is not None:
        marks.append(("truth", np.array([truth.get(name, np.nan) for name in result.names]) / unit, "black", "--"))
    limits = _limits(sets, [values for _, values, _, _ in marks])
    labels = [_axis_label(*parts) for parts in zip(result.labels, result.units, power, strict=True)]

    with mpl.rc_context(STYLE):
        figure = _figure(max(2.0 * width + 1.2, 4.5), max(2.0 * width + 1.2, 4.5))
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
        for i in range(width):
            inside = [h.get_ydata() if hasattr(h, "get_ydata") else h.get_xy()[:, 1] for h in grid[i, i].patches]
            top = max((float(np.max(y)) for y in inside if len(y)), default=1.0)
            grid[i, i].set_ylim(0, 1.15 * top)
            low, mid, high = weighted_quantile(sets[0][1][:, i], [0.16, 0.5, 0.84], weights)
            grid[i, i].set_title(_value_with_errors(low, mid, high), fontsize=10)
        handles = [Line2D([], [], color=colours[i % 4], label=sets[i][0]) for i in range(len(sets))]
        handles += [Line2D([], [], color=colour, linestyle=line, label=name) for name, _, colour, line in marks]
        # Upper right: the corner that a corner plot leaves empty; below the first title where there is one panel only.
        figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.98, 0.98), fontsize=11)
        _verdict(figure, result)
        return _save(figure, path)


def predictive_plot(result: Result, path: str | os.PathLike[str]) -> Path:
    """Draw each spectrum with the 68 and 95 % bands of the posterior's model, in total and by component, and residuals.

    The residual of a Poisson bin is its signed root deviance against the median model, ``sign(S - m) sqrt(2 (m - S + S
    ln(S/m)))``, which is close to a standard normal from a few counts on; that of a Gaussian bin is ``(S - m)/sigma``.
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
        figure = _figure(max(7.5, 5.2 * columns), 5.8 * rows + 0.2)
        outer = figure.add_gridspec(rows, columns, left=0.11 / columns**0.6, right=0.98, top=0.93, bottom=0.10 / rows)
        for i, spectrum in enumerate(spectra):
            inner = outer[i // columns, i % columns].subgridspec(2, 1, height_ratios=(3, 1.2), hspace=0.0)
            upper = figure.add_subplot(inner[0])
            lower = figure.add_subplot(inner[1], sharex=upper)
            _draw_spectrum(upper, spectrum)
            _draw_residuals(lower, spectrum)
        _verdict(figure, result)
        return _save(figure, path)


def rounds_plot(result: Result, path: str | os.PathLike[str]) -> Path:
    """Draw every parameter's posterior round by round, the effective sample size, and the training curves."""
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    rounds = result.rounds
    if not rounds:
        raise ValueError("The result holds no rounds, so there is nothing to draw.")
    networks = list(dict.fromkeys(name for r in rounds for name in (r.get("training") or {})))
    panels = len(result.names) + 1 + len(networks)
    columns = min(panels, 4)
    rows = -(-panels // columns)
    number = [int(r.get("round", i)) for i, r in enumerate(rounds)]
    unit, power = _powers_of_ten(result)
    with mpl.rc_context(STYLE):
        figure = _figure(3.3 * columns, 2.7 * rows + 0.4)
        grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for i in range(len(result.names)):
            axis = grid[i]
            for k, r in zip(number, rounds, strict=True):
                if r.get("samples") is not None:
                    _violin(axis, k, np.asarray(r["samples"])[:, i] / unit[i])
            axis.axhline(result.best_fit[i] / unit[i], color=VERMILION, linewidth=1, label="best fit")
            if (result.weights > 0).any():
                low, high = result.interval(0.68)[i] / unit[i]
                axis.axhspan(low, high, color=BLUE, alpha=0.2, linewidth=0, label="final 68 %")
            axis.set_title(_axis_label(result.labels[i], result.units[i], power[i]), fontsize=10)
        grid[0].legend(fontsize=8)
        axis = grid[len(result.names)]
        axis.plot(number, [r.get("ess", np.nan) for r in rounds], "o-", color=BLUE)
        axis.set_yscale("log")
        axis.set_title("effective sample size", fontsize=10)
        for axis in grid[: len(result.names) + 1]:
            axis.set_xlim(min(number) - 0.6, max(number) + 0.6)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_xlabel("round")
        for axis, network in zip(grid[len(result.names) + 1 :], networks, strict=False):
            _draw_training(axis, network, rounds)
        for axis in grid[panels:]:
            axis.set_visible(False)
        figure.tight_layout(rect=(0, 0, 1, 0.97))
        _verdict(figure, result)
        return _save(figure, path)


def plot_all(
    result: Result, directory: str | os.PathLike[str], *, suffix: str = "png", **corner_options: Any
) -> list[Path]:
    """Draw what the result has data for: `corner`, `predictive`, `rounds`. A plot that fails is logged, not fatal."""
    made = []
    jobs = [("corner", corner_plot, corner_options)]
    if result.predictive_data:
        jobs.append(("predictive", predictive_plot, {}))
    if result.rounds:
        jobs.append(("rounds", rounds_plot, {}))
    for name, draw, options in jobs:
        try:
            made.append(draw(result, Path(directory) / f"{name}.{suffix}", **options))
        except Exception as error:
            # The fit is what the user waited for; it must not be lost for the sake of a picture.
            log.warning("%s.%s could not be drawn: %s", name, suffix, error)
    return made


# -- parts ------------------------------------------------------------------------------------------------------------


def _draw_spectrum(axis: Axes, spectrum: SpectrumPredictive) -> None:
    low, high = spectrum.energies[:, 0], spectrum.energies[:, 1]
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    per_kev = 1 / (np.abs(high - low) * spectrum.exposure)
    edges = _step_edges(spectrum)
    _bands(axis, edges, spectrum.total * per_kev, BLUE, "model", "-", bands=True)
    # Thin components beyond the number of colours are told apart by line as well.
    for j, (name, curve) in enumerate(spectrum.components.items()):
        colour, line = COMPONENTS[j % len(COMPONENTS)], COMPONENT_LINES[j % len(COMPONENT_LINES)]
        _bands(axis, edges, curve * per_kev, colour, name, line, bands=True)
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
    from matplotlib.ticker import FuncFormatter

    median = np.median(spectrum.total, axis=0)
    residual, sigma = _residuals(spectrum, median)
    spread = (spectrum.total - median) / np.where(sigma > 0, sigma, np.nan)
    _bands(axis, _step_edges(spectrum), spread, BLUE, None, "-", bands=True)
    low, high = spectrum.energies[:, 0], spectrum.energies[:, 1]
    axis.errorbar(
        0.5 * (low + high), residual, xerr=0.5 * (high - low), yerr=1.0, fmt="none", color="black", elinewidth=0.7
    )
    top = max(3.5, 1.15 * float(np.nanmax(np.abs(residual), initial=0.0)) + 1)
    axis.set_ylim(-top, top)
    axis.set_ylabel("residual ($\\sigma$)")
    axis.set_xlabel("energy (keV)")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    span = spectrum.energies.max() / max(spectrum.energies.min(), 1e-3)
    # Few decades: label 2 and 5 as well, or a spectrum of 0.5-10 keV has two numbers on its axis.
    if span < 200:
        from matplotlib.ticker import LogLocator, NullFormatter

        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _residuals(spectrum: SpectrumPredictive, median: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    axis: Axes, edges: np.ndarray, draws: np.ndarray, colour: str, label: str | None, line: Any, *, bands: bool
) -> None:
    """Median and bands as steps over bins that need not touch (ignored channels leave gaps)."""
    order = np.argsort(edges[:, 0])
    x = edges[order].ravel()
    gap = np.flatnonzero(~np.isclose(edges[order][1:, 0], edges[order][:-1, 1], rtol=1e-4)) + 1

    def steps(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.insert(x, 2 * gap, np.nan), np.insert(np.repeat(y[order], 2), 2 * gap, np.nan)

    if bands:
        for (low, high), alpha in ((TWO_SIGMA, 0.22), (ONE_SIGMA, 0.40)):
            lower, upper = np.quantile(draws, [low, high], axis=0)
            axis.fill_between(steps(lower)[0], steps(lower)[1], steps(upper)[1], color=colour, alpha=alpha, linewidth=0)
    axis.plot(*steps(np.median(draws, axis=0)), color=colour, linestyle=line, linewidth=1.2, label=label)


def _violin(axis: Axes, position: float, values: np.ndarray) -> None:
    values = values[np.isfinite(values)]
    if values.size < 2:
        return
    low, high = np.quantile(values, [0.005, 0.995])
    density, edges = np.histogram(values, bins=40, range=(low, high if high > low else low + 1e-30))
    density = np.convolve(density, (1, 2, 3, 2, 1), mode="same")
    half = 0.42 * density / max(density.max(), 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    axis.fill_betweenx(middle, position - half, position + half, color=SKY, alpha=0.7, linewidth=0)
    axis.plot([position, position], np.quantile(values, ONE_SIGMA), color="black", linewidth=1.5)
    axis.plot(position, np.median(values), "o", color="black", markersize=3)


def _draw_training(axis: Axes, network: str, rounds: list[dict[str, Any]]) -> None:
    start = 0
    for i, r in enumerate(rounds):
        curves = (r.get("training") or {}).get(network) or {}
        steps = np.asarray(curves.get("step") or np.arange(max(map(len, curves.values()), default=0)))
        for kind, colour, line in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
            curve = np.asarray(curves.get(kind, []), dtype=float)
            label = kind if i == 0 else None
            axis.plot(start + steps[: len(curve)], curve, color=colour, linestyle=line, label=label)
        if i and len(steps):
            axis.axvline(start, color="0.7", linewidth=0.8, zorder=0)
        start += steps[-1] if len(steps) else 0
    axis.set_title(f"training: {network}", fontsize=10)
    axis.set_xlabel("training step, rounds in a row")
    axis.set_ylabel("loss")
    axis.legend(fontsize=8)


def _mark(grid: np.ndarray, values: np.ndarray, colour: str, line: str) -> None:
    for i in range(len(values)):
        for j in range(i + 1):
            axis = grid[i, j]
            if np.isfinite(values[j]):
                axis.axvline(values[j], color=colour, linestyle=line, linewidth=0.9)
            if i != j and np.isfinite(values[i]):
                axis.axhline(values[i], color=colour, linestyle=line, linewidth=0.9)


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


def _axis_label(label: str, unit: str, power: int) -> str:
    unit = unit.replace("10^22", "10$^{22}$ cm$^{-2}$")
    unit = f"10$^{{{power}}}$ {unit}".strip() if power else unit
    return f"{label}\n({unit})" if unit else label


def _powers_of_ten(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Factor (and its exponent) that brings a small or large parameter to numbers that fit on an axis; 1 otherwise."""
    keep = result.weights > 0
    typical = np.abs(result.quantile(0.5)) if keep.any() else np.abs(result.best_fit)
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log10(typical))
    exponent = np.where(np.isfinite(exponent) & ((exponent < -2) | (exponent > 3)), exponent, 0).astype(int)
    return 10.0**exponent, exponent


def _value_with_errors(low: float, mid: float, high: float) -> str:
    from .summary import format_value

    scale = (high - low) / 2
    text = format_value(mid, scale)
    return rf"${text}^{{+{format_value(high - mid, scale)}}}_{{-{format_value(mid - low, scale)}}}$"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _verdict(figure: Figure, result: Result) -> None:
    """Nobody should pass on a picture of an unreliable run without knowing it."""
    if not result.reliable:
        reason = (result.reasons or ["no reason was recorded"])[0]
        text = textwrap.shorten(f"UNRELIABLE: {reason}", int(11 * figure.get_figwidth()), placeholder=" ...")
        figure.text(0.01, 0.995, text, color=VERMILION, fontsize=10, weight="bold", va="top")


def _save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"{path.name}: pictures are written as .png, .pdf or .svg, by the suffix.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind)
    return path
