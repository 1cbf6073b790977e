"""What a run returns: weighted posterior draws, the evidence, the verdict."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.result import storage
from xspec_sixsa.result.chainfile import write_chain
from xspec_sixsa.result.export import to_arviz, to_getdist, to_pandas
from xspec_sixsa.result.methods import ResultMethods
from xspec_sixsa.result.notebook import summary_html
from xspec_sixsa.result.predictive import NO_ROWS, SpectrumPredictive, check_index
from xspec_sixsa.result.prioredges import PriorEdge, prior_edges
from xspec_sixsa.result.summary import summary_text
from xspec_sixsa.result.weighted import WeightedDraws

if TYPE_CHECKING:
    import getdist
    import pandas

__all__ = ["RELIABLE", "UNRELIABLE", "Result"]

RELIABLE, UNRELIABLE = "reliable", "unreliable"
INTERVALS = {"68": 0.68, "90": 0.90}


@dataclass(eq=False)
class Result(WeightedDraws, ResultMethods):
    """Posterior of a fit: n draws, each an exact evaluation of the fit statistic (but see `control`), with weights.

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
        The verdict; `reasons` says why, and what else to know before using the numbers.
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
        ``why_not`` alone (`infer.normalisation`).
    control : dict
        Where the draws are emulated ones that exact ones correct (``exact="control"``): ``exact`` evaluations that the
        correction rests on, its largest ``shift`` of a quantile's probability and what is ``remaining``, in units of
        the statistical error; effective samples of each parameter's mean (``mean_ess``, d) and quantiles
        (``quantile_ess``, d by level from ``"0.05"`` to ``"0.95"``, of which `ess` is the least). Empty where
        every draw is an exact evaluation.
    predictive_data : list of SpectrumPredictive
        One per spectrum; empty when the run was told to make none.
    predictive_index : ndarray of int (k,)
        Rows of `samples` that the k draws of `predictive_data` are; empty where unknown (runs of earlier versions).
    network_data : dict of str to ndarray
        What networks and emulator have learned, for pictures (`infer.networkdata.network_data`); empty without.
    output : Path or None
        The folder it was saved to.

    Examples
    --------
    `fit` makes results. This one is made by hand, of five draws, to show how to read one; the last draw lies outside
    the prior.

    >>> log_weights = np.log([1.0, 2.0, 2.0, 1.0, 1e-300])
    >>> log_weights[-1] = -np.inf
    >>> result = Result(
    ...     names=["PhoIndex__1"], labels=["powerlaw PhoIndex"], units=[""],
    ...     samples=[[1.8], [1.9], [2.0], [2.1], [9.0]],
    ...     log_weights=log_weights, log_likelihood=log_weights, log_proposal=np.zeros(5),
    ...     log_z=0.18, log_z_err=0.26, ess=3.6, k_hat=0.1, evaluations={"final": 5}, seconds={},
    ...     status="reliable", reasons=[], best_fit=[1.95], best_statistic=12.0, seed=1,
    ... )
    >>> print(result.mean, result.quantile(0.5))
    [1.95] [1.95]
    >>> print(result.interval(0.68).round(3))
    [[1.831 2.069]]
    >>> print(result.upper_limit(0.9).round(3))
    [2.093]

    Draws of equal weight, for whatever knows no weights; the same seed gives the same ones:

    >>> print(result.resample(6, rng=1).ravel())
    [2.1 1.8 1.9 2.  1.9 2. ]

    It is stored as numbers and text, without pickle:

    >>> import tempfile
    >>> folder = result.save(tempfile.mkdtemp())
    >>> Result.load(folder).reliable
    True
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
    control: dict[str, Any] = field(default_factory=dict)
    predictive_data: list[SpectrumPredictive] = field(default_factory=list)
    predictive_index: np.ndarray = field(default_factory=lambda: NO_ROWS)
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
        self.predictive_index = check_index(self.predictive_index, self.predictive_data, rows)
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
        return prior_edges(self)

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
        try:
            return super()._weighted()
        except ValueError as error:
            raise ValueError(f"{error} Reasons given by the run: {'; '.join(self.reasons) or 'none'}.") from None

    # -- words --------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Verdict, parameters, evidence and cost as a table of text."""
        return summary_text(self)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return summary_html(self)

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
            "format": storage.FORMAT,
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
            "control": dict(self.control),
            "rounds": [{key: value for key, value in r.items() if key != "samples"} for r in self.rounds],
        }

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write `summary.json` and `posterior.npz`; `predictive`, `rounds`, `networks` where they hold something.

        Each file is replaced as a whole; the folder is made when it does not exist.

        Raises
        ------
        ValueError
            If `predictive_index` was set to rows that `predictive_data` cannot have been made from.
        """
        self.predictive_index = check_index(self.predictive_index, self.predictive_data, len(self.samples))
        self.output = storage.write(self, directory)
        return self.output

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
        return cls(**storage.read(directory))

    def save_chain(self, path: str | os.PathLike[str], n: int | None = None) -> Path:
        """Write XSPEC's CHAIN FITS of equal-weight draws.

        Parameters
        ----------
        path : path
            The file; an existing one is replaced.
        n : int, optional
            Rows; default: twice the effective sample size, between 1,000 and 20,000, rounded to whole sets of walkers.
        """
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
        if self.control:
            history.append(f"likelihoods are emulated, corrected by {self.control['exact']} exact evaluations")
        return write_chain(
            path, self.names, self.units, self.samples[index], -2 * self.log_likelihood[index], history=history
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Weighted draws as a `pandas.DataFrame` (needs pandas)."""
        return to_pandas(self)

    def to_arviz(self, n: int | None = None, *, joint: bool = False) -> Any:
        """Equal-weight draws for ArviZ, with what `arviz.loo` and `arviz.compare` take (needs arviz).

        Parameters
        ----------
        n : int, optional
            So many draws, and no log likelihood by bin. Default: the draws of `predictive_data`, with that; where
            there are none, or for pgstat, the effective sample size.
        joint : bool
            All spectra's bins as one variable, ``counts``, for `arviz.loo` and `arviz.compare` of the whole fit.
            Default: each spectrum's under its own name, of which `arviz.loo` asks one as ``var_name``.

        Returns
        -------
        InferenceData, or DataTree from ArviZ 1.0 on
            Groups ``posterior``, ``sample_stats`` (``lp``), ``log_likelihood`` (chain, draw, bin), ``observed_data``.
        """
        known = n is None and self.predictive_index.size > 0
        pointwise = self.log_predictive() if known else None
        return to_arviz(self, n, pointwise, joint=joint)

    def to_getdist(self) -> getdist.MCSamples:
        """Weighted draws as GetDist's `MCSamples` (needs getdist)."""
        return to_getdist(self)
