"""The result: weighted statistics, files, exports."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from xspec_sixsa.compare.leaveoneout import leave_one_out
from xspec_sixsa.result import Result, SpectrumPredictive, weighted_quantile

MEAN = np.array([0.1, 0.75, 2.6e-4])
SD = np.array([0.01, 0.05, 1e-5])


def gaussian_result(n: int = 4000, seed: int = 1, **changes: object) -> Result:
    """An exact importance-sampled Gaussian posterior: drawn twice as wide as it is, with the right weights."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.standard_normal((n, 3))
    log_likelihood = -0.5 * np.sum(z**2, axis=1)
    log_proposal = -0.5 * np.sum((z / 2) ** 2, axis=1) - 3 * np.log(2)
    log_weights = log_likelihood - log_proposal
    w = np.exp(log_weights)
    fields = dict(
        names=["nH__1", "kT__2", "norm__5"],
        labels=["TBabs nH", "bbodyrad kT", "powerlaw norm"],
        units=["10^22", "keV", ""],
        samples=MEAN + SD * z,
        log_weights=log_weights,
        log_likelihood=log_likelihood,
        log_proposal=log_proposal,
        log_z=-66.61,
        log_z_err=0.02,
        ess=float(w.sum() ** 2 / (w**2).sum()),
        k_hat=0.21,
        evaluations={"prior": 500, "importance": n},
        seconds={"simulation": 3.2, "training": 10.0},
        status="reliable",
        reasons=[],
        best_fit=MEAN,
        best_statistic=95.85,
        seed=7,
        versions={"xspec_sixsa": "0.1.0"},
        fingerprint={"model": "TBabs*(bbodyrad+powerlaw)", "exposures": np.array([20265.0]), "file": Path("a.pha")},
        rounds=[
            {
                "round": i,
                "evaluations": 500,
                "ess": 10.0 * 4**i,
                "efficiency": 0.02 * 4**i,
                "samples": MEAN + SD * rng.standard_normal((400, 3)) * (4 - i),
                "training": {"npe": {"train": list(5 - np.arange(8) / 4), "validation": list(5.2 - np.arange(8) / 5)}},
            }
            for i in range(3)
        ],
        predictive_data=[spectrum_predictive(rng)],
    )
    return Result(**{**fields, **changes})


def spectrum_predictive(rng: np.random.Generator, bins: int = 60, draws: int = 50) -> SpectrumPredictive:
    edges = np.geomspace(0.5, 10, bins + 1)
    shape = np.diff(edges) * 400 * edges[:-1] ** -1.5
    power = shape * (1 + 0.02 * rng.standard_normal((draws, 1)))
    body = 0.3 * shape.max() * np.exp(-0.5 * ((np.log(edges[:-1]) - 0.5) / 0.4) ** 2) * np.ones((draws, 1))
    counts = rng.poisson((power + body).mean(axis=0)).astype(float)
    return SpectrumPredictive(
        name="pn.pha",
        energies=np.column_stack([edges[:-1], edges[1:]]),
        exposure=2e4,
        counts=counts,
        counts_error=np.sqrt(counts),
        background=np.full(bins, 1.5),
        total=power + body,
        components={"powerlaw": power, "bbodyrad": body},
    )


def test_weighted_quantile_of_equal_weights_is_numpys_midpoint_rule() -> None:
    values = np.random.default_rng(0).standard_normal(101)
    q = [0.05, 0.16, 0.5, 0.84, 0.95]
    expected = np.quantile(values, q, method="hazen")
    assert weighted_quantile(values, q, np.ones(101)) == pytest.approx(expected, abs=1e-12)


def test_weighted_quantile_counts_an_integer_weight_as_copies_in_the_limit() -> None:
    rng = np.random.default_rng(2)
    values, copies = rng.standard_normal(20000), rng.integers(0, 4, 20000)
    # A step of the cumulative weight is at most 3/30000 here, times 1/density(0.95 quantile) ~ 10: 1e-3.
    expected = np.quantile(np.repeat(values, copies), 0.95)
    assert weighted_quantile(values, 0.95, copies) == pytest.approx(expected, abs=1e-3)


def test_weighted_moments_recover_the_target_not_the_proposal() -> None:
    result = gaussian_result(40000)
    # 5 standard errors of a mean and of a variance at this effective sample size (about 11,000).
    assert np.abs((result.mean - MEAN) / SD).max() < 5 / np.sqrt(result.ess)
    assert result.sd == pytest.approx(SD, rel=5 / np.sqrt(2 * result.ess))
    assert result.interval(0.68) == pytest.approx(np.column_stack([MEAN - 0.9945 * SD, MEAN + 0.9945 * SD]), rel=0.02)


def test_credible_mass_is_the_chi_squared_content() -> None:
    result = gaussian_result(40000)
    assert result.credible_mass(result.mean) == 0
    # Chi-squared with 3 degrees of freedom holds 0.608 within d^2 = 3; 0.02 is 4 standard errors at ESS ~ 11,000.
    assert result.credible_mass(MEAN + SD) == pytest.approx(0.608, abs=0.02)
    assert result.credible_mass(MEAN + 10 * SD) == pytest.approx(1.0)


def test_resampled_draws_have_the_posteriors_moments_and_repeat_with_the_seed() -> None:
    result = gaussian_result(20000)
    draws = result.resample(5000)
    assert np.abs((draws.mean(axis=0) - MEAN) / SD).max() < 5 / np.sqrt(5000)  # 5 standard errors
    assert np.array_equal(draws, result.resample(5000))
    assert not np.array_equal(draws, result.resample(5000, rng=1))


def test_draws_of_zero_weight_are_never_resampled() -> None:
    result = gaussian_result()
    result.log_weights[::2] = -np.inf
    assert (result.resample(3000, return_index=True) % 2 == 1).all()


def test_saved_result_loads_identically_and_holds_no_pickle(tmp_path: Path) -> None:
    result = gaussian_result()
    result.save(tmp_path / "run")
    again = Result.load(tmp_path / "run")
    for key in ("samples", "log_weights", "log_likelihood", "log_proposal", "best_fit"):
        assert np.array_equal(getattr(again, key), getattr(result, key)), key
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert json.loads(json.dumps(again.as_dict())) == stored
    assert stored["parameters"]["kT__2"]["interval_68"] == list(result.interval(0.68)[1])
    assert stored["fingerprint"] == {"model": "TBabs*(bbodyrad+powerlaw)", "exposures": [20265.0], "file": "a.pha"}
    assert np.array_equal(again.rounds[2]["samples"], result.rounds[2]["samples"])
    assert np.array_equal(again.predictive_data[0].counts, result.predictive_data[0].counts)
    # Stored as 32-bit floats: 6e-8 relative.
    assert again.predictive_data[0].components["bbodyrad"] == pytest.approx(
        result.predictive_data[0].components["bbodyrad"], rel=1e-7
    )
    assert again.summary() == result.summary()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "posterior.npz", "predictive.npz", "rounds.npz", "summary.json",
    ]  # fmt: skip


def test_a_failed_run_can_be_saved_read_and_summarised(tmp_path: Path) -> None:
    n = 10
    result = gaussian_result(
        n,
        log_weights=np.full(n, -np.inf),
        log_likelihood=np.full(n, -np.inf),
        log_z=-np.inf,
        log_z_err=np.nan,
        ess=0.0,
        k_hat=np.inf,
        status="unreliable",
        reasons=["interrupted"],
    )
    result.save(tmp_path)
    again = Result.load(tmp_path)
    assert again.log_z == -np.inf and np.isnan(again.log_z_err) and again.k_hat == np.inf
    assert again.summary().startswith("UNRELIABLE: interrupted")
    with pytest.raises(ValueError, match="interrupted"):
        again.resample(5)


def test_summary_puts_the_verdict_first_and_shows_xspecs_names() -> None:
    text = gaussian_result().summary()
    assert text.splitlines()[0] == "RELIABLE"
    row = next(line for line in text.splitlines() if "TBabs nH" in line)
    assert "nH__1" in row and "10^22" in row
    assert "4500" in text and "importance 4000" in text


def test_load_says_what_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="summary.json is missing"):
        Result.load(tmp_path)
    gaussian_result().save(tmp_path)
    (tmp_path / "posterior.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match=r"posterior\.npz is damaged"):
        Result.load(tmp_path)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="log_weights"):
        gaussian_result(log_weights=np.zeros(3))
    with pytest.raises(ValueError, match="units has 1 entries"):
        replace(gaussian_result(), units=["keV"])


def test_the_rows_behind_the_spectra_are_kept_and_checked(tmp_path: Path) -> None:
    result = pointwise_result()
    result.save(tmp_path / "run")
    assert np.array_equal(Result.load(tmp_path / "run").predictive_index, result.predictive_index)
    gaussian_result().save(tmp_path / "run")  # where they are unknown, as in earlier versions
    assert Result.load(tmp_path / "run").predictive_index.size == 0
    for wrong, words in (
        (np.arange(49), "49 rows, but pn.pha has 50"),
        (np.arange(50) + 3990, "3990 to 4039; there are 4000"),
        (np.arange(50) - 1, "-1 to 48"),
        (np.arange(50.0), "float64"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(result, predictive_index=wrong)
        late = pointwise_result()
        late.predictive_index = wrong
        with pytest.raises(ValueError, match=words):
            late.save(tmp_path / "late")
    assert not (tmp_path / "late").exists()


def test_a_notebook_shows_verdict_reasons_table_and_numbers() -> None:
    result = gaussian_result()
    page = checked_html(result._repr_html_())
    assert page.index("RELIABLE") < page.index("TBabs nH") and "UNRELIABLE" not in page
    # the same cells as the table of text has
    rows = [line.split("  ") for line in result.summary().splitlines() if "(nH__1)" in line]
    assert all(cell.strip() in page for cell in rows[0][1:] if cell)
    for text in ("nH__1", "10^22", "-66.610 +- 0.020", "k-hat 0.21", "importance 4000"):
        assert text in page, text
    bad = checked_html(gaussian_result(status="unreliable", reasons=["k-hat 0.9 > 0.7", "stopped"])._repr_html_())
    assert bad.index("UNRELIABLE") < bad.index("k-hat 0.9 > 0.7") < bad.index("stopped") < bad.index("TBabs nH")


def test_a_notebook_runs_nothing_that_names_and_files_say(tmp_path: Path) -> None:
    evil = "<script>alert('1')</script>"
    priors = {"priors": {"priors": [{"parameters": [evil], "kind": "uniform", "low": MEAN[0], "high": 1.0}]}}
    result = gaussian_result(
        names=[evil, "b", "c"], labels=[evil, "<b>b", "c&c"], units=[evil, "keV", ""], reasons=[evil],
        fingerprint=priors, evaluations={evil: 1}, output=tmp_path / evil.replace("/", ""),
    )  # fmt: skip
    result.log_weights[result.samples[:, 0] < MEAN[0]] = -np.inf  # cut by its prior, which is noted under its name
    page = result._repr_html_()
    text = checked_html(page)
    assert len(result.prior_edges) == 1 and str(result.prior_edges[0]) in text
    assert text.count(evil) >= 6 and "<b>b" in text and "c&c" in text
    failed = gaussian_result(labels=[evil, "b", "c"], log_weights=np.full(4000, -np.inf), status="unreliable")
    assert evil in checked_html(failed._repr_html_())


def checked_html(page: str) -> str:
    """The page's text; it must be well formed, of plain elements only, and load nothing."""
    parser = Plain()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return "\n".join(parser.text)


class Plain(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"div", "p", "span", "ul", "li", "table", "tr", "th", "td"}, tag
        assert {key for key, _ in attrs} <= {"style"}
        assert "url(" not in "".join(value or "" for _, value in attrs)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_pandas_frame_carries_weights_and_units() -> None:
    pytest.importorskip("pandas")
    result = gaussian_result()
    frame = result.to_pandas()
    assert list(frame.columns[:3]) == result.names
    assert (frame["nH__1"] * frame["weight"]).sum() == pytest.approx(result.mean[0])
    assert frame.attrs["units"]["kT__2"] == "keV"


def test_arviz_gets_equal_weight_draws() -> None:
    arviz = pytest.importorskip("arviz")
    result = gaussian_result(20000)
    data = result.to_arviz(4000)
    assert data["posterior"]["kT__2"].shape == (1, 4000)
    table = arviz.summary(data, var_names=["kT__2"])
    assert float(table["mean"].iloc[0]) == pytest.approx(MEAN[1], abs=0.005)  # 5 standard errors
    assert data["posterior"].attrs["log_z"] == result.log_z


def pointwise_result(spectra: int = 1, name: str = "pn.pha", **changes: object) -> Result:
    """A result that knows which draws its spectra were made from."""
    rng = np.random.default_rng(3)
    sizes = [60 - 5 * i for i in range(spectra)]
    data = [replace(spectrum_predictive(rng, n), name=name, background_ratio=np.full(n, 0.5)) for n in sizes]
    result = gaussian_result(predictive_data=data, **changes)
    result.predictive_index = result.resample(50, 1, return_index=True)
    return result


def arviz_group(data: object, name: str) -> dict[str, np.ndarray]:
    return {str(key): values.values for key, values in data[name].data_vars.items()}


def test_arviz_gets_the_draws_of_the_spectra_and_what_loo_takes() -> None:
    arviz = pytest.importorskip("arviz")
    result = pointwise_result()
    data = result.to_arviz()
    assert arviz_group(data, "posterior")["kT__2"][0] == pytest.approx(result.samples[result.predictive_index, 1])
    assert arviz_group(data, "sample_stats")["lp"][0] == pytest.approx(result.log_likelihood[result.predictive_index])
    (log_p,) = result.log_predictive()
    assert data["log_likelihood"]["pn.pha"].dims == ("chain", "draw", "bin")
    assert arviz_group(data, "log_likelihood")["pn.pha"][0] == pytest.approx(log_p)
    assert arviz_group(data, "observed_data")["pn.pha"] == pytest.approx(result.predictive_data[0].counts)
    loo = arviz.loo(data, pointwise=True)
    found = loo.elpd_loo if hasattr(loo, "elpd_loo") else loo.elpd  # since 1.0
    assert found == pytest.approx(leave_one_out(log_p).elpd.sum(), abs=1e-6)
    assert len(arviz.compare({"one": data, "other": pointwise_result(seed=2).to_arviz()})) == 2


def test_arviz_can_have_one_of_several_spectra_or_all_in_one() -> None:
    arviz = pytest.importorskip("arviz")
    result = pointwise_result(2, name="folder/pn.pha")
    apart, joint = arviz_group(result.to_arviz(), "log_likelihood"), result.to_arviz(joint=True)
    assert {name: values.shape for name, values in apart.items()} == {"1:pn.pha": (1, 50, 60), "2:pn.pha": (1, 50, 55)}
    together = np.concatenate(list(apart.values()), axis=-1)
    assert arviz_group(joint, "log_likelihood")["counts"] == pytest.approx(together)
    assert np.isfinite(arviz.loo(joint).se)
    assert np.isfinite(arviz.loo(result.to_arviz(), var_name="2:pn.pha").se)


def test_arviz_gets_no_log_likelihood_where_there_is_none() -> None:
    pytest.importorskip("arviz")
    result = pointwise_result()
    pgstat = replace(result, predictive_data=[replace(result.predictive_data[0], statistic="pgstat")])
    for data in (gaussian_result().to_arviz(), pgstat.to_arviz(), result.to_arviz(round(result.ess))):
        assert "log_likelihood" not in data
        assert data["posterior"]["kT__2"].shape == (1, round(result.ess))


def test_getdist_gives_the_same_mean_and_limits() -> None:
    pytest.importorskip("getdist")
    result = gaussian_result(20000)
    samples = result.to_getdist()
    assert samples.mean("norm__5") == pytest.approx(result.mean[2])
    # GetDist's limits come from its own interpolation of the same weighted draws.
    assert samples.confidence("norm__5", 0.16) == pytest.approx(result.interval(0.68)[2, 0], abs=0.05 * SD[2])
