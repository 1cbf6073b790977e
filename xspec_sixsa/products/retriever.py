"""What a compressed spectrum still knows of the parameters (the `Parameter_retriever` of SIXSA III, arXiv 2512.16709).

A network reads the parameters from spectra, compressed and not; its scatter is compared with the Fisher limit, which no
estimator beats by much. All in unit-cube coordinates, where the prior is uniform: a parameter that the spectrum does
not know of scatters like the prior, by 0.289.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.compress import Compressor, compressor
from xspec_sixsa.infer.compress.score import Fiducial
from xspec_sixsa.infer.emulator import Emulator
from xspec_sixsa.infer.fiducials import modes
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.training import train
from xspec_sixsa.priors import PriorsLike
from xspec_sixsa.products.calibration.box import Box
from xspec_sixsa.products.plots.networks import FLAT, plot_retriever

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["Retrieval", "fisher_scatter", "retrieve", "retrieve_for"]

Points = NDArray[np.float64]

HELD_OUT = 0.2
BATCH = 256
REPLICAS = 8  # noise realisations of each spectrum
STEPS = 1500
STEP = 1e-3  # of the finite differences, in the unit cube
PRIOR_VARIANCE = 1 / 12


@dataclass(eq=False)
class Retrieval:
    """How well parameters are read from spectra that the network has not seen; print it.

    Attributes
    ----------
    labels : list of str, length d
    true, retrieved : ndarray (k, d)
        Unit cube; `retrieved` from compressed spectra.
    bias, scatter, slope : ndarray (d,)
        Mean and standard deviation of retrieved minus true, and the slope of retrieved against true.
    scatter_uncompressed : ndarray (d,)
        Of the same network on whole spectra.
    scatter_limit : ndarray (d,)
        Fisher limit, the prior included (`fisher_scatter`).
    """

    labels: list[str]
    true: Points
    retrieved: Points
    bias: Points
    scatter: Points
    slope: Points
    scatter_uncompressed: Points
    scatter_limit: Points

    @property
    def insensitive(self) -> list[str]:
        """Labels of parameters that the compressed spectrum knows nothing of."""
        return [label for label, slope in zip(self.labels, self.slope, strict=True) if abs(slope) < FLAT]

    @property
    def information_kept(self) -> Points:
        """Share of the information that survives the compressor, (d,): the ratio of variances, at most 1.

        Both networks have the same size and training: what neither learns does not count against the compressor.
        """
        return np.minimum((self.scatter_uncompressed / self.scatter) ** 2, 1.0)

    def __str__(self) -> str:
        width = max(len("parameter"), *(len(label) for label in self.labels))
        lines = [f"{'parameter':<{width}}     bias  scatter  uncompressed  Fisher limit  information kept"]
        for i, label in enumerate(self.labels):
            lines.append(
                f"{label:<{width}} {self.bias[i]:>+8.3f} {self.scatter[i]:>8.3f} {self.scatter_uncompressed[i]:>13.3f} "
                f"{self.scatter_limit[i]:>13.3f} {100 * self.information_kept[i]:>15.0f} %"
            )
        lines.append("In units of the prior's range (unit cube); knowing nothing scatters by 0.289.")
        if self.insensitive:
            lines.append(f"Insensitive: the compressed spectrum knows nothing of {', '.join(self.insensitive)}.")
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw retrieved against true (`plots.plot_retriever`)."""
        return plot_retriever(self.true, self.retrieved, self.labels, path, units=["unit cube"] * len(self.labels))


def retrieve_for(
    result: Result,
    compress: str = "autoencoder",
    *,
    n: int = 3000,
    steps: int = STEPS,
    priors: PriorsLike = None,
    seed: int = 1,
    xspec: ModuleType | None = None,
) -> tuple[Retrieval, int]:
    """`retrieve` for a result's session and priors, on fresh exact evaluations over the whole prior.

    Parameters
    ----------
    result : Result
        Of the session that XSPEC holds now.
    compress : {"autoencoder", "pca", "bands", "score", "none"}
        The compressor that is judged.
    n : int, default 3000
        Evaluations.
    steps : int, default 1500
        As in `retrieve`.
    priors : as in `fit`, optional
        Those of the run; default: `priors.toml` in the result's folder.
    seed : int, default 1
    xspec : module, optional

    Returns
    -------
    retrieval : Retrieval
    evaluations : int
        Made here, the probe of the model included.
    """
    box = Box.of(result, priors, np.tile([0.0, 1.0], (len(result.names), 1)), xspec)
    streams, noise = Streams(seed), Noise(box.session.observation)
    u = streams.numpy("retriever").random((n, len(result.names)))
    counts, _ = box.evaluate(u, "retriever")
    good = np.isfinite(counts).all(axis=1)
    expected = torch.tensor(counts[good], dtype=torch.float32)
    options = {}
    if compress == "score":
        emulator = Emulator(u[good], expected.double(), np.ones(good.sum()), noise)
        options["fiducials"] = [Fiducial(*emulator.jacobian(point)) for point in _fiducial_points(result, box)]
    chosen = compressor(compress, **options)
    with streams.torch("retriever"), one_thread():
        chosen.fit(expected, noise)
        found = retrieve(u[good], expected, noise, chosen, box.session.labels, steps=steps)
    return found, sum(box.session.evaluations.values())


def _fiducial_points(result: Result, box: Box) -> Points:
    """Means of the posterior's modes, (k, d), in the unit cube."""
    rows = np.random.default_rng(0).choice(len(result.samples), 1000, p=result.weights)
    return modes(box.prior.cdf(result.samples[rows]))


def retrieve(
    u: Points,
    expected: Tensor,
    noise: Noise,
    compress: Compressor,
    labels: Sequence[str],
    *,
    steps: int = STEPS,
    tick: Callable[[int], None] = lambda n: None,
) -> Retrieval:
    """Train a network to read parameters from spectra, compressed and whole, and test it on held-out ones.

    Parameters
    ----------
    u : ndarray, shape (n, d)
        Parameters in the unit cube, drawn from the prior.
    expected : Tensor, shape (n, n_bins)
        Their noiseless spectra; noise is drawn here, from torch's default generator.
    noise : Noise
    compress : Compressor
        Already fitted.
    labels : sequence of str, length d
    steps : int, default 1500
        Training steps of each network.

    Returns
    -------
    Retrieval

    Raises
    ------
    ValueError
        With fewer than 100 spectra.
    """
    if len(u) < 100:
        raise ValueError(f"Only {len(u)} simulated spectra: a retriever needs some hundred to learn from.")
    with one_thread():
        order = torch.randperm(len(u)).numpy()
        split = int(HELD_OUT * len(u))
        test, rest = order[:split], order[split:]
        whole = compressor("none")
        whole.fit(expected, noise)
        recorded = [noise.draw(expected) for _ in range(REPLICAS)]
        true = u[test]
        found = []
        for one in (compress, whole):
            summaries = torch.stack([one(x) for x in recorded]).float()
            found.append(_read(summaries, torch.tensor(u, dtype=torch.float32), rest, test, steps, tick))
        retrieved, uncompressed = found
        limit = fisher_scatter(u, expected, noise, true)
    off = retrieved - true
    slope = np.array([np.polyfit(a, b, 1)[0] for a, b in zip(true.T, retrieved.T, strict=True)])
    return Retrieval(
        list(labels),
        true,
        retrieved,
        off.mean(axis=0),
        off.std(axis=0),
        slope,
        (uncompressed - true).std(axis=0),
        limit,
    )


def _read(
    summaries: Tensor,
    u: Tensor,
    rest: NDArray[np.int_],
    test: NDArray[np.int_],
    steps: int,
    tick: Callable[[int], None],
) -> Points:
    centre, spread = summaries.mean(dim=(0, 1)), summaries.std(dim=(0, 1)).clamp(min=1e-6)
    x = (summaries - centre) / spread
    network = nn.Sequential(
        nn.Linear(x.shape[2], 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, u.shape[1])
    )
    cut = max(len(rest) // 8, 1)
    # the test spectra choose no weights: these come from a part of the others
    chosen, training = torch.as_tensor(rest[:cut]), torch.as_tensor(rest[cut:])

    def loss() -> Tensor:
        i = training[torch.randint(len(training), (BATCH,))]
        return ((network(x[torch.randint(len(x), (BATCH,)), i]) - u[i]) ** 2).mean()

    train(
        network, loss, lambda: ((network(x[0, chosen]) - u[chosen]) ** 2).mean(), steps=steps, learning_rate=3e-3,
        tick=tick,
    )  # fmt: skip
    with torch.no_grad():
        return network(x[0, torch.as_tensor(test)]).double().numpy()


def fisher_scatter(u: Points, expected: Tensor, noise: Noise, at: Points) -> Points:
    """Root mean variance, (d,), of the best estimator by the Fisher information and the prior's variance.

    Parameters
    ----------
    u, expected
        Evaluated parameter sets (n, d) and noiseless spectra (n, n_bins), from which derivatives are learned.
    noise : Noise
    at : ndarray, shape (k, d)
        Parameter sets over which variances are averaged.

    Notes
    -----
    ``F = J^T diag(1/variance) J``, plus 12 on the diagonal: the inverse variance of a uniform prior. It treats the
    posterior as Gaussian, so that it is a guide and no bound where a posterior reaches the prior's edge. A background
    is taken for known.
    """
    emulator = Emulator(u, expected.double(), np.ones(len(u)), noise)
    at = np.clip(at, STEP, 1 - STEP)
    middle = emulator(at)
    variance = noise.expected(middle)[:, : noise.n_bins]
    gaussian = noise.gaussian[: noise.n_bins]
    variance = torch.where(gaussian, noise.sigma[: noise.n_bins] ** 2, variance).clamp(min=1e-6)
    slopes = []
    for j in range(u.shape[1]):
        shift = STEP * np.eye(u.shape[1])[j]
        slopes.append((emulator(at + shift) - emulator(at - shift)) / (2 * STEP) / variance.sqrt())
    jacobian = torch.stack(slopes, dim=2)
    information = jacobian.transpose(1, 2) @ jacobian + torch.eye(u.shape[1], dtype=torch.float64) / PRIOR_VARIANCE
    return torch.linalg.inv(information).diagonal(dim1=1, dim2=2).mean(dim=0).sqrt().numpy()
