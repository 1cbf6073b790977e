"""How large the errors of a background are that XSPEC's pgstat takes: its releases and its manual differ.

By the manual (appendix "Statistics in XSPEC") it takes the variance of the background counts, which is that of their
rate times t_b squared, where t_b is the background's exposure in the source's scaling. XSPEC 12.9.1 multiplies by t_b
only once: the errors of a background of 2,000 s are then 45 times too small. So XSPEC is asked which of both it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.observation import Observation, SpectrumData
from xspec_sixsa.session.parameters import applies, model_objects

__all__ = ["with_pgstat_errors"]

LEAST = 0.01  # what errors may differ by, relatively, without a word


def with_pgstat_errors(module: ModuleType, spectra: Sequence[SpectrumData]) -> tuple[SpectrumData, ...]:
    """Give spectra the `background_sigma` that this XSPEC's pgstat takes, and warn where others take another.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine.
    spectra : sequence of SpectrumData
        All of the session, with the errors of the recorded background counts, as the manual has them.

    Returns
    -------
    tuple of SpectrumData
        With the errors that come nearer to `Fit.statistic` at the model's present values; the manual's without a model.
    """
    manual, older = tuple(spectra), tuple(map(_with_one_factor, spectra))
    if manual == older:
        return manual
    counts = _expected_counts(module, manual)
    if counts is None:
        return manual
    stated = float(module.Fit.statistic)
    by_manual = not abs(_statistic(older, counts) - stated) < abs(_statistic(manual, counts) - stated)
    if by_manual and not hasattr(module, "evaluate_batch"):
        return manual
    return tuple(
        data if data is other else replace(data if by_manual else other, warnings=_warnings(data, other, by_manual))
        for data, other in zip(manual, older, strict=True)
    )


def _with_one_factor(data: SpectrumData) -> SpectrumData:
    """The spectrum with errors of the background as of XSPEC 12.9.1; itself where they are the same."""
    sigma, ratio = data.background_sigma, data.background_ratio
    if data.statistic != "pgstat" or sigma is None or ratio is None:
        return data
    other = sigma / np.sqrt(data.area_time / ratio)
    return data if np.allclose(other, sigma, rtol=LEAST, atol=0.0) else replace(data, background_sigma=other)


def _expected_counts(module: ModuleType, spectra: Sequence[SpectrumData]) -> NDArray[np.float64] | None:
    """Counts of the present model, all spectra one after the other; None where a spectrum has no model."""
    objects, counts = model_objects(module), []
    for data in spectra:
        models = [m for _, group, m in objects if group == data.data_group and applies(m, data.index)]
        if not models:
            return None
        counts.append(np.sum([m.folded(data.index) for m in models], axis=0) * data.area_time)
    return np.concatenate(counts)


def _statistic(spectra: tuple[SpectrumData, ...], counts: NDArray[np.float64]) -> float:
    import torch

    from xspec_sixsa.common.fitstatistic import ObservedStatistic

    return -2.0 * float(ObservedStatistic(Observation(spectra)).log_likelihood(torch.from_numpy(counts)[None]))


def _warnings(manual: SpectrumData, older: SpectrumData, by_manual: bool) -> tuple[str, ...]:
    assert manual.background_sigma is not None and older.background_sigma is not None
    some = manual.background_sigma > 0.0
    share = np.median(older.background_sigma[some] / manual.background_sigma[some])
    which = f"takes the background's errors {share:.2g} times as large as XSPEC's manual says"
    what = (
        f"pgstat follows XSPEC's manual here; that of XSPEC 12.9.1 {which}, and gives another posterior"
        if by_manual
        else f"this XSPEC's pgstat {which}, and the posterior follows: use cstat if the background's file has counts"
    )
    return (*manual.warnings, f"Spectrum {manual.index} ({manual.name}): {what}.")
