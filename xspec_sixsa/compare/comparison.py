"""Our posterior beside those of others: numbers per parameter, evidence, cost, and a verdict in words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.common.files import atomic_path, write_json
from xspec_sixsa.compare.agreement import TITLES, MethodComparison, beside
from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.compare.words import comparison_html, comparison_text, suspects

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["Comparison", "compare_posteriors"]

FILE, DRAWS, PICTURE = "comparison.json", "comparison.npz", "compare_corner"


@dataclass
class Comparison:
    """A run of ours beside other methods; `print` it for the table and the verdict.

    Attributes
    ----------
    ours : Posterior
    names, labels : list of str
    methods : list of MethodComparison
    result : Result
        The run that was compared.
    output : Path or None
        Where it was saved.
    """

    ours: Posterior
    names: list[str]
    labels: list[str]
    methods: list[MethodComparison]
    result: Result
    output: Path | None = None

    @property
    def agree(self) -> bool:
        """Whether all methods agree with ours that finished and say enough (False where there is none)."""
        done = [m for m in self.methods if m.other.finished and m.agreement != "says little"]
        return bool(done) and all(m.agrees for m in done)

    def __str__(self) -> str:
        return comparison_text(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return comparison_html(self)

    def as_dict(self) -> dict[str, Any]:
        """What `comparison.json` holds."""
        return {
            "agree": self.agree,
            "names": self.names,
            "labels": self.labels,
            "ours": _cost(self.ours) | {"status": self.result.status, "reasons": self.result.reasons},
            "methods": [
                _cost(m.other)
                | {
                    "agreement": m.agreement,
                    "why": m.why,
                    "delta_log_z": m.delta_log_z,
                    "delta_log_z_err": m.delta_log_z_err,
                    "parameters": {
                        p.name: {
                            "divergence": p.divergence.value, "limit": p.divergence.limit, "floor": p.divergence.floor,
                            "shift": p.shift, "ratio_68": p.ratio_68, "ratio_90": p.ratio_90,
                        }
                        for p in m.parameters
                    },
                }
                for m in self.methods
            ],
        }  # fmt: skip

    def corner(self, path: str | os.PathLike[str]) -> Path:
        """Draw our corner plot with the others' contours over it; PNG, PDF or SVG by suffix."""
        overlays = {
            TITLES.get(m.other.method, m.other.method): (m.other.samples, m.other.weights)
            for m in self.methods
            if m.other.finished
        }
        return self.result.corner(path, overlays=overlays)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `comparison.json`, the others' draws (`comparison.npz`) and `compare_corner.png` and `.pdf`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {}
        for m in self.methods:
            arrays |= {f"{m.other.method}.samples": m.other.samples, f"{m.other.method}.weights": m.other.weights}
        with atomic_path(folder / DRAWS) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
        if any(m.other.finished for m in self.methods):
            for suffix in ("png", "pdf"):
                self.corner(folder / f"{PICTURE}.{suffix}")
        write_json(folder / FILE, self.as_dict())
        self.output = folder
        return folder


def compare_posteriors(result: Result, others: Sequence[Posterior]) -> Comparison:
    """Compare draws that are there already.

    Parameters
    ----------
    result : Result
    others : sequence of Posterior
        Of the same parameters in the same order.

    Raises
    ------
    CompareError
        Where our run has no draws, or theirs have another number of parameters.
    """
    ours = Posterior.of(result)
    methods = []
    for other in others:
        if not other.finished:
            methods.append(MethodComparison(other, [], why=other.notes))
            continue
        if other.samples.shape[1] != len(result.names):
            raise CompareError(f"{other.method} has {other.samples.shape[1]} parameters, and ours {len(result.names)}.")
        methods.append(beside(ours, other, result.names))
    comparison = Comparison(ours, list(result.names), list(result.labels), methods, result)
    for m in methods:
        if m.other.finished:
            m.why += suspects(comparison, m)
    return comparison


def _cost(posterior: Posterior) -> dict[str, Any]:
    keys = (
        "method", "finished", "log_z", "log_z_err", "ess", "evaluations", "seconds_model", "seconds_other",
        "best_statistic", "r_hat", "correlation", "steps", "iterations", "seed", "settings", "notes",
    )  # fmt: skip
    return {key: getattr(posterior, key) for key in keys}
