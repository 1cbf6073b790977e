"""What compressors have in common: recorded spectra to summaries, of order one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from xspec_sixsa.infer.noise import Noise

__all__ = ["Compressor", "summarise"]


class Compressor(Protocol):
    """What the pipeline asks of a compressor."""

    name: str
    curve: dict[str, list[float]]

    def fit(self, expected: Tensor, noise: Noise, tick: Callable[[int], None] = ...) -> None:
        """Learn from noiseless simulated spectra (n, n_bins); draws from torch's default generator."""

    def __call__(self, recorded: Tensor) -> Tensor:
        """Recorded spectra (n, n_inputs) to summaries (n, n_summaries)."""

    @property
    def state(self) -> dict[str, Tensor]:
        """What `fit` has set, by dotted names; empty where it serves one observation only."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` has given, in place of `fit`."""


def summarise(compress: Compressor, expected: Tensor, noise: Noise, chunk: int = 1024) -> Tensor:
    """Summaries (n, n_summaries) of noise drawn on noiseless spectra (n, n_bins), in chunks to bound the memory."""
    return torch.cat([compress(noise.draw(part)) for part in expected.split(chunk)])
