from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.coordinates import Coordinates, Straightening, Whitening
from xspec_sixsa.infer.emulatedproposal import MovedProposal
from xspec_sixsa.infer.importance import effective_sample_size, log_evidence
from xspec_sixsa.infer.proposal import KernelProposal, Mixture, StudentMixture, StudentProposal, fit_flow, temper

RNG = np.random.default_rng(2)
POINTS = np.clip(RNG.multivariate_normal([0.4, 0.6], [[0.02, 0.012], [0.012, 0.01]], 3000), 0.001, 0.999)


@pytest.mark.parametrize("whitening", [Whitening.of(POINTS), Straightening(POINTS)], ids=["whitening", "straightening"])
def test_coordinates_are_inverted_and_their_volume_is_that_of_the_map(whitening: Coordinates) -> None:
    w = whitening.forward(POINTS[:20])
    u, log_volume = whitening.inverse(w)
    assert u == pytest.approx(POINTS[:20], abs=1e-12)
    assert whitening.log_volume(u) == pytest.approx(log_volume, abs=1e-9)
    step = 1e-5
    jacobian = np.stack(
        [(whitening.inverse(w + step * e)[0] - whitening.inverse(w - step * e)[0]) / (2 * step) for e in np.eye(2)],
        axis=2,
    )
    # central differences: relative error of order step^2
    assert log_volume == pytest.approx(np.log(np.abs(np.linalg.det(jacobian))), abs=1e-6)


def test_straightening_takes_a_bend_out() -> None:
    rng = np.random.default_rng(5)
    fills = rng.random(4000)  # its prior, and ties the other to it: an S in probits
    u = np.stack([0.5 + 0.02 * rng.standard_normal(4000) + 0.3 * (fills - 0.5) ** 2, fills], axis=1)
    plain, straight = Whitening.of(u).forward(u), Straightening(u).forward(u)

    def bend(w: np.ndarray) -> float:
        """Share of the second coordinate's scatter that a parabola in the first takes away."""
        residual = w[:, 1] - np.polyval(np.polyfit(w[:, 0], w[:, 1], 2), w[:, 0])
        return 1 - residual.var() / w[:, 1].var()

    assert max(bend(plain), bend(plain[:, ::-1])) > 0.2
    # 4,000 points without a bend show 1/1000 in the mean
    assert max(bend(straight), bend(straight[:, ::-1])) < 0.01


def test_a_mixture_covers_a_bent_posterior_that_fills_a_prior() -> None:
    rng = np.random.default_rng(6)
    line, width = (lambda x: 0.3 + 0.4 * x + 0.1 * x**2), 0.003
    fills = rng.random(4000)
    points = np.stack([fills, line(fills) + width * rng.standard_normal(4000)], axis=1)

    def efficiency(mixture: StudentMixture) -> float:
        u = mixture.draw(4000)
        target = stats.norm.logpdf(u[:, 1], line(u[:, 0]), width)
        return effective_sample_size(target - mixture.log_density(u)) / len(u)

    with Streams(1).torch("cover"):
        straight = efficiency(StudentMixture(points, 3))
        plain = efficiency(StudentMixture(points, 3, coordinates=Whitening.of(points)))
    # three ellipses along an S leave most of it thinly covered; straightened, it is one ellipse
    assert straight > 0.7
    assert straight > 1.5 * plain


def test_moves_draw_what_a_cover_wastes_its_draws_on() -> None:
    def ring(u: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(np.hypot(*(u - 0.5).T), 0.3, 0.01)

    with Streams(3).torch("moves"):
        # a broad ellipse over the ring: one draw in thirty is effective
        broad = StudentProposal(Whitening.of(0.5 + 0.3 * np.random.default_rng(3).uniform(-1, 1, (1000, 2))))
        proposal = MovedProposal(broad, ring)
        u = proposal.draw(4000)
    # the ring's area, by radius: evidence = 2 pi 0.3 within its norm's error
    norm = ring(u) - proposal.log_density(u)
    assert norm == pytest.approx(np.log(2 * np.pi * 0.3), abs=5 * proposal.log_norm_err)
    radius, angle = np.hypot(*(u - 0.5).T), np.arctan2(*(u - 0.5).T)
    assert radius.mean() == pytest.approx(0.3 + 0.01**2 / 0.3, abs=5 * 0.01 / np.sqrt(4000))
    assert radius.std() == pytest.approx(0.01, rel=5 / np.sqrt(2 * 4000))
    # all around, and moves have parted what resampling drew twice; moved twenty times, neighbours still share some
    assert abs(np.exp(1j * angle).mean()) < 5 / np.sqrt(2000)
    assert len(np.unique(u, axis=0)) > 0.99 * len(u)


def proposals() -> dict[str, object]:
    student = StudentProposal(Whitening.of(POINTS))
    with Streams(1).torch("fit"):
        flow = fit_flow(POINTS, np.zeros(len(POINTS)), steps=150)
    return {
        "student": student,
        "flow": flow,
        "kernels": KernelProposal(POINTS[:500]),
        "students": StudentMixture(POINTS, 3),
        "mixture": Mixture([flow, student], [0.9, 0.1]),
    }


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    return proposals()


@pytest.mark.parametrize("name", ["student", "students", "flow", "kernels", "mixture"])
def test_a_proposal_is_normalised_over_the_cube_and_never_leaves_it(made: dict, name: str) -> None:
    proposal = made[name]
    with Streams(1).torch("draw"):
        u = proposal.draw(4000)
    assert u.shape == (4000, 2) and np.all((u > 0) & (u < 1))
    # the mean of 1/q over its own draws inside a box is the box's area: uniform weights there
    inside = np.all((u > [0.3, 0.5]) & (u < [0.5, 0.7]), axis=1)
    weights = np.where(inside, -proposal.log_density(u), -np.inf)
    log_area, error = log_evidence(weights)
    assert abs(log_area - np.log(0.04)) < 5 * error


def test_a_flow_fitted_to_weighted_points_follows_the_weights(made: dict) -> None:
    target = stats.multivariate_normal([0.4, 0.6], [[0.02, 0.012], [0.012, 0.01]])
    uniform = RNG.random((4000, 2))
    with Streams(1).torch("fit"):
        flow = fit_flow(uniform, target.logpdf(uniform), steps=250)
        u = flow.draw(1000)
    # a good fit reaches more than half; drawing uniformly would give 8 %
    assert effective_sample_size(target.logpdf(u) - flow.log_density(u)) > 500


def test_temper_leaves_the_wanted_number_and_zero_weights_zero() -> None:
    log_weights = np.concatenate([-50 * RNG.random(500), [-np.inf] * 10])
    tempered = temper(log_weights, 60)
    assert effective_sample_size(tempered) == pytest.approx(60, rel=1e-3)
    assert np.isneginf(tempered[-10:]).all()
    assert temper(np.zeros(100), 60) is not None and effective_sample_size(temper(np.zeros(100), 60)) == 100
