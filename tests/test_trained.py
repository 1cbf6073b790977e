"""A compressor and an estimator that were trained once serve other observations, or are trained on, or anew."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any

import numpy as np
import pytest
import toy

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.emulator import Emulator
from xspec_sixsa.infer.estimate import Amortised
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.rounds import Rounds
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.infer.trained import Trained, _noise, named

SPECTRA = toy.simulate(np.random.default_rng(0).random((600, 2)))
BACKGROUND: dict[str, Any] = {"background": np.full(20, 40.0), "background_ratio": np.full(20, 0.2)}
ERRORS: dict[str, Any] = {"statistic": "chi", "sigma": np.linspace(1, 5, 20)}


def observed(norm: float, exposure: float = 1.0) -> Noise:
    """The toy's spectrum at another norm, without noise of its own: `exposure` times as many counts."""
    counts = (exposure * toy.expected_counts(np.array([[0.45, norm]]))[0]).round()
    return toy.noise(counts=counts, exposure=exposure)


def trained_on(
    noise: Noise, earlier: Trained | None = None, exposure: float = 1.0, seed: int = 1, **options: Any
) -> tuple[Rounds, Amortised, dict[str, Any]]:
    """A round on spectra of the prior."""
    settings = Settings(**options)
    problem = Problem(2, toy.simulate, lambda: 0, noise, settings, Streams(seed), Progress(False), trained=earlier)
    spectra = Simulations(SPECTRA.u, exposure * SPECTRA.counts, SPECTRA.log_likelihood)
    rounds = Rounds(problem)
    return rounds, *another_round(rounds, spectra)


def another_round(rounds: Rounds, spectra: Simulations) -> tuple[Amortised, dict[str, Any]]:
    noise = rounds._problem.noise
    emulator = Emulator(spectra.u[:200], spectra.counts[:200], np.ones(200), noise)
    with rounds._problem.streams.torch("starts"):  # as in a run: the inverse learns from noise that is drawn
        found = emulator.starts()
    near = found + 0.02 * np.random.default_rng(1).standard_normal((300, 2))  # what the posterior is about
    return rounds.train(spectra, 150, "pca", lambda: np.clip(near, 0.01, 0.99), emulator)


@pytest.fixture(scope="module")
def first() -> tuple[Rounds, Amortised, dict[str, Any]]:
    return trained_on(observed(0.5))


@pytest.fixture(scope="module")
def kept(first: tuple[Rounds, Amortised, dict[str, Any]]) -> Trained:
    found = first[0].trained
    assert found is not None
    return dataclasses.replace(found, folder="run1")


@pytest.mark.parametrize(
    ("then", "changes", "said"),
    [
        ({}, {"exposure": 1.02}, ""),  # 182 counts: a quarter of a standard deviation
        ({}, {"exposure": 1.05}, "spectrum 1: exposure 1 s, now 1.05 s"),
        (BACKGROUND, {"background": np.full(20, 44.0)}, ""),  # less than bins of 40 counts scatter
        (BACKGROUND, {"background": np.full(20, 80.0)}, "spectrum 1: 800 background counts, now 1600"),
        (BACKGROUND, {"background_ratio": np.full(20, 0.4)}, "spectrum 1: background times 0.2, now 0.4"),
        (ERRORS, {"sigma": 1.05 * ERRORS["sigma"]}, ""),
        (ERRORS, {"sigma": 1.25 * ERRORS["sigma"]}, "spectrum 1: errors off by 20 %"),
    ],
)
def test_another_noise_is_said_in_numbers(then: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    earlier = Trained({}, named("noise", _noise(toy.noise(**then))))
    assert earlier.other_noise(toy.noise(**then)) == []
    assert "; ".join(earlier.other_noise(toy.noise(**then | changes))) == said


def test_the_same_noise_takes_no_training(first: Any, kept: Trained, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rounds, network, record = trained_on(observed(0.6), kept, seed=2)
    assert record["network"] == "kept" and not record["training"] and "npe of run1: taken as it is" in caplog.text
    assert rounds.trained is kept
    u = np.random.default_rng(0).random((9, 2))
    expected = first[1].given(observed(0.6)).proposal.log_density(u)
    np.testing.assert_array_equal(network.proposal.log_density(u), expected)
    # a second round is to find what the first has not
    assert "network" not in another_round(rounds, SPECTRA)[1]


def test_other_noise_trains_on_from_what_is_known(first: Any, kept: Trained, caplog: pytest.LogCaptureFixture) -> None:
    rounds, network, record = trained_on(observed(0.5, 3.0), kept, exposure=3.0, seed=2)
    assert record["network"] == "trained on" and "(spectrum 1: exposure 1 s, now 3 s)" in caplog.text
    assert record["training"]["npe"]["step"][-1] == 150 // 3
    again = rounds.trained
    assert again is not None and again.settings == kept.settings and again.arrays.keys() == kept.arrays.keys()
    assert again.arrays["noise.exposure"][0] == 3.0
    same = [key for key in kept.arrays if np.array_equal(kept.arrays[key], again.arrays[key])]
    assert any(key.startswith("state.compressor") for key in same)
    assert not any(key.startswith("state.network") and key.endswith("weight") for key in same)
    # three times the counts at one norm: of one second they tell a norm 0.16 higher (log 3 / log 1000)
    bright, noise = SPECTRA[SPECTRA.u[:, 1] > 0.5], observed(0.5, 3.0)
    with Streams(3).torch("read"):
        recorded = noise.draw(3 * bright.counts)
        off, before = ((one.medians(recorded)[:, 1] - bright.u[:, 1]).mean() for one in (network, first[1]))
    assert abs(off) < 0.03 < 0.1 < before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (400, r"RRE \S+ \(limit"),  # RRE is nine times its limit, 0.997
        (6000, "no draw from the prior comes near"),  # four times as many as any spectrum of the prior has there
    ],
)
def test_a_spectrum_that_the_model_does_not_make_trains_on(
    kept: Trained, caplog: pytest.LogCaptureFixture, line: int, why: str
) -> None:
    counts = observed(0.5).observation.counts.copy()
    counts[10] += line
    _, _, record = trained_on(toy.noise(counts=counts), kept)
    assert record["network"] == "trained on" and re.search(why, caplog.text)


@pytest.mark.parametrize(
    ("why_not", "options", "said"),
    [
        ("priors and bins", {}, "of other priors and bins"),
        ("", {"estimator": "lbf"}, "of other estimator npe, now lbf, basis none, now splines"),
    ],
)
def test_what_cannot_be_used_is_said_and_trained_anew(
    kept: Trained, why_not: str, options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rounds, _, record = trained_on(observed(0.6), dataclasses.replace(kept, why_not=why_not), **options)
    assert "network" not in record and said in caplog.text
    assert rounds.trained is not None and rounds.trained is not kept
