"""Parameters in, folded spectra and fit statistic out: for one parameter set or for thousands at once.

A batch is evaluated in torch (float64), so the result can be differentiated.  Parts of the model whose parameters do
not vary within the batch are computed once, and what data groups share is computed once for all of them.  One
parameter set (`current`) goes the same way and is kept until a value, the data or a setting changes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from . import parameter as _parameter
from .expression import Leaf, Node, Sum
from .model import ModelRecord, has_source
from .parameter import ParameterState
from .state import XspecError, session

if TYPE_CHECKING:
    from .response import Folding

__all__ = ["Evaluated", "Program", "area_time", "current", "current_components", "dummy_edges", "evaluate",
           "evaluate_batch", "evaluate_components", "evaluate_flux", "evaluations", "free_parameters", "program"]

CHUNK_BYTES = 8 << 20
"""Size of one (rows, energies) array in a chunk: about ten are alive at a time, and they should fit the cache."""
CACHE_BYTES = 32 << 20
"""Bound on the components remembered from earlier evaluations."""

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


@dataclass(frozen=True)
class _Part:
    """One model folded through one response of one spectrum."""

    record: ModelRecord
    group: int
    spectrum: int
    folding: Folding
    grid: int


def dummy_edges() -> np.ndarray:
    """Return XSPEC's dummy response energies (keV), used without data: 0.1 to 50, 5000 bins (``Xspec.init``)."""
    return np.geomspace(0.1, 50.0, 5001)


class _Values:
    """Parameter values of one evaluation: a float where nothing varies, else a tensor (n, 1)."""

    def __init__(self, columns: dict[int, Tensor], n: int) -> None:
        self._columns, self.n = columns, n
        self._linked: dict[int, Any] = {}

    def value(self, state: ParameterState) -> float | Tensor:
        if state.link is None:
            column = self._columns.get(id(state))
            return state.value if column is None else column
        key = id(state)
        if key not in self._linked:
            self._linked[key] = state.link.value(self.value)
        return self._linked[key]

    def token(self, state: ParameterState) -> Any:
        """Return what tells equal values apart from different ones: the number, or whose varying value it is."""
        while state.link is not None and state.link.simple is not None:
            state = state.link.simple
        value = self.value(state)
        return ("varies", id(state)) if isinstance(value, Tensor) else value


class Program:
    """The loaded models and data, compiled; rebuilt when data, models, links or free parameters change."""

    def __init__(self) -> None:
        for record in session.models.values():
            record.sync()
        # Without data every active model counts, so that it can still be evaluated and drawn.
        used = [r for r in session.models.values() if (r.on if session.spectra else r.active)]
        self.free = [state for record in used for state in record.states if state.free]
        self.grids: list[Tensor] = []
        self.parts: list[_Part] = []
        self._remembered: OrderedDict[Any, Tensor] = OrderedDict()
        self._remembered_bytes = 0
        for number, spectrum in enumerate(session.spectra, start=1):
            for record in session.models.values():
                if record.active and has_source(spectrum, record.source):
                    folding = spectrum.folding(record.source)
                    self.parts.append(
                        _Part(record, int(spectrum.dataGroup), number, folding, self._grid(folding.edges))
                    )
        self.modelled = sorted({part.spectrum for part in self.parts})
        self._dummy: int | None = None

    def _grid(self, edges: np.ndarray) -> int:
        tensor = torch.as_tensor(np.asarray(edges), dtype=torch.float64)
        for i, known in enumerate(self.grids):
            if known.shape == tensor.shape and torch.equal(known, tensor):
                return i
        self.grids.append(tensor)
        return len(self.grids) - 1

    @property
    def dummy(self) -> int:
        """The grid of the dummy response."""
        if self._dummy is None:
            self._dummy = self._grid(dummy_edges())
        return self._dummy

    def rows_per_chunk(self) -> int:
        """Return how many parameter sets to evaluate at a time."""
        largest = max((len(grid) for grid in self.grids), default=1)
        return max(1, CHUNK_BYTES // (8 * largest))

    def values(self, theta: Tensor | None) -> _Values:
        """Return the parameter values of a batch, or the present ones for None."""
        if theta is None:
            return _Values({}, 1)
        return _Values({id(state): theta[:, k : k + 1] for k, state in enumerate(self.free)}, theta.shape[0])

    def unfolded(
        self, record: ModelRecord, group: int, grid: int, values: _Values, memo: dict, only: int | None = None
    ) -> Tensor | None:
        """Return photons/cm2/s in each bin, (n, nE) or (1, nE); `only` keeps one additive component, by number."""
        result = self._node(record.expression.tree, record, group, grid, values, memo, only)
        return None if result is None else result[1]

    def _node(
        self, node: Node, record: ModelRecord, group: int, grid: int, values: _Values, memo: dict, only: int | None
    ) -> tuple[Any, Tensor] | None:
        """Return (what it is, its value); equal keys mean equal values, so that they are shared."""
        if isinstance(node, Leaf):
            return self._leaf(node.index, record, group, grid, values, memo, only)
        members = [self._node(member, record, group, grid, values, memo, only) for member in node.members]
        if isinstance(node, Sum):
            kept = [member for member in members if member is not None]
            if not kept:
                return None
        else:
            if any(member is None for member in members):
                return None
            kept = members
        # From the right, so that constant*absorption*(source) shares absorption*(source) between data groups
        # that differ in the constant alone.
        key, value = kept[-1]
        for other_key, other in reversed(kept[:-1]):
            key = ("+" if isinstance(node, Sum) else "*", other_key, key)
            if key not in memo:
                memo[key] = other + value if isinstance(node, Sum) else other * value
            value = memo[key]
        return key, value

    def _leaf(
        self, index: int, record: ModelRecord, group: int, grid: int, values: _Values, memo: dict, only: int | None
    ) -> tuple[Any, Tensor] | None:
        component = record.expression.components[index]
        additive = component.kind == "add"
        if only is not None and additive and index != only:
            return None
        start, stop = record.spans[index]
        states = record.groups[group][start : stop - 1 if additive else stop]
        tokens = tuple(values.token(state) for state in states)
        key: Any = (id(component.function), grid, tokens)
        shape = memo.get(key)
        if shape is None:
            shape = memo[key] = self._compute(component, key, states, grid, values)
        if not additive:
            return key, shape
        norm_state = record.groups[group][stop - 1]
        norm = values.value(norm_state)
        key = ("norm", key, values.token(norm_state))
        if key not in memo:
            memo[key] = shape * norm
        return key, memo[key]

    def _compute(self, component: Any, key: Any, states: list[ParameterState], grid: int, values: _Values) -> Tensor:
        numbers = [values.value(state) for state in states]
        if any(isinstance(number, Tensor) for number in numbers):
            columns = [
                number if isinstance(number, Tensor) else torch.full((values.n, 1), number, dtype=torch.float64)
                for number in numbers
            ]
            return component.function(self.grids[grid], torch.cat(columns, dim=1), session)
        known = self._remembered.get(key)
        if known is not None:
            self._remembered.move_to_end(key)
            return known
        with torch.no_grad():
            parameters = torch.tensor([numbers], dtype=torch.float64).reshape(1, len(numbers))
            result = component.function(self.grids[grid], parameters, session)
        self._remembered[key] = result
        self._remembered_bytes += result.nbytes
        while self._remembered_bytes > CACHE_BYTES and len(self._remembered) > 1:
            self._remembered_bytes -= self._remembered.popitem(last=False)[1].nbytes
        return result

    def fold(self, values: _Values, only: tuple[ModelRecord, int] | None = None) -> list[Tensor]:
        """Return counts/s for each modelled spectrum, (n, groups) or (1, groups) where nothing varies."""
        memo: dict = {}
        folded: dict[int, Tensor] = {}
        done: dict[Any, Tensor] = {}
        for part in self.parts:
            if only is not None and part.record is not only[0]:
                continue
            flux = self.unfolded(part.record, part.group, part.grid, values, memo, only[1] if only else None)
            if flux is None:
                continue
            key = (id(flux), id(part.folding))
            if key not in done:
                done[key] = part.folding.fold(flux)
            rate = done[key]
            folded[part.spectrum] = folded[part.spectrum] + rate if part.spectrum in folded else rate
        return [folded.get(number, torch.zeros((1, self._groups(number)), dtype=torch.float64))
                for number in self.modelled]

    def _groups(self, number: int) -> int:
        return next(part.folding.matrix.shape[0] for part in self.parts if part.spectrum == number)

    def statistic(self, folded: list[Tensor], values: _Values) -> Tensor:
        """Return the fit statistic of folded models, (n,)."""
        from .fit import method_of
        from .statistic import fit_statistic

        total: Tensor | float = 0.0
        for number, rate in zip(self.modelled, folded, strict=True):
            spectrum = session.spectra[number - 1]
            total = total + fit_statistic(method_of(spectrum), spectrum, rate)
            finite = torch.isfinite(rate.detach()).all(dim=1)
            if not bool(finite.all()):
                total = torch.where(finite, total, torch.nan)
        total = total + self.prior_term(values)
        if not isinstance(total, Tensor):
            return torch.full((values.n,), total, dtype=torch.float64)
        return total.expand(values.n)

    def prior_term(self, values: _Values) -> Tensor | float:
        """Return -2 ln prior of the free parameters where `Fit.bayes` is on, else 0 (XSPEC manual, "bayes")."""
        from .fit import Fit

        if Fit.bayes != "on":
            return 0.0
        total: Tensor | float = 0.0
        for state in self.free:
            kind, *hyper = state.prior
            if kind == "CONS":
                continue
            value = torch.as_tensor(values.value(state), dtype=torch.float64).reshape(-1)
            if kind == "EXP":
                log_prior = -value / hyper[0] - np.log(hyper[0])
            elif kind == "JEFFREYS":
                log_prior = -torch.log(value)
            else:
                width = hyper[1] if hyper[1] > 0.0 else 1.0e-10
                log_prior = -0.5 * np.log(2.0 * np.pi * width**2) - 0.5 * ((hyper[0] - value) / width) ** 2
            total = total - 2.0 * log_prior
        return total


_compiled: tuple[tuple[int, int], Program] | None = None


def program() -> Program:
    """Return the compiled session, rebuilt where data, models, links or the set of free parameters changed."""
    global _compiled
    for record in session.models.values():
        record.sync()
    key = (session.generation, _parameter.values_version()[1])
    if _compiled is None or _compiled[0] != key:
        _compiled = (key, Program())
    return _compiled[1]


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
        empty = [torch.zeros((0, compiled._groups(number)), dtype=torch.float64) for number in compiled.modelled]
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


def area_time(spectrum: Any) -> Tensor:
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


def current_components(model: Any, number: int) -> list[np.ndarray]:
    """Return the flux of each additive component with its multiplying ones, at the present values.

    Parameters
    ----------
    model : Model
        The object of the spectrum's data group.
    number : int
        Spectrum number; 0 for the dummy response's energies.

    Returns
    -------
    list of ndarray (nE,)
        Photons/cm2/s in each bin, in the order of the expression.
    """
    compiled = program()
    record, group = model._record, model._group
    grid = compiled.dummy if number == 0 else current()._part(record, number).grid
    values = compiled.values(None)
    with torch.no_grad():
        return [
            compiled.unfolded(record, group, grid, values, {}, index)[0].numpy()
            for index, component in enumerate(record.expression.components)
            if component.kind == "add"
        ]


def evaluate_flux(theta: Any, edges: Any, modName: str = "", group: int | None = None) -> Tensor:  # noqa: N803
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
        raise XspecError(f"Error: Model with name: {modName} is not currently loaded." if modName
                         else "Error: Model is not currently loaded in XSPEC.")
    known = len(compiled.grids)
    grid = compiled._grid(edges)
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


class _Current:
    """Everything computed at the present parameter values, each thing when first asked for."""

    def __init__(self, compiled: Program) -> None:
        self._program = compiled
        self._values = compiled.values(None)
        self._memo: dict = {}
        self._folded: dict[tuple[int, int], Tensor] = {}
        self._statistic: float | None = None
        self._is_counted = False

    def _count(self) -> None:
        global _counted
        if not self._is_counted:
            self._is_counted = True
            _counted += 1

    def _part(self, record: ModelRecord, spectrum: int) -> _Part:
        for part in self._program.parts:
            if part.record is record and part.spectrum == spectrum:
                return part
        raise XspecError(f"Error: Cannot retrieve array for this model and spectrum number {spectrum}.")

    def flux(self, record: ModelRecord, spectrum: int) -> np.ndarray:
        """Return photons/cm2/s on the spectrum's response energies."""
        part = self._part(record, spectrum)
        with torch.no_grad():
            return self._program.unfolded(record, part.group, part.grid, self._values, self._memo)[0].numpy()

    def dummy_flux(self, record: ModelRecord) -> np.ndarray:
        """Return photons/cm2/s on the dummy response's energies."""
        with torch.no_grad():
            group = min(record.groups)
            return self._program.unfolded(record, group, self._program.dummy, self._values, self._memo)[0].numpy()

    def _rate(self, part: _Part) -> Tensor:
        key = (id(part.record), part.spectrum)
        if key not in self._folded:
            self._count()
            with torch.no_grad():
                flux = self._program.unfolded(part.record, part.group, part.grid, self._values, self._memo)
                self._folded[key] = part.folding.fold(flux)
        return self._folded[key]

    def folded(self, record: ModelRecord, spectrum: int) -> np.ndarray:
        """Return counts/s in the noticed groups from one model."""
        return self._rate(self._part(record, spectrum))[0].numpy()

    def rates(self) -> list[Tensor]:
        """Return counts/s of each modelled spectrum, (1, groups), sources summed."""
        totals: dict[int, Tensor] = {}
        for part in self._program.parts:
            rate = self._rate(part)
            totals[part.spectrum] = totals[part.spectrum] + rate if part.spectrum in totals else rate
        return [totals[number] for number in self._program.modelled]

    @property
    def statistic(self) -> float:
        """The fit statistic at the present values; NaN where the model is not finite."""
        if self._statistic is None:
            with torch.no_grad():
                self._statistic = float(self._program.statistic(self.rates(), self._values)[0])
        return self._statistic


_present: tuple[tuple[int, int, int], _Current] | None = None


def current() -> _Current:
    """Return the evaluation at the present parameter values."""
    global _present
    compiled = program()
    key = (session.generation, *_parameter.values_version())
    if _present is None or _present[0] != key or _present[1]._program is not compiled:
        _present = (key, _Current(compiled))
    return _present[1]
