"""Fits on real spectra: XSPEC's best fits, covariances and confidence ranges, from far and near starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xspec_sixsa.embedded import AllData, AllModels, Fit, Model, Spectrum
from xspec_sixsa.embedded.evaluate import evaluations
from xspec_sixsa.embedded.state import XspecError, session

pytestmark = pytest.mark.usefixtures("clean_engine")


@pytest.fixture(autouse=True)
def wilms_abundances(clean_engine: None) -> None:
    session.abund = "wilm"
    session.touch()


def _values(model: Model) -> list[float]:
    return [model(i).values[0] for i in range(1, model.nParameters + 1)]


@pytest.fixture
def epic_pn(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.chdir(shared_data / "ngc7793_ulx4_pn")
    Fit.statMethod = "cstat"
    spectrum = Spectrum("PN_spectrum_grp20.fits")
    spectrum.background = None
    spectrum.ignore("0.0-0.5 10.0-**")
    return Model("TBabs*(bbodyrad+powerlaw)")


@pytest.fixture
def two_groups(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, Model]:
    monkeypatch.chdir(shared_data / "xspec_session")
    AllData("1:1 file1.pha 2:2 file2.pha")
    first, second = Model("constant*phabs*powerlaw"), AllModels(2)
    first(1).frozen = True
    second(1).values = 1.0
    return first, second


def test_a_fit_ends_where_the_critical_delta_says(epic_pn: Model) -> None:
    epic_pn.setPars(0.1, 0.7, 0.25, 2.0, 2.5e-4)
    Fit.renorm()
    start, statistic = _values(epic_pn), Fit.statistic
    Fit.criticalDelta = 1e6
    before = evaluations()
    Fit.perform()
    # renorm takes two, the start one, derivatives two for each parameter: no step is promised to gain enough
    assert evaluations() - before == 2 + 1 + 2 * 5
    np.testing.assert_array_equal(_values(epic_pn), start)
    assert len(Fit.covariance) == 15 and all(epic_pn(i).sigma > 0 for i in range(1, 6))
    Fit.criticalDelta = 0.01
    Fit.perform()
    assert Fit.statistic < statistic - 1
    before = evaluations()
    Fit.perform()
    # at the minimum a fit sees that it is there
    assert evaluations() - before == 2 + 1 + 2 * 5


def test_epic_pn_from_the_defaults(epic_pn: Model) -> None:
    Fit.perform()
    # XSPEC 12.9.1 from the same start: 95.8525 at these values; 0.01: the tabulated cross-sections.
    assert Fit.statistic == pytest.approx(95.8525, abs=0.01)
    # A hundredth of the uncertainties below.
    np.testing.assert_allclose(_values(epic_pn), [0.095478, 0.742658, 0.196747, 2.028217, 2.61503e-4], rtol=3e-3)
    # Sigmas by XSPEC; 1 per cent, its numerical derivatives.
    sigmas = [epic_pn(i).sigma for i in range(1, 6)]
    np.testing.assert_allclose(sigmas, [0.0246516, 0.0319517, 0.0335969, 0.0813090, 2.46608e-5], rtol=0.01)
    covariance = Fit.covariance
    assert len(covariance) == 15
    assert covariance[1] == pytest.approx(0.0005451772857, rel=0.02)  # XSPEC's, as the sigmas squared


def test_confidence_ranges_are_xspec_s(epic_pn: Model) -> None:
    epic_pn.setPars(0.1, 0.7, 0.2, 2.0, 1e-4)
    Fit.perform()
    Fit.error("2.706 1 4")
    # XSPEC's own search stops within 0.01 of the wanted statistic: 0.2 per cent of the half-width.
    assert epic_pn(1).error[:2] == pytest.approx((0.0516073504, 0.1359821585), rel=2e-3)
    assert epic_pn(4).error[:2] == pytest.approx((1.89235808, 2.1667631), rel=1e-3)
    assert epic_pn(1).error[2] == "FFFFFFFFF" and epic_pn(2).error == (0.0, 0.0, "FFFFFFFFF")


def test_w_statistic_of_3c273(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared_data / "chandra_3c273")
    Fit.statMethod = "cstat"
    Spectrum("3c273.pi").ignore("0.0-0.5 7.0-**")
    Model("TBabs*powerlaw")
    Fit.perform()
    assert Fit.statistic == pytest.approx(34.64, abs=0.01)  # problems.toml, two decimals


def test_two_data_groups(two_groups: tuple[Model, Model]) -> None:
    first, second = two_groups
    Fit.perform()
    # XSPEC 12.9.1: 168.8627 and these values; 0.01 and a hundredth of sigma: the tabulated cross-sections.
    assert Fit.statistic == pytest.approx(168.8627, abs=0.01)
    assert second(1).values[0] == pytest.approx(0.7360831, abs=1e-4)
    np.testing.assert_allclose(_values(first)[1:], [15.68537, 1.356542, 0.1314677], rtol=1e-3)
    expected = (
        0.1369219635,
        0.008330243505,
        0.0007068924971,
        0.002380787609,
        0.0001893080478,
        5.183515674e-05,
        -4.954856974e-05,
        -4.270314553e-06,
        -4.265872737e-06,
        4.286340201e-05,
    )
    np.testing.assert_allclose(Fit.covariance, expected, rtol=0.01)  # XSPEC's numerical derivatives
    Fit.error("1. 1")
    assert first(1).error == (0.0, 0.0, "FFFFFTFFF")  # frozen


def test_bright_gaussian_data(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared_data / "rxte_pca")
    Spectrum("rxte.pha").ignore("0.0-3.0 25.0-**")
    model = Model("phabs*powerlaw")
    Fit.perform()
    # problems.toml, to its digits.
    assert Fit.statistic == pytest.approx(53.67, abs=0.01)
    np.testing.assert_allclose(_values(model), [1.614, 2.00132, 10.032], rtol=1e-3)
    np.testing.assert_allclose([model(i).sigma for i in (1, 2, 3)], [0.023, 0.00085, 0.021], rtol=0.05)


def test_bayes_fit_is_xspec_s(epic_pn: Model) -> None:
    epic_pn.setPars(0.1, 0.7, 0.2, 2.0, 2.6e-4)
    epic_pn(1).prior = "jeff"
    epic_pn(2).prior = ("gauss", 0.7, 0.02)
    Fit.bayes = "on"
    Fit.perform()
    # XSPEC 12.9.1 stops at 92.8743 (its Hessian leaves Jeffreys' negative curvature in): ours may only be lower.
    assert Fit.statistic < 92.88
    Fit.bayes = "off"
    assert Fit.statistic > 95.85


def test_parameters_stop_at_hard_limits(epic_pn: Model) -> None:
    epic_pn.setPars("0.2,0.01,0.15,0.15,1.,1.", 0.7, 0.2, 2.0, 2e-4)
    Fit.perform()
    assert epic_pn(1).values[0] == 0.15 and epic_pn(1).sigma == -1.0
    assert np.isfinite(Fit.statistic) and Fit.statistic > 95.86
    assert epic_pn(2).sigma > 0.0


def test_hard_limit_within_the_range_is_reported(epic_pn: Model) -> None:
    epic_pn.setPars("0.1,0.01,0.09,0.09,1.,1.", 0.74, 0.2, 2.0, 2.6e-4)
    Fit.perform()
    Fit.error("2.706 1")
    low, high, code = epic_pn(1).error
    assert low == 0.0 and high == pytest.approx(0.136, rel=0.01) and code[3] == "T"  # upper bound as without the limit


def test_fit_refuses_with_the_reason(epic_pn: Model, shared_data: Path) -> None:
    with pytest.raises(XspecError, match="outside 1-5"):
        Fit.error("9")
    for i in range(1, 6):
        epic_pn(i).frozen = True
    with pytest.raises(XspecError, match="no variable parameters"):
        Fit.perform()
    AllModels.clear()
    assert Fit.statistic == 0.0
    with pytest.raises(XspecError, match="No models"):
        Fit.perform()
    AllData.clear()
    with pytest.raises(XspecError, match="no data"):
        Fit.perform()


def test_settings_take_pyxspec_forms(epic_pn: Model) -> None:
    Fit.method = "leven 50 0.02"
    assert (Fit.method, Fit.nIterations, Fit.criticalDelta) == ("leven", 50, 0.02)
    Fit.nIterations, Fit.criticalDelta = 10, 0.01
    for wrong in ("migrad", "simplex 3"):
        with pytest.raises(XspecError, match="leven"):
            Fit.method = wrong
    Fit.statMethod = "chi 1"
    assert AllData(1).statMethod == "chi"
    Fit.statMethod = "cstat"
    assert Fit.statMethod == "cstat"
    with pytest.raises(XspecError, match="W-statistic"):
        Fit.statMethod = "wstat"
    with pytest.raises(XspecError, match="spectrum range '2'"):
        Fit.statMethod = "cstat 2"
    with pytest.raises(XspecError, match="Cannot rebind"):
        Fit.statistic = 3.0
    with pytest.raises(XspecError, match="steppar"):
        Fit.steppar("1 0. 1. 10")


def test_renorm_scales_free_norms_together(epic_pn: Model) -> None:
    epic_pn.setPars(0.095478, 0.742658, 0.196747 * 7, 2.028217, 2.61503e-4 * 7)
    before = evaluations()
    Fit.renorm()
    assert evaluations() - before == 3  # two say how rates scale, one sees that the statistic is better
    assert epic_pn.powerlaw.norm.values[0] == pytest.approx(2.615e-4, rel=0.01)  # its last scan's step
    assert epic_pn.bbodyrad.norm.values[0] / epic_pn.powerlaw.norm.values[0] == pytest.approx(0.196747 / 2.61503e-4)


def test_renorm_leaves_frozen_norms_and_what_they_give(epic_pn: Model) -> None:
    epic_pn.setPars(0.095478, 0.742658, 0.196747 * 30, 2.028217, 2.61503e-4)
    epic_pn.powerlaw.norm.frozen = True
    Fit.renorm()
    assert epic_pn.bbodyrad.norm.values[0] == pytest.approx(0.196747, rel=0.01)  # the best fit's
    assert epic_pn.powerlaw.norm.values[0] == 2.61503e-4


def test_f_test_probability() -> None:
    # F = ((60 - 50)/2)/(50/40) = 4 on (2, 40) degrees of freedom: P = (1 + 2*4/40)^-20, exactly.
    assert Fit.ftest(50.0, 40, 60.0, 42) == pytest.approx((1 + 0.2) ** -20, rel=1e-10)
