"""Calibration of the whole method: do posteriors of simulated spectra hold the truth as often as they claim?

Parameters are drawn from the prior restricted to a *calibration box*; every spectrum is simulated with the
observation's own noise, and its posterior, under the same restricted prior, is found as `fit` finds one. Ranks of the
truth (Talts et al. 2018, arXiv 1804.06788) and expected coverage (TARP: Lemos et al. 2023, arXiv 2302.03026) must then
be uniform.

The engine knows one observation only. The statistic of a simulated one is therefore computed here, by
`fitstatistic.ObservedStatistic`, from the engine's exact expected counts: every weight still costs one evaluation.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.deadline import Stopped
from xspec_sixsa.common.files import write_json
from xspec_sixsa.priors import PriorsLike
from xspec_sixsa.products.calibration.box import Box
from xspec_sixsa.products.calibration.ranks import KINDS
from xspec_sixsa.products.plots.calibration import plot_ranks, plot_tarp

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["Calibration", "calibrate"]

Points = NDArray[np.float64]

LEVEL = 0.01  # chance of refusing a calibrated method, over all parameters
FEW = 100  # spectra, below which only gross faults are seen
FILE, SETUP, SPECTRA = "calibration.json", "setup.json", "spectra"


@dataclass(eq=False)
class Calibration:
    """Ranks and coverage over n simulated spectra; print it for the verdict.

    Attributes
    ----------
    names, labels : list of str, length d
    box : ndarray (d, 2)
        Physical limits of the calibration box.
    truth : ndarray (n, d)
        Parameters that the spectra were simulated with.
    ranks : dict of str to ndarray (n, d)
        Posterior mass below the truth, by `KINDS`; uniform in (0, 1) for a calibrated posterior.
    coverage : dict of str to ndarray (n,)
        TARP: posterior mass nearer to a random point of the box than the truth is; uniform, too.
    ess : ndarray (n,)
        Effective samples of each weighted posterior.
    unreliable : int
        Spectra whose own verdict was unreliable; they stay in.
    emulator_error : float
        Of the one emulator in log L, on held-out evaluations over the box.
    evaluations : dict of str to int
        By stage.
    seconds : float
        Wall clock of this call.
    seed : int
    """

    names: list[str]
    labels: list[str]
    box: Points
    truth: Points
    ranks: dict[str, Points]
    coverage: dict[str, Points]
    ess: Points
    unreliable: int
    emulator_error: float
    evaluations: dict[str, int]
    seconds: float
    seed: int

    def p_values(self, kind: str = "weighted") -> Points:
        """Kolmogorov-Smirnov p-value of every parameter's ranks, (d,)."""
        from scipy import stats

        return np.array([stats.kstest(column, "uniform").pvalue for column in self.ranks[kind].T])

    def coverage_p_value(self, kind: str = "weighted") -> float:
        """Kolmogorov-Smirnov p-value of the expected coverage."""
        from scipy import stats

        return float(stats.kstest(self.coverage[kind], "uniform").pvalue)

    @property
    def passed(self) -> bool:
        """Whether no parameter of the weighted posteriors has p < 0.01/d."""
        return bool(self.p_values().min() >= LEVEL / len(self.names))

    def fault(self, kind: str, parameter: int) -> str:
        """In a word or two, how a parameter's ranks depart from uniform; empty where they do not."""
        ranks = self.ranks[kind][:, parameter]
        n = len(ranks)
        if self.p_values(kind)[parameter] >= LEVEL / len(self.names):
            return ""
        shift, spread = (ranks.mean() - 0.5) * np.sqrt(12 * n), (ranks.var() - 1 / 12) * np.sqrt(180 * n)
        if abs(shift) > abs(spread):
            return "too low" if shift > 0 else "too high"
        return "too narrow" if spread > 0 else "too wide"

    def __str__(self) -> str:
        n, limit = len(self.truth), LEVEL / len(self.names)
        width = max(len("expected coverage (TARP)"), *(len(label) for label in self.labels))
        lines = [
            f"Calibration over {n} simulated spectra ({self.unreliable} with an unreliable verdict of their own)",
            f"{'p-value of uniform ranks':<{width}}" + "".join(f"{kind:>12}" for kind in KINDS),
        ]
        table = {kind: self.p_values(kind) for kind in KINDS}
        for i, label in enumerate(self.labels):
            row = "".join(f"{table[kind][i]:>12.3g}" for kind in KINDS)
            faults = [f"{kind}: posteriors {self.fault(kind, i)}" for kind in KINDS if self.fault(kind, i)]
            lines.append(f"{label:<{width}}{row}  {'; '.join(faults)}".rstrip())
        row = "".join(f"{self.coverage_p_value(kind):>12.3g}" for kind in KINDS)
        lines.append(f"{'expected coverage (TARP)':<{width}}{row}")
        verdict = "CALIBRATED: no parameter" if self.passed else "NOT CALIBRATED: a parameter"
        lines.append(f"{verdict} of the weighted posteriors has p < {limit:.2g} ({LEVEL:g}/{len(self.names)}).")
        if n < FEW:
            lines.append(f"With {n} spectra only gross faults are seen: 200 are customary (-n 200).")
        total = sum(self.evaluations.values())
        lines.append(
            f"{total} evaluations, {np.median(self.ess):.0f} effective samples a spectrum (median), emulator off by "
            f"{self.emulator_error:.2f} in log L over the box, {self.seconds:.0f} s, seed {self.seed}."
        )
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """What `calibration.json` holds."""
        return {
            "spectra": len(self.truth),
            "passed": self.passed,
            "limit": LEVEL / len(self.names),
            "parameters": {
                name: {"label": label, "box": list(box)}
                | {f"p_{kind}": float(self.p_values(kind)[i]) for kind in KINDS}
                for i, (name, label, box) in enumerate(zip(self.names, self.labels, self.box.tolist(), strict=True))
            },
            "coverage": {f"p_{kind}": self.coverage_p_value(kind) for kind in KINDS},
            "ess_median": float(np.median(self.ess)),
            "unreliable": self.unreliable,
            "emulator_error": self.emulator_error,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "seed": self.seed,
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `calibration.json`, `ranks.png` and `coverage.png` (and PDFs)."""
        folder = Path(folder)
        for suffix in ("png", "pdf"):
            plot_ranks(self.ranks, self.labels, folder / f"ranks.{suffix}")
            plot_tarp(self.coverage, folder / f"coverage.{suffix}")
        write_json(folder / FILE, self.as_dict())


def calibrate(
    result: Result,
    n: int = 200,
    *,
    output: str | os.PathLike[str],
    seed: int = 1,
    resume: bool = False,
    priors: PriorsLike = None,
    box: Points | None = None,
    target_ess: int = 200,
    budget: int = 5000,
    workers: int | None = None,
    progress: bool = True,
    xspec: ModuleType | None = None,
) -> Calibration:
    """Simulate spectra, infer each, and test whether the truths' ranks are uniform.

    Parameters
    ----------
    result : Result
        Of the session that XSPEC holds now (`session.opened.open_run` brings it back from a folder).
    n : int, default 200
        Spectra.
    output : path
        Folder; one file a spectrum, so that a stopped calibration can be resumed, also with a larger `n`.
    seed : int, default 1
    resume : bool, default False
        Continue what `output` holds; a folder with something in it is refused otherwise.
    priors : as in `fit`, optional
        Those of the run; default: `priors.toml` in the result's folder.
    box : ndarray (d, 2), optional
        Calibration box in unit-cube coordinates; default: the posterior's mean +- 5 standard deviations there.
    target_ess : int, default 200
        Effective samples of every posterior.
    budget : int, default 5000
        Most evaluations a spectrum.
    workers : int, optional
        Processes, one spectrum each; default: the cores it may use.
    progress : bool, default True
        Whether to show a progress bar.
    xspec : module, optional

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError, FileExistsError
        For input that cannot work, before anything is spent.
    """
    from xspec_sixsa.products.calibration.spectra import Task, infer_all, name_of
    from xspec_sixsa.products.calibration.teacher import teach

    began = time.monotonic()
    if n < 2:
        raise ValueError(f"n is {n}: ranks need several spectra (200 are customary).")
    restricted = Box.of(result, priors, box, xspec)
    folder = Path(output)
    factored = "parts" in result.emulator
    setup = {"seed": seed, "target_ess": target_ess, "budget": budget, "box": restricted.limits.tolist()} | {
        "emulator": "factored" if factored else "of whole spectra", "fingerprint": restricted.fingerprint
    }  # fmt: skip
    _prepare(folder, setup, resume)
    try:
        with one_thread():
            teacher = teach(restricted, folder, seed, factored=factored)
        missing = [k for k in range(n) if not (folder / SPECTRA / name_of(k)).is_file()]
        if missing:
            infer_all(Task(restricted, teacher, folder / SPECTRA, seed, target_ess, budget), missing, workers, progress)
    except KeyboardInterrupt as stop:
        raise Stopped.of(
            stop, f"the spectra that are done are kept in {folder}, and resume=True (--resume) goes on"
        ) from None
    records = [json.loads((folder / SPECTRA / name_of(k)).read_text()) for k in range(n)]
    calibration = Calibration(
        names=restricted.session.names,
        labels=restricted.session.labels,
        box=restricted.prior.transform(restricted.limits.T).T,
        truth=np.array([r["truth"] for r in records]),
        ranks={kind: np.array([r["ranks"][kind] for r in records]) for kind in KINDS},
        coverage={kind: np.array([r["coverage"][kind] for r in records]) for kind in KINDS},
        ess=np.array([r["ess"] for r in records]),
        unreliable=sum(bool(r["reasons"]) for r in records),
        emulator_error=teacher.error,
        evaluations=teacher.evaluations | {"spectra": sum(r["evaluations"] for r in records)},
        seconds=time.monotonic() - began,
        seed=seed,
    )
    calibration.save(folder)
    return calibration


def _prepare(folder: Path, setup: dict[str, Any], resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, not a folder: give another output.")
    if (folder / SETUP).is_file():
        before = json.loads((folder / SETUP).read_text())
        changed = [key for key, value in json.loads(json.dumps(setup)).items() if before.get(key) != value]
        if not resume:
            raise FileExistsError(f"{folder} holds a calibration. Continue it with --resume, or give another output.")
        if changed:
            raise ValueError(
                f"{folder} holds a calibration with another {' and '.join(changed)}: its spectra cannot be mixed with "
                "these. Give another output."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds something, but no calibration: give another output.")
    (folder / SPECTRA).mkdir(parents=True, exist_ok=True)
    if not (folder / SETUP).is_file():
        write_json(folder / SETUP, setup)
