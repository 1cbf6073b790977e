"""A prior that cuts the posterior is named; one that the data do not constrain, or a bound far off, is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import gamma
from test_result import MEAN, SD, gaussian_result

from xspec_sixsa.priors import JointPrior, from_bxa
from xspec_sixsa.products.report import write_report
from xspec_sixsa.result import Result


def bounded(kind: str, low: float, high: float, **changes: Any) -> Result:
    """The Gaussian posterior of nH, 0.1 +- 0.01, within a prior's limits."""
    prior = {"parameters": ["nH__1"], "kind": kind, "low": low, "high": high}
    return cut(gaussian_result(fingerprint={"priors": {"priors": [prior]}}, **changes), low, high)


def cut(result: Result, low: float, high: float) -> Result:
    outside = (result.samples[:, 0] < low) | (result.samples[:, 0] > high)
    result.log_likelihood[outside] = result.log_weights[outside] = -np.inf
    return result


def flat(density: Any, kind: str, low: float, high: float, **fingerprint: Any) -> Result:
    """One parameter whose posterior over its prior's range, 0 to 1, has this density."""
    u = (np.arange(2000) + 0.5) / 2000
    log_likelihood = np.log(density(u))
    values = low + u * (high - low) if kind == "uniform" else low * (high / low) ** u
    prior = {"parameters": ["norm__5"], "kind": kind, "low": low, "high": high}
    w = density(u)
    return Result(
        names=["norm__5"], labels=["powerlaw norm"], units=[""], samples=values[:, None], log_weights=log_likelihood,
        log_likelihood=log_likelihood, log_proposal=np.zeros(2000), log_z=0.0, log_z_err=0.1,
        ess=w.sum() ** 2 / (w**2).sum(), k_hat=0.1, evaluations={}, seconds={}, status="reliable", reasons=[],
        best_fit=values[:1], best_statistic=1.0, fingerprint={"priors": {"priors": [prior]}} | fingerprint,
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high", "side"), [(0.0, 0.105, "upper"), (0.095, 1.0, "lower")])
def test_a_prior_that_ends_in_the_posterior_is_named(low: float, high: float, side: str) -> None:
    (edge,) = bounded("uniform", low, high).prior_edges
    assert (edge.name, edge.side, edge.limit) == ("nH__1", side, high if side == "upper" else low)
    normal = stats.norm(MEAN[0], SD[0])
    ends = (high - 0.02 * (high - low), high) if side == "upper" else (low, low + 0.02 * (high - low))
    expected = np.diff(normal.cdf(ends))[0] / np.diff(normal.cdf([low, high]))[0]
    # about 1,000 effective draws: three binomial standard errors
    assert edge.mass == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / 1000))
    assert ("Raise" if side == "upper" else "Lower") + " the limit" in str(edge)


def test_a_narrow_posterior_near_a_limit_is_not_cut() -> None:
    # 3 standard deviations from the limit, and wholly within 2 % of the range
    assert bounded("uniform", 0.07, 5.0).prior_edges == []
    assert bounded("loguniform", 0.01, 0.13).prior_edges == []


@pytest.mark.parametrize("slope", [0.0, 1.5, -1.5])
def test_a_parameter_that_the_data_hardly_constrain_fills_its_prior(slope: float) -> None:
    assert flat(lambda u: np.exp(slope * u), "uniform", 0.0, 0.5).prior_edges == []


def test_an_upper_limit_only_is_said_to_depend_on_the_prior() -> None:
    # a norm that is anything below a hundredth of the prior's upper limit
    (edge,) = flat(lambda u: np.exp(-((u / 0.25) ** 4)), "loguniform", 1e-6, 1e-2).prior_edges
    assert edge.side == "lower"
    assert edge.mass == pytest.approx(0.02 / (0.25 * gamma(1.25)), rel=0.01)  # of the logarithm's range
    assert "only give an upper limit" in str(edge)


def test_at_a_hard_limit_nobody_is_told_to_go_beyond() -> None:
    limits = {"limits": {"norm__5": [0.0, 1e24]}}
    (edge,) = flat(lambda u: np.exp(-u / 0.1), "uniform", 0.0, 0.5, **limits).prior_edges
    assert edge.hard
    assert "quote an upper limit" in str(edge) and "Lower the limit" not in str(edge)
    (edge,) = flat(lambda u: np.exp(-u / 0.1), "uniform", 0.1, 0.5, **limits).prior_edges
    assert not edge.hard


@pytest.mark.parametrize("logarithmic", [False, True])
def test_the_limits_of_bxa_s_transformations_are_found(logarithmic: bool) -> None:
    low, high = 0.01, 0.105

    def transform(u: Any) -> Any:
        return low * (high / low) ** u if logarithmic else low + u * (high - low)

    entry = {"model": None, "index": 1, "name": "nH", "transform": transform, "aftertransform": lambda x: x}
    (prior,) = from_bxa([entry])
    object.__setattr__(prior, "parameter", "nH__1")  # bound, without a session
    print_ = {"priors": JointPrior(["nH__1"], [prior]).to_dict()}
    (edge,) = cut(gaussian_result(fingerprint=print_), low, high).prior_edges
    assert edge.limit == pytest.approx(high)
    (same,) = bounded("loguniform" if logarithmic else "uniform", low, high).prior_edges
    assert edge.mass == pytest.approx(same.mass)


def test_it_is_shown_everywhere_and_leaves_the_verdict_alone(tmp_path: Path) -> None:
    result = bounded("uniform", 0.0, 0.105)
    words = "the posterior piles up at its prior's upper limit 0.105"
    assert words in " ".join(result.summary().split())
    assert result.summary().startswith("RELIABLE")
    page = write_report(result, tmp_path, []).read_text()
    assert page.index("RELIABLE") < page.index("piles up at its prior") < page.index("<h2>Parameters")
    found = result.diagnose()
    assert words in str(found) and not any("prior" in text for text in found.complaints)
    result.save(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["prior_edges"][0]["name"] == "nH__1"
    assert "Note:" not in bounded("uniform", 0.0, 0.5).summary()
