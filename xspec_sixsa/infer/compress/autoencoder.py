"""The auto-encoder of SIXSA III: a fully connected bottleneck trained with the Cash statistic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xspec_sixsa.infer.compress.scaling import Scaling, examples
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.trained import named, within
from xspec_sixsa.infer.training import train

__all__ = ["Autoencoder"]

HELD_OUT = 0.1
BATCH = 256
MANY_INPUTS = 1000


class Autoencoder:
    """Fully connected, GELU; the loss is the C-stat between recorded spectrum and reconstruction.

    Poisson noise is drawn afresh for every batch from the noiseless simulations, so that each recorded spectrum is
    seen once only.

    Parameters
    ----------
    latent : int, default 64
        Numbers kept (SIXSA III: 64 for X-IFU-like spectra); never more than there are inputs.
    hidden : int, default 128
    steps : int, default 600
        Fewer, but at least a sixth, where there are more than a thousand inputs: components that begin as the
        principal ones need little more, and every step costs in proportion to the inputs.
    learning_rate : float, default 2e-3

    References
    ----------
    Barret & Dupourque, arXiv 2512.16709, section 3.
    """

    name = "autoencoder"

    def __init__(self, latent: int = 64, hidden: int = 128, steps: int = 600, learning_rate: float = 2e-3) -> None:
        self.latent, self.hidden, self.learning_rate = latent, hidden, learning_rate
        self.steps = steps
        self.curve: dict[str, list[float]] = {}

    def fit(self, expected: Tensor, noise: Noise, tick: Callable[[int], None] = lambda n: None) -> None:
        """Train on noiseless spectra of shape (n, n_bins)."""
        n, width, latent = noise.n_inputs, self.hidden, min(self.latent, noise.n_inputs)
        steps = max(int(self.steps * min(1.0, MANY_INPUTS / n)), self.steps // 6)
        recorded = examples(expected, noise)
        self._scaling = scaling = Scaling.of(noise, recorded)
        scaled = scaling.forward(recorded)
        _, singular, basis = torch.svd_lowrank(scaled - scaled.mean(dim=0), q=latent, niter=4)
        unit = (singular / len(scaled) ** 0.5).clamp(min=1e-6)
        self._encoder = _Residual(basis.T / unit[:, None], width)
        decoder = _Residual(basis * unit, width)
        order = torch.randperm(len(expected))
        batch, most = (BATCH, 1000) if n <= MANY_INPUTS else (BATCH // 2, BATCH // 2)
        split = min(max(int(HELD_OUT * len(order)), 1), most)
        held_out, rest = order[:split], order[split:]
        recorded_held_out = noise.draw(expected[held_out])

        def statistic(recorded: Tensor, counts: Tensor) -> Tensor:
            reconstruction = scaling.inverse(decoder(self._encoder(scaling.forward(recorded))))
            # the logarithm keeps one spectrum far off from ruling the batch, and orders spectra as C-stat does
            return torch.log1p(noise.statistic(noise.expected(counts), reconstruction) / n).mean()

        def batch_loss() -> Tensor:
            counts = expected[rest[torch.randint(len(rest), (batch,))]]
            return statistic(noise.draw(counts), counts)

        self.curve = train(
            nn.ModuleList([self._encoder, decoder]),
            batch_loss,
            lambda: statistic(recorded_held_out, expected[held_out]),
            steps=steps,
            learning_rate=self.learning_rate,
            tick=tick,
        )
        tick(self.steps - steps)
        self._decoder = decoder
        latents = self._latents(recorded_held_out)
        self._centre, self._spread = latents.mean(dim=0), latents.std(dim=0).clamp(min=1e-6)

    @torch.no_grad()
    def _latents(self, recorded: Tensor) -> Tensor:
        return self._encoder(self._scaling.forward(recorded))

    def __call__(self, recorded: Tensor) -> Tensor:
        """Latents, standardised, of shape (n, latent)."""
        return (self._latents(recorded) - self._centre) / self._spread

    @property
    def state(self) -> dict[str, Tensor]:
        """What `fit` has set, by dotted names."""
        parts = {"scaling": self._scaling.state, "encoder": self._encoder.state_dict()}
        parts |= {"decoder": self._decoder.state_dict(), "latents": {"centre": self._centre, "spread": self._spread}}
        return {key: value for name, part in parts.items() for key, value in named(name, part).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` has given, in place of `fit`."""
        self._scaling = Scaling(**within("scaling", state))
        self._encoder, self._decoder = (_Residual.of(within(name, state)) for name in ("encoder", "decoder"))
        self._centre, self._spread = state["latents.centre"], state["latents.spread"]

    @torch.no_grad()
    def reconstruct(self, recorded: Tensor) -> Tensor:
        """Expected inputs behind recorded ones, both of shape (n, n_inputs)."""
        return self._scaling.inverse(self._decoder(self._latents(recorded)))


class _Residual(nn.Module):
    """A linear map, begun at given values (principal components), plus a GELU network that begins at zero."""

    def __init__(self, linear: Tensor, width: int) -> None:
        super().__init__()
        outputs, inputs = linear.shape
        self.linear = nn.Linear(inputs, outputs)
        first, middle, last = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, outputs)
        self.curved = nn.Sequential(first, nn.GELU(), middle, nn.GELU(), last)
        with torch.no_grad():
            self.linear.weight.copy_(linear)
            for layer in (self.linear.bias, last.weight, last.bias):
                layer.zero_()

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> _Residual:
        """The network that has this state."""
        found = cls(state["linear.weight"], len(state["curved.0.weight"]))
        found.load_state_dict(state)
        return found.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.curved(x)
