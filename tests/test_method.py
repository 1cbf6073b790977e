"""The fitting method "sixsa" of PyXspec, on the embedded engine and on real XSPEC; and nothing disturbed by a run."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from live import QUICK, chain_in_xspec, fresh, importance_result, state

import xspec_sixsa as sixsa
from xspec_sixsa.session import Session
from xspec_sixsa.session.files import loaded_chains

ENGINES = ["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)]


@pytest.fixture(params=ENGINES)
def xspec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from installed(request.param, tmp_path, monkeypatch)


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from installed("xspec", tmp_path, monkeypatch)


def installed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(folder)
    live = fresh(name, folder)
    module = next(live)
    module.Fit.method = "leven"
    module.Fit.bayes = "off"
    yield module
    sixsa.uninstall(module)
    for _ in live:
        pass


def power_law(xspec: ModuleType) -> Any:
    """One spectrum, index and norm free: the smallest problem that a run needs."""
    xspec.AllData("two.pha")
    model = xspec.Model("TBabs*powerlaw")
    model.setPars({1: 0.3, 2: 2.0, 3: 1.2e-2})
    model(1).frozen = True
    return model


# ------------------------------------------------------------------------------------------------- the method's name


def test_other_methods_are_untouched(xspec: ModuleType) -> None:
    power_law(xspec)
    sixsa.install(xspec=xspec)
    assert xspec.Fit.method == "leven"
    xspec.Fit.perform()
    native = xspec.Fit.statistic
    xspec.AllModels(1).setPars({2: 2.0, 3: 1.2e-2})
    sixsa.uninstall(xspec)
    xspec.Fit.perform()
    assert xspec.Fit.statistic == native


@pytest.mark.xspec
@pytest.mark.parametrize("name", ["migrad", "simplex"])
def test_xspecs_other_methods_fit(real: ModuleType, name: str) -> None:
    power_law(real)
    sixsa.install(xspec=real)
    real.Fit.method = "sixsa"
    real.Fit.method = f"{name} 200 0.01"
    assert real.Fit.method == name
    before = real.Fit.statistic
    real.Fit.perform()
    assert real.Fit.statistic < before
    assert real.Fit.nIterations == 200


def test_install_and_uninstall_leave_the_class_as_it_was(xspec: ModuleType) -> None:
    owner = type(xspec.Fit)
    before = dict(vars(owner))
    sixsa.install(xspec=xspec)
    sixsa.install(xspec=xspec)
    assert vars(owner)["perform"].__wrapped__ is before["perform"]
    xspec.Fit.method = "sixsa"
    assert xspec.Fit.method == "sixsa"
    sixsa.uninstall(xspec)
    sixsa.uninstall(xspec)
    assert dict(vars(owner)) == before
    assert xspec.Fit.method == "leven"


@pytest.mark.parametrize("value", ["SIXSA 2000 1", "sixsa  2e3", ["sixsa", 2000, 1], ("sixsa", "2000"), ["sixsa 2000"]])
def test_method_takes_what_pyxspec_takes(xspec: ModuleType, value: Any) -> None:
    sixsa.install(xspec=xspec)
    xspec.Fit.method = value
    assert xspec.Fit.method == "sixsa"
    xspec.Fit.nIterations = 50  # reaches XSPEC as a `method` command without a name
    assert xspec.Fit.method == "sixsa"


@pytest.mark.parametrize("value", ["sixsa many", "sixsa 0", "sixsa 100 1.5", "sixsa 100 -1", "sixsa 100 1 7"])
def test_wrong_numbers_are_refused_and_change_nothing(xspec: ModuleType, value: str) -> None:
    sixsa.install(xspec=xspec)
    with pytest.raises(ValueError, match='type Fit.method = "sixsa'):
        xspec.Fit.method = value
    assert xspec.Fit.method == "leven"


def test_an_unknown_method_is_xspecs_own_error(xspec: ModuleType) -> None:
    sixsa.install(xspec=xspec)
    xspec.Fit.method = "sixsa"
    with pytest.raises(Exception):  # noqa: B017, PT011  PyXspec raises plain Exception
        xspec.Fit.method = 7
    assert xspec.Fit.method == "sixsa"


def test_an_unknown_option_and_a_prior_before_install_are_refused(xspec: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="install"):
        sixsa.prior(1, "uniform", 0, 1, xspec=xspec)
    with pytest.raises(TypeError, match="budgett"):
        sixsa.install(xspec=xspec, budgett=5)


def test_a_parameter_without_prior_is_named(xspec: ModuleType) -> None:
    power_law(xspec)
    sixsa.install(xspec=xspec)
    xspec.Fit.method = "sixsa 100 1"
    before = state(xspec)
    with pytest.raises(ValueError, match="norm__3: give a prior"):
        xspec.Fit.perform()
    assert state(xspec) == before
    assert not list(Path.cwd().glob("sixsa_run_*"))


def test_a_fit_within_a_session_is_a_native_one(xspec: ModuleType) -> None:
    power_law(xspec)
    sixsa.install(xspec=xspec)
    xspec.Fit.method = "sixsa"
    with Session(xspec, workers=1) as session:
        assert xspec.Fit.method == "leven"
        session.native_fit([2.0, 1.2e-2])
    assert xspec.Fit.method == "sixsa"
    assert not list(Path().glob("sixsa_run_*"))


# ---------------------------------------------------------------------------------------------------- a whole run


def test_perform_gives_posterior_chain_and_best_fit(xspec: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    model = power_law(xspec)
    priors = [sixsa.uniform(model.powerlaw.PhoIndex, 1.0, 3.0)]
    sixsa.install(priors, xspec=xspec, budget=6000, compressor="pca", settings=QUICK)
    sixsa.prior(3, "uniform", 0, 1, xspec=xspec)
    sixsa.prior(3, "loguniform", 3e-3, 3e-2, xspec=xspec)
    xspec.Fit.method = "sixsa 150 1"
    before = state(xspec, values=False)
    xspec.Fit.perform()
    result = sixsa.last_result
    assert result.reliable, result.reasons
    assert result.ess >= 150
    assert result.seed == 1
    assert state(xspec, values=False) == before

    # the best fit, by a valid fit
    assert xspec.Fit.statistic == pytest.approx(result.best_statistic, abs=1e-6)  # XSPEC's rounding of parameters
    best = [xspec.AllModels(1)(i).values[0] for i in (2, 3)]
    np.testing.assert_allclose(best, result.best_fit, rtol=1e-10)
    assert len(xspec.Fit.covariance) == 3

    # the chain, in its folder
    folder = Path.cwd() / "sixsa_run_1"
    assert xspec.AllChains(1).fileName == str(folder / "chain.fits")
    xspec.Xset.chatter = 10
    capfd.readouterr()
    xspec.Fit.error("2-3")
    xspec.Xset.chatter = 0
    assert "Errors calculated from chains" in capfd.readouterr().out
    for k, i in enumerate((2, 3)):
        found = xspec.AllModels(1)(i).error[:2]
        # the chain's 5 % quantile: 2.11 sd / sqrt(n), five times
        assert found == pytest.approx(result.interval(0.9)[k], abs=5 * 2.11 / np.sqrt(150) * result.sd[k])

    # chains of others are refused: XSPEC would mix them
    (folder / "chain.fits").rename("other.fits")
    xspec.AllChains.clear()
    xspec.AllChains += "other.fits"
    with pytest.raises(RuntimeError, match="loaded already"):
        xspec.Fit.perform()


# -------------------------------------------------------------------------------------------- nothing disturbed


def unusual(xspec: ModuleType) -> None:
    """A session in which nearly everything is set to what it is not by default."""
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    xspec.AllData.ignore("1:1-2 2:1-3")
    xspec.Fit.statMethod = "chi 2"
    first = xspec.Model("constant*TBabs*(powerlaw+gaussian)")
    first.setPars({1: 1.0, 2: 0.3, 3: 2.0, 4: 1.2e-2, 5: 2.1, 6: 0.3, 7: 2e-3})
    for index in (1, 2, 5, 6):
        first(index).frozen = True
    first(7).link = "p4*0.25"
    first(3).values = (2.0, 0.02, 0.5, 0.6, 3.5, 3.9)
    first(3).prior = ("gauss", 2.0, 0.5)
    xspec.AllModels(2)(1).link = ""
    xspec.AllModels(2)(1).values = (0.9, 0.01, 0.5, 0.6, 1.5, 2.0)
    first(4).values = (1.2e-2, 1e-4, 1e-4, 1e-3, 1e-1, 1.0)
    xspec.Xset.chatter, xspec.Xset.logChatter = 2, 7
    xspec.Xset.allowPrompting = True
    xspec.Fit.query, xspec.Fit.nIterations, xspec.Fit.criticalDelta = "on", 37, 0.02
    xspec.Fit.bayes = "on"
    plot = xspec.Plot
    plot.device, plot.xAxis, plot.background, plot.add = "/null", "channel", True, True


KEEP = {"seed": 1, "target_ess": 100, "progress": False, "workers": 2, "settings": QUICK | {"attempts": 1}}


def test_an_error_leaves_the_session_as_it_was(xspec: ModuleType) -> None:
    unusual(xspec)
    before = state(xspec)
    with pytest.raises(ValueError, match="hard"):
        sixsa.fit([sixsa.uniform("PhoIndex__3", 0.0, 12.0)], xspec=xspec, **KEEP)
    assert state(xspec) == before
    # an error after evaluations: no spectrum of this prior comes near the observation
    priors = [sixsa.uniform("norm__4", 0.5, 0.6), sixsa.uniform("PhoIndex__3", 1.9, 2.1)]
    with pytest.raises(sixsa.CoverageError):
        sixsa.fit(priors, xspec=xspec, **KEEP)
    assert state(xspec) == before


def ctrl_c(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """The signal a user would send, in the middle of the first batch of a stage."""
    # a runner in the background ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    evaluate = Session.evaluate

    def interrupted(self: Session, theta: Any, name: str) -> Any:
        if name != stage:
            return evaluate(self, theta, name)
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        # enough to be at work still
        evaluate(self, np.repeat(theta, 400, axis=0), name)
        raise AssertionError("the signal came too late")

    monkeypatch.setattr(Session, "evaluate", interrupted)


def test_ctrl_c_leaves_the_session_as_it_was(xspec: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    unusual(xspec)
    before = state(xspec)
    ctrl_c(monkeypatch, "round 1")
    with pytest.raises(KeyboardInterrupt):
        sixsa.fit(xspec=xspec, **KEEP)
    assert state(xspec) == before


def test_ctrl_c_later_gives_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # on whichever engine there is
    engines = installed("xspec" if os.environ.get("HEADAS") else "xspec_sixsa.embedded", tmp_path, monkeypatch)
    xspec = next(engines)
    unusual(xspec)
    before = state(xspec, values=False)
    ctrl_c(monkeypatch, "search")
    result = sixsa.fit(xspec=xspec, output="run", budget=900, compressor="none", **KEEP)
    assert not result.reliable
    assert "interrupted" in result.reasons[0]
    assert state(xspec, values=False) == before
    next(engines, None)


@pytest.mark.xspec
def test_a_killed_worker_costs_one_evaluation_and_disturbs_nothing(real: ModuleType) -> None:
    unusual(real)
    before = state(real)
    session = Session(real, workers=2)
    start = np.array([p.values[0] for p in session.parameters])
    theta = start * (1 + 0.01 * np.random.default_rng(1).standard_normal((2000, session.n_free)))
    with session:
        session.evaluate(theta[:10], "first")
        victim = session._backend.pool.pids[0]
        timer = threading.Timer(0.05, os.kill, (victim, signal.SIGKILL))
        timer.start()
        found = session.evaluate(theta, "second")
        timer.join()
    assert (~found.ok).sum() == 1
    assert "SIGKILL" in session.failures[0][2]
    assert session.evaluations["second"] == 2000
    assert state(real) == before


@pytest.mark.xspec
def test_a_run_changes_only_values_and_chains(real: ModuleType) -> None:
    unusual(real)
    before = state(real, values=False)
    result = sixsa.fit(xspec=real, output="run", budget=2000, compressor="none", **KEEP)
    assert state(real, values=False) == before
    assert result.evaluations["final"] > 0
    assert real.AllChains(1).totalLength > 0


@pytest.mark.slow
@pytest.mark.xspec
def test_the_best_fit_can_be_declined(real: ModuleType) -> None:
    unusual(real)
    before = state(real)
    sixsa.fit(xspec=real, budget=900, compressor="none", polish=False, **KEEP)
    assert state(real) == before


# ------------------------------------------------------------------------------------------------------- the import


def test_last_result_is_none_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    method = importlib.import_module("xspec_sixsa.interfaces.method")
    monkeypatch.setattr(method, "last_result", None)
    assert sixsa.last_result is None


@pytest.mark.parametrize("where", ["run", "my run"])
def test_a_chain_is_found_from_any_folder_and_unloaded_before_its_file_goes(
    xspec: ModuleType, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """XSPEC opens the file at every use, and ends the program where it is not there."""
    power_law(xspec)
    session = Session(xspec, workers=1)
    result = importance_result(session, n=300)
    Path(where).mkdir()
    chain_in_xspec(session, result, Path(where) / "chain.fits")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    xspec.Fit.error("2")
    low, high = xspec.AllModels(1)(2).error[:2]
    assert low < result.best_fit[0] < high
    # a run that replaces that folder fails after the file was deleted
    (tmp_path / where / "checkpoint").mkdir()
    (tmp_path / where / "checkpoint" / "run.json").write_text("{}")
    priors = [sixsa.uniform("PhoIndex__2", 1.9, 2.1), sixsa.uniform("norm__3", 0.5, 0.6)]
    with pytest.raises(sixsa.CoverageError):
        sixsa.fit(priors, xspec=xspec, output=tmp_path / where, clobber=True, replace_chains=True, **KEEP)
    assert not (tmp_path / where / "chain.fits").exists()
    assert loaded_chains(xspec) == []
