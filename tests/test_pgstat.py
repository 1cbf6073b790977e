"""pgstat's errors of the background: by the manual in the engine, as the XSPEC in use has them in a session."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from newer_pyxspec import newer
from scipy.optimize import minimize_scalar
from tiny_ogip import N_CHANNELS, make_pha, write_tiny

from xspec_sixsa import embedded
from xspec_sixsa.common.fitstatistic import Bins, ObservedStatistic
from xspec_sixsa.embedded import scoring
from xspec_sixsa.embedded.ogip import write_pha
from xspec_sixsa.session import Session

THETA = np.array([[1.7, 2e-3], [2.0, 5e-4]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pgstat")
    write_tiny(folder)
    behind = {"respfile": "", "ancrfile": "", "exposure": 0.5, "back_scale": np.full(N_CHANNELS, 1.0)}
    write_pha(folder / "second_bkg.pha", make_pha(2, **behind))  # t_b is 1 s
    write_pha(folder / "second.pha", make_pha(3, backfile="second_bkg.pha"))
    return folder


@pytest.fixture
def tiny(folder: Path, monkeypatch: pytest.MonkeyPatch, clean_engine: None) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine with pgstat as XSPEC 12.9.1 has it."""
    constants = scoring._constants

    def of_12_9_1(spectrum: embedded.Spectrum) -> Bins:
        found = constants(spectrum)
        return dataclasses.replace(found, b_error=found.b_error / found.tb)

    monkeypatch.setattr(scoring, "_constants", of_12_9_1)


def load(module: ModuleType, name: str, statistic: str = "pgstat") -> ModuleType:
    module.Xset.chatter, module.Xset.allowPrompting = 0, False
    module.AllModels.clear()
    module.AllData.clear()
    module.AllData(f"{name}.pha")
    module.Fit.statMethod = statistic
    module.Model("powerlaw", setPars=tuple(THETA[0]))
    return module


def ours_and_theirs(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """The statistic by our formula, and by the XSPEC in use, at `THETA`."""
    found = session.evaluate(THETA, "test")
    ours = ObservedStatistic(session.observation).log_likelihood(torch.tensor(found.counts))
    return -2.0 * ours.numpy(), found.statistic


def test_the_engine_has_the_best_background_of_a_gaussian_measurement(tiny: None) -> None:
    load(embedded, "grouped")
    spectrum = embedded.AllData(1)
    data, expected = scoring._constants(spectrum), 9.0
    folded = torch.full((1, spectrum.n_bins), expected / spectrum.exposure, dtype=torch.float64)
    for k, found in enumerate(scoring.bin_statistic("pgstat", spectrum, folded)[0].tolist()):
        s, b, ts, tb = (float(x[k]) for x in (data.s, data.b, data.ts, data.tb))

        def total(f: float, s: float = s, b: float = b, ts: float = ts, tb: float = tb) -> float:
            y = expected + ts * f
            # counts of a Poisson background: their variance is their number
            return 2.0 * (y - s + s * np.log(s / y)) + (b - tb * f) ** 2 / b

        best = minimize_scalar(total, bounds=(0.0, 0.05), method="bounded", options={"xatol": 1e-12})
        assert found == pytest.approx(best.fun, rel=1e-9)


@pytest.mark.parametrize("name", ["grouped", "vectors", "net", "zeros", "second"])
def test_a_session_takes_the_errors_that_its_xspec_takes(
    tiny: None, once: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    load(embedded, name)
    session = Session(newer(monkeypatch, variance=False, folded=False), workers=1)
    ours, theirs = ours_and_theirs(session)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert any("this XSPEC's pgstat takes" in warning for warning in session.observation.warnings) == (name != "second")


def test_nothing_is_said_of_an_xspec_that_follows_its_manual(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    load(embedded, "grouped")
    session = Session(newer(monkeypatch), workers=1)
    ours, theirs = ours_and_theirs(session)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert session.observation.warnings == []


def test_the_engine_says_that_another_xspec_gives_something_else(tiny: None, caplog: pytest.LogCaptureFixture) -> None:
    load(embedded, "grouped")
    session = Session(embedded)
    ours, theirs = ours_and_theirs(session)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert "errors 0.012 times as large" in session.observation.warnings[0]  # 1/sqrt(2500 s * 1.5/0.5)
    assert caplog.text.count(session.observation.warnings[0]) == 1
    assert Session(load(embedded, "grouped", "cstat")).observation.warnings == []


@pytest.mark.xspec
@pytest.mark.parametrize("name", ["grouped", "vectors", "second"])
def test_real_xspec_is_asked(tiny: None, name: str) -> None:
    xspec = load(importlib.import_module("xspec"), name)
    session = Session(xspec, workers=1)
    ours, theirs = ours_and_theirs(session)
    xspec.AllModels.clear()
    xspec.AllData.clear()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # XSPEC reads some columns in single precision
