"""`sixsa check`: what priors expect beside the data, before a fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner, Result
from live import fresh, state, write_priors

import xspec_sixsa as sixsa
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.priors import loguniform, uniform


@pytest.fixture(params=["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from fresh(request.param, tmp_path)


def test_it_counts_what_the_prior_expects_and_leaves_the_session(engine: ModuleType, tmp_path: Path) -> None:
    engine.AllData("1:1 one.pha 2:2 two.pha")
    model = engine.Model("powerlaw", setPars=(2.0, 1e-2))
    before = state(engine)
    priors = [uniform(model.powerlaw.PhoIndex, 1, 3), loguniform(model.powerlaw.norm, 1e-3, 1e-1)]
    found = sixsa.check(priors, draws=40, seed=1, workers=1, xspec=engine)
    assert state(engine) == before
    assert found.well and found.usable.all() and not found.failures
    assert (found.theta[:, 0] >= 1).all() and (found.theta[:, 1] <= 1e-1).all()
    observed = sum((s.counts - s.expected_background).sum() for s in found.observation.spectra)
    assert found.more_counts == (found.counts.sum(axis=1) > observed).mean()
    # twice the norm, twice the counts
    per_norm = found.counts.sum(axis=1) / found.theta[:, 1]
    order = np.argsort(found.theta[:, 0])
    assert np.all(np.diff(per_norm[order]) != 0) and "40 of 40 draws" in str(found)
    made = found.plot(tmp_path / "pictures")
    assert [path.name for path in made] == ["coverage_1.png", "coverage_2.png", "reach.png"]
    assert all(path.stat().st_size > 10_000 for path in made)


def run(tmp_path: Path, low: float, high: float, session: str = "session.xcm") -> Result:
    write_priors(tmp_path / "priors.toml", (1, 3), (low, high))
    words = ["check", session, "--priors", "priors.toml", "--draws", "30", "--seed", "1", "--engine", "embedded"]
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("engine", ["xspec_sixsa.embedded"], indirect=True)
@pytest.mark.usefixtures("engine")
def test_the_shell_says_whether_the_prior_reaches_the_data(tmp_path: Path) -> None:
    (tmp_path / "session.xcm").write_text("statistic cstat\ndata two.pha\nmodel powerlaw & 2 & 0.01\n")
    well = run(tmp_path, 1e-3, 1e-1)
    assert well.exit_code == 0, well.output
    assert "loguniform low 0.001 high 0.1" in well.stdout and "ms here" in well.stdout
    assert (tmp_path / "sixsa_check" / "reach.png").is_file()
    far = run(tmp_path, 1e-9, 1e-8)
    assert far.exit_code == 3 and "PROBLEM: The observation lies outside the prior's reach" in far.stdout
    lost = run(tmp_path, 1e-3, 1e-1, "gone.xcm")
    assert lost.exit_code == 2 and "No session file" in lost.stderr
