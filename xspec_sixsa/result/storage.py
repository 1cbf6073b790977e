"""A result's files: written whole, read without pickle."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
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
LARGEST_RATIO = 300  # of a file to what it unpacks to: draws reach a few, zeros a thousand
SMALL = 256 << 20  # bytes that any file may unpack to


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
        _check_types(summary)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{directory / SUMMARY} is damaged ({error}). Run the fit again.") from error
    if summary.get("format", 0) > FORMAT:
        raise ValueError(f"{directory} was written by a newer xspec_sixsa (format {summary['format']}): update yours.")
    stored = {
        name: _load_arrays(directory / name) if (directory / name).is_file() else {}
        for name in (POSTERIOR, PREDICTIVE, ROUNDS, NETWORKS)
    }
    try:
        return _fields(summary, stored) | {"output": directory}
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"The result in {directory} is damaged ({what}). Run the fit again.") from error


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("evaluations", "seconds", "versions", "fingerprint", "emulator", "common_norm", "control"), dict),
    **dict.fromkeys(("reasons", "rounds"), list),
    **dict.fromkeys(("log_z", "log_z_err", "ess", "k_hat", "best_statistic"), (int, float, str, type(None))),
    "format": int,
    "seed": (int, type(None)),
}
_WITHIN: dict[str, Any] = {"evaluations": int, "seconds": (int, float), "reasons": str, "rounds": dict, "versions": str}
_NUMBERS = {
    "emulator": ("error", "inside", "rre", "rre_limit", "rma", "rma_limit"),
    "control": ("exact", "shift", "remaining"),
}
_OPTIONAL = ("emulator", "common_norm", "control", "format")


def _check_types(summary: Any) -> None:
    """Refuse a summary whose entries are of other types than `write` gives them."""
    if not isinstance(summary, dict):
        raise ValueError("it is no table")
    for key, kinds in _TYPES.items():
        if key not in summary and key in _OPTIONAL:
            continue
        value = summary.get(key)
        entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if not isinstance(value, kinds) or not all(isinstance(entry, _WITHIN.get(key, object)) for entry in entries):
            raise ValueError(f"{key} is {str(value)[:60]!r}")
    for key, needed in _NUMBERS.items():
        found = summary.get(key, {})
        if found and not all(isinstance(found.get(name), (int, float, str)) for name in needed):
            raise ValueError(f"{key} lacks one of {', '.join(needed)}")


def _fields(summary: dict[str, Any], stored: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    arrays = stored[POSTERIOR]
    rounds = [dict(r) for r in summary["rounds"]]
    for key, value in stored[ROUNDS].items():
        rounds[int(key.removeprefix("round"))]["samples"] = value
    spectra, index = predictive.unpack(stored[PREDICTIVE])
    kept = ("evaluations", "seconds", "status", "reasons", "seed", "versions", "fingerprint")
    return {
        **{key: [str(s) for s in arrays[key]] for key in ("names", "labels", "units")},
        **{key: arrays[key] for key in ("samples", "log_weights", "log_likelihood", "log_proposal", "best_fit")},
        **{key: _number(summary[key]) for key in ("log_z", "log_z_err", "ess", "k_hat", "best_statistic")},
        **{key: summary[key] for key in kept},
        "rounds": rounds,
        "common_norm": summary.get("common_norm", {}),
        # JSON has no NaN: it is a word there
        **{
            key: {name: float(v) if isinstance(v, str) else v for name, v in summary.get(key, {}).items()}
            for key in _NUMBERS
        },
        "predictive_data": spectra,
        "predictive_index": index,
        "network_data": stored[NETWORKS],
    }


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **dict[str, Any](arrays))


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file; nothing is unpickled, and nothing unpacked that promises more than arrays hold."""
    try:
        with zipfile.ZipFile(path) as archive:
            promised = sum(member.file_size for member in archive.infolist())
        if promised > max(SMALL, LARGEST_RATIO * path.stat().st_size):
            raise ValueError(f"it unpacks to {promised >> 20} MB")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        other = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
        if other:
            raise ValueError(f"{other[0]} is no array")
        return arrays
    except (OSError, ValueError, EOFError, KeyError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}). Run the fit again.") from error


def _number(value: Any) -> float:
    return float("nan" if value is None else value)
