"""How the posterior came about: round by round, and the networks' training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.products.plots.style import (
    BLUE,
    ONE_SIGMA,
    ORANGE,
    SKY,
    STYLE,
    VERMILION,
    axis_label,
    mark_verdict,
    new_figure,
    powers_of_ten,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xspec_sixsa.result import Result

__all__ = ["rounds_plot"]

WORTH = {
    "ess": "effective sample size",
    "error": "emulator's error in ln L",
    "power": "power of the likelihood",
}


def rounds_plot(result: Result, path: str | os.PathLike[str]) -> Path:
    """Draw every parameter's posterior round by round, what each round was worth, and the training curves.

    Its worth is the effective sample size of a round's own draws; of a search's step, the emulator's error in ln L and
    the power to which the likelihood was taken.

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
        Where the result holds no rounds.
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    rounds = result.rounds
    if not rounds:
        raise ValueError("The result holds no rounds, so there is nothing to draw.")
    networks = list(dict.fromkeys(name for r in rounds for name in (r.get("training") or {})))
    worth = [(key, title) for key, title in WORTH.items() if any(key in r for r in rounds)]
    panels = len(result.names) + len(worth) + len(networks)
    columns = min(panels, 4)
    rows = -(-panels // columns)
    number = [int(r.get("round", i)) for i, r in enumerate(rounds)]
    unit, power = powers_of_ten(result)
    with mpl.rc_context(STYLE):
        figure = new_figure(3.3 * columns, 2.7 * rows + 0.4)
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
            axis.set_title(axis_label(result.labels[i], result.units[i], power[i]), fontsize=10)
        grid[0].legend(fontsize=8)
        for axis, (key, title) in zip(grid[len(result.names) :], worth, strict=False):
            axis.plot(number, [r.get(key, np.nan) for r in rounds], "o-", color=BLUE)
            axis.set_yscale("log")
            axis.set_title(title, fontsize=10)
        for axis in grid[: len(result.names) + len(worth)]:
            axis.set_xlim(min(number) - 0.6, max(number) + 0.6)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_xlabel("round")
        for axis, network in zip(grid[len(result.names) + len(worth) :], networks, strict=False):
            _draw_training(axis, network, rounds)
        for axis in grid[panels:]:
            axis.set_visible(False)
        figure.tight_layout(rect=(0, 0, 1, 0.97))
        mark_verdict(figure, result)
        return save_figure(figure, path)


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
