"""The arrays behind a plot: data, background, model and components in the units of the x axis.

Definitions are those of the XSPEC manual ("The plot command", "The setplot command"); bins follow `setplot rebin`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.model import Model
from xspec_sixsa.embedded.qdp import NO_DATA, Table
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.units import ENERGY_UNITS, KEV_TO_ANGSTROM, KEV_TO_HZ, WAVE_UNITS

__all__ = ["Axis", "PlotArrays", "Rebin", "binned", "component_fluxes", "models_of", "unfolded"]

ERROR_TYPES = ("quad", "sqrt", "poiss-1", "poiss-2", "poiss-3")


@dataclass(frozen=True)
class Axis:
    """The x axis: ``channel``, an energy unit or a wavelength unit; and the redshift applied to it."""

    unit: str = "channel"
    redshift: float = 0.0
    per_hz: bool = True

    @property
    def kind(self) -> str:
        """``channel``, ``energy`` or ``wave``."""
        return "energy" if self.unit in ENERGY_UNITS else "wave" if self.unit in WAVE_UNITS else "channel"

    def place(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre and half width of the bins between two energies (keV)."""
        if self.kind == "energy":
            factor = ENERGY_UNITS[self.unit]
            return 0.5 * (high + low) * factor, 0.5 * (high - low) * factor
        factor = KEV_TO_ANGSTROM * WAVE_UNITS[self.unit]
        with np.errstate(divide="ignore", invalid="ignore"):
            centre, width = 0.5 * factor * (1 / high + 1 / low), 0.5 * factor * (1 / low - 1 / high)
        bad = (low <= 0) | (high <= 0)
        return np.where(bad, NO_DATA, centre), np.where(bad, NO_DATA, width)

    def width(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Width that densities are divided by: in the axis' unit, or in Hz for wavelengths `per_hz`; 1 where empty."""
        if self.kind == "energy":
            width = (high - low) * ENERGY_UNITS[self.unit]
        elif self.per_hz:
            width = KEV_TO_HZ * (high - low)
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                width = KEV_TO_ANGSTROM * (1 / low - 1 / high) * WAVE_UNITS[self.unit]
            width = np.where((low <= 0) | (high <= 0), 1.0, width)
        return np.where(width == 0, 1.0, width)


@dataclass(frozen=True)
class Rebin:
    """`setplot rebin`: combine up to `max_bins` channels until `min_sig` sigma are reached."""

    min_sig: float = 0.0
    max_bins: int = 1
    group: int = -1
    error_type: str = "quad"


@dataclass
class PlotArrays:
    """What one spectrum (or model) shows in one pane; every array has one value per plotted bin."""

    x: np.ndarray
    x_err: np.ndarray
    y: np.ndarray | None = None
    y_err: np.ndarray | None = None
    background: np.ndarray | None = None
    background_err: np.ndarray | None = None
    models: list[np.ndarray] = field(default_factory=list)
    components: list[np.ndarray] = field(default_factory=list)
    area_time: np.ndarray | None = None
    edges: tuple[np.ndarray, np.ndarray] | None = None
    spectrum: int = 0

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Data, their errors, and exposure times area scale, which the arrays of a spectrum have and a model's not."""
        assert self.y is not None and self.y_err is not None and self.area_time is not None
        return self.y, self.y_err, self.area_time

    def table(self) -> Table:
        """The columns in PLT's order: x, data, background, models, components, each followed by its error."""
        errors, columns = [1], [self.x, self.x_err]
        for values, error in ((self.y, self.y_err), (self.background, self.background_err)):
            if values is not None:
                columns.append(values)
                errors.append(0 if error is None else 1)
                if error is not None:
                    columns.append(error)
        columns += [*self.models, *self.components]
        errors += [0] * (len(self.models) + len(self.components))
        return errors, columns

    def scale(self, factor: np.ndarray) -> None:
        """Multiply every y array, points without data left alone."""
        for name in ("y", "y_err", "background", "background_err"):
            values = getattr(self, name)
            if values is not None:
                setattr(self, name, np.where(values == NO_DATA, NO_DATA, values * factor))
        self.models = [values * factor for values in self.models]
        self.components = [values * factor for values in self.components]


def models_of(number: int) -> list[tuple[int, Model]]:
    """(source number, model object) of every model folded for a spectrum."""
    spectrum = session.spectra[number - 1]
    found = []
    for source, name in sorted(AllModels.sources.items()):
        if spectrum.has_source(source):
            found.append((source, AllModels(spectrum.dataGroup, name)))
    return found


def binned(number: int, axis: Axis, rebin: Rebin, counts: bool = False, components: bool = False) -> PlotArrays:
    """Background-subtracted data and folded model of a spectrum, per unit of the x axis.

    Parameters
    ----------
    number : int
        Spectrum number, from 1.
    axis, rebin : Axis, Rebin
        Plot settings.
    counts : bool
        Counts instead of counts per second.
    components : bool
        Also the folded additive components, where a model has more than one.
    """
    spectrum = session.spectra[number - 1]
    channels = np.asarray(spectrum.noticed, dtype=int)
    if not len(channels):
        empty = np.empty(0)
        models = [empty] if models_of(number) else []
        return PlotArrays(empty, empty, empty, empty, background=empty, background_err=empty, models=models,
                          area_time=empty, edges=(empty, empty), spectrum=number)  # fmt: skip
    area_time = np.asarray(spectrum.exposure * _per_bin(spectrum.areaScale, channels))
    factor = area_time if counts else np.ones(len(channels))
    rate, variance = np.asarray(spectrum.values, dtype=float), np.asarray(spectrum.variance, dtype=float)
    background, background_variance, back_time, ratio = _background(spectrum, channels)
    correction = _correction(spectrum)
    data = (rate - background - correction) * factor
    spread = (variance + background_variance) * factor**2

    starts = _bin_starts(channels, data, spread, rebin)

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts)

    size = np.diff(np.append(starts, len(channels)))
    first, last = channels[starts], channels[np.append(starts[1:], len(channels)) - 1]
    mean_time = total(area_time) / size
    y, y_err = total(data), np.sqrt(total(spread))
    b, b_err = total(background * factor), np.sqrt(total(background_variance * factor**2))
    if rebin.error_type != "quad":
        y_err, b_err = _other_errors(total((rate - correction) * area_time), total(background * area_time),
                                     rebin.error_type, mean_time, counts)  # fmt: skip
    if spectrum.statMethod == "chi" and (y_err == 0).any():
        smallest = 1.0 / mean_time
        if back_time is not None:
            smallest = np.minimum(smallest, total(ratio / back_time) / size)
        y_err = np.where(y_err == 0, smallest * (mean_time if counts else 1.0), y_err)

    low, high = _edges(spectrum, axis, starts, size)
    if axis.kind == "channel":
        x, x_err = 0.5 * (first + last), 0.5 * (last - first + 1)
        norm = 1.0 / size
    else:
        low, high = low * (1 + axis.redshift), high * (1 + axis.redshift)
        x, x_err = axis.place(low, high)
        norm = (last - first + 1) / (axis.width(low, high) * size)

    folded = [total(np.asarray(m.folded(number), dtype=float) * factor) for _, m in models_of(number)]
    models = [sum(folded[1:], folded[0]), *folded] if len(folded) > 1 else folded
    parts = _folded_components(number, lambda v: total(v * factor)) if components else []
    arrays = PlotArrays(x, x_err, y, y_err, b, b_err, models, parts, mean_time, (low, high), number)
    arrays.scale(norm)
    return arrays


def unfolded(arrays: PlotArrays, axis: Axis, components: bool = False) -> PlotArrays:
    """Data times unfolded over folded model: photons/cm2/s per unit of the x axis (XSPEC manual, "plot ufspec")."""
    assert arrays.edges is not None and arrays.y is not None and arrays.y_err is not None
    low, high = arrays.edges
    width = axis.width(low, high)
    folded = arrays.models[0]
    fluxes = []
    for _, model in models_of(arrays.spectrum):
        edges = np.asarray(model.energies(arrays.spectrum), dtype=float)
        fluxes.append(_integrate(edges, np.asarray(model.values(arrays.spectrum), dtype=float), low, high) / width)
    arrays.models = [sum(fluxes[1:], fluxes[0]), *fluxes] if len(fluxes) > 1 else fluxes
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = arrays.models[0] / folded
    arrays.y = np.where(folded != 0, arrays.y * ratio, NO_DATA)
    arrays.y_err = np.where(folded != 0, arrays.y_err * ratio, NO_DATA)
    arrays.background = arrays.background_err = None
    arrays.components = []
    if components:
        for _, model in models_of(arrays.spectrum):
            edges, parts = component_fluxes(model, arrays.spectrum)
            arrays.components += [_integrate(edges, part, low, high) / width for part in parts]
    return arrays


def component_fluxes(model: Model, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (keV) and the flux (photons/cm2/s in each bin) of each additive component with its multiplying ones.

    No component where the model has only one additive: XSPEC then draws none.
    """
    import torch

    from xspec_sixsa.embedded.compiled import Memo, program

    edges = np.asarray(model.energies(number), dtype=float)
    record, group = model._record, model._group
    additive = [i for i, component in enumerate(record.expression.components) if component.kind == "add"]
    if len(additive) < 2:
        return edges, []
    compiled = program()
    grid = compiled.grid_of(edges)
    with torch.no_grad():
        values = compiled.values(None)
        memo: Memo = {}
        parts = [compiled.unfolded(record, group, grid, values, memo, only) for only in additive]
    return edges, [part[0].numpy() for part in parts]


def _folded_components(number: int, total: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    import torch

    from xspec_sixsa.embedded.evaluate import current

    parts = []
    for _, model in models_of(number):
        _, fluxes = component_fluxes(model, number)
        if fluxes:
            part = current().part(model._record, number)
            folded = part.fold(torch.as_tensor(np.stack(fluxes), dtype=torch.float64)).numpy()
            parts += [total(row) for row in folded]
    return parts


def _bin_starts(channels: np.ndarray, data: np.ndarray, spread: np.ndarray, rebin: Rebin) -> np.ndarray:
    """First noticed channel of every plotted bin."""
    if rebin.max_bins <= 1:
        return np.arange(len(channels))
    starts, i, n = [], 0, len(channels)
    while i < n:
        starts.append(i)
        end = channels[i] + rebin.max_bins - 1
        value = variance = 0.0
        while i < n and channels[i] <= end:
            value += data[i]
            variance += spread[i]
            i += 1
            if value > 0 and value * value >= variance * rebin.min_sig**2:
                break
    return np.asarray(starts, dtype=int)


def _edges(spectrum: Spectrum, axis: Axis, starts: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (keV) between which each bin lies; the channels may run up or down in energy."""
    try:
        energies = np.asarray(spectrum.energies, dtype=float).reshape(-1, 2)
    except XspecError:
        if axis.kind == "channel":
            return np.zeros(len(starts)), np.zeros(len(starts))
        raise
    first, last = energies[starts], energies[starts + size - 1]
    return np.minimum(first.min(axis=1), last.min(axis=1)), np.maximum(first.max(axis=1), last.max(axis=1))


def _background(
    spectrum: Spectrum, channels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Scaled background rate, its variance, the background's exposure times area scale, and the BACKSCAL ratio."""
    zero = np.zeros(len(channels))
    if not spectrum.has_background:
        return zero, zero, None, zero
    background = spectrum.background
    back_time = background.exposure * _per_bin(background.areaScale, channels)
    ratio = _per_bin(spectrum.backScale, channels) / _per_bin(background.backScale, channels)
    return np.asarray(background.values, float), np.asarray(background.variance, float), back_time, ratio


def _correction(spectrum: Spectrum) -> np.ndarray | float:
    if not spectrum.has_correction or not spectrum.cornorm:
        return 0.0
    return spectrum.cornorm * np.asarray(spectrum.correction.values, dtype=float)


def _per_bin(scale: float | tuple[float, ...], channels: np.ndarray) -> np.ndarray:
    """A scaling as one value per noticed bin; PyXspec gives one number, or one for every channel."""
    values = np.atleast_1d(np.asarray(scale, dtype=float))
    if len(values) == 1:
        return np.full(len(channels), values[0])
    return values if len(values) == len(channels) else values[channels - 1]


def _other_errors(
    count: np.ndarray, back: np.ndarray, kind: str, area_time: np.ndarray, counts: bool
) -> tuple[np.ndarray, np.ndarray]:
    """`setplot rebin`'s other errors: root N, and Gehrels' (1986, ApJ 303, 336) upper, lower and mean ones."""

    def gehrels(n: np.ndarray) -> np.ndarray:
        if kind == "poiss-1":
            return 1 + np.sqrt(0.75 + n)
        lower = np.sqrt(np.maximum(n - 0.25, 0.0))
        return lower if kind == "poiss-2" else 0.5 * (1 + np.sqrt(n + 0.75) + lower)

    if kind == "sqrt":
        y, b = np.sqrt(np.maximum(count + back, 0)), np.sqrt(np.maximum(back, 0))
    else:
        b = np.where(back != 0, gehrels(back), 0.0)
        y = np.sqrt(gehrels(count) ** 2 + b**2)
    return (y, b) if counts else (y / area_time, b / area_time)


def _integrate(edges: np.ndarray, flux: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Photon flux between two energies, taken as constant within each model bin."""
    if edges[0] > edges[-1]:
        edges, flux = edges[::-1], flux[::-1]
    cumulative = np.concatenate([[0.0], np.cumsum(flux)])
    return np.interp(high, edges, cumulative) - np.interp(low, edges, cumulative)
