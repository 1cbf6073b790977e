"""`Session`: the one place where parameter sets go into XSPEC and spectra come out."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xspec_sixsa.common.cores import available_cores, one_thread
from xspec_sixsa.common.observation import Observation
from xspec_sixsa.embedded import pick
from xspec_sixsa.session import components, files, fitting, norms
from xspec_sixsa.session.attached import check_attached
from xspec_sixsa.session.backends import Backend, DaskBackend, EmbeddedBackend, ForkedBackend
from xspec_sixsa.session.cluster import Cluster
from xspec_sixsa.session.evaluations import Evaluations
from xspec_sixsa.session.evaluator import Evaluator, outside_limits
from xspec_sixsa.session.fingerprint import difference, fingerprint
from xspec_sixsa.session.fitting import BestFit
from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.gain import WHY_NO_CHAIN
from xspec_sixsa.session.observe import observe, saved_lines
from xspec_sixsa.session.parameters import find, free_parameters
from xspec_sixsa.session.saved import SavedSession
from xspec_sixsa.session.settings import Silence, interruptible

__all__ = ["Session", "is_entered"]

log = logging.getLogger(__name__)

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, list[str]]]


_entered: list[ModuleType] = []


def is_entered(module: ModuleType) -> bool:
    """Whether a `Session` of a PyXspec is entered: whatever fits then is a part of that."""
    return any(one is module for one in _entered)


class Session:
    """The XSPEC session as the sampler sees it: free parameters, observation, evaluations.

    Use it as a context manager: XSPEC is silent inside, torch and BLAS keep to one thread, workers live as long, and at
    the end every setting and every parameter value is as before (unless `native_fit` left the best fit there).

    Parameters
    ----------
    xspec_module : module, optional
        PyXspec or the embedded engine. Default: real PyXspec where it can be imported, else the engine.
    workers : int, optional
        Processes that evaluate (default: `cores.available_cores`). With 1 asked for, or on the embedded engine
        (batches), all runs in this process: a model that kills its process then ends the program.
    time_limit : float, default 300
        Seconds that one evaluation may take in a worker.
    cluster : Cluster, optional
        Dask workers that evaluate parameter sets; what else XSPEC computes (components, fluxes, fits) stays here.
    commands : iterable of str, optional
        The session's, where they are known: what is to be attached to spectra, and what was taken away. Default: as
        XSPEC saves them, which does not name as taken away what it has never found.

    Attributes
    ----------
    module : module
    parameters : list of FreeParameter
        In XSPEC's order.
    observation : Observation
    evaluations : dict of str to int
        Parameter sets evaluated so far, by stage; failures count too.
    failures : list of (stage, theta, reason)
    workers : int
    in_process : bool

    Raises
    ------
    ValueError
        Without data, model or free parameter, and where a spectrum lacks a file that it or the session named.
    """

    def __init__(
        self,
        xspec_module: ModuleType | None = None,
        workers: int | None = None,
        time_limit: float = 300.0,
        cluster: Cluster | None = None,
        commands: Iterable[str] | None = None,
    ) -> None:
        if xspec_module is None:
            xspec_module = pick()
        if workers is not None and workers < 1:
            raise ValueError(f"workers = {workers}: at least 1 process must evaluate (1 means this one).")
        self.module = xspec_module
        self.is_embedded = hasattr(xspec_module, "evaluate_batch")
        self.workers = available_cores() if workers is None else int(workers)
        self.in_process = workers == 1
        self.time_limit = float(time_limit)
        self.cluster = cluster
        self.evaluations: Counter[str] = Counter()
        self.failures: list[tuple[str, np.ndarray, str]] = []
        with Silence(self.module):
            check_attached(self.module, saved_lines(self.module) if commands is None else commands)
            self.parameters: list[FreeParameter] = free_parameters(self.module)
            self.observation: Observation = observe(self.module)
            self._make_handles()
            self._fingerprint = fingerprint(self.module, self.parameters, self.observation)
        for warning in self.observation.warnings:
            log.warning("%s", warning)
        self._settings = contextlib.ExitStack()
        self._depth = 0
        self._start: np.ndarray | None = None
        self._keep = False
        self._probed = False

    # --------------------------------------------------------------------------------------------- what is fitted

    @property
    def names(self) -> list[str]:
        """Chain names: ``nH__1``, ``norm__bkg__3``."""
        return [p.chain_name for p in self.parameters]

    @property
    def labels(self) -> list[str]:
        """For people: ``TBabs nH``."""
        return [p.label for p in self.parameters]

    @property
    def units(self) -> list[str]:
        """XSPEC's units, empty where there is none."""
        return [p.unit for p in self.parameters]

    @property
    def n_free(self) -> int:
        """Number of free parameters, d."""
        return len(self.parameters)

    @property
    def hard_limits(self) -> np.ndarray:
        """Lowest and highest values XSPEC accepts, (d, 2)."""
        return np.array([p.hard_limits for p in self.parameters])

    @property
    def soft_limits(self) -> np.ndarray:
        """Soft limits, (d, 2)."""
        return np.array([p.soft_limits for p in self.parameters])

    @property
    def why_no_chain(self) -> str:
        """Why XSPEC would not take a chain of these parameters; empty where it does."""
        names = [p.label for p in self.parameters if p.response is not None]
        return WHY_NO_CHAIN.format(names=", ".join(names)) if names else ""

    def find(self, reference: Any) -> FreeParameter:
        """Return the free parameter an object, index or name means; see `parameters.find`."""
        return find(self.module, self.parameters, reference)

    def common_norms(self) -> list[FreeParameter]:
        """Return the norms that scale the whole model together; see `norms.common_norms`, which also says why not."""
        with self:
            return norms.common_norms(self.module, self.parameters)

    def additive_norms(self) -> list[int]:
        """Return the columns of the norms of additive components; see `norms.additive_norms`."""
        with self:
            return norms.additive_norms(self.module, self.parameters)

    def norms_by_component(self) -> dict[str, list[int]] | None:
        """Return the columns of the norms that make each additive component; see `norms.norms_by_component`."""
        with self:
            return norms.norms_by_component(self.module, self.parameters)

    # ------------------------------------------------------------------------------------------------ the context

    def __enter__(self) -> Session:
        if self._depth == 0:
            with contextlib.ExitStack() as settings:
                settings.enter_context(interruptible())
                settings.enter_context(Silence(self.module))
                settings.enter_context(one_thread())
                self._check_unchanged()
                self._start = self._evaluator.get()
                self._settings = settings.pop_all()
            _entered.append(self.module)
            self._keep = False
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        settings, self._settings = self._settings, contextlib.ExitStack()
        with settings:
            _entered.remove(self.module)
            self._backend.close()
            if not self._keep and self._start is not None and not np.array_equal(self._start, self._evaluator.get()):
                # Nothing is set where nothing changed: setting a parameter would end the validity of the user's fit.
                self._evaluator.set(self._start)

    def _make_handles(self) -> None:
        self._evaluator = Evaluator(self.module, self.parameters, self.observation)
        how = self.observation.n_bins, self.workers, self.time_limit, self.in_process
        self._backend: Backend = (
            EmbeddedBackend(self.module, self._evaluator, self.observation)
            if self.is_embedded
            else ForkedBackend(self.module, self._evaluator, *how)
        )
        if self.cluster is not None:
            self._backend = DaskBackend(self._backend, self.cluster, self._written_down)

    def _written_down(self) -> SavedSession:
        return SavedSession.of(self.module, self._fingerprint, self.time_limit)

    def _check_unchanged(self) -> None:
        parameters = free_parameters(self.module)
        now = fingerprint(self.module, parameters, observe(self.module))
        changes = difference(self._fingerprint, now)
        if changes:
            raise RuntimeError(
                "XSPEC's data or model changed after this Session was made, so its parameters and counts no longer "
                f"hold: {'; '.join(changes)}. Make a new Session."
            )
        # Model handles are made anew, so that a model redefined identically is used and not a dead one.
        self._make_handles()

    # ----------------------------------------------------------------------------------------------- evaluations

    def evaluate(self, theta: ArrayLike, stage: str) -> Evaluations:
        """Evaluate parameter sets.

        Parameters
        ----------
        theta : array (n, d)
            Physical values in the order of `names`. Rows outside XSPEC's hard limits are failures.
        stage : str
            Under which name they are counted: ``"prior"``, ``"round 1"``, ...

        Returns
        -------
        Evaluations
            A failure is a row with ``ok`` False, never an exception.

        Raises
        ------
        ValueError
            For a wrong shape.
        RuntimeError
            When the very first evaluation shows that the model cannot work (zero counts everywhere, or none of the
            first batch succeeds); the message names the component at fault.
        """
        theta = np.array(theta, dtype=np.float64, ndmin=2)
        if theta.ndim != 2 or theta.shape[1] != self.n_free:
            raise ValueError(
                f"theta has shape {theta.shape}, but there are {self.n_free} free parameters: give (n, {self.n_free}), "
                f"in the order {', '.join(self.names)}."
            )
        with self:
            if not self._probed:
                self._probe()
            return self._evaluate(theta, stage, self._backend.evaluate)

    def rows(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Evaluate for another process's session, which checks limits and counts; see `Backend.evaluate`."""
        with self:
            return self._backend.evaluate(theta)

    def _evaluate(self, theta: np.ndarray, stage: str, by: Evaluate) -> Evaluations:
        n = len(theta)
        reasons = outside_limits(theta, self.parameters)
        counts, statistic = np.full((n, self.observation.n_bins), np.nan), np.full(n, np.nan)
        inside = np.array([not reason for reason in reasons], dtype=bool)
        # counted before they are made, so that an interruption leaves none out
        self.evaluations[stage] += n
        if inside.any():
            rows = np.flatnonzero(inside)
            counts[rows], statistic[rows], why = by(theta[rows])
            for row, reason in zip(rows, why, strict=True):
                reasons[row] = reason
        ok = np.array([not reason for reason in reasons], dtype=bool)
        statistic[~ok] = np.nan
        for row in np.flatnonzero(~ok):
            self.failures.append((stage, theta[row].copy(), reasons[row]))
        return Evaluations(theta, counts, statistic, ok, reasons)

    def _probe(self) -> None:
        """Evaluate the present values once: XSPEC often gives zeros, not an error, where model data are missing."""
        first = self._evaluate(self._evaluator.get()[None], "probe", self._backend.probe)
        components.check_works(self.module, self.observation, first.counts[0], first.reasons[0], self.time_limit)
        self._probed = True

    def component_counts(self, theta: ArrayLike) -> dict[str, np.ndarray]:
        """Return the expected counts of each additive component alone.

        Parameters
        ----------
        theta : array (k, d)

        Returns
        -------
        dict of str to ndarray (k, n_bins)
            By component name (``powerlaw``, ``bkg:powerlaw`` in a named model). NaN where an evaluation failed. Counted
            under "components": one evaluation a component and row.
        """
        theta = np.array(theta, dtype=np.float64, ndmin=2)
        bad = [reason for reason in outside_limits(theta, self.parameters) if reason]
        if bad:
            raise ValueError(f"Components cannot be computed: {bad[0]}.")
        with self:
            found, spent = self._backend.component_counts(theta)
            self.evaluations["components"] += spent
        return found

    def measure(
        self,
        theta: ArrayLike,
        function: Callable[[], np.ndarray],
        width: int,
        stage: str,
        prepare: Callable[[], None] | None = None,
    ) -> tuple[np.ndarray, list[str]]:
        """Whatever XSPEC computes at parameter sets; the session, its plots and its fit are as before afterwards.

        Parameters
        ----------
        theta : array (n, d)
            Values inside XSPEC's hard limits.
        function : callable
            Called with the model at each parameter set (real XSPEC: in a forked process); gives `width` numbers.
        width : int
        stage : str
            Under which name the n evaluations are counted.
        prepare : callable, optional
            Called once before, in the process where `function` runs: it may change links, limits, frozen values.

        Returns
        -------
        values : ndarray (n, width)
            NaN where it failed.
        reasons : list of str
            Why; empty where it did not.
        """
        theta = np.array(theta, dtype=np.float64, ndmin=2)
        with self:
            self.evaluations[stage] += len(theta)
            return self._backend.measure(theta, function, width, prepare)

    def measure_components(
        self, theta: ArrayLike, function: Callable[[], np.ndarray], width: int, stage: str
    ) -> dict[str, np.ndarray]:
        """As `measure` with each additive component alone: (n, width) by component name."""
        theta = np.array(theta, dtype=np.float64, ndmin=2)
        with self:
            found, spent = self._backend.measure_components(theta, function, width)
            self.evaluations[stage] += spent
        return found

    def set(self, theta: ArrayLike, stage: str = "set") -> None:
        """Leave the model at `theta`, also after the context; one evaluation, as XSPEC computes the model there."""
        theta = np.asarray(theta, dtype=np.float64).reshape(-1)
        reason = outside_limits(theta[None], self.parameters)[0]
        if reason:
            raise ValueError(f"The model cannot be set there: {reason}.")
        with self:
            self._evaluator.set(theta)
            self.evaluations[stage] += 1
            self._keep = True

    def native_fit(self, theta: ArrayLike, iterations: int = 50) -> tuple[np.ndarray, float]:
        """Set `theta` and let XSPEC's own fit polish it, without regard to priors; the model is left there.

        Counted under "polish"; see `fitting.native_fit`.

        Returns
        -------
        best : ndarray (d,)
        statistic : float
        """
        theta = np.asarray(theta, dtype=np.float64).reshape(-1)
        reason = outside_limits(theta[None], self.parameters)[0]
        if reason:
            raise ValueError(f"The fit cannot start there: {reason}.")
        with self:
            best, statistic, spent = fitting.native_fit(self.module, self._evaluator, theta, iterations)
            self.evaluations["polish"] += spent
            self._keep = True
        return best, statistic

    def best_fit(self, theta: ArrayLike, support: np.ndarray, iterations: int = 50) -> BestFit:
        """Polish `theta` within `support` (d, 2) and leave the model there; see `fitting.best_fit`.

        Counted under "polish", as `native_fit`.
        """
        start = np.clip(np.asarray(theta, dtype=np.float64).reshape(-1), *support.T)
        with self:
            trial = functools.partial(self._backend.measure, time_limit=self.time_limit * (1 + self.n_free))
            found = fitting.best_fit(self.module, self._evaluator, trial, start, iterations, support)
            self.evaluations["polish"] += found.evaluations
            self._keep = True
        return found

    def keep(self) -> None:
        """Leave the parameters as they are at the end of the context, instead of restoring them."""
        self._keep = True

    # ------------------------------------------------------------------------------------------------- the record

    def fingerprint(self) -> dict[str, Any]:
        """Return what defines this posterior besides the priors, JSON-able; see `fingerprint.difference`."""
        return dict(self._fingerprint)

    def save_xcm(self, path: str | Path) -> Path:
        """Save the session as an .xcm with absolute paths; see `files.save_xcm`."""
        with self:
            return files.save_xcm(self.module, Path(path))

    def refuse_chains(self) -> None:
        """Raise RuntimeError when chains are loaded already; see `files.refuse_chains`."""
        files.refuse_chains(self.module)

    def unload_chains(self, folder: str | Path) -> None:
        """Unload the chains if one lies in `folder`, which is about to be replaced; see `files.unload_chains`."""
        with Silence(self.module):
            files.unload_chains(self.module, Path(folder))

    def load_chain(self, path: str | Path, replace: bool = False) -> None:
        """Load a chain file; refuses when chains are there already, unless `replace`; see `files.load_chain`."""
        with self:
            files.load_chain(self.module, Path(path), replace)
