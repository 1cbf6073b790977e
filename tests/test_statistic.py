# ruff: noqa: F811  (fixtures are imported by name)
"""Fit statistics: special cases, gradients, weightings. Their values against XSPEC are in test_spectrum.py."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from test_spectrum import fresh, tiny  # noqa: F401

from xspec_sixsa.common.fitstatistic import FLOOR
from xspec_sixsa.embedded.datamanager import AllData
from xspec_sixsa.embedded.fit import Fit
from xspec_sixsa.embedded.scoring import STATISTICS, bin_statistic, fit_statistic
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError, session


def with_counts(spectrum: Spectrum, source: float, background: float | None = None) -> None:
    """Give every group these counts (and background counts)."""
    to_counts = spectrum.exposure * spectrum._grouped.area_scale
    rate = source / to_counts
    spectrum._grouped = dataclasses.replace(spectrum._grouped, rate=rate, variance=rate / to_counts)
    if background is not None:
        other = spectrum._background
        scale = other._to_counts()
        other._grouped = dataclasses.replace(other._grouped, rate=background / scale, variance=background / scale**2)
    spectrum._cache.clear()


@pytest.fixture
def spectrum(tiny: Path) -> Spectrum:
    os.chdir(tiny)
    return Spectrum("grouped.pha")


def rates(spectrum: Spectrum, counts: float) -> torch.Tensor:
    return torch.full((1, spectrum.n_bins), counts / spectrum.exposure, dtype=torch.float64)


@pytest.mark.parametrize("source", [0.0, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("background", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("model", [1e-3, 0.7, 40.0])
def test_wstat_is_cash_with_the_best_background(
    spectrum: Spectrum, source: float, background: float, model: float
) -> None:
    with_counts(spectrum, source, background)
    ratio = float(spectrum._background._to_counts()[0] / spectrum.exposure)

    def half_c(observed: float, expected: float) -> float:
        return expected - observed + (observed * math.log(observed / expected) if observed else 0.0)

    def total(f: float) -> float:
        return 2 * (half_c(source, model + f) + half_c(background, ratio * f))

    best = minimize_scalar(total, bounds=(1e-12, source + background + 1), method="bounded", options={"xatol": 1e-10})
    ours = bin_statistic("cstat", spectrum, rates(spectrum, model))
    # The numerical minimum is good to 1e-10 in f; at the border f = 0 the bounded search stops 1e-9 short of it.
    np.testing.assert_allclose(ours.numpy(), best.fun, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("method", STATISTICS)
@pytest.mark.parametrize("name", ["plain", "grouped", "zeros", "vectors", "rate"])
@pytest.mark.parametrize("weight", ["standard", "model"])
def test_gradient_is_the_derivative(method: str, name: str, weight: str, tiny: Path) -> None:
    os.chdir(tiny)
    session.weight = weight
    spectrum = Spectrum(f"{name}.pha")
    generator = torch.Generator().manual_seed(3)
    folded = (torch.rand(4, spectrum.n_bins, generator=generator, dtype=torch.float64) + 0.1) * 5 / spectrum.exposure
    scale = 1.0 / spectrum.exposure
    # In counts, so that gradcheck's step of 1e-6 is small beside the model; its tolerances are relative 1e-3.
    assert torch.autograd.gradcheck(
        lambda counts: fit_statistic(method, spectrum, counts * scale), (folded.div(scale).requires_grad_(),), rtol=1e-5
    )


@pytest.mark.parametrize("method", STATISTICS)
def test_gradients_stay_finite_where_the_model_is_zero(method: str, tiny: Path) -> None:
    os.chdir(tiny)
    for name in ("zeros", "plain"):
        spectrum = Spectrum(f"{name}.pha")
        folded = torch.zeros(2, spectrum.n_bins, dtype=torch.float64, requires_grad=True)
        value = fit_statistic(method, spectrum, folded)
        value.sum().backward()
        assert torch.isfinite(value).all() and torch.isfinite(folded.grad).all()


@pytest.mark.parametrize("method", STATISTICS)
def test_nan_in_the_model_gives_nan_not_a_number(method: str, spectrum: Spectrum) -> None:
    folded = rates(spectrum, 5.0).repeat(2, 1)
    folded[1, 2] = torch.nan
    value = fit_statistic(method, spectrum, folded)
    assert torch.isfinite(value[0]) and torch.isnan(value[1])


def test_model_never_falls_below_the_floor(spectrum: Spectrum) -> None:
    spectrum.background = None
    with_counts(spectrum, 3.0)
    at_floor = 2 * (FLOOR - 3 + 3 * math.log(3 / FLOOR))
    ours = bin_statistic("cstat", spectrum, rates(spectrum, 0.0))
    np.testing.assert_allclose(ours.numpy(), at_floor, rtol=1e-12)  # rounding


def test_cstat_expects_what_its_definition_says(spectrum: Spectrum) -> None:
    spectrum.background = None
    with_counts(spectrum, 8.0)
    expected = 2 * (5.0 - 8.0 + 8.0 * math.log(8.0 / 5.0)) * spectrum.n_bins
    assert float(fit_statistic("cstat", spectrum, rates(spectrum, 5.0))) == pytest.approx(
        expected, rel=1e-12
    )  # rounding


def test_batches_give_the_same_as_single_spectra(spectrum: Spectrum) -> None:
    folded = torch.linspace(0.5, 20.0, 7, dtype=torch.float64)[:, None] * rates(spectrum, 1.0)
    for method in STATISTICS:
        together = fit_statistic(method, spectrum, folded)
        single = torch.cat([fit_statistic(method, spectrum, row[None]) for row in folded])
        torch.testing.assert_close(together, single, rtol=1e-14, atol=0)  # rounding of sums


def test_ignored_channels_do_not_count(spectrum: Spectrum) -> None:
    every = bin_statistic("cstat", spectrum, rates(spectrum, 5.0))
    spectrum.ignore("1-2")
    some = fit_statistic("cstat", spectrum, rates(spectrum, 5.0))
    assert float(some) == pytest.approx(float(every[0, 2:].sum()), rel=1e-14)  # rounding of sums


def test_unknown_statistics_are_named(spectrum: Spectrum) -> None:
    with pytest.raises(XspecError, match="'lstat' is not available"):
        fit_statistic("lstat", spectrum, rates(spectrum, 1.0))


@pytest.mark.parametrize("name", ["lstat", "whittle", "whittle5", "cstat5", "cstat5b"])
def test_statistics_that_only_xspec_has_are_refused_by_name(spectrum: Spectrum, name: str) -> None:
    with pytest.raises(XspecError, match=f"{name}' is not available.*chi, cstat, pstat, pgstat"):
        Fit.statMethod = f"{name} 1"
    with pytest.raises(XspecError, match="cusum' is not available"):
        Fit.statTest = "cusum"


def test_model_weighting_without_any_variance_is_refused(tiny: Path) -> None:
    os.chdir(tiny)
    spectrum = Spectrum("plain.pha")
    session.weight = "model"
    with pytest.raises(XspecError, match="zero variance"):
        fit_statistic("chi", spectrum, rates(spectrum, 0.0))


def test_cstat_of_gaussian_data_is_computed_with_a_warning(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.chdir(tiny)
    spectrum = Spectrum("net.pha")
    assert not AllData(1).isPoisson
    assert torch.isfinite(fit_statistic("pstat", spectrum, rates(spectrum, 2000.0))).all()
    assert "only valid for Poisson data" in caplog.text
