"""Compressors without training by gradient: principal components, band summaries, and none at all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xspec_sixsa.infer.compress.scaling import Scaling, examples
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.trained import named, within

__all__ = ["Bands", "Identity", "PrincipalComponents"]


class Identity:
    """The scaled spectrum itself."""

    name = "none"

    def __init__(self) -> None:
        self.curve: dict[str, list[float]] = {}

    def fit(self, expected: Tensor, noise: Noise, tick: Callable[[int], None] = lambda n: None) -> None:
        """Set the scaling from noiseless spectra of shape (n, n_bins)."""
        self._fit_recorded(examples(expected, noise), noise)

    def _fit_recorded(self, recorded: Tensor, noise: Noise) -> None:
        self._scaling = Scaling.of(noise, recorded)

    def __call__(self, recorded: Tensor) -> Tensor:
        """Scaled spectra, shape (n, n_inputs)."""
        return self._scaling.forward(recorded)

    @property
    def state(self) -> dict[str, Tensor]:
        """What `fit` has set, by dotted names."""
        return named("scaling", self._scaling.state)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` has given, in place of `fit`."""
        self._scaling = Scaling(**within("scaling", state))


class PrincipalComponents(Identity):
    """The principal components that hold most of the scaled spectra's variance.

    Parameters
    ----------
    variance : float, default 0.995
        Share of the variance kept (SIXSA III).
    most : int, default 256
        Never more components than this: with noisy bins the share would ask for nearly all of them.
    """

    name = "pca"

    def __init__(self, variance: float = 0.995, most: int = 256) -> None:
        super().__init__()
        self.variance, self.most = variance, most

    def _fit_recorded(self, recorded: Tensor, noise: Noise) -> None:
        super()._fit_recorded(recorded, noise)
        scaled = self._scaling.forward(recorded)
        rank = min(*scaled.shape, self.most)
        _, singular, basis = torch.svd_lowrank(scaled - scaled.mean(dim=0), q=rank, niter=4)
        share = (singular**2).cumsum(0) / (scaled.var(dim=0).sum() * (len(scaled) - 1))
        keep = min(int((share < self.variance).sum()) + 1, rank)
        self._centre = scaled.mean(dim=0)
        self._basis = basis[:, :keep] / (singular[:keep] / len(scaled) ** 0.5).clamp(min=1e-6)

    def __call__(self, recorded: Tensor) -> Tensor:
        """Whitened components, shape (n, kept)."""
        return (super().__call__(recorded) - self._centre) @ self._basis

    @property
    def state(self) -> dict[str, Tensor]:
        """What `fit` has set, by dotted names."""
        return super().state | {"centre": self._centre, "basis": self._basis}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` has given, in place of `fit`."""
        super().restore(state)
        self._centre, self._basis = state["centre"], state["basis"]


class Bands:
    """Sums, ratios and differential ratios of the counts in adjacent bands (SIXSA III, section 3).

    Parameters
    ----------
    bands : int, default 10
        Adjacent intervals per spectrum, of as nearly equal numbers of bins as can be.
    """

    name = "bands"

    def __init__(self, bands: int = 10) -> None:
        self.bands = bands
        self.curve: dict[str, list[float]] = {}

    def fit(self, expected: Tensor, noise: Noise, tick: Callable[[int], None] = lambda n: None) -> None:
        """Set the bands and the scaling from noiseless spectra of shape (n, n_bins)."""
        lengths = noise.lengths
        edges, start = [], 0
        for n in lengths:
            k = min(self.bands, n)
            edges += [(start + i * n // k, start + (i + 1) * n // k) for i in range(k)]
            start += n
        self._edges = edges
        values = self._summaries(examples(expected, noise))
        self._mean, self._spread = values.mean(dim=0), values.std(dim=0).clamp(min=1e-6)

    def _summaries(self, recorded: Tensor) -> Tensor:
        sums = torch.stack([recorded[:, a:b].sum(dim=1) for a, b in self._edges], dim=1)
        # half a count keeps the ratios of empty bands finite
        lower, upper = sums[:, :-1].clamp(min=0) + 0.5, sums[:, 1:].clamp(min=0) + 0.5
        return torch.cat(
            [torch.log1p(sums.clamp(min=0)), torch.log(upper / lower), (upper - lower) / (upper + lower)], dim=1
        )

    def __call__(self, recorded: Tensor) -> Tensor:
        """Summaries, shape (n, 3 bands - 2)."""
        return ((self._summaries(recorded) - self._mean) / self._spread).clamp(-10, 10).float()

    @property
    def state(self) -> dict[str, Tensor]:
        """What `fit` has set, by name."""
        return {"edges": torch.tensor(self._edges), "mean": self._mean, "spread": self._spread}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` has given, in place of `fit`."""
        self._edges = [(a, b) for a, b in state["edges"].tolist()]
        self._mean, self._spread = state["mean"], state["spread"]
