"""What a fit costs against counts, channels, parameters and evaluation time, on the embedded engine.

    python benchmarks/scaling.py [--json scaling.json] [--picture docs/scaling.png]
    python benchmarks/scaling.py --axis counts --values 100 --values 10000 --ess 200

One axis is varied at a time about 10,000 counts, 300 channels and 5 parameters; the spectra are faked through a
response whose lines are 1.2 channels wide (sigma), 0.3-10 keV. The evaluation time is slept, beside the engine's own.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.sparse import csr_array

import xspec_sixsa as sixsa
from xspec_sixsa import embedded
from xspec_sixsa.common.files import plain
from xspec_sixsa.embedded.ogip import ARF, PHA, RMF, write_arf, write_pha, write_rmf

BASE = {"counts": 10_000, "channels": 300, "parameters": 5, "milliseconds": 0}
AXES: dict[str, tuple[float, ...]] = {
    "counts": (1e2, 1e3, 1e4, 1e5, 1e6),
    "channels": (100, 300, 1000, 3000, 10_000, 30_000),
    "parameters": (2, 3, 5, 8, 12),
    "milliseconds": (0, 1, 10, 100),
}
Entries = tuple[tuple[str, str, float, float, float], ...]
_POWERLAW = (("powerlaw.PhoIndex", "uniform", 1.8, 0.5, 4.0), ("powerlaw.norm", "loguniform", 1e-3, 1e-5, 1e-1))
_TBABS = (("TBabs.nH", "uniform", 0.2, 0.0, 1.0),)
_EDGE = (("edge.MaxTau", "uniform", 0.2, 0.0, 2.0),)
_BODY = (("bbodyrad.kT", "uniform", 0.25, 0.05, 1.0), ("bbodyrad.norm", "loguniform", 60.0, 0.1, 1e4))
_LINES = tuple(
    (f"{name}.{parameter}", kind, truth, low, high)
    for name, energy in (("gaussian", 6.4), ("gaussian_6", 1.9))
    for parameter, kind, truth, low, high in (
        ("LineE", "uniform", energy, energy - 0.4, energy + 0.4),
        ("Sigma", "uniform", 0.05, 0.0, 0.3),
        ("norm", "loguniform", 4e-5, 1e-7, 1e-3),
    )
)
MODELS: dict[int, tuple[str, Entries]] = {
    2: ("powerlaw", _POWERLAW),
    3: ("TBabs*powerlaw", _TBABS + _POWERLAW),
    5: ("TBabs*(powerlaw+bbodyrad)", _TBABS + _POWERLAW + _BODY),
    8: ("TBabs*(powerlaw+bbodyrad+gaussian)", _TBABS + _POWERLAW + _BODY + _LINES[:3]),
    12: ("TBabs*edge(powerlaw+bbodyrad+gaussian+gaussian)", _TBABS + _EDGE + _POWERLAW + _BODY + _LINES),
}
"""By number of free parameters: the expression, and (component.parameter, kind, truth, low, high) of each."""


class Slow:
    """The embedded engine with a slower model: so many milliseconds an evaluation."""

    def __init__(self, milliseconds: float) -> None:
        self._seconds = milliseconds / 1000

    def __getattr__(self, name: str) -> Any:
        return getattr(embedded, name)

    def evaluate_batch(self, theta: np.ndarray) -> Any:
        """As the engine's, but slow."""
        time.sleep(self._seconds * len(theta))
        return embedded.evaluate_batch(theta)


def set_up(folder: Path, counts: float, channels: int, parameters: int) -> list[Any]:
    """Fake a spectrum and load it with its model; return the priors."""
    write_instrument(folder, channels)
    expression, entries = MODELS[parameters]
    write_spectrum(folder, np.ones(channels, dtype=int), 1.0)
    load(folder, expression, entries)
    rate = np.array(embedded.AllModels(1).folded(1))
    exposure = counts / rate.sum()
    noisy = np.random.default_rng(1).poisson(rate * exposure)
    write_spectrum(folder, noisy, exposure)
    return load(folder, expression, entries)


def write_instrument(folder: Path, channels: int) -> None:
    edges = np.geomspace(0.25, 11.0, channels + 1)
    bounds = np.geomspace(0.3, 10.0, channels + 1)
    at = np.log(0.5 * (edges[1:] + edges[:-1]))
    position = (at - np.log(0.3)) / np.log(10.0 / 0.3) * channels - 0.5
    offsets = np.arange(-6, 7)
    rows = np.round(position).astype(int)[:, None] + offsets
    value = np.exp(-0.5 * ((rows - position[:, None]) / 1.2) ** 2)
    value /= value.sum(axis=1, keepdims=True)
    columns = np.broadcast_to(np.arange(channels)[:, None], rows.shape)
    inside = (rows >= 0) & (rows < channels)
    matrix = csr_array((value[inside], (rows[inside], columns[inside])), shape=(channels, channels))
    write_rmf(folder / "x.rmf", RMF("x", edges[:-1], edges[1:], bounds[:-1], bounds[1:], matrix))
    area = 500.0 * np.exp(-(((np.exp(at) - 1.5) / 4) ** 2))
    write_arf(folder / "x.arf", ARF("x", edges[:-1], edges[1:], area))


def write_spectrum(folder: Path, values: np.ndarray, exposure: float) -> None:
    channels = np.arange(values.size) + 1
    write_pha(folder / "x.pha", PHA("x", values, channels, exposure, detchans=values.size,
                                    respfile=str(folder / "x.rmf"), ancrfile=str(folder / "x.arf")))  # fmt: skip


def load(folder: Path, expression: str, entries: Entries) -> list[Any]:
    embedded.AllData.clear()
    embedded.AllModels.clear()
    embedded.Xset.chatter, embedded.Xset.allowPrompting = 0, False
    embedded.Xset.abund, embedded.Xset.xsect = "wilm", "vern"
    embedded.AllData(f"1:1 {folder / 'x.pha'}")
    embedded.Fit.statMethod = "cstat"
    model = embedded.Model(expression)
    priors = []
    for key, kind, truth, low, high in entries:
        component, name = key.split(".")
        parameter = getattr(getattr(model, component), name)
        parameter.values = truth
        parameter.frozen = False
        priors.append((sixsa.uniform if kind == "uniform" else sixsa.loguniform)(parameter, low, high))
    for component in model.componentNames:
        for name in getattr(model, component).parameterNames:
            if f"{component}.{name}" not in [key for key, *_ in entries]:
                getattr(getattr(model, component), name).frozen = True
    return priors


def measure(point: dict[str, float], options: dict[str, Any]) -> dict[str, Any]:
    """Fit one point; its cost."""
    with tempfile.TemporaryDirectory(prefix="sixsa-scaling-") as folder:
        priors = set_up(Path(folder), point["counts"], int(point["channels"]), int(point["parameters"]))
        began = time.monotonic()
        engine: Any = Slow(point["milliseconds"]) if point["milliseconds"] else embedded
        result = sixsa.fit(priors, xspec=engine, progress=False, polish=False, **options)
        wall = time.monotonic() - began
    inside = result.seconds.get("evaluation", 0.0)
    return {
        "evaluations": sum(result.evaluations.values()), "ess": result.ess, "status": result.status,
        "reasons": result.reasons, "seconds_model": inside, "seconds_other": wall - inside, "wall": wall,
        "log_z": result.log_z, "log_z_err": result.log_z_err, "k_hat": result.k_hat,
    }  # fmt: skip


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """Evaluations and seconds outside the model for 1,000 effective samples, axis by axis."""
    from matplotlib.figure import Figure

    titles = {"counts": "counts", "channels": "channels", "parameters": "free parameters",
              "milliseconds": "evaluation time (ms)"}  # fmt: skip
    axes = [axis for axis in AXES if any(p["axis"] == axis for p in points)]
    figure = Figure(figsize=(3.4 * len(axes), 5.6), layout="constrained")
    grid = figure.subplots(2, len(axes), squeeze=False, sharey="row")
    for column, axis in enumerate(axes):
        for row, (key, label, colour) in enumerate(
            (("evaluations", "evaluations", "#0072B2"), ("seconds_other", "seconds outside the model", "#D55E00"))
        ):
            panel, chosen = grid[row, column], [p for p in points if p["axis"] == axis]
            x, y = [p["value"] for p in chosen], [p[key] for p in chosen]
            panel.plot(x, y, "-", color=colour)
            for p, value in zip(chosen, y, strict=True):
                reliable = p["status"] == "reliable"
                panel.plot(p["value"], value, "o", color=colour, markerfacecolor=colour if reliable else "white")
            if axis == "milliseconds":
                panel.set_xscale("symlog")
            elif axis != "parameters":
                panel.set_xscale("log")
            panel.set_yscale("log")
            if row:
                panel.set_xlabel(titles[axis])
            if not column:
                panel.set_ylabel(label)
    figure.savefig(path, dpi=150)


@click.command(help=__doc__)
@click.option("--axis", "axes", multiple=True, type=click.Choice(list(AXES)), default=tuple(AXES))
@click.option("--values", multiple=True, type=float, help="Instead of the axis's own; for one --axis.")
@click.option("--ess", "target_ess", type=int, default=1000)
@click.option("--budget", type=int, default=None)
@click.option("--seed", type=int, default=1)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
@click.option("--picture", type=click.Path(path_type=Path), default=None)
def main(
    axes: tuple[str, ...], values: tuple[float, ...], path: Path | None, picture: Path | None, **options: Any
) -> None:
    if values and len(axes) != 1:
        raise click.UsageError("--values needs one --axis.")
    points: list[dict[str, Any]] = []
    print(f"{'axis':14} {'value':>9} {'evaluations':>11} {'ESS':>6} {'s in model':>10} {'s outside':>9}  status")
    for axis in axes:
        for value in values or AXES[axis]:
            point = measure({**BASE, axis: value}, options)
            points.append({"axis": axis, "value": value, **point})
            print(f"{axis:14} {value:9g} {point['evaluations']:11d} {point['ess']:6.0f} {point['seconds_model']:10.1f} "
                  f"{point['seconds_other']:9.1f}  {point['status']}", flush=True)  # fmt: skip
            if path is not None:
                path.write_text(
                    json.dumps(plain({"base": BASE, "options": options, "points": points}), indent=1) + "\n"
                )
    if picture is not None:
        draw(points, picture)


if __name__ == "__main__":
    main()
