"""Recorded counts to numbers of order one, as networks like them, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from xspec_sixsa.infer.noise import Noise

__all__ = ["Scaling", "examples"]

EXAMPLES = 3000  # spectra that set mean and spread: enough for both to a few per cent
MOST_NUMBERS = 30_000_000  # in them all: every copy in double precision takes 240 MB
WIDEST = 10.0  # standard deviations; a bin that is always empty in training would else blow a single count up
LEAST_SPREAD = 1e-7  # float32's relative resolution: a smaller spread carries nothing


def examples(expected: Tensor, noise: Noise) -> Tensor:
    """Recorded spectra (n, n_inputs) that scalings and components are found on, of noiseless ones (>= n, n_bins)."""
    return noise.draw(expected[: min(EXAMPLES, MOST_NUMBERS // noise.n_inputs)])


class Scaling:
    """``log1p`` for Poisson counts, ``asinh(x / sigma)`` for Gaussian ones, then standardised input by input.

    Parameters
    ----------
    gaussian : Tensor of bool, shape (n_inputs,)
    sigma, mean, spread : Tensor, shape (n_inputs,)
    """

    def __init__(self, gaussian: Tensor, sigma: Tensor, mean: Tensor, spread: Tensor) -> None:
        self._gaussian, self._sigma, self.mean, self.spread = gaussian, sigma, mean, spread

    @classmethod
    def of(cls, noise: Noise, recorded: Tensor) -> Scaling:
        """The scaling whose mean and spread training spectra (n, n_inputs) set."""
        found = cls(noise.gaussian, noise.sigma, noise.sigma, noise.sigma)
        y = found._stretch(recorded)
        found.mean, found.spread = y.mean(dim=0), y.std(dim=0).clamp(min=LEAST_SPREAD)
        return found

    @property
    def state(self) -> dict[str, Tensor]:
        """Its parameters by name."""
        return {"gaussian": self._gaussian, "sigma": self._sigma, "mean": self.mean, "spread": self.spread}

    def _stretch(self, recorded: Tensor) -> Tensor:
        poisson = torch.log1p(recorded.clamp(min=0))
        if not bool(self._gaussian.any()):
            return poisson
        return torch.where(self._gaussian, torch.asinh(recorded / self._sigma), poisson)

    def forward(self, recorded: Tensor) -> Tensor:
        """Recorded (float64) to scaled (float32), both of shape (n, n_inputs)."""
        return ((self._stretch(recorded) - self.mean) / self.spread).clamp(-WIDEST, WIDEST).float()

    def inverse(self, scaled: Tensor) -> Tensor:
        """Scaled to expected (float64): positive for Poisson inputs, differentiable."""
        y = scaled.double() * self.spread + self.mean
        # expm1 of a softened stretch keeps Poisson reconstructions positive with a gradient everywhere
        poisson = torch.expm1(torch.nn.functional.softplus(y, beta=20))
        if not bool(self._gaussian.any()):
            return poisson
        return torch.where(self._gaussian, torch.sinh(y) * self._sigma, poisson)
