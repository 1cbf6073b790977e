"""PyXspec of XSPEC 12.12 and newer: what changed is found out from what it gives, not from its version."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.figure import Figure
from newer_pyxspec import newer
from test_derived import posterior, two_groups
from test_session import fresh
from tiny_ogip import N_CHANNELS, make_pha, write_tiny

from xspec_sixsa import embedded
from xspec_sixsa.common.observation import SpectrumData
from xspec_sixsa.compare.chains import run_chain
from xspec_sixsa.embedded.ogip import write_pha
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.priors import bind, loguniform, uniform
from xspec_sixsa.session import Session
from xspec_sixsa.session.observe import observe

# sums and products of float64 in another order
SAME = 1e-12

WAYS = list(itertools.product((False, True), repeat=3))
"""Backgrounds of their own AREASCAL, undivided variances, undivided folded models: the release notes say nothing."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_engine: None) -> Path:
    """Spectra with AREASCAL as a column (vectors.pha), as keywords (keys.pha) and of rates with errors (net.pha)."""
    write_tiny(tmp_path)
    scales = {"area_scale": np.full(N_CHANNELS, 825.0), "backfile": "keys_bkg.pha", "corrfile": "keys_cor.pha"}
    write_pha(tmp_path / "keys.pha", make_pha(20, **scales, corr_scale=0.25))
    behind = {"respfile": "", "ancrfile": "", "exposure": 2500.0, "back_scale": np.full(N_CHANNELS, 1.5)}
    write_pha(tmp_path / "keys_bkg.pha", make_pha(21, area_scale=np.full(N_CHANNELS, 2.0), **behind))
    write_pha(tmp_path / "keys_cor.pha", make_pha(22, area_scale=np.full(N_CHANNELS, 3.0), **behind))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(module: ModuleType, name: str, statistic: str) -> ModuleType:
    module.AllData(name)
    module.AllData(1).ignore("1-2")
    module.Fit.statMethod = statistic
    module.Model("powerlaw", setPars=(1.7, 2e-3))
    return module


def assert_same(found: SpectrumData, wanted: SpectrumData) -> None:
    for name in ("counts", "background", "background_ratio", "background_sigma", "sigma"):
        array, other = getattr(found, name), getattr(wanted, name)
        assert (array is None) == (other is None), name
        if array is not None:
            np.testing.assert_allclose(array, other, rtol=SAME, err_msg=name)


@pytest.mark.parametrize(("recorded", "variance", "folded"), WAYS)
@pytest.mark.parametrize(
    ("name", "statistic", "with_files"),
    [("vectors", "pgstat", True), ("vectors", "cstat", False), ("keys", "chi", False), ("net", "chi", True)],
)
def test_likelihood_is_the_same_undivided_by_areascal(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str, statistic: str, with_files: bool, recorded: bool,
    variance: bool, folded: bool,
) -> None:  # fmt: skip
    old = Session(load(embedded, f"{name}.pha", statistic), workers=1)
    theta = np.array([[1.5, 3e-3], [2.0, 1e-3]])
    wanted = old.evaluate(theta, "a")
    if not with_files:
        for file in tiny.glob("*.pha"):  # as of data loaded in another folder: XSPEC's rates alone decide then
            file.unlink()
    session = Session(newer(monkeypatch, recorded, variance, folded), workers=1)
    assert not session.is_embedded
    assert_same(session.observation.spectra[0], old.observation.spectra[0])
    found = session.evaluate(theta, "a")
    np.testing.assert_allclose(found.counts, wanted.counts, rtol=SAME)
    np.testing.assert_allclose(found.statistic, wanted.statistic, rtol=SAME)


def test_counts_are_those_of_the_file(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(newer(monkeypatch), "keys.pha", "chi")
    data = observe(module).spectra[0]
    np.testing.assert_allclose(data.counts, make_pha(20).values[2:], rtol=SAME)


def test_files_decide_where_rates_cannot(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AREASCAL of mean 1 over equal counts: divided or not, the sum is the same."""
    area = np.where(np.arange(N_CHANNELS) % 2 == 0, 0.5, 1.5)
    write_pha(tiny / "even.pha", make_pha(values=np.full(N_CHANNELS, 8.0), area_scale=area, area_is_key=False))
    data = observe(load(newer(monkeypatch), "even.pha", "cstat")).spectra[0]
    np.testing.assert_allclose(data.counts, 8.0, rtol=SAME)


@pytest.mark.parametrize(
    ("what", "number", "statistic"), [("errors", 1, "chi"), ("folded models", 3, "cstat"), ("rates", 2, "cstat")]
)
def test_arrays_that_agree_with_nothing_are_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, what: str, number: int, statistic: str
) -> None:
    module = load(newer(monkeypatch), "vectors.pha", statistic)
    stated = Spectrum.rate
    if what == "rates":
        (tiny / "vectors.pha").unlink()
    odd = np.where(np.arange(4) == number, 1.1, 1.0)
    monkeypatch.setattr(Spectrum, "rate", property(lambda self: tuple(np.array(stated.fget(self)) * odd)))
    with pytest.raises(ValueError, match=f"AREASCAL other than 1, and XSPEC's .*{what}.*report this file"):
        observe(module)


@pytest.mark.parametrize("counted", [True, False])
def test_components_of_a_plot_are_found_with_addcomp_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: bool
) -> None:
    """PyXspec 2.0.3 brought `Plot.addComp`; its notes do not name `nAddComps`, which later ones have."""
    for _ in fresh("xspec_sixsa.embedded", tmp_path, monkeypatch):
        module = newer(monkeypatch)
        result = posterior(two_groups(module))
        if not counted:
            monkeypatch.delattr(type(embedded.Plot), "nAddComps")
        found = result.posterior_predictions_convolved(
            nsamples=4, plottype="data", axis=Figure().add_subplot(), xspec=module
        )
        assert found["names"] == ["powerlaw", "gaussian"]
        # XSPEC folds the whole and its parts in single precision
        assert found["models"][:, 0] == pytest.approx(found["models"][:, 1:].sum(axis=1), rel=1e-4)


def test_a_chain_is_asked_for_by_keywords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer PyXspec's Chain has `rescale` where 12.9.1's has `temperature` (its manual, class Chain)."""

    def chain(fileName, fileType=None, burn=None, runLength=None, proposal=None, rand=None, rescale=None,
              temperature=None, algorithm=None, walkers=None) -> embedded.Chain:  # fmt: skip
        assert rescale is None and temperature is None
        return embedded.Chain(fileName, burn=burn, runLength=runLength, algorithm=algorithm, walkers=walkers)

    for _ in fresh("xspec_sixsa.embedded", tmp_path, monkeypatch):
        module = newer(monkeypatch, Chain=chain)
        module.AllData("one.pha")
        model = module.Model("powerlaw", setPars=(1.8, 3e-3))
        session = Session(module, workers=1)
        prior = bind([uniform(model(1), 1.0, 3.0), loguniform(model(2), 1e-4, 1e-2)], session)
        found = run_chain(session, prior, start=np.array([1.8, 3e-3]), length=160, burn=16, progress=False)
        assert found.samples.shape == (160, 2)


@pytest.mark.xspec
@pytest.mark.parametrize("with_files", [True, False])
@pytest.mark.parametrize(("name", "statistic"), [("vectors", "cstat"), ("keys", "chi"), ("net", "chi")])
def test_real_xspec_gives_the_same(tiny: Path, name: str, statistic: str, with_files: bool) -> None:
    wanted = observe(load(embedded, f"{name}.pha", statistic)).spectra[0]
    xspec = importlib.import_module("xspec")
    xspec.Xset.chatter, xspec.Xset.logChatter, xspec.Xset.allowPrompting = 0, 0, False
    xspec.AllModels.clear()
    xspec.AllData.clear()
    load(xspec, f"{name}.pha", statistic)
    if not with_files:
        for file in tiny.glob("*.pha"):
            file.unlink()
    found = observe(xspec).spectra[0]
    xspec.AllModels.clear()
    xspec.AllData.clear()
    # XSPEC reads some columns in single precision
    for field in dataclasses.fields(SpectrumData):
        if isinstance(getattr(wanted, field.name), np.ndarray):
            np.testing.assert_allclose(getattr(found, field.name), getattr(wanted, field.name), rtol=1e-6)
