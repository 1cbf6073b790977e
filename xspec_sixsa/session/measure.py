"""Whatever XSPEC computes (a flux, an equivalent width, a plot) at many parameter sets, the session left as it is.

On real XSPEC it happens in forked processes, so that neither values nor links, neither plots nor the validity of the
user's fit are touched. The embedded engine, which is not forked (torch), is put back afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np

from xspec_sixsa.embedded.parameterstate import bump_structure
from xspec_sixsa.embedded.state import session
from xspec_sixsa.session.evaluator import Evaluator
from xspec_sixsa.session.workers import WorkerPool

__all__ = ["Measure", "Row", "Values", "forked", "in_process", "measured_rows"]

Measure = Callable[[], np.ndarray]
Row = Callable[[np.ndarray], tuple[np.ndarray, float, str]]  # what a `WorkerPool` calls; the number is not used here
Values = tuple[np.ndarray, list[str]]
REMEMBERED = ("eqwidth_range", "flux_band", "flux_redshift")  # numbers of the last command, defaults of the next


def measured_rows(evaluator: Evaluator, measure: Measure, width: int, prepare: Callable[[], None] | None) -> Row:
    """Return a function that gives what `measure` gives, (width,), with a parameter set.

    `prepare` is called once, in every process before the first parameter set.
    """
    pending = prepare

    def one(row: np.ndarray) -> tuple[np.ndarray, float, str]:
        nonlocal pending
        if pending is not None:
            pending()
            pending = None
        evaluator.set(row)
        return _checked(measure(), width), 0.0, ""

    return one


def forked(rows: np.ndarray, function: Row, width: int, workers: int, time_limit: float) -> Values:
    """Return what `function` gives at each row, (n, width), in forked processes, and why it failed where it did."""
    with WorkerPool(function, width, workers, time_limit) as pool:
        values, _, reasons = pool.evaluate(rows)
    return values, reasons


def in_process(module: ModuleType, rows: np.ndarray, function: Row, width: int) -> Values:
    """As `forked`, in this process; the embedded engine is put back afterwards."""
    values, reasons = np.full((len(rows), width), np.nan), [""] * len(rows)
    with _put_back(module):
        for k, row in enumerate(rows):
            try:
                values[k], _, reasons[k] = function(row)
            except Exception as error:  # the engine raises what PyXspec raises: plain exceptions
                reasons[k] = f"{type(error).__name__}: {error}"
    return values, reasons


def _checked(values: np.ndarray, width: int) -> np.ndarray:
    values = np.asarray(values, dtype=float).reshape(-1)
    if len(values) != width:
        raise ValueError(f"{len(values)} numbers at this parameter set, {width} at the first one")
    return values


@contextlib.contextmanager
def _put_back(module: ModuleType) -> Iterator[None]:
    """The engine's parameters, links, limits, plot settings and last fluxes (and their bands) as before the block."""
    states = [(state, state.snapshot()) for record in session.models.values() for state in record.states]
    results = [(s, name, s.__dict__[name]) for s in session.spectra for name in ("_flux", "_lumin", "_eqwidth")]
    plot = module.Plot
    drawn = {name: plot.__dict__[name] for name in ("_device", "_panes", "_kinds", "_last")}
    flags, remembered = dict(plot.__dict__["_flags"]), {name: getattr(session, name) for name in REMEMBERED}
    try:
        yield
    finally:
        for state, saved in states:
            state.restore(saved)
        bump_structure()
        for spectrum, name, value in results:
            spectrum.__dict__[name] = value
        plot.__dict__.update(drawn)
        plot.__dict__["_flags"].update(flags)
        for name, value in remembered.items():
            setattr(session, name, value)
