"""The gradient of the log likelihood at a fiducial point: as many numbers as parameters (ASPIRE, arXiv 2405.05398).

With the model's expected counts m and their derivatives J at the fiducial, the score of Poisson counts x is
``J^T (x/m - 1)``; near the fiducial no other summary of that size knows more (Alsing & Wandelt 2018, MNRAS 476, L60).
The further away the truth, the more is lost, so that fiducials are chosen anew each round, at the posterior's mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.infer.compress.scaling import examples
from xspec_sixsa.infer.noise import Noise

__all__ = ["Fiducial", "Score"]

PRIOR_PRECISION = 12.0  # of a uniform prior in the unit cube, added to the Fisher information


@dataclass(frozen=True, eq=False)
class Fiducial:
    """A parameter set at which the model's derivatives are known.

    Attributes
    ----------
    counts : Tensor, float64, shape (n_bins,)
        Expected source counts.
    slopes : Tensor, float64, shape (n_bins, d)
        Their derivatives by unit-cube coordinates.
    """

    counts: Tensor
    slopes: Tensor

    def information(self, noise: Noise) -> Tensor:
        """Fisher information of the recorded spectrum and the prior together, (d, d)."""
        d = self.slopes.shape[1]
        weighted = self.slopes / noise.net_variance(self.counts)[:, None]
        return self.slopes.T @ weighted + PRIOR_PRECISION * torch.eye(d, dtype=torch.float64)


class Score:
    """Scores at one fiducial or several, whitened by the Fisher information: d numbers for each.

    Whitened scores are in units of their own noise, thousands of which lie between a prior's spectra: ``asinh`` leaves
    those near the fiducial as they are, and takes the logarithm of the others.

    Parameters
    ----------
    fiducials : sequence of Fiducial
        One for each mode of the posterior.

    Raises
    ------
    ValueError
        Without a fiducial.
    """

    name = "score"

    def __init__(self, fiducials: Sequence[Fiducial] = ()) -> None:
        if not fiducials:
            raise ValueError("The score compressor needs the model's derivatives at one fiducial point at least.")
        self.fiducials = list(fiducials)
        self.curve: dict[str, list[float]] = {}

    def fit(self, expected: Tensor, noise: Noise, tick: Callable[[int], None] = lambda n: None) -> None:
        """Set weights by the fiducials, and the scaling from noiseless spectra of shape (n, n_bins)."""
        self._noise, weights = noise, []
        for point in self.fiducials:
            root = torch.linalg.cholesky(point.information(noise))
            score = point.slopes.T / noise.net_variance(point.counts)
            weights.append(torch.linalg.solve_triangular(root, score, upper=False))
        self._weights = torch.cat(weights)
        self._zero = torch.cat([w @ point.counts for w, point in zip(weights, self.fiducials, strict=True)])
        values = self._scores(examples(expected, noise))
        self._centre, self._spread = values.mean(dim=0), values.std(dim=0).clamp(min=1e-6)

    def _scores(self, recorded: Tensor) -> Tensor:
        return torch.asinh(self._noise.net(recorded) @ self._weights.T - self._zero)

    def __call__(self, recorded: Tensor) -> Tensor:
        """Standardised scores, shape (n, d fiducials)."""
        return ((self._scores(recorded) - self._centre) / self._spread).clamp(-10, 10).float()

    @property
    def state(self) -> dict[str, Tensor]:
        """Empty: fiducials are points of one observation's posterior."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing that could be taken up."""
        raise TypeError("The score's fiducials belong to one observation: fit it anew.")

    def information_kept(self, at: Sequence[Fiducial]) -> NDArray[np.float64]:
        """Share of the information on each parameter that the scores still hold, (d,): variances' ratio, averaged.

        Parameters
        ----------
        at : sequence of Fiducial
            Of the posterior. The variances are those of the Fisher information, the prior included.
        """
        shares = []
        for point in at:
            slopes = self._weights @ point.slopes
            covariance = (self._weights * self._noise.net_variance(point.counts)) @ self._weights.T
            # two fiducials that are close to each other have nearly the same scores
            told = slopes.T @ torch.linalg.pinv(covariance, hermitian=True, rtol=1e-10) @ slopes
            kept = torch.linalg.inv(told + PRIOR_PRECISION * torch.eye(len(told), dtype=torch.float64)).diagonal()
            shares.append(torch.linalg.inv(point.information(self._noise)).diagonal() / kept)
        return torch.stack(shares).mean(dim=0).numpy()
