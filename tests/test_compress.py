"""One contract for every compressor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toy

from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import COMPRESSORS, compressor, scaling, summarise

OPTIONS = {"autoencoder": {"steps": 150}}
KINDS = {
    "cstat": {},
    "wstat": {"background": np.arange(20.0), "background_ratio": np.full(20, 0.2)},
    "chi": {"statistic": "chi", "sigma": np.linspace(1, 5, 20)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMPRESSORS)
def test_summaries_are_finite_of_order_one_repeatable_and_tell_parameters_apart(name: str, kind: str) -> None:
    noise = toy.noise(**KINDS[kind])
    u = np.random.default_rng(0).random((600, 2))
    counts = toy.simulate(u).counts
    made = []
    for _ in range(2):
        with Streams(1).torch("compress"):
            compress = compressor(name, **OPTIONS.get(name, {}))
            compress.fit(counts, noise)
            made.append(summarise(compress, counts, noise))
    summaries = made[0]
    assert torch.equal(*made)
    assert summaries.dtype == torch.float32 and len(summaries) == 600 and torch.isfinite(summaries).all()
    assert summaries.abs().max() < 100
    # the parameters' ranks can be regressed linearly from any useful summary: most of the norm's variance
    design = np.column_stack([summaries.numpy(), np.ones(600)])
    residual = u[:, 1] - design @ np.linalg.lstsq(design, u[:, 1], rcond=None)[0]
    assert residual.var() < 0.3 * u[:, 1].var()


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


def test_an_unknown_compressor_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="autoencoder, pca, bands, none"):
        compressor("zip")


def test_scalings_are_found_on_as_many_spectra_as_the_memory_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, counts = toy.noise(), toy.simulate(np.random.default_rng(0).random((600, 2))).counts
    assert len(scaling.examples(counts, noise)) == 600
    monkeypatch.setattr(scaling, "MOST_NUMBERS", 50 * noise.n_inputs)
    assert len(scaling.examples(counts, noise)) == 50
