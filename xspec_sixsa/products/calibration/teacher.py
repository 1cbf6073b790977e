"""What the inference of all simulated spectra shares: evaluations over the box, an emulator and a network."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.common.fitstatistic import ObservedStatistic
from xspec_sixsa.common.observation import Observation
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import compressor as make_compressor
from xspec_sixsa.infer.emulator import CENTRES, Emulator
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.proposal import FlowProposal
from xspec_sixsa.products.calibration.box import Box
from xspec_sixsa.products.calibration.observations import simulated_observation

__all__ = ["Teacher"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

HELD_OUT = 100  # evaluations that judge the emulator
ACCURACY = 0.5  # of the emulator in log L at which it is taught no further
STEP = 200  # evaluations per parameter that teach it at a time
NETWORK_SPECTRA = 4000
SAME_STATISTIC = 1e-3  # relative to the distance from the best: counts are kept in single precision
BANK = "evaluations.npz"


@dataclass
class Teacher:
    """What all spectra share: exact evaluations over the box, and the emulator and network that learned from them.

    Attributes
    ----------
    v : ndarray (n, d)
    counts : Tensor, float32, (n, n_bins)
    emulator : Emulator
    network : NeuralPosterior
    error : float
        Root mean square error of the emulator in log L, on spectra simulated at held-out evaluations.
    evaluations : dict of str to int
    """

    v: Points
    counts: torch.Tensor
    emulator: Emulator
    network: NeuralPosterior
    error: float
    evaluations: dict[str, int]

    @classmethod
    def of(cls, box: Box, folder: Path, seed: int) -> Teacher:
        """Evaluate over the box until the emulator is accurate there, or holds as many points as it can."""
        streams, noise, d = Streams(seed), Noise(box.session.observation), box.session.n_free
        points = qmc.Sobol(d, rng=streams.numpy("prior")).random_base2(12)
        held = streams.numpy("held out").random((HELD_OUT, d))
        stored = _load(folder / BANK)
        with box.session:
            if "held" not in stored:
                stored["held"], log_likelihood = box.evaluate(held, "held out")
                _check_statistic(box.session.observation, stored["held"], log_likelihood)
            size = max(len(stored.get("counts", ())), STEP * d)
            while True:
                done = len(stored.get("counts", ()))
                if done < size:
                    new = box.evaluate(points[done:size], "box")[0].astype(np.float32)
                    stored["counts"] = np.concatenate([stored["counts"], new]) if done else new
                    with atomic_path(folder / BANK) as temporary:
                        np.savez(temporary, **stored)
                good = np.isfinite(stored["counts"]).all(axis=1)
                v, counts = points[:size][good], torch.tensor(stored["counts"][good])
                emulator = Emulator(v, counts, np.ones(len(v)), noise)
                with streams.torch("held out"):
                    error = _error(emulator, held, stored["held"], box.session.observation, noise)
                log.info("the box's emulator: %d evaluations, off by %.2f in log L", size, error)
                if error < ACCURACY or size + STEP * d > CENTRES:
                    break
                size += STEP * d
        with streams.torch("network"):
            emulator.parameters(noise.observed[None])  # the inverse is learned once, for all copies
            v_network = streams.numpy("network").random((NETWORK_SPECTRA, d))
            expected = emulator.spectra(v_network)
            compress, network = make_compressor("autoencoder"), NeuralPosterior()
            compress.fit(expected, noise)
            network.fit(v_network, expected, noise, compress)
        evaluations = {"box": size, "held out": HELD_OUT, "probe": int(box.session.evaluations["probe"])}
        return cls(v, counts, emulator, network, error, evaluations)

    def flow_given(self, noise: Noise) -> FlowProposal:
        """The network's posterior given another observation."""
        network = self.network.given(noise)
        return network.proposal


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with np.load(path) as stored:
        return dict(stored)


def _error(emulator: Emulator, held: Points, counts: Points, observation: Observation, noise: Noise) -> float:
    good = np.isfinite(counts).all(axis=1)
    exact, emulated = torch.tensor(counts[good]), emulator(held[good])
    recorded = noise.draw(exact)
    errors = []
    for x, m, e in zip(recorded, exact, emulated, strict=True):
        statistic = ObservedStatistic(simulated_observation(observation, x.numpy()))
        value = statistic.log_likelihood(torch.stack([m, e])).numpy()
        errors.append(value[1] - value[0])
    return float(np.sqrt(np.mean(np.square(errors))))


def _check_statistic(observation: Observation, counts: Points, log_likelihood: Points) -> None:
    good = np.isfinite(counts).all(axis=1) & np.isfinite(log_likelihood)
    if not good.any():
        raise ValueError("The model failed everywhere in the calibration box: give another box.")
    ours = ObservedStatistic(observation).log_likelihood(torch.tensor(counts[good])).numpy()
    theirs = log_likelihood[good]
    best = int(np.argmax(theirs))
    off = np.abs((ours - ours[best]) - (theirs - theirs[best])) / (1 + theirs[best] - theirs)
    if off.max() > SAME_STATISTIC:
        log.warning(
            "XSPEC's statistic differs from the formula by %.2g of its range (model weighting or systematics?): what "
            "is calibrated is the method under the formula.",
            off.max(),
        )
