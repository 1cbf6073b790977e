"""Several models on the same data: evidences, Bayes factors and predictive scores from the folders of their runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import write_json
from xspec_sixsa.common.fitstatistic import FLOOR, wstat
from xspec_sixsa.compare.posterior import CompareError
from xspec_sixsa.products.plots.style import BLUE, STYLE, VERMILION, new_figure, save_figure
from xspec_sixsa.result import Result
from xspec_sixsa.session import difference

if TYPE_CHECKING:
    from xspec_sixsa.result import Result, SpectrumPredictive

__all__ = ["RankedModel", "Ranking", "log_predictive", "rank", "waic"]

FILE, PICTURE = "ranking.json", "ranking"
DATA_KEYS = ("counts_sha256", "noticed", "exposure", "statistic", "systematic")
"""What of a spectrum's fingerprint is the data; the responses belong to the model."""
LARGE_SPREAD = 0.4
"""A variance of ln p above which WAIC is not to be trusted in a bin (Vehtari, Gelman & Gabry 2017)."""
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
        Expected log predictive density (WAIC), minus that of the model that predicts best, the error of the
        difference, and how many parameters the data determine; NaN where the folder does not hold what it takes.
    doubtful_bins : int
        Bins whose ln p varies too much over the posterior for WAIC.
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

        rows = [("run", "model", "free", "statistic", "log Z", "- ln B", "P", "elpd", "delta elpd", "verdict")]
        for m in self.models:
            has = np.isfinite(m.elpd)
            rows.append((
                m.name, m.expression, str(m.parameters), f"{m.best_statistic:.2f}",
                f"{m.log_z:.3f} +- {m.log_z_err:.3f}",
                f"{m.delta_log_z:+.3f} +- {m.delta_log_z_err:.3f}" if m is not self.models[0] else "best",
                f"{m.probability:.3g}", f"{m.elpd:.2f}" if has else "",
                f"{m.delta_elpd:+.2f} +- {m.delta_elpd_err:.2f}" if has else "", m.status,
            ))  # fmt: skip
        lines = [*table(rows), "", *self.verdict()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

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
            columns.append(("delta_elpd", "delta_elpd_err", r"$\Delta$ elpd (WAIC)", VERMILION))
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


def waic(log_p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected log predictive density of each bin, and its effective parameters (Watanabe 2010; Gelman et al. 2014).

    Parameters
    ----------
    log_p : ndarray (draws, bins)
        ln p(observed bin | draw), for equal-weight draws of the posterior.

    Returns
    -------
    elpd, p : ndarray (bins,)
    """
    top = log_p.max(axis=0)
    density = top + np.log(np.exp(log_p - top).mean(axis=0))
    p = log_p.var(axis=0, ddof=1)
    return density - p, p


def log_predictive(spectrum: SpectrumPredictive) -> NDArray[np.float64] | None:
    """Ln p of each bin for each posterior draw that the folder holds, (k, n); None where it does not hold enough.

    Poisson for cstat without background and for pstat, Gaussian for chi. With a background file cstat is W, the
    likelihood of source and background counts at the best background rate of each bin: so is this. None for pgstat.
    """
    from scipy import stats

    if spectrum.statistic == "chi":
        return np.asarray(stats.norm.logpdf(spectrum.counts, spectrum.total, spectrum.counts_error))
    if spectrum.statistic == "pstat" or (spectrum.statistic == "cstat" and spectrum.background is None):
        # XSPEC's own floor of the expected counts
        return np.asarray(stats.poisson.logpmf(np.round(spectrum.counts), np.maximum(spectrum.total, FLOOR)))
    if spectrum.statistic == "cstat" and spectrum.background_ratio is not None:
        b, ratio = spectrum.background / spectrum.background_ratio, spectrum.background_ratio
        # W is zero where source and background are just as recorded
        saturated = sum(stats.poisson.logpmf(np.round(x), np.round(x)) for x in (spectrum.counts, b))
        expected = np.maximum(spectrum.total - spectrum.background, FLOOR)
        return np.asarray(saturated - 0.5 * wstat(spectrum.counts, b, ratio, expected))
    return None


def _predictive_scores(models: list[RankedModel], results: list[Result], notes: list[str]) -> None:
    scores = []
    for result in results:
        parts = [log_predictive(spectrum) for spectrum in result.predictive_data]
        modelled = result.fingerprint.get("weight") == "model" and any(
            s.statistic == "chi" for s in result.predictive_data
        )
        if not parts or modelled or any(part is None for part in parts):
            notes.append(
                "no predictive scores: the folders do not hold what they take (pgstat, model weighting, or "
                "no posterior-predictive spectra)."
            )
            return
        elpd, p = zip(*(waic(part) for part in parts if part is not None), strict=True)
        scores.append((np.concatenate(elpd), np.concatenate(p)))
    best = max(scores, key=lambda score: score[0].sum())[0]
    for m, (elpd, p) in zip(models, scores, strict=True):
        difference = elpd - best
        m.elpd, m.effective_parameters = float(elpd.sum()), float(p.sum())
        m.delta_elpd = float(difference.sum())
        m.delta_elpd_err = float(np.sqrt(difference.size) * difference.std(ddof=1)) if difference.size > 1 else np.nan
        m.doubtful_bins = int((p > LARGE_SPREAD).sum())
        if m.doubtful_bins:
            notes.append(f"{m.name}: WAIC is doubtful, ln p of {m.doubtful_bins} bins varies by more than "
                         f"{LARGE_SPREAD:g} over the posterior.")  # fmt: skip


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
