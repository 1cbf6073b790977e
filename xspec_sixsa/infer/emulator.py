"""Parameters to expected spectra and back, learned from evaluations: paired auto-encoders in closed form.

The spectrum's auto-encoder is linear: principal components of spectra in units of their own noise. The parameters'
encoder are a quadratic trend and Gaussian kernels on the evaluated parameter sets. Linear maps between the two latent
spaces, in both directions, follow by ridge regression (a Gaussian process' posterior mean), so that nothing is trained
by gradient descent but a handful of length scales.

Chung, Hart, Chung, Peters & Haber, arXiv 2405.13220 (paired auto-encoders, RRE, RMA, latent-space inversion); Rasmussen
& Williams 2006, sections 2.2, 2.7 and 5.4 (kernels, explicit basis functions, marginal likelihood).
"""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xspec_sixsa.common.fitstatistic import CHUNK
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.regression import KernelRegression, principal_components

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Emulator", "Recovery", "ReducedEmulator", "SpectrumEmulator"]

Points = NDArray[np.float64]

FLOOR = 0.1  # counts added before the square root, so that it stays smooth where a bin is empty
LOST = 1e-3  # squared distance per spectrum, in units of the noise's variance, that the components may lose
CENTRES = 3000  # most parameter sets that carry kernels: the cost grows with their cube
PART = 10_000_000  # numbers that are decoded at once where spectra are kept: 80 MB
WIDE = 2000  # bins from which single precision decodes spectra: half the time, and errors far below the noise's


@dataclass(frozen=True)
class Recovery:
    """Whether a recorded spectrum is one that the model makes, judged without a further evaluation.

    Attributes
    ----------
    rre, rma : float
        Relative residual of the re-predicted spectrum, and distance of the recovered parameters from their own
        auto-encoder's, in unit-cube units (Chung et al., eq. 14).
    rre_limit, rma_limit : float
        99.9 % quantiles of the same for simulated spectra of the emulated posterior.
    u : ndarray, shape (d,)
        The starting point that latent-space inversion gives, in the unit cube.
    """

    rre: float
    rma: float
    rre_limit: float
    rma_limit: float
    u: Points

    def summary(self, error: float, evaluations: int, components: int) -> dict[str, Any]:
        """What a result keeps of it, beside the emulator's error in log L and what it learned from."""
        numbers = {"error": error, "evaluations": evaluations, "components": components}
        limits = {"rre": self.rre, "rre_limit": self.rre_limit, "rma": self.rma, "rma_limit": self.rma_limit}
        return numbers | limits | {"inside": self.inside, "start": self.u}

    @property
    def inside(self) -> bool:
        """Whether the observation looks like a simulated one."""
        return self.rre <= self.rre_limit and self.rma <= self.rma_limit


class SpectrumEmulator(ABC):
    """What every emulator gives, once it gives expected counts for points of the unit cube."""

    _noise: Noise

    @property
    def noise(self) -> Noise:
        """Of the observation that it is scored against."""
        return self._noise

    @abstractmethod
    def __call__(self, u: Points) -> Tensor:
        """Expected source counts (n, n_bins) at points of the unit cube (n, d)."""

    @abstractmethod
    def differentiable(self, u: Tensor) -> Tensor:
        """The same in float64 at points (n, d), float64, that gradients are wanted of."""

    @abstractmethod
    def recovery(self, u: Points) -> Recovery:
        """Judge the observation against spectra simulated at points (n, d) of the cube.

        Draws noise from torch's default generator.
        """

    def jacobian(self, u: Points) -> tuple[Tensor, Tensor]:
        """Expected source counts (n_bins,) at one point of the unit cube (d,), and their derivatives (n_bins, d).

        Forward derivatives by two backward passes: there are many more bins than parameters.
        """
        point = torch.tensor(u, requires_grad=True)
        counts = self.differentiable(point[None])[0]
        weights = torch.zeros_like(counts, requires_grad=True)
        (slope,) = torch.autograd.grad(counts, point, weights, create_graph=True)
        columns = [torch.autograd.grad(one, weights, retain_graph=True)[0] for one in slope]
        return counts.detach(), torch.stack(columns, dim=1)

    def given(self, noise: Noise) -> Self:
        """The same emulator, scored against another observation."""
        other = copy.copy(self)
        other._noise = noise
        return other

    def spectra(self, u: Points) -> Tensor:
        """The same in float32, for spectra that are kept: decoded in parts, so that they take little else."""
        rows = max(1, PART // self._noise.n_bins)
        return torch.cat([self(part).float() for part in np.array_split(u, -(-len(u) // rows))])

    @torch.no_grad()
    def smooth_log_likelihood(self, u: Points) -> Points:
        """`log_likelihood` without the rounding of single precision, which differences over short steps would show."""
        return self._noise.statistics.log_likelihood(self.differentiable(torch.tensor(u))).numpy()

    @torch.no_grad()
    def log_likelihood(self, u: Points) -> Points:
        """Emulated ``-statistic/2`` of the observation, shape (n,), to 0.001 or better near the posterior."""
        rows, statistics = max(16, CHUNK // self._noise.n_bins), self._noise.statistics
        parts = np.array_split(u, -(-len(u) // rows))
        return torch.cat([statistics.log_likelihood(self(part)) for part in parts]).numpy()


class ReducedEmulator(SpectrumEmulator):
    """What emulators of whole spectra share: a spectrum is reduced to its principal components, and judged by them.

    Parameters
    ----------
    u : ndarray, shape (n, d)
        Evaluated parameter sets.
    counts : Tensor, shape (n, n_bins)
        Their expected source counts.
    weights : ndarray, shape (n,)
        Where the emulator must be right.
    noise : Noise
    """

    def __init__(self, u: Points, counts: Tensor, weights: Points, noise: Noise) -> None:
        self._noise, self._gaussian = noise, noise.gaussian[: noise.n_bins]
        self._sigma = torch.where(self._gaussian, noise.sigma[: noise.n_bins], 1.0)
        self._background = noise.expected(torch.zeros(1, noise.n_bins))[0, : noise.n_bins]
        if len(u) > CENTRES:
            # the best, and every so many of the others: the emulator must know where the posterior is not
            order = np.argsort(-weights, kind="stable")
            others = np.linspace(CENTRES // 2, len(u) - 1, CENTRES - CENTRES // 2).astype(int)
            keep = np.sort(np.concatenate([order[: CENTRES // 2], order[others]]))
            u, counts, weights = u[keep], counts[torch.as_tensor(keep)], weights[keep]
        self._u, self._counts_at_centres, self._weights = u, counts, weights
        y, w = self._stabilise(counts + self._background), torch.tensor(weights / weights.sum())
        self._centre = w @ y
        y -= self._centre
        self._basis = principal_components(y, w, LOST)
        self._latents = y @ self._basis
        self._decode_type = torch.float32 if noise.n_bins > WIDE else torch.float64
        self._decoder = self._basis.T.to(self._decode_type).contiguous()

    @property
    def components(self) -> int:
        """Principal components of the spectrum's auto-encoder."""
        return self._basis.shape[1]

    def _stabilise(self, expected: Tensor) -> Tensor:
        """Expected counts, background included, (n, n_bins) in units in which noise has unit variance; float64."""
        expected = expected.double()
        poisson = 2 * (expected.clamp(min=0) + FLOOR).sqrt()
        return torch.where(self._gaussian, expected / self._sigma, poisson)

    def _counts(self, y: Tensor) -> Tensor:
        # in place: much of a run's time outside XSPEC is spent here
        poisson = y.clamp(min=0).square_().mul_(0.25).sub_(self._background + FLOOR).clamp_(min=0)
        if not bool(self._gaussian.any()):
            return poisson
        return torch.where(self._gaussian, y * self._sigma, poisson)

    @torch.no_grad()
    def __call__(self, u: Points) -> Tensor:
        """Expected source counts (n, n_bins), float64, at points of the unit cube (n, d)."""
        return self._counts_of(self._predicted(u))

    def _counts_of(self, latents: Tensor) -> Tensor:
        """Expected source counts (n, n_bins) of principal components (n, k)."""
        return self._counts(self._centre + (latents.to(self._decode_type) @ self._decoder).double())

    @abstractmethod
    def _predicted(self, u: Points) -> Tensor:
        """Principal components (n, k) of the spectra at points of the unit cube (n, d)."""

    @abstractmethod
    def _smooth(self, u: Tensor) -> Tensor:
        """The same of points (n, d), float64, that gradients are wanted of."""

    def differentiable(self, u: Tensor) -> Tensor:
        """Expected source counts (n, n_bins) at points (n, d), float64, that gradients are wanted of."""
        y = self._centre + self._smooth(u) @ self._basis.T
        poisson = (0.25 * y.clamp(min=0).square() - (self._background + FLOOR)).clamp(min=0)
        return torch.where(self._gaussian, y * self._sigma, poisson)

    # -- the inverse half ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _encode(self, recorded: Tensor) -> Tensor:
        """Principal components (n, k) of recorded inputs (n, n_inputs)."""
        return (self._stabilise(recorded[:, : self._noise.n_bins]) - self._centre) @ self._basis

    @abstractmethod
    def parameters(self, recorded: Tensor) -> Points:
        """Starting points (n, d) in the cube for recorded spectra (n, n_inputs).

        May draw noise from torch's default generator when it is first called.
        """

    @abstractmethod
    def _returned(self, found: Points) -> Points:
        """Points (n, d) of the cube through their own auto-encoder, and back."""

    def starts(self) -> Points:
        """Points (n, d) of the cube where the observation's parameters may lie."""
        return self.parameters(self._noise.observed[None])

    @torch.no_grad()
    def recovery(self, u: Points) -> Recovery:
        """Judge the observation against spectra simulated at points (n, d) of the cube.

        Draws noise from torch's default generator.
        """
        recorded = torch.cat([self._noise.observed[None], self._noise.draw(self(u))])
        found = self.parameters(recorded)
        again = self._returned(found)
        source = recorded[:, : self._noise.n_bins].double()
        predicted = self._noise.expected(self(found))[:, : self._noise.n_bins]
        rre = ((predicted - source).norm(dim=1) / source.norm(dim=1).clamp(min=1e-300)).numpy()
        rma = np.linalg.norm(found - again, axis=1)
        return Recovery(
            float(rre[0]), float(rma[0]), float(np.quantile(rre[1:], 0.999)), float(np.quantile(rma[1:], 0.999)),
            found[0],
        )  # fmt: skip


class Emulator(ReducedEmulator):
    """Unit-cube parameters to expected source counts, and recorded spectra to parameters.

    Parameters
    ----------
    u, counts, weights, noise
        As for `ReducedEmulator`.
    previous : Emulator, optional
        Whose length scales the search begins with.
    """

    _forward: KernelRegression

    def __init__(
        self, u: Points, counts: Tensor, weights: Points, noise: Noise, previous: Emulator | None = None
    ) -> None:
        super().__init__(u, counts, weights, noise)
        scales = None if previous is None else previous._forward.scales
        self._forward = KernelRegression(self._u, self._latents, self._weights, scales)

    def _predicted(self, u: Points) -> Tensor:
        return self._forward(u)

    def _smooth(self, u: Tensor) -> Tensor:
        return self._forward.differentiable(u)

    def parameters(self, recorded: Tensor) -> Points:
        """Starting points (n, d) in the cube for recorded spectra (n, n_inputs): see `ReducedEmulator`."""
        return self._decode(self._encode(recorded))

    def _returned(self, found: Points) -> Points:
        # through the spectrum: the parameters' encoder, kernels, has no decoder of its own
        return self._decode(self._forward(found))

    @torch.no_grad()
    def _decode(self, latents: Tensor) -> Points:
        return np.clip(self._inverse(latents[:, self._told].numpy()).numpy(), 0.0, 1.0)

    @functools.cached_property
    def _told(self) -> Tensor:
        """Which latents the inverse looks at: those that differ most."""
        return torch.argsort(self._latents.var(dim=0), descending=True)[: 3 * self._u.shape[1]]

    @functools.cached_property
    def _inverse(self) -> KernelRegression:
        # learned from recorded spectra, so that it does not take noise for parameters
        noisy = self._encode(self._noise.draw(self._counts_at_centres))
        with torch.enable_grad():
            return KernelRegression(noisy[:, self._told].numpy(), torch.tensor(self._u), self._weights)
