"""Negative counts of net spectra under statistics of counts: as XSPEC computes them, and noted where it matters."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from live import QUICK
from tiny_ogip import N_CHANNELS, make_arf, make_pha, make_rmf

import xspec_sixsa as sixsa
from xspec_sixsa import embedded
from xspec_sixsa.common.fitstatistic import ObservedStatistic
from xspec_sixsa.embedded.ogip import write_arf, write_pha, write_rmf
from xspec_sixsa.session import Session

STATISTICS = ("cstat", "pstat", "pgstat")
REAL = {"net": (659.0929488464035,) * 3, "subtracted": (np.nan, 267.3303299295686, np.nan)}
"""What XSPEC 12.9.1 gives by `STATISTICS` (`test_real_xspec_gives_these`)."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_engine: None) -> None:
    """A net spectrum, also one with a background: about a quarter of the channels is negative."""
    write_rmf(tmp_path / "tiny.rmf", make_rmf())
    write_arf(tmp_path / "tiny.arf", make_arf())
    values = np.random.default_rng(8).normal(3.0, 4.0, N_CHANNELS).astype(np.float32).astype(float)
    net = {"values": values, "is_counts": True, "poisson": False, "stat_err": np.full(N_CHANNELS, 2.0), "net": True}
    behind = {"respfile": "", "ancrfile": "", "exposure": 2500.0, "back_scale": np.full(N_CHANNELS, 1.5)}
    write_pha(tmp_path / "net.pha", make_pha(**net))
    write_pha(tmp_path / "behind.pha", make_pha(3, mean=4.0, **behind))
    write_pha(tmp_path / "subtracted.pha", make_pha(backfile="behind.pha", **net))
    monkeypatch.chdir(tmp_path)


def load(module: ModuleType, name: str, statistic: str) -> ModuleType:
    module.Xset.chatter, module.Xset.allowPrompting = 0, False
    module.AllModels.clear()
    module.AllData.clear()
    module.AllData(f"{name}.pha")
    module.Fit.statMethod = statistic
    module.Model("powerlaw", setPars=(1.7, 2e-4))
    return module


def statistics(module: ModuleType, name: str) -> list[float]:
    return [float(load(module, name, statistic).Fit.statistic) for statistic in STATISTICS]


@pytest.mark.parametrize("name", REAL)
def test_statistics_are_those_of_xspec(tiny: None, name: str) -> None:
    # rounding: sums of the same terms in another order
    np.testing.assert_allclose(statistics(embedded, name), REAL[name], rtol=1e-12)


@pytest.mark.xspec
@pytest.mark.parametrize("name", REAL)
def test_real_xspec_gives_these(tiny: None, name: str) -> None:
    xspec = importlib.import_module("xspec")
    np.testing.assert_allclose(statistics(xspec, name), REAL[name], rtol=1e-6)  # columns in single precision
    xspec.AllModels.clear()
    xspec.AllData.clear()


def test_where_the_statistic_is_no_number_the_fit_is_refused(tiny: None) -> None:
    with pytest.raises(ValueError, match=r"subtracted.pha.*negative counts in 7 of 24 bins.*chi 1"):
        Session(load(embedded, "subtracted", "cstat"))


def test_a_fit_has_the_warning_in_its_summary(tiny: None) -> None:
    model = load(embedded, "net", "cstat").AllModels(1)
    priors = [sixsa.uniform(model(1), 0.0, 4.0), sixsa.loguniform(model(2), 1e-6, 1e-2)]
    options = {"target_ess": 100, "budget": 900, "seed": 1, "compressor": "none", "settings": QUICK | {"attempts": 1}}
    result = sixsa.fit(priors, xspec=embedded, polish=False, progress=False, **options)
    words = " ".join(result.summary().split())
    assert "net.pha): cstat takes the negative counts of 7 of 24 bins for none" in words
    assert "Gaussian errors, but is fitted with cstat" in words and result.reliable
    found = Session(embedded).evaluate(result.samples[:5], "test")
    ours = ObservedStatistic(Session(embedded).observation).log_likelihood(torch.tensor(found.counts))
    np.testing.assert_allclose(ours.numpy(), result.log_likelihood[:5], rtol=1e-12)
    assert result.common_norm["log_z"] == pytest.approx(result.log_z, abs=0.3)
    assert all(np.isfinite(part).all() for part in result.log_predictive())
