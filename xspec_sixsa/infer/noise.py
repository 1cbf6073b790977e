"""What the detector would have recorded: noise added to expected counts, and the inputs that networks see.

A network's input is the recorded spectrum: for every bin the source counts, then, for spectra with a background file,
the background counts (W-statistic: METHOD.md section 5), and for Gaussian spectra the net counts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xspec_sixsa.common.fitstatistic import ObservedStatistic, wstat_of
from xspec_sixsa.common.observation import Observation

__all__ = ["Noise"]

LEAST_COUNTS = 1e-6  # expected counts below this are as good as none, and a Poisson logarithm needs a positive number


class Noise:
    """The noise of one observation.

    Parameters
    ----------
    observation : Observation

    Attributes
    ----------
    observed : Tensor, shape (n_inputs,)
        The observation itself, as networks see it.
    observation : Observation
    n_bins, n_inputs : int
        Noticed bins of all spectra; those plus one input for every background bin.
    lengths : list of int
        The inputs' blocks: every spectrum's source bins, then every background's.
    gaussian : Tensor of bool, shape (n_inputs,)
        Which inputs have Gaussian noise.
    statistics : ObservedStatistic
        The fit statistic of the observation.
    """

    def __init__(self, observation: Observation) -> None:
        self.observation, self.statistics = observation, ObservedStatistic(observation)
        source, background, sigma, ratio, has_background = [], [], [], [], []
        for s in observation.spectra:
            n = len(s.counts)
            is_gaussian = s.statistic == "chi"
            with_background = s.background is not None and not is_gaussian
            source.append(s.counts - s.expected_background if is_gaussian else s.counts)
            sigma.append(np.zeros(n) if s.sigma is None or not is_gaussian else s.sigma)
            background.append(np.zeros(n) if s.background is None or is_gaussian else s.background)
            ratio.append(np.zeros(n) if s.background_ratio is None or is_gaussian else s.background_ratio)
            has_background.append(np.full(n, with_background))
        self.n_bins = sum(len(s) for s in source)
        self.lengths = [len(s) for s in source] + [
            len(b) for b, has in zip(background, has_background, strict=True) if has.any()
        ]
        self._sigma = torch.tensor(np.concatenate(sigma))
        self._background = torch.tensor(np.concatenate(background))
        self._ratio = torch.tensor(np.concatenate(ratio))
        self._has_background = torch.tensor(np.concatenate(has_background))
        source_gaussian = self._sigma > 0
        self.gaussian = torch.cat([source_gaussian, torch.zeros(int(self._has_background.sum()), dtype=torch.bool)])
        self.sigma = torch.cat([self._sigma, self._sigma.new_ones(len(self.gaussian) - self.n_bins)])
        self.observed = torch.cat([torch.tensor(np.concatenate(source)), self._background[self._has_background]])
        self.n_inputs = len(self.observed)

    def draw(self, counts: Tensor) -> Tensor:
        """Recorded spectra for expected source counts, from torch's default generator.

        Parameters
        ----------
        counts : Tensor, shape (n, n_bins)
            Expected source counts of all spectra.

        Returns
        -------
        Tensor, shape (n, n_inputs)
            The background's intensity is drawn from ``Gamma(B_obs + 1/2)`` bin by bin, its posterior under
            Jeffreys' prior.
        """
        counts = counts.double()
        has = self._has_background
        expected, recorded_background = counts.clamp(min=0), counts[:, :0]
        if bool(has.any()):
            intensity = torch.distributions.Gamma(self._background[has] + 0.5, 1.0).sample((len(counts),))
            expected = expected.clone()
            expected[:, has] += self._ratio[has] * intensity
            recorded_background = torch.poisson(intensity)
        recorded = torch.poisson(expected)
        g = self._sigma > 0
        if bool(g.any()):
            recorded[:, g] = counts[:, g] + self._sigma[g] * torch.randn(len(counts), int(g.sum()), dtype=counts.dtype)
        return torch.cat([recorded, recorded_background], dim=1)

    def expected(self, counts: Tensor) -> Tensor:
        """What `draw` gives on average: noiseless inputs (n, n_inputs) for expected source counts (n, n_bins)."""
        counts = counts.double()
        intensity = (self._background[self._has_background] + 0.5).expand(len(counts), -1)
        source = counts.clone()
        source[:, self._has_background] += self._ratio[self._has_background] * intensity
        return torch.cat([source, intensity], dim=1)

    def net(self, recorded: Tensor) -> Tensor:
        """Recorded inputs (n, n_inputs) less the background that was recorded with them: (n, n_bins)."""
        net, has = recorded[:, : self.n_bins].clone(), self._has_background
        net[:, has] -= self._ratio[has] * recorded[:, self.n_bins :]
        return net

    def net_variance(self, counts: Tensor) -> Tensor:
        """Variance of `net` for expected source counts, both of shape (..., n_bins)."""
        ratio = torch.where(self._has_background, self._ratio, 0.0)
        poisson = counts.clamp(min=LEAST_COUNTS) + (ratio + ratio**2) * (self._background + 0.5)
        return torch.where(self._sigma > 0, self._sigma**2, poisson)

    def log_likelihood(self, recorded: Tensor, counts: Tensor) -> Tensor:
        """``-statistic/2``, (n,), of recorded inputs (n, n_inputs) for expected source counts (n, n_bins).

        Cash's statistic, W where a background is recorded, chi-squared for Gaussian inputs: of any spectrum that `draw`
        gives, where `statistics` has the observation's own.
        """
        x, m, has = recorded[:, : self.n_bins], counts.clamp(min=LEAST_COUNTS), self._has_background
        value = 2 * (m - x + torch.xlogy(x, x.clamp(min=LEAST_COUNTS) / m))
        if bool(has.any()):
            w = wstat_of(x[:, has], recorded[:, self.n_bins :], self._ratio[has], m[:, has])
            value = value.masked_scatter(has, w)
        if bool(self.gaussian.any()):
            chi = ((x - counts) / torch.where(self._sigma > 0, self._sigma, 1.0)) ** 2
            value = torch.where(self._sigma > 0, chi, value)
        return -0.5 * value.sum(dim=1)

    def statistic(self, recorded: Tensor, expected: Tensor) -> Tensor:
        """Cash statistic (chi-squared for Gaussian inputs) between recorded and expected inputs.

        Parameters
        ----------
        recorded, expected : Tensor, shape (n, n_inputs)

        Returns
        -------
        Tensor, shape (n,)
            ``2 sum(m - x + x log(x/m))`` (Cash 1979), zero for a perfect reconstruction.
        """
        m = expected.clamp(min=LEAST_COUNTS)
        poisson = 2 * (m - recorded + torch.xlogy(recorded, recorded.clamp(min=LEAST_COUNTS) / m))
        if not bool(self.gaussian.any()):
            return poisson.sum(dim=1)
        chi = ((recorded - expected) / self.sigma.to(recorded.dtype)) ** 2
        return torch.where(self.gaussian, chi, poisson).sum(dim=1)
