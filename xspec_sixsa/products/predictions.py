"""Posterior predictions on XSPEC's own plot axes: `setplot energy`, rebinning and the rest as the user has set them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.embedded.plot_arrays import Axis
from xspec_sixsa.embedded.plot_kinds import y_label
from xspec_sixsa.products.plots.spectrum import draw_predictions
from xspec_sixsa.session.components import additive
from xspec_sixsa.session.opened import open_session
from xspec_sixsa.session.parameters import model_objects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xspec_sixsa.result import Result
    from xspec_sixsa.session import Session

__all__ = ["convolved", "unconvolved"]

STAGE = "predictions"
FOLDED = ("data", "ldata", "counts", "lcounts")
UNFOLDED = ("model", "emodel", "eemodel")


def convolved(
    result: Result,
    component_names: Sequence[str] | None = None,
    plot_args: Sequence[dict[str, Any]] | None = None,
    nsamples: int = 400,
    *,
    plottype: str = "counts",
    group: int = 1,
    axis: Axes | None = None,
    xspec: ModuleType | None = None,
) -> dict[str, Any]:
    """BXA's `posterior_predictions_convolved`: the folded model at draws of the posterior, beside the data.

    Parameters
    ----------
    result : Result
        Of the session that XSPEC holds now.
    component_names : sequence of str, optional
        Labels of the whole model and of each additive component; ``"ignore"`` leaves one undrawn.
    plot_args : sequence of dict, optional
        Arguments of `matplotlib.axes.Axes.plot` for each of them.
    nsamples : int, default 400
        Equal-weight draws. Each costs an evaluation, and one more a component where PyXspec has no `Plot.addComp`.
    plottype : {"counts", "lcounts", "data", "ldata"}
        XSPEC's plot.
    group : int, default 1
        XSPEC's plot group.
    axis : matplotlib Axes, optional
        Where to draw; default: pyplot's current axes, as in BXA.
    xspec : module, optional
        The PyXspec to use; default: the real one where it can be imported, else the embedded engine.

    Returns
    -------
    dict
        ``bins, width, data, error, background, backgrounderr`` (m,), ``models`` (nsamples, 1 + components, m): the
        whole model first; and ``names``, ``xlabel``, ``ylabel`` as XSPEC writes them.
    """
    if plottype not in FOLDED:
        raise ValueError(f"plottype {plottype!r} is not folded: use one of {', '.join(FOLDED)}.")
    found = _predictions(result, plottype, nsamples, group, xspec)
    _draw(found, component_names, plot_args, axis, "convolved model")
    return found


def unconvolved(
    result: Result,
    component_names: Sequence[str] | None = None,
    plot_args: Sequence[dict[str, Any]] | None = None,
    nsamples: int = 400,
    plottype: str = "model",
    *,
    group: int = 1,
    axis: Axes | None = None,
    xspec: ModuleType | None = None,
) -> dict[str, Any]:
    """BXA's `posterior_predictions_unconvolved`: the model before the response, at draws of the posterior.

    Parameters
    ----------
    result, component_names, plot_args, nsamples
        As for `convolved`.
    plottype : {"model", "emodel", "eemodel"}
        XSPEC's plot.
    group, axis, xspec
        As for `convolved`.

    Returns
    -------
    dict
        ``bins, width, models, names, xlabel, ylabel``.
    """
    if plottype not in UNFOLDED:
        raise ValueError(f"plottype {plottype!r} is no plot of the model alone: use one of {', '.join(UNFOLDED)}.")
    found = _predictions(result, plottype, nsamples, group, xspec)
    _draw(found, component_names, plot_args, axis, "model")
    return found


def _predictions(result: Result, plottype: str, nsamples: int, group: int, xspec: ModuleType | None) -> dict[str, Any]:
    session = open_session(result, xspec)
    plot = session.module.Plot
    folded = plottype in FOLDED
    index, repeats = np.unique(result.resample(nsamples, return_index=True), return_counts=True)
    theta = result.samples[index]
    adds = hasattr(plot, "addComp")

    def draw() -> None:
        plot.device = "/null"
        plot.background, plot.add = folded, adds
        plot(plottype)

    def size() -> np.ndarray:
        draw()
        return np.array([len(plot.x(group)), _n_components(plot, group) if adds else 0])

    def arrays() -> np.ndarray:
        draw()
        rows = [plot.x(group), plot.xErr(group)]
        if folded:
            rows += [plot.y(group), plot.yErr(group), _background(plot, group)]
        rows.append(plot.model(group))
        rows += [plot.addComp(k + 1, group) for k in range(parts)]
        return np.concatenate([np.asarray(row, dtype=float) for row in rows])

    def whole() -> np.ndarray:
        draw()
        return np.asarray(plot.model(group), dtype=float)

    before = session.evaluations[STAGE]
    with session:
        first, reasons = session.measure(theta[:1], size, 2, STAGE)
        if reasons[0]:
            raise RuntimeError(f"XSPEC could not make the plot {plottype}, group {group}: {reasons[0]}.")
        points, parts = (int(n) for n in first[0])
        width = points * ((5 if folded else 2) + 1 + parts)
        values, reasons = session.measure(theta, arrays, width, STAGE)
        components = {}
        if not adds:
            components = session.measure_components(theta, whole, points, STAGE)
            if len(components) == 1:  # XSPEC shows no components where there is only one
                components = {}
        names = list(components) if not adds else _additive(session)[:parts]
    result.evaluations[STAGE] = result.evaluations.get(STAGE, 0) + session.evaluations[STAGE] - before
    good = np.array([not reason for reason in reasons])
    if not good.any():
        raise RuntimeError(f"XSPEC made the plot {plottype} at none of {len(theta)} draws: {reasons[0]}.")
    rows = values.reshape(len(theta), -1, points)
    models = rows[:, (5 if folded else 2) :]
    if components:
        models = np.concatenate([models, *(curve[:, None] for curve in components.values())], axis=1)
    models = np.repeat(models[good], repeats[good], axis=0)
    x_label, y_label = _labels(plot, plottype)
    found = {"bins": rows[good][0, 0], "width": rows[good][0, 1]}
    if folded:
        keys = ("data", "error", "background")
        found |= dict(zip(keys, rows[good][0, 2:5], strict=True))
        found["backgrounderr"] = np.zeros(points)
    return found | {"models": models, "names": names, "xlabel": x_label, "ylabel": y_label}


def _n_components(plot: Any, group: int) -> int:
    """Number of additive components drawn; where PyXspec has `addComp` but no `nAddComps`, it raises after the last."""
    if hasattr(plot, "nAddComps"):
        return int(plot.nAddComps(group))
    number = 0
    with contextlib.suppress(Exception):  # PyXspec raises plain Exception
        while len(plot.addComp(number + 1, group)):
            number += 1
    return number


def _background(plot: Any, group: int) -> Any:
    try:
        return plot.backgroundVals(group)
    except Exception:  # PyXspec raises plain Exception where no background is attached
        return np.zeros(len(plot.x(group)))


def _additive(session: Session) -> list[str]:
    found = additive(model_objects(session.module))
    return [f"{name}:{component}" if name else component for name, component in found]


def _labels(plot: Any, plottype: str) -> tuple[str, str]:
    """XSPEC's own labels; PyXspec of 12.9.1 does not give them."""
    unit = plot.xAxis
    if unit == "channel" and plottype in UNFOLDED:
        unit = "keV"
    axis = Axis(unit, float(plot.redshift or 0.0), bool(plot.perHz))
    name = {"channel": "Channel", "energy": f"Energy ({unit})", "wave": f"Wavelength ({unit})"}[axis.kind]
    return name, y_label(plottype, axis)


def _draw(
    found: dict[str, Any],
    component_names: Sequence[str] | None,
    plot_args: Sequence[dict[str, Any]] | None,
    axis: Axes | None,
    whole: str,
) -> None:
    if axis is None:
        from matplotlib import pyplot

        axis = pyplot.gca()
    names = [whole, *found["names"]] if component_names is None else list(component_names)
    draw_predictions(axis, found, names, plot_args)
