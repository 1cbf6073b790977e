"""What a run's networks and emulator have learned, as a few small arrays for pictures: no evaluation is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from xspec_sixsa.infer.draws import FinalDraws
    from xspec_sixsa.infer.emulator import ReducedEmulator
    from xspec_sixsa.infer.factoredemulator import FactoredEmulator
    from xspec_sixsa.infer.inference import Inference
    from xspec_sixsa.infer.noise import Noise
    from xspec_sixsa.infer.simulations import Simulations
    from xspec_sixsa.priors import JointPrior
    from xspec_sixsa.result import Result

__all__ = ["network_data"]

PRIOR, ERRORS = 300, 1000  # spectra of the prior, and draws whose emulated log L is compared
MARGINALS, DRAWS = ("lbf",), 4000  # estimators whose marginals are shown beside the weighted ones, and their draws
MOST_BINS = 500  # of a spectrum that is drawn; finer ones are summed
MOST_SUMMARIES = 64  # numbers of a compressed spectrum; more are no compression to look at


def network_data(inference: Inference, first: Simulations, result: Result, prior: JointPrior) -> dict[str, np.ndarray]:
    """Arrays for `plots.learned`, float32.

    Parameters
    ----------
    inference : Inference
        That has run.
    first : Simulations
        The prior-wide ones; a few hundred are taken.
    result : Result
        With its `predictive_data`, whose spectra stand for the posterior.
    prior : JointPrior

    Returns
    -------
    dict of str to ndarray
        `coverage_*`: ``simulated`` (n, bins), ``observed`` (bins,) and ``energies`` (bins, 2), of the first spectrum.
        `latents_*`: compressed spectra of the ``prior`` (n, k), of the ``posterior`` (m, k), and the ``observed`` (k,).
        `reconstruction_*`: ``model`` and ``again`` (m,), the statistic of the posterior's spectra against model and
        reconstruction, and ``example`` (4 + 1, bins): energies from and to, counts, model, reconstruction.
        `marginals_draws`: physical (n, d), of the network's posterior, where it is one of `MARGINALS`.
        `parameters_*`: ``true`` and ``read`` (n, d), physical; read by the neural posterior (its median).
        `emulator_*`: ``errors`` (n,), emulated minus exact ln L over the posterior, and the ``limit`` asked for.
    """
    rows = np.flatnonzero(first.usable)[:PRIOR]
    noise, network = inference.problem.noise, inference.strategy.network
    with torch.no_grad(), inference.problem.streams.torch("pictures"):
        recorded = noise.draw(first.counts[torch.as_tensor(rows)])
        found = _coverage(recorded, noise, result)
        if inference.strategy.emulator is not None and inference.draws is not None:
            found |= _emulator(inference.strategy.emulator, inference.draws)
            found["emulator_limit"] = np.array(inference.strategy.accuracy)
        if network is not None:
            expected = _posterior_counts(result)
            again = noise.draw(expected)
            found |= _latents(network.compressor, recorded, again, noise.observed)
            if hasattr(network.compressor, "reconstruct"):
                found |= _reconstruction(network.compressor, again, noise.expected(expected), noise, result)
            if network.name in MARGINALS:
                found["marginals_draws"] = prior.transform(network.proposal.draw(DRAWS))
            read = network.medians(recorded)
            found |= {"parameters_true": prior.transform(first.u[rows]), "parameters_read": prior.transform(read)}
    return {key: np.asarray(value, dtype=np.float32) for key, value in found.items()}


def _coverage(recorded: Tensor, noise: Noise, result: Result) -> dict[str, Any]:
    energies = result.predictive_data[0].energies
    n = len(energies)
    return {
        "coverage_simulated": _thin(recorded[:, :n].numpy()),
        "coverage_observed": _thin(noise.observed[:n].numpy()),
        "coverage_energies": _thin_edges(energies),
    }


def _latents(compress: Any, prior: Tensor, posterior: Tensor, observed: Tensor) -> dict[str, Any]:
    latents = compress(prior)
    if latents.shape[1] > MOST_SUMMARIES:
        return {}
    return {
        "latents_prior": latents,
        "latents_posterior": compress(posterior),
        "latents_observed": compress(observed[None])[0],
    }


def _reconstruction(compress: Any, recorded: Tensor, expected: Tensor, noise: Noise, result: Result) -> dict[str, Any]:
    made = compress.reconstruct(recorded)
    energies = result.predictive_data[0].energies
    n = len(energies)
    example = [_thin(x[0, :n].numpy()) for x in (recorded, expected, made)]
    return {
        "reconstruction_model": noise.statistic(recorded, expected),
        "reconstruction_again": noise.statistic(recorded, made),
        "reconstruction_example": np.stack([*_thin_edges(energies).T, *example]),
    }


def _emulator(emulator: ReducedEmulator | FactoredEmulator, draws: FinalDraws) -> dict[str, Any]:
    w = np.exp(draws.weights.log_weights - draws.weights.log_weights.max())
    chosen = np.random.default_rng(0).choice(len(w), ERRORS, p=w / w.sum())
    return {"emulator_errors": emulator.log_likelihood(draws.u[chosen]) - draws.log_likelihood[chosen]}


def _posterior_counts(result: Result) -> Tensor:
    """Expected source counts of the posterior's spectra, (m, n_bins)."""
    parts = [s.total - (0.0 if s.background is None else s.background) for s in result.predictive_data]
    return torch.tensor(np.concatenate(parts, axis=1))


def _starts(n: int) -> NDArray[np.int_]:
    """First bins of at most `MOST_BINS` runs of adjacent ones."""
    return np.arange(0, n, -(-n // MOST_BINS))


def _thin(spectra: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.add.reduceat(spectra, _starts(spectra.shape[-1]), axis=-1)


def _thin_edges(energies: NDArray[np.float64]) -> NDArray[np.float64]:
    starts = _starts(len(energies))
    ends = np.append(starts[1:], len(energies)) - 1
    # gratings' energies fall
    first, last = energies[starts], energies[ends]
    return np.stack([np.minimum(first, last).min(axis=1), np.maximum(first, last).max(axis=1)], axis=1)
