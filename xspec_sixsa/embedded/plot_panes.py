"""The panes of a plot: which ones a command asks for, and the arrays that each shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.model import Model
from xspec_sixsa.embedded.plot_arrays import Axis, PlotArrays, Rebin, binned, component_fluxes, models_of
from xspec_sixsa.embedded.plot_kinds import (
    ABSENT_PLOTS,
    BINNED_PLOTS,
    DATA_PLOTS,
    FINISH,
    MODEL_PLOTS,
    UNFOLDED_PLOTS,
    model_factor,
)
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["PaneSettings", "compute", "drawn_axis", "requests"]

COMMANDS = tuple(sorted((*BINNED_PLOTS, *MODEL_PLOTS, *UNFOLDED_PLOTS, *ABSENT_PLOTS)))


@dataclass(frozen=True)
class PaneSettings:
    """What of `Plot`'s settings the arrays depend on.

    Attributes
    ----------
    axis : Axis
    rebin : dict of int to Rebin
        By plot group; -1 for those not named.
    add, background : bool
        Whether data plots carry the additive components, and the background.
    """

    axis: Axis
    rebin: dict[int, Rebin]
    add: bool
    background: bool


def requests(words: list[str]) -> list[tuple[str, str]]:
    """(command, model name) pairs; a word after a model plot that is no command is a model's name."""
    found: list[tuple[str, str]] = []
    for word in words:
        matches = [name for name in COMMANDS if name.startswith(word.lower())]
        may_be_a_name = bool(found) and found[-1][0] in MODEL_PLOTS and not found[-1][1]
        if may_be_a_name and (not matches or word in AllModels.sources.values()):
            found[-1] = (found[-1][0], word)
        elif not matches:
            raise XspecError(f"Plot: {word!r} is not a plot command: use {_present()}.")
        elif matches[0] in ABSENT_PLOTS:
            raise XspecError(f"Plot({matches[0]!r}) is not in the embedded engine. It has {_present()}.")
        else:
            found.append((matches[0], ""))
    return found


def _present() -> str:
    return ", ".join(name for name in COMMANDS if name not in ABSENT_PLOTS)


def drawn_axis(axis: Axis, kind: str) -> Axis:
    """Return the axis of a pane: model and unfolded plots have no channel axis, XSPEC then takes energies."""
    if axis.kind == "channel" and kind in (*MODEL_PLOTS, *UNFOLDED_PLOTS):
        return replace(axis, unit="keV")
    return axis


def compute(kind: str, name: str, donor: list[PlotArrays] | None, settings: PaneSettings) -> list[PlotArrays]:
    """Return the arrays of one pane, by plot group.

    Parameters
    ----------
    kind : str
        Plot command.
    name : str
        Of the model that a model plot shows.
    donor : list of PlotArrays, optional
        The data plot in the pane above, whose densities residuals and ratios take over.
    settings : PaneSettings

    Raises
    ------
    XspecError
        Where the data or the model are missing that the plot shows.
    """
    axis = drawn_axis(settings.axis, kind)
    if kind in MODEL_PLOTS:
        return _model_groups(kind, name, axis)
    if not session.spectra:
        raise XspecError(f"Plot({kind!r}): no data are loaded. Load a spectrum first, e.g. Spectrum('src.pha').")
    if donor is not None and kind in ("residuals", "ratio"):
        groups = [replace(group, models=list(group.models), components=[]) for group in donor]
    else:
        groups = [_binned(kind, number, axis, settings) for number in range(1, len(session.spectra) + 1)]
    if kind not in (*DATA_PLOTS, "background") and not all(group.models for group in groups):
        raise XspecError(f"Plot({kind!r}): no model is defined for every spectrum. Define one with Model(...).")
    return [FINISH[kind](group, kind, axis, settings.background) for group in groups]


def _binned(kind: str, number: int, axis: Axis, settings: PaneSettings) -> PlotArrays:
    # XSPEC draws the components of model and unfolded plots whether or not `add` is set.
    with_components = kind in UNFOLDED_PLOTS or (settings.add and kind in (*DATA_PLOTS, "background", "foldmodel"))
    rebin = settings.rebin.get(number, settings.rebin.get(-1, Rebin()))
    return binned(number, axis, rebin, kind in ("counts", "lcounts", "icounts"), with_components)


def _model_groups(kind: str, name: str, axis: Axis) -> list[PlotArrays]:
    if name not in AllModels.sources.values():
        what = f"named {name!r}" if name else "with the default name"
        raise XspecError(f"Plot({kind!r}): no model has been entered {what}.")
    groups = []
    if not session.spectra:
        groups.append(_model_arrays(AllModels(1, name), 0, axis))
    for number in range(1, len(session.spectra) + 1):
        for _, model in models_of(number):
            if model.name == name:
                groups.append(_model_arrays(model, number, axis))
    for group in groups:
        group.scale(model_factor(group, kind, axis))
    return groups


def _model_arrays(model: Model, number: int, axis: Axis) -> PlotArrays:
    edges = np.asarray(model.energies(number), dtype=float)
    x, x_err = axis.place(edges[:-1] * (1 + axis.redshift), edges[1:] * (1 + axis.redshift))
    parts = component_fluxes(model, number)[1]
    return PlotArrays(x, x_err, models=[np.asarray(model.values(number), dtype=float)], components=parts)
