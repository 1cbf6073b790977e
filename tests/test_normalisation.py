"""The common normalisation: against brute force, at the prior's edges, with many counts, and when it does not apply."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import live
import numpy as np
import pytest
import toy
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

import xspec_sixsa as sixsa
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.emulatedproposal import RejectionProposal
from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.infer.normalisation import (
    Rays,
    check_conditions,
    check_linear,
    common_norm,
    log_gamma_integral,
    log_marginal,
    ray_weights,
)
from xspec_sixsa.infer.proposal import Mixture, StudentProposal, fit_flow
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session
from xspec_sixsa.session.norms import NoCommonScaleError

Vector = NDArray[np.float64]
COUNTS = toy.OBSERVED.sum()
DIRECTION = np.array([0.0, 1 / np.log(1000)])  # of the problem's norm: log-uniform from 3 to 3000


def log_midpoint(values: Vector, width: float | Vector) -> Vector:
    """Log of the integral of exp(values) (..., k) over `width`, by the midpoint rule."""
    return logsumexp(values, axis=-1) + np.log(width / values.shape[-1])


INTERVALS = [(-40, 30), (-2, 1), (0.5, 30), (-30, -3), (6, 40), (-60, -9), (1.0, 1.0001)]
TAILS = [(counts, interval) for counts in (1e4, 1e6) for interval in ((45, 60), (-60, -45))]


@pytest.mark.parametrize(("counts", "interval"), [*itertools.product([1.0, 40.0, 1e4, 1e6], INTERVALS), *TAILS])
def test_the_truncated_gamma_integral_is_the_integral(counts: float, interval: tuple[float, float]) -> None:
    """In the middle, cut by either edge, and where only a tail is left, far below what floating point can hold."""
    sigma = 1 / np.sqrt(counts)
    expected = counts * np.exp(0.7 * sigma)
    low, high = np.array(interval) * sigma - 0.7 * sigma
    found = log_gamma_integral(counts, np.array([expected]), np.array([low]), np.array([high]))[0]
    for _ in range(2):  # the second time only where there is something
        t = low + (np.arange(400000) + 0.5) / 400000 * (high - low)
        values = counts * t - expected * np.expm1(t)
        exact, step = log_midpoint(values, high - low), t[1] - t[0]
        low, high = t[values > values.max() - 50][[0, -1]] + np.array([-0.5, 0.5]) * step
    # the midpoint rule has (50/400000)^2/24 = 1e-9; incomplete gamma functions of 1e6 counts lose digits in their tails
    assert found == pytest.approx(exact, abs=1e-8 if counts < 1e6 else 2e-5)


def poisson_proposal(scale: float = 1.3, error: float = 0.05) -> Mixture:
    """As a run freezes it: an emulated posterior (with an emulator's error), a broad share, and a flow."""
    with Streams(3).torch("fit"):
        centre = np.array([[0.45, 0.5]]) + np.array([0.03, 0.012]) * np.random.default_rng(1).standard_normal((500, 2))
        weights = toy.log_likelihood(centre) - stats.norm([0.45, 0.5], [0.03, 0.012]).logpdf(centre).sum(axis=1)
        whitening = Whitening.of(centre, np.exp(weights - weights.max()))
        cover = StudentProposal(whitening, inflate=scale)

        def emulated(u: Vector) -> Vector:
            return toy.log_likelihood(u) + error * np.sin(40 * u).sum(axis=1)

        flow = fit_flow(centre, 0.0 * weights, steps=100)
        return Mixture([RejectionProposal(cover, emulated), StudentProposal(whitening), flow], [0.95, 0.04, 0.01])


@pytest.fixture(scope="module")
def frozen() -> Mixture:
    return poisson_proposal()


def draws(proposal: object, n: int, seed: int = 1) -> tuple[Vector, Vector, Vector]:
    """Points, their log L and expected counts."""
    with Streams(seed).torch("draw"):
        u = proposal.draw(n)
    return u, toy.log_likelihood(u), toy.expected_counts(u).sum(axis=1)


def test_a_rays_weight_is_the_targets_over_the_proposals_integral(frozen: Mixture) -> None:
    """Draws anywhere, also at the faces of the cube, and where the ray's posterior is cut by one."""
    u = np.concatenate([draws(frozen, 10)[0], [[0.45, 0.02], [0.6, 0.9999], [0.2, 1e-4], [0.02, 0.97], [0.98, 0.99]]])
    rays = Rays(u, DIRECTION)
    weights = ray_weights(
        rays, toy.log_likelihood(u), COUNTS, toy.expected_counts(u).sum(axis=1), frozen, np.zeros(len(u), int)
    )
    v = (np.arange(5000) + 0.5) / 5000
    for point, log_weight in zip(u, weights.log_weights, strict=True):
        line = np.column_stack([np.full(len(v), point[0]), v])
        exact = logsumexp(toy.log_likelihood(line)) - logsumexp(frozen.log_density(line))
        # the kinks of the emulated posterior's cap: see the next test
        assert log_weight == pytest.approx(exact, abs=0.01)


def scaled(proposal: Mixture, factor: float) -> tuple[Mixture, float]:
    """The emulated problem with so many times the counts, and how many that are."""
    broad, flow = proposal.parts[1:]
    narrow = StudentProposal(
        Whitening(broad.whitening.centre, broad.whitening.factor / np.sqrt(factor)), dof=5.0, inflate=1.3
    )

    def emulated(u: Vector) -> Vector:
        return factor * toy.log_likelihood(u)

    with Streams(4).torch("scaled"):
        return Mixture([RejectionProposal(narrow, emulated), narrow, flow], proposal.shares), factor * COUNTS


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_more_nodes_change_nothing(frozen: Mixture, factor: float) -> None:
    proposal, counts = scaled(frozen, factor)
    u, _, expected = draws(proposal, 150)
    few, many = (log_marginal(proposal, Rays(u, DIRECTION), counts, factor * expected, refine=k) for k in (1, 8))
    # beside the weights' own scatter of several per cent, and an evidence known to 0.5 %
    assert np.std(few - many) < 5e-3 and abs(np.mean(few - many)) < 5e-4


def test_a_proposal_with_its_mass_elsewhere_than_the_likelihood_is_integrated_around_its_draws() -> None:
    displaced = Whitening.of(np.array([0.45, 0.8]) + 0.012 * np.random.default_rng(2).standard_normal((300, 2)))
    proposal = StudentProposal(displaced)
    u, _, expected = draws(proposal, 30)
    found = log_marginal(proposal, Rays(u, DIRECTION), COUNTS, expected)
    v = (np.arange(5000) + 0.5) / 5000
    lines = [np.column_stack([np.full(len(v), index), v]) for index in u[:, 0]]
    exact = [log_midpoint(proposal.log_density(line), np.log(1000)) for line in lines]
    # beside weights that scatter by several per cent; nodes around the likelihood alone miss it by more than 0.1
    assert found == pytest.approx(exact, abs=5e-3)


def test_the_evidence_is_right_and_a_proposal_too_broad_in_the_norm_gains() -> None:
    whitening = poisson_proposal().parts[1].whitening
    proposal = StudentProposal(Whitening(whitening.centre, np.diag([1.0, 6.0]) @ whitening.factor))
    u, log_likelihood, expected = draws(proposal, 4000)
    batches = np.repeat([0, 1], 2000)
    plain = Weights(log_likelihood - proposal.log_density(u), batches)
    integrated = ray_weights(Rays(u, DIRECTION), log_likelihood, COUNTS, expected, proposal, batches)
    exact = toy.log_evidence_by_quadrature(400)
    assert abs(plain.log_z - exact) < 4 * plain.log_z_err
    assert abs(integrated.log_z - exact) < 4 * integrated.log_z_err
    assert integrated.log_z_err < 0.5 * plain.log_z_err
    assert integrated.ess > 3 * plain.ess


def test_draws_whose_model_failed_keep_a_weight_of_zero(frozen: Mixture) -> None:
    u, log_likelihood, expected = draws(frozen, 20)
    log_likelihood[3], expected[3] = -np.inf, np.nan
    weights = ray_weights(Rays(u, DIRECTION), log_likelihood, COUNTS, expected, frozen, np.zeros(20, int))
    assert np.flatnonzero(np.isneginf(weights.log_weights)).tolist() == [3]


# -- a session: whether the conditions hold --------------------------------------------------------------------------


@pytest.fixture(params=["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from live.fresh(request.param, tmp_path)


def load(xspec: ModuleType, data: str = "1:1 two.pha", expression: str = "TBabs*(powerlaw+gaussian)") -> ModuleType:
    xspec.AllData(data)
    model = xspec.Model(expression)
    model.setPars({1: 0.1, 2: 1.8, 3: 3e-3, 4: 2.1, 5: 0.3, 6: 2e-3})
    model.gaussian.LineE.frozen = model.gaussian.Sigma.frozen = True
    return model


def conditions(xspec: ModuleType, **changes: sixsa.Prior) -> list[str]:
    """The norms that are scaled; log-uniform priors but for `changes`."""
    session = Session(xspec, workers=1)
    priors = {p.chain_name: sixsa.uniform(p.chain_name, *sorted(p.soft_limits)) for p in session.parameters}
    for p in session.parameters:
        if p.name == "norm":
            priors[p.chain_name] = sixsa.loguniform(p.chain_name, 1e-4, 1e-1)
    prior = bind(list((priors | changes).values()), session)
    direction = check_conditions(session, prior)
    assert not session.evaluations
    rate = direction[direction > 0]
    assert rate == pytest.approx(np.full(len(rate), 1 / np.log(1000)))
    return [name for name, moved in zip(session.names, direction > 0, strict=True) if moved]


def test_the_free_norms_of_all_components_are_scaled_together(engine: ModuleType) -> None:
    model = load(engine)
    assert conditions(engine) == ["norm__3", "norm__6"]
    model.gaussian.norm.link = "p3*0.25"
    assert conditions(engine) == ["norm__3"]
    model.gaussian.norm.link = "p3*p2/4."  # another parameter's value is no scale
    assert conditions(engine) == ["norm__3"]
    model.gaussian.norm.untie()
    model.gaussian.norm.values = 0.0
    model.gaussian.norm.frozen = True  # nothing to scale
    assert conditions(engine) == ["norm__3"]


def test_data_groups_may_have_norms_of_their_own(engine: ModuleType) -> None:
    load(engine, "1:1 two.pha 2:2 two.pha")
    assert conditions(engine) == ["norm__3", "norm__6"]
    engine.AllModels(2)(6).untie()
    assert conditions(engine) == ["norm__3", "norm__6", "norm__12"]
    engine.AllModels(2)(6).frozen = True
    with pytest.raises(NoCommonScaleError, match=r"gaussian norm \(norm__12\) is frozen at 0.002"):
        conditions(engine)


def freeze(model: object) -> None:
    model.gaussian.norm.frozen = True


def link(parameter: str, text: str) -> object:
    component, name = parameter.split(".")

    def change(model: object) -> None:
        getattr(getattr(model, component), name).link = text

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (freeze, r"gaussian norm \(norm__6\) is frozen at 0.002"),
        (link("gaussian.norm", "p3 + 1.0e-3"), r"gaussian norm \(norm__6\) is not in proportion"),
        (link("gaussian.norm", "p2*1.0e-3"), "is not in proportion"),
        (link("gaussian.Sigma", "p3*100.0"), r"gaussian Sigma \(Sigma__5\) follows a norm"),
    ],
)
def test_a_component_that_does_not_scale_rules_it_out(engine: ModuleType, change: object, reason: str) -> None:
    change(load(engine))
    with pytest.raises(NoCommonScaleError, match=reason):
        conditions(engine)


def test_a_frozen_norm_alone_leaves_nothing_to_scale(engine: ModuleType) -> None:
    model = load(engine)
    model.powerlaw.norm.frozen = model.gaussian.norm.frozen = True
    with pytest.raises(NoCommonScaleError, match="no norm of an additive component is free"):
        conditions(engine)


def test_only_c_stat_without_a_background_file_will_do(engine: ModuleType) -> None:
    load(engine, "1:1 two.pha 2:2 one.pha")
    with pytest.raises(NoCommonScaleError, match=r"spectrum 2 \(one.pha\) .* with a background file"):
        conditions(engine)
    engine.AllData("1:1 two.pha")
    engine.Fit.statMethod = "chi"
    with pytest.raises(NoCommonScaleError, match=r"two.pha\) is scored by chi"):
        conditions(engine)


def test_a_prior_counts_by_what_it_does_not_by_its_name(engine: ModuleType) -> None:
    load(engine)
    other = {"norm__6": sixsa.custom("norm__6", stats.loguniform(1e-4, 1e-1))}
    assert conditions(engine, **other) == ["norm__3", "norm__6"]
    for prior in (
        sixsa.uniform("norm__6", 1e-4, 1e-1),
        sixsa.lognormal("norm__6", -6.0, 1.0, 1e-4, 1e-1),
        sixsa.custom("norm__6", stats.uniform(1e-4, 1e-1)),
    ):
        with pytest.raises(NoCommonScaleError, match=r"prior of gaussian norm \(norm__6\) is \w+, not loguniform"):
            conditions(engine, norm__6=prior)


# -- a session: whether the model is linear --------------------------------------------------------------------------


def evaluated(xspec: ModuleType, priors: list[sixsa.Prior], u: Vector) -> tuple[Session, object, Rays, Vector, Vector]:
    """Session, prior, rays, log L and counts (as a checkpoint keeps them) of points of the cube."""
    session = Session(xspec, workers=1)
    prior = bind(priors, session)
    found = session.evaluate(prior.transform(u), "draws")
    return session, prior, Rays(u, check_conditions(session, prior)), found.log_likelihood, found.counts.astype("f4")


def test_linearity_is_seen_in_counts_and_in_the_statistic(engine: ModuleType) -> None:
    load(engine)
    priors = [
        sixsa.uniform("nH__1", 0.0, 0.5), sixsa.uniform("PhoIndex__2", 0.0, 4.0),
        sixsa.loguniform("norm__3", 1e-4, 1e-1), sixsa.loguniform("norm__6", 1e-5, 1e-2),
    ]  # fmt: skip
    u = np.array([[0.2, 0.45, 0.5, 0.6], [0.3, 0.5, 0.99, 0.2]])
    session, prior, rays, log_likelihood, counts = evaluated(engine, priors, u)
    check_linear(session, prior, rays, log_likelihood, counts, [0, 1])
    assert session.evaluations["linearity"] == 4
    tampered = counts.copy()
    tampered[1, 7] *= 1.001
    with pytest.raises(NoCommonScaleError, match="do not follow the norms"):
        check_linear(session, prior, rays, log_likelihood, tampered, [0, 1])
    with pytest.raises(NoCommonScaleError, match="log L does not follow"):
        check_linear(session, prior, rays, log_likelihood + np.array([0.0, 0.5]), counts, [0, 1])


@pytest.mark.xspec
def test_a_convolution_that_fixes_the_flux_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a model's parameters tells that the norm within cflux scales nothing."""
    monkeypatch.chdir(tmp_path)
    for xspec in live.fresh("xspec", tmp_path):
        xspec.AllData("1:1 two.pha")
        model = xspec.Model("cflux*powerlaw")
        model.cflux.lg10Flux.values = -11.0
        priors = [
            sixsa.uniform(model.cflux.lg10Flux, -13.0, -9.0), sixsa.uniform(model.powerlaw.PhoIndex, 0.0, 4.0),
            sixsa.loguniform(model.powerlaw.norm, 1e-4, 1e-1),
        ]  # fmt: skip
        u = np.array([[0.5, 0.45, 0.5], [0.4, 0.5, 0.4]])
        session, prior, _, log_likelihood, counts = evaluated(xspec, priors, u)
        plain = Weights(log_likelihood, np.zeros(2, int))
        proposal = StudentProposal(Whitening.of(np.random.default_rng(1).random((50, 3))))
        found = common_norm(session, prior, u, log_likelihood, counts, proposal, plain)
        assert list(found) == ["why_not"] and "do not follow the norms" in found["why_not"]
        assert session.evaluations["linearity"] == 4


def test_nothing_is_evaluated_where_a_condition_does_not_hold(engine: ModuleType) -> None:
    load(engine, "1:1 one.pha")
    session = Session(engine, workers=1)
    priors = [sixsa.uniform(p.chain_name, *sorted(p.soft_limits)) for p in session.parameters]
    prior = bind(priors, session)
    nothing = np.empty((0, session.n_free))
    plain = Weights(np.empty(0), np.empty(0, int))
    found = common_norm(session, prior, nothing, np.empty(0), nothing, None, plain)
    assert list(found) == ["why_not"] and "background" in found["why_not"]
    assert not session.evaluations
