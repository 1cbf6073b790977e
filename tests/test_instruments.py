"""From files to the best fit: real spectra beside the checkout, and layouts of further missions, faked."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from live import clear
from scipy.sparse import csr_array

import xspec_sixsa as sixsa
from xspec_sixsa.embedded.ogip import ARF, PHA, RMF, write_arf, write_pha, write_rmf
from xspec_sixsa.priors import bind, loguniform, uniform
from xspec_sixsa.session import Session

ON_XSPEC = (
    "RXTE PCA",
    "EXOSAT ME",
    "Fermi GBM",
    "ASCA SIS",
    "Insight-HXMT HE",
)  # others are fitted there by other tests


@dataclass(frozen=True)
class Case:
    """A spectrum, what is ignored, the limits of the power law's index and norm, and a statistic."""

    folder: str
    data: str
    ignore: str
    norm: tuple[float, float]
    statistic: str = "cstat"
    most_absorbed: float = 0.5  # 10^22
    given: dict[str, str] = field(default_factory=dict)
    """Files that the spectrum's header does not name."""


REAL = {
    "Chandra ACIS-S": Case("chandra_3c273", "3c273.pi", "**-0.5 7.0-**", (1e-5, 1e-2)),
    "XMM-Newton EPIC-pn": Case("ngc7793_ulx4_pn", "PN_spectrum_grp20.fits", "**-0.5 10.0-**", (1e-6, 1e-2)),
    "RXTE PCA": Case("rxte_pca", "rxte.pha", "**-3.0 20.0-**", (1e-3, 1e2), "chi", 30.0),
    "EXOSAT ME": Case("xspec_session", "file1.pha", "**-2.0 12.0-**", (1e-4, 1e2), "chi", 200.0),
}


TAIL = 8  # energy bins in one of a tail's


@dataclass(frozen=True)
class Layout:
    """How a mission's files are laid out: channels from where, energies, an area apart or inside the matrix."""

    first: int
    channels: int
    low: float
    high: float
    area: bool = True
    background: str = ""  # "counts"; "rates" or "modelled" counts with Gaussian errors, whose statistic is pgstat
    grouped: int = 1
    tail: float = 0.0
    """Share of the photons in a second matrix, of wider energy bins and any channel below."""
    most_absorbed: float = 0.5  # 10^22
    rewritten: Callable[[], dict[str, str]] = dict
    """Makes what is the mission's own of the files; returns those that no header names."""


def as_asca() -> dict[str, str]:
    """Files of 1992 (OGIP's first versions): an image before the spectrum, empty classes, a matrix called DETECTOR."""
    for name in ("a.pha", "b.pha"):
        with fits.open(name, mode="update") as hdus:
            hdus[0].data = np.zeros((38, 38), dtype=np.int16)
            hdus[0].header.update({"HDUCLAS1": "IMAGE", "HDUCLAS2": "WMAP", "BACKSCAL": 0.044, "EXTNAME": "WMAP"})
            hdus["SPECTRUM"].header.update({"PHAVERSN": "1992a", "HDUVERS1": "1.1.0", "HDUCLAS2": "", "STAT_ERR": 0})
            del hdus["SPECTRUM"].header["HDUVERS"]
            hdus.append(
                fits.BinTableHDU.from_columns([fits.Column("START", "D"), fits.Column("STOP", "D")], name="GTI")
            )
    with fits.open("a.rmf", mode="update") as hdus:
        for hdu, kind in ((hdus["MATRIX"], "RSP_MATRIX"), (hdus["EBOUNDS"], "EBOUNDS")):
            hdu.header.update({"RMFVERSN": "1992a", "HDUVERS1": "1.0.0", "HDUVERS2": "1.1.0", "HDUCLAS2": kind})
            del hdu.header["HDUVERS"]
        hdus["MATRIX"].header["HDUCLAS3"] = "DETECTOR"
        for key in ("TLMIN1", "TLMAX1"):
            del hdus["EBOUNDS"].header[key]
    return {}


def as_hxmt() -> dict[str, str]:
    """What hespecgen, herspgen and hebkgmap leave: a spectrum that names nothing, the area inside the response."""
    with fits.open("a.pha", mode="update") as hdus:
        hdus["SPECTRUM"].header.update({"RESPFILE": "NONE", "ANCRFILE": "NONE", "BACKFILE": "NONE"})
    return {"response": "a.rmf", "background": "b.pha"}


def as_srctool() -> dict[str, str]:
    """The names that eSASS gives, all of them .fits, and its telescope modules together."""
    names = {"b.pha": "em01_020_BackgrSpec_00001.fits", "a.rmf": "em01_020_RMF_00001.fits",
             "a.arf": "em01_020_ARF_00001.fits"}  # fmt: skip
    with fits.open("a.pha", mode="update") as hdus:
        keys = {"RESPFILE": names["a.rmf"], "ANCRFILE": names["a.arf"], "BACKFILE": names["b.pha"]}
        hdus["SPECTRUM"].header.update(keys | {"TELESCOP": "eROSITA", "INSTRUME": "TM0", "REGAREA": 0.01})
    for old, new in names.items():
        Path(old).rename(new)
    return {}


FAKED = {
    "ASCA SIS": Layout(0, 512, 0.6, 9.0, background="counts", grouped=8, rewritten=as_asca),
    "ASCA GIS": Layout(0, 1024, 0.8, 9.0, background="counts", grouped=16, rewritten=as_asca),
    "Insight-HXMT HE": Layout(
        0, 256, 28.0, 200.0, area=False, background="modelled", grouped=4, most_absorbed=1e3, rewritten=as_hxmt
    ),
    "XRISM Resolve": Layout(0, 1200, 2.0, 10.0, grouped=10, tail=0.25),
    "eROSITA": Layout(0, 1024, 0.3, 8.0, background="counts", grouped=8, rewritten=as_srctool),
    "Swift XRT": Layout(0, 1024, 0.3, 10.0, background="counts", grouped=8),
    "NICER XTI": Layout(0, 1501, 0.3, 12.0, grouped=10),
    "NuSTAR FPMA": Layout(0, 4096, 3.0, 78.0, background="counts", grouped=40),
    "ROSAT PSPC": Layout(1, 256, 0.2, 2.4, background="counts", grouped=8),
    "Fermi GBM": Layout(0, 128, 10.0, 900.0, area=False, background="rates"),
}


def both(names: Iterable[str]) -> list[Any]:
    """Every name on the embedded engine, and some on real XSPEC."""
    real = [pytest.param("xspec", name, marks=pytest.mark.xspec) for name in names if name in ON_XSPEC]
    return [("xspec_sixsa.embedded", name) for name in names] + real


@pytest.fixture
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    module = importlib.import_module(request.param)
    module.Xset.chatter, module.Xset.allowPrompting = 0, False
    monkeypatch.chdir(tmp_path)
    clear(module)
    yield module
    clear(module)
    module.Fit.statMethod = "cstat"


def reach_the_best_fit(xspec: ModuleType, case: Case, log: pytest.LogCaptureFixture) -> sixsa.Session:
    """Load, check the priors, and fit: well, and without a word of warning."""
    with log.at_level(logging.WARNING, "xspec_sixsa"):
        xspec.Fit.statMethod = case.statistic
        xspec.AllData(case.data)
        for attribute, file in case.given.items():
            setattr(xspec.AllData(1), attribute, file)
        xspec.AllData.ignore("bad")
        xspec.AllData(1).ignore(case.ignore)
        model = xspec.Model("phabs*powerlaw", setPars=(0.1, 1.8, float(np.sqrt(np.prod(case.norm)))))
        priors = [uniform(model.phabs.nH, 0, case.most_absorbed), uniform(model.powerlaw.PhoIndex, -1, 4),
                  loguniform(model.powerlaw.norm, *case.norm)]  # fmt: skip
        found = sixsa.check(priors, draws=30, seed=1, workers=1, xspec=xspec)
        assert found.well, str(found)
        session = Session(xspec, workers=1)
        support = bind(priors, session).support
        start = session.evaluate(found.theta, "start")
        best = session.best_fit(start.theta[np.nanargmin(start.statistic)], support)
    assert best.complaint == "" and best.statistic <= np.nanmin(start.statistic)
    # not what the Dask client of an earlier test says
    ours = [record.message for record in log.records if record.name.startswith("xspec_sixsa")]
    said = [message for message in ours if "biased" not in message]
    assert not [message for message in said if "XSPEC's manual" not in message], said  # pgstat
    expected = session.evaluate(best.theta[None], "best").counts[0]
    observed = sum(float((s.counts - s.expected_background).sum()) for s in session.observation.spectra)
    # what a fitted power law gets right of any spectrum: how many counts there are
    assert expected.sum() == pytest.approx(observed, rel=0.1)
    return session


@pytest.mark.parametrize(("engine", "name"), both(REAL), indirect=["engine"])
def test_real_spectra(
    engine: ModuleType, name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(shared_data / REAL[name].folder)
    reach_the_best_fit(engine, REAL[name], caplog)


def fake(layout: Layout) -> float:
    """Write ``a.pha`` (1e4 counts of a power law of index 1.7) with all that its header names; returns the norm."""
    rng, n = np.random.default_rng(5), layout.channels
    edges = np.geomspace(0.8 * layout.low, 1.2 * layout.high, 201)
    bounds = np.linspace(0.0, 1.05 * layout.high, n + 1) if layout.area else np.geomspace(5.0, 1000.0, n + 1)
    centre, channel, width = np.sqrt(edges[1:] * edges[:-1]), 0.5 * (bounds[1:] + bounds[:-1]), np.diff(bounds)
    sigma = 0.03 * centre + 2.0 * np.diff(bounds).mean()
    matrix = np.exp(-0.5 * ((channel[:, None] - centre) / sigma) ** 2) * width[:, None]
    matrix[matrix < 1e-6 * matrix.max(axis=0)] = 0.0
    matrix /= matrix.sum(axis=0)
    below = np.searchsorted(bounds[1:], edges[TAIL::TAIL])
    tail = np.where(np.arange(n)[:, None] < below, layout.tail / below, 0.0)
    matrix *= 1 - layout.tail
    area = 100.0 * np.exp(-0.5 * (np.log(centre / np.sqrt(layout.low * layout.high)) / 1.2) ** 2)
    folded = (matrix if layout.area else matrix * area).astype(np.float32).astype(float)
    rmf = RMF("a.rmf", edges[:-1], edges[1:], bounds[:-1], bounds[1:], csr_array(folded), layout.first, 1e-6)
    write_rmf("a.rmf", rmf)
    if layout.tail:  # as `rslmkrmf splitcomb=yes` writes the electron-loss continuum
        wide = edges[::TAIL]
        write_rmf("tail.rmf", replace(rmf, energy_lo=wide[:-1], energy_hi=wide[1:], matrix=csr_array(tail)))
        with fits.open("a.rmf") as core, fits.open("tail.rmf") as more:
            more["MATRIX"].header["EXTVER"] = 2
            fits.HDUList([*core[:2], more["MATRIX"], *core[2:]]).writeto("split.rmf")
        Path("split.rmf").replace("a.rmf")
        matrix = matrix + np.repeat(tail, TAIL, axis=1)
    if layout.area:
        write_arf("a.arf", ARF("a.arf", edges[:-1], edges[1:], area))
    expected = matrix @ (area * centre**-1.7 * np.diff(edges))
    norm = 1e4 / (1e3 * expected.sum())
    expected *= 1e3 * norm
    background = 1e3 * width / width.sum() if layout.background else np.zeros(n)
    grouping = np.where(np.arange(n) % layout.grouped == 0, 1, -1)
    common = {"channels": np.arange(n) + layout.first, "detchans": n, "first_channel": layout.first,
              "area_scale": np.ones(n)}  # fmt: skip
    source = PHA("a.pha", rng.poisson(expected + background).astype(float), exposure=1e3, quality=None,
                 grouping=grouping if layout.grouped > 1 else None, back_scale=np.full(n, 1.0), respfile="a.rmf",
                 ancrfile="a.arf" if layout.area else "", **common)  # fmt: skip
    if not layout.area:
        with fits.open("a.rmf", mode="update") as hdus:
            hdus[1].header["HDUCLAS3"] = "FULL"
    if layout.background:
        source.backfile = "b.pha"
        if layout.background == "counts":
            values, kind = rng.poisson(4 * background).astype(float), {"back_scale": np.full(n, 4.0)}
        elif layout.background == "modelled":
            error = np.sqrt(background) / 5
            values, kind = rng.normal(background, error), {"back_scale": np.full(n, 1.0), "stat_err": error}
            kind |= {"poisson": False}
        else:
            error = np.sqrt(background) / 5e3
            values, kind = rng.normal(background / 1e3, error), {"back_scale": np.full(n, 1.0), "stat_err": error}
            kind |= {"is_counts": False, "poisson": False}
        write_pha("b.pha", PHA("b.pha", values, exposure=1e3, quality=None, **kind, **common))
    write_pha("a.pha", source)
    return norm


@pytest.mark.parametrize(("engine", "name"), both(FAKED), indirect=["engine"])
def test_layouts_of_further_missions(engine: ModuleType, name: str, caplog: pytest.LogCaptureFixture) -> None:
    layout = FAKED[name]
    norm = fake(layout)
    statistic = "pgstat" if layout.background in ("rates", "modelled") else "cstat"
    given, ignore = layout.rewritten(), f"**-{layout.low} {layout.high:.1f}-**"
    case = Case(".", "a.pha", ignore, (1e-3, 1e3), statistic, layout.most_absorbed, given)
    session = reach_the_best_fit(engine, case, caplog)
    best = session.module.Fit.statistic
    truth = session.evaluate([[0.0, 1.7, norm]], "truth").statistic[0]
    assert truth - best < 14  # chi-square of three parameters: exceeded once in 300 spectra
