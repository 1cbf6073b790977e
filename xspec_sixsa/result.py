"""What a run returns: weighted posterior draws, the evidence, the verdict; saved and loaded without pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ._files import atomic_path

if TYPE_CHECKING:
    from .compare.comparison import Comparison
    from .derived import Derived
    from .diagnostics import Diagnosis
    from .prioredges import PriorEdge

__all__ = ["Result", "SpectrumPredictive", "weighted_quantile"]

RELIABLE, UNRELIABLE = "reliable", "unreliable"
SUMMARY, POSTERIOR, PREDICTIVE, ROUNDS = "summary.json", "posterior.npz", "predictive.npz", "rounds.npz"
NETWORKS = "networks.npz"
FORMAT = 1
INTERVALS = {"68": 0.68, "90": 0.90}


@dataclass(eq=False)
class SpectrumPredictive:
    """One spectrum beside k equal-weight posterior draws of its expected counts (what `predictive.png` shows).

    Attributes
    ----------
    name : str
        The spectrum's file name.
    energies : ndarray (n, 2)
        Edges of the noticed groups, keV.
    exposure : float
        Seconds.
    counts, counts_error : ndarray (n,)
        Observed source-region counts per group, and their error.
    background : ndarray (n,) or None
        Background counts scaled to the source region.
    background_ratio : ndarray (n,) or None
        ``background`` over the counts that the background file holds.
    total : ndarray (k, n)
        Expected counts, scaled background included.
    components : dict of str to ndarray (k, n)
        Expected counts of each additive component.
    statistic : str
        "cstat", "pstat", "pgstat" or "chi": what the residuals are measured with.
    """

    name: str
    energies: np.ndarray
    exposure: float
    counts: np.ndarray
    counts_error: np.ndarray
    background: np.ndarray | None
    total: np.ndarray
    components: dict[str, np.ndarray] = field(default_factory=dict)
    statistic: str = "cstat"
    background_ratio: np.ndarray | None = None


@dataclass(eq=False)
class Result:
    """Posterior of a fit: n draws, each an exact evaluation of the fit statistic, with importance weights.

    Attributes
    ----------
    names, labels, units : list of str, length d
        Chain names (``nH__1``), what XSPEC shows (``TBabs nH``), and XSPEC's units.
    samples : ndarray (n, d)
        Physical parameter values; draws outside the prior stay in, with zero weight.
    log_weights, log_likelihood, log_proposal : ndarray (n,)
        In unit-cube coordinates, where the prior is uniform: ``log_weights = log_likelihood - log_proposal``.
    log_z, log_z_err : float
        Evidence (natural logarithm) and its error.
    ess, k_hat : float
        Effective sample size of the weights, and the Pareto shape of their tail (trusted below 0.7).
    evaluations, seconds : dict
        Evaluations of the model, and wall-clock seconds, by stage.
    status : {"reliable", "unreliable"}
        The verdict; `reasons` says why.
    best_fit : ndarray (d,)
        Best fit; `best_statistic` is the fit statistic there.
    seed, versions, fingerprint
        What is needed to repeat the run, and what identifies the session it was made from.
    rounds : list of dict
        Per round: ``round, evaluations, ess, efficiency, samples (k, d), compressor, training``.
    emulator : dict
        What the emulator was worth: ``error`` in log L over the posterior (on draws it had not seen), ``rre`` and
        ``rma`` of the observation beside the limits that simulated spectra keep, ``inside``, and ``start``, the
        parameter values (d,) that its inverse half gives for the observation; empty without one.
    common_norm : dict
        The same weights with the model's common scale integrated in closed form, which nothing else here makes use
        of: ``norms`` (chain names), ``ess``, ``gain`` (0.1: 10 % more effective samples), ``log_z``, ``log_z_err``; or
        ``why_not`` alone (`normalisation`).
    predictive_data : list of SpectrumPredictive
        One per spectrum; empty when the run was told to make none.
    network_data : dict of str to ndarray
        What networks and emulator have learned, for pictures (`networkdata.network_data`); empty without.
    output : Path or None
        The folder it was saved to.
    """

    names: list[str]
    labels: list[str]
    units: list[str]
    samples: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    log_proposal: np.ndarray
    log_z: float
    log_z_err: float
    ess: float
    k_hat: float
    evaluations: dict[str, int]
    seconds: dict[str, float]
    status: str
    reasons: list[str]
    best_fit: np.ndarray
    best_statistic: float
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    emulator: dict[str, Any] = field(default_factory=dict)
    common_norm: dict[str, Any] = field(default_factory=dict)
    predictive_data: list[SpectrumPredictive] = field(default_factory=list)
    network_data: dict[str, np.ndarray] = field(default_factory=dict)
    output: Path | None = None

    def __post_init__(self) -> None:
        self.names, self.labels, self.units = list(self.names), list(self.labels), list(self.units)
        self.samples = np.asarray(self.samples, dtype=float)
        self.best_fit = np.asarray(self.best_fit, dtype=float)
        if self.samples.ndim != 2:
            raise ValueError(f"samples must be (draws, parameters), not of shape {self.samples.shape}.")
        rows, width = self.samples.shape
        for key in ("log_weights", "log_likelihood", "log_proposal"):
            value = np.asarray(getattr(self, key), dtype=float)
            setattr(self, key, value)
            if value.shape != (rows,):
                raise ValueError(f"{key} has shape {value.shape}; with {rows} draws it must be ({rows},).")
        for key in ("names", "labels", "units", "best_fit"):
            if len(getattr(self, key)) != width:
                raise ValueError(f"{key} has {len(getattr(self, key))} entries for {width} parameters.")
        if self.status not in (RELIABLE, UNRELIABLE):
            raise ValueError(f"status is {self.status!r}; it must be 'reliable' or 'unreliable'.")

    # -- numbers ------------------------------------------------------------------------------------------------

    @property
    def reliable(self) -> bool:
        """Whether the verdict is ``reliable``."""
        return self.status == RELIABLE

    @property
    def weights(self) -> np.ndarray:
        """Weights (n,), summing to 1 (all zero when no draw has a finite likelihood)."""
        top = np.max(self.log_weights, initial=-np.inf)
        if not np.isfinite(top):
            return np.zeros(len(self.log_weights))
        w = np.exp(self.log_weights - top)
        return w / w.sum()

    @property
    def prior_edges(self) -> list[PriorEdge]:
        """Limits of priors that cut the posterior (`prioredges.prior_edges`); the draws are exact all the same."""
        from .prioredges import prior_edges

        return prior_edges(self)

    @property
    def mean(self) -> np.ndarray:
        """Posterior mean (d,)."""
        keep, w = self._weighted()
        return w @ self.samples[keep]

    @property
    def covariance(self) -> np.ndarray:
        """Posterior covariance (d, d)."""
        keep, w = self._weighted()
        centred = self.samples[keep] - w @ self.samples[keep]
        return (centred * w[:, None]).T @ centred

    @property
    def sd(self) -> np.ndarray:
        """Posterior standard deviation (d,)."""
        return np.sqrt(np.diag(self.covariance))

    def quantile(self, q: float | Iterable[float]) -> np.ndarray:
        """Weighted quantiles of every parameter: (d,) for one `q` in [0, 1], (len(q), d) for several."""
        keep, w = self._weighted()
        columns = [weighted_quantile(self.samples[keep, i], q, w) for i in range(len(self.names))]
        return np.stack(columns, axis=-1)

    def interval(self, level: float = 0.68) -> np.ndarray:
        """Central credible interval of every parameter, (d, 2)."""
        return self.quantile([0.5 - level / 2, 0.5 + level / 2]).T

    def credible_mass(self, theta: Iterable[float]) -> float:
        """Posterior mass nearer to the mean than `theta`, by Mahalanobis distance with the posterior's covariance.

        0 at the mean; below 0.99 means that `theta` lies in the joint 99 % ellipsoid whose content is counted from the
        draws, so it needs no Gaussian posterior.
        """
        keep, w = self._weighted()
        inverse = np.linalg.pinv(self.covariance, hermitian=True)
        centred = self.samples[keep] - self.mean
        distance = np.einsum("ni,ij,nj->n", centred, inverse, centred)
        offset = np.asarray(list(theta), dtype=float) - self.mean
        return float(w[distance < offset @ inverse @ offset].sum())

    def resample(
        self, n: int | None = None, rng: np.random.Generator | int | None = None, *, return_index: bool = False
    ) -> np.ndarray:
        """Equal-weight draws in random order, by systematic resampling.

        Parameters
        ----------
        n : int, optional
            How many; default: the effective sample size, rounded. More repeats draws rather than adding information.
        rng : Generator or int, optional
            Default: a generator seeded with the run's own seed, so that the answer can be repeated.
        return_index : bool
            Give the row numbers instead of the values.

        Returns
        -------
        ndarray (n, d), or (n,) of int with `return_index`
        """
        keep, w = self._weighted()
        n = max(1, round(self.ess)) if n is None else int(n)
        if not isinstance(rng, np.random.Generator):
            rng = np.random.default_rng(self.seed if rng is None else rng)
        positions = (rng.random() + np.arange(n)) / n
        picks = np.minimum(np.searchsorted(np.cumsum(w), positions, side="right"), w.size - 1)
        index = np.flatnonzero(keep)[rng.permutation(picks)]
        return index if return_index else self.samples[index]

    def _weighted(self) -> tuple[np.ndarray, np.ndarray]:
        w = self.weights
        keep = w > 0
        if not keep.any():
            raise ValueError(
                f"None of the {w.size} draws has a finite likelihood, so there is no posterior to describe. "
                f"Reasons given by the run: {'; '.join(self.reasons) or 'none'}."
            )
        return keep, w[keep]

    # -- words --------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Verdict, parameters, evidence and cost as a table of text."""
        from .summary import summary_text

        return summary_text(self)

    def __str__(self) -> str:
        return self.summary()

    def as_dict(self) -> dict[str, Any]:
        """What `summary.json` holds (numbers only, no draws)."""
        parameters = {}
        has_draws = bool((self.weights > 0).any())
        if has_draws:
            median, mean, sd = self.quantile(0.5), self.mean, self.sd
            bounds = {key: self.interval(level) for key, level in INTERVALS.items()}
        for i, name in enumerate(self.names):
            entry: dict[str, Any] = {"label": self.labels[i], "unit": self.units[i]}
            if has_draws:
                entry |= {"mean": mean[i], "sd": sd[i], "median": median[i]}
                entry |= {f"interval_{key}": list(bounds[key][i]) for key in INTERVALS}
            entry["best_fit"] = self.best_fit[i]
            parameters[name] = entry
        return {
            "format": FORMAT,
            "status": self.status,
            "reasons": list(self.reasons),
            "parameters": parameters,
            "prior_edges": [asdict(edge) for edge in self.prior_edges],
            "best_statistic": self.best_statistic,
            "log_z": self.log_z,
            "log_z_err": self.log_z_err,
            "ess": self.ess,
            "k_hat": self.k_hat,
            "draws": len(self.samples),
            "evaluations": dict(self.evaluations),
            "evaluations_total": int(sum(self.evaluations.values())),
            "seconds": dict(self.seconds),
            "seed": self.seed,
            "versions": dict(self.versions),
            "fingerprint": dict(self.fingerprint),
            "emulator": dict(self.emulator),
            "common_norm": dict(self.common_norm),
            "rounds": [{key: value for key, value in r.items() if key != "samples"} for r in self.rounds],
        }

    def compare(self, *methods: str, **options: Any) -> Comparison:
        """Run other methods on the same session and priors, and say whether they agree.

        Parameters
        ----------
        *methods : {"bxa", "nautilus", "mcmc", "mh"}
            BXA, nautilus, XSPEC's Goodman-Weare and Metropolis-Hastings chains. Each runs in a copy of this process:
            the session that is loaded stays as it is.
        **options
            `read` (finished runs: BXA folders, chain files), `limit` (seconds), `restore` (the session from the
            run's folder) ...: see `compare.run.compare`.

        Returns
        -------
        Comparison
            Print it; `comparison.json` and the corner plot go to the result's folder.
        """
        from .compare.run import compare

        return compare(self, methods, **options)

    def diagnose(self, **options: Any) -> Diagnosis:
        """Whether the model describes the data: goodness of fit, residual lines, outliers (`diagnostics.diagnose`)."""
        from .diagnostics import diagnose

        return diagnose(self, **options)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write `summary.json` and `posterior.npz`; `predictive`, `rounds`, `networks` where they hold something.

        Each file is replaced as a whole; the folder is made when it does not exist.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _save_arrays(
            directory / POSTERIOR,
            {
                "samples": self.samples,
                "log_weights": self.log_weights,
                "log_likelihood": self.log_likelihood,
                "log_proposal": self.log_proposal,
                "best_fit": self.best_fit,
                "names": np.array(self.names, dtype=str),
                "labels": np.array(self.labels, dtype=str),
                "units": np.array(self.units, dtype=str),
            },
        )
        draws = {f"round{i}": r["samples"] for i, r in enumerate(self.rounds) if r.get("samples") is not None}
        for name, arrays in (
            (PREDICTIVE, _pack_predictive(self.predictive_data)),
            (ROUNDS, {key: np.asarray(value) for key, value in draws.items()}),
            (NETWORKS, self.network_data),
        ):
            if arrays:
                _save_arrays(directory / name, arrays)
            else:
                (directory / name).unlink(missing_ok=True)  # of an earlier result in the same folder
        # The summary last: where it stands, the rest is complete.
        with atomic_path(directory / SUMMARY) as temporary:
            temporary.write_text(json.dumps(_plain(self.as_dict()), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        self.output = directory
        return directory

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Result:
        """Read what `save` wrote.

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
            raise ValueError(
                f"{directory} was written by a newer xspec_sixsa (format {summary['format']}): update yours."
            )
        arrays = _load_arrays(directory / POSTERIOR)
        rounds = [dict(r) for r in summary["rounds"]]
        if (directory / ROUNDS).is_file():
            for key, value in _load_arrays(directory / ROUNDS).items():
                rounds[int(key.removeprefix("round"))]["samples"] = value
        predictive = []
        if (directory / PREDICTIVE).is_file():
            predictive = _unpack_predictive(_load_arrays(directory / PREDICTIVE))
        return cls(
            names=[str(s) for s in arrays["names"]],
            labels=[str(s) for s in arrays["labels"]],
            units=[str(s) for s in arrays["units"]],
            samples=arrays["samples"],
            log_weights=arrays["log_weights"],
            log_likelihood=arrays["log_likelihood"],
            log_proposal=arrays["log_proposal"],
            best_fit=arrays["best_fit"],
            rounds=rounds,
            emulator=summary.get("emulator", {}),
            common_norm=summary.get("common_norm", {}),
            predictive_data=predictive,
            network_data=_load_arrays(directory / NETWORKS) if (directory / NETWORKS).is_file() else {},
            output=directory,
            **{key: _number(summary[key]) for key in ("log_z", "log_z_err", "ess", "k_hat", "best_statistic")},
            **{
                key: summary[key]
                for key in ("evaluations", "seconds", "status", "reasons", "seed", "versions", "fingerprint")
            },
        )

    def save_chain(self, path: str | os.PathLike[str], n: int | None = None) -> Path:
        """Write XSPEC's CHAIN FITS of equal-weight draws.

        Parameters
        ----------
        path : path
            The file; an existing one is replaced.
        n : int, optional
            Rows; default: twice the effective sample size, between 1,000 and 20,000, rounded to whole sets of walkers.
        """
        from .chainfile import write_chain

        if n is None:
            walkers = 2 * len(self.names)
            n = walkers * math.ceil(min(max(2 * self.ess, 1000), 20000) / walkers)
        index = self.resample(n, return_index=True)
        history = [
            f"xspec_sixsa {self.versions.get('xspec_sixsa', '')}: equal-weight draws from {len(self.samples)} weighted",
            f"effective sample size {self.ess:.1f}, k-hat {self.k_hat:.3f}, seed {self.seed}",
            f"log Z {self.log_z:.4f} +- {self.log_z_err:.4f}",
            f"verdict: {self.status}" + "".join(f"; {reason}" for reason in self.reasons),
        ]
        return write_chain(
            path, self.names, self.units, self.samples[index], -2 * self.log_likelihood[index], history=history
        )

    # -- what follows from the parameters ------------------------------------------------------------------------

    def upper_limit(self, level: float = 0.9) -> np.ndarray:
        """What each parameter is below with probability `level`, (d,)."""
        return self.quantile(level)

    def flux(self, low: float, high: float, **options: Any) -> Derived:
        """Posterior of the flux between two energies, keV, by XSPEC's `flux` (`derived.flux` has the options)."""
        from .derived import flux

        return flux(self, low, high, **options)

    def lumin(self, low: float, high: float, redshift: float | str, **options: Any) -> Derived:
        """Posterior of the luminosity in a rest-frame band, by XSPEC's `lumin` (`derived.lumin` has the options)."""
        from .derived import lumin

        return lumin(self, low, high, redshift, **options)

    def eqwidth(self, component: int | str, **options: Any) -> Derived:
        """Posterior of a component's equivalent width, by XSPEC's `eqwidth` (`derived.eqwidth` has the options)."""
        from .derived import eqwidth

        return eqwidth(self, component, **options)

    def derive(self, function: Callable[..., np.ndarray], name: str = "derived", unit: str = "") -> Derived:
        """Posterior of a function of the parameters: ``lambda p: p["norm__5"] / p["norm__3"]`` (`derived.derive`)."""
        from .derived import derive

        return derive(self, function, name, unit)

    def derive_in_xspec(self, function: Callable[..., Any], *names: Any, **options: Any) -> Derived:
        """Posterior of anything that XSPEC can tell with the model set (`derived.derive_in_xspec`)."""
        from .derived import derive_in_xspec

        return derive_in_xspec(self, function, *names, **options)

    def set_best_fit(self, xspec: ModuleType | None = None) -> None:
        """Set XSPEC's model to the best fit (by BXA's name). One evaluation."""
        from .derived import open_session

        session = open_session(self, xspec, workers=1)
        session.set(self.best_fit, "best fit")
        self.evaluations["best fit"] = self.evaluations.get("best fit", 0) + session.evaluations["best fit"]

    def create_flux_chain(
        self, spectrum: Any, erange: str = "2.0 10.0", nsamples: int | None = None, i_src: int = 0, **options: Any
    ) -> np.ndarray:
        """Energy and photon flux of equal-weight draws, (n, 2), by BXA's name (`derived.flux_chain`)."""
        from .derived import flux_chain

        return flux_chain(self, spectrum, erange, nsamples, i_src, **options)

    def posterior_predictions_convolved(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Folded model at posterior draws, drawn and returned, by BXA's name (`predictions.convolved`)."""
        from .predictions import convolved

        return convolved(self, *arguments, **options)

    def posterior_predictions_unconvolved(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Model before the response at posterior draws, by BXA's name (`predictions.unconvolved`)."""
        from .predictions import unconvolved

        return unconvolved(self, *arguments, **options)

    # -- pictures and other people's formats ---------------------------------------------------------------------

    def corner(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Draw the corner plot (`plots.corner_plot` has the options); PNG or PDF by suffix."""
        from .plots import corner_plot

        return corner_plot(self, path, **options)

    def predictive(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Draw data, posterior-predictive bands and residuals (`plots.predictive_plot`); PNG or PDF by suffix."""
        from .plots import predictive_plot

        return predictive_plot(self, path, **options)

    def rounds_plot(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Draw the posterior round by round and the training curves (`plots.rounds_plot`); PNG or PDF by suffix."""
        from .plots import rounds_plot

        return rounds_plot(self, path, **options)

    def report(self, directory: str | os.PathLike[str] | None = None) -> Path:
        """Write `report.html`, one page that holds everything (`report.write_report`); default: to the run's folder."""
        from .report import write_report

        return write_report(self, directory)

    def to_latex(self, *, level: float = 0.68) -> str:
        """Parameters as a LaTeX table, with errors of the given content (`publish.latex_table`)."""
        from .publish import latex_table

        return latex_table(self, level=level)

    def to_pandas(self) -> Any:
        """Weighted draws as a `pandas.DataFrame` (needs pandas)."""
        from .export import to_pandas

        return to_pandas(self)

    def to_arviz(self, n: int | None = None) -> Any:
        """Equal-weight draws as ArviZ's InferenceData (needs arviz)."""
        from .export import to_arviz

        return to_arviz(self, n)

    def to_getdist(self) -> Any:
        """Weighted draws as GetDist's `MCSamples` (needs getdist)."""
        from .export import to_getdist

        return to_getdist(self)


def weighted_quantile(values: np.ndarray, q: float | Iterable[float], weights: np.ndarray) -> np.ndarray:
    """Quantiles of weighted draws, linear between the middles of the steps of their cumulative weight.

    Parameters
    ----------
    values, weights : array (n,)
        Draws and non-negative weights, not necessarily normalised; zero weights have no influence.
    q : float or array
        Probabilities in [0, 1].
    """
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    keep = weights > 0
    order = np.argsort(values[keep], kind="stable")
    v, w = values[keep][order], weights[keep][order]
    middle = (np.cumsum(w) - 0.5 * w) / w.sum()
    return np.interp(np.asarray(q if np.isscalar(q) else list(q), dtype=float), middle, v)


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}). Run the fit again.") from error


def _pack_predictive(spectra: list[SpectrumPredictive]) -> dict[str, np.ndarray]:
    arrays = {}
    for i, spectrum in enumerate(spectra):
        for key, value in asdict(spectrum).items():
            if key == "components":
                arrays[f"{i}.component_names"] = np.array(list(value), dtype=str)
                for j, curve in enumerate(value.values()):
                    arrays[f"{i}.component{j}"] = np.asarray(curve, dtype=np.float32)
            elif key == "total":
                # Six digits are enough for a picture, and k draws of every bin are the bulk of the file.
                arrays[f"{i}.total"] = np.asarray(value, dtype=np.float32)
            elif value is not None:
                arrays[f"{i}.{key}"] = np.asarray(value)
    return arrays


def _unpack_predictive(arrays: Mapping[str, np.ndarray]) -> list[SpectrumPredictive]:
    spectra = []
    for i in range(1 + max((int(key.split(".")[0]) for key in arrays), default=-1)):
        names = [str(name) for name in arrays[f"{i}.component_names"]]
        spectra.append(
            SpectrumPredictive(
                name=str(arrays[f"{i}.name"]),
                energies=arrays[f"{i}.energies"],
                exposure=float(arrays[f"{i}.exposure"]),
                counts=arrays[f"{i}.counts"],
                counts_error=arrays[f"{i}.counts_error"],
                background=arrays.get(f"{i}.background"),
                total=arrays[f"{i}.total"],
                components={name: arrays[f"{i}.component{j}"] for j, name in enumerate(names)},
                statistic=str(arrays[f"{i}.statistic"]),
                background_ratio=arrays.get(f"{i}.background_ratio"),
            )
        )
    return spectra


def _plain(value: Any) -> Any:
    """Strict JSON: numpy becomes Python, and what is not finite a string ("nan", "inf"): JSON has no number for it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # A long run must not be lost because something in its fingerprint has no JSON form.
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _number(value: Any) -> float:
    return float("nan" if value is None else value)
