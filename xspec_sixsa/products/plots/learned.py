"""Pictures of what a run's networks and emulator have learned, from the result's `network_data`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xspec_sixsa.products.plots.networks import (
    plot_coverage,
    plot_emulator_errors,
    plot_latents,
    plot_reconstruction,
    plot_retriever,
)
from xspec_sixsa.result.prioredges import prior_ranges

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["LEARNED", "learned_plots"]

Draw = Callable[["Result", "str | os.PathLike[str]"], Path]


def learned_plots(result: Result) -> list[tuple[str, Draw]]:
    """File stem and function of every picture that the result has data for."""
    return [(name, draw) for name, (needed, draw) in LEARNED.items() if needed in result.network_data]


def _coverage(result: Result, path: str | os.PathLike[str]) -> Path:
    data, spectra = result.network_data, result.predictive_data
    title = f"{spectra[0].name} (1 of {len(spectra)} spectra)" if len(spectra) > 1 else ""
    return plot_coverage(
        data["coverage_simulated"], data["coverage_observed"], data["coverage_energies"], path, title=title
    )


def _latents(result: Result, path: str | os.PathLike[str]) -> Path:
    data = result.network_data
    return plot_latents(
        data["latents_prior"], data["latents_observed"], path, test=data["latents_posterior"],
        test_label="spectra of the posterior",
    )  # fmt: skip


def _reconstruction(result: Result, path: str | os.PathLike[str]) -> Path:
    data = result.network_data
    low, high, *curves = data["reconstruction_example"]
    kinds = {"chi-squared" if s.statistic == "chi" else "C-stat" for s in result.predictive_data}
    return plot_reconstruction(
        data["reconstruction_model"], data["reconstruction_again"], path,
        example=(np.stack([low, high], axis=1), *curves), statistic=" + ".join(sorted(kinds)),
    )  # fmt: skip


def _parameters(result: Result, path: str | os.PathLike[str]) -> Path:
    true, read = result.network_data["parameters_true"], result.network_data["parameters_read"]
    logs = {name for name, _, _, logarithmic in prior_ranges(result.fingerprint) if logarithmic}
    return plot_retriever(
        true, read, result.labels, path, units=result.units,
        logarithmic=[name in logs for name in result.names],
    )  # fmt: skip


def _emulator(result: Result, path: str | os.PathLike[str]) -> Path:
    data = result.network_data
    return plot_emulator_errors(data["emulator_errors"], path, limit=float(data["emulator_limit"]))


LEARNED: dict[str, tuple[str, Draw]] = {
    "coverage": ("coverage_simulated", _coverage),
    "emulator": ("emulator_errors", _emulator),
    "parameters": ("parameters_true", _parameters),
    "latents": ("latents_prior", _latents),
    "reconstruction": ("reconstruction_model", _reconstruction),
}
"""By file stem: what the result must hold, and the function that draws it."""
