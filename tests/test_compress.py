"""What is particular to single compressors; the contract of all is in test_contracts."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import torch
import toy

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import compressor, scaling
from xspec_sixsa.infer.compress.score import Fiducial, Score
from xspec_sixsa.infer.fiducials import modes
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulated import Simulated
from xspec_sixsa.infer.simulations import Simulations


def test_the_autoencoder_reconstructs_better_than_noise() -> None:
    noise = toy.noise()
    counts = toy.simulate(np.random.default_rng(0).random((1000, 2))).counts
    with Streams(1).torch("compress"):
        compress = compressor("autoencoder", latent=4, steps=300)
        compress.fit(counts, noise)
        recorded = noise.draw(counts[:200])
    expected = noise.expected(counts[:200])
    from_latents = noise.statistic(expected, compress.reconstruct(recorded))
    from_data = noise.statistic(expected, recorded.clamp(min=0.1))
    # four numbers describe what two parameters do; the other sixteen are noise that it must have dropped
    assert from_latents.median() < 0.5 * from_data.median()
    assert compress.curve["validation"][-1] < compress.curve["validation"][0]


def test_scalings_are_found_on_as_many_spectra_as_the_memory_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, counts = toy.noise(), toy.simulate(np.random.default_rng(0).random((600, 2))).counts
    assert len(scaling.examples(counts, noise)) == 600
    monkeypatch.setattr(scaling, "MOST_NUMBERS", 50 * noise.n_inputs)
    assert len(scaling.examples(counts, noise)) == 50


def test_the_score_at_its_fiducial_has_the_fisher_information_and_further_off_less() -> None:
    # a line of 200 counts, ten bins wide on 40 bins of 20: its place and its strength
    def line(u: np.ndarray) -> Fiducial:
        profile = np.exp(-0.5 * ((np.arange(40) - 40 * u[0]) / 3) ** 2) / 7.5
        moved = profile * (np.arange(40) - 40 * u[0]) / 9 * 40
        return Fiducial(
            torch.tensor(20 + 200 * u[1] * profile), torch.tensor(200 * np.stack([u[1] * moved, profile], 1))
        )

    noise = Noise(
        toy.observation(counts=np.full(40, 20.0), energies=np.stack([np.arange(40.0), np.arange(1.0, 41)], 1))
    )
    compress = Score([line(np.array([0.5, 0.8]))])
    few = line(np.array([0.5, 0.8])).counts.expand(9, -1)
    compress.fit(few, noise)
    at_it, near, off = (compress.information_kept([line(np.array([x, 0.8]))]) for x in (0.5, 0.52, 0.7))
    np.testing.assert_allclose(at_it, 1.0, rtol=1e-9)
    assert (near > 0.9).all() and (off < 0.5).all()
    both = Score([line(np.array([0.5, 0.8])), line(np.array([0.7, 0.8]))])
    both.fit(few, noise)
    np.testing.assert_allclose(both.information_kept([line(np.array([0.7, 0.8]))]), 1.0, rtol=1e-6)


def test_a_background_that_is_recorded_is_taken_off_with_its_own_noise() -> None:
    noise = toy.noise(background=np.arange(20.0), background_ratio=np.ones(20))
    counts = toy.simulate(np.array([[0.45, 0.3]])).counts.double()
    with Streams(1).torch("net"):
        net = noise.net(noise.draw(counts.expand(20000, -1)))
    assert (net.mean(dim=0) - counts[0]).abs().max() < 5 * net.std(dim=0).max() / 20000**0.5
    # five standard errors of a variance from 20,000 draws; the intensity is drawn, too, which adds ratio^2 (B + 1/2)
    intensity = 0.04 * (torch.arange(20.0) + 0.5)
    np.testing.assert_allclose(
        net.var(dim=0), noise.net_variance(counts[0]) + 0 * intensity, rtol=5 * (2 / 20000) ** 0.5
    )


def test_each_separate_mode_is_a_fiducial_and_a_bent_one_is_one() -> None:
    rng = np.random.default_rng(0)
    one, other = 0.3 + 0.02 * rng.standard_normal((500, 2)), 0.7 + 0.02 * rng.standard_normal((300, 2))
    np.testing.assert_allclose(modes(np.concatenate([one, other])), [[0.3, 0.3], [0.7, 0.7]], atol=0.01)
    x = 0.1 + 0.8 * rng.random(800)
    assert len(modes(np.stack([x, 0.2 + 0.5 * x**2 + 0.01 * rng.standard_normal(800)], axis=1))) == 1


def test_the_fiducial_follows_the_posterior_round_by_round_and_its_evaluations_are_counted() -> None:
    spent: collections.Counter[str] = collections.Counter()

    def simulate(u: np.ndarray, stage: str, log_density: np.ndarray | None = None) -> Simulations:
        spent[stage] += len(u)
        return toy.simulate(u)

    settings = Settings(
        training="simulated", compressor="score", first=300, later=150, pilot=100, rounds=2, flow_steps=20,
        enough_to_refine=2.0, target_ess=100, budget=3000,
    )  # fmt: skip
    problem = Problem(2, simulate, lambda: sum(spent.values()), toy.noise(), settings, Streams(1), Progress(False))
    strategy = Simulated(problem)
    strategy.begin(simulate(problem.prior_draws(300), "round 1"))
    strategy._search()
    assert spent["score"] == 2 * (1 + 4) * 5  # two rounds; the fiducial and four points; five evaluations each
    for record in strategy.rounds.records:
        assert record["fiducials"] == 1 and min(record["information_kept"]) > 0.95
    found = strategy.network.compressor.fiducials[0]
    counts, exact = found.counts, toy.fiducial(np.array([0.5, 0.5]))
    # of a power law the slopes are its counts times a constant; a step of 0.005 misses (0.005 x 7)^2 / 6 of them
    np.testing.assert_allclose(
        found.slopes / counts[:, None], exact.slopes / exact.counts[:, None], rtol=1e-3, atol=1e-3
    )
    # the first round's: of few simulations near the posterior, whose counts scatter by a square root
    assert float(counts.sum()) == pytest.approx(toy.OBSERVED.sum(), abs=3 * toy.OBSERVED.sum() ** 0.5)
