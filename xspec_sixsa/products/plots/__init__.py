"""Pictures of a result. PNG, PDF or SVG by the file's suffix; nothing of the user's matplotlib is touched."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xspec_sixsa.products.plots.corner import corner_plot
from xspec_sixsa.products.plots.learned import learned_plots
from xspec_sixsa.products.plots.networks import (
    plot_coverage,
    plot_emulator_errors,
    plot_latents,
    plot_reconstruction,
    plot_retriever,
)
from xspec_sixsa.products.plots.rounds import rounds_plot
from xspec_sixsa.products.plots.spectrum import predictions_plot, predictive_plot
from xspec_sixsa.products.plots.weights import cost_plot, weights_plot

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = [
    "corner_plot",
    "cost_plot",
    "learned_plots",
    "plot_all",
    "plot_coverage",
    "plot_emulator_errors",
    "plot_latents",
    "plot_reconstruction",
    "plot_retriever",
    "predictions_plot",
    "predictive_plot",
    "rounds_plot",
    "weights_plot",
]

log = logging.getLogger(__name__)


def plot_all(
    result: Result,
    directory: str | os.PathLike[str],
    *,
    suffix: str = "png",
    only: Iterable[str] | None = None,
    **corner_options: Any,
) -> list[Path]:
    """Draw what the result has data for. A picture that fails is logged, not fatal.

    Parameters
    ----------
    result : Result
    directory : path
    suffix : {"png", "pdf", "svg"}
    only : iterable of str, optional
        Pictures to be drawn, by name; default: all.
    **corner_options
        Handed to `corner_plot`.

    Returns
    -------
    list of Path
        The files made: `corner`, `predictive`, `rounds`, `weights`, `cost`, and those of `learned.LEARNED`.
    """
    made: list[Path] = []
    jobs: list[tuple[str, Any, dict[str, Any]]] = []
    if (result.weights > 0).any():
        jobs.append(("corner", corner_plot, corner_options))
    if result.predictive_data:
        jobs.append(("predictive", predictive_plot, {}))
    if result.rounds:
        jobs.append(("rounds", rounds_plot, {}))
    if (result.weights > 0).any():
        jobs.append(("weights", weights_plot, {}))
        if not result.control:  # emulated draws cost no evaluation
            jobs.append(("cost", cost_plot, {}))
    jobs += [(name, draw, {}) for name, draw in learned_plots(result)]
    wanted = None if only is None else set(only)
    for name, draw, options in jobs:
        if wanted is not None and name not in wanted:
            continue
        # The fit is what the user waited for; it must not be lost for the sake of a picture.
        try:
            made.append(draw(result, Path(directory) / f"{name}.{suffix}", **options))
        except Exception as error:
            log.warning("%s.%s could not be made: %s", name, suffix, error)
    return made
