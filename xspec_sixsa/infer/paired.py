"""Parameters to expected spectra and back by networks: paired auto-encoders, trained jointly.

Parameters and spectra each have an auto-encoder, and linear maps between the two latent spaces make a forward
surrogate (``E_q``, ``M``, ``D_b``: parameters to spectrum) and a surrogate inverse (``E_b``, ``M+``, ``D_q``: recorded
spectrum to parameters). `emulator.Emulator` is their linear closed form. Spectra are given as principal components in
units of their own noise, so that the networks are as small for ten thousand bins as for a hundred.

Chung, Hart, Chung, Peters & Haber, arXiv 2405.13220.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from xspec_sixsa.infer.coordinates import EDGE, Whitening
from xspec_sixsa.infer.emulator import ReducedEmulator
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.training import train

__all__ = ["STEPS", "PairedEmulator"]

Points = NDArray[np.float64]

LATENT = 64  # numbers of either latent space; the spectrum's has no more than there are components
WIDTH = 64  # of the networks' hidden layers
STEPS = 1000
BATCH = 128
LEARNING_RATE = 3e-3
HELD_OUT = 0.1
RECORDED = 4  # recorded spectra for each evaluated one: the inverse must not take noise for parameters
SHARES = torch.tensor([0.1, 0.1, 1.0, 0.1])  # of the misses in the loss: proposals stand on the forward surrogate
TIED = 1.0  # of the distance to the first guess in latent-space inversion, in units of the latents' scatter
ITERATIONS = 200


class _Map(nn.Module):
    """A linear map plus a network with two hidden layers."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.curved = nn.Sequential(
            nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.curved(x)


class _Pair(nn.Module):
    """Both auto-encoders, of d parameters and k components, and the linear maps between their latent spaces."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        latent = min(k, LATENT)
        self.encode_q, self.decode_q = _Map(d, LATENT), _Map(LATENT, d)
        self.encode_b, self.decode_b = _Map(k, latent), _Map(latent, k)
        self.forth, self.back = nn.Linear(LATENT, latent), nn.Linear(latent, LATENT)

    def spectrum(self, q: Tensor) -> Tensor:
        """The forward surrogate."""
        return self.decode_b(self.forth(self.encode_q(q)))

    def inverse(self, b: Tensor) -> Tensor:
        """The surrogate inverse."""
        return self.decode_q(self.back(self.encode_b(b)))

    def misses(self, q: Tensor, b: Tensor, recorded: Tensor, unit: Tensor) -> Tensor:
        """Squared misses (n, 4): of both auto-encoders, the forward surrogate, and the surrogate inverse.

        Spectra are missed in units of their noise, of which `unit` (k,) has the components' scale.
        """
        z_q, z_b = self.encode_q(q), self.encode_b(recorded)
        spectra = [self.decode_b(z) for z in (z_b, self.forth(z_q))]
        parameters = [self.decode_q(z) for z in (z_q, self.back(z_b))]
        of_spectra = [((found - b) * unit).square().sum(dim=1) for found in spectra]
        of_parameters = [(found - q).square().sum(dim=1) for found in parameters]
        return torch.stack([of_parameters[0], *of_spectra, of_parameters[1]], dim=1)


class PairedEmulator(ReducedEmulator):
    """Unit-cube parameters to expected source counts, and recorded spectra to parameters, by networks.

    Training draws weights and noise from torch's default generator.

    Parameters
    ----------
    u, counts, weights, noise
        As for `ReducedEmulator`.
    steps : int, default 1000
    tick : callable, optional
        Called with the number of steps just made.

    Attributes
    ----------
    curve : dict of str to list of float
        Of the training: see `training.train`.
    """

    def __init__(
        self,
        u: Points,
        counts: Tensor,
        weights: Points,
        noise: Noise,
        *,
        steps: int = STEPS,
        tick: Callable[[int], None] = lambda n: None,
    ) -> None:
        super().__init__(u, counts, weights, noise)
        share = torch.tensor(self._weights / self._weights.sum())
        self._whitening = Whitening.of(self._u, self._weights)
        self._scale = (share @ self._latents.square()).sqrt().clamp(min=1e-6)
        pair = _Pair(self._u.shape[1], self.components)
        self.curve = self._train(pair, share, steps, tick)
        # trained in single precision: searches and inversions take differences
        self._pair = pair.double().requires_grad_(False)
        latents = self._pair.encode_q(self._q(self._u))
        self._scatter = (share @ (latents - share @ latents).square()).sqrt().clamp(min=1e-6)

    def _train(self, pair: _Pair, share: Tensor, steps: int, tick: Callable[[int], None]) -> dict[str, list[float]]:
        recorded = [self._b(self._encode(self._noise.draw(self._counts_at_centres))) for _ in range(RECORDED)]
        noisy, q, b = torch.stack(recorded).float(), self._q(self._u).float(), (self._latents / self._scale).float()
        n, unit = len(q), self._scale.float()
        order = torch.randperm(n)
        split = max(int(HELD_OUT * n), 1)
        held_out, rest = order[:split], order[split:]
        # those that matter are drawn more often, but not only they: the rest of their weight is in the loss
        often = share[rest].sqrt()
        weight = (share * n).float()

        def miss(rows: Tensor, copies: Tensor, weights: Tensor) -> Tensor:
            found = pair.misses(q[rows], b[rows], noisy[copies, rows], unit)
            # the logarithm keeps one spectrum far off from ruling the batch
            return (weights[:, None] * torch.log1p(found) * SHARES).mean()

        def batch_loss() -> Tensor:
            j = torch.multinomial(often, BATCH, replacement=True)
            weights = weight[rest[j]] / (often[j] / often.mean()).float()
            return miss(rest[j], torch.randint(RECORDED, (BATCH,)), weights)

        return train(
            pair, batch_loss, lambda: miss(held_out, torch.zeros_like(held_out), weight[held_out]),
            steps=steps, learning_rate=LEARNING_RATE, tick=tick,
        )  # fmt: skip

    # networks see points and components on scales on which what is far off comes nearer

    def _q(self, u: Points) -> Tensor:
        return torch.asinh(torch.tensor(self._whitening.forward(u)))

    def _u_of(self, q: Tensor) -> Points:
        return self._whitening.inverse(torch.sinh(q).numpy())[0]

    def _b(self, latents: Tensor) -> Tensor:
        return torch.asinh(latents / self._scale)

    def _predicted(self, u: Points) -> Tensor:
        return self._pair.spectrum(self._q(u)) * self._scale

    def _smooth(self, u: Tensor) -> Tensor:
        z = torch.special.ndtri(u.clamp(EDGE, 1 - EDGE)) - torch.tensor(self._whitening.centre)
        w = torch.linalg.solve_triangular(torch.tensor(self._whitening.factor), z.T, upper=False).T
        return self._pair.spectrum(torch.asinh(w)) * self._scale

    # -- the inverse half ------------------------------------------------------------------------------------------

    def parameters(self, recorded: Tensor) -> Points:
        """Points (n, d) in the cube for recorded spectra (n, n_inputs): one pass of the surrogate inverse."""
        return self._u_of(self._pair.inverse(self._b(self._encode(recorded))))

    def _returned(self, found: Points) -> Points:
        return self._u_of(self._pair.decode_q(self._pair.encode_q(self._q(found))))

    def starts(self) -> Points:
        """Points (2, d) of the cube: where one pass puts the observation, and where its inversion ends."""
        return np.concatenate([self.parameters(self._noise.observed[None]), self.inverted()[None]])

    def inverted(self) -> Points:
        """Latent-space inversion of the observation: a point (d,) of the cube.

        The latent parameters whose spectrum, by the forward surrogate, has the best fit statistic, tied to those that
        one pass gives (Chung et al.: ``1/2 |F(D_q(z)) - b|^2 + alpha/2 |z - z*|^2``, here with the statistic itself).
        """
        guess = self._pair.back(self._pair.encode_b(self._b(self._encode(self._noise.observed[None]))))[0]

        @torch.enable_grad()
        def misfit(values: Points) -> tuple[float, Points]:
            away = torch.tensor(values, requires_grad=True)
            q = self._pair.decode_q(guess + self._scatter * away)[None]
            counts = self._counts_of(self._pair.spectrum(q) * self._scale)
            found = 0.5 * TIED * away.square().sum() - self._noise.statistics.log_likelihood(counts).sum()
            (gradient,) = torch.autograd.grad(found, away)
            return float(found.detach()), gradient.numpy()

        away = minimize(misfit, np.zeros(len(guess)), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
        return self._u_of(self._pair.decode_q(guess + self._scatter * torch.tensor(away))[None])[0]
