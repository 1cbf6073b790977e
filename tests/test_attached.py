"""What XSPEC only prints is refused: files that it could not use, commands that it did not take."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from live import fresh

from xspec_sixsa.embedded.ogip import ARF, write_arf
from xspec_sixsa.session import Session
from xspec_sixsa.session.restore import restore_session

MODEL = "model powerlaw\n 2 0.01 -3 -2 9 10\n 0.01 0.01 0 0 1e20 1e24\n"
REAL = pytest.param("xspec", marks=pytest.mark.xspec)
only_real = pytest.mark.parametrize("engine", [REAL], indirect=True)


@pytest.fixture(params=["xspec_sixsa.embedded", REAL])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    edges = np.geomspace(0.2, 11.0, 80)
    write_arf(tmp_path / "other.arf", ARF("other", edges[:-1], edges[1:], np.full(79, 300.0)))
    yield from fresh(request.param, tmp_path)


def with_keys(source: str, **keys: str) -> str:
    """A copy of a spectrum with other keywords in its header."""
    name = f"{'_'.join(keys).lower()}_{source}"
    shutil.copy(source, name)
    with fits.open(name, mode="update") as hdus:
        hdus[1].header.update(keys)
    return name


def restored(engine: ModuleType, text: str) -> None:
    Path("session.xcm").write_text(text)
    restore_session(engine, Path("session.xcm"), Path.cwd())


@pytest.mark.parametrize(
    ("source", "keyword", "name", "why"),
    [
        ("two.pha", "RESPFILE", "gone.rmf", "no such file"),
        ("two.pha", "ANCRFILE", "gone.arf", "no such file"),
        ("two.pha", "ANCRFILE", "other.arf", "79 energy bins"),
        ("one.pha", "BACKFILE", "gone.pha", "no such file"),
    ],
)
@only_real
def test_a_file_that_a_header_names_and_xspec_could_not_use_is_refused(
    engine: ModuleType, source: str, keyword: str, name: str, why: str
) -> None:
    spectrum = with_keys(source, **{keyword: name})
    with pytest.raises(ValueError, match=f"(?s){spectrum}.*{name}.*{why}"):
        restored(engine, f"data {spectrum}\n{MODEL}")
    # the live session, which XSPEC has left as it is
    with pytest.raises(ValueError, match=f"(?s){spectrum}.*{name}.*{why}"):
        Session(engine, workers=1)


def test_a_header_that_says_none_asks_for_nothing(engine: ModuleType) -> None:
    restored(engine, f"data {with_keys('one.pha', BACKFILE='none', ANCRFILE='NONE')}\n{MODEL}")
    assert Session(engine, workers=1).names == ["PhoIndex__1", "norm__2"]


def test_files_taken_away_on_purpose_are_not_missed(engine: ModuleType) -> None:
    engine.AllData("one.pha")
    engine.AllData(1).background = None
    engine.AllData(1).response.arf = None
    engine.Model("powerlaw")
    assert Session(engine, workers=1).n_free == 2


@only_real
def test_another_file_than_the_headers_missing_one_is_taken(engine: ModuleType) -> None:
    restored(engine, f"data {with_keys('two.pha', ANCRFILE='gone.arf')}\narf 1 small.arf\n{MODEL}")
    assert engine.AllData(1).response.arf == "small.arf"


@only_real
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("arf 1 other.arf", "other.arf.*79 energy bins, and the response 150.*small.arf"),
        ("response 1 gone.rmf", "gone.rmf.*no such file.*small.rmf"),
        ("backgrnd 1 gone.pha", "gone.pha.*no such file"),
        ("newpar 1 77", r"77 is outside hard range -3 - 10 \(line 7: newpar 1 77\)"),
        ("newpar 2 = 5", "no valid parameters"),
        ("freeze 9", r"cannot be restored.*Range value 9"),
        ("data 2:2 nothing.pha", "cannot read spectrum file nothing.pha"),
    ],
)
def test_a_command_that_xspec_did_not_take_is_named(engine: ModuleType, line: str, said: str) -> None:
    of_data = line.split()[0] in ("arf", "response", "backgrnd", "data")
    text = "\n".join(["statistic cstat", "data two.pha", *([line, MODEL] if of_data else [MODEL, line])])
    with pytest.raises(ValueError, match=f"(?s){said}"):
        restored(engine, text)


def test_a_session_without_fault_is_restored_in_silence(engine: ModuleType) -> None:
    restored(engine, f"statistic cstat\ndata 1:1 one.pha 2:2 two.pha\n{MODEL}/*\nfreeze 1\n")
    assert Session(engine, workers=1).n_free == 1


def test_a_spectrum_without_response_is_named_as_the_cause(engine: ModuleType) -> None:
    engine.AllData(with_keys("two.pha", RESPFILE="none", ANCRFILE="none"))
    engine.Model("powerlaw")
    with pytest.raises(ValueError, match=r"Spectrum 1 \(.*two.pha\) has no response and its header names none"):
        Session(engine, workers=1)


@pytest.mark.parametrize("word", ["REDIST", "DETECTOR"])
def test_a_redistribution_matrix_without_arf_is_warned_of(
    engine: ModuleType, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    with fits.open("small.rmf", mode="update") as hdus:
        hdus["MATRIX"].header["HDUCLAS3"] = word
    engine.AllData(with_keys("two.pha", ANCRFILE="none"))
    engine.Model("powerlaw")
    with caplog.at_level(logging.WARNING, "xspec_sixsa.session"):
        Session(engine, workers=1)
    assert (
        "has no ARF" in caplog.text
        and "MATRIX extensions" not in caplog.text
        and "small.rmf is a redistribution matrix" in caplog.text
    )


@only_real
def test_an_older_xspec_is_said_to_fold_with_the_first_of_several_matrices(
    engine: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    if tuple(int(part) for part in engine.Xset.version[1].split(".")[:2]) >= (12, 11):
        pytest.skip("this XSPEC sums them")
    with fits.open("small.rmf") as one, fits.open("small.rmf") as two:
        fits.HDUList([fits.PrimaryHDU(), one["MATRIX"], two["MATRIX"], one["EBOUNDS"]]).writeto("double.rmf")
    counts = []
    for name in ("small.rmf", "double.rmf"):
        engine.AllData(with_keys("two.pha", RESPFILE=name))
        engine.Model("powerlaw")
        with caplog.at_level(logging.WARNING, "xspec_sixsa.session"):
            counts.append(Session(engine, workers=1).evaluate([[1.7, 1e-3]], "a").counts)
    np.testing.assert_array_equal(*counts)
    assert "double.rmf has 2 MATRIX extensions" in caplog.text and "small.rmf has" not in caplog.text
