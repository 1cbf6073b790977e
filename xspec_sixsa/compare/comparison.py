"""Our posterior beside those of others: numbers per parameter, evidence, cost, and a verdict in words."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa._files import atomic_path

from .divergence import Divergence, jensen_shannon
from .posterior import CompareError, Posterior

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["Comparison", "MethodComparison", "ParameterComparison", "compare_posteriors"]

FILE, DRAWS, PICTURE = "comparison.json", "comparison.npz", "compare_corner"
TITLES = {"bxa": "BXA", "nautilus": "nautilus", "mcmc": "XSPEC Goodman-Weare", "mh": "XSPEC Metropolis-Hastings"}
SIGMAS = 3.0
"""Evidences further apart than so many of their errors disagree."""
LEAST_ESS = 100
"""Fewer effective samples agree with almost anything."""
NO_MATTER_SHIFT, NO_MATTER_WIDTH = 0.1, 0.1
"""Differences that change no conclusion: shifts in sigma, and relative widths of the 68 % interval."""


@dataclass(frozen=True)
class ParameterComparison:
    """One parameter by two methods.

    Attributes
    ----------
    name : str
    divergence : Divergence
        Jensen-Shannon, with the limit below which sampling alone explains it, and its average (`floor`).
    shift : float
        Their median minus ours, in our standard deviations (half the 68 % interval).
    ratio_68, ratio_90 : float
        Widths of their central intervals over ours.
    """

    name: str
    divergence: Divergence
    shift: float
    ratio_68: float
    ratio_90: float

    @property
    def matters(self) -> bool:
        """Whether the difference is more than sampling, and large enough to change a conclusion."""
        large = abs(self.shift) > NO_MATTER_SHIFT or max(abs(self.ratio_68 - 1), abs(self.ratio_90 - 1)) > (
            NO_MATTER_WIDTH
        )
        return not self.divergence.indistinguishable and large


@dataclass
class MethodComparison:
    """One other method beside ours.

    Attributes
    ----------
    other : Posterior
    parameters : list of ParameterComparison
        Empty where the other method did not finish.
    delta_log_z, delta_log_z_err : float or None
        Their evidence minus ours (natural logarithm), and its error.
    agreement : {"agrees", "agrees within 0.1 sigma", "says little", "DISAGREES", "not finished"}
        It says little with fewer than 100 effective samples.
    why : list of str
        Who is suspect where they disagree, and what limits the comparison.
    """

    other: Posterior
    parameters: list[ParameterComparison]
    delta_log_z: float | None = None
    delta_log_z_err: float | None = None
    agreement: str = "not finished"
    why: list[str] = field(default_factory=list)

    @property
    def evidence_agrees(self) -> bool:
        """Whether the evidences are within three sigma (also where there is none to compare)."""
        if self.delta_log_z is None or not self.delta_log_z_err:
            return True
        return abs(self.delta_log_z) < SIGMAS * self.delta_log_z_err

    @property
    def agrees(self) -> bool:
        """Whether nothing differs that matters."""
        return self.agreement.startswith("agrees")


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
        from .words import comparison_text

        return comparison_text(self)

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
        from xspec_sixsa.result import _plain

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {}
        for m in self.methods:
            arrays |= {f"{m.other.method}.samples": m.other.samples, f"{m.other.method}.weights": m.other.weights}
        with atomic_path(folder / DRAWS) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, **arrays)
        if any(m.other.finished for m in self.methods):
            for suffix in ("png", "pdf"):
                self.corner(folder / f"{PICTURE}.{suffix}")
        with atomic_path(folder / FILE) as temporary:
            temporary.write_text(json.dumps(_plain(self.as_dict()), indent=2, allow_nan=False) + "\n", encoding="utf-8")
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
    from .words import suspects

    ours = Posterior.of(result)
    methods = []
    for other in others:
        if not other.finished:
            methods.append(MethodComparison(other, [], why=other.notes))
            continue
        if other.samples.shape[1] != len(result.names):
            raise CompareError(f"{other.method} has {other.samples.shape[1]} parameters, and ours {len(result.names)}.")
        methods.append(_beside(ours, other, result.names))
    comparison = Comparison(ours, list(result.names), list(result.labels), methods, result)
    for m in methods:
        if m.other.finished:
            m.why += suspects(comparison, m)
    return comparison


def pair(a: Posterior, b: Posterior, names: Sequence[str]) -> list[ParameterComparison]:
    """Parameter by parameter, `b` beside `a`."""
    median_a, median_b = a.quantile(0.5), b.quantile(0.5)
    widths = {level: (a.width(level), b.width(level)) for level in (0.68, 0.90)}
    return [
        ParameterComparison(
            name,
            jensen_shannon(a.samples[:, i], b.samples[:, i], a.weights, b.weights, (a.ess, b.ess)),
            float(2 * (median_b[i] - median_a[i]) / widths[0.68][0][i]),
            float(widths[0.68][1][i] / widths[0.68][0][i]),
            float(widths[0.90][1][i] / widths[0.90][0][i]),
        )
        for i, name in enumerate(names)
    ]


def _beside(ours: Posterior, other: Posterior, names: Sequence[str]) -> MethodComparison:
    found = MethodComparison(other, pair(ours, other, names))
    if other.log_z is not None and other.log_z_err is not None:
        found.delta_log_z = other.log_z - float(ours.log_z or 0.0)
        found.delta_log_z_err = float(np.hypot(other.log_z_err, ours.log_z_err or 0.0))
    if not found.evidence_agrees or any(p.matters for p in found.parameters):
        found.agreement = "DISAGREES"
    elif other.ess < LEAST_ESS:
        found.agreement = "says little"
    elif all(p.divergence.indistinguishable for p in found.parameters):
        found.agreement = "agrees"
    else:
        found.agreement = f"agrees within {NO_MATTER_SHIFT:g} sigma"
    return found


def _cost(posterior: Posterior) -> dict[str, Any]:
    keys = (
        "method", "finished", "log_z", "log_z_err", "ess", "evaluations", "seconds_model", "seconds_other",
        "best_statistic", "r_hat", "correlation", "steps", "iterations", "seed", "settings", "notes",
    )  # fmt: skip
    return {key: getattr(posterior, key) for key in keys}
