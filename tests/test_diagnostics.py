"""Diagnostics: quiet where the model made the data, and naming the fault where it did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xspec_sixsa.embedded.ogip import write_rmf
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.interfaces.demo import make_response
from xspec_sixsa.products.diagnostics import cash_moments, diagnose, find_line, response_fwhm
from xspec_sixsa.result import Result, SpectrumPredictive

EDGES = np.geomspace(0.5, 8, 121)
ENERGIES = np.stack([EDGES[:-1], EDGES[1:]], axis=1)
CENTRE, WIDTH = ENERGIES.mean(axis=1), np.diff(EDGES)
MODEL = 60 * (CENTRE / 1.0) ** -1.5 * WIDTH / WIDTH.mean()
RESOLUTION = 0.12  # keV


def result(data: np.ndarray, statistic: str = "cstat", **changes: object) -> Result:
    """Two parameters, and a posterior whose spectra differ in scale by 1 %."""
    rng = np.random.default_rng(2)
    scale = 1 + 0.01 * rng.standard_normal((100, 1))
    error = np.sqrt(MODEL) if statistic == "chi" else np.sqrt(np.maximum(data, 1))
    spectrum = SpectrumPredictive(
        "source.pha", ENERGIES, 1.0, data, error, changes.pop("background", None), scale * MODEL, {}, statistic
    )
    n = 50
    return Result(
        names=["a", "b"], labels=["m a", "m b"], units=["", ""], samples=rng.random((n, 2)), log_weights=np.zeros(n),
        log_likelihood=np.zeros(n), log_proposal=np.zeros(n), log_z=0.0, log_z_err=0.1, ess=n, k_hat=0.1,
        evaluations={"final": n}, seconds={}, status="reliable", reasons=[], best_fit=np.zeros(2), best_statistic=1.0,
        seed=4, predictive_data=[spectrum], **changes,
    )  # fmt: skip


def widths(energy: np.ndarray) -> np.ndarray:
    return np.full_like(energy, RESOLUTION)


def with_line(counts: float, energy: float = 3.0) -> np.ndarray:
    from scipy.stats import norm

    return MODEL + counts * np.diff(norm.cdf(EDGES, energy, RESOLUTION / 2.3548))


@pytest.mark.parametrize("m", [0.003, 0.2, 1.0, 7.0, 60.0, 3000.0])
def test_expected_cash_is_what_simulated_counts_give(m: float) -> None:
    n = 400_000
    x = np.random.default_rng(1).poisson(m, n)
    c = 2 * (m - x + np.where(x > 0, x * np.log(np.maximum(x, 1) / m), 0))
    mean, variance = cash_moments(np.array([m]))
    assert mean[0] == pytest.approx(c.mean(), abs=5 * c.std() / np.sqrt(n))
    spread = ((c - c.mean()) ** 2).std() / np.sqrt(n)
    assert variance[0] == pytest.approx(c.var(), abs=5 * spread)


def test_cash_becomes_chi_squared() -> None:
    mean, variance = cash_moments(np.array([9.9e3, 1e6]))
    np.testing.assert_allclose(mean, 1, atol=1e-4)
    np.testing.assert_allclose(variance, 2, atol=1e-3)


def test_data_of_the_model_are_described_as_often_as_they_should() -> None:
    rng = np.random.default_rng(8)
    found = [diagnose(result(rng.poisson(MODEL).astype(float)), fwhm=widths) for _ in range(60)]
    sigma = np.array([d.spectra[0].sigma for d in found])
    # nothing was fitted, so two parameters' worth (0.13 sigma) stays: mean 0.13 + 4/sqrt(60), spread 1 + 4/sqrt(120)
    assert abs(sigma.mean() - 0.13) < 0.52
    assert 0.64 < sigma.std() < 1.36
    lines = np.array([d.spectra[0].line.p_value for d in found])
    # uniform p-values: below 0.5 come 30 +- 3.9
    assert 14 <= (lines < 0.5).sum() <= 46
    # three tests at 1 %, of 60 spectra 1.8 expected: more than 8 have a chance of 1e-4
    assert sum(bool(d.complaints) for d in found) <= 8


def test_a_missing_line_is_found_where_it_is() -> None:
    data = np.random.default_rng(3).poisson(with_line(90.0)).astype(float)
    line = diagnose(result(data), fwhm=widths).spectra[0].line
    assert line.energy == pytest.approx(3.0, abs=0.1)  # the bins are 0.07 keV wide there
    assert line.counts == pytest.approx(90, abs=4 * line.counts_err)
    assert line.p_value < 0.002
    assert "emission line may be missing" in str(diagnose(result(data), fwhm=widths))


def test_trials_are_corrected_for() -> None:
    rng = np.random.default_rng(6)
    data = rng.poisson(MODEL).astype(float)
    line = find_line(ENERGIES, data, MODEL, MODEL, rng.poisson(MODEL, (2000, len(MODEL))).astype(float), widths)
    from scipy.stats import norm

    # the largest of some hundred residuals is worth less than it is at its own place
    assert line.p_value > 5 * 2 * norm.sf(abs(line.local))


def test_a_wrong_slope_and_wrong_errors_are_called_bad_fits() -> None:
    rng = np.random.default_rng(5)
    slope = diagnose(result(rng.poisson(MODEL * CENTRE**0.3).astype(float)), fwhm=widths).spectra[0]
    assert slope.qq_p < 0.01
    assert any("wrong energies" in text for text in slope.complaints)
    wild = diagnose(result(rng.normal(MODEL, 1.6 * np.sqrt(MODEL)), "chi"), fwhm=widths).spectra[0]
    assert wild.sigma > 5
    assert wild.predictive_p < 0.01


def with_background(rng: np.random.Generator, model: np.ndarray, ratio: float = 0.25, expected: float = 3.0) -> Result:
    """A run on W: `expected` background counts a bin in the background region, `ratio` of them in the source's."""
    recorded = rng.poisson(expected, MODEL.size).astype(float)
    data = rng.poisson(model + ratio * expected).astype(float)
    found = result(data, background=ratio * recorded)
    spectrum = found.predictive_data[0]
    spectrum.background_ratio = np.full(MODEL.size, ratio)
    spectrum.total = spectrum.total + spectrum.background
    return found


def test_data_of_the_model_under_w_are_described_as_often_as_they_should() -> None:
    rng = np.random.default_rng(9)
    judged = [diagnose(with_background(rng, MODEL), fwhm=widths).spectra[0] for _ in range(40)]
    assert judged[0].statistic == "wstat"
    sigma = np.array([s.sigma for s in judged])
    # mean 0.13 (two parameters that were not fitted) + 4/sqrt(40), spread 1 + 4/sqrt(80)
    assert abs(sigma.mean() - 0.13) < 0.63
    assert 0.55 < sigma.std() < 1.45
    for key in ("predictive_p", "qq_p"):
        # uniform p-values: below 0.5 come 20 +- 3.2
        assert 7 <= sum(getattr(s, key) < 0.5 for s in judged) <= 33
    assert 7 <= sum(s.line.p_value < 0.5 for s in judged) <= 33


def test_faults_under_w_are_found() -> None:
    rng = np.random.default_rng(10)
    line = diagnose(with_background(rng, with_line(90.0), expected=120.0), fwhm=widths).spectra[0].line
    assert line.energy == pytest.approx(3.0, abs=0.1)
    assert line.counts == pytest.approx(90, abs=4 * line.counts_err)  # not the 30 background counts of each bin
    assert line.p_value < 0.002
    slope = diagnose(with_background(rng, MODEL * CENTRE**0.4), fwhm=widths).spectra[0]
    assert slope.qq_p < 0.01
    assert slope.sigma > 3


def test_what_cannot_be_judged_is_said() -> None:
    found = diagnose(result(MODEL.round(), background=0.1 * MODEL))
    assert found.spectra == []
    assert "earlier version" in found.notes[0]
    assert "pgstat" in diagnose(result(MODEL.round(), "pgstat", background=0.1 * MODEL)).notes[0]
    flagged = diagnose(result(MODEL.round(), emulator={"rre": 0.3, "rre_limit": 0.2, "rma": 0.1, "rma_limit": 0.2}))
    assert len(flagged.outlying) == 1
    assert "RRE" in flagged.outlying[0]


def test_the_response_gives_the_width(tmp_path: Path) -> None:
    from small_session import write_response

    from xspec_sixsa.embedded.ogip import read_rmf

    write_response(tmp_path)
    # a Gaussian of 120 eV: full width 0.283 keV, in channels of 0.02-0.6 keV of which only whole ones are counted
    found = response_fwhm(read_rmf(str(tmp_path / "small.rmf")))(np.array([0.7, 1.0, 2.0]))
    np.testing.assert_allclose(found, 0.283, atol=0.12)


def test_the_shell_says_it_and_exits_with_3(tmp_path: Path) -> None:
    result(np.random.default_rng(3).poisson(with_line(150.0)).astype(float)).save(tmp_path)
    ran = CliRunner().invoke(main, ["diagnose", str(tmp_path)])
    assert ran.exit_code == 3, ran.output
    assert "NOT DESCRIBED" in ran.output
    assert (tmp_path / "diagnosis.json").is_file()
    assert (tmp_path / "qq_1.png").stat().st_size > 10_000


def test_the_answer_is_the_same_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, elsewhere, run = tmp_path / "data", tmp_path / "elsewhere", tmp_path / "runs" / "one"
    for folder in (data, elsewhere, run):
        folder.mkdir(parents=True)
    rmf, _ = make_response()
    write_rmf(data / "a.rmf", rmf)
    (run / "session.xcm").write_text(f"data 1:1 {data}/a.pha\nresponse 1:1 {data}/a.rmf\n")
    counts = np.random.default_rng(3).poisson(MODEL).astype(float)
    judged = result(counts, fingerprint={"spectra": [{"responses": {"1": ["a.rmf", ""]}}]})
    judged.save(run)
    by_bins = diagnose(result(counts)).spectra[0].line
    found = []
    for folder in (data, elsewhere):
        monkeypatch.chdir(folder)
        found.append(diagnose(Result.load(run)).spectra[0].line)
    assert found[0] == found[1] != by_bins
    # moved together, the data are found beside the run
    (data / "a.rmf").rename(run / "a.rmf")
    assert diagnose(Result.load(run)).spectra[0].line == found[0]
