"""What each plot command shows: residuals, ratios, unfolded spectra and their labels, from the binned arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.plot_arrays import Axis, PlotArrays, unfolded
from xspec_sixsa.embedded.qdp import NO_DATA
from xspec_sixsa.embedded.state import session
from xspec_sixsa.embedded.units import KEV_TO_ANGSTROM, KEV_TO_ERG, KEV_TO_HZ, WAVE_UNITS

__all__ = ["ABSENT_PLOTS", "BINNED_PLOTS", "DATA_PLOTS", "FINISH", "MODEL_PLOTS", "UNFOLDED_PLOTS", "model_factor",
           "title", "y_label"]  # fmt: skip

DATA_PLOTS = ("data", "ldata", "counts", "lcounts", "icounts")
BINNED_PLOTS = (*DATA_PLOTS, "background", "foldmodel", "residuals", "ratio", "delchi", "chisq")
MODEL_PLOTS = ("model", "emodel", "eemodel")
UNFOLDED_PLOTS = ("ufspec", "eufspec", "eeufspec")
ABSENT_PLOTS = ("chain", "contour", "integprob", "dem", "efficiency", "eqw", "goodness", "insensitivity", "margin",
                "sensitivity", "sum")  # fmt: skip


def model_factor(group: PlotArrays, kind: str, axis: Axis) -> np.ndarray:
    """From photons/cm2/s in a bin to the density that `model`, `emodel` and `eemodel` show."""
    energy = _energy_factor(group, kind.removesuffix("model"), axis)
    if axis.kind == "wave" and axis.per_hz:
        inverse = KEV_TO_ANGSTROM * WAVE_UNITS[axis.unit]
        with np.errstate(divide="ignore", invalid="ignore"):
            half = KEV_TO_HZ * inverse * group.x_err / (group.x**2 - group.x_err**2)
        return energy / (2 * half)
    return energy / (2 * group.x_err)


def _energy_factor(group: PlotArrays, power: str, axis: Axis) -> np.ndarray:
    """The energy (power ``e``) or its square (``ee``) in the plot's units: Jy and erg where per Hz, else the axis' own.

    The energy of a bin is the geometric mean of its edges, in erg on a wavelength axis (XSPEC manual, "plot eufspec").
    """
    if not power:
        return np.ones(len(group.x))
    product = (group.x - group.x_err) * (group.x + group.x_err)
    hz_to_erg = KEV_TO_ERG / KEV_TO_HZ
    if axis.kind == "energy":
        if axis.unit == "Hz":
            return 1e23 * hz_to_erg * np.sqrt(product) if power == "e" else hz_to_erg * product
        return np.sqrt(product) if power == "e" else product
    conversion = KEV_TO_ANGSTROM * WAVE_UNITS[axis.unit] * KEV_TO_ERG
    if axis.per_hz:
        return 1e23 * conversion / np.sqrt(product) if power == "e" else conversion**2 / product / hz_to_erg
    return conversion / np.sqrt(product) if power == "e" else (conversion * group.x / product) ** 2


def _finish_data(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    return group if with_background else replace(group, background=None, background_err=None)


def _finish_background(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    return replace(group, y=group.background, y_err=group.background_err, background=None, background_err=None)


def _finish_foldmodel(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    return replace(group, y=None, y_err=None, background=None, background_err=None)


def _without_model(group: PlotArrays, y: np.ndarray, y_err: np.ndarray | None) -> PlotArrays:
    return replace(group, y=y, y_err=y_err, background=None, background_err=None, models=[], components=[])


def _finish_residuals(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    return _without_model(group, group.y - group.models[0], group.y_err)


def _finish_ratio(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    model = group.models[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(model == 0, NO_DATA, group.y / model)
        y_err = None if group.y_err is None else np.where(model == 0, NO_DATA, group.y_err / model)
    return _without_model(group, y, y_err)


def _finish_delchi(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    """(data - model)/error; for the Poisson statistics in counts, with the model's own root as error."""
    model = group.models[0]
    data, data_err, area_time = group.data()
    with np.errstate(divide="ignore", invalid="ignore"):
        if _statistic(group) == "chi":
            y = (data - model) / np.hypot(data_err, AllModels.systematic * model)
        else:
            counts = area_time * 2 * group.x_err
            observed, expected = data * counts, model * counts
            spread = np.sqrt(np.where(expected > 0, expected, np.maximum(observed, 0)))
            y = (observed - expected) / np.where(spread > 0, spread, 1 + np.sqrt(0.75))
    return _without_model(group, y, np.ones(len(y)))


def _finish_chisq(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    """Signed contributions to the statistic, in the plot's own densities as XSPEC has them."""
    model = group.models[0]
    data, data_err, area_time = group.data()
    with np.errstate(divide="ignore", invalid="ignore"):
        if _statistic(group) == "chi":
            difference = data - model
            y = np.sign(difference) * difference**2 / (data_err**2 + (AllModels.systematic * model) ** 2)
        else:
            observed, expected = data * area_time, model * area_time
            term = 2 * (expected - observed * (1 - np.log(observed) + np.log(expected)))
            signed = np.where(expected > 0, np.where(observed >= expected, 1.0, -1.0) * term, NO_DATA)
            y = np.where(observed > 0, signed, 2 * expected)
    return _without_model(group, y, None)


def _finish_icounts(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    group = _finish_data(group, kind, axis, False)
    data, _, _ = group.data()
    width = 2 * group.x_err
    total = float(np.sum(data * width))

    def integrated(values: np.ndarray) -> np.ndarray:
        return np.cumsum(values * width) / (total or 1.0)

    return replace(group, y=integrated(data), y_err=None, models=[integrated(m) for m in group.models],
                   components=[integrated(c) for c in group.components])  # fmt: skip


def _finish_unfolded(group: PlotArrays, kind: str, axis: Axis, with_background: bool) -> PlotArrays:
    group = unfolded(group, axis, components=bool(group.components))
    group.scale(_energy_factor(group, kind.removesuffix("ufspec"), axis))
    return group


FINISH: dict[str, Callable[[PlotArrays, str, Axis, bool], PlotArrays]] = {
    **dict.fromkeys(("data", "ldata", "counts", "lcounts"), _finish_data),
    **dict.fromkeys(UNFOLDED_PLOTS, _finish_unfolded),
    "icounts": _finish_icounts, "background": _finish_background, "foldmodel": _finish_foldmodel,
    "residuals": _finish_residuals, "ratio": _finish_ratio, "delchi": _finish_delchi, "chisq": _finish_chisq,
}  # fmt: skip


def _statistic(group: PlotArrays) -> str:
    return session.spectra[group.spectrum - 1].statMethod


def y_label(kind: str, axis: Axis) -> str:
    """Return the label of a plot's y axis, with PLT's escapes."""
    unit = {"energy": axis.unit, "wave": "Hz" if axis.per_hz else axis.unit, "channel": "chan"}[axis.kind]
    per_unit = f"{unit}\\u-1\\d"
    photons = f"Photons cm\\u-2\\d s\\u-1\\d {per_unit}"
    if kind in ("data", "ldata", "residuals", "foldmodel", "background"):
        return f"normalized counts s\\u-1\\d {per_unit}"
    if kind in ("counts", "lcounts"):
        return f"counts {per_unit}"
    if kind in ("icounts", "ratio", "delchi", "chisq"):
        return {"icounts": "normalized integrated counts", "ratio": "ratio", "delchi": "(data-model)/error",
                "chisq": "sign(data-model) \\x \\gD"}[kind]  # fmt: skip
    power = kind.removesuffix("model").removesuffix("ufspec")
    if not power:
        return photons
    if unit == "Hz":
        return "F\\d\\gn\\u (Jy)" if power == "e" else "\\gn F\\d\\gn\\u (ergs cm\\u-2\\d s\\u-1\\d)"
    energy = axis.unit if axis.kind == "energy" else "erg"
    square = "" if power == "e" else "\\u2\\d"
    return f"{energy}{square} ({photons})"


def title(kind: str, with_model: bool) -> str:
    """Return the title of a plot, as XSPEC writes it."""
    titles = {"residuals": "residuals", "ratio": "data/model", "delchi": "Square root of chi-squared for each channel",
              "chisq": "contributions to", "foldmodel": "folded model", "icounts": "integrated counts and folded model",
              **dict.fromkeys(MODEL_PLOTS, "Current Theoretical Model"),
              **dict.fromkeys(UNFOLDED_PLOTS, "Unfolded Spectrum")}  # fmt: skip
    return titles.get(kind, "data and folded model" if with_model else "data")
