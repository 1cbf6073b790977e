from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xspec_sixsa.infer.importance import (
    Weights,
    effective_sample_size,
    log_evidence,
    negligible_share,
    pareto_k,
    unseen_share,
)


def test_equal_weights_are_all_effective() -> None:
    assert effective_sample_size(np.full(50, -700.0)) == pytest.approx(50)


def test_zero_weights_stay_in_the_count() -> None:
    log_weights = np.concatenate([np.zeros(30), np.full(70, -np.inf)])
    log_z, error = log_evidence(log_weights)
    assert effective_sample_size(log_weights) == pytest.approx(30)
    assert log_z == pytest.approx(np.log(0.3))
    assert error == pytest.approx(np.sqrt(70 / (100 * 30)))


def test_no_positive_weight_is_no_evidence() -> None:
    assert log_evidence(np.full(10, -np.inf)) == (-np.inf, np.inf)
    assert Weights(np.full(10, -np.inf), np.zeros(10, int)).ess == 0


def test_evidence_of_a_gaussian_is_unbiased_with_an_honest_error() -> None:
    # target: unnormalised normal of known integral; proposal: a wider one
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(200):
        x = rng.normal(0, 1.5, 500)
        w = Weights(np.log(7.0) + stats.norm.logpdf(x) - stats.norm.logpdf(x, 0, 1.5), np.arange(500) // 100)
        pulls.append((w.log_z - np.log(7.0)) / w.log_z_err)
    # 200 pulls: mean within 4/sqrt(200), spread within 4/sqrt(400) of 1, and some bias of log of a mean (< 0.05)
    assert abs(np.mean(pulls)) < 0.33
    assert 0.8 < np.std(pulls) < 1.2


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_pareto_k_finds_the_shape_of_a_pareto_tail(shape: float) -> None:
    w = stats.genpareto(shape).rvs(20000, random_state=1)
    # the tail has 424 weights; the estimate's standard error there is about (1 + k)/sqrt(424) < 0.1
    assert pareto_k(np.log(w)) == pytest.approx(shape, abs=0.25)


def test_pareto_k_of_few_draws_is_no_verdict() -> None:
    assert pareto_k(np.zeros(10)) == np.inf


def test_batches_that_disagree_are_noticed() -> None:
    rng = np.random.default_rng(0)
    same = rng.normal(0, 0.3, 400)
    batches = np.repeat([0, 1], 200)
    chi2, dof = Weights(same, batches).batch_chi2
    assert dof == 1 and stats.chi2.sf(chi2, dof) > 1e-3
    chi2, dof = Weights(same + 0.5 * batches, batches).batch_chi2
    assert stats.chi2.sf(chi2, dof) < 1e-3


@pytest.mark.parametrize("spread", [0.01, 0.3])
def test_nearly_equal_weights_have_no_tail_to_fear(spread: float) -> None:
    log_weights = spread * np.random.default_rng(11).standard_normal(1000)
    assert unseen_share(log_weights) < negligible_share(1000)


def test_a_few_larger_weights_among_nearly_equal_ones_are_taken_for_what_they_are() -> None:
    # as an emulated posterior's: nineteen of twenty draws agree within 5 %, the rest follow a tail that ends
    rng = np.random.default_rng(13)
    weights = np.exp(0.05 * rng.standard_normal((200, 1000)))
    rare = rng.random(weights.shape) < 0.05
    weights[rare] = 4 * rng.beta(1, 3, rare.sum())
    limit = negligible_share(1000)
    truth = [weights[weights > largest].sum() / weights.sum() for largest in weights.max(axis=1)]
    assert max(truth) < limit
    # fitted to the largest 95 weights, a tail would be feared in 84 % of the sets
    assert np.mean([unseen_share(np.log(row)) > limit for row in weights]) < 0.05


def test_a_heavy_tail_is_feared() -> None:
    weights = np.random.default_rng(12).pareto(1.1, 1000) + 1
    assert unseen_share(np.log(weights)) > 2 * negligible_share(1000)
