"""The best fit that a run leaves in XSPEC: within the priors, by a fit that cannot take the program with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from live import fresh, state
from test_stale import table_session

from xspec_sixsa.priors import bind, loguniform, uniform
from xspec_sixsa.session import Session

REAL = pytest.param("xspec", marks=pytest.mark.xspec)


@pytest.fixture(params=["xspec_sixsa.embedded", REAL])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from fresh(request.param, tmp_path)


def power_law(engine: ModuleType, *index: float) -> tuple[Session, np.ndarray]:
    """An absorbed power law, with the limits of its index's prior; session and the priors' support."""
    engine.AllData("two.pha")
    model = engine.Model("phabs*powerlaw", setPars=(0.3, 2.0, 1e-2))
    session = Session(engine, workers=1)
    priors = [uniform(model.phabs.nH, 0, 3), uniform(model.powerlaw.PhoIndex, *index),
              loguniform(model.powerlaw.norm, 1e-4, 1e-1)]  # fmt: skip
    return session, bind(priors, session).support


def test_a_peak_within_the_priors_is_found_and_leaves_a_valid_fit(engine: ModuleType) -> None:
    session, support = power_law(engine, -2, 9)
    free, lowest = session.native_fit([0.3, 2.0, 1e-2])
    assert (free > support[:, 0]).all() and (free < support[:, 1]).all()
    before = state(engine, values=False)
    found = session.best_fit([1.0, 3.0, 1e-2], support)
    assert found.complaint == ""
    # XSPEC's fits stop where the statistic changes by less than 0.01
    assert found.statistic == pytest.approx(lowest, abs=0.02)
    assert engine.Fit.statistic == pytest.approx(found.statistic, abs=1e-6)
    assert state(engine, values=False) == before
    engine.Fit.error("1.0 2")  # refuses to work without a valid fit
    low, high, _ = engine.AllModels(1)(2).error
    assert low < found.theta[1] < high


def test_the_valid_fit_that_is_left_costs_what_its_covariance_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for engine in fresh("xspec_sixsa.embedded", tmp_path):
        session, support = power_law(engine, -2, 9)
        session.native_fit([1.0, 3.0, 1e-2], iterations=1)
        apart = session.evaluations["polish"]
        found = session.best_fit([1.0, 3.0, 1e-2], support, iterations=1)
        # a look at where the first fit ended; one before the second, renorm's three, the start, two for each of three
        # derivatives, and the same points again where the session asks for its statistic: but no step is tried
        assert found.evaluations - apart <= 1 + 1 + 3 + 1 + 6 + 3
        assert engine.Fit.criticalDelta == 0.01 and len(engine.Fit.covariance) == 6


def test_a_peak_outside_the_priors_gives_the_best_fit_within_them(engine: ModuleType) -> None:
    session, support = power_law(engine, -2, 9)
    free, lowest = session.native_fit([0.3, 2.0, 1e-2])
    session, support = power_law(engine, free[1] - 3.0, free[1] - 0.5)
    before = state(engine, values=False)
    found = session.best_fit([0.3, free[1] - 1.0, 1e-2], support)
    assert state(engine, values=False) == before
    assert (found.theta >= support[:, 0]).all() and (found.theta <= support[:, 1]).all()
    assert found.theta[1] == pytest.approx(free[1] - 0.5, rel=1e-6)
    assert found.statistic > lowest + 1.0
    # the other two are at their best: half an error's way from there is worse
    around = found.theta * (1.0 + np.array([[0.02, 0, 0], [-0.02, 0, 0], [0, 0, 0.01], [0, 0, -0.01]]))
    assert session.evaluate(around, "around").statistic.min() > found.statistic - 0.02
    assert "the likelihood is highest outside the priors (PhoIndex__2 at its prior's upper limit" in found.complaint
    with session:
        np.testing.assert_allclose([engine.AllModels(1)(i).values[0] for i in (1, 2, 3)], found.theta, rtol=1e-12)


@pytest.mark.xspec
def test_a_fit_that_would_end_the_program_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for xspec in fresh("xspec", tmp_path):
        session = table_session(xspec, "p1 + 0.5")
        # XSPEC steps over the table's end for its derivative: "Spectrum array size mismatch", and aborts
        found = session.best_fit([2.0], np.array([[0.0, 5.0]]))
        assert "was tried apart and failed (the worker was killed by SIGABRT" in found.complaint
        assert found.theta == [2.0] and xspec.AllModels(1)(1).values[0] == 2.0
        assert session.best_fit([0.5], np.array([[0.0, 5.0]])).complaint == ""
