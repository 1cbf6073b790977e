"""What the networks have learned, from plain arrays: coverage, latents, reconstructions, parameters, likelihoods.

The pictures are those of Barret & Dupourque (SIXSA III, arXiv 2512.16709), whose figures are named with each.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from xspec_sixsa.products.plots.spectrum import readable_energies, steps
from xspec_sixsa.products.plots.style import (
    BLUE,
    ONE_SIGMA,
    ORANGE,
    SKY,
    STYLE,
    TWO_SIGMA,
    VERMILION,
    axis_label,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_coverage", "plot_emulator_errors", "plot_latents", "plot_reconstruction", "plot_retriever"]

MAX_LATENTS = 12
MAX_POINTS = 2000
FLAT = 0.2  # a slope below it is called insensitive: the paper's "flat line"


def plot_coverage(
    simulated: ArrayLike, observed: ArrayLike, energies: ArrayLike, path: str | os.PathLike[str], *, title: str = ""
) -> Path:
    """Draw the simulated spectra as bands about the observed one, and their total counts (figure 2).

    Parameters
    ----------
    simulated : array (n, bins)
        Counts of spectra drawn from the prior, or from a round's proposal.
    observed : array (bins,)
    energies : array (bins, 2)
        Edges of the bins, keV.
    path : path
        PNG, PDF or SVG by its suffix.
    title : str
    """
    import matplotlib as mpl

    simulated, observed, energies = (np.asarray(x, dtype=float) for x in (simulated, observed, energies))
    _need("simulated", simulated, (None, len(observed)))
    _need("energies", energies, (len(observed), 2))
    order = np.argsort(energies[:, 0])
    edges, width = energies[order], np.abs(np.diff(energies[order], axis=1))[:, 0]
    density, data = simulated[:, order] / width, observed[order] / width
    with mpl.rc_context(STYLE):
        figure = new_figure(9.5, 4.0)
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        for (low, high), shade, label in (((0, 1), 0.15, "all"), (TWO_SIGMA, 0.25, "95 %"), (ONE_SIGMA, 0.4, "68 %")):
            lower, upper = np.quantile(density, [low, high], axis=0)
            x, lower, upper = steps(edges, lower, upper)
            left.fill_between(x, lower, upper, color=BLUE, alpha=shade, linewidth=0, label=f"{label} of the simulated")
        left.plot(*steps(edges, data), color="black", linewidth=1.1, label="observed")
        floor = data[data > 0].min() if (data > 0).any() else density[density > 0].min()
        left.set(xscale="log", yscale="log", xlabel="energy (keV)", ylabel="counts keV$^{-1}$")
        left.set_ylim(max(0.1 * floor, 1e-6), 2 * max(density.max(), data.max()))
        left.set_xlim(edges.min(), edges.max())
        readable_energies(left, edges.min(), edges.max())
        left.legend(fontsize=8, frameon=True, framealpha=0.8, edgecolor="none", loc="lower left")
        totals, total = simulated.sum(axis=1), observed.sum()
        bins = np.geomspace(max(totals.min(), 1), max(totals.max(), 2) * 1.001, 40)
        right.stairs(np.histogram(np.maximum(totals, 1), bins)[0], bins, fill=True, color=BLUE, alpha=0.6)
        right.axvline(total, color="black", label=f"observed: {total:.0f}")
        right.set(xscale="log", xlabel="counts in all bins", ylabel="simulated spectra")
        below = 100 * (totals < total).mean()
        right.set_title(f"{below:.0f} % have fewer counts, {100 - below:.0f} % more", fontsize=10)
        right.set_ylim(0, 1.15 * right.get_ylim()[1])
        right.legend(fontsize=8, loc="upper left")
        left.set_title(title, fontsize=10)
        _margins(figure, (0.75, 0.15, 0.5, 0.35), wspace=0.2)
        return save_figure(figure, path)


def plot_latents(
    latents: ArrayLike,
    observed: ArrayLike,
    path: str | os.PathLike[str],
    *,
    test: ArrayLike | None = None,
    test_label: str = "held-out spectra",
    names: Sequence[str] | None = None,
) -> Path:
    """Draw the compressed spectra's numbers one by one, the observation's marked (figure 3).

    Parameters
    ----------
    latents : array (n, k)
        Of training spectra. With more than 12 columns, those are drawn where the observation lies farthest out
        (of `test` where that is given).
    observed : array (k,)
        Of the observation.
    path : path
    test : array (m, k), optional
        Of held-out spectra, or of others that `test_label` names.
    names : sequence of str, optional
    """
    import matplotlib as mpl

    latents, observed = np.asarray(latents, dtype=float), np.asarray(observed, dtype=float)
    _need("latents", latents, (None, len(observed)))
    held_out = None if test is None else np.asarray(test, dtype=float)
    if held_out is not None:
        _need("test", held_out, (None, len(observed)))
    rank = ((latents if held_out is None else held_out) < observed).mean(axis=0)
    chosen = np.arange(len(observed))
    if len(chosen) > MAX_LATENTS:
        chosen = np.sort(np.argsort(-np.abs(rank - 0.5), kind="stable")[:MAX_LATENTS])
    columns = min(len(chosen), 6)
    rows = -(-len(chosen) // columns)
    with mpl.rc_context(STYLE):
        figure = new_figure(max(2.0 * columns, 3.2), 1.7 * rows + 0.6)
        grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axis, k in zip(grid, chosen, strict=False):
            low, high = np.quantile(latents[:, k], [0.001, 0.999])
            margin = 0.05 * (high - low) or 1.0
            bins = np.linspace(min(low, observed[k]) - margin, max(high, observed[k]) + margin, 41)
            # each to the same height: the posterior is a spike in the prior. Forty bars would take forty times as long
            axis.stairs(_heights(latents[:, k], bins), bins, fill=True, color=BLUE, alpha=0.5)
            if held_out is not None:
                axis.stairs(_heights(held_out[:, k], bins), bins, color=ORANGE, linewidth=1.2)
            outside = observed[k] < latents[:, k].min() or observed[k] > latents[:, k].max()
            axis.axvline(observed[k], color=VERMILION if outside else "black", linewidth=1.4)
            axis.set_title(names[int(k)] if names is not None else f"latent {k + 1}", fontsize=9)
            axis.set_yticks([])
            axis.tick_params(labelsize=8)
        for axis in grid[len(chosen) :]:
            axis.set_visible(False)
        outside = int(((observed < latents.min(axis=0)) | (observed > latents.max(axis=0))).sum())
        text = f"observation (line) outside all training spectra in {outside} of {len(observed)}"
        if held_out is not None:
            beyond = int(((observed < held_out.min(axis=0)) | (observed > held_out.max(axis=0))).sum())
            text += f", outside all {test_label} (orange) in {beyond}"
        text += f"; {len(chosen)} farthest out shown" if len(chosen) < len(observed) else ""
        figure.text(0.01, 0.99, text, va="top", fontsize=9, color=VERMILION if outside else "black")
        _margins(figure, (0.15, 0.15, 0.3, 0.55), wspace=0.12, hspace=0.45)
        return save_figure(figure, path)


def plot_reconstruction(
    statistic_model: ArrayLike,
    statistic_reconstruction: ArrayLike,
    path: str | os.PathLike[str],
    *,
    example: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike] | None = None,
    statistic: str = "C-stat",
) -> Path:
    """Draw the statistic of simulated spectra against their model and against their reconstruction (figure 13).

    Parameters
    ----------
    statistic_model, statistic_reconstruction : array (n,)
        Of each simulated spectrum, against the model it was drawn from and against what the auto-encoder makes of it.
    path : path
    example : tuple of arrays, optional
        One of them: energies (bins, 2) in keV, counts, model and reconstruction (bins,) in counts.
    statistic : str
        Its name.
    """
    import matplotlib as mpl

    model, again = (np.asarray(x, dtype=float) for x in (statistic_model, statistic_reconstruction))
    _need("statistic_reconstruction", again, (len(model),))
    with mpl.rc_context(STYLE):
        figure = new_figure(9.5 if example is not None else 5.2, 4.0)
        axes = figure.subplots(1, 2 if example is not None else 1, squeeze=False)[0]
        low, high = np.quantile(np.concatenate([model, again]), [0.001, 0.999])
        bins = np.linspace(low, high, 41)
        for values, colour, line, label in (
            (model, BLUE, "-", "against the model"),
            (again, ORANGE, "--", "against the reconstruction"),
        ):
            text = f"{label}: {values.mean():.1f} $\\pm$ {values.std():.1f}"
            axes[0].hist(values, bins=bins, histtype="step", color=colour, linestyle=line, linewidth=1.5, label=text)
        axes[0].set(xlabel=statistic, ylabel=f"spectra of {len(model)}")
        axes[0].set_ylim(0, 1.35 * axes[0].get_ylim()[1])
        axes[0].legend(fontsize=8, loc="upper right")
        if example is not None:
            energies, counts, expected, made = (np.asarray(x, dtype=float) for x in example)
            _need("example energies", energies, (len(counts), 2))
            order = np.argsort(energies[:, 0])
            edges, width = energies[order], np.abs(np.diff(energies[order], axis=1))[:, 0]
            for values, colour, line, label, thick in (
                (counts, SKY, "-", "a simulated spectrum", 1.0),
                (expected, "black", "-", "its model", 1.3),
                (made, ORANGE, "--", "its reconstruction", 1.3),
            ):
                x, y = steps(edges, values[order] / width)
                axes[1].plot(x, y, color=colour, linestyle=line, linewidth=thick, label=label)
            floor = expected[order] / width
            axes[1].set(xscale="log", yscale="log", xlabel="energy (keV)", ylabel="counts keV$^{-1}$")
            axes[1].set_ylim(0.2 * floor[floor > 0].min(), None)
            axes[1].set_xlim(edges.min(), edges.max())
            readable_energies(axes[1], edges.min(), edges.max())
            axes[1].legend(fontsize=8, loc="lower left")
        _margins(figure, (0.65, 0.15, 0.5, 0.2), wspace=0.2)
        return save_figure(figure, path)


def plot_retriever(
    true: ArrayLike,
    predicted: ArrayLike,
    labels: Sequence[str],
    path: str | os.PathLike[str],
    *,
    units: Sequence[str] | None = None,
    logarithmic: Sequence[bool] | None = None,
) -> Path:
    """Draw parameters read from compressed spectra against the true ones (figure 5).

    Each panel names the bias and the scatter; a flat line, which is what a parameter gives that the spectrum does not
    know of, is called insensitive.

    Parameters
    ----------
    true, predicted : array (n, d)
    labels : sequence of str, length d
    path : path
    units : sequence of str, optional
    logarithmic : sequence of bool, optional
        Which parameters have logarithmic axes, and bias and scatter in dex.
    """
    import matplotlib as mpl

    true, predicted = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    _need("true", true, (None, len(labels)))
    _need("predicted", predicted, true.shape)
    units = units if units is not None else [""] * len(labels)
    logs = logarithmic if logarithmic is not None else [False] * len(labels)
    columns = min(len(labels), 4)
    rows = -(-len(labels) // columns)
    shown = np.random.default_rng(0).permutation(len(true))[:MAX_POINTS]
    with mpl.rc_context(STYLE):
        figure = new_figure(3.0 * columns, 3.1 * rows)
        grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for k, axis in enumerate(grid[: len(labels)]):
            x, y = true[:, k], predicted[:, k]
            a, b = (np.log10(x), np.log10(np.maximum(y, x[x > 0].min() * 1e-3))) if logs[k] else (x, y)
            slope = np.polyfit(a, b, 1)[0] if np.ptp(a) > 0 else np.nan
            axis.plot(x[shown], y[shown], ".", color=BLUE, markersize=2, alpha=0.5, rasterized=True)
            low, high = x.min(), x.max()
            axis.plot([low, high], [low, high], color="black", linewidth=1)
            _draw_running(axis, a, b, logs[k])
            axis.set_title(_axis_title(labels[k], units[k]), fontsize=10)
            text = f"bias {np.mean(b - a):.2g}, scatter {np.std(b - a):.2g}" + (" dex" if logs[k] else "")
            insensitive = abs(slope) < FLAT
            axis.text(
                0.04, 0.96, text + ("\ninsensitive" if insensitive else ""), transform=axis.transAxes, va="top",
                fontsize=8, color=VERMILION if insensitive else "black",
            )  # fmt: skip
            if logs[k]:
                axis.set(xscale="log", yscale="log")
            axis.set(xlabel="true", ylabel="predicted")
        for axis in grid[len(labels) :]:
            axis.set_visible(False)
        _margins(figure, (0.65, 0.15, 0.5, 0.35), wspace=0.32, hspace=0.38)
        return save_figure(figure, path)


def plot_emulator_errors(
    errors: ArrayLike, path: str | os.PathLike[str], *, limit: float | None = None, title: str = ""
) -> Path:
    """Draw how far the emulator is off in ln L on exact evaluations that it has not seen (figure 10).

    Parameters
    ----------
    errors : array (n,)
        Emulated minus exact ln L.
    path : path
    limit : float, optional
        What the emulator was asked for; marked on both sides.
    title : str
    """
    import matplotlib as mpl

    errors = np.asarray(errors, dtype=float).reshape(-1)
    finite = errors[np.isfinite(errors)]
    if not len(finite):
        raise ValueError(f"None of the {len(errors)} errors is finite, so there is nothing to draw.")
    low, high = np.quantile(finite, [0.005, 0.995])
    reach = max(abs(low), abs(high), 1.2 * (limit or 0.0), 1e-12)
    with mpl.rc_context(STYLE):
        figure = new_figure(5.2, 4.0)
        axis = figure.add_subplot()
        bins = np.linspace(-reach, reach, 51)
        axis.stairs(np.histogram(np.clip(finite, -reach, reach), bins)[0], bins, fill=True, color=BLUE, alpha=0.6)
        mean, spread = finite.mean(), finite.std()
        axis.axvline(mean, color="black", label=f"mean {mean:.3g}")
        for k, side in enumerate((-1, 1)):
            label = f"standard deviation {spread:.3g}" if k == 0 else None
            axis.axvline(mean + side * spread, color="black", linestyle="--", linewidth=1, label=label)
            if limit is not None:
                label = f"limit {limit:g}" if k == 0 else None
                axis.axvline(side * limit, color=VERMILION, linestyle=":", linewidth=1.2, label=label)
        outside = int((np.abs(finite) > reach).sum())
        note = f"; {outside} farther out, in the end bins" if outside else ""
        axis.set(xlabel="emulated $-$ exact ln L", ylabel=f"evaluations of {len(finite)}")
        axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
        axis.set_title((title + note).strip("; "), fontsize=10)
        axis.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")
        _margins(figure, (0.75, 0.15, 0.5, 0.35))
        return save_figure(figure, path)


def _margins(figure: Figure, inches: tuple[float, float, float, float], **between: float) -> None:
    """Left, right, lower and upper margins; matplotlib's `tight_layout` finds them by drawing everything twice."""
    width, height = figure.get_size_inches()
    left, right, bottom, top = inches
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, **between)


def _heights(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    counts = np.histogram(values, bins)[0]
    return counts / max(counts.max(), 1)


def _draw_running(axis: Axes, a: np.ndarray, b: np.ndarray, logarithmic: bool) -> None:
    """Median and 68 % of the prediction in ten bins of the truth."""
    edges = np.quantile(a, np.linspace(0, 1, 11))
    middle, parts = [], []
    for low, high in itertools.pairwise(edges):
        inside = (a >= low) & (a <= high)
        if inside.sum() >= 5:
            middle.append(np.median(a[inside]))
            parts.append(np.quantile(b[inside], [0.16, 0.5, 0.84]))
    if middle:
        x, y = np.array(middle), np.array(parts)
        x, y = (10**x, 10**y) if logarithmic else (x, y)
        axis.errorbar(
            x,
            y[:, 1],
            yerr=[y[:, 1] - y[:, 0], y[:, 2] - y[:, 1]],
            fmt="o",
            color=ORANGE,
            markersize=3.5,
            elinewidth=1.3,
        )


def _axis_title(label: str, unit: str) -> str:
    return axis_label(label, unit, 0).replace("\n", " ")


def _need(name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("n" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {array.shape}; it must be ({wanted}).")
