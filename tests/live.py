"""Live sessions for tests: an empty XSPEC among small spectra, its state as a dictionary, and a quick posterior.

The posterior is importance sampling about XSPEC's own fit: real evaluations, exact weights, seconds instead of minutes.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from small_session import write_fixed_spectra

from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.result import Result
from xspec_sixsa.session import Session
from xspec_sixsa.session.observe import saved_lines
from xspec_sixsa.session.parameters import model_objects

QUICK = {
    "first": 150, "batch": 60, "pilot": 150, "emulated": 1000, "explorer_steps": 80, "flow_steps": 150,
    "refine_steps": 120,
}  # fmt: skip
"""Settings for posteriors of two or three parameters that a few seconds of training are enough for."""


def fresh(name: str, folder: Path) -> Iterator[ModuleType]:
    """An empty XSPEC; one.pha (grouped, with background) and two.pha are in `folder`, where we must be."""
    xspec = importlib.import_module(name)
    write_fixed_spectra(folder)
    xspec.Xset.chatter, xspec.Xset.logChatter, xspec.Xset.allowPrompting = 0, 0, False
    clear(xspec)
    xspec.Xset.abund, xspec.Xset.xsect = "wilm", "vern"
    xspec.Fit.statMethod, xspec.Fit.weight, xspec.Fit.bayes, xspec.Fit.query = "cstat", "standard", "off", "yes"
    xspec.Fit.nIterations, xspec.Fit.criticalDelta = 10, 0.01  # XSPEC's defaults, whatever another test has left
    yield xspec
    clear(xspec)
    xspec.Xset.abund = "angr"  # XSPEC's default: other tests of this process run in the same engine


def clear(xspec: ModuleType) -> None:
    xspec.AllChains.clear()
    xspec.AllModels.clear()
    xspec.AllData.clear()


def state(xspec: ModuleType, *, values: bool = True) -> dict[str, Any]:
    """Everything a user could find changed.

    Parameters
    ----------
    xspec : module
    values : bool, default True
        False leaves out what a fit is there to change: values, what follows from them, and chains.
    """
    parameters = {}
    for name, group, model in model_objects(xspec):
        for i in range(1, model.nParameters + 1):
            p = model(i)
            linked = p.link.strip()
            # XSPEC's deltas are in proportion to the value
            kept = tuple(p.values) if values else () if linked else tuple(p.values)[2:]
            parameters[name, group, i] = (kept, p.frozen, linked, tuple(p.prior))
    plot = xspec.Plot
    found = {
        "parameters": parameters,
        "expressions": {(name, group): model.expression for name, group, model in model_objects(xspec)},
        "sources": dict(xspec.AllModels.sources),
        "xset": [
            getattr(xspec.Xset, n) for n in ("chatter", "logChatter", "allowPrompting", "abund", "xsect", "cosmo")
        ],
        "strings": sorted(tuple(xspec.Xset.modelStrings)),
        "fit": [
            getattr(xspec.Fit, n)
            for n in ("bayes", "query", "method", "nIterations", "criticalDelta", "delta", "statMethod", "statTest",
                      "weight")
        ],
        "plot": [getattr(plot, n) for n in ("device", "xAxis", "xLog", "yLog", "add", "background", "redshift",
                                            "perHz", "area", "commands") if hasattr(plot, n)],
        "spectra": [
            (s.fileName, s.noticedString(), s.ignoredString(), s.dataGroup, s.cornorm)
            for s in (xspec.AllData(i + 1) for i in range(xspec.AllData.nSpectra))
        ],
        # per-spectrum statistics, systematic, energies ... can be read nowhere else
        "saved": [line for line in saved_lines(xspec) if line.split() and not line.strip()[0].isdigit()
                  and line.split()[0] not in ("chain", "newpar")],
    }  # fmt: skip
    if values:
        found["statistic"] = xspec.Fit.statistic
    return found


def importance_result(session: Session, half_widths: float = 8.0, n: int = 4000, seed: int = 1) -> Result:
    """Posterior under uniform priors of +- `half_widths` of XSPEC's own errors about its own fit.

    The proposal is a Student t (5 degrees of freedom) of 1.2 times the fit's own errors and its correlations.
    """
    xspec = session.module
    with session:
        best, _ = session.native_fit([p.values[0] for p in session.parameters])
        lower = np.zeros((session.n_free,) * 2)
        lower[np.tril_indices(session.n_free)] = xspec.Fit.covariance
        covariance = lower + np.tril(lower, -1).T
        sd = np.sqrt(np.diag(covariance))
        hard = session.hard_limits
        low, high = np.maximum(best - half_widths * sd, hard[:, 0]), np.minimum(best + half_widths * sd, hard[:, 1])
        rng = np.random.default_rng(seed)
        d, dof = session.n_free, 5.0
        factor = np.linalg.cholesky(covariance) * 1.2
        z = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(dof, n) / dof)[:, None]
        theta = best + z @ factor.T
        inside = ((theta > low) & (theta < high)).all(axis=1)
        result = np.full(n, -np.inf)
        result[inside] = session.evaluate(theta[inside], "final").log_likelihood
    log_q = -0.5 * (dof + d) * np.log1p((z**2).sum(axis=1) / dof) - np.log(np.diag(factor)).sum()
    # in the unit cube, up to a constant that no test here needs
    log_q = log_q + np.log(high - low).sum()
    weights = Weights(result - log_q, np.zeros(n, int))
    index = int(np.argmax(result))
    return Result(
        names=session.names, labels=session.labels, units=session.units, samples=theta,
        log_weights=weights.log_weights, log_likelihood=result, log_proposal=log_q, log_z=weights.log_z,
        log_z_err=weights.log_z_err, ess=weights.ess, k_hat=weights.k_hat, evaluations=dict(session.evaluations),
        seconds={}, status="reliable", reasons=[], best_fit=theta[index], best_statistic=float(-2 * result[index]),
        seed=seed,
    )  # fmt: skip


def chain_in_xspec(session: Session, result: Result, path: Path) -> None:
    """The end of `run.Run`: the chain loaded, then the native fit, and nothing set after it."""
    with session:
        session.load_chain(result.save_chain(path))
        session.native_fit(result.best_fit)


def write_priors(file: Path, index: tuple[float, float], norm: tuple[float, float]) -> None:
    """Priors of a power law alone, for the shell."""
    ranges = {"PhoIndex__1": ("uniform", *index), "norm__2": ("loguniform", *norm)}
    file.write_text("".join(f'["{n}"]\nkind = "{kind}"\nlow = {a}\nhigh = {b}\n' for n, (kind, a, b) in ranges.items()))
