"""Neural posterior estimation: sbi's conditional neural spline flow, trained with noise drawn afresh."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from zuko.distributions import NormalizingFlow

from xspec_sixsa.infer.estimate.estimator import Amortised, split
from xspec_sixsa.infer.training import train

__all__ = ["NeuralPosterior"]

BATCH = 256


class NeuralPosterior(Amortised):
    """The posterior given a recorded spectrum, as a flow in whitened probit coordinates of the unit cube.

    Parameters
    ----------
    hidden : int, default 64
    transforms : int, default 3
    steps : int, default 1000
    learning_rate : float, default 1e-2
    """

    name = "npe"

    def __init__(self, hidden: int = 64, transforms: int = 3, steps: int = 1000, learning_rate: float = 1e-2) -> None:
        super().__init__()
        self.hidden, self.transforms, self.steps, self.learning_rate = hidden, transforms, steps, learning_rate

    def _build(self, d: int, k: int) -> nn.Module:
        from sbi.neural_nets import posterior_nn

        build = posterior_nn(
            "zuko_nsf",
            z_score_theta="none",
            z_score_x="none",
            hidden_features=self.hidden,
            num_transforms=self.transforms,
        )
        # of the examples it takes the widths alone
        network: nn.Module = build(torch.zeros(2, d), torch.zeros(2, k))
        return network

    def learn(self, theta: Tensor, summaries: Tensor, tick: Callable[[int], None] = lambda n: None) -> None:
        """Learn from parameters (n, d) that scatter about like a unit normal, and their summaries (replicas, n, k)."""
        held_out, rest = split(len(theta))

        def loss() -> Tensor:
            i = rest[torch.randint(len(rest), (BATCH,))]
            return self._network.loss(theta[i], summaries[torch.randint(len(summaries), (BATCH,)), i]).mean()

        self.curve = train(
            self._network,
            loss,
            lambda: self._network.loss(theta[held_out], summaries[0, held_out]).mean(),
            steps=self.steps,
            learning_rate=self.learning_rate,
            tick=tick,
        )

    def density(self, context: Tensor) -> NormalizingFlow:
        """The flow given summaries (k,) or (n, k)."""
        return self._network.net(self._network.embedding_net(context))

    @property
    def flow(self) -> NormalizingFlow:
        """The flow conditioned on the observation, in whitened coordinates."""
        return self.density(self._context[0])
