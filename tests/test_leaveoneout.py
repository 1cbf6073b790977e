"""Leave-one-out predictions: against exact ones, and against ArviZ's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xspec_sixsa.compare.leaveoneout import leave_one_out

SHAPE, RATE = 2.0, 0.5  # of the gamma prior of a rate


def rate_posterior(
    counts: np.ndarray, exposure: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ln p (draws, bins) of counts at one rate, the rate's draws, and the exact leave-one-out ln p of each bin."""
    a, b = SHAPE + counts.sum(), RATE + exposure.sum()
    rate = np.random.default_rng(seed).gamma(a, 1 / b, draws)
    # the rate without a bin is gamma, too: its prediction is negative binomial
    exact = stats.nbinom.logpmf(counts, a - counts, (b - exposure) / b)
    return stats.poisson.logpmf(counts, rate[:, None] * exposure), rate, exact


@pytest.fixture
def spectrum() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    exposure = rng.uniform(0.2, 3.0, 30)
    return rng.poisson(3.0 * exposure).astype(float), exposure


def test_each_bin_is_predicted_as_by_the_exact_posterior_of_the_others(spectrum: tuple[np.ndarray, np.ndarray]) -> None:
    log_p, _, exact = rate_posterior(*spectrum, draws=4000, seed=0)
    found = leave_one_out(log_p)
    # a bin's ln p varies by ~0.2 over the posterior: 0.003 from 4,000 draws, and 4 of that
    np.testing.assert_allclose(found.elpd, exact, atol=0.012)
    assert abs(found.elpd.sum() - exact.sum()) < 4 * found.monte_carlo_err < 0.15
    assert not found.doubtful.any() and found.limit == pytest.approx(0.7)
    assert found.p.sum() == pytest.approx(1, abs=0.5)  # one rate; by these data's scatter about it


def test_the_monte_carlo_error_is_the_scatter_over_sets_of_draws(spectrum: tuple[np.ndarray, np.ndarray]) -> None:
    sets = [leave_one_out(rate_posterior(*spectrum, draws=200, seed=seed)[0]) for seed in range(100)]
    scatter = np.std([found.elpd.sum() for found in sets], ddof=1)
    # 7 % from 100 sets, three times
    assert np.mean([found.monte_carlo_err for found in sets]) == pytest.approx(scatter, rel=0.21)


def test_draws_that_came_twice_are_worth_what_they_were_drawn_from(spectrum: tuple[np.ndarray, np.ndarray]) -> None:
    log_p = rate_posterior(*spectrum, draws=200, seed=0)[0]
    once, twice = leave_one_out(log_p), leave_one_out(np.repeat(log_p, 2, axis=0), 200.0)
    assert twice.limit == once.limit and twice.draws == 200
    assert twice.monte_carlo_err == pytest.approx(once.monte_carlo_err, rel=0.05)  # their tails are cut elsewhere


def test_gaussian_bins_are_predicted_exactly() -> None:
    y = np.random.default_rng(4).normal(size=40)
    draws = y.mean() + np.random.default_rng(5).normal(size=4000) / np.sqrt(y.size)
    left_out = (y.sum() - y) / (y.size - 1)
    exact = stats.norm.logpdf(y, left_out, np.sqrt(1 + 1 / (y.size - 1)))
    # as above; ln p varies by |y - mean| / sqrt(40), 0.4 at most
    np.testing.assert_allclose(leave_one_out(stats.norm.logpdf(y, draws[:, None], 1.0)).elpd, exact, atol=0.025)


def test_a_bin_that_the_others_do_not_foresee_is_doubtful() -> None:
    counts = np.append(np.random.default_rng(6).poisson(3.0, 20), 40.0)
    found = leave_one_out(rate_posterior(counts, np.ones(21), draws=1000, seed=1)[0])
    assert found.limit == pytest.approx(1 - 1 / 3)
    assert found.doubtful.tolist() == [False] * 20 + [True]


def test_a_bin_without_influence_keeps_its_probability() -> None:
    found = leave_one_out(np.full((200, 1), -1.5))
    assert found.elpd == pytest.approx([-1.5]) and found.p == pytest.approx([0]) and not found.doubtful.any()


@pytest.mark.parametrize("draws", [100, 900])  # tails of whole numbers of draws: ArviZ rounded up, and down since 1.0
def test_arviz_agrees(spectrum: tuple[np.ndarray, np.ndarray], draws: int) -> None:
    arviz = pytest.importorskip("arviz")
    counts, exposure = spectrum
    counts[0] = 40.0  # an influential one, with a heavy tail
    log_p, rate, _ = rate_posterior(counts, exposure, draws, seed=2)
    log_p[10:30] = log_p[:20]  # draws that come twice, as resampled ones do
    groups = {"posterior": {"rate": rate[None]}, "log_likelihood": {"counts": log_p[None]}}
    data = arviz.from_dict(groups) if int(arviz.__version__.split(".")[0]) >= 1 else arviz.from_dict(**groups)
    theirs, ours = arviz.loo(data, pointwise=True, reff=1.0), leave_one_out(log_p)
    # the same algorithm: rounding only
    np.testing.assert_allclose(ours.k, theirs.pareto_k, atol=1e-9)
    np.testing.assert_allclose(ours.elpd, theirs.loo_i if hasattr(theirs, "loo_i") else theirs.elpd_i, atol=1e-9)
    assert ours.limit == pytest.approx(theirs.good_k)
