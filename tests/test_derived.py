"""Fluxes, luminosities, equivalent widths and predictions: XSPEC's own numbers at draws, on both engines."""

from __future__ import annotations

import json
import logging
import re
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from test_session import dump, fresh

from xspec_sixsa.interfaces import cli
from xspec_sixsa.products.derived import Derived
from xspec_sixsa.products.plots import predictions_plot, spectrum
from xspec_sixsa.products.plots.style import mathtext
from xspec_sixsa.result import Result, weighted_quantile
from xspec_sixsa.session import Session

matplotlib.use("agg")
SAME = 1e-9  # the same command of the same engine; embedded and forked processes do the same float64 arithmetic
LINE = 2.1


@pytest.fixture(params=["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    yield from fresh(request.param, tmp_path, monkeypatch)


def two_groups(xspec: ModuleType) -> ModuleType:
    """Two data groups of an absorbed power law with a line; a second absorber is frozen, or linked in group 2."""
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    model = xspec.Model("constant*TBabs*phabs*(powerlaw+gaussian)")
    model.setPars({1: 1.0, 2: 0.1, 3: "0.2,0.01,0.05,0.05,10,10", 4: 1.8, 5: 3e-3, 6: LINE, 7: 0.1, 8: 2e-4})
    for parameter in (model.constant.factor, model.phabs.nH, model.gaussian.LineE, model.gaussian.Sigma):
        parameter.frozen = True
    second = xspec.AllModels(2)
    second.constant.factor.link = ""
    second.setPars({1: 0.9})
    second.constant.factor.frozen = False
    return xspec


def posterior(xspec: ModuleType, n: int = 40) -> Result:
    """Weighted draws about the present values; no likelihood is needed for what follows from them."""
    session = Session(xspec)
    rng = np.random.default_rng(4)
    centre = np.array([p.values[0] for p in session.parameters])
    log_weights = 0.5 * rng.standard_normal(n)
    log_weights[:3] = -np.inf
    w = np.exp(log_weights)
    return Result(
        names=session.names, labels=session.labels, units=session.units,
        samples=centre * (1 + 0.05 * rng.standard_normal((n, len(centre)))), log_weights=log_weights,
        log_likelihood=np.zeros(n), log_proposal=-log_weights, log_z=0.0, log_z_err=0.1,
        ess=float(w.sum() ** 2 / (w**2).sum()), k_hat=0.2, evaluations={"final": n}, seconds={}, status="reliable",
        reasons=[], best_fit=centre, best_statistic=50.0, seed=3,
        fingerprint=json.loads(json.dumps(session.fingerprint())),
    )  # fmt: skip


def typed(xspec: ModuleType, row: np.ndarray) -> None:
    """Set the free parameters as a PyXspec user would."""
    nh, index, norm, line, factor = (float(x) for x in row)
    xspec.AllModels(1).setPars({2: nh, 4: index, 5: norm, 8: line})
    xspec.AllModels(2).setPars({1: factor})


def kept(xspec: ModuleType) -> Any:
    """What a user could find changed, plots and last results too."""
    plot, spectra = xspec.Plot, [xspec.AllData(i) for i in (1, 2)]
    settings = (plot.add, plot.background, plot.device, plot.xAxis)
    return dump(xspec) | {"plot": settings, "last": [(s.flux, s.lumin, s.eqwidth) for s in spectra]}


def test_flux_is_xspecs_at_every_draw(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    before = kept(engine)
    found = result.flux(2, 10, spectrum=2, draws=None, xspec=engine)
    assert kept(engine) == before
    assert found.units == ["erg cm^-2 s^-1", "photons cm^-2 s^-1"]
    assert list(found.index) == list(range(3, 40))  # draws without weight cost nothing
    assert found.weights == pytest.approx(result.weights[3:])
    for k in (0, 17):
        typed(engine, result.samples[found.index[k]])
        engine.AllModels.calcFlux("2 10")
        flux = engine.AllData(2).flux
        assert found.samples[k] == pytest.approx([flux[0], flux[3]], rel=SAME)


# erg/s (1e44) and photons, by XSPEC 12.9.1: TBabs(nH 0.1)*powerlaw(1.9, 1e-3), abund wilm, cosmo 70 0 0.73; spectrum 2
# has twice the norm.
LUMINOSITIES = {
    "2 10 0.05": (0.175376402227401, 0.0004709059396135712),
    "0.5 2 0.05": (0.10361292816241204, 0.001131116724870236),
    "2,10,1.5": (380.5044516448264, 0.000942019986660805),
}


@pytest.mark.parametrize("files", ["1:1 one.pha", "1:1 one.pha 2:2 two.pha"])
def test_luminosities_are_xspecs(engine: ModuleType, files: str) -> None:
    engine.AllData(files)
    engine.Model("TBabs*powerlaw").setPars(0.1, 1.9, 1e-3)
    if engine.AllData.nSpectra == 2:
        engine.AllModels(2)(3).values = 2e-3
    for command, (energy, photons) in LUMINOSITIES.items():
        engine.AllModels.calcLumin(command)
        for i in range(1, engine.AllData.nSpectra + 1):
            # 1e-5: the tabulated cross-sections; 2e-6 was seen below 2 keV
            assert engine.AllData(i).lumin == pytest.approx((i * energy, 0, 0, i * photons, 0, 0), rel=1e-5)


def test_flux_and_lumin_remember_the_numbers_that_are_left_out(engine: ModuleType) -> None:
    engine.AllData("1:1 one.pha")
    engine.Model("powerlaw").setPars(2.0, 1.0)
    flux, lumin, spectrum = engine.AllModels.calcFlux, engine.AllModels.calcLumin, engine.AllData(1)
    lumin("9 3 0.1")
    # photons of E^-2: 1/low - 1/high at the rest frame's energies over 1 + z; 1e-3: bins cut in proportion
    for command, expected in (
        ("", 1.1 * (1 / 3 - 1 / 9)),
        ("4", 1.1 * (1 / 4 - 1 / 9)),
        (",,0.2", 1.2 * (1 / 4 - 1 / 9)),
    ):
        lumin(command)
        assert spectrum.lumin[3] == pytest.approx(expected, rel=1e-3)
    for command, expected in (("", 1 / 4 - 1 / 9), (",5", 1 / 4 - 1 / 5), ("2", 1 / 2 - 1 / 5)):
        flux(command)
        assert spectrum.flux[3] == pytest.approx(expected, rel=1e-3)
    lumin("")
    assert spectrum.lumin[3] == pytest.approx(1.2 * (1 / 2 - 1 / 5), rel=1e-3)
    posterior(engine).flux(1, 3, draws=2, xspec=engine)
    flux("")
    assert spectrum.flux[3] == pytest.approx(1 / 2 - 1 / 5, rel=1e-3)  # not the posterior's band
    with pytest.raises(Exception, match="Error"):
        lumin("2 8 0")
    with pytest.raises(Exception, match="Error"):
        lumin("")  # a redshift of 0 is remembered, too


def test_every_evaluation_is_counted(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    first = result.flux(2, 10, draws=None, xspec=engine)
    second = result.flux(2, 10, draws=10, xspec=engine)
    assert first.evaluations == 37 and second.evaluations == len(second.samples) <= 10
    assert result.evaluations == {"final": 40, "flux": 37 + second.evaluations}


def test_unabsorbed_is_the_flux_without_any_column_frozen_free_or_linked(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    before = kept(engine)
    whole = result.flux(0.5, 2, unabsorbed=True, spectrum=2, draws=None, xspec=engine)
    part = result.flux(0.5, 2, unabsorbed="TBabs", spectrum=2, draws=None, xspec=engine)
    assert kept(engine) == before
    assert "TBabs nH, phabs nH = 0" in whole.what and "(TBabs nH = 0)" in part.what
    row = result.samples[whole.index[5]].copy()
    row[0] = 0.0
    typed(engine, row)
    engine.AllModels.calcFlux("0.5 2")
    assert part.samples[5, 0] == pytest.approx(engine.AllData(2).flux[0], rel=SAME)
    engine.AllModels(1).phabs.nH.values = "0,0.01,0,0,10,10"
    engine.AllModels.calcFlux("0.5 2")
    assert whole.samples[5, 0] == pytest.approx(engine.AllData(2).flux[0], rel=SAME)
    assert whole.samples[5, 0] > part.samples[5, 0]


def test_luminosity_takes_a_redshift_or_the_parameter_that_holds_it(engine: ModuleType) -> None:
    engine.AllData("1:1 one.pha")
    model = engine.Model("zTBabs*powerlaw")
    model.setPars(0.1, 0.05, 1.8, 3e-3)
    model.zTBabs.nH.frozen = True
    model.zTBabs.Redshift.values = "0.05,0.001,0.01,0.01,0.1,0.1"
    model.zTBabs.Redshift.frozen = False
    result = posterior(engine)
    fixed = result.lumin(2, 10, 0.05, draws=None, xspec=engine)
    own = result.lumin(2, 10, "Redshift__2", draws=None, xspec=engine)
    assert fixed.units == ["10^44 erg s^-1"]
    row = result.samples[own.index[7]]
    model.setPars({2: float(row[0]), 3: float(row[1]), 4: float(row[2])})
    for found, redshift in ((fixed, 0.05), (own, float(row[0]))):
        engine.AllModels.calcLumin(f"2 10 {redshift!r}")
        assert found.samples[7, 0] == pytest.approx(engine.AllData(1).lumin[0], rel=SAME)
    with pytest.raises(ValueError, match="No parameter 'z': there are nH__1, Redshift__2"):
        result.lumin(2, 10, "z", xspec=engine)


def test_equivalent_width_is_xspecs_by_number_and_by_name(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    before = kept(engine)
    by_name = result.eqwidth("gaussian", draws=None, xspec=engine)
    by_number = result.eqwidth(5, draws=None, xspec=engine)
    wide = result.eqwidth(5, fraction=0.2, draws=None, xspec=engine)
    assert kept(engine) == before
    assert np.array_equal(by_name.samples, by_number.samples)
    typed(engine, result.samples[by_name.index[4]])
    for found, fraction in ((by_name, 0.05), (wide, 0.2)):
        engine.AllModels.eqwidth(5, rangeFrac=fraction)
        assert found.samples[4, 0] == pytest.approx(engine.AllData(1).eqwidth[0], rel=SAME)
    # Line over continuum at the peak, both absorbed alike: the bins there are 5 % wide and the line 0.1 keV.
    _, index, norm, line, _ = result.samples[by_name.index[4]]
    assert by_name.samples[4, 0] == pytest.approx(line / (norm * LINE**-index), rel=0.05)


def test_equivalent_width_is_the_number_that_xspec_12_9_1_gives(engine: ModuleType) -> None:
    two_groups(engine)
    engine.AllModels.eqwidth(5, rangeFrac=0.05)
    assert engine.AllData(1).eqwidth[0] == pytest.approx(EQWIDTH, rel=1e-6)  # printed to ten digits by 12.9.1


def test_equivalent_width_of_what_is_not_additive_is_refused(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    with pytest.raises(RuntimeError, match="no equivalent width"):
        result.eqwidth(1, xspec=engine)
    with pytest.raises(ValueError, match="No component 'line'"):
        result.eqwidth("line", xspec=engine)


def test_any_function_of_the_session_or_of_the_parameters(engine: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    result = posterior(two_groups(engine))

    def ratio(xspec: ModuleType) -> list[float]:
        if xspec.AllModels(1).powerlaw.norm.values[0] > 3.2e-3:
            raise RuntimeError("too bright")
        folded = np.array(xspec.AllModels(1).folded(1))
        return [float(folded[:10].sum() / folded[-10:].sum()), xspec.Fit.statistic]

    with caplog.at_level(logging.WARNING):
        found = result.derive_in_xspec(ratio, ["hardness", "statistic"], ["", ""], draws=None, xspec=engine)
    faint = np.flatnonzero(result.samples[:, 2] <= 3.2e-3)
    assert list(found.index) == [k for k in faint if k > 2]
    assert "too bright" in caplog.text and "left out" in caplog.text
    assert found.weights.sum() == pytest.approx(1)
    typed(engine, result.samples[found.index[0]])
    assert found.samples[0, 1] == pytest.approx(engine.Fit.statistic, rel=SAME)
    free = result.derive(lambda p: p["norm__5"] / p["norm__8"], "ratio")
    assert free.evaluations == 0 and free.samples[0, 0] == result.samples[3, 2] / result.samples[3, 3]


def test_another_session_is_refused_and_another_folder_is_not(engine: ModuleType, tmp_path: Path) -> None:
    result = posterior(two_groups(engine))
    result.fingerprint["spectra"][0]["file"] = "/elsewhere/one.pha"
    result.flux(2, 10, draws=5, xspec=engine)
    engine.AllModels(1).phabs.nH.values = 0.3
    engine.AllData(1).ignore("1-10")
    with pytest.raises(ValueError, match="nH__3 was 0.2 and is 0.3.*session.xcm"):
        result.flux(2, 10, xspec=engine)


def test_bad_requests_are_refused(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    with pytest.raises(ValueError, match="No absorption wabs to take away: there are TBabs, phabs"):
        result.flux(2, 10, unabsorbed="wabs", xspec=engine)
    with pytest.raises(ValueError, match="lower end of the band first"):
        result.flux(10, 2, xspec=engine)
    with pytest.raises(RuntimeError, match="1 sources, not 2"):
        result.flux(2, 10, source=1, draws=3, xspec=engine)
    assert result.evaluations.get("flux", 0) <= 3


def test_the_best_fit_is_set_and_counted(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    typed(engine, result.samples[0])
    result.set_best_fit(engine)
    assert (
        engine.AllModels(1).powerlaw.PhoIndex.values[0] == 1.8 and engine.AllModels(2).constant.factor.values[0] == 0.9
    )
    assert result.evaluations["best fit"] == 1


def test_a_flux_chain_has_equal_weight_rows(engine: ModuleType) -> None:
    result = posterior(two_groups(engine))
    chain = result.create_flux_chain(engine.AllData(1), erange="2.0 10.0", nsamples=50, xspec=engine)
    assert chain.shape == (50, 2)
    weighted = result.flux(2, 10, draws=None, xspec=engine)
    # Systematic resampling: a mean is off by at most the range of the values over the number of rows.
    assert chain.mean(axis=0) == pytest.approx(weighted.mean, abs=np.ptp(weighted.samples, axis=0).max() / 10)
    assert set(chain[:, 0]) <= set(weighted.samples[:, 0])


@pytest.mark.parametrize("unit", ["keV", "channel"])
def test_folded_predictions_are_xspecs_plot_as_the_user_has_set_it(engine: ModuleType, unit: str) -> None:
    result = posterior(two_groups(engine))
    engine.Plot.xAxis = unit
    engine.Plot.setRebin(5.0, 4, 1)
    before = kept(engine)
    axis = Figure().add_subplot()
    found = result.posterior_predictions_convolved(nsamples=6, plottype="data", axis=axis, xspec=engine)
    assert kept(engine) == before
    assert found["models"].shape == (6, 3, len(found["bins"])) and found["names"] == ["powerlaw", "gaussian"]
    assert len(found["bins"]) < len(result.fingerprint["spectra"]) * 60 / 2  # rebinned
    # XSPEC folds the whole and its parts in single precision.
    assert found["models"][:, 0] == pytest.approx(found["models"][:, 1:].sum(axis=1), rel=1e-4)
    index = result.resample(6, return_index=True)
    typed(engine, result.samples[np.sort(index)[0]])
    engine.Plot.device, engine.Plot.background = "/null", True
    engine.Plot("data")
    for key, get in (("bins", engine.Plot.x), ("data", engine.Plot.y), ("background", engine.Plot.backgroundVals)):
        assert found[key] == pytest.approx(np.array(get(1)), rel=SAME)
    assert found["models"][0, 0] == pytest.approx(np.array(engine.Plot.model(1)), rel=SAME)
    assert found["xlabel"] == {"keV": "Energy (keV)", "channel": "Channel"}[unit]
    assert axis.get_ylabel() == mathtext(found["ylabel"])
    engine.Plot.setRebin(0.0, 1, 1)
    engine.Plot.xAxis, engine.Plot.background = "keV", False


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_a_background_far_below_or_above_the_data_is_inside_the_picture(
    engine: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    found = posterior(two_groups(engine)).posterior_predictions_convolved(
        nsamples=3, plottype="ldata", axis=Figure().add_subplot(), xspec=engine
    )
    found["background"] = scale * found["background"]
    limits = []
    monkeypatch.setattr(spectrum, "save_figure", lambda figure, path: limits.append(figure.axes[0].get_ylim()) or path)
    predictions_plot(found, tmp_path / "data.png")
    drawn = found["background"][found["background"] > 0]
    assert limits[0][0] < drawn.min() and drawn.max() < limits[0][1]
    assert limits[0][0] < found["data"].min() and found["data"].max() < limits[0][1]


def test_unfolded_predictions_are_xspecs_plot(engine: ModuleType, tmp_path: Path) -> None:
    result = posterior(two_groups(engine))
    found = result.posterior_predictions_unconvolved(nsamples=5, plottype="eemodel", xspec=engine)
    assert "data" not in found and found["models"].shape[:2] == (5, 3)
    typed(engine, result.samples[np.sort(result.resample(5, return_index=True))[0]])
    engine.Plot.device = "/null"
    engine.Plot("eemodel")
    assert found["models"][0, 0] == pytest.approx(np.array(engine.Plot.model(1)), rel=SAME)
    assert result.evaluations["predictions"] >= 6
    assert predictions_plot(found, tmp_path / "model.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match="use one of counts|use one of data"):
        result.posterior_predictions_convolved(plottype="model", xspec=engine)


def test_a_notebook_shows_what_the_summary_says(engine: ModuleType) -> None:
    found = posterior(two_groups(engine)).derive(lambda p: p["nH__2"], "<b>column", "10^22")
    page = found._repr_html_()
    words = [cell for line in found.summary().splitlines() for cell in re.split(r"  +", line.strip())]
    assert len(words) == 13 and all(escape(word) in page for word in words)
    assert "<b>" not in page and page.count("<tr>") == page.count("</tr>") == 2


def test_labels_are_set_as_xspec_writes_them() -> None:
    assert mathtext(r"normalized counts s\u-1\d keV\u-1\d") == r"normalized counts s$^{-1}$ keV$^{-1}$"
    assert mathtext(r"\gn F\d\gn\u (ergs cm\u-2\d s\u-1\d)") == r"$\nu$ F$_{\nu}$ (ergs cm$^{-2}$ s$^{-1}$)"


def test_limits_and_intervals_are_weighted() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.standard_normal((5000, 1)), rng.random(5000)
    found = Derived("x", ["x"], ["keV"], values, weights / weights.sum(), np.arange(5000), 12)
    assert found.upper_limit(0.9)[0] == pytest.approx(weighted_quantile(values[:, 0], 0.9, weights), rel=1e-12)
    assert found.lower_limit(0.9) == pytest.approx(found.quantile(0.1), rel=1e-12)
    # 5 standard errors of the 90 % point of a normal at about 3,750 effective draws: 5 sqrt(0.09/3750)/0.175.
    assert found.upper_limit(0.9)[0] == pytest.approx(1.2816, abs=0.14)
    assert found.interval(0.68)[0] == pytest.approx([-0.994, 0.994], abs=0.12)
    assert "12 evaluations" in found.summary() and "keV" in str(found)


def test_the_shell_gives_flux_luminosity_and_equivalent_width_of_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xspec_sixsa import embedded

    for _ in fresh("xspec_sixsa.embedded", tmp_path, monkeypatch):
        two_groups(embedded)
        result, run = posterior(embedded), tmp_path / "run"
        Session(embedded).save_xcm(run / "session.xcm")
        result.save(run)
        flux = result.flux(2, 10, draws=1000, xspec=embedded).summary()
        embedded.AllModels.clear()
        monkeypatch.chdir("/")  # the session file has absolute paths

        def sixsa(*words: str) -> Any:
            return CliRunner().invoke(cli.main, [*words, "--engine", "embedded"])

        assert sixsa("flux", str(run), "2", "10").output.strip() == flux
        assert "unabsorbed (TBabs nH, phabs nH = 0)" in sixsa("flux", str(run), "2", "10", "--unabsorbed").output
        assert "10^44 erg s^-1" in sixsa("lumin", str(run), "2", "10", "-z", "0.05").output
        assert "keV" in sixsa("eqwidth", str(run), "gaussian", "--draws", "10").output
        bad = sixsa("flux", str(run), "2-10")
        assert bad.exit_code == 2 and "DIRECTORY LOW HIGH" in bad.output
        (run / "session.xcm").unlink()
        assert "no session.xcm" in sixsa("flux", str(run), "2", "10").output


# AllModels.eqwidth(5, rangeFrac=0.05) of XSPEC 12.9.1 for `two_groups`, first data group.
EQWIDTH = 0.2587534453
