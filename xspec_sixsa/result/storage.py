"""A result's files: written whole, read without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.common.files import atomic_path, write_json
from xspec_sixsa.result import predictive

if TYPE_CHECKING:
    from xspec_sixsa.result.result import Result

__all__ = ["read", "write"]

SUMMARY, POSTERIOR, PREDICTIVE, ROUNDS = "summary.json", "posterior.npz", "predictive.npz", "rounds.npz"
NETWORKS = "networks.npz"
FORMAT = 1


def write(result: Result, directory: str | os.PathLike[str]) -> Path:
    """Write `summary.json` and `posterior.npz`; `predictive`, `rounds`, `networks` where they hold something.

    Each file is replaced as a whole; the folder is made when it does not exist.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _save_arrays(
        directory / POSTERIOR,
        {
            "samples": result.samples,
            "log_weights": result.log_weights,
            "log_likelihood": result.log_likelihood,
            "log_proposal": result.log_proposal,
            "best_fit": result.best_fit,
            "names": np.array(result.names, dtype=str),
            "labels": np.array(result.labels, dtype=str),
            "units": np.array(result.units, dtype=str),
        },
    )
    draws = {f"round{i}": r["samples"] for i, r in enumerate(result.rounds) if r.get("samples") is not None}
    for name, arrays in (
        (PREDICTIVE, predictive.pack(result.predictive_data, result.predictive_index)),
        (ROUNDS, {key: np.asarray(value) for key, value in draws.items()}),
        (NETWORKS, result.network_data),
    ):
        if arrays:
            _save_arrays(directory / name, arrays)
        else:
            (directory / name).unlink(missing_ok=True)  # of an earlier result in the same folder
    # The summary last: where it stands, the rest is complete.
    write_json(directory / SUMMARY, result.as_dict())
    return directory


def read(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write` wrote, as arguments of `Result`.

    Raises
    ------
    FileNotFoundError
        If the folder holds no result.
    ValueError
        If a file in it is damaged, or made by a newer version.
    """
    directory = Path(directory)
    for name in (SUMMARY, POSTERIOR):
        if not (directory / name).is_file():
            raise FileNotFoundError(
                f"{directory} holds no result: {name} is missing. Give the folder that a run wrote to."
            )
    try:
        summary = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{directory / SUMMARY} is damaged ({error}). Run the fit again.") from error
    if summary.get("format", 0) > FORMAT:
        raise ValueError(f"{directory} was written by a newer xspec_sixsa (format {summary['format']}): update yours.")
    arrays = _load_arrays(directory / POSTERIOR)
    rounds = [dict(r) for r in summary["rounds"]]
    if (directory / ROUNDS).is_file():
        for key, value in _load_arrays(directory / ROUNDS).items():
            rounds[int(key.removeprefix("round"))]["samples"] = value
    stored = _load_arrays(directory / PREDICTIVE) if (directory / PREDICTIVE).is_file() else {}
    spectra, index = predictive.unpack(stored)
    kept = ("evaluations", "seconds", "status", "reasons", "seed", "versions", "fingerprint")
    return {
        **{key: [str(s) for s in arrays[key]] for key in ("names", "labels", "units")},
        **{key: arrays[key] for key in ("samples", "log_weights", "log_likelihood", "log_proposal", "best_fit")},
        **{key: _number(summary[key]) for key in ("log_z", "log_z_err", "ess", "k_hat", "best_statistic")},
        **{key: summary[key] for key in kept},
        "rounds": rounds,
        "emulator": summary.get("emulator", {}),
        "common_norm": summary.get("common_norm", {}),
        "control": summary.get("control", {}),
        "predictive_data": spectra,
        "predictive_index": index,
        "network_data": _load_arrays(directory / NETWORKS) if (directory / NETWORKS).is_file() else {},
        "output": directory,
    }


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **dict[str, Any](arrays))


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}). Run the fit again.") from error


def _number(value: Any) -> float:
    return float("nan" if value is None else value)
