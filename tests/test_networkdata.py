"""The arrays behind the pictures of networks and emulator, and the pictures' place on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from test_report import Page

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer import networkdata
from xspec_sixsa.infer.compress import compressor
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.priors import JointPrior, loguniform, uniform
from xspec_sixsa.products.diagnostics import cash_moments
from xspec_sixsa.products.plots.learned import LEARNED
from xspec_sixsa.products.report import illustrate
from xspec_sixsa.result import Result, SpectrumPredictive

PRIOR = JointPrior(["PhoIndex__1", "norm__2"], [uniform("PhoIndex__1", 0.0, 4.0), loguniform("norm__2", 3.0, 3000.0)])
TRUTH = np.array([[0.45, 0.5]])


@pytest.fixture(scope="module")
def made() -> tuple[Inference, Result]:
    """A network of the toy problem, trained for a second, and the truth as the posterior."""
    noise, streams = toy.noise(), Streams(3)
    u = streams.numpy("u").random((1500, 2))
    first = toy.simulate(u)
    network, compress = NeuralPosterior(steps=150), compressor("autoencoder", latent=6, steps=150)
    with streams.torch("network"):
        compress.fit(first.counts, noise)
        network.fit(first.u, first.counts, noise, compress)
    settings = Settings(training="simulated")
    inference = Inference(Problem(2, toy.simulate, lambda: 0, noise, settings, streams, Progress(False)))
    inference.strategy.network = network
    energies = np.stack([toy.ENERGY[:-1], toy.ENERGY[1:]], axis=1)
    counts = toy.OBSERVED
    total = np.repeat(toy.expected_counts(TRUTH), 200, axis=0)
    spectrum = SpectrumPredictive("toy", energies, 1.0, counts, np.sqrt(counts), None, total)
    n = 3
    result = Result(
        names=PRIOR.names, labels=["powerlaw PhoIndex", "powerlaw norm"], units=["", ""],
        samples=PRIOR.transform(np.repeat(TRUTH, n, axis=0)), log_weights=np.zeros(n), log_likelihood=np.zeros(n),
        log_proposal=np.zeros(n), log_z=0.0, log_z_err=0.1, ess=n, k_hat=0.1, evaluations={}, seconds={},
        status="reliable", reasons=[], best_fit=PRIOR.transform(TRUTH)[0], best_statistic=1.0,
        fingerprint={"priors": PRIOR.to_dict()}, predictive_data=[spectrum],
    )  # fmt: skip
    result.network_data = networkdata.network_data(inference, first, result, PRIOR)
    return inference, result


def test_the_arrays_are_of_the_spectra_that_they_are_named_for(made: Any) -> None:
    _, result = made
    data = result.network_data
    np.testing.assert_array_equal(data["coverage_observed"], toy.OBSERVED)
    expected = toy.expected_counts(TRUTH)[0]
    mean, variance = (x.sum() for x in cash_moments(expected))
    # 200 spectra against the model that they were drawn from: four standard errors
    assert data["reconstruction_model"].mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / 200))
    low, high, counts, model, again = data["reconstruction_example"]
    np.testing.assert_allclose(model, expected, rtol=1e-6)
    assert (high > low).all() and (counts == counts.round()).all()
    # a reconstruction lies nearer to the model than the noisy spectrum does, in units of the noise
    assert ((again - model) ** 2 / model).sum() < 0.5 * ((counts - model) ** 2 / model).sum()


def test_the_network_reads_the_parameters(made: Any) -> None:
    _, result = made
    true, read = result.network_data["parameters_true"], result.network_data["parameters_read"]
    assert (true[:, 1] > 3).all() and (true[:, 1] < 3000).all()  # physical
    # a flow trained for a second; of spectra with few counts nobody can read the index
    assert np.corrcoef(np.log(true[:, 1]), np.log(read[:, 1]))[0, 1] > 0.9
    bright = true[:, 1] > 300
    assert np.corrcoef(true[bright, 0], read[bright, 0])[0, 1] > 0.8


def test_the_observation_lies_among_the_posterior_s_latents(made: Any) -> None:
    data = made[1].network_data
    posterior, observed = data["latents_posterior"], data["latents_observed"]
    assert data["latents_prior"].shape == (networkdata.PRIOR, 6) and posterior.shape == (200, 6)
    # the truth stands for the posterior: of six latents none beyond 200 others more often than in 6 % of trials
    assert ((observed > posterior.min(axis=0)) & (observed < posterior.max(axis=0))).sum() >= 5
    assert (posterior.std(axis=0) < data["latents_prior"].std(axis=0)).any()


def test_fine_bins_are_summed_and_summaries_that_are_none_left_out(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inference, result = made
    monkeypatch.setattr(networkdata, "MOST_BINS", 7)
    monkeypatch.setattr(networkdata, "MOST_SUMMARIES", 5)
    few = toy.simulate(np.random.default_rng(0).random((50, 2)))
    data = networkdata.network_data(inference, few, result, PRIOR)
    edges = data["coverage_energies"]
    assert data["coverage_simulated"].shape == (50, 7) and edges.shape == (7, 2)
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1])  # seven bins without gaps
    assert edges[[0, -1], [0, 1]] == pytest.approx([0.5, 8.0])
    assert data["coverage_observed"].sum() == toy.OBSERVED.sum()
    assert "latents_prior" not in data and "parameters_true" in data


def test_random_numbers_of_others_are_left_alone(made: Any) -> None:
    inference, result = made
    torch.manual_seed(5)
    before = torch.get_rng_state()
    few = toy.simulate(np.random.default_rng(0).random((9, 2)))
    again = networkdata.network_data(inference, few, result, PRIOR)
    assert torch.equal(torch.get_rng_state(), before)
    assert again["coverage_simulated"].shape == (9, 20)


def test_the_arrays_are_saved_and_drawn_and_shown_last(made: Any, tmp_path: Path) -> None:
    _, result = made
    result.network_data["emulator_errors"] = np.random.default_rng(1).normal(0, 0.1, 100).astype(np.float32)
    result.network_data["emulator_limit"] = np.array(0.4, dtype=np.float32)
    result.save(tmp_path)
    again = Result.load(tmp_path)
    assert again.network_data.keys() == result.network_data.keys()
    for key, value in result.network_data.items():
        np.testing.assert_array_equal(again.network_data[key], value)
    drawn = [path.stem for path in illustrate(again, tmp_path)]
    assert set(LEARNED) <= set(drawn)
    page = Page((tmp_path / "report.html").read_text())
    tags = [tag for tag, _ in page.elements]
    inside = tags[tags.index("details") :]
    assert inside.count("img") == len(LEARNED) and tags.count("img") == len(drawn) - 1  # all but the page, once
    assert page.text.index("RELIABLE") < page.text.index("Networks and emulator: 5 more pictures")
    # the axes of a log-uniform prior are logarithmic, those of a uniform one not
    assert LEARNED["parameters"][1](again, tmp_path / "p.svg").read_text().count(" dex") == 1
    result.network_data = {}
    result.save(tmp_path)
    assert not (tmp_path / "networks.npz").exists()
