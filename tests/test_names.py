"""Names and layouts of files that XSPEC takes: extensions, rows, gzipped files, matrices past the last channel."""

from __future__ import annotations

import gzip
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from live import fresh
from scipy.sparse import csr_array

from xspec_sixsa.embedded.ogip import read_rmf, write_rmf
from xspec_sixsa.embedded.state import XspecError
from xspec_sixsa.session import Session

SAME = 1e-9  # double precision in both, sums in another order
only_embedded = pytest.mark.parametrize("engine", ["xspec_sixsa.embedded"], indirect=True)


@pytest.fixture(params=["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from fresh(request.param, tmp_path)


def statistic(engine: ModuleType, spectrum: str = "two.pha", rmf: str = "", arf: str = "small.arf") -> float:
    engine.AllData.clear()
    engine.AllModels.clear()
    engine.AllData(spectrum)
    if rmf:
        engine.AllData(1).response = rmf
        engine.AllData(1).response.arf = arf
    engine.Model("powerlaw").setPars({1: 2.0, 2: 0.01})
    return float(engine.Fit.statistic)


@pytest.mark.parametrize(
    "names", [("two.pha[1]",), ("two.pha[SPECTRUM]",), ("two.pha+1",), ("two.pha", "small.rmf[MATRIX]"),
              ("two.pha", "small.rmf", "small.arf[SPECRESP]"), ("two.pha", "small.rmf[1]")],
)  # fmt: skip
def test_a_name_may_say_the_extension(engine: ModuleType, names: tuple[str, ...]) -> None:
    assert statistic(engine, *names) == pytest.approx(statistic(engine), rel=SAME)


def test_a_session_with_an_extension_in_a_name_is_saved_and_restored(engine: ModuleType, tmp_path: Path) -> None:
    right = statistic(engine, "two.pha", "small.rmf[MATRIX]")
    Session(engine, workers=1).save_xcm(tmp_path / "run" / "session.xcm")
    engine.AllData.clear()
    engine.AllModels.clear()
    engine.Xset.restore(str(tmp_path / "run" / "session.xcm"))
    assert engine.Fit.statistic == pytest.approx(right, rel=1e-5)


def test_a_gzipped_file_stands_for_the_one_that_is_named(engine: ModuleType) -> None:
    right = statistic(engine)
    for name in ("small.rmf", "small.arf"):
        with open(name, "rb") as plain, gzip.open(f"{name}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        Path(name).unlink()
    assert statistic(engine) == pytest.approx(right, rel=SAME)
    assert Session(engine, workers=1).n_free == 2  # nothing is missed


def test_energies_of_pi_channels_are_found_by_their_name(engine: ModuleType) -> None:
    right = statistic(engine)
    with fits.open("small.rmf", mode="update") as hdus:
        hdus["EBOUNDS"].header["HDUCLAS2"] = "PI_EBOUNDS"
    assert statistic(engine) == pytest.approx(right, rel=SAME)


def past_the_end(extra: int) -> int:
    """Write ``past.rmf``: rows that end at the last channel have more elements, of 0.01; returns how many rows do."""
    with fits.open("small.rmf") as hdus:
        old, first, n, values = hdus["MATRIX"], [], [], []
        for row in old.data:
            start, length = (int(np.append(np.ravel(row[name]), 0)[0]) for name in ("F_CHAN", "N_CHAN"))
            more = extra if start + length - 1 == 60 else 0
            first.append(start)
            n.append(length + more)
            values.append(np.append(np.asarray(row["MATRIX"])[:length], np.full(more, 0.01)).astype("f4"))
        columns = [fits.Column(name, "D", array=old.data[name]) for name in ("ENERG_LO", "ENERG_HI")]
        columns += [
            fits.Column("N_GRP", "I", array=old.data["N_GRP"]),
            fits.Column("F_CHAN", "I", array=first),
            fits.Column("N_CHAN", "I", array=n),
            fits.Column("MATRIX", "PE()", array=np.array(values, dtype=object)),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="MATRIX")
        kept = (card for card in old.header.cards if card.keyword not in table.header and card.keyword[:2] != "TF")
        table.header.extend(kept)
        table.header["TLMIN4"] = 1
        fits.HDUList([fits.PrimaryHDU(), table, hdus["EBOUNDS"].copy()]).writeto("past.rmf")
    return sum(start + length - 1 > 60 for start, length in zip(first, n, strict=True))


def test_matrix_elements_past_the_last_channel_are_left_out(
    engine: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    assert past_the_end(5) == 4
    with caplog.at_level(logging.WARNING, "xspec_sixsa"):
        found = statistic(engine, "two.pha", "past.rmf")
    assert found == pytest.approx(statistic(engine), rel=SAME)
    if hasattr(engine, "evaluate_batch"):
        assert "20 matrix elements are past the last channel, 60" in caplog.text


@only_embedded
def test_several_matrices_are_summed_as_newer_releases_do(engine: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    for name, factor in (("double.rmf", 1.0), ("other.rmf", 1.01)):
        with fits.open("small.rmf") as one, fits.open("small.rmf") as two:
            two["MATRIX"].data["ENERG_LO"] *= factor
            fits.HDUList([fits.PrimaryHDU(), one["EBOUNDS"], one["MATRIX"], two["MATRIX"]]).writeto(name)
    caplog.set_level(logging.INFO, "xspec_sixsa")
    single = read_rmf("small.rmf").matrix.toarray()
    np.testing.assert_array_equal(read_rmf("double.rmf").matrix.toarray(), 2 * single)
    assert "2 MATRIX extensions are summed" in caplog.text
    np.testing.assert_array_equal(read_rmf("double.rmf[3]").matrix.toarray(), single)
    with pytest.raises(XspecError, match="do not lie within each other"):
        read_rmf("other.rmf")


@only_embedded
def test_a_matrix_of_wider_energy_bins_is_spread_over_those_of_the_first(engine: ModuleType) -> None:
    """As XRISM's: OGIP's CAL/GEN/92-002 has the wider bins made of whole smaller ones."""
    small = read_rmf("small.rmf")
    n = small.energy_lo.size
    edges = small.edges[np.unique([0, *range(3, n, 4), n])]  # 3, 4, 4, ... of the first's bins in one
    columns = np.random.default_rng(1).random((small.detchans, edges.size - 1)).astype("f4").astype(float)
    write_rmf("wide.rmf", replace(small, energy_lo=edges[:-1], energy_hi=edges[1:], matrix=csr_array(columns)))
    with fits.open("small.rmf") as one, fits.open("wide.rmf") as two:
        fits.HDUList([fits.PrimaryHDU(), one["MATRIX"], two["MATRIX"], one["EBOUNDS"]]).writeto("split.rmf")
    flux = np.random.default_rng(2).random(n)
    wide = np.add.reduceat(flux, np.flatnonzero(np.isin(small.edges[:-1], edges[:-1])))
    np.testing.assert_allclose(read_rmf("split.rmf").matrix @ flux, small.matrix @ flux + columns @ wide, rtol=1e-12)


def type_two() -> np.ndarray:
    """Write ``rows.pha``, three spectra of their own exposures and area scales; returns their counts."""
    with fits.open("two.pha") as hdus:
        old = hdus["SPECTRUM"]
        n, counts = len(old.data), np.array([k * old.data["COUNTS"] for k in (1, 2, 3)])
        columns = [
            fits.Column("SPEC_NUM", "I", array=[1, 2, 3]),
            fits.Column("CHANNEL", f"{n}I", array=np.tile(old.data["CHANNEL"], (3, 1))),
            fits.Column("COUNTS", f"{n}J", array=counts),
            fits.Column("EXPOSURE", "D", array=[700.0, 1400.0, 3500.0]),
            fits.Column("ANCRFILE", "20A", array=["small.arf", "small.arf", "none"]),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
        kept = (card for card in old.header.cards if card.keyword not in table.header and card.keyword[:2] != "TT")
        table.header.extend(card for card in kept if card.keyword[:5] not in ("TFORM", "TLMIN", "TLMAX", "EXPOS"))
        table.header.update({"HDUCLAS4": "TYPE:II", "TLMIN2": 1})
        fits.HDUList([fits.PrimaryHDU(), table]).writeto("rows.pha")
    return counts


@only_embedded
def test_a_row_of_a_type_two_file_is_the_spectrum_of_its_own_numbers(engine: ModuleType) -> None:
    counts = type_two()
    for row, exposure in ((1, 700.0), (2, 1400.0), (3, 3500.0)):
        engine.AllData.clear()
        engine.AllData(f"rows.pha{{{row}}}")
        spectrum = engine.AllData(1)
        assert spectrum.exposure == exposure and spectrum.response.has_arf == (row < 3)
        np.testing.assert_allclose(spectrum.counts, counts[row - 1])
    assert statistic(engine, "rows.pha{1}") == pytest.approx(statistic(engine), rel=SAME)
    wrong = {"rows.pha": "which row is not said", "rows.pha{4}": "no row 4", "two.pha{1}": "one spectrum"}
    for name, said in wrong.items():
        with pytest.raises(XspecError, match=said):
            engine.AllData(name)


@pytest.mark.parametrize("nothing", [None, "", "none"])
@only_embedded
def test_files_given_to_a_spectrum_replace_those_of_its_header(engine: ModuleType, nothing: Any) -> None:
    """As PyXspec's manual says of newer releases: None or blank removes, USE_DEFAULT leaves."""
    default = engine.Spectrum("one.pha", "USE_DEFAULT", respFile="USE_DEFAULT")
    assert default.background.fileName == "bkg.pha" and default.response.arf == "small.arf"
    assert not engine.Spectrum("one.pha", backFile=nothing).has_background
    assert not engine.Spectrum("one.pha", respFile=nothing).has_response
    without = engine.Spectrum("one.pha", arfFile=nothing)
    assert without.has_response and not without.response.has_arf and without.has_background
    # a response of its own comes without the header's area, as in XSPEC where one is set
    other = engine.Spectrum("one.pha", respFile="small.rmf")
    assert other.response.rmf == "small.rmf" and not other.response.has_arf
