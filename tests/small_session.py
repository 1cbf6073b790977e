"""A small response and spectra through it: enough counts for a fit, and every evaluation takes microseconds."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

N_CHANNELS, N_ENERGIES = 60, 150


def write_response(folder: Path) -> None:
    """Write ``small.rmf`` and ``small.arf``: 0.3-10 keV, 60 channels, a Gaussian line spread of 120 eV."""
    from xspec_sixsa.embedded.ogip import ARF, RMF, write_arf, write_rmf

    edges = np.geomspace(0.2, 11.0, N_ENERGIES + 1)
    bounds = np.geomspace(0.3, 10.0, N_CHANNELS + 1)
    centre, channel = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (bounds[1:] + bounds[:-1])
    matrix = np.exp(-0.5 * ((channel[:, None] - centre) / 0.12) ** 2) * np.diff(bounds)[:, None]
    matrix[matrix < 1e-5] = 0.0
    matrix /= np.maximum(matrix.sum(axis=0), 1.0)
    matrix = csr_array(np.ascontiguousarray(matrix.astype(np.float32).astype(float)))
    write_rmf(folder / "small.rmf", RMF("small", edges[:-1], edges[1:], bounds[:-1], bounds[1:], matrix, 1, 1e-5))
    write_arf(folder / "small.arf", ARF("small", edges[:-1], edges[1:], 400.0 * np.exp(-(((centre - 1.5) / 4) ** 2))))


def fake_spectra(xspec: ModuleType, folder: Path, names: tuple[str, ...] = ("a.pha",), exposure: float = 2e3) -> None:
    """Fake ``TBabs*powerlaw`` (nH 0.1, index 1.8, norm 3e-3) through the small response; `folder` is where we are."""
    write_response(folder)
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.Model("TBabs*powerlaw", setPars=(0.1, 1.8, 3e-3))
    xspec.Xset.seed = 11
    settings = [xspec.FakeitSettings("small.rmf", "small.arf", exposure=exposure, fileName=name) for name in names]
    xspec.AllData.fakeit(len(names), settings)
    xspec.AllData.clear()
    xspec.AllModels.clear()


def power_law_run(xspec: ModuleType, folder: Path, norm: tuple[float, float]) -> tuple[SimpleNamespace, list[Any]]:
    """An absorbed power law on faked data, index and norm free: what stands in for a run on it, and its priors.

    `folder` is where we are, and `norm` are the limits of its log-uniform prior.
    """
    from xspec_sixsa.priors import loguniform, uniform
    from xspec_sixsa.session import Session

    fake_spectra(fresh(xspec), folder)
    xspec.AllData("a.pha")
    model = xspec.Model("TBabs*powerlaw", setPars=(0.1, 1.8, 3e-3))
    model.TBabs.nH.frozen = True
    priors = [uniform(model.powerlaw.PhoIndex, 1, 3), loguniform(model.powerlaw.norm, *norm)]
    session = Session(xspec)
    return SimpleNamespace(
        names=session.names, labels=session.labels, fingerprint=session.fingerprint(), output=None, emulator={}
    ), priors


def write_fixed_spectra(folder: Path) -> None:
    """Write spectra that no generator has touched: ``one.pha`` (with ``bkg.pha``, grouped) and ``two.pha``."""
    from xspec_sixsa.embedded.ogip import PHA, write_pha

    write_response(folder)
    channel = np.arange(N_CHANNELS)
    counts = np.rint(90.0 * np.exp(-(((channel - 25.0) / 14.0) ** 2)) + 4.0 + 3.0 * np.cos(channel))
    background = np.rint(6.0 + 4.0 * np.sin(0.7 * channel))
    background[33] = 0.0
    # Two channels to a group, except where the source is bright.
    grouping = np.where((channel % 2 == 0) | ((channel > 15) & (channel < 35)), 1, -1)
    common = {"channels": channel + 1, "detchans": N_CHANNELS, "quality": None, "area_scale": np.ones(N_CHANNELS)}
    one = PHA("one", counts, exposure=1500.0, back_scale=np.full(N_CHANNELS, 0.5), grouping=grouping,
              respfile="small.rmf", ancrfile="small.arf", **common)  # fmt: skip
    one.backfile = "bkg.pha"
    write_pha(folder / "one.pha", one)
    write_pha(folder / "bkg.pha", PHA("bkg", background, exposure=2200.0, back_scale=np.full(N_CHANNELS, 1.2),
                                      respfile="", ancrfile="", **common))  # fmt: skip
    write_pha(folder / "two.pha", PHA("two", np.rint(0.4 * counts), exposure=700.0, back_scale=np.ones(N_CHANNELS),
                                      respfile="small.rmf", ancrfile="small.arf", **common))  # fmt: skip


def fresh(xspec: ModuleType) -> Any:
    """Empty the engine and put its settings back to XSPEC's defaults, silently."""
    xspec.AllChains.clear()
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.Xset.chatter, xspec.Xset.logChatter = 0, 0
    xspec.Xset.abund, xspec.Xset.xsect, xspec.Xset.cosmo = "angr", "vern", "70 0 0.73"
    xspec.Xset.modelStrings = {}
    xspec.Fit.statMethod, xspec.Fit.weight, xspec.Fit.bayes = "cstat", "standard", "off"
    plot = xspec.Plot
    plot.xAxis, plot.device, plot.commands, plot.redshift = "keV", "/null", (), 0.0
    plot.add = plot.background = False
    plot.setRebin(0.0, 1, -1, "quad")
    return xspec
