"""What a diagnosis found, spectrum by spectrum, in numbers and words."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xspec_sixsa.common.files import write_json
from xspec_sixsa.products.diagnostics.lines import LineHint
from xspec_sixsa.products.diagnostics.pvalues import SUSPECT
from xspec_sixsa.result.summary import percent

__all__ = ["Diagnosis", "SpectrumDiagnosis"]

FILE = "diagnosis.json"


@dataclass(frozen=True)
class SpectrumDiagnosis:
    """One spectrum's goodness of fit.

    Attributes
    ----------
    name, statistic : str
    bins : int
    value, expected, sd : float
        Statistic at the best draw; its expectation and standard deviation there for data of this model, with the free
        parameters (shared among the spectra by their bins) taken off.
    predictive_p : float
        Share of simulated spectra of the posterior whose statistic is worse than the data's. It leans towards 0.5: the
        data have been fitted, the simulated ones have not.
    qq : float
        Largest distance of the cumulative counts, observed against expected, each as a share of their sum.
    qq_p : float
        Share of simulated spectra with a larger one.
    line : LineHint
    """

    name: str
    statistic: str
    bins: int
    value: float
    expected: float
    sd: float
    predictive_p: float
    qq: float
    qq_p: float
    line: LineHint

    @property
    def sigma(self) -> float:
        """Statistic minus expectation, in standard deviations."""
        return (self.value - self.expected) / self.sd

    @property
    def complaints(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if abs(self.sigma) > 3:
            how = "worse than noise alone makes it" if self.sigma > 0 else "too good: are the errors overestimated?"
            found.append(f"the fit is {how} ({self.statistic} {self.value:.4g} for {self.expected:.4g} expected, "
                         f"{self.sigma:+.1f} sigma)")  # fmt: skip
        if self.predictive_p < SUSPECT:
            found.append(f"only {percent(self.predictive_p)} of the posterior's own spectra fit as badly")
        if self.qq_p < SUSPECT:
            found.append(f"counts are at the wrong energies (QQ distance {percent(self.qq)}, p = {self.qq_p:.2g})")
        if self.line.p_value < SUSPECT:
            found.append(str(self.line))
        return found


@dataclass(frozen=True)
class Diagnosis:
    """Whether the model describes the data; print it.

    Attributes
    ----------
    spectra : list of SpectrumDiagnosis
    notes : list of str
        What could not be judged, and why.
    outlying : list of str
        In which way the observation is unlike simulated ones.
    edges : list of str
        Limits of priors that cut the posterior: no fault of the model, so no complaint.
    """

    spectra: list[SpectrumDiagnosis]
    notes: list[str]
    outlying: list[str]
    edges: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """Everything that is wrong, in words; empty for a model that describes the data."""
        return [f"{s.name}: {text}" for s in self.spectra for text in s.complaints] + self.outlying

    def __str__(self) -> str:
        lines = []
        if self.spectra:
            width = max(len("spectrum"), *(len(s.name) for s in self.spectra))
            lines.append(f"{'spectrum':<{width}}  bins  statistic  observed  expected            sigma  pred. p   QQ p")
        for s in self.spectra:
            expected = f"{s.expected:.5g} +- {s.sd:.3g}"
            lines.append(
                f"{s.name:<{width}} {s.bins:>5}  {s.statistic:<9} {s.value:>9.5g}  {expected:<18} {s.sigma:>+6.1f} "
                f"{s.predictive_p:>8.3g} {s.qq_p:>6.3g}"
            )
        lines += [f"{s.name}: {s.line}" for s in self.spectra if s.line.p_value >= SUSPECT]
        lines += [f"Note: {note}" for note in self.notes]
        lines += [f"Prior: {edge}" for edge in self.edges]
        if self.complaints:
            lines += ["NOT DESCRIBED by the model:", *(f"  - {text}" for text in self.complaints)]
        elif self.spectra:
            lines.append("The model describes the data, as far as these tests see.")
        else:
            lines.append("Nothing could be judged.")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """What `diagnosis.json` holds."""
        content = {"spectra": [asdict(s) | {"sigma": s.sigma} for s in self.spectra]}
        return content | {
            "notes": self.notes, "outlying": self.outlying, "edges": self.edges, "complaints": self.complaints
        }  # fmt: skip

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `diagnosis.json`."""
        return write_json(Path(folder) / FILE, self.as_dict())
