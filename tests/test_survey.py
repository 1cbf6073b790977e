"""Many spectra at once: each has its own exact posterior, and what is evaluated serves all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from prompt import run_script
from scipy import stats
from small_session import N_CHANNELS, fresh, write_response

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.embedded.ogip import PHA, write_pha
from xspec_sixsa.interfaces import cli
from xspec_sixsa.priors import bind, save_toml
from xspec_sixsa.session import Session
from xspec_sixsa.session.opened import open_run
from xspec_sixsa.survey import guide, member, sharing
from xspec_sixsa.survey import run as running
from xspec_sixsa.survey.sharing import log_mixture

INDEX, NORM = (1.0, 3.0), (1e-4, 1e-1)
NAMES = ("plain", "again", "grouped", "background", "faint")
BROKEN = "broken"


def write_spectra(folder: Path) -> None:
    """Write spectra of one response that differ in all that is theirs alone, and a file that is none."""
    write_response(folder)
    channel = np.arange(N_CHANNELS)
    shape = 60.0 * np.exp(-(((channel - 22.0) / 13.0) ** 2))
    rng = np.random.default_rng(5)
    ones = np.ones(N_CHANNELS)

    def write(name: str, expected: np.ndarray, **more: Any) -> None:
        settings = {
            "exposure": 2000.0,
            "quality": None,
            "grouping": None,
            "area_scale": ones,
            "back_scale": ones,
        } | more
        pha = PHA(
            name, rng.poisson(expected).astype(float), channels=channel + 1, detchans=N_CHANNELS,
            respfile="small.rmf", ancrfile="small.arf", **settings,
        )  # fmt: skip
        pha.backfile = "behind.pha" if name == "background" else ""
        write_pha(folder / f"{name}.pha", pha)

    write("plain", shape)
    write("again", shape)
    pairs, bad = np.where(channel % 2 == 0, 1, -1), np.where(channel == 31, 5, 0)
    write("grouped", 2.0 * shape, exposure=900.0, grouping=pairs, quality=bad)
    write("background", shape + 3.0, back_scale=0.5 * ones, area_scale=0.8 * ones)
    write("behind", 12.0 * ones, exposure=4000.0, back_scale=ones)
    write("faint", 0.1 * shape, exposure=150.0)
    (folder / f"{BROKEN}.pha").write_text("no spectrum")


def load_template(xspec: ModuleType) -> list[sixsa.Prior]:
    """Load what the survey takes model and settings from; the folder of the spectra is where we are."""
    fresh(xspec).AllData("plain.pha")
    xspec.Fit.statMethod = "cstat"
    xspec.AllData(1).ignore("1-3")
    model = xspec.Model("TBabs*powerlaw", setPars=(0.1, 1.8, 3e-3))
    model.TBabs.nH.frozen = True
    return [sixsa.uniform(model.powerlaw.PhoIndex, *INDEX), sixsa.loguniform(model.powerlaw.norm, *NORM)]


def survey(xspec: ModuleType, output: Path, names: tuple[str, ...] = (*NAMES, BROKEN), **more: Any) -> sixsa.Survey:
    options = {"seed": 1, "target_ess": 300, "workers": 2, "pictures": (), "progress": False} | more
    priors = load_template(xspec)
    return sixsa.fit_many([f"{name}.pha" for name in names], priors, output=output, xspec=xspec, **options)


def grid_posterior(session: Session) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and standard deviation of index and ln norm, and log Z, by a sum over the prior: nothing is sampled."""
    # finer than any posterior: a sum of a smooth function over such a grid is its integral
    index = INDEX[0] + (INDEX[1] - INDEX[0]) * (np.arange(100) + 0.5) / 100
    log_norm = np.log(NORM[0]) + np.log(NORM[1] / NORM[0]) * (np.arange(400) + 0.5) / 400
    points = np.stack([grid.ravel() for grid in np.meshgrid(index, log_norm)], axis=1)
    theta = np.stack([points[:, 0], np.exp(points[:, 1])], axis=1)
    log_likelihood = session.evaluate(theta, "grid").log_likelihood
    top = log_likelihood.max()
    w = np.exp(log_likelihood - top)
    mean = np.average(points, axis=0, weights=w)
    return mean, np.sqrt(np.average((points - mean) ** 2, axis=0, weights=w)), float(np.log(w.mean()) + top)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from xspec_sixsa import embedded

    folder = tmp_path_factory.mktemp("survey")
    with working_directory(folder):
        write_spectra(folder)
        yield folder
    fresh(embedded)


@pytest.fixture(scope="module")
def finished(folder: Path) -> sixsa.Survey:
    from xspec_sixsa import embedded

    found = survey(embedded, folder / "all", batch=3)
    # the session is the user's: what the survey loaded, it loaded elsewhere
    assert embedded.AllData(1).fileName == "plain.pha" and embedded.AllModels(1)(2).values[0] == 1.8
    return found


def test_a_bad_spectrum_costs_itself_only(finished: sixsa.Survey) -> None:
    table = finished.catalogue
    assert list(table["name"]) == [*NAMES, BROKEN]
    assert list(table["status"]) == ["reliable"] * len(NAMES) + ["failed"]
    assert "broken.pha" in table["reasons"][-1] and np.isnan(table["log_z"][-1])
    with pytest.raises(KeyError, match="broken has no posterior"):
        finished[BROKEN]


@pytest.mark.parametrize("name", NAMES)
def test_each_posterior_is_its_own(folder: Path, finished: sixsa.Survey, name: str) -> None:
    result, module = open_run(finished.output / "spectra" / name, "embedded")
    session = Session(module)
    best = session.evaluate(result.best_fit[None], "best").statistic[0]
    assert best == pytest.approx(result.best_statistic, abs=1e-4)  # XSPEC's own: counts are kept in single precision
    mean, sd, log_z = grid_posterior(session)
    samples = np.stack([result.samples[:, 0], np.log(result.samples[:, 1])], axis=1)
    found = np.average(samples, axis=0, weights=result.weights)
    spread = np.sqrt(np.average((samples - found) ** 2, axis=0, weights=result.weights))
    assert result.ess > 250
    # five standard errors of 300 draws
    assert (np.abs(found - mean) < 5 * sd / np.sqrt(300)).all()
    assert (np.abs(spread / sd - 1) < 5 / np.sqrt(2 * 300)).all()
    assert abs(result.log_z - log_z) < 5 * result.log_z_err + 0.01


def test_the_catalogue_says_what_the_results_say(finished: sixsa.Survey) -> None:
    from astropy.table import Table

    table = Table.read(finished.output / "catalogue.csv")
    for row, name in zip(table, NAMES, strict=False):
        result = finished[name]
        assert row["PhoIndex__2_median"] == pytest.approx(float(result.quantile(0.5)[0]))
        low, high = result.interval(0.90)[1]
        assert (row["norm__3_low90"], row["norm__3_high90"]) == (pytest.approx(low), pytest.approx(high))
        assert row["ess"] == pytest.approx(result.ess) and row["log_z"] == pytest.approx(result.log_z)
    assert "1 failed" in str(finished) and not finished.reliable


def test_draws_of_poor_proposals_teach_better_ones_and_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xspec_sixsa import embedded

    monkeypatch.setattr(sharing, "POOR", 2.0)  # all are
    monkeypatch.setattr(sharing, "FIRST_DRAWS", 40)
    found = survey(embedded, folder / "poor", ("faint",), exact="draws", target_ess=200, workers=1)
    assert found.reliable
    result, module = open_run(found.output / "spectra" / "faint", "embedded")
    assert len(result.samples) > 200  # the first draws, of another proposal, are among them
    # of a model of one part they are curves themselves, beside those that training took
    assert result.emulator["evaluations"] >= found.evaluations["curves"] + found.evaluations["search"] + 40
    mean, sd, log_z = grid_posterior(Session(module))
    assert abs(result.log_z - log_z) < 5 * result.log_z_err + 0.01
    assert abs(result.mean[0] - mean[0]) < 5 * sd[0] / np.sqrt(200)


@pytest.fixture(scope="module")
def guided(folder: Path) -> sixsa.Survey:
    """All spectra again, with a guide."""
    from xspec_sixsa import embedded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guide, "STEPS", 300)  # enough for two parameters
        return survey(embedded, folder / "guided", NAMES, estimator="variational", seed=2)


def test_a_guided_survey_has_the_same_posteriors(finished: sixsa.Survey, guided: sixsa.Survey) -> None:
    assert list(guided.catalogue["status"]) == ["reliable"] * len(NAMES)
    assert not any("guide" in flags for flags in guided.catalogue["flags"])  # it has served them all
    for name in NAMES:
        one, other = finished[name], guided[name]
        spread = np.sqrt(np.average((one.samples - one.mean) ** 2, axis=0, weights=one.weights))
        # five standard errors of 300 draws each, and of evidences
        assert (np.abs(one.mean - other.mean) < 5 * spread * np.sqrt(2 / 300)).all()
        assert abs(one.log_z - other.log_z) < 5 * np.hypot(one.log_z_err, other.log_z_err)


def test_a_guided_survey_is_the_same_again_by_any_number_of_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xspec_sixsa import embedded

    monkeypatch.setattr(guide, "STEPS", 60)  # as good as any here
    options = {"estimator": "variational", "settings": {"guide": "gaussian"}, "target_ess": 200}
    first, again = (survey(embedded, folder / f"guided_{n}", ("plain", "faint"), workers=n, **options) for n in (1, 2))
    assert first.evaluations == again.evaluations
    for name in ("plain", "faint"):
        np.testing.assert_array_equal(first[name].samples, again[name].samples)


def test_a_guide_that_is_worth_little_gives_way_to_a_population(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xspec_sixsa import embedded

    monkeypatch.setattr(guide, "STEPS", 60)
    monkeypatch.setattr(member, "LEAST_GUIDED", 2.0)
    options = {"target_ess": 200, "workers": 1}
    found = survey(embedded, folder / "unguided", ("faint",), estimator="variational", **options)
    assert re.search("explored without the guide: .* % of .* draws were effective", found.catalogue["flags"][0])
    without = survey(embedded, folder / "without", ("faint",), **options)
    np.testing.assert_array_equal(found["faint"].samples, without["faint"].samples)


def test_draws_of_a_guide_that_are_not_enough_are_followed_by_a_population(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xspec_sixsa import embedded

    monkeypatch.setattr(guide, "STEPS", 60)
    monkeypatch.setattr(member.Inference, "verdict", lambda inference: ["not yet"] * (len(inference.draws) < 130))
    found = survey(embedded, folder / "followed", ("faint",), estimator="variational", target_ess=200, workers=1)
    assert found.catalogue["flags"][0] == "explored without the guide: its first draws were not enough for the verdict"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "npe"}, '"npe" is trained for one spectrum, .* type "variational"'),
        ({"estimator": "lbf"}, '"lbf" is trained for one spectrum'),
        ({"estimator": "oracle"}, "Unknown estimator 'oracle'"),
        ({"estimator": "variational", "settings": {"guide": "delta"}}, "Unknown guide 'delta': type one of flow"),
        ({"settings": {"guides": "flow"}}, "Unknown settings guides"),
    ],
)
def test_estimators_that_cannot_work_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    from xspec_sixsa import embedded

    with pytest.raises(ValueError, match=message):
        survey(embedded, folder / "refused", ("faint",), **options)
    assert not (folder / "refused").exists()


def test_draws_of_many_proposals_are_weighted_by_their_mixture() -> None:
    rng, given = np.random.default_rng(0), (200, 1800)
    x = np.concatenate([rng.normal(0, 1, given[0]), rng.normal(3, 1, given[1])])
    mixture = log_mixture(np.array([stats.norm.logpdf(x, centre) for centre in (0, 3)]), given)
    for centre in (0.3, 2.5):  # where the few draws are, and where the many: each integral is one
        w = np.exp(stats.norm.logpdf(x, centre, 0.8) - mixture)
        assert abs(w.mean() - 1) < 4 * w.std() / np.sqrt(len(w))


def test_spectra_that_are_alike_share_draws(finished: sixsa.Survey) -> None:
    spent = dict(zip(finished.catalogue["name"], finished.catalogue["evaluations"], strict=True))
    # 110 effective exact draws each, of which the other has given a part
    assert spent["plain"] + spent["again"] < 180 and spent["faint"] > 100


def test_every_draw_exact_where_that_is_asked_for(folder: Path) -> None:
    from xspec_sixsa import embedded

    found = survey(embedded, folder / "exact", ("background", "grouped"), exact="draws", target_ess=200)
    assert found.reliable
    result, module = open_run(found.output / "spectra" / "background", "embedded")
    assert not result.control and result.ess >= 200
    rows = np.argsort(result.log_weights)[-30:]
    exact = Session(module).evaluate(result.samples[rows], "again").log_likelihood
    assert result.log_likelihood[rows] == pytest.approx(exact, abs=1e-4)  # counts are kept in single precision
    assert abs(result.log_z - grid_posterior(Session(module))[2]) < 5 * result.log_z_err


def test_a_resumed_survey_evaluates_nothing_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xspec_sixsa import embedded
    from xspec_sixsa.infer.checkpoint import Checkpoint

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    def refuse(*_: Any) -> None:
        raise AssertionError("evaluated anew")

    with monkeypatch.context() as patch:
        patch.setattr(running.SharedDraws, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            survey(embedded, folder / "trained", ("faint",))
    monkeypatch.setattr(running.SharedDraws, "run", stop)
    monkeypatch.setattr(Checkpoint, "_write", refuse)
    with pytest.raises(KeyboardInterrupt):  # it comes as far again
        survey(embedded, folder / "trained", ("faint",), resume=True)


def test_a_time_limit_ends_a_survey_that_can_be_resumed(folder: Path) -> None:
    from xspec_sixsa import embedded

    with pytest.raises(KeyboardInterrupt, match=r"the time limit of 0.01 s: what is evaluated is kept .*--resume"):
        survey(embedded, folder / "limited", ("faint",), time_limit=0.01)


def test_what_a_survey_has_learned_serves_a_later_one(
    folder: Path, finished: sixsa.Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xspec_sixsa import embedded

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running.SharedDraws, "run", stop)  # when it is trained
    with pytest.raises(KeyboardInterrupt):
        survey(embedded, folder / "later", ("faint",), network=finished.output)
    batches = [np.load(path) for path in (folder / "later").rglob("batch_*.npz")]
    # the structure's; a survey that begins with nothing measures sixteen more over the prior
    assert sum(len(batch["u"]) for batch in batches if batch["stage"] == "curves") <= 6
    priors = [load_template(embedded)[0], sixsa.loguniform(embedded.AllModels(1).powerlaw.norm, 1e-3, 1e-1)]
    with pytest.raises(ValueError, match="of another model or priors"):
        sixsa.fit_many(["faint.pha"], priors, output=folder / "other", network=finished.output, xspec=embedded)


@pytest.mark.parametrize(
    ("spectra", "message"),
    [
        ([], "no spectra"),
        ("plain.pha", "is no list"),
        (["*.fits"], "No file matches"),
        (["plain.pha", "./plain.pha"], "another name"),
        ([{"name": "x"}], "it names no file"),
        ([{"file": "plain.pha", "arff": "x"}], "unknown: arff"),
    ],
)
def test_lists_that_cannot_work_are_refused(folder: Path, spectra: Any, message: str) -> None:
    from xspec_sixsa import embedded

    priors = load_template(embedded)
    with pytest.raises(ValueError, match=message):
        sixsa.fit_many(spectra, priors, output=folder / "refused", xspec=embedded)
    assert not (folder / "refused").exists()


def test_a_statistic_that_cannot_be_shared_is_named(folder: Path) -> None:
    from xspec_sixsa import embedded

    priors = load_template(embedded)
    embedded.Fit.statMethod, embedded.Fit.weight = "chi", "model"
    found = sixsa.fit_many(
        ["grouped.pha"], priors, output=folder / "weighted", xspec=embedded, seed=1, workers=1, progress=False
    )
    assert "model weighting" in found.catalogue["reasons"][0]
    assert not json.loads((folder / "weighted" / "totals.json").read_text())["evaluations"].get("final")


@pytest.fixture(scope="module")
def listed(folder: Path) -> Path:
    """A list of two spectra, one of which is none, beside the session and the priors that it names."""
    from xspec_sixsa import embedded

    priors = load_template(embedded)
    session = Session(embedded)
    session.save_xcm(folder / "template.xcm")
    save_toml(folder / "priors.toml", bind(priors, session), {})
    fresh(embedded)
    path = folder / "list.toml"
    path.write_text(
        'session = "template.xcm"\npriors = "priors.toml"\nspectra = ["fai*.pha"]\n'
        "flux = [[1.0, 5.0], [0.5, 10]]\n"
        '[[spectrum]]\nfile = "broken.pha"\ntime = 3.5\n'
    )
    return path


@pytest.mark.parametrize("where", ["option", "table"])
def test_the_shell_refuses_an_estimator_of_one_spectrum(listed: Path, tmp_path: Path, where: str) -> None:
    words = ["survey", str(listed), "-o", str(tmp_path / "out"), "--engine", "embedded"]
    if where == "table":
        (tmp_path / "p.toml").write_text((listed.parent / "priors.toml").read_text() + '[fit]\nestimator = "lbf"\n')
        words += ["--priors", str(tmp_path / "p.toml")]
    else:
        words += ["--estimator", "lbf"]
    ended = CliRunner().invoke(cli.main, words)
    assert ended.exit_code == 2 and '"lbf" is trained for one spectrum' in ended.output
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def shelled(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shell leaves of the list."""
    folder = tmp_path_factory.mktemp("shell")
    with working_directory(folder):  # names start in the list's folder
        ended = CliRunner().invoke(cli.main, ["survey", str(listed), "-o", "out", "--seed", "1", "--target-ess", "200",
                                              "--engine", "embedded", "--workers", "2", "-q"])  # fmt: skip
    assert ended.exit_code == 3 and "2 spectra: 1 reliable, 1 failed" in ended.output
    return folder / "out"


def test_the_shell_takes_a_list_and_leaves_a_page(shelled: Path) -> None:
    page = (shelled / "overview.html").read_text()
    assert 'href="spectra/faint/report.html"' in page and (shelled / "spectra/faint/report.html").is_file()
    assert 'class="failed"' in page and "broken.pha" in page
    assert page.count("data:image/png;base64,") == 1


def test_the_catalogue_has_the_fluxes_that_the_list_asks_for(shelled: Path) -> None:
    found = sixsa.Survey.load(shelled)
    row = found.catalogue[0]
    result, module = open_run(shelled / "spectra" / "faint", "embedded")
    for low, high in ((1.0, 5.0), (0.5, 10.0)):
        alone = result.flux(low, high, draws=200, xspec=module)
        name = f"flux_{low:g}_{high:g}"
        assert row[f"{name}_median"] == pytest.approx(alone.quantile(0.5)[0], rel=1e-6)
        interval = row[f"{name}_low68"], row[f"{name}_high68"]
        assert interval == pytest.approx(tuple(alone.interval(0.68)[0]), rel=1e-6)
    # one evaluation of a draw serves both bands
    assert found.evaluations["flux"] == alone.evaluations <= 200
    assert (
        np.isnan(found.catalogue["flux_1_5_median"][1]) and found.catalogue["flux_1_5_median"].unit == "erg / (cm2 s)"
    )


def test_a_stopped_survey_goes_on_to_the_same_answer(
    folder: Path, shelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xspec_sixsa import embedded

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    names, output = ("faint", BROKEN), folder / "stopped"
    options = {"target_ess": 200, "workers": 1, "flux": [(1, 5), (0.5, 10)]}
    with monkeypatch.context() as patch:
        patch.setattr(running._Survey, "_hand_over", stop)
        with pytest.raises(KeyboardInterrupt):
            survey(embedded, output, names, **options)
    assert list((output / "checkpoint").rglob("batch_*.npz"))
    with pytest.raises(FileExistsError, match="resume"):
        survey(embedded, output, names, **options)
    with pytest.raises(ValueError, match="the seed was 1 and is 2"):
        survey(embedded, output, names, resume=True, seed=2, **options)
    again, whole = survey(embedded, output, names, resume=True, **options), sixsa.Survey.load(shelled)
    assert again.evaluations == whole.evaluations
    assert np.array_equal(again["faint"].samples, whole["faint"].samples)
    # what is finished is not done again
    monkeypatch.setattr(running._Survey, "_group", stop)
    assert survey(embedded, output, names, resume=True, **options).evaluations == whole.evaluations


def test_a_batch_begins_with_the_curves_of_those_before(finished: sixsa.Survey) -> None:
    batches = sorted(finished.output.rglob("rows.json"))
    curves = [json.loads(path.read_text())["evaluations"]["curves"] for path in batches]
    assert len(curves) == 2 and curves[1] < 0.6 * curves[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spectra = [", "no TOML file"),
        ('spectrums = ["a.pha"]', "unknown spectrums"),
        ('spectra = ["plain.pha"]', "names no session"),
        ('spectra = ["plain.pha"]\nsession = "absent.xcm"', "No session file"),
    ],
)
def test_lists_that_cannot_work_end_in_a_message(folder: Path, text: str, message: str) -> None:
    path = folder / "bad.toml"
    path.write_text(text)
    ended = CliRunner().invoke(cli.main, ["survey", str(path), "-o", str(folder / "bad"), "--engine", "embedded"])
    assert ended.exit_code == 2 and message in ended.output
    assert not (folder / "bad").exists()


@pytest.mark.slow
@pytest.mark.xspec
def test_the_prompt_surveys_with_its_own_model_and_priors(tmp_path: Path) -> None:
    write_spectra(tmp_path)
    (tmp_path / "list.toml").write_text('spectra = ["faint.pha", "broken.pha"]\n')
    script = """set xs_echo_script 0
statistic cstat
data plain.pha
ignore 1-3
model TBabs*powerlaw & 0.1 & 1.8 & 3e-3
package require sixsa
freeze 1
sixsa prior 2 uniform 1 3
sixsa prior 3 loguniform 1e-4 1e-1
sixsa survey list.toml -output out -seed 1 -ess 200 -workers 1 -estimator variational
puts "reliable $::sixsa::survey(reliable) failed $::sixsa::survey(failed)"
tclout filename 1
puts "still $xspec_tclout"
exit
"""
    printed = run_script(script, tmp_path)
    assert "reliable 1 failed 1" in printed and re.search(r"still .*plain\.pha", printed)
    assert "broken: failed: broken.pha" in printed  # in words, where XSPEC has none
    found = sixsa.Survey.load(tmp_path / "out")
    assert found["faint"].names == ["PhoIndex__2", "norm__3"]
    assert found["faint"].fingerprint["priors"]["priors"][0]["high"] == 3.0


@pytest.mark.xspec
def test_real_xspec_agrees(tmp_path: Path) -> None:
    import xspec

    write_spectra(tmp_path)
    with working_directory(tmp_path):
        found = survey(xspec, tmp_path / "real", ("grouped", "background", BROKEN))
        assert list(found.catalogue["status"]) == ["reliable", "reliable", "failed"]
        load_template(xspec)
        for name in ("grouped", "background"):
            result, module = open_run(found.output / "spectra" / name, "xspec")
            best = Session(module, workers=1).evaluate(result.best_fit[None], "best").statistic[0]
            assert best == pytest.approx(result.best_statistic, abs=1e-3)  # XSPEC folds in single precision
        fresh(xspec)
