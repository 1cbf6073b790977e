"""`fit` end to end on the embedded engine: its folder, what it leaves in the session, stopping and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import small_session
from live import QUICK
from test_tablemodel import write_table

import xspec_sixsa as sixsa
import xspec_sixsa.embedded as xspec
from xspec_sixsa.embedded.evaluate import evaluations
from xspec_sixsa.infer.inference import Inference

OPTIONS = {"target_ess": 200, "budget": 6000, "compressor": "pca", "seed": 3, "progress": False, "settings": QUICK}
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_run as t
import xspec_sixsa as sixsa
import xspec_sixsa.embedded as xspec
sixsa.fit(t.load(), xspec=xspec, output="run", **t.OPTIONS)
"""


def load() -> list[sixsa.Prior]:
    """The faked spectrum of the folder we are in, and priors of its power law."""
    xspec.Xset.chatter, xspec.Xset.abund = 0, "angr"  # another file of tests may have left another
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.AllChains.clear()
    xspec.AllData("a.pha")
    xspec.AllData.ignore("**-0.5 8.0-**")
    xspec.Fit.statMethod = "cstat"
    model = xspec.Model("TBabs*powerlaw", setPars=(0.1, 1.8, 3e-3))
    return [
        sixsa.uniform(model.TBabs.nH, 0.0, 1.0),
        sixsa.uniform(model.powerlaw.PhoIndex, 0.0, 4.0),
        sixsa.loguniform(model.powerlaw.norm, 1e-4, 1e-1),
    ]


@pytest.fixture
def priors(tmp_path, monkeypatch) -> list[sixsa.Prior]:
    monkeypatch.chdir(tmp_path)
    small_session.fake_spectra(xspec, tmp_path)
    return load()


@dataclass
class Whole:
    """A run from beginning to end: where it lies, and what XSPEC said after it."""

    folder: Path
    result: sixsa.Result
    statistic: float
    error: tuple[float, float]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_session.fake_spectra(xspec, folder)
        result = sixsa.fit(load(), xspec=xspec, output="whole", **OPTIONS)
        statistic = xspec.Fit.statistic
        xspec.Fit.error("2.706 2")
        yield Whole(folder, result, statistic, xspec.AllModels(1)(2).error[:2])
    xspec.AllChains.clear()


@pytest.fixture
def beside(whole, monkeypatch) -> Whole:
    """The same, where we are in its folder."""
    monkeypatch.chdir(whole.folder)
    return whole


def state() -> tuple:
    model = xspec.AllModels(1)
    values = [model(i).values for i in range(1, model.nParameters + 1)]
    return values, xspec.Fit.statMethod, xspec.Fit.query, xspec.Xset.chatter, xspec.Fit.bayes


def test_a_run_recovers_the_truth_and_leaves_its_files_and_the_chain(whole) -> None:
    result = whole.result
    assert result.status == "reliable", result.reasons
    assert result.credible_mass([0.1, 1.8, 3e-3]) < 0.99
    made = {path.name for path in (whole.folder / "whole").iterdir()}
    assert made >= {
        "summary.json", "posterior.npz", "chain.fits", "corner.png", "predictive.png", "rounds.png", "session.xcm",
        "priors.toml", "checkpoint", "coverage.png", "emulator.png",
    }  # fmt: skip
    again = sixsa.Result.load(whole.folder / "whole")
    assert np.array_equal(again.samples, result.samples) and again.log_z == result.log_z
    # the model stands at the best fit, with a valid fit, and the chain is used
    assert whole.statistic == pytest.approx(result.best_statistic, abs=1e-6)
    assert result.best_statistic <= -2 * result.log_likelihood.max() + 1e-9
    # 90 % interval from about 400 correlated chain rows: its ends are known to a fifth of its half-width
    interval = result.interval(0.9)[1]
    assert whole.error == pytest.approx(interval, abs=0.2 * np.ptp(interval))
    # the common norm is integrated beside the result: the same evidence from the same draws, four evaluations to see
    # that the model is linear
    found = again.common_norm
    assert found["norms"] == ["norm__3"] and result.evaluations["linearity"] == 4
    assert abs(found["log_z"] - result.log_z) < 3 * result.log_z_err
    assert found["ess"] == pytest.approx((1 + found["gain"]) * result.ess) and found["gain"] > -0.2
    # over equally weighted draws what the verdict finds over weighted ones; 1,000 of them
    assert again.network_data["emulator_errors"].std() == pytest.approx(result.emulator["error"], rel=0.3)
    # every evaluation is in the count
    assert sum(result.evaluations.values()) <= OPTIONS["budget"] + 500
    assert result.evaluations["final"] == len(result.samples) or "final 2" in result.evaluations


def test_without_an_output_folder_nothing_is_written_and_no_chain_loaded(priors, tmp_path) -> None:
    before = sorted(tmp_path.rglob("*"))
    sixsa.fit(priors, xspec=xspec, **OPTIONS)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_occupied_folder_is_refused(priors, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="clobber=True"):
        sixsa.fit(priors, xspec=xspec, output="run", **OPTIONS)
    with pytest.raises(ValueError, match="no run to resume"):
        sixsa.fit(priors, xspec=xspec, output="run", resume=True, **OPTIONS)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_killed_run_goes_on_to_the_same_posterior(beside) -> None:
    whole, tmp_path = beside.result, beside.folder
    script = SCRIPT.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    batches = tmp_path / "run" / "checkpoint"
    deadline = time.monotonic() + 120
    while process.poll() is None and len(list(batches.glob("batch_*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [len(np.load(path)["u"]) for path in batches.glob("batch_*.npz")]
    assert len(done) >= 2 and not (tmp_path / "run" / "summary.json").exists()
    spent = Counter()
    evaluate = sixsa.Session.evaluate

    def counted(self, theta, stage):
        spent[stage] += len(theta)
        return evaluate(self, theta, stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sixsa.Session, "evaluate", counted)
        resumed = sixsa.fit(load(), xspec=xspec, output="run", resume=True, **OPTIONS)
    assert np.array_equal(resumed.samples, whole.samples)
    assert resumed.log_z == whole.log_z
    assert resumed.evaluations == whole.evaluations
    assert evaluations_of_batches(spent) == evaluations_of_batches(whole.evaluations) - sum(done)


def evaluations_of_batches(by_stage) -> int:
    """Those of the stages that the checkpoint keeps."""
    return sum(n for stage, n in by_stage.items() if stage.split()[0] in ("round", "curves", "search", "final"))


def test_another_problem_is_not_resumed_and_the_message_says_what_changed(beside) -> None:
    changed = load()
    changed[1] = sixsa.uniform(xspec.AllModels(1).powerlaw.PhoIndex, 0.0, 3.0)
    with pytest.raises(ValueError, match="PhoIndex__2"):
        sixsa.fit(changed, xspec=xspec, output="whole", resume=True, **OPTIONS)
    changed = load()
    xspec.AllData.ignore("**-1.0")
    with pytest.raises(ValueError, match="cannot be resumed"):
        sixsa.fit(changed, xspec=xspec, output="whole", resume=True, **OPTIONS)


def test_an_interrupted_run_keeps_what_it_has_and_the_session_and_what_lay_there(priors, tmp_path, monkeypatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = state()

    def interrupt(self, draws, stage, gives_up):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Inference, "_draw", interrupt)
        result = sixsa.fit(priors, xspec=xspec, output="run", clobber=True, polish=False, **OPTIONS)
    assert result.status == "unreliable" and "interrupted" in result.reasons[0]
    assert result.ess > 0
    assert state() == before
    assert json.loads(open("run/summary.json").read())["status"] == "unreliable"
    assert sixsa.fit(load(), xspec=xspec, output="run", resume=True, **OPTIONS).status == "reliable"
    assert before[1:] == state()[1:]
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_an_observation_outside_the_prior_is_refused_with_nothing_left(priors, tmp_path) -> None:
    before, files = state(), sorted(tmp_path.rglob("*"))
    priors[2] = sixsa.loguniform(xspec.AllModels(1).powerlaw.norm, 10.0, 100.0)
    with pytest.raises(sixsa.CoverageError, match="outside the prior's reach"):
        sixsa.fit(priors, xspec=xspec, output="run", **OPTIONS)
    assert state() == before and sorted(tmp_path.rglob("*")) == files


def test_a_model_that_gives_nan_is_named_before_anything_is_written(priors, tmp_path) -> None:
    # beyond its tabulated grid a table model is NaN
    write_table("mtable", tmp_path / "table.fits")
    model = xspec.Model("mtable{table.fits}*powerlaw")
    model(1).values = [3.0, 0.01, 0.0, 0.0, 10.0, 10.0]
    model(1).values = 9.0
    files = sorted(tmp_path.rglob("*"))
    norm = sixsa.loguniform(model.powerlaw.norm, 1e-4, 1e-1)
    with pytest.raises(RuntimeError, match="cannot be evaluated"):
        sixsa.fit([sixsa.uniform(model(1), 8.0, 10.0), norm], xspec=xspec, output="run", **OPTIONS)
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target_ess": 0}, "above zero"),
        ({"budget": 100}, "effective samples"),
        ({"compressor": "zip"}, "autoencoder"),
        ({"emulator": "zip"}, "linear, paired"),
        ({"emulator": "paired", "training": "simulated"}, "no emulator: drop one"),
        ({"estimator": "oracle"}, "npe, lbf, variational"),
        ({"estimator": "lbf", "training": "simulated"}, "drop one"),
        ({"resume": True}, "output folder"),
        ({"truth": {"PhoIndex": 2.0}}, "no free parameter is called that: they are nH__1, PhoIndex__2"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_spent(priors, wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        sixsa.fit(priors, xspec=xspec, **(OPTIONS | wrong))


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_spent(priors, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    spent = evaluations()
    with pytest.raises(NotADirectoryError, match="is a file"):
        sixsa.fit(priors, xspec=xspec, output="file/run", **OPTIONS)
    assert evaluations() - spent <= 1  # the session is looked at
