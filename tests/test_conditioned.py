"""Norms conditioned on shapes: a change of variables that no posterior depends on, and in which few are bent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from toy import noise

from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.conditioned import ConditionedNorms, ConditionedPrior, ConditionedProposal
from xspec_sixsa.infer.emulatedproposal import RejectionProposal
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.factors import Hints, find_factors
from xspec_sixsa.infer.importance import log_evidence
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.partmap import PartMap
from xspec_sixsa.infer.population import Population
from xspec_sixsa.infer.proposal import Mixture, StudentProposal, Whitening

ENERGY = np.linspace(0.5, 5, 40)
TRUTH = np.array([0.1, 0.6, 0.9, 0.75])  # slope and norm of each


def transform(u: np.ndarray) -> np.ndarray:
    """Two slopes, and two norms with log-uniform priors over three decades."""
    theta = np.array(u, dtype=float)
    theta[:, [0, 2]] = 0.2 + 2 * u[:, [0, 2]]
    theta[:, [1, 3]] = 10 ** (3 * u[:, [1, 3]])
    return theta


def counts(theta: np.ndarray) -> np.ndarray:
    """Two components of one kind: exponential spectra."""
    return sum(theta[:, k + 1, None] * np.exp(-theta[:, k, None] * ENERGY) for k in (0, 2))


@pytest.fixture(scope="module")
def toy_noise() -> Noise:
    expected = counts(transform(TRUTH[None]))[0]
    return noise(
        counts=np.random.default_rng(3).poisson(expected).astype(float),
        energies=np.stack([ENERGY - 0.05, ENERGY + 0.05], axis=1),
    )


@pytest.fixture(scope="module")
def emulator(toy_noise: Noise) -> FactoredEmulator:
    hints = Hints(norms=[1, 3], own={1: [0], 3: [2]}, kinds={0: "slope", 1: "norm", 2: "slope", 3: "norm"})
    factors, why = find_factors(transform, counts, hints, 4)
    assert factors is not None, why
    x = np.linspace(0, 1, 30)[:, None]
    maps = [
        PartMap(x, factors.curves(parts[0], x), np.ones(30), 100.0, toy_noise.observed.numpy() + 1)
        for parts in factors.sharing
    ]
    return FactoredEmulator(factors, maps, toy_noise)


def test_the_map_is_inverted_and_its_volume_is_that_of_the_jacobian(
    emulator: FactoredEmulator, toy_noise: Noise
) -> None:
    conditioned, u = ConditionedNorms(emulator), 0.02 + 0.96 * np.random.default_rng(1).random((50, 4))
    v, volume = conditioned.forward(u)
    inside = np.abs(ndtri(v)).max(axis=1) < 6  # further out a float64 of the cube has no digits left
    assert inside.sum() > 10
    u, v, volume = u[inside], v[inside], volume[inside]
    again, same = conditioned.inverse(v)
    np.testing.assert_allclose(again, u, atol=1e-8)
    np.testing.assert_allclose(same, volume, atol=1e-6)
    np.testing.assert_array_equal(v[:, [0, 2]], u[:, [0, 2]])
    # shapes stay, so that the norms' own block is all of the determinant
    step, columns = 1e-4 * np.minimum(v, 1 - v), []
    for k in (1, 3):
        change = np.zeros_like(v)
        change[:, k] = step[:, k]
        apart = conditioned.inverse(v + change)[0] - conditioned.inverse(v - change)[0]
        columns.append(apart[:, [1, 3]] / (2 * step[:, [k]]))
    numerical = np.log(np.abs(np.linalg.det(np.stack(columns, axis=2))))
    np.testing.assert_allclose(numerical, volume, atol=1e-3)  # central differences


def test_norms_are_placed_where_a_curve_is_far_too_bright(toy_noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    def four(theta: np.ndarray) -> np.ndarray:
        return sum(theta[:, k + 1, None] * np.exp(-theta[:, k, None] * ENERGY) for k in (0, 2, 4, 6))

    norms = {k: [k - 1] for k in (1, 3, 5, 7)}
    hints = Hints(norms=list(norms), own=norms, kinds={k: "norm" if k in norms else "slope" for k in range(8)})
    factors, why = find_factors(lambda u: np.hstack([transform(u[:, :4]), transform(u[:, 4:])]), four, hints, 8)
    assert factors is not None, why
    x = np.linspace(0, 1, 30)[:, None]
    maps = [PartMap(x, factors.curves(0, x), np.ones(30), 100.0, toy_noise.observed.numpy() + 1)]
    emulator = FactoredEmulator(factors, maps, toy_noise)
    # a map's logarithms may go wrong as far as single precision holds, where no curve was measured
    brighter, of_parts = torch.ones(1, 4, len(ENERGY)), emulator.of_parts
    brighter[:, 1, ::2] = 1e22
    monkeypatch.setattr(emulator, "of_parts", lambda u: of_parts(u) * brighter)
    u, volume = ConditionedNorms(emulator).inverse(np.random.default_rng(1).random((500, 8)))
    assert np.isfinite(u).all() and np.isfinite(volume).all()


def test_norms_lose_their_ties_and_components_trade_places(emulator: FactoredEmulator, toy_noise: Noise) -> None:
    conditioned, factors = ConditionedNorms(emulator), emulator.factors
    rng = np.random.default_rng(2)
    begun = Population.of_prior(4, 800, rng, factors.blocks, factors.exchanges)
    u = begun.moved(conditioned.log_likelihood, rng, size=800, coordinates=conditioned).u
    u = u[u[:, 0] < u[:, 2]]  # one of two modes, in which the components have traded places
    v = conditioned.forward(u)[0]

    def tied(x: np.ndarray) -> float:
        """The largest correlation of a norm with any other parameter, from 0 to 1."""
        return float(np.abs(np.corrcoef(ndtri(x).T) - np.eye(4))[[1, 3]].max())

    assert tied(u) > 0.7 and tied(v) < 0.5 * tied(u), (tied(u), tied(v))
    assert 0.4 < ndtri(v[:, [1, 3]]).std(axis=0).min() and ndtri(v[:, [1, 3]]).std(axis=0).max() < 1.2
    (order,) = factors.exchanges
    np.testing.assert_allclose(conditioned.forward(u[:, order])[0], v[:, order], atol=1e-6)


def test_no_evidence_depends_on_the_map(emulator: FactoredEmulator, toy_noise: Noise) -> None:
    conditioned, factors = ConditionedNorms(emulator), emulator.factors
    rng = np.random.default_rng(4)
    u = (
        Population.of_prior(4, 800, rng, factors.blocks, factors.exchanges)
        .moved(conditioned.log_likelihood, rng, size=800, coordinates=conditioned)
        .u
    )

    def found(proposal: object) -> tuple[float, float]:
        drawn = proposal.draw(4000)
        return log_evidence(emulator.log_likelihood(drawn) - proposal.log_density(drawn))

    with Streams(5).torch("evidence"):
        plain, error = found(StudentProposal(Whitening.of(u)))
        inner = RejectionProposal(StudentProposal(Whitening.of(conditioned.forward(u)[0])), conditioned.log_density)
        other, other_error = found(ConditionedProposal(inner, conditioned))
    assert abs(plain - other) < 4 * np.sqrt(error**2 + other_error**2 + inner.log_norm_err**2)


def test_few_bins_are_not_taken_together(emulator: FactoredEmulator) -> None:
    assert emulator.coarse(0.03) is emulator


def test_shapes_of_the_prior_with_fitting_norms_are_a_density(emulator: FactoredEmulator) -> None:
    fitting = ConditionedPrior(ConditionedNorms(emulator))
    with Streams(6).torch("fitting"):
        u = fitting.draw(4000)
    np.testing.assert_allclose(np.sort(u[:, 0]), (np.arange(4000) + 0.5) / 4000, atol=2.2 / 4000**0.5)  # Kolmogorov's
    w = np.exp(-fitting.log_density(u)) * (np.abs(u[:, [1, 3]] - 0.7) < 0.1).all(axis=1)  # of a part of the cube
    assert abs(w.mean() - 0.04) < 4 * w.std() / np.sqrt(len(w))


def test_a_population_that_begins_at_one_mode_finds_the_other_among_fitting_shapes(emulator: FactoredEmulator) -> None:
    conditioned, factors = ConditionedNorms(emulator), emulator.factors
    rng = np.random.default_rng(7)
    begun = Population.of_prior(4, 800, rng, factors.blocks, factors.exchanges)
    u = begun.moved(conditioned.log_likelihood, rng, size=800, coordinates=conditioned).u
    one = StudentProposal(Whitening.of(u[u[:, 0] < u[:, 2]]))

    def share(start: object) -> float:
        """Of the other mode, where no exchange leads to it."""
        with Streams(7).torch("start"):
            begun = Population.of(start, 800)
        found = begun.moved(conditioned.log_likelihood, rng, size=800, coordinates=conditioned).u
        return float((found[:, 0] > found[:, 2]).mean())

    assert share(one) < 0.2
    # they are equal, and few of the first draws lie near to the other
    assert 0.3 < share(Mixture([one, ConditionedPrior(conditioned)], [0.8, 0.2])) < 0.7
