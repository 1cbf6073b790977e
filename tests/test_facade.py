"""The engine as a PyXspec module: a usual script, lazy import, and which module `pick` gives."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_session import fresh

import xspec_sixsa.embedded as xspec

PYXSPEC_NAMES = (
    "AllChains AllData AllModels Background Chain ChainManager Component DataManager FakeitSettings Fit FitManager "
    "Model ModelManager Parameter Plot PlotManager Response Spectrum XspecSettings Xset"
).split()


def test_every_name_of_pyxspec_is_there() -> None:
    assert [name for name in PYXSPEC_NAMES if not hasattr(xspec, name)] == []
    with pytest.raises(AttributeError):
        xspec.RModel  # noqa: B018 - response models are not in the engine


def test_import_is_light() -> None:
    code = ("import sys, xspec_sixsa.embedded as e; e.Xset.chatter = 0; "
            "print([m for m in ('torch', 'astropy', 'matplotlib') if m in sys.modules])")  # fmt: skip
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert run.stdout.strip() == "[]", run.stderr


def test_pick_gives_the_engine_and_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("HEADAS", raising=False)
    monkeypatch.delitem(sys.modules, "xspec", raising=False)
    with caplog.at_level(logging.INFO):
        assert xspec.pick() is xspec
    assert "embedded" in caplog.text


@pytest.mark.xspec
def test_pick_gives_real_pyxspec_where_it_works() -> None:
    code = "from xspec_sixsa.embedded import pick, install\nprint('PICKED', pick().__file__)\ninstall()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    picked = next(line for line in run.stdout.splitlines() if line.startswith("PICKED"))
    assert "heasoft" in picked.lower() or "headas" in picked.lower() or "/xspec/__init__.py" in picked
    assert "xspec_sixsa" not in picked
    assert "is already imported" in run.stderr


def test_usual_script_gives_xspecs_numbers(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared_data / "ngc7793_ulx4_pn")
    fresh(xspec)
    xspec.Xset.abund = "wilm"
    spectrum = xspec.Spectrum("PN_spectrum_grp20.fits")
    spectrum.background = None
    spectrum.ignore("**-0.5 10.0-**")
    model = xspec.Model("TBabs*(bbodyrad+powerlaw)")
    model.setPars(0.09, 0.8, 0.2, 1.9, 2e-4)
    xspec.Fit.query = "yes"
    xspec.Fit.perform()
    # Real XSPEC 12.9.1 on the same session: 95.8525 for 99 degrees of freedom; `error 1`: 0.0516 to 0.1360.
    assert xspec.Fit.statistic == pytest.approx(95.8525, abs=0.01)
    assert xspec.Fit.dof == 99
    xspec.Fit.error("2.706 1")
    assert model.TBabs.nH.error[:2] == pytest.approx((0.0516, 0.1360), abs=3e-4)
    xspec.Plot.xAxis = "keV"
    xspec.Plot("ldata delchi")
    assert np.std(xspec.Plot.y(1, 2)) == pytest.approx(1.0, abs=0.3)
    best = xspec.Fit.statistic
    xspec.Xset.save(str(tmp_path / "s.xcm"))
    fresh(xspec)
    xspec.Xset.restore(str(tmp_path / "s.xcm"))
    assert xspec.Fit.statistic == best
    fresh(xspec)
