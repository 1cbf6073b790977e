"""Where a flow says that the posterior is, and draws from the prior restricted to there (SIXSA III)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Region"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]


@dataclass
class Region:
    """The highest-density region of a flow's posterior: the ball of its base that holds all but `truncation`."""

    posterior: NeuralPosterior
    radius: float

    @classmethod
    def of(cls, posterior: NeuralPosterior, truncation: float, simulations: Simulations) -> Region:
        """The region of a posterior, wide enough for the simulations that are likely by their exact likelihoods."""
        region = cls(posterior, float(np.sqrt(stats.chi2.ppf(1 - truncation, simulations.u.shape[1]))))
        # the exact likelihoods know better than a flow that is too sure: simulations of the posterior stay inside
        depth = 0.5 * stats.chi2.ppf(1 - truncation, simulations.u.shape[1])
        best = simulations.u[simulations.log_likelihood >= simulations.log_likelihood.max() - depth]
        outermost = float(region._distance(best).max())
        if outermost > region.radius:
            log.info(
                "the region is widened from %.1f to %.1f base radii: the best simulations lie outside",
                region.radius,
                outermost,
            )
            region.radius = outermost
        return region

    @torch.no_grad()
    def _distance(self, u: Points) -> NDArray[np.float64]:
        w = torch.tensor(self.posterior.whitening.forward(u), dtype=torch.float32)
        return self.posterior.flow.transform(w).norm(dim=1).double().numpy()

    def contains(self, u: Points) -> NDArray[np.bool_]:
        """Whether points (n, d) lie in the region."""
        return self._distance(u) <= self.radius

    @torch.no_grad()
    def draw(self, n: int, within: list[Region], pool: int = 20) -> Points:
        """Draws from the prior restricted to this region and the earlier ones, shape (<= n, d).

        Uniform draws in the base's ball are resampled, without replacement, by the prior density that the flow's
        volume change gives them: the posterior's shape does not matter, where rejection from the prior or its box
        would accept almost nothing.
        """
        d = len(self.posterior.whitening.centre)
        direction = torch.nn.functional.normalize(torch.randn(pool * n, d), dim=1)
        base = direction * self.radius * torch.rand(pool * n, 1) ** (1 / d)
        w, log_det = self.posterior.flow.transform.inv.call_and_ladj(base)
        u, log_volume = self.posterior.whitening.inverse(w.double().numpy())
        log_weight = log_volume + log_det.double().numpy()
        for region in within:
            log_weight = np.where(region.contains(u), log_weight, -np.inf)
        # Gumbel's trick: the n largest are a weighted draw without replacement
        noise = -np.log(-np.log(torch.rand(len(u), dtype=torch.float64).clamp(min=1e-300).numpy()))
        order = np.argsort(-(log_weight + noise))[:n]
        return u[order[np.isfinite(log_weight[order])]]
