"""What a run has learned serves the next spectrum: same curves, fewer evaluations, and a clear word where it cannot."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_session import N_CHANNELS, fake_spectra, fresh

import xspec_sixsa as sixsa
from xspec_sixsa import embedded
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.embedded.ogip import read_pha, write_pha
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.priors import bind
from xspec_sixsa.result.summary import _reused
from xspec_sixsa.run import inverse
from xspec_sixsa.run.first import first_simulations
from xspec_sixsa.run.learned import save_network
from xspec_sixsa.run.network import ARRAYS, Network
from xspec_sixsa.run.run import Run
from xspec_sixsa.session import Session

OPTIONS = {"target_ess": 50, "seed": 1, "progress": False, "xspec": embedded, "polish": False}


def load(file: str, index: tuple[float, float] = (1.0, 3.0), expression: str = "TBabs*powerlaw") -> list[sixsa.Prior]:
    fresh(embedded).AllData(file)
    embedded.AllData(1).ignore("1-2")
    model = embedded.Model(expression, setPars={1: 0.1})
    model(1).frozen = True
    return [sixsa.uniform(model(2), *index), sixsa.loguniform(model(3), 1e-4, 1e-1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A spectrum, one of its exposure, and one of a fifth of it in pairs of channels."""
    folder = tmp_path_factory.mktemp("network")
    with working_directory(folder):
        fake_spectra(fresh(embedded), folder, ("b.pha",), exposure=400.0)
        pha = read_pha("b.pha")
        pha.grouping = np.where(np.arange(N_CHANNELS) % 2 == 0, 1, -1)
        write_pha("b.pha", pha)
        fake_spectra(fresh(embedded), folder, ("a.pha", "c.pha"))
        yield folder
    fresh(embedded)


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    """What a run on the first spectrum has learned when it begins to search: curves of the whole prior."""
    priors, session = load("a.pha"), Session(embedded)
    prior, record = bind(priors, session), {"seed": 1, "fingerprint": {}}
    run = Run(session, prior, record, {}, {}, None, None, resume=False, progress=False)
    (folder / "first").mkdir()
    with session:
        inference = run._begin(first_simulations(run._problem, run.model))
        save_network(folder / "first", inference, session, prior, {})
    return folder / "first"


def network(first: Path, priors: list[sixsa.Prior]) -> tuple[Session, Network]:
    session = Session(embedded)
    return session, Network.load(first, session, bind(priors, session))


def test_the_next_spectrum_needs_no_curves_but_those_that_tell_the_structure(folder: Path, first: Path) -> None:
    session, known = network(first, load("b.pha"))
    run = Run(session, known.prior, {"seed": 1, "fingerprint": {}}, {}, {}, None, known, resume=False, progress=False)
    with session:
        inference = run._begin(first_simulations(run._problem, run.model, known))
        inference.strategy._search_on(1.1)
        (folder / "second").mkdir()
        save_network(folder / "second", inference, session, known.prior, {})
    found = run._what_was_reused(known, inference)
    before, after = (json.loads((folder / name / "network.json").read_text()) for name in ("first", "second"))
    assert found["reused"] == before["known"] and found["reused_error"] < 0.05
    # the first run measured 16 over the prior; here one sees that what is known holds
    assert session.evaluations["search"] == 16
    assert session.evaluations["curves"] == before["evaluations"]["curves"] - 16 + 1
    assert after["known"] == before["known"] + found["measured"]
    [(_, text)] = _reused(found)
    assert text.startswith(f"{before['known']} curves of {first}, not counted here; off by")


def test_a_start_learns_from_known_curves(folder: Path, first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverse, "SPECTRA", 1000)
    monkeypatch.setattr(inverse, "STEPS", 60)
    options = {"seed": 1, "progress": False, "xspec": embedded}
    without, found = (sixsa.start(load("b.pha"), **options, **given) for given in ({}, {"network": first}))
    # 16 curves over the prior need not be measured; one sees that they hold
    assert found.evaluations["curves"] == without.evaluations["curves"] - 16 + 1
    assert f"curves were known from {first})" in str(found) and "were known" not in str(without)
    assert found.well and found.statistic[3] == pytest.approx(without.statistic[3], abs=0.01)  # where leven ends


@pytest.mark.parametrize("index", [(1.0, 3.0), (1.5, 2.5)])
def test_known_curves_are_those_of_the_new_spectrum(folder: Path, first: Path, index: tuple[float, float]) -> None:
    session, known = network(first, load("b.pha", index))
    assert known.same_prior == (index == (1.0, 3.0)) and not known.beyond
    model = RecordedModel(session, known.prior, Checkpoint(), Progress(False))
    factors, _ = model.factors()
    assert factors is not None
    before = len(factors.known[0][0])
    known.teach(factors)
    x, curves = factors.known[0]
    assert factors.surveyed and known.taught == len(x) - before > 5
    # what was measured is kept in single precision
    np.testing.assert_allclose(curves, factors.curves(0, x), rtol=1e-5, atol=1e-5 * curves.max())


def test_priors_that_reach_beyond_are_named(folder: Path, first: Path) -> None:
    _, known = network(first, load("b.pha", (1.0, 4.0)))
    assert known.beyond == ["PhoIndex__2 1.003 to 3.997 (trained for 1.002 to 2.998)"]
    assert "reach beyond it: PhoIndex__2 1.003 to 3.997" in str(known)


def test_another_model_or_groups_are_refused_before_anything_is_spent(folder: Path, first: Path) -> None:
    before = embedded.evaluate.evaluations()
    with pytest.raises(ValueError, match=r"the model was TBabs\*powerlaw and is phabs\*powerlaw"):
        network(first, load("b.pha", expression="phabs*powerlaw"))
    priors = load("b.pha")
    embedded.AllModels(1)(1).values = 0.2
    with pytest.raises(ValueError, match=r"the frozen value nH__1 was 0.1 and is 0.2"):
        network(first, priors)
    priors = load("b.pha")
    embedded.AllData(1).notice("1")
    with pytest.raises(ValueError, match=r"is none of them, nor made of some: group it as that run's"):
        network(first, priors)
    with pytest.raises(FileNotFoundError, match="holds no network"):
        sixsa.fit(priors, network=folder, **OPTIONS)
    assert embedded.evaluate.evaluations() - before < 20  # what XSPEC shows of its present values


TRAINED = OPTIONS | {"estimator": "lbf", "compressor": "pca", "settings": {"explorer_steps": 40, "emulated": 400}}


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """A whole run that has trained a compressor and an estimator."""
    result = sixsa.fit(load("a.pha"), output=folder / "trained", **TRAINED)
    assert "network" not in networks(result)[0]
    return folder / "trained"


def networks(result: sixsa.Result) -> list[dict[str, Any]]:
    """The records of the rounds that had a network."""
    return [record for record in result.rounds if "estimator" in record]


def test_a_trained_estimator_serves_the_next_spectrum_and_a_run_that_goes_on(
    folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TRAINED | {"network": trained}
    whole = sixsa.fit(load("c.pha"), output=folder / "whole", **options)
    assert [r["network"] for r in networks(whole)] == ["kept"] and "; lbf kept" in whole.summary()
    assert whole.reliable and not networks(whole)[0]["training"]
    # what the next one can begin with is what this one began with
    with np.load(trained / ARRAYS) as then, np.load(folder / "whole" / ARRAYS) as now:
        kept = [key for key in then.files if key.startswith("trained.")]
        assert len(kept) > 10 and all(np.array_equal(then[key], now[key]) for key in kept)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Inference, "_draw", interrupt)
        stopped = sixsa.fit(load("c.pha"), output=folder / "stopped", **options)
    assert not stopped.reliable
    resumed = sixsa.fit(load("c.pha"), output=folder / "stopped", resume=True, **options)
    assert np.array_equal(resumed.samples, whole.samples) and resumed.log_z == whole.log_z
    # without the network the explorer is another, and with it its draws
    with pytest.raises(ValueError, match="network: "):
        sixsa.fit(load("c.pha"), output=folder / "stopped", resume=True, **TRAINED)


def test_a_trained_estimator_is_trained_on_for_another_exposure_and_anew_for_other_priors(
    folder: Path, trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with working_directory(folder):
        fake_spectra(fresh(embedded), folder, ("d.pha",), exposure=1000.0)
    after = sixsa.fit(load("d.pha"), network=trained, **TRAINED)
    assert [r["network"] for r in networks(after)] == ["trained on"] and after.reliable
    assert "does not hold here (spectrum 1: exposure 2000 s, now 1000 s)" in caplog.text
    for file, index, what in (("c.pha", (1.5, 2.5), "priors"), ("b.pha", (1.0, 3.0), "bins")):
        _, known = network(trained, load(file, index))
        assert known.trained is not None and known.trained.why_not == what


@pytest.mark.slow
def test_spectra_of_a_model_emulated_as_a_whole_serve_the_next_spectrum(folder: Path) -> None:
    # networks that have hardly learned anything cost evaluations only
    settings = {"flow_steps": 20, "explorer_steps": 20, "refine_steps": 20, "emulated": 200, "attempts": 1}
    options = OPTIONS | {"training": "unfactored", "compressor": "pca", "settings": settings}
    before = sixsa.fit(load("a.pha"), output=folder / "whole", **options)
    after = sixsa.fit(load("b.pha"), network=folder / "whole", **options)
    # 120 a parameter over the prior; where they are known, 16 show that the model works
    assert before.evaluations["round 1"] == 240 and after.evaluations["round 1"] == 16
    assert before.status == after.status == "reliable"
    assert sum(after.evaluations.values()) < sum(before.evaluations.values()) - 200
