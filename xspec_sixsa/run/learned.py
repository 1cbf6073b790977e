"""From an inference that has ended to the network that later runs may begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import atomic_path, write_json
from xspec_sixsa.infer.emulated import Emulated
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.trained import named
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.run.network import ARRAYS, FACTORED, FILE, TRAINED, WHOLE, definition, structure
from xspec_sixsa.session import Session

__all__ = ["save_network"]

Points = NDArray[np.float64]


def save_network(
    folder: Path, inference: Inference, session: Session, prior: JointPrior, emulator: dict[str, Any]
) -> None:
    """Write ``network.npz`` and ``network.json``; nothing where there is no emulator.

    Parameters
    ----------
    folder : Path
    inference : Inference
    session : Session
    prior : JointPrior
    emulator : dict
        What it is worth: `Result.emulator`.
    """
    strategy, observation = inference.strategy, session.observation
    about = definition(session, prior) | {"emulator": emulator, "evaluations": dict(session.evaluations)}
    known: list[tuple[list[int], Points, Points]] = []
    if isinstance(strategy, Factored):
        about |= {"kind": FACTORED, "structure": structure(strategy.search.emulator.factors, prior)}
        known = strategy.search.known
    elif isinstance(strategy, Emulated):
        about |= {"kind": WHOLE, "structure": []}
        found = strategy.search.simulations
        known = [(list(range(len(prior))), found.u, found.counts.numpy().astype(float))]
    if not known:
        return
    arrays: dict[str, Any] = {"energies": np.concatenate([data.energies for data in observation.spectra])}
    measured: dict[str, list[float]] = {}
    for k, (columns, x, counts) in enumerate(known):
        u = np.full((len(x), len(prior)), 0.5)
        u[:, columns] = x
        theta = prior.transform(u)[:, columns]
        arrays |= {f"x_{k}": x, f"theta_{k}": theta, f"rate_{k}": (counts / observation.area_time).astype(np.float32)}
        for column, values in zip(columns, theta.T, strict=True):
            low, high = measured.get(prior.names[column], [np.inf, -np.inf])
            measured[prior.names[column]] = [min(low, float(values.min())), max(high, float(values.max()))]
    trained = inference.strategy.rounds.trained
    if trained is not None:
        about |= {"trained": trained.settings}
        arrays |= named(TRAINED, trained.arrays)
    with atomic_path(folder / ARRAYS) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    write_json(folder / FILE, about | {"known": sum(len(x) for _, x, _ in known), "measured": measured})
