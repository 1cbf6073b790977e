"""Does the model describe the data? From what a result's folder holds: no further evaluation.

Goodness of fit: C-stat against its expectation and variance for these expected counts (Kaastra 2017, A&A 605, A51; W
against that of simulated spectra), posterior-predictive p-values, and the QQ distance of cumulative counts. Residual
lines: a matched filter as wide as the response, its significance corrected for trials by simulated spectra. Outlying
observations: RRE and RMA (Chung et al., arXiv 2405.13220) beside the limits that simulated spectra keep.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.embedded.ogip import read_rmf
from xspec_sixsa.products.diagnostics.diagnosis import Diagnosis, SpectrumDiagnosis
from xspec_sixsa.products.diagnostics.lines import find_line, response_fwhm
from xspec_sixsa.products.diagnostics.pvalues import REPLICAS, share_worse
from xspec_sixsa.products.diagnostics.recorded import WithBackground, recorded
from xspec_sixsa.session.restore import find_file, session_files

if TYPE_CHECKING:
    from xspec_sixsa.result import Result, SpectrumPredictive

__all__ = ["diagnose"]

Vector = NDArray[np.float64]


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


def _judge(
    s: SpectrumPredictive, parameters: float, fwhm: Callable[[Vector], Vector] | None, rng: np.random.Generator
) -> SpectrumDiagnosis:
    noise = recorded(s)
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
        statistic="wstat" if isinstance(noise, WithBackground) else s.statistic,
        bins=n,
        value=float(observed.min()),
        expected=float(expected - parameters),
        sd=float(np.sqrt(variance * max(1 - parameters / n, 1 / n))),
        predictive_p=share_worse(replicated >= observed[chosen]),
        qq=qq,
        qq_p=share_worse(distance(fake) >= qq),
        line=find_line(s.energies, data, best, noise.variance(best), fake, fwhm),
    )


def _response_widths(result: Result, index: int) -> Callable[[Vector], Vector] | None:
    """Full widths of the spectrum's response, where its file is still to be had; the current folder does not matter."""
    try:
        name = Path(next(iter(result.fingerprint["spectra"][index]["responses"].values()))[0])
        places = [name] if name.is_absolute() or result.output is None else []
        if result.output is not None:
            folder = Path(result.output).absolute()
            if (folder / "session.xcm").is_file():  # it names data by absolute paths
                places += [path for _, path in session_files(folder / "session.xcm") if path.name == name.name]
            # where a run was moved with its data
            places += [path for one in (name, *places) if (path := find_file(one, (folder, folder.parent)))]
        return response_fwhm(read_rmf(str(next(path for path in places if path.is_file()))))
    except (LookupError, StopIteration, OSError, ValueError):  # widths by bins stand in
        return None
