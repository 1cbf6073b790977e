"""Parameters in, folded spectra and fit statistic out: for one parameter set or for thousands at once.

A batch is evaluated in torch (float64), so the result can be differentiated.  Parts of the model whose parameters do
not vary within the batch are computed once, and what data groups share is computed once for all of them.  One
parameter set (`current`) goes the same way and is kept until a value, the data or a setting changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from xspec_sixsa.embedded.compiled import Memo, Part, Program, dummy_edges, program
from xspec_sixsa.embedded.links import Link
from xspec_sixsa.embedded.parameterstate import ParameterState, values_version
from xspec_sixsa.embedded.record import ModelRecord
from xspec_sixsa.embedded.state import XspecError, session

if TYPE_CHECKING:
    from xspec_sixsa.embedded.spectrum import Spectrum

__all__ = [
    "Current",
    "Evaluated",
    "Program",
    "area_time",
    "current",
    "current_components",
    "dummy_edges",
    "evaluate",
    "evaluate_batch",
    "evaluate_components",
    "evaluate_flux",
    "evaluations",
    "free_parameters",
    "linked_values",
    "program",
]

_counted = 0


def evaluations() -> int:
    """Return how many parameter sets have been evaluated since the engine was imported, for whatever purpose."""
    return _counted


@dataclass(frozen=True)
class Evaluated:
    """Folded models and statistic of a batch of `n` parameter sets.

    Attributes
    ----------
    folded : list of Tensor (n, groups)
        Counts/s in the noticed groups, one tensor for each spectrum, all sources summed.
    statistic : Tensor (n,)
        Fit statistic, with -2 ln prior where `Fit.bayes` is on; NaN where the model is not finite.
    """

    folded: list[Tensor]
    statistic: Tensor


def free_parameters() -> list[ParameterState]:
    """Return the free parameters in XSPEC's order: by model as defined, then by data group, then by index."""
    return list(program().free)


def _checked(theta: Any, compiled: Program) -> Tensor:
    tensor = torch.as_tensor(theta, dtype=torch.float64)
    if tensor.ndim != 2 or tensor.shape[1] != len(compiled.free):
        raise XspecError(
            f"Error: evaluate needs an array of shape (n, {len(compiled.free)}), one column for each free parameter in "
            f"XSPEC's order ({', '.join(s.label for s in compiled.free) or 'there is none'}), "
            f"not {tuple(tensor.shape)}."
        )
    return tensor


def evaluate(theta: Any, *, statistic: bool = True) -> Evaluated:
    """Evaluate a batch of parameter sets through all loaded spectra.

    Parameters
    ----------
    theta : Tensor or array (n, n_free)
        Values of the free parameters, in XSPEC's order (`free_parameters`); limits are not looked at.  Gradients
        flow back to it where it requires them (memory then grows with n: no chunk can be released).
    statistic : bool
        Whether to compute the statistic too (default True); without it `statistic` is NaN.

    Returns
    -------
    Evaluated
        ``folded`` (counts/s in each noticed group, one tensor a spectrum) and ``statistic``.

    Raises
    ------
    XspecError
        Where there are no data, no active model, or `theta` has the wrong shape.
    """
    compiled = program()
    if not compiled.parts:
        raise XspecError("Error: nothing to evaluate: load a spectrum (AllData or Spectrum) and define a Model first.")
    global _counted
    tensor = _checked(theta, compiled)
    n = tensor.shape[0]
    _counted += n
    pieces = []
    if n == 0:
        empty = [torch.zeros((0, compiled.group_count(number)), dtype=torch.float64) for number in compiled.modelled]
        return Evaluated(empty, torch.zeros(0, dtype=torch.float64))
    for rows in torch.split(tensor, compiled.rows_per_chunk()):
        values = compiled.values(rows)
        folded = compiled.fold(values)
        statistics = compiled.statistic(folded, values) if statistic else torch.full((len(rows),), torch.nan)
        pieces.append(([rate.expand(len(rows), -1) for rate in folded], statistics))
    return Evaluated(
        [torch.cat([piece[0][i] for piece in pieces]) for i in range(len(compiled.modelled))],
        torch.cat([piece[1] for piece in pieces]),
    )


def area_time(spectrum: Spectrum) -> Tensor:
    """Return exposure times AREASCAL of each noticed group: what turns its folded rate into counts."""
    scale = np.asarray(spectrum._grouped.area_scale, dtype=float)
    return torch.as_tensor(float(spectrum.exposure) * np.ascontiguousarray(scale[spectrum._noticed]))


def evaluate_batch(theta: Any) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate a batch without gradients.

    Parameters
    ----------
    theta : array (n, n_free)

    Returns
    -------
    counts : ndarray (n, bins)
        Expected source counts (folded times exposure and AREASCAL), spectra one after the other.
    statistic : ndarray (n,)
        As `Fit.statistic`; NaN where the model failed.
    """
    with torch.no_grad():
        result = evaluate(theta)
        times = [area_time(session.spectra[number - 1]) for number in program().modelled]
        counts = torch.cat([rate * t for rate, t in zip(result.folded, times, strict=True)], dim=1)
    return counts.numpy(), result.statistic.numpy().copy()


def linked_values(theta: Any) -> list[tuple[ParameterState, Link, np.ndarray]]:
    """Return linked parameters, their links, and their values in a batch (n, n_free): (n,), or (1,) if constant."""
    compiled = program()
    records = {id(part.record): part.record for part in compiled.parts}.values()
    linked = [(state, state.link) for record in records for state in record.states if state.link is not None]
    if not linked:
        return []
    with torch.no_grad():
        values = compiled.values(_checked(theta, compiled))
        return [
            (state, link, torch.as_tensor(values.value(state), dtype=torch.float64).reshape(-1).numpy())
            for state, link in linked
        ]


def evaluate_components(theta: Any = None) -> dict[str, list[Tensor]]:
    """Return the folded models of the single additive components, all other norms at zero.

    Parameters
    ----------
    theta : array (n, n_free), optional
        The present values by default.

    Returns
    -------
    dict of str to list of Tensor (n, groups)
        By component name (``bbodyrad``, ``bkg:powerlaw`` in a named model), one tensor a spectrum, counts/s.
    """
    compiled = program()
    result: dict[str, list[Tensor]] = {}
    tensor = None if theta is None else _checked(theta, compiled)
    chunks = [None] if tensor is None else list(torch.split(tensor, compiled.rows_per_chunk()))
    records = list({id(part.record): part.record for part in compiled.parts}.values())
    for record in records:
        for index, component in enumerate(record.expression.components):
            if component.kind != "add":
                continue
            name = record.component_names[index]
            pieces = []
            for rows in chunks:
                values = compiled.values(rows)
                with torch.no_grad():
                    pieces.append([rate.expand(values.n, -1) for rate in compiled.fold(values, (record, index))])
            label = f"{record.name}:{name}" if record.name else name
            result[label] = [torch.cat(list(p)) for p in zip(*pieces, strict=True)]
    return result


def current_components(record: ModelRecord, group: int, number: int) -> list[np.ndarray]:
    """Return the flux of each additive component with its multiplying ones, at the present values.

    Parameters
    ----------
    record : ModelRecord
    group : int
        The spectrum's data group.
    number : int
        Spectrum number; 0 for the dummy response's energies.

    Returns
    -------
    list of ndarray (nE,)
        Photons/cm2/s in each bin, in the order of the expression.
    """
    compiled = program()
    grid = compiled.dummy if number == 0 else current().part(record, number).grid
    values = compiled.values(None)
    with torch.no_grad():
        return [
            compiled.unfolded(record, group, grid, values, {}, index)[0].numpy()
            for index, component in enumerate(record.expression.components)
            if component.kind == "add"
        ]


def evaluate_flux(theta: Any, edges: Any, modName: str = "", group: int | None = None) -> Tensor:
    """Return the unfolded model on given energies.

    Parameters
    ----------
    theta : array (n, n_free) or None
        Free parameter values; None for the present ones.
    edges : array (nE + 1,)
        Bin edges, keV, ascending.
    modName : str
        Which model (default the unnamed one).
    group : int, optional
        Data group (default the lowest).

    Returns
    -------
    Tensor (n, nE)
        Photons/cm2/s in each bin; differentiable in `theta`.
    """
    compiled = program()
    record = session.models.get(modName)
    if record is None:
        raise XspecError(
            f"Error: Model with name: {modName} is not currently loaded."
            if modName
            else "Error: Model is not currently loaded in XSPEC."
        )
    known = len(compiled.grids)
    grid = compiled.grid_of(edges)
    tensor = None if theta is None else _checked(theta, compiled)
    pieces = []
    rows_at_once = compiled.rows_per_chunk()
    for rows in [None] if tensor is None else torch.split(tensor, rows_at_once):
        values = compiled.values(rows)
        flux = compiled.unfolded(record, min(record.groups) if group is None else group, grid, values, {})
        pieces.append(flux.expand(values.n, -1))
    if grid >= known:
        compiled.grids.pop()
        for key in [key for key in compiled._remembered if key[1] == grid]:
            compiled._remembered_bytes -= compiled._remembered.pop(key).nbytes
    return torch.cat(pieces)


class Current:
    """Everything computed at the present parameter values, each thing when first asked for."""

    def __init__(self, compiled: Program) -> None:
        self.program = compiled
        self._values = compiled.values(None)
        self._memo: Memo = {}
        self._folded: dict[tuple[int, int], Tensor] = {}
        self._statistic: float | None = None
        self._is_counted = False

    def _count(self) -> None:
        global _counted
        if not self._is_counted:
            self._is_counted = True
            _counted += 1

    def part(self, record: ModelRecord, spectrum: int) -> Part:
        """Return how a model is folded with a spectrum."""
        for part in self.program.parts:
            if part.record is record and part.spectrum == spectrum:
                return part
        raise XspecError(f"Error: Cannot retrieve array for this model and spectrum number {spectrum}.")

    def edges(self, record: ModelRecord, spectrum: int) -> np.ndarray:
        """Return the energies (nE + 1,), keV, on which a model is evaluated for a spectrum."""
        return self.program.grids[self.part(record, spectrum).grid].numpy()

    def flux(self, record: ModelRecord, spectrum: int) -> np.ndarray:
        """Return photons/cm2/s on those energies."""
        part = self.part(record, spectrum)
        with torch.no_grad():
            return self.program.unfolded(record, part.group, part.grid, self._values, self._memo)[0].numpy()

    def dummy_flux(self, record: ModelRecord) -> np.ndarray:
        """Return photons/cm2/s on the dummy response's energies."""
        with torch.no_grad():
            group = min(record.groups)
            return self.program.unfolded(record, group, self.program.dummy, self._values, self._memo)[0].numpy()

    def _rate(self, part: Part) -> Tensor:
        key = (id(part.record), part.spectrum)
        if key not in self._folded:
            self._count()
            with torch.no_grad():
                flux = self.program.unfolded(part.record, part.group, part.grid, self._values, self._memo)
                self._folded[key] = part.fold(flux)
        return self._folded[key]

    def folded(self, record: ModelRecord, spectrum: int) -> np.ndarray:
        """Return counts/s in the noticed groups from one model."""
        return self._rate(self.part(record, spectrum))[0].numpy()

    def rates(self) -> list[Tensor]:
        """Return counts/s of each modelled spectrum, (1, groups), sources summed."""
        totals: dict[int, Tensor] = {}
        for part in self.program.parts:
            rate = self._rate(part)
            totals[part.spectrum] = totals[part.spectrum] + rate if part.spectrum in totals else rate
        return [totals[number] for number in self.program.modelled]

    @property
    def statistic(self) -> float:
        """The fit statistic at the present values; NaN where the model is not finite."""
        if self._statistic is None:
            with torch.no_grad():
                self._statistic = float(self.program.statistic(self.rates(), self._values)[0])
        return self._statistic


_present: tuple[tuple[int, int, int], Current] | None = None


def current() -> Current:
    """Return the evaluation at the present parameter values."""
    global _present
    compiled = program()
    key = (session.generation, *values_version())
    if _present is None or _present[0] != key or _present[1].program is not compiled:
        _present = (key, Current(compiled))
    return _present[1]
