"""Bins that tell the same are taken together: where they do, how little is lost, and that nothing depends on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from toy import noise, observation

from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.alike import alike
from xspec_sixsa.infer.conditioned import ConditionedNorms
from xspec_sixsa.infer.cover import cover
from xspec_sixsa.infer.emulatedproposal import RejectionProposal
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.factoredsearch import _refined
from xspec_sixsa.infer.factors import Hints, find_factors
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.partmap import PartMap
from xspec_sixsa.infer.population import Population

N = 640
ENERGY = np.geomspace(0.3, 10, N)
LOST = 1e-3
STARTS = np.array([0, 1, 5, 9, 20, 39])


@pytest.mark.parametrize("statistic", ["cstat", "chi"])
def test_of_one_shape_within_groups_nothing_is_lost(statistic: str) -> None:
    rng = np.random.default_rng(1)
    widths = np.diff(STARTS, append=40)
    shape = np.repeat(rng.uniform(5, 50, len(STARTS)), widths)  # the same in all bins of a group, as are errors
    sigma = np.repeat(rng.uniform(2, 5, len(STARTS)), widths)
    whole = observation(
        counts=rng.poisson(shape).astype(float), energies=np.stack([np.arange(40), np.arange(1, 41)], axis=1),
        statistic=statistic, sigma=sigma if statistic == "chi" else None,
    )  # fmt: skip
    grouped = whole.grouped(STARTS)
    factor = np.repeat(rng.uniform(0.5, 2, (3, len(STARTS))), widths, axis=1)

    def differences(of: Noise, counts: np.ndarray) -> np.ndarray:
        found = of.statistics.log_likelihood(of.observed.new_tensor(counts)).numpy()
        return found - found[0]

    counts = shape * factor
    summed = np.add.reduceat(counts, STARTS, axis=1)
    np.testing.assert_allclose(differences(Noise(grouped), summed), differences(Noise(whole), counts), atol=1e-8)
    assert grouped.counts.sum() == whole.counts.sum()
    np.testing.assert_array_equal(grouped.spectra[0].energies[:, 0], STARTS)
    np.testing.assert_array_equal(grouped.spectra[0].energies[:, 1], [*STARTS[1:], 40])


def test_a_background_stays_what_it_is() -> None:
    rng = np.random.default_rng(2)
    background, ratio = rng.poisson(3, 40).astype(float), rng.uniform(0.1, 0.2, 40)
    background[20:] = 0  # groups without any
    whole = observation(
        counts=rng.poisson(9, 40).astype(float), energies=np.stack([np.arange(40), np.arange(1, 41)], axis=1),
        background=background, background_ratio=ratio, area_scale=np.linspace(0.9, 1.0, 40),
    ).spectra[0]  # fmt: skip
    grouped = whole.grouped(STARTS)
    np.testing.assert_allclose(grouped.expected_background, np.add.reduceat(whole.expected_background, STARTS))
    assert grouped.background is not None
    np.testing.assert_allclose(grouped.background, np.add.reduceat(background, STARTS))
    assert grouped.background_ratio is not None and (grouped.background_ratio > 0).all()
    np.testing.assert_allclose(grouped.area_time.sum() / len(STARTS), 0.95, atol=0.05)


def continuum(x: np.ndarray) -> np.ndarray:
    return 200 * np.exp(-0.5 * (1 + x) / ENERGY) * ENERGY ** -(1 + x)


def a_line(x: np.ndarray) -> np.ndarray:
    """A line of 4-6 keV, half as wide as the bins are apart there in ten."""
    return 300 * np.exp(-0.5 * ((ENERGY - 4 - 2 * x) / 0.1) ** 2)


def learned(curves: np.ndarray, x: np.ndarray) -> PartMap:
    return PartMap(x, curves, np.ones(len(x)), 1.0, np.full(N, 100.0))


def test_a_continuum_is_left_with_few_bins_and_a_line_keeps_its_own() -> None:
    x = np.linspace(0, 1, 40)[:, None]
    smooth, line = learned(continuum(x), x), learned(a_line(x), x)
    few = alike([smooth], [0, N], LOST)
    assert len(few) < N / 8
    both = alike([smooth, line], [0, N], LOST)
    within = (ENERGY > 3.9) & (ENERGY < 6.1)
    # the line is about 14 bins wide at 5 keV: by pairs at most
    assert within[both].sum() > within.sum() / 3
    assert (~within[both]).sum() < (~within).sum() / 4
    for starts, maps in ((few, [smooth]), (both, [smooth, line])):
        assert 0 < sum(m.lost(starts).sum() for m in maps) <= LOST


def test_no_group_goes_across_an_edge() -> None:
    x = np.linspace(0, 1, 40)[:, None]
    starts = alike([learned(continuum(x), x)], [0, 101, 333, N], LOST)
    assert {0, 101, 333} <= set(starts.tolist())


def test_a_curve_that_nothing_shapes_is_summed() -> None:
    curve = continuum(np.full((1, 1), 0.5))
    fixed = PartMap(np.empty((1, 0)), curve, np.ones(1), 1.0, np.full(N, 100.0))
    starts = alike([fixed], [0, N], LOST)
    assert len(starts) == N / 64
    summed = fixed.grouped(starts)(np.empty((2, 0))).numpy()
    np.testing.assert_allclose(summed, np.tile(np.add.reduceat(curve[0], starts), (2, 1)), rtol=1e-6)


def transform(u: np.ndarray) -> np.ndarray:
    """Two slopes, and two norms with log-uniform priors over two decades."""
    theta = np.array(u, dtype=float)
    theta[:, [1, 3]] = 10 ** (2 * u[:, [1, 3]] - 1)
    return theta


def expected(theta: np.ndarray) -> np.ndarray:
    scale = np.array([1.0, 3.0])
    return sum(theta[:, 2 * k + 1, None] * scale[k] * continuum(theta[:, 2 * k, None] + k) for k in range(2))


@pytest.fixture(scope="module")
def emulator() -> FactoredEmulator:
    truth = expected(transform(np.array([[0.3, 0.5, 0.5, 0.4]])))[0]
    observed = noise(
        counts=np.random.default_rng(4).poisson(truth).astype(float), energies=np.stack([ENERGY, ENERGY], axis=1)
    )
    hints = Hints(norms=[1, 3], own={1: [0], 3: [2]}, kinds={0: "slope", 1: "norm", 2: "steep", 3: "norm"})
    factors, why = find_factors(transform, expected, hints, 4)
    assert factors is not None, why
    x = np.linspace(0, 1, 30)[:, None]
    variance = observed.observed.numpy() + 1
    maps = [PartMap(x, factors.curves(parts[0], x), np.ones(30), 1.0, variance) for parts in factors.sharing]
    return FactoredEmulator(factors, maps, observed)


def test_the_coarse_likelihood_is_nearly_the_same(emulator: FactoredEmulator) -> None:
    coarse = emulator.coarse(1e-3)
    assert coarse.noise.n_bins < N / 4
    with Streams(1).torch("moves"):
        points = (
            Population.of_prior(4, 600, np.random.default_rng(1))
            .moved(coarse.log_likelihood, np.random.default_rng(2), size=600)
            .u
        )
    difference = emulator.log_likelihood(points) - coarse.log_likelihood(points)
    # of the posterior's own spread, sqrt(4 / 2): a thousandth of what bins tell is lost, by the choice of groups
    assert difference.std() < 0.2 * emulator.log_likelihood(points).std()
    # where more may be lost, bins are fewer
    assert emulator.coarse(0.03).noise.n_bins < coarse.noise.n_bins
    # and over the whole prior it is as good as the same
    u = np.random.default_rng(3).random((300, 4))
    assert (emulator.log_likelihood(u) - coarse.log_likelihood(u)).std() < 0.02 * emulator.log_likelihood(u).std()


def test_coordinates_of_the_coarse_change_no_posterior(emulator: FactoredEmulator) -> None:
    conditioned, rng = ConditionedNorms(emulator.coarse(1e-3)), np.random.default_rng(5)
    v = 0.05 + 0.9 * rng.random((40000, 4))
    u, volume = conditioned.inverse(v)
    # the volume of the image, by the change of variables and by counting uniform points of the cube that fall into it
    inside = conditioned.forward(rng.random((40000, 4)))[0]
    counted = ((inside > 0.05) & (inside < 0.95)).all(axis=1).mean()
    by_volume, error = 0.9**4 * np.exp(volume).mean(), 0.9**4 * np.exp(volume).std() / 200
    assert abs(by_volume - counted) < 5 * (error + np.sqrt(counted / 40000))
    np.testing.assert_allclose(conditioned.forward(u)[0], v, atol=1e-6)


def test_a_rough_population_becomes_one_of_the_emulator(emulator: FactoredEmulator) -> None:
    coarse, rng = ConditionedNorms(emulator.coarse(0.03)), np.random.default_rng(7)
    rough = Population.of_prior(4, 1000, rng).moved(coarse.log_likelihood, rng, size=1000, coordinates=coarse)
    refined = _refined(rough, coarse, emulator, rng)
    whole = ConditionedNorms(emulator)
    wanted = Population.of_prior(4, 1000, rng).moved(whole.log_likelihood, rng, size=1000, moves=30, coordinates=whole)
    scatter = wanted.u.std(axis=0)
    # neither population's points are independent: some 300 of each
    np.testing.assert_array_less(np.abs(refined.u.mean(axis=0) - wanted.u.mean(axis=0)), 4 * scatter * np.sqrt(2 / 300))
    np.testing.assert_allclose(refined.u.std(axis=0), scatter, rtol=4 / np.sqrt(300))
    assert refined.log_density(refined.u[:5]) == pytest.approx(emulator.log_likelihood(refined.u[:5]))
    # resampled points have gone their own ways
    assert len(np.unique(refined.u, axis=0)) > 0.95 * len(refined.u)
    assert _refined(rough, whole, emulator, rng) is rough


def test_a_rough_likelihood_that_misleads_costs_no_coverage() -> None:
    def narrow(centre: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda u: -0.5 * (((u - centre) / 0.02) ** 2).sum(axis=1)

    rng = np.random.default_rng(6)
    points = np.clip(0.5 + 0.02 * rng.standard_normal((1000, 3)), 0.01, 0.99)
    with Streams(2).torch("cover"):
        proposal = cover(points, narrow(0.5), narrow(0.56))  # three standard deviations off in every parameter
        u = proposal.draw(2000)
    assert isinstance(proposal, RejectionProposal)
    # what covers the rough one has a draw in a thousand here
    assert proposal.acceptance > 0.2
    assert abs(proposal.log_norm - 3 * np.log(0.02 * np.sqrt(2 * np.pi))) < 5 * proposal.log_norm_err + 0.005  # capped
    np.testing.assert_allclose(u.std(axis=0), 0.02, rtol=5 / np.sqrt(2 * 2000))
