"""Ln p of each bin under each posterior draw: normalised, and that of the fit statistic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from xspec_sixsa.products.pointwise import log_predictive
from xspec_sixsa.result import SpectrumPredictive


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


def test_over_all_counts_the_probabilities_sum_to_one() -> None:
    counts = np.arange(60.0)
    spectrum = SpectrumPredictive("a", np.zeros((60, 2)), 1.0, counts, np.ones(60), None, np.full((1, 60), 7.3))
    assert abs(np.exp(log_predictive(spectrum)).sum() - 1) < 1e-12
    # known background: of all counts, background included
    spectrum = replace(spectrum, statistic="pstat", background=np.full(60, 2.0))
    assert abs(np.exp(log_predictive(spectrum)).sum() - 1) < 1e-12
