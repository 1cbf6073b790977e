"""The compiled session: which models, data groups, links and responses an evaluation goes through.

Equal parts are recognised by what they are (component, energies, parameter values or whose varying value it is), so
that each is computed once per batch, whichever data groups or spectra need it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from xspec_sixsa.embedded.components import function_of
from xspec_sixsa.embedded.componenttype import Function
from xspec_sixsa.embedded.energies import own_energies, rebinning, with_extensions
from xspec_sixsa.embedded.expression import Leaf, Node, Sum
from xspec_sixsa.embedded.parameterstate import ParameterState, values_version
from xspec_sixsa.embedded.record import ModelRecord
from xspec_sixsa.embedded.scoring import fit_statistic
from xspec_sixsa.embedded.state import session

if TYPE_CHECKING:
    from xspec_sixsa.embedded.response import Folding

__all__ = ["ROWS", "Memo", "Part", "Program", "Values", "dummy_edges", "program"]

Memo = dict[Any, Tensor]
"""Values found in one evaluation, by what they are (component, energies, parameters); equal keys mean equal values."""

CHUNK_BYTES = 4 << 20
"""Size of one (rows, energies) array in a chunk: about ten are alive at a time, and they should fit the cache."""
ROWS = 16
"""A chunk's rows are a multiple of these: a batch divided at such multiples has its sums, to the last bit."""
CACHE_BYTES = 32 << 20
"""Bound on the components remembered from earlier evaluations."""


@dataclass(frozen=True)
class Part:
    """One model folded through one response of one spectrum."""

    record: ModelRecord
    group: int
    spectrum: int
    folding: Folding
    grid: int
    own: slice
    """Which bins of the grid are the response's own: all of them but for `energies extend`."""

    def fold(self, flux: Tensor) -> Tensor:
        """Fold photons/cm2/s on the grid, (n, nE), into counts/s, (n, groups)."""
        whole = flux.shape[1] == self.own.stop - self.own.start
        return self.folding.fold(flux if whole else flux[:, self.own].contiguous())


def dummy_edges() -> np.ndarray:
    """Return the energies (keV) used without data: those set by `energies`, else XSPEC's dummy response's.

    The latter are 0.1 to 50 keV in 5000 bins (``Xspec.init``).
    """
    energies = own_energies()
    return np.geomspace(0.1, 50.0, 5001) if energies is None else energies


class Values:
    """Parameter values of one evaluation: a float where nothing varies, else a tensor (n, 1)."""

    def __init__(self, columns: dict[int, Tensor], n: int) -> None:
        self._columns, self.n = columns, n
        self._linked: dict[int, float | Tensor] = {}

    def value(self, state: ParameterState) -> float | Tensor:
        """Return a parameter's value, through its link where there is one."""
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
        self.parts: list[Part] = []
        self._remembered: OrderedDict[Any, Tensor] = OrderedDict()
        self._remembered_bytes = 0
        energies = own_energies()
        for number, spectrum in enumerate(session.spectra, start=1):
            for record in session.models.values():
                if record.active and spectrum.has_source(record.source):
                    folding = spectrum.folding(record.source)
                    edges, own = with_extensions(folding.edges)
                    if energies is not None:
                        folding = folding.from_energies(energies, rebinning(energies, folding.edges))
                        edges, own = energies, slice(0, len(energies) - 1)
                    self.parts.append(Part(record, int(spectrum.dataGroup), number, folding, self.grid_of(edges), own))
        self.modelled = sorted({part.spectrum for part in self.parts})
        self._dummy: int | None = None

    def grid_of(self, edges: np.ndarray) -> int:
        """Return the place of energy edges (keV) in `grids`, where they are added if they are new."""
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
            self._dummy = self.grid_of(dummy_edges())
        return self._dummy

    def rows_per_chunk(self) -> int:
        """Return how many parameter sets to evaluate at a time."""
        largest = max((len(grid) for grid in self.grids), default=1)
        return max(1, CHUNK_BYTES // (8 * largest * ROWS)) * ROWS

    def values(self, theta: Tensor | None) -> Values:
        """Return the parameter values of a batch, or the present ones for None."""
        if theta is None:
            return Values({}, 1)
        return Values({id(state): theta[:, k : k + 1] for k, state in enumerate(self.free)}, theta.shape[0])

    def unfolded(
        self, record: ModelRecord, group: int, grid: int, values: Values, memo: Memo, only: int | None = None
    ) -> Tensor:
        """Return photons/cm2/s in each bin, (n, nE) or (1, nE); `only` keeps one additive component, by number."""
        result = self._node(record.expression.tree, record, group, grid, values, memo, only)
        assert result is not None, "a model always has an additive component left"
        return result[1]

    def _node(
        self, node: Node, record: ModelRecord, group: int, grid: int, values: Values, memo: Memo, only: int | None
    ) -> tuple[Any, Tensor] | None:
        """Return (what it is, its value); equal keys mean equal values, so that they are shared."""
        if isinstance(node, Leaf):
            return self._leaf(node.index, record, group, grid, values, memo, only)
        present: tuple[Any, Tensor] | None = None
        # From the right, as convolutions work, and so that constant*absorption*(source) shares absorption*(source)
        # between data groups that differ in the constant alone.
        for member in reversed(node.members):
            if present is not None and isinstance(member, Leaf) and self._convolves(record, member.index):
                present = self._convolved(member.index, record, group, grid, values, memo, present)
                continue
            found = self._node(member, record, group, grid, values, memo, only)
            if found is None:
                if isinstance(node, Sum):
                    continue
                # A product goes with its additive member, a sum with all of them.
                return None
            if present is None:
                present = found
                continue
            key = ("+" if isinstance(node, Sum) else "*", found[0], present[0])
            if key not in memo:
                memo[key] = found[1] + present[1] if isinstance(node, Sum) else found[1] * present[1]
            present = key, memo[key]
        return present

    @staticmethod
    def _convolves(record: ModelRecord, index: int) -> bool:
        return record.expression.components[index].kind == "con"

    def _convolved(
        self, index: int, record: ModelRecord, group: int, grid: int, values: Values, memo: Memo, on: tuple[Any, Tensor]
    ) -> tuple[Any, Tensor]:
        """Return what a convolution makes of a spectrum."""
        component = record.expression.components[index]
        states = record.groups[group][slice(*record.spans[index])]
        function = function_of(component)
        key: Any = (id(function), grid, tuple(values.token(state) for state in states), on[0])
        if key not in memo:
            numbers = [values.value(state) for state in states]
            parameters = _table(numbers, max(values.n if _varies(numbers) else 1, len(on[1])))
            memo[key] = function(self.grids[grid], parameters, session, on[1])
        return key, memo[key]

    def _leaf(
        self, index: int, record: ModelRecord, group: int, grid: int, values: Values, memo: Memo, only: int | None
    ) -> tuple[Any, Tensor] | None:
        component = record.expression.components[index]
        additive = component.kind == "add"
        if only is not None and additive and index != only:
            return None
        start, stop = record.spans[index]
        states = record.groups[group][start : stop - 1 if additive else stop]
        tokens = tuple(values.token(state) for state in states)
        function = function_of(component)
        key: Any = (id(function), grid, tokens)
        shape = memo.get(key)
        if shape is None:
            shape = memo[key] = self._compute(function, key, states, grid, values)
        if not additive:
            return key, shape
        norm_state = record.groups[group][stop - 1]
        norm = values.value(norm_state)
        key = ("norm", key, values.token(norm_state))
        if key not in memo:
            memo[key] = shape * norm
        return key, memo[key]

    def _compute(self, function: Function, key: Any, states: list[ParameterState], grid: int, values: Values) -> Tensor:
        numbers = [values.value(state) for state in states]
        if _varies(numbers):
            return function(self.grids[grid], _table(numbers, values.n), session)
        known = self._remembered.get(key)
        if known is not None:
            self._remembered.move_to_end(key)
            return known
        with torch.no_grad():
            result = function(self.grids[grid], _table(numbers, 1), session)
        self._remembered[key] = result
        self._remembered_bytes += result.nbytes
        while self._remembered_bytes > CACHE_BYTES and len(self._remembered) > 1:
            self._remembered_bytes -= self._remembered.popitem(last=False)[1].nbytes
        return result

    def fold(self, values: Values, only: tuple[ModelRecord, int] | None = None) -> list[Tensor]:
        """Return counts/s for each modelled spectrum, (n, groups) or (1, groups) where nothing varies."""
        memo: Memo = {}
        folded: dict[int, Tensor] = {}
        done: dict[Any, Tensor] = {}
        for part in self.parts:
            if only is not None and part.record is not only[0]:
                continue
            flux = self.unfolded(part.record, part.group, part.grid, values, memo, only[1] if only else None)
            key = (id(flux), id(part.folding))
            if key not in done:
                done[key] = part.fold(flux)
            rate = done[key]
            folded[part.spectrum] = folded[part.spectrum] + rate if part.spectrum in folded else rate
        return [
            folded.get(number, torch.zeros((1, self.group_count(number)), dtype=torch.float64))
            for number in self.modelled
        ]

    def group_count(self, number: int) -> int:
        """Return the number of noticed groups of a modelled spectrum."""
        return next(part.folding.matrix.shape[0] for part in self.parts if part.spectrum == number)

    def statistic(self, folded: list[Tensor], values: Values) -> Tensor:
        """Return the fit statistic of folded models, (n,)."""
        total: Tensor | float = 0.0
        for number, rate in zip(self.modelled, folded, strict=True):
            spectrum = session.spectra[number - 1]
            total = total + fit_statistic(spectrum.statMethod, spectrum, rate)
            finite = torch.isfinite(rate.detach()).all(dim=1)
            if not bool(finite.all()):
                total = torch.where(finite, total, torch.nan)
        total = total + self.prior_term(values)
        if not isinstance(total, Tensor):
            return torch.full((values.n,), total, dtype=torch.float64)
        return total.expand(values.n)

    def prior_term(self, values: Values) -> Tensor | float:
        """Return -2 ln prior of the free parameters where `Fit.bayes` is on, else 0 (XSPEC manual, "bayes")."""
        if not session.bayes:
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


def _varies(numbers: list[float | Tensor]) -> bool:
    return any(isinstance(number, Tensor) for number in numbers)


def _table(numbers: list[float | Tensor], n: int) -> Tensor:
    """Return parameter values as (n, number of parameters), one row each."""
    columns = [
        number.expand(n, 1) if isinstance(number, Tensor) else torch.full((n, 1), number, dtype=torch.float64)
        for number in numbers
    ]
    return torch.cat(columns, dim=1) if columns else torch.zeros((n, 0), dtype=torch.float64)


_compiled: tuple[tuple[int, int], Program] | None = None


def program() -> Program:
    """Return the compiled session, rebuilt where data, models, links or the set of free parameters changed."""
    global _compiled
    for record in session.models.values():
        record.sync()
    key = (session.generation, values_version()[1])
    if _compiled is None or _compiled[0] != key:
        _compiled = (key, Program())
    return _compiled[1]
