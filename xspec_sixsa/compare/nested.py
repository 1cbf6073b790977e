"""The same problem by nested sampling: BXA (UltraNest), unmodified, and nautilus."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.session.parameters import model_objects

if TYPE_CHECKING:
    from xspec_sixsa.priors import JointPrior
    from xspec_sixsa.session import Session

__all__ = ["run_bxa", "run_nautilus", "transformations"]

LIVE = {"bxa": 400, "nautilus": 1500}
"""Live points: BXA's and UltraNest's default, and enough for nautilus to find two modes."""
NAUTILUS_ESS = 10_000
AGAIN = 1.0
"""Seconds after which a time limit strikes once more."""
BXA_STATISTICS = ("cstat", "cash", "pstat")


def run_bxa(
    session: Session,
    prior: JointPrior,
    *,
    live: int | None = None,
    seed: int = 1,
    limit: float | None = None,
    progress: bool = True,
) -> Posterior:
    """Run `bxa.xspec.BXASolver` with its defaults on the session's own XSPEC.

    It changes the session, numpy's global generator and matplotlib's backend: call it in a process of its own (see
    `child.in_child`).

    Parameters
    ----------
    session : Session
    prior : JointPrior
    live : int, default 400
    seed : int, default 1
    limit : float, optional
        Seconds after which it is given up.
    progress : bool, default True
        A counter of evaluations on a terminal.

    Raises
    ------
    CompareError
        Where BXA cannot do the problem, or is not installed.
    """
    live = live or LIVE["bxa"]
    clock = Clock("bxa", progress)
    with session, bxa_on(session.module) as bxa, tempfile.TemporaryDirectory(prefix="sixsa-bxa-") as folder:
        if session.module.Fit.statMethod.lower() not in BXA_STATISTICS:
            raise CompareError(
                f"BXA takes Poisson statistics only ({', '.join(BXA_STATISTICS)}), and here it is "
                f"{session.module.Fit.statMethod}: compare with nautilus or mcmc."
            )
        entries = transformations(session, prior)
        np.random.seed(seed)  # UltraNest draws from numpy's global generator
        solver = bxa.BXASolver(transformations=entries, outputfiles_basename=f"{folder}/")
        solver.log_likelihood = clock.timed(solver.log_likelihood)
        known: dict[str, Any] = {"seed": seed, "settings": {"live": live}}
        with quiet_ultranest():
            try:
                with clock, stopped_after(limit):
                    results = solver.run(n_live_points=live)
            except TimeoutError:
                return Posterior.unfinished(
                    "bxa", session.n_free, iterations=max(int(solver.sampler.pointstore.nrows) - live, 0),
                    notes=[f"stopped after {limit:g} s"], **known, **clock.cost(),
                )  # fmt: skip
        draws = results["weighted_samples"]
        points = np.column_stack(
            [entry["aftertransform"](np.asarray(draws["points"])[:, i]) for i, entry in enumerate(entries)]
        )
    keep = np.asarray(draws["weights"]) > 0
    return Posterior(
        "bxa", points[keep], np.asarray(draws["weights"])[keep], float(results["ess"]), float(results["logz"]),
        float(results["logzerr"]), best_statistic=float(-2 * np.max(draws["logl"])), **known, **clock.cost(),
    )  # fmt: skip


def run_nautilus(
    session: Session,
    prior: JointPrior,
    *,
    live: int | None = None,
    seed: int = 1,
    limit: float | None = None,
    progress: bool = True,
    ess: int = NAUTILUS_ESS,
    discard_exploration: bool = True,
) -> Posterior:
    """Run nautilus on the session; parameters as for `run_bxa` (`live` is 1,500 by default).

    Its points of the exploration are left out, which nautilus recommends for an unbiased result; keeping them is its
    own default, and saves evaluations.

    Raises
    ------
    CompareError
        Where nautilus is not installed.
    """
    try:
        from nautilus import Sampler
    except ImportError as error:
        raise CompareError("nautilus is not installed: pip install nautilus-sampler") from error
    live = live or LIVE["nautilus"]
    clock = Clock("nautilus", progress)

    def log_likelihood(u: np.ndarray) -> np.ndarray:
        # nautilus accepts no -inf where all points of a batch have it
        return np.maximum(session.evaluate(prior.transform(np.atleast_2d(u)), "nautilus").log_likelihood, -1e300)

    known: dict[str, Any] = {"seed": seed, "settings": {"live": live, "ess": ess}}
    if not discard_exploration:
        known["notes"] = ["points of the exploration are kept"]
    with session, clock:
        sampler = Sampler(
            lambda u: u, clock.timed(log_likelihood, size=len), session.n_free, n_live=live, vectorized=True, seed=seed
        )
        timeout = math.inf if limit is None else limit
        done = sampler.run(n_eff=ess, discard_exploration=discard_exploration, timeout=timeout)
    if not done:
        known["notes"] = [*known.get("notes", []), f"stopped after {limit:g} s"]
        return Posterior.unfinished("nautilus", session.n_free, **known, **clock.cost())
    u, log_weights, values = sampler.posterior()
    weights = np.exp(log_weights - log_weights.max())
    return Posterior(
        "nautilus", prior.transform(u)[weights > 0], weights[weights > 0], float(sampler.n_eff), float(sampler.log_z),
        float(1 / np.sqrt(sampler.n_eff)), best_statistic=float(-2 * np.max(values)), **known, **clock.cost(),
    )  # fmt: skip


def transformations(session: Session, prior: JointPrior) -> list[dict[str, Any]]:
    """BXA's description of the priors: uniform and log-uniform as its own helpers make them, the rest by quantile.

    Raises
    ------
    CompareError
        For a joint prior, or a free gain.
    """
    models = {(name, group): model for name, group, model in model_objects(session.module)}
    entries: list[dict[str, Any] | None] = [None] * session.n_free
    for one, columns in zip(prior.priors, prior.columns, strict=True):
        if one.is_joint:
            raise CompareError(f"BXA's priors are of one parameter each, and that of {one.title} is a joint one.")
        parameter = session.parameters[columns[0]]
        if parameter.response is not None:
            raise CompareError(f"BXA sets no response parameters, and {parameter.label} is free.")
        transform, after = _functions(one)
        entries[columns[0]] = {
            "model": models[parameter.model, parameter.group], "index": parameter.index, "name": parameter.name,
            "transform": transform, "aftertransform": after,
        }  # fmt: skip
    return [entry for entry in entries if entry is not None]


def _functions(prior: Any) -> tuple[Callable[[float], float], Callable[[Any], Any]]:
    def same(x: Any) -> Any:
        return x

    def power(x: Any) -> Any:
        return 10.0**x

    if prior.kind == "uniform":
        low, width = prior.low, prior.high - prior.low
        return lambda u: low + u * width, same
    if prior.kind == "loguniform":
        low, high = math.log10(prior.low), math.log10(prior.high)
        # a rounding beyond the hard limits, and XSPEC would keep its old value
        while 10.0**low < prior.low:
            low = math.nextafter(low, math.inf)
        while 10.0**high > prior.high:
            high = math.nextafter(high, -math.inf)
        return lambda u: low + u * (high - low), power
    return lambda u: float(prior.ppf(u)), same


class Clock:
    """Counts evaluations, and divides the time into that inside the model and the rest.

    Parameters
    ----------
    name : str
    progress : bool
        A counter on standard error, where that is a terminal.
    """

    def __init__(self, name: str, progress: bool = False) -> None:
        self.evaluations, self.inside, self.total = 0, 0.0, 0.0
        self._name, self._progress = name, progress

    def __enter__(self) -> Clock:
        from tqdm import tqdm

        self._bar = tqdm(desc=self._name, unit=" evaluations", leave=False, file=sys.stderr,
                         disable=not (self._progress and sys.stderr.isatty()))  # fmt: skip
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.total += time.monotonic() - self._began
        self._bar.close()

    def timed(self, function: Callable[[Any], Any], size: Callable[[Any], int] = lambda _: 1) -> Callable[[Any], Any]:
        """The same likelihood, on the clock; `size` tells how many evaluations a call is."""

        def call(argument: Any) -> Any:
            self.evaluations += size(argument)
            self._bar.update(size(argument))
            began = time.monotonic()
            try:
                return function(argument)
            finally:
                self.inside += time.monotonic() - began

        return call

    def cost(self) -> dict[str, Any]:
        """Evaluations and seconds, as `Posterior` names them."""
        return {
            "evaluations": self.evaluations,
            "seconds_model": self.inside,
            "seconds_other": max(self.total - self.inside, 0.0),
        }


@contextlib.contextmanager
def bxa_on(module: ModuleType) -> Iterator[ModuleType]:
    """`bxa.xspec`, imported so that it speaks to `module`; what was imported before is put back."""
    import matplotlib

    matplotlib.use("Agg", force=True)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "bxa"}
    xspec = sys.modules.get("xspec")
    sys.modules["xspec"] = module
    try:
        try:
            import bxa.xspec as bxa
        except ImportError as error:
            raise CompareError(f"BXA cannot be imported ({error}): pip install bxa") from error
        yield bxa
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "bxa"]:
            del sys.modules[name]
        sys.modules.update(before)
        if xspec is None:
            del sys.modules["xspec"]
        else:
            sys.modules["xspec"] = xspec


@contextlib.contextmanager
def quiet_ultranest() -> Iterator[None]:
    """Neither its log nor its live display."""
    logger = logging.getLogger("ultranest")
    before, logger.disabled = logger.disabled, True  # it sets its own level
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            yield
        finally:
            logger.disabled = before


@contextlib.contextmanager
def stopped_after(limit: float | None) -> Iterator[None]:
    """TimeoutError after so many seconds."""
    if limit is None:
        yield
        return

    def too_long(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    # again and again: a library that swallows exceptions must not run to its end
    signal.setitimer(signal.ITIMER_REAL, limit, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
