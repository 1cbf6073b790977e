"""Does the model describe the data? From what a result's folder holds: no further evaluation.

Goodness of fit: C-stat against its expectation and variance for these expected counts (Kaastra 2017, A&A 605, A51; W
against that of simulated spectra), posterior-predictive p-values, and the QQ distance of cumulative counts. Residual
lines: a matched filter as wide as the response, its significance corrected for trials by simulated spectra. Outlying
observations: RRE and RMA (Chung et al., arXiv 2405.13220) beside the limits that simulated spectra keep.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import write_json
from xspec_sixsa.common.fitstatistic import FLOOR, wstat
from xspec_sixsa.embedded.ogip import read_rmf

if TYPE_CHECKING:
    from xspec_sixsa.result import Result, SpectrumPredictive

__all__ = ["Diagnosis", "LineHint", "SpectrumDiagnosis", "cash_moments", "diagnose", "find_line"]

Vector = NDArray[np.float64]

FILE = "diagnosis.json"
REPLICAS = 2000  # simulated spectra behind every p-value
SUSPECT = 0.01  # p-value from which something is said
FWHM = 2 * np.sqrt(2 * np.log(2))
REACH = 3.0  # standard deviations to which a line's kernel reaches
WIDTHS = (1.0, 2.0, 4.0)  # FWHM tried, in bins, where the response cannot be read


@dataclass(frozen=True)
class LineHint:
    """The largest narrow residual of a spectrum.

    Attributes
    ----------
    energy, fwhm : float
        keV.
    counts, counts_err : float
        Above the model (negative: missing), of a line of that width, and the error.
    local : float
        ``counts / counts_err``, in sigma.
    p_value : float
        Chance of a residual as large anywhere in the spectrum, at any width tried.
    """

    energy: float
    fwhm: float
    counts: float
    counts_err: float
    local: float
    p_value: float

    def __str__(self) -> str:
        kind = "excess" if self.counts > 0 else "deficit"
        lead = f"{kind} of {abs(self.counts):.3g} +- {self.counts_err:.2g} counts at {self.energy:.3g} keV"
        numbers = f"{abs(self.local):.1f} sigma there, p = {self.p_value:.2g} with all energies tried"
        if self.p_value >= SUSPECT:
            return f"no line: the largest residual is an {lead} ({numbers})".replace("an deficit", "a deficit")
        what = "an emission line may be missing: add a gaussian there" if self.counts > 0 else (
            "an absorption line or edge may be missing, or the gain be off: add one there"
        )  # fmt: skip
        return f"{lead} ({numbers}): {what}, and compare with `sixsa rank`"


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
            found.append(f"only {100 * self.predictive_p:.2g} % of the posterior's own spectra fit as badly")
        if self.qq_p < SUSPECT:
            found.append(f"counts are at the wrong energies (QQ distance {100 * self.qq:.2g} %, p = {self.qq_p:.2g})")
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


def diagnose(result: Result, *, fwhm: Callable[[Vector], Vector] | None = None, seed: int | None = None) -> Diagnosis:
    """Judge a result's fit by the spectra that its folder holds (`Result.predictive_data`).

    Parameters
    ----------
    result : Result
    fwhm : callable, optional
        Energies (keV) to the response's full widths at half maximum (keV); default: from the response file where that
        can be read, else 1, 2 and 4 bins.
    seed : int, optional
        Default: the run's own.

    Returns
    -------
    Diagnosis
    """
    rng = np.random.default_rng([(result.seed if seed is None else seed) or 0, 7])
    notes, judged = [], []
    if not result.predictive_data:
        notes.append("the result holds no posterior-predictive spectra, so its fit cannot be judged.")
    for index, s in enumerate(result.predictive_data):
        if s.statistic == "pgstat":
            notes.append(f"{s.name}: fits by pgstat are not judged; cstat with the same files is.")
            continue
        if s.statistic == "cstat" and s.background is not None and s.background_ratio is None:
            notes.append(f"{s.name}: an earlier version ran this fit by W and did not keep what judging it takes.")
            continue
        judged.append((s, fwhm or _response_widths(result, index)))
    bins = sum(len(s.counts) for s, _ in judged)
    spectra = [_judge(s, len(result.names) * len(s.counts) / bins, widths, rng) for s, widths in judged]
    return Diagnosis(spectra, notes, _outlying(result.emulator), [str(edge) for edge in result.prior_edges])


def _outlying(emulator: dict[str, Any]) -> list[str]:
    found = []
    for key, what in (("rre", "re-predicted spectrum"), ("rma", "recovered parameters")):
        value, limit = emulator.get(key), emulator.get(f"{key}_limit")
        if value is not None and limit is not None and value > limit:
            found.append(
                f"the observation is unlike spectra that the model makes: {key.upper()} of the {what} is {value:.3g}, "
                f"above the {limit:.3g} that 99.9 % of simulated ones keep"
            )
    return found


class _Counts:
    """Poisson counts, with a known background or none: what `_judge` asks of a spectrum's noise.

    A recorded spectrum is what `simulate` gives: an array that ends in bins, here and in `_Gaussian`.
    """

    def __init__(self, s: SpectrumPredictive) -> None:
        self.recorded = s.counts
        self.models = np.maximum(s.total, FLOOR)

    def simulate(self, model: Vector, rng: np.random.Generator) -> Any:
        return rng.poisson(model).astype(float)

    def statistic(self, recorded: Any, model: Vector) -> Vector:
        """Fit statistic of recorded spectra, or of one, against expected ones, summed over bins."""
        return _cash(recorded, model).sum(axis=-1)

    def net(self, recorded: Any) -> Vector:
        """What the model is expected to give on average."""
        return recorded

    def variance(self, model: Vector) -> Vector:
        """Of the net counts."""
        return model

    def moments(self, model: Vector, rng: np.random.Generator) -> tuple[float, float]:
        """Expectation and variance of the statistic of simulated spectra of the model."""
        mean, variance = cash_moments(model)
        return mean.sum(), variance.sum()


class _Gaussian(_Counts):
    """Gaussian net counts."""

    def __init__(self, s: SpectrumPredictive) -> None:
        background = 0.0 if s.background is None else s.background
        self.recorded, self.models, self._sigma = s.counts - background, s.total - background, s.counts_error

    def simulate(self, model: Vector, rng: np.random.Generator) -> Any:
        return rng.normal(model, self._sigma)

    def statistic(self, recorded: Any, model: Vector) -> Vector:
        return (((recorded - model) / self._sigma) ** 2).sum(axis=-1)

    def variance(self, model: Vector) -> Vector:
        return self._sigma**2

    def moments(self, model: Vector, rng: np.random.Generator) -> tuple[float, float]:
        return float(len(model)), 2.0 * len(model)


class _Background(_Counts):
    """Counts and background counts under W: a recorded spectrum is the pair of them.

    Simulated backgrounds follow Gamma(B + 1/2), what the recorded one says of its intensity under Jeffreys' prior.
    """

    def __init__(self, s: SpectrumPredictive) -> None:
        self._ratio = s.background_ratio
        self._b = s.background / s.background_ratio
        self.recorded = s.counts, self._b
        self.models = np.maximum(s.total - s.background, FLOOR)

    def simulate(self, model: Vector, rng: np.random.Generator) -> Any:
        intensity = rng.gamma(self._b + 0.5, size=model.shape)
        return rng.poisson(model + self._ratio * intensity).astype(float), rng.poisson(intensity).astype(float)

    def statistic(self, recorded: Any, model: Vector) -> Vector:
        return wstat(*recorded, self._ratio, model).sum(axis=-1)

    def net(self, recorded: Any) -> Vector:
        source, background = recorded
        return source - self._ratio * background

    def variance(self, model: Vector) -> Vector:
        return model + (self._ratio + self._ratio**2) * (self._b + 0.5)

    def moments(self, model: Vector, rng: np.random.Generator) -> tuple[float, float]:
        # no closed form: with few counts W is far from chi-squared
        models = np.broadcast_to(model, (REPLICAS, len(model)))
        values = self.statistic(self.simulate(models, rng), models)
        return values.mean(), values.var()


def _noise(s: SpectrumPredictive) -> _Counts:
    if s.statistic == "chi":
        return _Gaussian(s)
    return _Background(s) if s.statistic == "cstat" and s.background is not None else _Counts(s)


def _judge(
    s: SpectrumPredictive, parameters: float, fwhm: Callable[[Vector], Vector] | None, rng: np.random.Generator
) -> SpectrumDiagnosis:
    noise = _noise(s)
    observed = noise.statistic(noise.recorded, noise.models)
    best = noise.models[int(np.argmin(observed))]
    n = len(best)
    expected, variance = noise.moments(best, rng)
    chosen = rng.integers(len(observed), size=REPLICAS)
    draws = noise.models[chosen]
    replicated = noise.statistic(noise.simulate(draws, rng), draws)
    data, fake = noise.net(noise.recorded), noise.net(noise.simulate(np.broadcast_to(best, (REPLICAS, n)), rng))
    order = np.argsort(s.energies[:, 0])

    def distance(x: Vector) -> Vector:
        # of the shape: a fit sets the sum, which simulated spectra are free in
        scale = np.maximum(x.sum(axis=-1, keepdims=True), 1.0)
        shape = np.cumsum(x[..., order] / scale, axis=-1) - np.cumsum(best[order]) / max(best.sum(), 1.0)
        return np.abs(shape).max(axis=-1)

    qq = float(distance(data))
    return SpectrumDiagnosis(
        name=s.name,
        statistic="wstat" if isinstance(noise, _Background) else s.statistic,
        bins=n,
        value=float(observed.min()),
        expected=float(expected - parameters),
        sd=float(np.sqrt(variance * max(1 - parameters / n, 1 / n))),
        predictive_p=_share(replicated >= observed[chosen]),
        qq=qq,
        qq_p=_share(distance(fake) >= qq),
        line=find_line(s.energies, data, best, noise.variance(best), fake, fwhm),
    )


def _share(worse: NDArray[np.bool_]) -> float:
    """Monte Carlo p-value, never zero (the data count among the simulated)."""
    return float((worse.sum() + 1) / (worse.size + 1))


def _cash(x: Vector, m: Vector) -> Vector:
    """C of each bin: ``2 (m - x + x ln(x/m))`` (Cash 1979)."""
    return 2 * (m - x + np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0) / m), 0.0))


def cash_moments(m: Vector) -> tuple[Vector, Vector]:
    """Expectation and variance of a bin's C-stat when `m` counts are expected (Kaastra 2017, eqs. 4-6).

    Parameters
    ----------
    m : ndarray

    Returns
    -------
    mean, variance : ndarray
        Of ``m``'s shape. Above 10,000 counts the limits 1 and 2 of chi-squared, to which both have come within 1e-4.
    """
    splines = _moment_splines()
    x = np.log(np.clip(m, 1e-6, 1e4))
    mean, variance = (np.exp(spline(x)) for spline in splines)
    large = np.asarray(m) > 1e4
    return np.where(large, 1.0, mean), np.where(large, 2.0, variance)


@functools.cache
def _moment_splines() -> list[Any]:
    from scipy.interpolate import CubicSpline
    from scipy.stats import poisson

    grid = np.geomspace(1e-6, 1e4, 400)
    moments = []
    for m in grid:
        k = np.arange(max(0, int(m - 12 * np.sqrt(m))), int(m + 12 * np.sqrt(m)) + 40, dtype=float)
        p, c = poisson.pmf(k, m), _cash(k, np.full(len(k), m))
        mean = (p * c).sum()
        moments.append((mean, (p * (c - mean) ** 2).sum()))
    return [CubicSpline(np.log(grid), np.log(column)) for column in np.array(moments).T]


def find_line(
    energies: NDArray[np.float64],
    data: Vector,
    model: Vector,
    variance: Vector,
    simulated: NDArray[np.float64],
    fwhm: Callable[[Vector], Vector] | None = None,
) -> LineHint:
    """Matched filter of the residuals with lines as wide as the response, centred on every bin.

    Parameters
    ----------
    energies : ndarray (n, 2)
        Edges of the bins, keV.
    data, model, variance : ndarray (n,)
        Counts, expected counts, and the variance of the data under the model.
    simulated : ndarray (k, n)
        Spectra of the model, whose largest residuals give the p-value. They are not fitted, the data are: it errs on
        the cautious side.
    fwhm : callable, optional
        Energies to full widths, keV; default: 1, 2 and 4 bins.
    """
    low, high = energies.min(axis=1), energies.max(axis=1)
    centre = 0.5 * (low + high)
    widths = [fwhm(centre)] if fwhm is not None else [factor * (high - low) for factor in WIDTHS]
    variance = np.maximum(variance, FLOOR)
    best: tuple[float, int, int, Vector] | None = None
    largest = np.zeros(len(simulated))
    for k, width in enumerate(widths):
        kernels = _kernels(low, high, centre, width)
        norm = np.sqrt((kernels**2 / variance).sum(axis=1))
        filters = (kernels / variance) / norm[:, None]
        significance = filters @ (data - model)
        where = int(np.argmax(np.abs(significance)))
        if best is None or abs(significance[where]) > abs(best[0]):
            best = float(significance[where]), where, k, norm
        largest = np.maximum(largest, np.abs((simulated - model) @ filters.T).max(axis=1))
    local, where, k, norm = best
    error = float(1 / norm[where])
    return LineHint(
        float(centre[where]), float(widths[k][where]), local * error, error, local, _share(largest >= abs(local))
    )


def _kernels(low: Vector, high: Vector, centre: Vector, width: Vector) -> NDArray[np.float64]:
    """Share of a line at each bin's centre that falls into every bin, (lines, bins)."""
    from scipy.special import ndtr

    sigma = np.maximum(width, 1e-12)[:, None] / FWHM
    reach = np.clip((np.stack([low, high])[:, None, :] - centre[:, None]) / sigma, -REACH, REACH)
    return ndtr(reach[1]) - ndtr(reach[0])


def _response_widths(result: Result, index: int) -> Callable[[Vector], Vector] | None:
    """Full widths of the spectrum's response, where its file can be found from here."""
    try:
        name = Path(next(iter(result.fingerprint["spectra"][index]["responses"].values()))[0])
        folders = [Path.cwd(), *([] if result.output is None else [Path(result.output)])]
        return response_fwhm(read_rmf(str(next(f / name for f in folders if (f / name).is_file()))))
    except (LookupError, StopIteration, OSError, ValueError):  # widths by bins stand in
        return None


def response_fwhm(rmf: Any) -> Callable[[Vector], Vector]:
    """Full width at half maximum of a redistribution matrix, keV, as a function of energy.

    Parameters
    ----------
    rmf : RMF
        As `embedded.ogip.read_rmf` gives it.
    """
    matrix = rmf.matrix.tocsc()
    low, high = np.asarray(rmf.e_min, dtype=float), np.asarray(rmf.e_max, dtype=float)
    energy = 0.5 * (np.asarray(rmf.energy_lo, dtype=float) + np.asarray(rmf.energy_hi, dtype=float))
    chosen = np.unique(np.linspace(0, matrix.shape[1] - 1, 300).astype(int))
    widths = []
    for k in chosen:
        column = matrix[:, [k]].toarray()[:, 0] / np.maximum(high - low, 1e-12)
        above = column > 0.5 * column.max() if column.max() > 0 else np.zeros(len(column), bool)
        widths.append((high - low)[above].sum())
    known = np.array(widths) > 0
    return lambda e: np.interp(e, energy[chosen][known], np.array(widths)[known])
