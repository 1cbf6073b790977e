"""The observation as XSPEC holds it: counts, background, errors and the fit statistic of every spectrum."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xspec_sixsa.common.observation import Observation, SpectrumData
from xspec_sixsa.session.areascal import Companion, find_units, folded_unit, variances
from xspec_sixsa.session.pgstat import with_pgstat_errors

__all__ = ["observe", "saved_lines", "saved_statistics"]

RATE_TOLERANCE = 1e-6  # XSPEC sums its rates in another order, and files hold them in single precision


def saved_lines(module: ModuleType) -> list[str]:
    """Return the lines of a saved session: some settings can be read nowhere else."""
    with tempfile.TemporaryDirectory(prefix="sixsa-") as folder:
        path = Path(folder) / "session.xcm"
        module.Xset.save(str(path), "a")
        return path.read_text(errors="replace").splitlines()


def saved_statistics(lines: list[str], n_spectra: int) -> list[str]:
    """Return each spectrum's fit statistic from a saved session (``statistic cstat``, ``statistic cstat 2-3``)."""
    names = ["chi"] * n_spectra
    for line in lines:
        match = re.match(r"\s*statistic\s+(?!test\b)([a-z]\w*)\s*(.*)$", line, re.IGNORECASE)
        if match is None:
            continue
        name, ranges = match[1].lower(), match[2].replace(",", " ").split()
        numbers: list[int] = []
        for word in ranges:
            ends = [end.strip() for end in word.split("-")]
            if all(end.isdigit() for end in ends):
                numbers += range(int(ends[0]), int(ends[-1]) + 1)
        for number in numbers or range(1, n_spectra + 1):
            if 1 <= number <= n_spectra:
                names[number - 1] = name
    return names


def observe(module: ModuleType) -> Observation:
    """Read the loaded spectra.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine.

    Returns
    -------
    Observation
        Source counts are ``values * exposure``, times AREASCAL where XSPEC has divided by it, as releases before 12.12
        do (`xspec_sixsa.session.areascal` finds out). Background `values` are scaled to the source's BACKSCAL already,
        so they are scaled back to recorded counts.

    Raises
    ------
    ValueError
        Without data, for a spectrum without noticed channels, exposure or counts, for negative counts that its
        statistic is not defined for, and where counts, errors or the folded model disagree with XSPEC's own rates.
    """
    n = int(module.AllData.nSpectra)
    if n == 0:
        raise ValueError("No spectrum is loaded, so there is nothing to fit: load one, such as Spectrum('src.pha').")
    lines = saved_lines(module)
    statistics = saved_statistics(lines, n)
    systematic = 0.0
    for line in lines:
        words = line.split()
        if len(words) == 2 and words[0] == "systematic":
            systematic = float(words[1])
    spectra = [_spectrum(module, i + 1, statistics[i], systematic) for i in range(n)]
    _check_defined(module, spectra)
    return Observation(with_pgstat_errors(module, spectra))


def _check_defined(module: ModuleType, spectra: list[SpectrumData]) -> None:
    """Refuse negative counts of which XSPEC's statistic is not a number, whatever the model."""
    for data in spectra:
        if data.statistic not in ("cstat", "pgstat") or data.background is None:
            continue
        negative = int(((data.counts < 0.0) | (data.background < 0.0)).sum())
        if negative and np.isnan(float(module.Fit.statistic)):
            raise ValueError(
                f"Spectrum {data.index} ({data.name}) or its background has negative counts in {negative} of "
                f"{data.n_bins} bins, of which {data.statistic} with a background gives no number. Use "
                f'Fit.statMethod = "chi {data.index}", or load the spectra that were not subtracted.'
            )


def _per_bin(value: Any, noticed: np.ndarray) -> np.ndarray:
    """Return AREASCAL or BACKSCAL of the noticed groups; XSPEC gives one number, or one for every group."""
    array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    return np.full(len(noticed), array[0]) if array.size == 1 else array[noticed - 1]


def _attached(spectrum: Any, which: str) -> Any:
    try:
        return getattr(spectrum, which)
    except Exception:  # PyXspec raises plain Exception where there is none
        return None


def _companion(spectrum: Any, which: str, noticed: np.ndarray) -> Companion | None:
    """Return the background or the correction; None where there is none, or it is multiplied by zero."""
    attached, cornorm = _attached(spectrum, which), float(spectrum.cornorm) if which == "correction" else None
    if attached is None or cornorm == 0.0:
        return None
    back = _per_bin(attached.backScale, noticed) / _per_bin(spectrum.backScale, noticed)
    values, variance = (np.asarray(array, dtype=np.float64) for array in (attached.values, attached.variance))
    return Companion(attached.fileName, values, variance, _per_bin(attached.areaScale, noticed), back, cornorm)


def _spectrum(module: ModuleType, index: int, statistic: str, systematic: float) -> SpectrumData:
    spectrum = module.AllData(index)
    name, exposure = spectrum.fileName, float(spectrum.exposure)
    noticed = np.asarray(spectrum.noticed, dtype=int)
    if len(noticed) == 0:
        raise ValueError(
            f"Spectrum {index} ({name}) has no noticed channel, so it says nothing: notice some "
            f"(AllData({index}).notice('0.5-10.0')), or unload it."
        )
    if not exposure > 0.0:
        raise ValueError(f"Spectrum {index} ({name}) has an exposure of {exposure:g} s: repair EXPOSURE in its header.")
    area = _per_bin(spectrum.areaScale, noticed)
    rate = np.asarray(spectrum.values, dtype=np.float64)
    behind, correction = (_companion(spectrum, which, noticed) for which in ("background", "correction"))
    units = find_units(spectrum, rate, area, [one for one in (behind, correction) if one is not None])
    if units is None:
        raise _unknown(name, index, "source and background rates", "the files or Spectrum.rate[0] and [2]")
    rate = rate * units.source  # from here on all rates are per unit of AREASCAL
    to_counts = exposure * area
    counts = rate * to_counts
    found = variances(spectrum, units, np.asarray(spectrum.variance, dtype=np.float64), behind)
    if found is None and statistic in ("chi", "pgstat"):
        raise _unknown(name, index, f"errors, which {statistic} needs,", "Spectrum.rate[1]")
    variance, spread = found or (np.zeros_like(rate), np.zeros_like(rate))
    folded = folded_unit(module, spectrum, index, units)
    if folded is None:
        raise _unknown(name, index, "folded models", "Spectrum.rate[3]")
    background = ratio = background_sigma = None
    least = 1.0 / to_counts**2
    if behind is not None:
        recorded = float(spectrum.background.exposure) * behind.area * behind.back
        background, ratio = behind.values * units.of(behind) * recorded, to_counts / recorded
        background_sigma = np.sqrt(spread) * recorded
        least = np.minimum(least, 1.0 / recorded**2)
    corrected = np.zeros_like(rate)
    if correction is not None and correction.cornorm is not None:
        corrected = correction.cornorm * correction.values * units.of(correction)
        if background is None or ratio is None:  # they come together
            # the Poisson statistics look at a correction only where there is a background
            if statistic == "chi":
                background, ratio = corrected * to_counts, np.ones_like(rate)
        else:
            background = background + corrected * to_counts / ratio
    _check_rate(spectrum, index, name, float(area @ (rate - corrected)))
    sigma, warnings = None, []
    if statistic == "chi":
        # A bin without any error is given that of one count, as XSPEC does.
        variance = variance + spread
        sigma = np.sqrt(np.where(variance > 0.0, variance, least)) * to_counts
    else:
        if not counts.any() and (background is None or not background.any()):
            raise ValueError(
                f"Spectrum {index} ({name}) has not a single count in its {len(noticed)} noticed channels: check the "
                "file and the ignored ranges."
            )
        negative = int((counts < 0.0).sum())
        if negative:
            warnings.append(
                f"Spectrum {index} ({name}): {statistic} takes the negative counts of {negative} of {len(counts)} bins "
                f'for none, so that the model comes out too bright: use Fit.statMethod = "chi {index}", or the one '
                "with its background, not subtracted."
            )
        if not spectrum.isPoisson:
            warnings.append(
                f"Spectrum {index} ({name}) has Gaussian errors, but is fitted with {statistic}, which is only valid "
                f'for counts: use Fit.statMethod = "chi {index}".'
            )
    if statistic == "chi" and (counts < 10).any() and spectrum.isPoisson:
        warnings.append(
            f"Spectrum {index} ({name}): chi with {int((counts < 10).sum())} of {len(counts)} bins below 10 counts is "
            'biased: cstat is exact there (Fit.statMethod = "cstat").'
        )
    return SpectrumData(
        name=name, index=index, counts=counts, exposure=exposure,
        energies=np.asarray(spectrum.energies, dtype=np.float64).reshape(-1, 2), statistic=statistic,
        background=background, background_ratio=ratio, background_sigma=background_sigma, sigma=sigma,
        area_scale=folded, weight=str(module.Fit.weight), systematic=systematic, is_poisson=bool(spectrum.isPoisson),
        data_group=int(spectrum.dataGroup), warnings=tuple(warnings),
    )  # fmt: skip


def _unknown(name: str, index: int, what: str, where: str) -> ValueError:
    return ValueError(
        f"Spectrum {index} ({name}) has an AREASCAL other than 1, and XSPEC's {what} agree with {where} neither "
        "divided by it nor as they are. The likelihood cannot be trusted: please report this file and Xset.version."
    )


def _check_rate(spectrum: Any, index: int, name: str, total: float) -> None:
    """Compare with XSPEC's own total rate: a misread scaling would spoil everything after."""
    stated = float(spectrum.rate[2])
    if abs(total - stated) > RATE_TOLERANCE * max(abs(stated), abs(total)):
        raise ValueError(
            f"Spectrum {index} ({name}): its channels add up to {total:.9g} counts/s, but XSPEC states {stated:.9g}. "
            "The counts cannot be trusted: please report this file."
        )
