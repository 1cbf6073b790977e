"""The same problem by XSPEC's own Markov chains, and whether a chain has converged."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.result.chainfile import read_chain
from xspec_sixsa.session.evaluator import Evaluator
from xspec_sixsa.session.fitting import native_fit
from xspec_sixsa.session.parameters import model_objects

if TYPE_CHECKING:
    from xspec_sixsa.priors import JointPrior
    from xspec_sixsa.session import Session

__all__ = ["autocorrelation_time", "read_chains", "run_chain", "split_r_hat"]

LENGTH, BURN = 40_000, 10_000
MH_CHAINS = 4
WALKERS_PER_PARAMETER = 8
NEGLIGIBLE = 1e-9
"""Probability cut off either end of a log-normal prior, whose chain is run without it and must have ends."""
WINDOW = 5.0
"""Autocorrelation is summed up to so many times its time (Sokal 1997)."""


def run_chain(
    session: Session,
    prior: JointPrior,
    algorithm: str = "mcmc",
    *,
    start: NDArray[np.float64],
    length: int = LENGTH,
    burn: int = BURN,
    seed: int = 1,
    limit: float | None = None,
    progress: bool = True,
) -> Posterior:
    """Fit from `start`, as one does, and run XSPEC's chain from there, with the priors as XSPEC's `bayes` and limits.

    It changes the session: call it in a process of its own (see `child.in_child`).

    Parameters
    ----------
    session : Session
    prior : JointPrior
        Uniform, log-uniform, normal and exponential priors are XSPEC's own (cons, jeffreys, gauss, exp, within hard
        limits). Log-normal ones, and users' distributions with a density, weight the draws of a chain without them.
    algorithm : {"mcmc", "mh"}
        Goodman-Weare (8 walkers a parameter), or Metropolis-Hastings (4 chains one after the other).
    start : ndarray (d,)
        The best fit.
    length, burn : int, defaults 40,000 and 10,000
        Rows kept and thrown away, in all.
    seed : int, default 1
        Of XSPEC's generator.
    limit, progress
        Taken for the sake of uniformity: XSPEC's chain cannot be stopped.

    Raises
    ------
    CompareError
        Where XSPEC's chain cannot do the problem.
    """
    if session.why_no_chain:
        raise CompareError(f"XSPEC runs no chain here: {session.why_no_chain}.")
    module = session.module
    if algorithm == "mh" and session.is_embedded:
        raise CompareError(
            "Metropolis-Hastings is XSPEC's own chain, which the embedded engine has not: compare with mcmc "
            "(Goodman-Weare), or use real XSPEC."
        )
    began = time.monotonic()
    module.Xset.chatter = module.Xset.logChatter = 0
    module.Xset.allowPrompting = False
    module.Fit.query = "no"
    reweight = _set_priors(session, prior)
    module.Fit.bayes = "on"
    module.AllChains.clear()
    module.Xset.seed = seed
    walkers, parts = WALKERS_PER_PARAMETER * session.n_free, 1 if algorithm == "mcmc" else MH_CHAINS
    evaluator = Evaluator(module, session.parameters, session.observation)
    before = _counted(session)
    timed = time.monotonic()
    _, _, spent = native_fit(module, evaluator, np.clip(start, *prior.support.T), 100)
    with tempfile.TemporaryDirectory(prefix="sixsa-chain-") as folder:
        chains = []
        for k in range(parts):
            name = str(Path(folder) / f"chain{k}.fits")
            kind = {"algorithm": "gw", "walkers": walkers} if algorithm == "mcmc" else {"algorithm": "mh", "rand": True}
            try:
                module.Chain(name, burn=burn // parts, runLength=length // parts, proposal="gaussian fit", **kind)
            except Exception as error:  # PyXspec raises plain Exception
                raise CompareError(
                    f"XSPEC's chain did not run ({error}): it starts from a valid fit, so try `fit` first."
                ) from error
            chains.append(name)
            module.AllChains.clear()
        seconds = time.monotonic() - timed
        found, best_row = read_chains(chains, session.names, method=algorithm)
    rows = length + burn + (walkers if algorithm == "mcmc" else 0)
    found.evaluations = _counted(session) - before if session.is_embedded else spent + rows
    if reweight:
        _reweight(found, reweight)
    # the chain's own column has the prior in it
    module.Fit.bayes = "off"
    found.best_statistic = evaluator(best_row)[1]
    found.evaluations += 2
    found.seed, found.settings = seed, {"length": length, "burn": burn}
    if algorithm == "mcmc":
        found.settings["walkers"] = walkers
    found.seconds_model, found.seconds_other = seconds, max(time.monotonic() - began - seconds, 0.0)
    return found


def read_chains(
    paths: Sequence[str | Path], names: Sequence[str], method: str
) -> tuple[Posterior, NDArray[np.float64]]:
    """Read chain files of one problem, each another chain (or ensemble of walkers), and judge them.

    Returns
    -------
    Posterior, ndarray (d,)
        The second is the row of least statistic.

    Raises
    ------
    CompareError
        For a chain of other parameters, or BXA's, which is wrong in BXA 5.1.
    """
    stacks, statistics = [], []
    for path in paths:
        chain = read_chain(path)
        if sorted(chain.names) != sorted(names):
            raise CompareError(
                f"{path} is a chain of {', '.join(chain.names)}, and the run's parameters are {', '.join(names)}."
            )
        if len(chain.statistic) > 1 and not chain.statistic.any():
            raise CompareError(
                f"{path} has no fit statistic: BXA 5.1 writes such chains, with wrong parameter columns. Give the "
                "folder of the BXA run instead."
            )
        samples = chain.samples[:, [chain.names.index(name) for name in names]]
        walkers = int(chain.header.get("NWALKERS", 1) or 1)  # type: ignore[call-overload]
        steps = len(samples) // walkers
        # XSPEC's rows: all walkers of the first step, then of the second
        stacks.append(samples[: steps * walkers].reshape(steps, walkers, -1).swapaxes(0, 1))
        statistics.append(chain.statistic[: steps * walkers].reshape(steps, walkers).T)
    steps = min(stack.shape[1] for stack in stacks)
    walks = np.concatenate([stack[:, :steps] for stack in stacks])
    statistic = np.concatenate([s[:, :steps] for s in statistics]).ravel()
    columns = [walks[:, :, i] for i in range(walks.shape[2])]
    times = [autocorrelation_time(column) for column in columns]
    samples = walks.reshape(-1, walks.shape[2])
    found = Posterior(
        method, samples, np.ones(statistic.size), statistic.size / max(times),
        best_statistic=float(statistic.min()), r_hat=max(split_r_hat(column) for column in columns),
        correlation=max(times), steps=steps,
    )  # fmt: skip
    return found, samples[int(np.argmin(statistic))]


def autocorrelation_time(walks: NDArray[np.float64]) -> float:
    """Integrated autocorrelation time of walkers (m, n) in steps, their autocorrelations averaged; at least 1.

    Goodman & Weare (2010), with Sokal's automatic window.
    """
    walks = np.asarray(walks, dtype=float)
    n = walks.shape[1]
    centred = walks - walks.mean()
    if n < 4 or not centred.any():
        return float(n)
    transformed = np.fft.rfft(centred, 2 * n, axis=1)
    acf = np.fft.irfft(np.abs(transformed) ** 2, axis=1)[:, :n].mean(axis=0)
    taus = 2 * np.cumsum(acf / acf[0]) - 1
    window = np.flatnonzero(np.arange(n) >= WINDOW * taus)
    return float(max(taus[window[0] if window.size else n - 1], 1.0))


def split_r_hat(walks: NDArray[np.float64]) -> float:
    """Rank-normalised split R-hat of chains or walkers (m, n) (Vehtari et al. 2021, Bayesian Analysis 16, 667)."""
    from scipy import stats

    half = walks.shape[1] // 2
    if half < 2:
        return math.nan
    parts = np.concatenate([walks[:, :half], walks[:, half : 2 * half]])
    if np.ptp(parts) == 0:
        return math.inf
    ranks = stats.rankdata(parts).reshape(parts.shape)
    z = stats.norm.ppf((ranks - 0.375) / (parts.size + 0.25))
    within = z.var(axis=1, ddof=1).mean()
    between = half * z.mean(axis=1).var(ddof=1)
    return float(np.sqrt((half - 1) / half + between / (half * within))) if within > 0 else math.inf


def _set_priors(session: Session, prior: JointPrior) -> list[tuple[int, Any]]:
    """Give XSPEC limits and `bayes` priors; return (column, log density ratio) of those that it cannot have."""
    models = {(name, group): model for name, group, model in model_objects(session.module)}
    reweight: list[tuple[int, Any]] = []
    for one, columns in zip(prior.priors, prior.columns, strict=True):
        if one.is_joint:
            raise CompareError(f"XSPEC's priors are of one parameter each, and that of {one.title} is a joint one.")
        column, numbers = columns[0], one.numbers
        parameter = session.parameters[column]
        target = models[parameter.model, parameter.group](parameter.index)
        edges = one.ppf([NEGLIGIBLE, 1 - NEGLIGIBLE]) if one.kind == "lognormal" else one.support
        low, high = (float(np.clip(edge, *parameter.hard_limits)) for edge in edges)
        value = float(target.values[0])
        middle = value if low < value < high else 0.5 * (low + high)
        target.values = [middle, abs(target.values[1]), low, low, high, high]
        if one.kind == "uniform":
            target.prior = ("cons",)
        elif one.kind == "loguniform":
            target.prior = ("jeffreys",)
        elif one.kind == "normal":
            target.prior = ("gauss", numbers["mean"], numbers["sd"])
        elif one.kind == "exponential":
            target.prior = ("exp", numbers["scale"])
        elif one.kind == "lognormal":
            target.prior = ("jeffreys",)
            reweight.append((column, lambda x, p=one: p.frozen.logpdf(np.log(x))))
        elif one.kind == "custom" and hasattr(one.distribution, "logpdf"):
            target.prior = ("cons",)
            reweight.append((column, one.distribution.logpdf))
        else:
            raise CompareError(
                f"XSPEC's chain cannot have the {one.kind} prior of {parameter.label}, nor is its density known: "
                "compare with nautilus or bxa."
            )
    return reweight


def _reweight(found: Posterior, terms: list[tuple[int, Any]]) -> None:
    log_weights = sum(density(found.samples[:, column]) for column, density in terms)
    weights = np.exp(log_weights - np.max(log_weights))
    found.weights = weights / weights.sum()
    kept = 1 / (found.weights**2).sum() / found.weights.size
    found.ess *= kept
    found.notes.append(f"weighted by a prior that XSPEC has not: {100 * kept:.0f} % of the draws count")


def _counted(session: Session) -> int:
    if not session.is_embedded:
        return 0
    from xspec_sixsa.embedded.evaluate import evaluations

    return evaluations()
