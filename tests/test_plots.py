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

from xspec_sixsa import plots

SIGNATURES = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_every_picture_is_written_in_the_format_of_its_suffix(tmp_path: Path, kind: str) -> None:
    made = plots.plot_all(gaussian_result(), tmp_path, suffix=kind)
    assert [p.name for p in made] == [f"corner.{kind}", f"predictive.{kind}", f"rounds.{kind}"]
    for path in made:
        assert path.read_bytes().startswith(SIGNATURES[kind])
        assert path.stat().st_size > 5000  # an empty page is smaller
    assert len(list(tmp_path.iterdir())) == 3


def test_corner_draws_truth_and_overlays(tmp_path: Path) -> None:
    result = gaussian_result()
    plain = result.corner(tmp_path / "plain.svg").read_text()
    overlay = MEAN + SD * np.random.default_rng(0).standard_normal((500, 3))
    full = result.corner(
        tmp_path / "full.svg", truth=dict(zip(result.names, MEAN, strict=True)), overlays={"BXA": (overlay, None)}
    ).read_text()
    assert plots.ORANGE.lower() in full and plots.ORANGE.lower() not in plain
    assert "<!-- truth -->" in full and "<!-- BXA -->" in full


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
    residual, _ = plots._residuals(spectrum, median)
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
    assert [p.name for p in made] == ["corner.png", "rounds.png"]
    assert "predictive.png could not be drawn" in caplog.text
    assert len(list(tmp_path.iterdir())) == 2


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
from xspec_sixsa.plots import plot_all
assert len(plot_all(gaussian_result(), {str(tmp_path)!r})) == 3
assert dict(mpl.rcParams) == before and plt.get_fignums() == figures and mpl.get_backend() == "svg"
"""
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True)
