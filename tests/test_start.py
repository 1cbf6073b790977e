"""`sixsa start`: the surrogate inverse of paired auto-encoders as the start of XSPEC's own fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from live import fresh, state, write_priors

import xspec_sixsa as sixsa
from xspec_sixsa import embedded
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.priors import Prior, loguniform, uniform
from xspec_sixsa.run import inverse
from xspec_sixsa.session import Session


@pytest.fixture(params=["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    # two parameters are learned from few spectra
    monkeypatch.setattr(inverse, "SPECTRA", 1000)
    monkeypatch.setattr(inverse, "STEPS", 60)
    yield from fresh(request.param, tmp_path)


def power_law(engine: ModuleType, norm: tuple[float, float] = (1e-4, 1.0)) -> list[Prior]:
    """A power law far from the data, and wide priors."""
    engine.AllData("1:1 one.pha 2:2 two.pha")
    model = engine.Model("powerlaw", setPars=(3.5, 0.5))
    return [uniform(model.powerlaw.PhoIndex, 0, 4), loguniform(model.powerlaw.norm, *norm)]


def test_a_fit_from_far_begins_where_one_pass_puts_the_spectrum(
    engine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    priors, begun, best_fit = power_law(engine), [], Session.best_fit
    monkeypatch.setattr(
        Session, "best_fit", lambda self, theta, support: begun.append(theta) or best_fit(self, theta, support)
    )
    before = state(engine, values=False)
    found = sixsa.start(priors, seed=1, workers=1, progress=False, xspec=engine)
    assert state(engine, values=False) == before
    model = engine.AllModels(1)
    assert [model.powerlaw.PhoIndex.values[0], model.powerlaw.norm.values[0]] == pytest.approx(found.theta[3])
    assert engine.Fit.statistic == pytest.approx(found.statistic[3])
    assert found.theta[0] == pytest.approx([3.5, 0.5])
    far, passed, refined, fitted = found.statistic
    assert found.well and fitted <= min(passed, refined) < far
    assert begun == [pytest.approx(found.theta[1 + int(refined < passed)])]
    assert passed - fitted < 1e-3 * (far - fitted)
    # the latent parameters whose spectrum fits best are the best fit's within the networks' errors
    assert refined - fitted < 0.1 * (passed - fitted) + 5
    spent = sum(found.evaluations.values())
    assert {"round 1", "curves", "start", "polish"} <= set(found.evaluations) and f"{spent}  (" in str(found)
    # norms are exact: one curve of one parameter is measured, and the networks see a thousand emulated spectra
    assert sum(found.evaluations[k] for k in ("round 1", "curves")) < 60 and "1000 emulated spectra" in str(found)


@pytest.mark.parametrize("engine", ["xspec_sixsa.embedded"], indirect=True)
def test_what_cannot_be_started_is_refused_and_the_session_stays(engine: ModuleType) -> None:
    before = state(engine)
    with pytest.raises(ValueError, match="No model is active"):
        sixsa.start(workers=1, xspec=engine)
    assert state(engine) == before
    far = power_law(engine, (1e-9, 1e-8))
    before = state(engine)
    with pytest.raises(sixsa.CoverageError, match="outside the prior's reach"):
        sixsa.start(far, seed=1, workers=1, progress=False, xspec=engine)
    assert state(engine) == before


@pytest.mark.parametrize("engine", ["xspec_sixsa.embedded"], indirect=True)
@pytest.mark.usefixtures("engine")
def test_the_shell_writes_a_session_that_is_at_the_fit(tmp_path: Path) -> None:
    (tmp_path / "session.xcm").write_text("statistic cstat\ndata two.pha\nmodel powerlaw & 3.5 & 0.5\n")
    write_priors(tmp_path / "priors.toml", (0, 4), (1e-4, 1.0))
    words = ["start", "session.xcm", "--priors", "priors.toml", "--seed", "1", "--engine", "embedded", "-o", "at.xcm"]
    run = CliRunner().invoke(main, words)
    assert run.exit_code == 0, run.output
    fitted = float(run.stdout.split("fit statistic")[1].split()[3])
    embedded.Xset.restore("at.xcm")
    assert embedded.Fit.statistic == pytest.approx(fitted, rel=1e-4)  # a saved session keeps six digits
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2 and "--clobber" in again.stderr
    again = CliRunner().invoke(main, [*words[:-1], "other.xcm", "--network", "."])
    assert again.exit_code == 2 and "holds no network" in again.stderr and not Path("other.xcm").exists()
