"""How parameter sets are evaluated: in forked processes, in batches by the embedded engine, or by a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Protocol

import numpy as np

from xspec_sixsa.common.observation import Observation
from xspec_sixsa.session import components
from xspec_sixsa.session.cluster import Cluster
from xspec_sixsa.session.evaluator import Evaluator
from xspec_sixsa.session.links import embedded_beyond
from xspec_sixsa.session.measure import Measure, Row, Values, forked, in_process, measured_rows
from xspec_sixsa.session.saved import SavedSession
from xspec_sixsa.session.workers import WorkerPool

__all__ = ["Backend", "DaskBackend", "EmbeddedBackend", "ForkedBackend"]

Prepare = Callable[[], None] | None


class Backend(Protocol):
    """The seam between a `Session` and what evaluates for it."""

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Counts (n, n_bins), statistic (n,), and why a row failed, of parameter sets (n, d) inside the limits."""

    def probe(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """As `evaluate`, where the first evaluation may end the process that makes it."""

    def component_counts(self, theta: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
        """Expected counts (k, n_bins) by additive component alone, and the evaluations that it took."""

    def measure_components(self, theta: np.ndarray, function: Measure, width: int) -> tuple[dict[str, np.ndarray], int]:
        """As `component_counts`, of what `function` gives (width,)."""

    def measure(
        self, theta: np.ndarray, function: Measure, width: int, prepare: Prepare, time_limit: float | None = None
    ) -> Values:
        """What `function` gives (n, width) at parameter sets, and why it gave nothing where it did not."""

    def close(self) -> None:
        """End processes."""


class ForkedBackend:
    """Real XSPEC, in forked processes, or in this one.

    Parameters
    ----------
    module : module
    evaluator : Evaluator
    n_bins, workers : int
    time_limit : float
        Seconds that one evaluation may take in a worker.
    in_process : bool
        Whether to evaluate in this process, which a model can then end.
    """

    def __init__(
        self,
        module: ModuleType,
        evaluator: Evaluator,
        n_bins: int,
        workers: int,
        time_limit: float,
        in_process: bool = False,
    ) -> None:
        self._module, self._evaluator = module, evaluator
        self._n_bins, self._workers, self._time_limit = n_bins, workers, time_limit
        self._in_process = in_process
        self.pool: WorkerPool | None = None

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """By the pool, which is made when first needed; see `Backend`."""
        if not self._in_process:
            if self.pool is None:
                self.pool = WorkerPool(self._evaluator, self._n_bins, self._workers, self._time_limit)
            return self.pool.evaluate(theta)
        counts, statistic = np.full((len(theta), self._n_bins), np.nan), np.full(len(theta), np.nan)
        reasons = []
        for k, row in enumerate(theta):
            try:
                counts[k], statistic[k], reason = self._evaluator(row)
            except Exception as error:  # PyXspec raises plain Exception; one bad row is no reason to stop
                reason = f"{type(error).__name__}: {error}"
            reasons.append(reason)
        return counts, statistic, reasons

    def probe(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """In a worker always: a model that cannot work must not take this process with it."""
        if not self._in_process:
            return self.evaluate(theta)
        with WorkerPool(self._evaluator, self._n_bins, 1, self._time_limit) as pool:
            return pool.evaluate(theta)

    def component_counts(self, theta: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
        """See `Backend`."""
        return self.measure_components(theta, self._evaluator.counts, self._n_bins)

    def measure_components(self, theta: np.ndarray, function: Measure, width: int) -> tuple[dict[str, np.ndarray], int]:
        """See `Backend`."""
        return components.measured_components(self._module, self._evaluator, theta, function, width, self._at_rows)

    def measure(
        self, theta: np.ndarray, function: Measure, width: int, prepare: Prepare, time_limit: float | None = None
    ) -> Values:
        """See `Backend`."""
        rows = measured_rows(self._evaluator, function, width, prepare)
        return forked(theta, rows, width, min(self._workers, len(theta)), time_limit or self._time_limit)

    def close(self) -> None:
        """End the workers."""
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def _at_rows(self, rows: np.ndarray, function: Row, width: int) -> Values:
        return forked(rows, function, width, self._workers, self._time_limit)


class EmbeddedBackend:
    """The embedded engine, which evaluates whole batches in this process.

    Parameters
    ----------
    module : module
    evaluator : Evaluator
    observation : Observation
    """

    def __init__(self, module: ModuleType, evaluator: Evaluator, observation: Observation) -> None:
        self._module, self._evaluator, self._observation = module, evaluator, observation

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """See `Backend`."""
        counts, statistic = self._module.evaluate_batch(theta)
        linked = embedded_beyond(theta)
        return counts, statistic, [w or _why(c, s) for w, c, s in zip(linked, counts, statistic, strict=True)]

    def probe(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """As `evaluate`: the engine ends no process."""
        return self.evaluate(theta)

    def component_counts(self, theta: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
        """See `Backend`."""
        found = components.embedded_components(theta, self._observation)
        return found, len(theta) * len(found)

    def measure_components(self, theta: np.ndarray, function: Measure, width: int) -> tuple[dict[str, np.ndarray], int]:
        """See `Backend`."""
        return components.measured_components(self._module, self._evaluator, theta, function, width, self._at_rows)

    def measure(
        self, theta: np.ndarray, function: Measure, width: int, prepare: Prepare, time_limit: float | None = None
    ) -> Values:
        """See `Backend`."""
        return self._at_rows(theta, measured_rows(self._evaluator, function, width, prepare), width)

    def close(self) -> None:
        """Nothing to end."""

    def _at_rows(self, rows: np.ndarray, function: Row, width: int) -> Values:
        return in_process(self._module, rows, function, width)


class DaskBackend:
    """Dask workers for parameter sets, this machine's own way for all else.

    Parameters
    ----------
    here : Backend
    cluster : Cluster
    written_down : callable
        Gives the session as workers make it again; called at the first parameter sets.
    """

    def __init__(self, here: Backend, cluster: Cluster, written_down: Callable[[], SavedSession]) -> None:
        self._here, self._cluster, self._written_down = here, cluster, written_down
        self._saved: SavedSession | None = None
        # what only this machine does
        self.probe, self.component_counts = here.probe, here.component_counts
        self.measure, self.measure_components = here.measure, here.measure_components

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """See `Backend`."""
        if self._saved is None:
            self._saved = self._written_down()
        return self._cluster.evaluate(self._saved, theta)

    def close(self) -> None:
        """End processes here; the cluster's stay for the next session."""
        self._here.close()


def _why(counts: np.ndarray, statistic: float) -> str:
    if not np.isfinite(counts).all():
        return f"{int((~np.isfinite(counts)).sum())} expected counts are not finite"
    return "" if np.isfinite(statistic) else f"the fit statistic is {statistic}"
