"""Pictures come in the format asked for, with right numbers, and leave matplotlib's global state alone."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_result import MEAN, SD, gaussian_result, spectrum_predictive

from xspec_sixsa.products import plots
from xspec_sixsa.products.plots.spectrum import residuals
from xspec_sixsa.products.plots.style import ORANGE, PURPLE

SIGNATURES = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_every_picture_is_written_in_the_format_of_its_suffix(tmp_path: Path, kind: str) -> None:
    made = plots.plot_all(gaussian_result(), tmp_path, suffix=kind)
    assert [p.stem for p in made] == ["corner", "predictive", "rounds", "weights", "cost"]
    for path in made:
        assert path.read_bytes().startswith(SIGNATURES[kind])
        assert path.stat().st_size > 5000  # an empty page is smaller
    assert {p.name for p in tmp_path.iterdir()} == {f"{p.stem}.{kind}" for p in made}


def test_corner_draws_truth_and_overlays(tmp_path: Path) -> None:
    result = gaussian_result()
    plain = result.corner(tmp_path / "plain.svg").read_text()
    overlay = MEAN + SD * np.random.default_rng(0).standard_normal((500, 3))
    result.network_data = {"marginals_draws": overlay}
    full = result.corner(
        tmp_path / "full.svg", truth=dict(zip(result.names, MEAN, strict=True)), overlays={"BXA": (overlay, None)}
    ).read_text()
    assert ORANGE.lower() in full and ORANGE.lower() not in plain
    assert "<!-- truth -->" in full and "<!-- BXA -->" in full
    # what a network learned is a dotted line in every marginal, and in the legend
    assert full.count(f"stroke: {PURPLE.lower()}") == 3 + 1 and PURPLE.lower() not in plain


def test_corner_of_few_surviving_draws_says_that_the_run_is_unreliable(tmp_path: Path) -> None:
    result = gaussian_result(status="unreliable", reasons=["k-hat 0.83 > 0.70"])
    result.log_weights[3:] = -np.inf
    assert "<!-- UNRELIABLE: k-hat 0.83 &gt; 0.70" in result.corner(tmp_path / "corner.svg").read_text()


def test_several_spectra_and_gaps_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = spectrum_predictive(rng), spectrum_predictive(rng)
    keep = np.r_[0:20, 30:60]
    second = replace(
        second,
        name="mos.pha",
        statistic="chi",
        background=None,
        energies=second.energies[keep],
        counts=second.counts[keep],
        counts_error=second.counts_error[keep],
        total=second.total[:, keep],
        components={name: curve[:, keep] for name, curve in second.components.items()},
    )
    text = gaussian_result(predictive_data=[first, second]).predictive(tmp_path / "p.svg").read_text()
    assert "<!-- pn.pha -->" in text and "<!-- mos.pha -->" in text


def test_residuals_are_standard_normal_for_counts_drawn_from_the_model() -> None:
    rng = np.random.default_rng(5)
    spectrum = spectrum_predictive(rng, bins=4000)
    median = np.full(4000, 25.0)
    spectrum.counts = rng.poisson(median).astype(float)
    residual, _ = residuals(spectrum, median)
    # The root deviance of a Poisson variable has mean -1/(6 sqrt(m)) = -0.03 and variance 1 + O(1/m); standard errors
    # of mean and spread are 0.016 and 0.011 with 4,000 bins: four of them each.
    assert residual.mean() == pytest.approx(-1 / (6 * 5), abs=0.064)
    assert residual.std() == pytest.approx(1, abs=0.044)


def test_a_picture_that_cannot_be_drawn_is_logged_and_the_others_are_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = spectrum_predictive(np.random.default_rng(0))
    broken.total = broken.total[:, :3]
    with caplog.at_level(logging.WARNING):
        made = plots.plot_all(gaussian_result(predictive_data=[broken]), tmp_path)
    assert [p.name for p in made] == ["corner.png", "rounds.png", "weights.png", "cost.png"]
    assert "predictive.png could not be made" in caplog.text
    assert len(list(tmp_path.iterdir())) == 4


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg"):
        gaussian_result().corner(tmp_path / "corner.bmp")


def test_the_users_backend_style_and_figures_are_left_alone(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import matplotlib as mpl; mpl.use("svg")
import matplotlib.pyplot as plt
plt.plot([1, 2]); before = dict(mpl.rcParams); figures = plt.get_fignums()
from test_result import gaussian_result
from xspec_sixsa.products.report import illustrate
assert len(illustrate(gaussian_result(), {str(tmp_path)!r})) == 6
assert dict(mpl.rcParams) == before and plt.get_fignums() == figures and mpl.get_backend() == "svg"
"""
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True)


def test_weights_name_effective_draws_those_of_no_weight_the_tail_and_the_evidence(tmp_path: Path) -> None:
    result = gaussian_result()
    result.log_weights[:200] = -np.inf
    text = plots.weights_plot(result, tmp_path / "w.svg").read_text()
    assert f"{result.ess:.0f} effective of 4000 draws; 5.0 % weigh nothing" in text
    assert "tail of k-hat = 0.21" in text and "limit: k-hat = 0.7" in text
    assert "-66.610" in text
    result.log_weights[:] = -np.inf
    with pytest.raises(ValueError, match="no weights to draw"):
        plots.weights_plot(result, tmp_path / "none.svg")


def test_cost_counts_what_was_spent_before_the_last_draw_and_not_after(tmp_path: Path) -> None:
    spent = {"round 1": 500, "final": 1000, "final 2": 4000, "components": 60, "flux": 700}
    text = plots.cost_plot(gaussian_result(evaluations=spent), tmp_path / "c.svg").read_text()
    assert "effective samples after 5500 evaluations" in text


def test_coverage_says_how_many_simulated_spectra_are_fainter(tmp_path: Path) -> None:
    edges = np.geomspace(0.5, 10, 21)
    energies = np.column_stack([edges[:-1], edges[1:]])
    simulated = np.random.default_rng(0).poisson(np.linspace(5, 15, 200)[:, None] * np.ones(20))
    observed = np.full(20, 12.5)  # at three quarters of the range: Poisson totals of 100-300 are within 10 of it
    text = plots.plot_coverage(simulated, observed, energies, tmp_path / "c.svg").read_text()
    fainter = 100 * (simulated.sum(axis=1) < 250).mean()
    assert 65 < fainter < 85 and f"{fainter:.0f} % have fewer counts, {100 - fainter:.0f} % more" in text
    with pytest.raises(ValueError, match=r"energies has shape \(19, 2\); it must be \(20, 2\)"):
        plots.plot_coverage(simulated, observed, energies[1:], tmp_path / "bad.svg")


def test_latents_show_where_the_observation_is_an_outlier(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    latents, observed = rng.standard_normal((500, 30)), np.zeros(30)
    observed[[2, 17]] = 9.0
    text = plots.plot_latents(latents, observed, tmp_path / "l.svg", test=latents[:50]).read_text()
    assert "outside all training spectra in 2 of 30" in text and "12 farthest out shown" in text
    assert "<!-- latent 3 -->" in text and "<!-- latent 18 -->" in text
    assert text.count("<!-- latent") == 12


def test_reconstruction_gives_both_statistics_and_an_example(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    model, again = rng.normal(100, 14, 2000), rng.normal(95, 14, 2000)
    edges = np.geomspace(0.5, 10, 11)
    example = (np.column_stack([edges[:-1], edges[1:]]), rng.poisson(20.0, 10), np.full(10, 20.0), np.full(10, 21.0))
    text = plots.plot_reconstruction(model, again, tmp_path / "r.svg", example=example).read_text()
    assert f"{model.mean():.1f}" in text and f"{again.mean():.1f}" in text
    assert "its reconstruction" in text and "spectra of 2000" in text


def test_retriever_names_insensitive_parameters_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    true = np.column_stack([rng.uniform(0, 1, 600), 10 ** rng.uniform(-5, -2, 600), rng.uniform(0, 1, 600)])
    predicted = true * np.array([1.0, 2.0, 0.0]) + np.array([0.1, 0.0, 0.5]) + 1e-9 * rng.standard_normal((600, 3))
    text = plots.plot_retriever(
        true, predicted, ["nH", "norm", "kT"], tmp_path / "p.svg", units=["10^22", "", "keV"], logarithmic=[0, 1, 0]
    ).read_text()
    assert text.count("insensitive") == 1  # in the third panel, that of kT
    assert text.index("<!-- norm -->") < text.index("insensitive") < text.index("kT (keV)")
    assert "bias 0.1, scatter" in text and "bias 0.3, scatter" in text  # log10(2) = 0.30 dex


def test_emulator_errors_have_their_mean_spread_and_limit(tmp_path: Path) -> None:
    errors = np.r_[np.random.default_rng(4).normal(0.05, 0.2, 2000), np.nan, 40.0]
    text = plots.plot_emulator_errors(errors, tmp_path / "e.svg", limit=0.3).read_text()
    finite = errors[np.isfinite(errors)]
    assert f"mean {finite.mean():.3g}" in text and f"standard deviation {finite.std():.3g}" in text
    assert "limit 0.3" in text and "evaluations of 2001" in text and "farther out, in the end bins" in text
    with pytest.raises(ValueError, match="None of the 1 errors is finite"):
        plots.plot_emulator_errors([np.nan], tmp_path / "none.svg")


def test_rounds_show_what_a_searchs_steps_were_worth(tmp_path: Path) -> None:
    result = gaussian_result()
    plain = result.rounds_plot(tmp_path / "plain.svg").read_text()
    assert "<!-- effective sample size -->" in plain and "emulator" not in plain
    for step, r in enumerate(result.rounds):
        del r["ess"]
        r |= {"error": 10.0 ** (1 - step), "power": 10.0 ** (step - 2)}
    text = result.rounds_plot(tmp_path / "search.svg").read_text()
    assert "emulator's error in ln L" in text.replace("&#39;", "'") and "power of the likelihood" in text
    assert "effective sample size" not in text
    assert "rounds, each by its own proposal" not in plots.cost_plot(result, tmp_path / "cost.svg").read_text()
