"""The session layer on the embedded engine and on real XSPEC: same tests, both for real."""

from __future__ import annotations

import importlib
import json
import os
import signal
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_session import write_fixed_spectra

from xspec_sixsa.result.chainfile import write_chain
from xspec_sixsa.session import Session, difference
from xspec_sixsa.session.files import loaded_chains
from xspec_sixsa.session.observe import saved_statistics

# XSPEC prints and the engine computes single rows and batches along different paths of the same float64 arithmetic.
SAME = 1e-10


@pytest.fixture(params=["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty XSPEC in a folder with two small spectra: one.pha (grouped, with background) and two.pha."""
    yield from fresh(request.param, tmp_path, monkeypatch)


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    yield from fresh("xspec", tmp_path, monkeypatch)


def fresh(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    xspec = importlib.import_module(name)
    write_fixed_spectra(folder)
    monkeypatch.chdir(folder)
    xspec.Xset.chatter, xspec.Xset.logChatter, xspec.Xset.allowPrompting = 0, 0, False
    xspec.AllChains.clear()
    xspec.AllModels.clear()
    xspec.AllData.clear()
    xspec.Xset.abund, xspec.Xset.xsect = "wilm", "vern"
    xspec.Fit.statMethod, xspec.Fit.weight, xspec.Fit.bayes, xspec.Fit.query = "cstat", "standard", "off", "yes"
    yield xspec
    xspec.AllChains.clear()
    xspec.AllModels.clear()
    xspec.AllData.clear()


def two_groups(xspec: ModuleType) -> ModuleType:
    """Two data groups, W-statistic and chi, a free factor between them, a link with an expression, a frozen index."""
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    xspec.AllData.ignore("1:1-2 2:1-3")
    xspec.Fit.statMethod = "chi 2"
    first = xspec.Model("constant*TBabs*(powerlaw+gaussian)")
    first.setPars({1: 1.0, 2: 0.1, 3: 1.8, 4: 3e-3, 5: 2.1, 6: 0.3, 7: 2e-3})
    first.constant.factor.frozen = True
    first.gaussian.LineE.frozen = True
    first.gaussian.Sigma.frozen = True
    first.gaussian.norm.link = "p4*0.25"
    second = xspec.AllModels(2)
    second.constant.factor.link = ""
    second.setPars({1: 0.9})
    second.constant.factor.frozen = False
    return xspec


def points(session: Session, n: int = 6, seed: int = 3) -> np.ndarray:
    centre = np.array([p.values[0] for p in session.parameters])
    return centre * (1.0 + 0.1 * np.random.default_rng(seed).standard_normal((n, session.n_free)))


def by_hand(xspec: ModuleType, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a PyXspec user would type, row by row, for `two_groups`."""
    counts, statistics = [], []
    for row in theta:
        xspec.AllModels(1).setPars({2: float(row[0]), 3: float(row[1]), 4: float(row[2])})
        xspec.AllModels(2).setPars({1: float(row[3])})
        statistics.append(xspec.Fit.statistic)
        counts.append(np.concatenate([
            np.array(xspec.AllModels(i).folded(i)) * xspec.AllData(i).exposure for i in (1, 2)
        ]))  # fmt: skip
    return np.array(counts), np.array(statistics)


def dump(xspec: ModuleType) -> dict[str, Any]:
    """Everything a user could find changed."""
    models = [
        [(p.values, p.frozen, p.link, p.prior) for p in (m(i + 1) for i in range(m.nParameters))]
        for m in (xspec.AllModels(group) for group in (1, 2))
    ]
    settings = (
        xspec.Xset.chatter, xspec.Xset.logChatter, xspec.Xset.allowPrompting, xspec.Xset.abund, xspec.Fit.query,
        xspec.Fit.bayes, xspec.Fit.nIterations, xspec.Fit.criticalDelta, xspec.Fit.statMethod, xspec.Fit.weight,
    )  # fmt: skip
    return {"models": models, "settings": settings, "statistic": xspec.Fit.statistic, "noticed": [
        xspec.AllData(i).noticedString() for i in (1, 2)]}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_evaluate_gives_what_setpars_folded_and_statistic_give(engine: ModuleType, workers: int) -> None:
    session = Session(two_groups(engine), workers=workers)
    theta = points(session)
    result = session.evaluate(theta, "round 1")
    counts, statistic = by_hand(engine, theta)
    assert result.ok.all()
    np.testing.assert_allclose(result.statistic, statistic, rtol=SAME)
    np.testing.assert_allclose(result.counts, counts, rtol=SAME)
    np.testing.assert_array_equal(result.log_likelihood, -0.5 * result.statistic)


def test_names_follow_xspec(engine: ModuleType) -> None:
    session = Session(two_groups(engine))
    assert session.names == ["nH__2", "PhoIndex__3", "norm__4", "factor__8"]
    assert session.labels == ["TBabs nH", "powerlaw PhoIndex", "powerlaw norm", "constant factor (group 2)"]
    assert session.units == ["10^22", "", "", ""]
    assert session.hard_limits.shape == (4, 2)
    np.testing.assert_array_equal(session.soft_limits[1], [-2.0, 9.0])


def test_references_are_resolved_and_refused(engine: ModuleType) -> None:
    session = Session(two_groups(engine))
    m1, m2 = engine.AllModels(1), engine.AllModels(2)
    assert session.find(m1.powerlaw.norm).chain_name == "norm__4"
    assert session.find(m2.constant.factor).chain_name == "factor__8"
    assert session.find((m2, 1)).chain_name == "factor__8"
    assert session.find(("", 8)).chain_name == session.find("factor__8").chain_name == "factor__8"
    bxa = {"model": m1, "index": 3, "name": "PhoIndex", "prior": None, "aftertransform": lambda x: x}
    assert session.find(bxa).chain_name == "PhoIndex__3"
    for reference, word in (
        (m1.constant.factor, "frozen at 1"),
        (m1.gaussian.norm, "linked"),
        (m2.TBabs.nH, "linked"),
        ((m1, 99), "no 99"),
        ("kT__3", "not a free parameter"),
        (3.0, "no parameter"),
    ):
        with pytest.raises(ValueError, match=word):
            session.find(reference)


def test_observation_reproduces_the_statistic(engine: ModuleType) -> None:
    """W and chi from the arrays alone (XSPEC manual, appendix B) equal Fit.statistic: they mean what they say."""
    session = Session(two_groups(engine), workers=1)
    one, two = session.observation.spectra
    assert (one.statistic, two.statistic) == ("cstat", "chi") and one.counts.sum() == np.rint(one.counts).sum()
    expected = session.evaluate(points(session, 1), "test")
    m1, m2 = (expected.counts[0, where] for where in session.observation.slices)
    s, b, r = one.counts, one.background, one.background_ratio
    # f: background counts in the background region that make W least at source counts m1
    p = (1 + r) * m1 - r * (s + b)
    f = (-p + np.sqrt(p**2 + 4 * r * (1 + r) * b * m1)) / (2 * r * (1 + r))
    with np.errstate(divide="ignore", invalid="ignore"):
        w = m1 + r * f + f - s * np.log((m1 + r * f) / s) - b * np.where(b > 0, np.log(f / b), 0.0) - s - b
        # no background counts: XSPEC's W has its own limits (manual, B.1.4), f = max(0, ...)
        empty = np.where(m1 < s * r / (1 + r), -m1 / r - s * np.log(r / (1 + r)), m1 - s + s * np.log(s / m1))
    w = np.where(b > 0, w, empty)
    chi = (((two.counts - m2) / two.sigma) ** 2).sum()
    # sums of some hundred terms in another order
    assert 2 * w.sum() + chi == pytest.approx(expected.statistic[0], rel=1e-9)


def test_session_is_given_back_as_it_was(engine: ModuleType) -> None:
    two_groups(engine)
    engine.Xset.chatter, engine.Xset.logChatter, engine.Xset.allowPrompting = 5, 7, True
    engine.AllModels(1)(2).prior = ("gauss", 0.1, 0.02)
    engine.Fit.bayes = "on"
    before = dump(engine)
    session = Session(engine, workers=2)
    theta = points(session)
    session.evaluate(theta, "round 1")
    session.component_counts(theta[:2])
    assert dump(engine) == before
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), session:  # noqa: PT012  it is the block that ends
            session.evaluate(theta, "round 1")
            session._evaluator.set(theta[0])
            raise error
        assert dump(engine) == before
    engine.Xset.chatter, engine.Xset.logChatter, engine.Xset.allowPrompting = 0, 0, False


def test_bayes_is_not_part_of_the_likelihood(engine: ModuleType) -> None:
    session = Session(two_groups(engine), workers=1)
    theta = points(session, 2)
    plain = session.evaluate(theta, "a").statistic
    engine.AllModels(1)(2).prior = ("gauss", 0.1, 0.02)
    engine.Fit.bayes = "on"
    np.testing.assert_allclose(session.evaluate(theta, "a").statistic, plain, rtol=SAME)


def test_rows_beyond_hard_limits_fail_and_are_counted(engine: ModuleType) -> None:
    session = Session(two_groups(engine), workers=2)
    theta = points(session, 5)
    theta[1, 1], theta[2, 0], theta[3, 2] = 11.0, -1e-3, np.nan
    result = session.evaluate(theta, "prior")
    assert result.ok.tolist() == [True, False, False, False, True]
    assert np.isneginf(result.log_likelihood[1:4]).all() and np.isfinite(result.log_likelihood[[0, 4]]).all()
    assert session.evaluations == {"probe": 1, "prior": 5}
    assert [stage for stage, _, _ in session.failures] == ["prior"] * 3
    assert "PhoIndex__3 = 11" in result.reasons[1]
    good = session.evaluate(theta[[0, 4]], "again").statistic
    # the failed rows left nothing behind
    np.testing.assert_allclose(result.statistic[[0, 4]], good, rtol=SAME)


def test_wrong_shape_is_refused(engine: ModuleType) -> None:
    session = Session(two_groups(engine))
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        session.evaluate(np.ones((2, 3)), "a")


def test_components_add_up_with_links_and_limits_in_place(engine: ModuleType) -> None:
    two_groups(engine)
    # limits that exclude zero: XSPEC would silently refuse to put the norm there
    engine.AllModels(1).powerlaw.norm.values = "3e-3,,1e-4,1e-4,1,1"
    session = Session(engine, workers=2)
    theta = points(session, 3)
    parts = session.component_counts(theta)
    assert list(parts) == ["powerlaw", "gaussian"]
    whole = session.evaluate(theta, "test").counts
    # each component is folded by itself, in XSPEC with parameters that went through text
    np.testing.assert_allclose(parts["powerlaw"] + parts["gaussian"], whole, rtol=1e-9, atol=1e-12)
    assert (parts["gaussian"].sum(axis=1) > 0).all()
    assert session.evaluations["components"] >= 6


def test_anything_is_measured_with_a_component_alone(engine: ModuleType) -> None:
    two_groups(engine)
    engine.AllModels(1).powerlaw.norm.values = "3e-3,,1e-4,1e-4,1,1"
    session = Session(engine, workers=2)
    theta, before = points(session, 3), dump(engine)
    parts = session.component_counts(theta)

    def rate() -> np.ndarray:
        return np.array([np.sum(engine.AllModels(1).folded(1)), np.sum(engine.AllModels(2).folded(2))])

    measured = session.measure_components(theta, rate, 2, "rates")
    assert dump(engine) == before
    assert session.evaluations["rates"] == 3 + 2 * 3  # what the links say, and each component
    for name, counts in parts.items():
        observation = session.observation
        expected = [(counts / observation.area_time)[:, where].sum(axis=1) for where in observation.slices]
        # each component is folded by itself, in XSPEC with parameters that went through text
        np.testing.assert_allclose(measured[name].T, expected, rtol=1e-9)


def test_native_fit_leaves_the_best_fit(engine: ModuleType) -> None:
    session = Session(two_groups(engine), workers=1)
    engine.Fit.nIterations = 7
    theta = points(session, 1)[0]
    start = session.evaluate(theta, "a").statistic[0]
    with session:
        session.evaluate(points(session, 3), "a")
        best, statistic = session.native_fit(theta)
    assert statistic < start
    assert engine.Fit.statistic == pytest.approx(statistic, rel=SAME)
    np.testing.assert_array_equal(
        best, [engine.AllModels(1)(2).values[0], engine.AllModels(1)(3).values[0], engine.AllModels(1)(4).values[0],
               engine.AllModels(2)(1).values[0]],
    )  # fmt: skip
    assert session.evaluations["polish"] >= 2
    assert engine.Fit.nIterations == 7
    # a valid fit: `error` refuses to work without one
    engine.Fit.error("1.0 3")
    low, high, _ = engine.AllModels(1)(3).error
    assert low < best[1] < high


def test_chains_of_the_user_are_not_mixed_with_ours_which_the_next_supersedes(
    engine: ModuleType, tmp_path: Path
) -> None:
    session = Session(two_groups(engine), workers=1)
    theta = points(session, 40)
    statistic = session.evaluate(theta, "chain").statistic
    files = [tmp_path / name for name in ("first.fits", "second.fits", "users.fits")]
    for file in files:
        write_chain(file, session.names, session.units, theta, statistic)
    session.load_chain(files[0])
    session.load_chain(files[1])
    assert loaded_chains(engine) == [str(files[1])]
    with pytest.raises(FileNotFoundError):
        session.load_chain(tmp_path / "absent.fits")
    engine.AllChains.clear()
    engine.AllChains += str(files[2])
    with pytest.raises(RuntimeError, match=r"users\.fits"):
        session.load_chain(files[0])
    assert loaded_chains(engine) == [str(files[2])]
    session.load_chain(files[0], replace=True)
    assert loaded_chains(engine) == [str(files[0])]
    engine.AllChains.clear()


def test_saved_session_works_from_another_folder(engine: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    session = Session(two_groups(engine), workers=1)
    path = tmp_path / "saved" / "session.xcm"
    before = engine.Fit.statistic
    for _ in range(2):  # a second time over the first
        session.save_xcm(path)
    assert [p.name for p in path.parent.iterdir()] == ["session.xcm"]
    engine.AllData.clear()
    engine.AllModels.clear()
    monkeypatch.chdir("/")
    engine.Xset.restore(str(path))
    # save writes six digits
    assert engine.Fit.statistic == pytest.approx(before, rel=1e-4)
    assert Session(engine, workers=1).names == session.names


@pytest.mark.xspec
def test_saved_session_of_data_in_another_folder_works_from_a_third(
    real: ModuleType, tmp_path: Path, monkeypatch: Any
) -> None:
    session = Session(two_groups(real), workers=1)
    before = real.Fit.statistic
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # `save all` has `cd` lines now, and names from there
    path = session.save_xcm("session.xcm")
    real.AllData.clear()
    real.AllModels.clear()
    monkeypatch.chdir("/")
    real.Xset.restore(str(path))  # it refuses `cd`
    # save writes six digits
    assert real.Fit.statistic == pytest.approx(before, rel=1e-4)


def test_a_changed_session_is_noticed(engine: ModuleType) -> None:
    session = Session(two_groups(engine), workers=1)
    theta = points(session, 1)
    session.evaluate(theta, "a")
    engine.AllData(1).ignore("5-6")
    with pytest.raises(RuntimeError, match="noticed was .* Make a new Session"):
        session.evaluate(theta, "a")
    assert engine.Fit.bayes == "off"


def test_fingerprint_survives_json_and_says_what_differs(engine: ModuleType) -> None:
    two_groups(engine)
    one = json.loads(json.dumps(Session(engine).fingerprint()))
    engine.AllModels(1)(3).values = 2.2  # free: no part of the definition
    assert difference(one, Session(engine).fingerprint()) == []
    engine.AllModels(1)(5).values = 2.3
    engine.Xset.abund = "angr"
    changes = difference(one, Session(engine).fingerprint())
    assert changes == ["the frozen value LineE__5 was 2.1 and is 2.3", "the abundance table was wilm and is angr"]


def test_sources_are_summed(engine: ModuleType) -> None:
    engine.AllData("1:1 one.pha")
    engine.AllData(1).multiresponse[1] = "small.rmf"
    engine.Model("TBabs*powerlaw").setPars({1: 0.1, 2: 1.8, 3: 3e-3})
    engine.Model("powerlaw", "bkg", 2).setPars({1: 0.5, 2: 1e-2})
    session = Session(engine, workers=1)
    assert session.names == ["nH__1", "PhoIndex__2", "norm__3", "PhoIndex__bkg__1", "norm__bkg__2"]
    assert session.labels[3] == "bkg: powerlaw PhoIndex"
    result = session.evaluate(points(session, 1), "a")
    session._evaluator.set(result.theta[0])
    by_model = [np.array(engine.AllModels(1, name).folded(1)) * engine.AllData(1).exposure for name in ("", "bkg")]
    np.testing.assert_allclose(result.counts[0], by_model[0] + by_model[1], rtol=SAME)
    assert result.statistic[0] == pytest.approx(engine.Fit.statistic, rel=SAME)
    assert list(session.component_counts(result.theta)) == ["powerlaw", "bkg:powerlaw"]


def test_what_is_missing_is_said(engine: ModuleType) -> None:
    with pytest.raises(ValueError, match="No model is active"):
        Session(engine)
    engine.AllData("two.pha")
    model = engine.Model("powerlaw")
    model(1).frozen = model(2).frozen = True
    with pytest.raises(ValueError, match="No parameter is free"):
        Session(engine)
    model(1).frozen = False
    if hasattr(engine, "evaluate_batch"):  # XSPEC 12.9.1 itself dies of ignoring every channel under a model
        engine.AllData(1).ignore("**")
        with pytest.raises(ValueError, match="no noticed channel"):
            Session(engine)


def test_statistics_are_read_by_spectrum() -> None:
    lines = ["statistic chi", "data 1:1 a.pha", "statistic cstat 2-3", "statistic test pchi 1", "statistic pgstat 3"]
    assert saved_statistics(lines, 4) == ["chi", "cstat", "pgstat", "chi"]


def naughty(energies: Any, parameters: Any, flux: Any) -> None:
    """A Python model of XSPEC's that does what its parameter says; XSPEC keeps no reference to it, so it stays here."""
    mode = parameters[0]
    if mode > 2:
        os._exit(7)
    if mode > 1:
        time.sleep(1000)
    for i in range(len(flux)):
        flux[i] = float("nan") if mode < -1 else energies[i] ** -1.5 * (energies[i + 1] - energies[i])


@pytest.mark.xspec
@pytest.mark.parametrize("workers", [2, None])
def test_a_model_that_crashes_hangs_or_gives_nan_costs_single_evaluations(
    real: ModuleType, monkeypatch: pytest.MonkeyPatch, workers: int | None
) -> None:
    """On one core as on several."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    real.AllData("two.pha")
    real.AllModels.addPyMod(naughty, ('mode "" 0.0 -10. -9. 9. 10. 0.1',), "add")
    model = real.Model("naughty")
    model(1).frozen = False
    session = Session(real, workers=workers, time_limit=0.5)
    assert session.workers == (workers or 1)
    theta = np.column_stack([np.zeros(40), np.linspace(1e-3, 4e-3, 40)])
    theta[[5, 33], 0], theta[11, 0], theta[20, 0] = 2.5, 1.5, -2.0
    result = session.evaluate(theta, "round 1")
    assert {row: reason.split(",")[0] for row, reason in enumerate(result.reasons) if reason} == {
        5: "the worker exited with status 7 while the model was computed",
        11: "no answer within 0.5 s: the worker was stopped",
        20: "the fit statistic is nan",
        33: "the worker exited with status 7 while the model was computed",
    }
    assert session.evaluations["round 1"] == 40
    for row in np.flatnonzero(result.ok):
        model.setPars({1: float(theta[row, 0]), 2: float(theta[row, 1])})
        assert result.statistic[row] == real.Fit.statistic


@pytest.mark.xspec
def test_the_component_without_its_data_is_named(real: ModuleType) -> None:
    real.AllData("two.pha")
    real.Model("TBabs*apec")
    if np.any(real.AllModels(1).folded(1)):
        pytest.skip("this HEASoft has the AtomDB files")
    with pytest.raises(RuntimeError, match="At fault: apec gives zero"):
        Session(real, workers=2).evaluate([[0.1, 1.0, 1.0]], "a")


@pytest.mark.xspec
def test_norms_that_xspec_moves_by_itself_are_noticed(real: ModuleType) -> None:
    real.AllData("two.pha")
    real.Fit.statMethod = "chi"
    real.Model("powerlaw").setPars(1.8, 1.0)
    session = Session(real, workers=2)
    real.Fit.renorm("auto")
    try:
        with pytest.raises(RuntimeError, match=r'norm__2 was set to .*Fit.renorm\("none"\)'):
            session.evaluate([[1.8, 1.0]], "a")
    finally:
        real.Fit.renorm("prefit")


@pytest.mark.xspec
@pytest.mark.parametrize("background", [True, False])
def test_epic_pn(real: ModuleType, shared_data: Path, monkeypatch: pytest.MonkeyPatch, background: bool) -> None:
    monkeypatch.chdir(shared_data / "ngc7793_ulx4_pn")
    real.AllData("PN_spectrum_grp20.fits")
    if not background:
        real.AllData(1).background = None
    real.AllData.ignore("0.0-0.5 10.0-**")
    model = real.Model("TBabs*(bbodyrad+powerlaw)")
    model.setPars(0.08, 0.75, 0.2, 2.2, 2.5e-4)
    session = Session(real, workers=2)
    theta = points(session, 20)
    together, alone = session.evaluate(theta, "a"), Session(real, workers=1).evaluate(theta, "a")
    # the same XSPEC, the same numbers: forked or not
    np.testing.assert_array_equal(together.statistic, alone.statistic)
    np.testing.assert_array_equal(together.counts, alone.counts)
    for k, row in enumerate(theta):
        model.setPars(*map(float, row))
        assert together.statistic[k] == real.Fit.statistic
        np.testing.assert_array_equal(together.counts[k], np.array(model.folded(1)) * real.AllData(1).exposure)
    assert (session.observation.spectra[0].background is not None) == background


@pytest.mark.xspec
def test_exosat_chi_with_areascal(real: ModuleType, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates with errors, AREASCAL of 825, three groups: chi by hand from our arrays equals XSPEC's."""
    monkeypatch.chdir(shared_data / "xspec_session")
    real.AllData("1:1 file1 2:2 file2 3:3 file3")
    real.Fit.statMethod = "chi"
    real.Model("wabs*powerlaw")
    real.AllModels(3)(3).link = ""
    session = Session(real, workers=2)
    assert session.names == ["nH__1", "PhoIndex__2", "norm__3", "norm__9"]
    result = session.evaluate(points(session, 4), "a")
    for k in range(4):
        chi = 0.0
        for data, where in zip(session.observation.spectra, session.observation.slices, strict=True):
            net = data.counts - data.background * data.background_ratio
            chi += (((net - result.counts[k, where]) / data.sigma) ** 2).sum()
        # sums of some hundred terms in another order
        assert chi == pytest.approx(result.statistic[k], rel=1e-9)


def test_ctrl_c_is_heard_inside_a_session(engine: ModuleType) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a runner in the background ignores it
    # XSPEC takes SIGINT over when it loads data, and Python would not hear it
    two_groups(engine)
    before = dump(engine)
    with pytest.raises(KeyboardInterrupt), Session(engine):  # noqa: PT012  it is the block that ends
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert dump(engine) == before
