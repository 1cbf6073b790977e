from __future__ import annotations

import numpy as np
import pytest
import torch
import toy

from xspec_sixsa.common.seeding import Streams

COUNTS = torch.linspace(0.5, 40, 20, dtype=torch.float64).repeat(20000, 1)
SAMPLING = 5 / 20000**0.5  # five standard errors of a mean over 20,000 draws, in units of the spread


def test_poisson_draws_have_the_expected_mean_and_variance() -> None:
    with Streams(1).torch("noise"):
        x = toy.noise().draw(COUNTS)
    m = COUNTS[0]
    assert torch.all((x.mean(0) - m).abs() < SAMPLING * m.sqrt())
    # the variance of a sample variance of Poisson counts is about (2 m^2 + m)/n
    assert torch.all((x.var(0) - m).abs() < SAMPLING * (2 * m**2 + m).sqrt())


def test_w_statistic_draws_carry_the_background_and_its_uncertainty() -> None:
    background = np.arange(20.0)
    noise = toy.noise(background=background, background_ratio=np.full(20, 0.25))
    with Streams(1).torch("noise"):
        x = noise.draw(COUNTS)
    assert x.shape[1] == noise.n_inputs == 40 and noise.lengths == [20, 20]
    b = torch.tensor(background + 0.5)
    source, recorded = x[:, :20], x[:, 20:]
    # gamma intensity (variance b) seen through the ratio, plus Poisson noise
    variance = COUNTS[0] + 0.25 * b + 0.25**2 * b
    assert torch.all((source.mean(0) - COUNTS[0] - 0.25 * b).abs() < SAMPLING * variance.sqrt())
    assert torch.all((recorded.mean(0) - b).abs() < SAMPLING * (2 * b).sqrt())
    assert torch.allclose(noise.expected(COUNTS[:1])[0], torch.cat([COUNTS[0] + 0.25 * b, b]))


def test_gaussian_draws_take_sigma_from_the_data() -> None:
    sigma = np.linspace(1, 5, 20)
    noise = toy.noise(statistic="chi", sigma=sigma)
    with Streams(1).torch("noise"):
        x = noise.draw(COUNTS)
    assert torch.allclose(x.std(0), torch.tensor(sigma), rtol=SAMPLING)
    assert noise.statistic(noise.observed[None], noise.observed[None] + torch.tensor(sigma)).item() == pytest.approx(20)


def test_cash_statistic_is_zero_for_a_perfect_reconstruction_only() -> None:
    noise = toy.noise()
    x = noise.observed[None]
    assert noise.statistic(x, x).item() == pytest.approx(0, abs=1e-3)  # empty bins are given LEAST_COUNTS
    assert noise.statistic(x, 1.3 * x + 0.1).item() > 1


def test_the_same_stream_draws_the_same_noise_and_leaves_torch_alone() -> None:
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with Streams(7).torch("noise"):
            draws.append(toy.noise().draw(COUNTS[:5]))
    assert torch.equal(*draws)
    assert torch.equal(before, torch.random.get_rng_state())
