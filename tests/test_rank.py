"""Models on the same data: the one that the data were faked from wins, and other data are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_session import fresh
from weighted import load_powerlaw, powerlaw_priors, save_run

import xspec_sixsa as sixsa
from xspec_sixsa import embedded
from xspec_sixsa.compare import CompareError, rank
from xspec_sixsa.compare.leaveoneout import leave_one_out
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.result import Result


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A power law faked and fitted, a black body fitted to it, and the power law on fewer channels."""
    folder = tmp_path_factory.mktemp("rank")
    load_powerlaw(embedded, folder)
    embedded.AllModels(1).setPars(2.0, 4e-3)
    embedded.Xset.seed = 5
    embedded.AllData.fakeit(1, [embedded.FakeitSettings(exposure=300.0, fileName=str(folder / "two.pha"))])

    def load(model: str) -> list[Any]:
        fresh(embedded)
        embedded.AllData(f"1:1 {folder / 'two.pha'}")
        embedded.Fit.statMethod = "cstat"
        embedded.Model(model, setPars=(2.0, 4e-3))
        return powerlaw_priors(embedded)

    save_run(embedded, folder / "powerlaw", load("powerlaw"))
    load("bremss")
    bremss = embedded.AllModels(1)
    priors = [sixsa.uniform((bremss, 1), 1.0, 50.0), sixsa.loguniform((bremss, 2), 1e-4, 1e-1)]
    save_run(embedded, folder / "bremss", priors)
    priors = load("powerlaw")
    embedded.AllData(1).ignore("**-1.0")
    save_run(embedded, folder / "fewer", priors)
    fresh(embedded)
    return folder


def test_the_true_model_comes_first_with_its_bayes_factor(runs: Path) -> None:
    found = rank([runs / "bremss", runs / "powerlaw"])
    one, other = (Result.load(runs / name) for name in ("powerlaw", "bremss"))
    assert [m.name for m in found.models] == ["powerlaw", "bremss"]
    best, second = found.models
    assert second.delta_log_z == pytest.approx(other.log_z - one.log_z)
    assert second.delta_log_z_err == pytest.approx(np.hypot(one.log_z_err, other.log_z_err))
    assert best.probability / second.probability == pytest.approx(np.exp(one.log_z - other.log_z))
    assert best.delta_elpd == 0.0 and second.delta_elpd < 0
    # two parameters, and both are determined: a count from 200 draws has an error of sqrt(2/200) a parameter
    assert best.effective_parameters == pytest.approx(2, abs=0.8)
    assert "powerlaw against bremss" in str(found)
    scores = [leave_one_out(np.concatenate(result.log_predictive(), axis=1), result.ess) for result in (one, other)]
    assert [m.elpd for m in found.models] == pytest.approx([score.elpd.sum() for score in scores])
    assert [m.largest_k for m in found.models] == pytest.approx([score.k.max() for score in scores])
    gain = scores[1].elpd - scores[0].elpd
    errors = [gain.std(ddof=1) * np.sqrt(gain.size), scores[0].monte_carlo_err, scores[1].monte_carlo_err]
    assert second.delta_elpd_err == pytest.approx(np.linalg.norm(errors)) and best.delta_elpd_err == 0.0


def test_the_bins_probabilities_multiply_to_the_likelihood_but_for_a_constant(runs: Path) -> None:
    result = Result.load(runs / "powerlaw")
    rows = result.resample(200, 1, return_index=True)  # as `save_run` draws them
    (log_p,) = result.log_predictive()
    # expected counts are kept as 32-bit floats: 6e-8 of some hundred counts, in some tens of bins
    assert np.ptp(log_p.sum(axis=1) - result.log_likelihood[rows]) < 1e-4 < np.ptp(log_p.sum(axis=1))


def test_other_data_are_refused(runs: Path) -> None:
    with pytest.raises(CompareError, match=r"different data.*noticed"):
        rank([runs / "powerlaw", runs / "fewer"])
    with pytest.raises(CompareError, match="at least two"):
        rank([runs / "powerlaw"])


def test_the_shell_ranks(runs: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["rank", str(runs / "powerlaw"), str(runs / "bremss"), "-o", str(tmp_path / "r")])
    assert ended.exit_code == 0, ended.output
    written = json.loads((tmp_path / "r" / "ranking.json").read_text())
    assert [m["name"] for m in written["models"]] == ["powerlaw", "bremss"]
    assert all((tmp_path / "r" / f"ranking.{suffix}").stat().st_size > 1000 for suffix in ("png", "pdf"))
    ended = CliRunner().invoke(main, ["rank", str(runs / "powerlaw"), str(runs / "fewer")])
    assert ended.exit_code == 2 and "different data" in ended.output


def test_a_bin_that_rules_the_posterior_is_named(runs: Path, tmp_path: Path) -> None:
    result = Result.load(runs / "bremss")
    (spectrum,) = result.predictive_data
    # a bin with expected counts that vary over the posterior by twice their mean, and more counts than all draws expect
    wild = np.random.default_rng(1).lognormal(0.0, 1.0, len(spectrum.total))
    spectrum.total[:, 3], spectrum.counts[3] = 20.0 * wild, 400.0
    result.save(tmp_path / "bremss")
    found = rank([runs / "powerlaw", tmp_path / "bremss"])
    spoilt = next(m for m in found.models if m.name == "bremss")
    assert spoilt.doubtful_bins == 1 and spoilt.largest_k > 0.7
    (note,) = [note for note in found.notes if note.startswith("bremss: its elpd is doubtful")]
    low, high = spectrum.energies[3]
    assert f"at {low:.4g}-{high:.4g} keV of {spectrum.name}" in note and "for 200 draws" in note
    assert "(1 bad)" in str(found)


def test_a_notebook_shows_the_table_and_runs_no_markup_of_folder_names(runs: Path, tmp_path: Path) -> None:
    Result.load(runs / "powerlaw").save(tmp_path / "<b>one")
    page = rank([runs / "bremss", tmp_path / "<b>one"])._repr_html_()
    assert "&lt;b&gt;one" in page and "<b>" not in page and "delta elpd" in page


def test_runs_without_predictive_spectra_are_ranked_without_elpd(runs: Path, tmp_path: Path) -> None:
    result = Result.load(runs / "bremss")
    result.predictive_data = []
    result.save(tmp_path / "bremss")
    found = rank([runs / "powerlaw", tmp_path / "bremss"])
    assert [m.name for m in found.models] == ["powerlaw", "bremss"] and np.isnan(found.models[0].elpd)
    assert any("no predictive scores" in note for note in found.notes)
