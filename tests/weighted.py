"""An exact result without any training: a power law weighted from Student draws around its best fit."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy import stats
from small_session import fresh, write_fixed_spectra

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.priors import bind
from xspec_sixsa.result import Result, SpectrumPredictive
from xspec_sixsa.session import Session


def load_powerlaw(xspec: ModuleType, folder: Path, model: str = "powerlaw") -> None:
    """Load ``two.pha`` (written into `folder`) and a power law, or another model of two free parameters."""
    write_fixed_spectra(folder)
    fresh(xspec)
    xspec.Xset.allowPrompting = False
    with working_directory(folder):  # the names in its header are relative
        xspec.AllData(f"1:1 {folder / 'two.pha'}")
    xspec.AllData(1).response = str(folder / "small.rmf")
    xspec.AllData(1).response.arf = str(folder / "small.arf")
    xspec.Fit.statMethod = "cstat"
    xspec.Model(model, setPars=(1.0, 4e-3))


def powerlaw_priors(xspec: ModuleType) -> list[Any]:
    model = xspec.AllModels(1)
    return [sixsa.uniform((model, 1), -1.0, 3.0), sixsa.loguniform((model, 2), 1e-4, 1e-1)]


def weighted_result(xspec: ModuleType, priors: list[Any] | None = None, n: int = 4000, seed: int = 0) -> Result:
    """Draws from a Student distribution in the unit cube, with exact weights."""
    session = Session(xspec, workers=1)
    prior = bind(priors if priors is not None else powerlaw_priors(xspec), session)
    with session:
        best, statistic = session.native_fit(session.evaluate(prior.transform([[0.5, 0.5]]), "start").theta[0])
    centre = prior.cdf(best[None])[0]
    step = 1e-3
    nearby = prior.transform(centre + step * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]))
    values = session.evaluate(nearby, "curvature").log_likelihood
    sd = 1 / np.sqrt([-(values[1 + 2 * i] + values[2 + 2 * i] - 2 * values[0]) / step**2 for i in range(2)])
    student = stats.t(5)
    offsets = student.rvs((n, 2), random_state=seed)
    u = centre + 2 * sd * offsets
    inside = ((u > 0) & (u < 1)).all(axis=1)
    samples = prior.transform(np.clip(u, 0, 1))
    log_likelihood = np.where(inside, session.evaluate(samples, "draws").log_likelihood, -np.inf)
    log_proposal = student.logpdf(offsets).sum(axis=1) - np.log(2 * sd).sum()
    weights = Weights(log_likelihood - log_proposal, np.zeros(n, dtype=int))
    return Result(
        session.names, session.labels, session.units, samples, weights.log_weights, log_likelihood, log_proposal,
        weights.log_z, weights.log_z_err, weights.ess, weights.k_hat, dict(session.evaluations), {"evaluation": 0.1},
        "reliable", [], best, statistic, seed, {}, session.fingerprint() | {"priors": prior.to_dict()},
    )  # fmt: skip


def save_run(xspec: ModuleType, folder: Path, priors: list[Any] | None = None, draws: int = 200) -> Result:
    """Save a weighted result as a run does, with its session and its predictive spectra."""
    result = weighted_result(xspec, priors)
    session = Session(xspec, workers=1)
    (data,) = session.observation.spectra
    counts = session.evaluate(result.resample(draws, 1), "predictive").counts
    result.predictive_data = [
        SpectrumPredictive(data.name, data.energies, data.exposure, data.counts, np.sqrt(data.counts), None, counts)
    ]
    result.save(folder)
    session.save_xcm(folder / "session.xcm")
    return result
