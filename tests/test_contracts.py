"""One contract for every compressor, and one for every estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import toy

from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import COMPRESSORS, compressor, summarise
from xspec_sixsa.infer.emulator import Emulator
from xspec_sixsa.infer.estimate import ESTIMATORS, Amortised, estimator
from xspec_sixsa.infer.simulations import Simulations

COMPRESSOR_OPTIONS = {"autoencoder": {"steps": 150}, "score": {"fiducials": [toy.fiducial(np.array([0.45, 0.5]))]}}
KINDS: dict[str, dict[str, Any]] = {
    "cstat": {},
    "wstat": {"background": np.arange(20.0), "background_ratio": np.full(20, 0.2)},
    "chi": {"statistic": "chi", "sigma": np.linspace(1, 5, 20)},
}
BUILT: list[tuple[str, dict[str, Any]]] = [
    ("npe", {}),
    ("lbf", {"basis": "splines"}),
    ("lbf", {"basis": "adaptive"}),
    ("variational", {"guide": "flow"}),
    ("variational", {"guide": "gaussian"}),
]
assert {name for name, _ in BUILT} == set(ESTIMATORS)
SPECTRA = toy.simulate(np.random.default_rng(0).random((600, 2)))
LOG_Z = toy.log_evidence_by_quadrature(300)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMPRESSORS)
def test_summaries_are_finite_of_order_one_repeatable_and_tell_parameters_apart(name: str, kind: str) -> None:
    noise = toy.noise(**KINDS[kind])
    made = []
    for _ in range(2):
        with Streams(1).torch("compress"):
            compress = compressor(name, **COMPRESSOR_OPTIONS.get(name, {}))
            compress.fit(SPECTRA.counts, noise)
            made.append(summarise(compress, SPECTRA.counts, noise))
    summaries = made[0]
    assert compress.name == name and torch.equal(*made)
    assert summaries.dtype == torch.float32 and len(summaries) == 600 and torch.isfinite(summaries).all()
    assert summaries.abs().max() < 100
    # the parameters' ranks can be regressed linearly from any useful summary: most of the norm's variance
    design = np.column_stack([summaries.numpy(), np.ones(600)])
    norm = SPECTRA.u[:, 1]
    residual = norm - design @ np.linalg.lstsq(design, norm, rcond=None)[0]
    assert residual.var() < 0.3 * norm.var()


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator(SPECTRA.u[:200], SPECTRA.counts[:200], np.ones(200), toy.noise())


@pytest.fixture(scope="module", params=BUILT, ids=str)
def trained(request: pytest.FixtureRequest, emulator: Emulator) -> Amortised:
    return trained_by(*request.param, SPECTRA, emulator)


def trained_by(
    name: str, options: dict[str, Any], spectra: Simulations, emulator: Emulator, steps: int = 100
) -> Amortised:
    if name == "variational":
        options = options | {"emulator": emulator}
    noise, compress = toy.noise(), compressor("pca")
    with Streams(1).torch("train"):
        made = estimator(name, steps=steps, **options)
        compress.fit(spectra.counts, noise)
        made.fit(spectra.u, spectra.counts, noise, compress)
    return made


def grid(points: int = 192) -> np.ndarray:
    """Midpoints (points^2, 2) of the unit square."""
    axis = (np.arange(points) + 0.5) / points
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def test_a_posterior_is_normalised_over_the_cube_and_its_draws_have_its_density(trained: Amortised) -> None:
    u = grid()
    density = np.exp(trained.proposal.log_density(u))
    # the prior's edges, where probits run to infinity, are the grid's worst: a few per cent
    assert density.mean() == pytest.approx(1, abs=0.03)
    with Streams(2).torch("draw"):
        draws = trained.proposal.draw(2000)
    assert draws.shape == (2000, 2) and ((draws > 0) & (draws < 1)).all()
    for column, axis in enumerate((1, 0)):
        marginal = density.reshape(192, 192).sum(axis=axis).cumsum() / density.sum()
        seen = np.searchsorted(np.sort(draws[:, column]), (np.arange(192) + 1) / 192) / 2000
        # Kolmogorov's distance: one in ten thousand is larger
        assert np.abs(seen - marginal).max() < 2.2 / 2000**0.5


def test_the_observation_is_learned_from(trained: Amortised) -> None:
    u = grid()
    log_posterior = toy.log_likelihood(u) - LOG_Z
    share = np.exp(log_posterior) / len(u)
    # nats from the exact posterior: nothing learned leaves those of the prior, 3.1
    assert share @ (log_posterior - trained.proposal.log_density(u)) < 0.75 * (share @ log_posterior)


def test_one_training_serves_other_observations(trained: Amortised) -> None:
    bright = toy.noise(counts=toy.expected_counts(np.array([[0.45, 0.9]]))[0].round())
    other = trained.given(bright)
    with Streams(3).torch("draw"):
        here, there = trained.proposal.draw(500)[:, 1], other.proposal.draw(500)[:, 1]
    # five times the counts for 0.4 of the norm's range
    assert np.median(there) - np.median(here) == pytest.approx(0.4, abs=0.2)
    with Streams(3).torch("medians"):
        read = trained.medians(toy.noise().draw(SPECTRA.counts[:200]))
    assert read.shape == (200, 2)
    assert np.corrcoef(read[:, 1], SPECTRA.u[:200, 1])[0, 1] > 0.9


def test_what_was_trained_is_taken_up_from_plain_numbers(trained: Amortised, emulator: Emulator) -> None:
    bright = toy.noise(counts=toy.expected_counts(np.array([[0.45, 0.9]]))[0].round())
    kept = {key: torch.tensor(value.numpy()) for key, value in trained.state.items()}
    options = next(o for n, o in BUILT if n == trained.name and all(getattr(trained, k) == v for k, v in o.items()))
    made = estimator(trained.name, **options, **({"emulator": emulator} if trained.name == "variational" else {}))
    with Streams(5).torch("restore"):  # another seed: nothing is left to chance
        made.restore(kept, compressor("pca"))
    here, there = (one.given(bright).proposal.log_density(grid(5)) for one in (trained, made))
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in COMPRESSORS if name != "score"])
def test_a_compressor_is_taken_up_from_plain_numbers(name: str, kind: str) -> None:
    noise, again = toy.noise(**KINDS[kind]), compressor(name)
    with Streams(1).torch("compress"):
        compress = compressor(name, **COMPRESSOR_OPTIONS.get(name, {}))
        compress.fit(SPECTRA.counts, noise)
        recorded = noise.draw(SPECTRA.counts)
    again.restore({key: torch.tensor(value.detach().numpy()) for key, value in compress.state.items()})
    assert torch.equal(compress(recorded), again(recorded))


@pytest.mark.parametrize(("name", "options"), BUILT, ids=str)
def test_the_same_seed_gives_the_same_posterior(name: str, options: dict[str, Any], emulator: Emulator) -> None:
    few = SPECTRA[np.arange(600) < 100]
    first, again = (trained_by(name, options, few, emulator, steps=3).proposal.log_density(grid(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_latent_basis_is_normalised_and_its_density_has_no_jumps(d: int) -> None:
    with Streams(4).torch("latent basis"):
        theta, learned = torch.randn(500, d), estimator("lbf", steps=30)
        learned.begin(d, d)
        learned.learn(theta, theta + torch.randn(2, 500, d))
        at, beside = 0.2 + 0.6 * torch.rand(2, 3, d, dtype=torch.float64)
    density = learned.density(torch.full((d,), 0.3))

    def log_density(v: torch.Tensor) -> torch.Tensor:
        w = torch.special.ndtri(v).float()
        return (density.log_prob(w) - torch.distributions.Normal(0.0, 1.0).log_prob(w).sum(dim=-1)).detach()

    middles = (torch.arange(24) + 0.5).double() / 24
    # midpoints of a coarse grid: within two per cent
    assert log_density(torch.cartesian_prod(*[middles] * d).reshape(-1, d)).exp().mean() == pytest.approx(1, abs=0.02)
    # steps of at most 1/8000: a jump at the edge of a cell would be of the size of the slope over a cell, 1/48 or 1/512
    line = at + (beside - at) * torch.linspace(0, 1, 5000, dtype=torch.float64)[:, None, None]
    assert log_density(line).diff(dim=0).abs().max() < 0.01


def test_unknown_names_are_refused_by_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=", ".join(COMPRESSORS)):
        compressor("zip")
    with pytest.raises(ValueError, match=", ".join(ESTIMATORS)):
        estimator("oracle")
    with pytest.raises(ValueError, match="splines, adaptive"):
        estimator("lbf", basis="wavelets")
    with pytest.raises(ValueError, match="flow, gaussian"):
        estimator("variational", emulator=None, guide="delta")
