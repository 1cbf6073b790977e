"""Models on the same data: the one that the data were faked from wins, and other data are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from small_session import fresh
from weighted import load_powerlaw, powerlaw_priors, save_run

import xspec_sixsa as sixsa
from xspec_sixsa import embedded
from xspec_sixsa.compare import CompareError, rank
from xspec_sixsa.compare.ranking import log_predictive, waic
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.result import Result, SpectrumPredictive


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
    # two parameters, and both are determined: WAIC's count has an error of sqrt(2/200) a parameter
    assert best.effective_parameters == pytest.approx(2, abs=0.8)
    assert "powerlaw against bremss" in str(found)


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


def test_waic_of_a_known_case() -> None:
    # one Gaussian mean with a flat prior from n unit-variance data: elpd is that of N(mean, 1 + 1/n), less the optimism
    rng = np.random.default_rng(4)
    y = rng.normal(size=400)
    draws = y.mean() + rng.normal(size=4000) / np.sqrt(y.size)
    elpd, p = waic(stats.norm.logpdf(y, draws[:, None], 1.0))
    assert p.sum() == pytest.approx(np.mean((y - y.mean()) ** 2), rel=0.05)  # sum (y-m)^2/n: sqrt(2/4000) and 1/n
    left_out = (y.sum() - y) / (y.size - 1)
    exact = stats.norm.logpdf(y, left_out, np.sqrt(1 + 1 / (y.size - 1))).sum()
    assert elpd.sum() == pytest.approx(exact, abs=0.1)  # leave-one-out, which WAIC approaches as 1/n


def test_what_the_folder_does_not_hold_is_not_scored() -> None:
    counts = np.array([3.0, 5.0])
    total = np.array([[2.5, 5.5], [3.5, 4.5]])
    spectrum = SpectrumPredictive("a", np.zeros((2, 2)), 1.0, counts, np.sqrt(counts), None, total)
    np.testing.assert_allclose(log_predictive(spectrum), stats.poisson.logpmf(counts, total))
    assert log_predictive(replace(spectrum, background=np.ones(2))) is None
    assert log_predictive(replace(spectrum, background=np.ones(2), statistic="pgstat")) is None
    np.testing.assert_allclose(
        log_predictive(replace(spectrum, statistic="chi")), stats.norm.logpdf(counts, total, np.sqrt(counts))
    )


def test_with_a_background_the_score_is_that_of_source_and_background_counts() -> None:
    source, background, ratio = np.array([3.0, 5.0, 0.0]), np.array([4.0, 8.0, 2.0]), 0.5
    total = np.array([[1.5, 2.5, 0.7]]) + ratio * background
    spectrum = SpectrumPredictive(
        "a", np.zeros((3, 2)), 1.0, source, np.sqrt(source), ratio * background, total,
        background_ratio=np.full(3, ratio),
    )  # fmt: skip
    # the background's intensity at its best in each bin, by looking
    intensity = np.linspace(1e-3, 30, 300_001)[:, None]
    both = stats.poisson.logpmf(background, intensity) + stats.poisson.logpmf(
        source, total - ratio * background + ratio * intensity
    )
    np.testing.assert_allclose(log_predictive(spectrum)[0], both.max(axis=0), atol=1e-6)
