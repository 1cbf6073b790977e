"""The common look of all pictures: colours, sizes, labels, the verdict on every page, files written whole.

Drawn on matplotlib's Agg canvas without pyplot, so that nothing of the user's own figures, backend or style is touched.
Colours are those of Okabe & Ito (2008), told apart with every common colour vision.
"""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xspec_sixsa.result import Result

__all__ = ["axis_label", "mark_verdict", "mathtext", "new_figure", "powers_of_ten", "save_figure"]

BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
)  # fmt: skip
COMPONENTS = (ORANGE, GREEN, PURPLE, VERMILION, SKY, YELLOW)
COMPONENT_LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
STYLE: dict[Any, Any] = {
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


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that pyplot does not know of: the user's own figures and backend stay as they are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a picture, the file as a whole; PNG, PDF or SVG by suffix."""
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"{path.name}: pictures are written as .png, .pdf or .svg, by the suffix.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind)
    return path


def mark_verdict(figure: Figure, result: Result) -> None:
    """Nobody should pass on a picture of an unreliable run without knowing it."""
    if not result.reliable:
        reason = (result.reasons or ["no reason was recorded"])[0]
        text = textwrap.shorten(f"UNRELIABLE: {reason}", int(11 * figure.get_figwidth()), placeholder=" ...")
        figure.text(0.01, 0.995, text, color=VERMILION, fontsize=10, weight="bold", va="top")


def axis_label(label: str, unit: str, power: int) -> str:
    """A parameter and its unit on two lines; `power`: of ten that its values were divided by."""
    unit = unit.replace("10^22", "10$^{22}$ cm$^{-2}$")
    unit = f"10$^{{{power}}}$ {unit}".strip() if power else unit
    return f"{label}\n({unit})" if unit else label


def mathtext(label: str) -> str:
    r"""XSPEC's label (PLT escapes: ``\\u-1\\d`` is a superscript) for matplotlib."""
    label = re.sub(r"\\d(\\g\w)\\u", r"$_{\1}$", label)
    label = re.sub(r"\\u([^\\]*)\\d", r"$^{\1}$", label)
    for escape, symbol in ((r"\gn", r"\nu"), (r"\gD", r"\Delta"), (r"\gl", r"\lambda"), (r"\x", r"\times")):
        label = label.replace(f"$_{{{escape}}}$", f"$_{{{symbol}}}$")
        label = label.replace(escape, f"${symbol}$")
    return label


def powers_of_ten(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Factor (and its exponent) that brings a small or large parameter to numbers that fit on an axis; 1 otherwise."""
    keep = result.weights > 0
    typical = np.abs(result.quantile(0.5)) if keep.any() else np.abs(result.best_fit)
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log10(typical))
    exponent = np.where(np.isfinite(exponent) & ((exponent < -2) | (exponent > 3)), exponent, 0).astype(int)
    return 10.0**exponent, exponent
