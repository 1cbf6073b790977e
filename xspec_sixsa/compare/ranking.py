"""Several models on the same data: evidences, Bayes factors and predictive scores from the folders of their runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.common.files import write_json
from xspec_sixsa.compare.leaveoneout import LeaveOneOut, leave_one_out
from xspec_sixsa.compare.posterior import CompareError
from xspec_sixsa.products.plots.style import BLUE, STYLE, VERMILION, new_figure, save_figure
from xspec_sixsa.result import Result
from xspec_sixsa.result.notebook import html_list, html_table
from xspec_sixsa.session import difference

if TYPE_CHECKING:
    from xspec_sixsa.result import SpectrumPredictive

__all__ = ["RankedModel", "Ranking", "rank"]

FILE, PICTURE = "ranking.json", "ranking"
DATA_KEYS = ("counts_sha256", "noticed", "exposure", "statistic", "systematic")
"""What of a spectrum's fingerprint is the data; the responses belong to the model."""
SCALE = ((1.0, "not worth more than a mention"), (3.0, "positive"), (5.0, "strong"), (np.inf, "very strong"))
"""Words for ln Bayes factors (Kass & Raftery 1995)."""
SIGMAS = 3.0


@dataclass
class RankedModel:
    """One model's place.

    Attributes
    ----------
    name, expression : str
        The folder, and the model's expression.
    parameters : int
        Free ones.
    log_z, log_z_err, best_statistic : float
    delta_log_z, delta_log_z_err : float
        Minus the natural logarithm of the Bayes factor of the best model against this one; 0 for the best.
    probability : float
        Of this model, where all had the same before.
    status : str
        The run's verdict on itself.
    elpd, delta_elpd, delta_elpd_err, effective_parameters : float
        Expected log predictive density (leave-one-out, by bin), minus that of the model that predicts best, the error
        of the difference (scatter over bins, and that of the draws), and how many parameters the data determine; NaN
        where the folder does not hold what it takes.
    largest_k, doubtful_bins : float, int
        Largest Pareto k of a bin, and how many have one that is not to be trusted: see `leaveoneout.LeaveOneOut`.
    """

    name: str
    expression: str
    parameters: int
    log_z: float
    log_z_err: float
    best_statistic: float
    status: str
    delta_log_z: float = 0.0
    delta_log_z_err: float = 0.0
    probability: float = np.nan
    elpd: float = np.nan
    delta_elpd: float = np.nan
    delta_elpd_err: float = np.nan
    effective_parameters: float = np.nan
    largest_k: float = np.nan
    doubtful_bins: int = 0


@dataclass
class Ranking:
    """Models in the order of their evidence, best first; `print` it for the table.

    Attributes
    ----------
    models : list of RankedModel
    notes : list of str
        What the scores do not say.
    """

    models: list[RankedModel]
    notes: list[str]

    def __str__(self) -> str:
        from xspec_sixsa.compare.words import table

        lines = [*table(self._rows()), "", *self.verdict()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        lines = [*self.verdict(), *(f"Note: {note}" for note in self.notes)]
        return f"<div>{html_table(self._rows())}{html_list(lines)}</div>"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("run", "model", "free", "statistic", "log Z", "- ln B", "P", "elpd", "delta elpd", "k", "verdict")
        ]
        for m in self.models:
            has = np.isfinite(m.elpd)
            delta = "best" if m.delta_elpd == 0 else f"{m.delta_elpd:+.2f} +- {m.delta_elpd_err:.2f}"
            doubtful = f" ({m.doubtful_bins} bad)" if m.doubtful_bins else ""
            rows.append((
                m.name, m.expression, str(m.parameters), f"{m.best_statistic:.2f}",
                f"{m.log_z:.3f} +- {m.log_z_err:.3f}",
                f"{m.delta_log_z:+.3f} +- {m.delta_log_z_err:.3f}" if m is not self.models[0] else "best",
                f"{m.probability:.3g}", f"{m.elpd:.2f}" if has else "", delta if has else "",
                f"{m.largest_k:.2f}{doubtful}" if has else "", m.status,
            ))  # fmt: skip
        return rows

    def verdict(self) -> list[str]:
        """What the Bayes factors say, in words."""
        best = self.models[0]
        lines = []
        for other in self.models[1:]:
            factor, error = -other.delta_log_z, other.delta_log_z_err
            if factor < SIGMAS * error:
                words = f"cannot be told apart (ln B = {factor:.2f} +- {error:.2f})"
            else:
                strength = next(word for limit, word in SCALE if factor < limit)
                words = f"{strength} evidence for the first (ln B = {factor:.2f} +- {error:.2f})"
            lines.append(f"{best.name} against {other.name}: {words}.")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """What `ranking.json` holds."""
        return {"models": [asdict(m) for m in self.models], "verdict": self.verdict(), "notes": self.notes}

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw evidences and predictive scores relative to the best; PNG, PDF or SVG by suffix."""
        import matplotlib as mpl

        columns = [("delta_log_z", "delta_log_z_err", r"$\Delta\,\ln Z$", BLUE)]
        if any(np.isfinite(m.elpd) for m in self.models):
            columns.append(("delta_elpd", "delta_elpd_err", r"$\Delta$ elpd (LOO)", VERMILION))
        with mpl.rc_context(STYLE):
            figure = new_figure(3.2 + 3.2 * len(columns), 1.4 + 0.45 * len(self.models))
            figure.set_layout_engine("constrained")
            panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
            places = np.arange(len(self.models))[::-1]
            for panel, (key, error, title, colour) in zip(panels, columns, strict=True):
                values, errors = ([getattr(m, name) for m in self.models] for name in (key, error))
                panel.errorbar(values, places, xerr=errors, fmt="o", color=colour, capsize=3)
                panel.axvline(0.0, color="0.7", linewidth=0.8, zorder=0)
                panel.set_xlabel(title)
                panel.set_ylim(-0.6, len(self.models) - 0.4)
            names = [
                "\n".join([*dict.fromkeys([m.name, m.expression]), *["UNRELIABLE"] * (m.status != "reliable")])
                for m in self.models
            ]
            panels[0].set_yticks(places, names, fontsize=9)
            return save_figure(figure, path)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `ranking.json`, `ranking.png` and `ranking.pdf`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "pdf"):
            self.plot(folder / f"{PICTURE}.{suffix}")
        write_json(folder / FILE, self.as_dict())
        return folder


def rank(folders: Sequence[str | os.PathLike[str]]) -> Ranking:
    """Rank the models of several runs on the same data.

    Parameters
    ----------
    folders : sequence of path
        Output folders of `fit`, at least two.

    Returns
    -------
    Ranking

    Raises
    ------
    CompareError
        When the runs' data differ, saying how, or there is only one.
    """
    paths = list(dict.fromkeys(Path(folder) for folder in folders))
    if len(paths) < 2:
        raise CompareError("Give the folders of at least two runs: one model has no rank.")
    results = [Result.load(path) for path in paths]
    for path, result in zip(paths[1:], results[1:], strict=True):
        _refuse_other_data(paths[0], results[0], path, result)
    names = _short_names(paths)
    models = [
        RankedModel(
            name, " + ".join(str(e) for e in result.fingerprint.get("models", {}).values()), len(result.names),
            result.log_z, result.log_z_err, result.best_statistic, result.status,
        )
        for name, result in zip(names, results, strict=True)
    ]  # fmt: skip
    notes = ["Bayes factors depend on the ranges of the priors; neither score says that the best model is a good one."]
    _predictive_scores(models, results, notes)
    best = max(models, key=lambda m: m.log_z)
    log_odds = np.array([m.log_z for m in models]) - best.log_z
    odds = np.exp(log_odds) / np.exp(log_odds).sum()
    for m, probability in zip(models, odds, strict=True):
        m.probability = float(probability)
        m.delta_log_z = m.log_z - best.log_z
        m.delta_log_z_err = 0.0 if m is best else float(np.hypot(m.log_z_err, best.log_z_err))
    unreliable = [m.name for m in models if m.status != "reliable"]
    if unreliable:
        notes.append(f"the evidence of {', '.join(unreliable)} is unreliable: so is its place.")
    return Ranking(sorted(models, key=lambda m: -m.log_z), notes)


def _predictive_scores(models: list[RankedModel], results: list[Result], notes: list[str]) -> None:
    scores = []
    for result in results:
        parts = result.log_predictive()
        if parts is None:
            notes.append(
                "no predictive scores: the folders do not hold what they take (pgstat, model weighting, or "
                "no posterior-predictive spectra)."
            )
            return
        scores.append(leave_one_out(np.concatenate(parts, axis=1), result.ess))
    best = max(scores, key=lambda score: score.elpd.sum())
    for m, score, result in zip(models, scores, results, strict=True):
        gain = score.elpd - best.elpd
        m.elpd, m.effective_parameters = float(score.elpd.sum()), float(score.p.sum())
        m.delta_elpd = float(gain.sum())
        if score is best:
            m.delta_elpd_err = 0.0
        elif gain.size > 1:
            over_bins = np.sqrt(gain.size) * gain.std(ddof=1)
            m.delta_elpd_err = float(np.linalg.norm([over_bins, score.monte_carlo_err, best.monte_carlo_err]))
        m.largest_k, m.doubtful_bins = float(score.k.max()), int(score.doubtful.sum())
        if m.doubtful_bins:
            notes.append(f"{m.name}: {_doubt(score, result.predictive_data)}")


def _doubt(score: LeaveOneOut, spectra: Sequence[SpectrumPredictive]) -> str:
    worst = int(score.k.argmax())
    energies = np.concatenate([s.energies for s in spectra])[worst]
    owner = int(np.searchsorted(np.cumsum([len(s.counts) for s in spectra]), worst, side="right"))
    count = int(score.doubtful.sum())
    bins = "1 bin weighs" if count == 1 else f"{count} bins weigh"
    return (
        f"its elpd is doubtful: {bins} so much on the posterior that its draws do not tell what it were without "
        f"(Pareto k up to {score.k[worst]:.2f}, at {energies[0]:.4g}-{energies[1]:.4g} keV of {spectra[owner].name}; "
        f"trusted below {score.limit:.2f} for {score.draws:.0f} draws). Ignore such bins in all models, fit again, and "
        "see whether the order stays."
    )


def _refuse_other_data(path: Path, result: Result, other_path: Path, other: Result) -> None:
    def data(one: Result) -> dict[str, Any]:
        spectra = one.fingerprint.get("spectra")
        if not spectra:
            raise CompareError(f"{one.output} does not say which data it was fitted to: run it again.")
        return {
            "spectra": [{key: entry.get(key) for key in DATA_KEYS} | {"file": entry.get("file")} for entry in spectra],
            "weight": one.fingerprint.get("weight"),
        }

    before, now = data(result), data(other)
    for a, b in zip(before["spectra"], now["spectra"], strict=False):
        b["file"] = a["file"]  # the same counts under another name are the same data
    changes = difference(before, now)
    if changes:
        raise CompareError(
            f"{path} and {other_path} were fitted to different data, so their evidences have nothing to do with each "
            f"other: {'; '.join(changes)}. Fit both to the same spectra, channels and statistic."
        )


def _short_names(paths: Sequence[Path]) -> list[str]:
    names = [path.absolute().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
