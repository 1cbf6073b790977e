"""How good the importance weights are, and what the effective samples cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xspec_sixsa.products.plots.style import BLUE, ORANGE, STYLE, VERMILION, mark_verdict, new_figure, save_figure
from xspec_sixsa.result.weighted import LARGEST_K_HAT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xspec_sixsa.result import Result

__all__ = ["cost_plot", "weights_plot"]

NARROW = 3.0  # highest over lowest weight up to which an axis is linear


def weights_plot(result: Result, path: str | os.PathLike[str]) -> Path:
    """Draw the weights' distribution, their tail beside the one that k-hat says, and the evidence draw by draw.

    A weight of 1 is that of an equal-weight draw. The tail is drawn as the share of draws that weigh more; a tail of
    shape 0.7, from which on the weights' mean cannot be trusted, stands beside it.

    Parameters
    ----------
    result : Result
    path : path
        PNG, PDF or SVG by its suffix.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        Where no draw has weight.
    """
    import matplotlib as mpl

    log_weights = result.log_weights
    if not np.isfinite(log_weights).any():
        raise ValueError("No draw has weight, so there are no weights to draw.")
    relative = result.weights * len(log_weights)
    positive = np.sort(relative[relative > 0])
    with mpl.rc_context(STYLE):
        figure = new_figure(11.0, 3.6)
        left, middle, right = figure.subplots(1, 3)
        # The lowest percent goes into the first bin: draws of next to no weight would squeeze the others.
        floor, top = np.quantile(positive, 0.01), positive[-1] * 1.001
        scale = "log" if top > NARROW * floor else "linear"
        bins = np.geomspace(floor, top, 41) if scale == "log" else np.linspace(floor, top, 41)
        left.hist(
            np.maximum(positive, floor),
            bins=bins,
            color=BLUE,
            alpha=0.6,
            weights=np.full(len(positive), 1 / len(relative)),
        )
        left.axvline(1, color="black", linestyle="--", linewidth=0.9)
        left.set(xscale=scale, xlabel="weight (1: equal weights)", ylabel="share of draws")
        none = 1 - len(positive) / len(relative)
        title = f"{result.ess:.0f} effective of {len(relative)} draws"
        left.set_title(title + (f"; {100 * none:.1f} % weigh nothing" if none > 0 else ""), fontsize=10)
        _draw_tail(middle, positive, len(relative), result.k_hat)
        _draw_evidence(right, log_weights, result.log_z, result.log_z_err)
        figure.tight_layout(rect=(0, 0, 1, 0.95))
        mark_verdict(figure, result)
        return save_figure(figure, path)


def cost_plot(result: Result, path: str | os.PathLike[str]) -> Path:
    """Draw effective samples against evaluations of the model: round by round, and draw by draw at the end.

    Evaluations made after the last draw (component curves, the native fit, fluxes) are left out. Of emulated draws
    (`Result.control`) there is no such picture.

    Parameters
    ----------
    result : Result
    path : path
        PNG, PDF or SVG by its suffix.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        Where no draw has weight, or draws are emulated.
    """
    import matplotlib as mpl

    if not (result.weights > 0).any():
        raise ValueError("No draw has weight, so there are no effective samples to draw.")
    if result.control:
        raise ValueError("The draws are emulated and cost no evaluation each, so there is no cost to draw.")
    with mpl.rc_context(STYLE):
        figure = new_figure(5.6, 4.2)
        axis = figure.add_subplot()
        if any("ess" in r for r in result.rounds):
            spent = np.cumsum([r.get("evaluations", 0) for r in result.rounds])
            sizes = [r.get("ess", np.nan) for r in result.rounds]
            axis.plot(spent, sizes, "o--", color=ORANGE, label="rounds, each by its own proposal")
        start, n = _before_the_draws(result), len(result.samples)
        axis.axvspan(0, start, color="0.93", linewidth=0)
        # upright, since a search is narrow
        axis.text(
            start / 2, 1.5, "search and training", rotation=90, ha="center", va="bottom", fontsize=8, color="0.35"
        )
        w = np.exp(result.log_weights - result.log_weights.max())
        with np.errstate(invalid="ignore"):
            running = np.cumsum(w) ** 2 / np.cumsum(w**2)
        axis.plot(start + np.arange(1, n + 1), running, color=BLUE, label="final draws")
        axis.plot(start + np.arange(1, n + 1), np.arange(1, n + 1), ":", color="0.5", label="if every draw counted")
        axis.set(xlabel="evaluations of the model", ylabel="effective samples", yscale="log", ylim=(0.8, 30 * n))
        axis.set_xlim(0, None)
        axis.set_title(f"{result.ess:.0f} effective samples after {start + n} evaluations", fontsize=10)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.legend(fontsize=8, loc="upper left")
        figure.tight_layout(rect=(0, 0, 1, 0.95))
        mark_verdict(figure, result)
        return save_figure(figure, path)


def _before_the_draws(result: Result) -> int:
    """Evaluations before the first of the draws that the result holds."""
    stages = list(result.evaluations)
    final = [stage for stage in stages if stage.startswith("final")]
    if not final:
        return max(sum(result.evaluations.values()) - len(result.samples), 0)
    upto = stages[: stages.index(final[-1]) + 1]
    return max(sum(result.evaluations[stage] for stage in upto) - len(result.samples), 0)


def _draw_tail(axis: Axes, positive: np.ndarray, n: int, k_hat: float) -> None:
    share = np.arange(len(positive), 0, -1) / n
    axis.plot(positive, share, color=BLUE, drawstyle="steps-pre", label="weights")
    tail = int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))
    if len(positive) > tail >= 5:
        threshold, excess = positive[-tail - 1], float(np.median(positive[-tail:] - positive[-tail - 1]))
        x = threshold + np.geomspace(excess * 1e-3, max(positive[-1] - threshold, excess) * 3, 200)
        for shape, colour, line, label in (
            (k_hat, VERMILION, "-", f"tail of k-hat = {k_hat:.2f}"),
            (LARGEST_K_HAT, "0.4", "--", f"limit: k-hat = {LARGEST_K_HAT}"),
        ):
            if np.isfinite(shape) and excess > 0:
                # Generalised Pareto of shape k whose median excess is that of the tail.
                k = shape if abs(shape) > 1e-3 else 1e-3  # to three digits the exponential that k = 0 stands for
                scale = excess * k / (2.0**k - 1)
                with np.errstate(divide="ignore"):
                    y = np.maximum(1 + k * (x - threshold) / scale, 0) ** (-1 / k)
                axis.plot(x, tail / n * y, color=colour, linestyle=line, linewidth=1, label=label)
    low, high = np.quantile(positive, 0.1), positive[-1]
    scale = "log" if high > NARROW * low else "linear"
    margin = 0.1 * (high - low or high)  # equal weights have no range of their own
    limits = (0.8 * low, 1.5 * high) if scale == "log" else (low - margin, high + margin)
    axis.set(xscale=scale, yscale="log", xlim=limits, ylim=(0.5 / n, 1.5))
    axis.set(xlabel="weight", ylabel="share of draws that weigh more")
    axis.set_title("tail of the weights", fontsize=10)
    axis.legend(fontsize=8, loc="upper right")


def _draw_evidence(axis: Axes, log_weights: np.ndarray, log_z: float, log_z_err: float) -> None:
    n = np.arange(1, len(log_weights) + 1)
    top = log_weights.max()
    w = np.exp(log_weights - top)
    first = max(int(np.argmax(w > 0)), len(n) // 50)  # the first few draws would only squeeze the scale
    mean, square = np.cumsum(w) / n, np.cumsum(w**2) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        running, error = top + np.log(mean), np.sqrt(np.maximum(square / mean**2 - 1, 0) / n)
    show = slice(first, None)
    axis.fill_between(n[show], (running - error)[show], (running + error)[show], color=BLUE, alpha=0.25, linewidth=0)
    axis.plot(n[show], running[show], color=BLUE, label="so far")
    axis.axhline(log_z, color=VERMILION, linewidth=1, label=f"ln Z = {log_z:.3f} $\\pm$ {log_z_err:.3f}")
    axis.set(xlabel="draws", ylabel="ln Z")
    axis.set_title("evidence draw by draw", fontsize=10)
    axis.legend(fontsize=8)
