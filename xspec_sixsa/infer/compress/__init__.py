"""Spectrum to summary: four compressors behind one protocol.

A compressor is trained once a round and then maps recorded spectra (n, n_inputs), float64, to summaries
(n, n_summaries), float32, of order one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from xspec_sixsa.infer.noise import Noise

__all__ = ["COMPRESSORS", "Compressor", "compressor", "summarise"]

COMPRESSORS = ("autoencoder", "pca", "bands", "none")


class Compressor(Protocol):
    """What the pipeline asks of a compressor."""

    name: str
    curve: dict[str, list[float]]

    def fit(self, expected: Tensor, noise: Noise, tick: Callable[[int], None] = ...) -> None:
        """Learn from noiseless simulated spectra (n, n_bins); draws from torch's default generator."""

    def __call__(self, recorded: Tensor) -> Tensor:
        """Recorded spectra (n, n_inputs) to summaries (n, n_summaries)."""


def compressor(name: str, **options: int | float) -> Compressor:
    """A fresh compressor by name.

    Parameters
    ----------
    name : {"autoencoder", "pca", "bands", "none"}
    **options
        The compressor's own: ``latent``, ``hidden``, ``steps`` (autoencoder), ``variance`` (pca), ``bands`` (bands).

    Raises
    ------
    ValueError
        For another name.
    """
    from xspec_sixsa.infer.compress.autoencoder import Autoencoder
    from xspec_sixsa.infer.compress.fixed import Bands, Identity, PrincipalComponents

    known = dict(zip(COMPRESSORS, (Autoencoder, PrincipalComponents, Bands, Identity), strict=True))
    if name not in known:
        raise ValueError(f"Unknown compressor {name!r}: type one of {', '.join(COMPRESSORS)}.")
    return known[name](**options)


def summarise(compress: Compressor, expected: Tensor, noise: Noise, chunk: int = 1024) -> Tensor:
    """Summaries (n, n_summaries) of noise drawn on noiseless spectra (n, n_bins), in chunks to bound the memory."""
    return torch.cat([compress(noise.draw(part)) for part in expected.split(chunk)])
