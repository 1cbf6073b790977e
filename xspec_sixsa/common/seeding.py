"""One seed for a whole run, with an independent stream for every purpose; no global state is left changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from zlib import crc32

import numpy as np

__all__ = ["Streams"]


class Streams:
    """Named, independent random streams of one seed.

    A stream depends on the seed and its own name only, so that adding a stage leaves the others' draws alone and a
    resumed run draws what the stopped one would have drawn.

    Parameters
    ----------
    seed : int or None
        None takes fresh entropy; `seed` then holds it, so that the run can be repeated.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = _fresh_entropy() if seed is None else int(seed)

    def _sequence(self, name: str, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=(crc32(name.encode()), index))

    def numpy(self, name: str, index: int = 0) -> np.random.Generator:
        """A NumPy generator for the stream `name`, `index`."""
        return np.random.default_rng(self._sequence(name, index))

    @contextlib.contextmanager
    def torch(self, name: str, index: int = 0) -> Iterator[None]:
        """Torch's default generator seeded for the stream inside the block, and put back after it.

        Networks initialise themselves from that generator and take no other.
        """
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._sequence(name, index).generate_state(1, np.uint64)[0] >> 1))
            yield


def _fresh_entropy() -> int:
    entropy = np.random.SeedSequence().entropy
    if not isinstance(entropy, int):
        raise TypeError(f"numpy's entropy is {type(entropy).__name__}, not int.")
    return entropy
