"""A run's answers do not depend on the folder one stands in, nor on where run and data were moved to."""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from test_stale import table_file
from weighted import load_powerlaw, save_run

from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.session import Session
from xspec_sixsa.session.opened import open_run

ENGINES = ["embedded", pytest.param("xspec", marks=pytest.mark.xspec)]


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def xspec(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module("xspec" if name == "xspec" else "xspec_sixsa.embedded")
    yield module
    module.AllModels.clear()
    module.AllData.clear()


@pytest.fixture
def project(xspec: ModuleType, tmp_path: Path) -> Path:
    """``old/data`` with all files and ``old/runs/one``, a run on them."""
    data = tmp_path / "old" / "data"
    data.mkdir(parents=True)
    load_powerlaw(xspec, data)
    save_run(xspec, tmp_path / "old" / "runs" / "one")
    xspec.AllModels.clear()
    xspec.AllData.clear()
    return tmp_path / "old"


def flux(run: Path, engine: str, *options: object) -> str:
    """What `sixsa flux` prints, or its error."""
    words = ["flux", run, 1, 5, "--draws", 20, "--engine", engine, *options]
    ran = CliRunner().invoke(main, [str(word) for word in words])
    assert ran.exit_code in (0, 2), ran.output
    return ran.stdout or ran.stderr


def test_a_run_is_the_same_from_everywhere_and_moved(
    project: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "data")
    there = flux(project / "runs" / "one", name)
    assert "keV" in there
    monkeypatch.chdir("/")
    assert flux(project / "runs" / "one", name) == there
    # the whole project
    moved = tmp_path / "new" / "place"
    shutil.move(project, moved)
    assert flux(moved / "runs" / "one", name) == there
    assert str(moved / "data" / "two.pha") in (moved / "runs" / "one" / "session.xcm").read_text()
    # the data alone, to where nobody would look
    shutil.move(moved / "data", tmp_path / "archive")
    lost = flux(moved / "runs" / "one", name)
    assert "two.pha (data)" in lost and "--data DIR" in lost
    assert flux(moved / "runs" / "one", name, "--data", tmp_path / "archive") == there
    # which is known from then on
    assert flux(moved / "runs" / "one", name) == there


def test_other_files_of_the_same_names_are_refused(project: Path, name: str, tmp_path: Path) -> None:
    shutil.move(project / "data", tmp_path / "archive")
    with fits.open(tmp_path / "archive" / "small.arf", mode="update") as hdus:
        hdus["SPECRESP"].data["SPECRESP"] *= 1.1
    before = (project / "runs" / "one" / "session.xcm").read_text()
    with pytest.raises(ValueError, match=r"they are others: its best fit has the statistic .*--data DIR"):
        open_run(project / "runs" / "one", name, tmp_path / "archive")
    assert (project / "runs" / "one" / "session.xcm").read_text() == before
    with pytest.raises(NotADirectoryError, match="nowhere"):
        open_run(project / "runs" / "one", name, tmp_path / "nowhere")


def test_a_table_model_is_found_from_another_folder(
    xspec: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load_powerlaw(xspec, tmp_path)
    table_file("table.fits")
    model = xspec.Model("atable{table.fits}")
    for index in (1, 2, 3):
        model(index).frozen = True
    session = Session(xspec, workers=1)
    statistic = session.evaluate([[0.01]], "a").statistic
    (tmp_path / "run").mkdir()
    path = session.save_xcm(tmp_path / "run" / "session.xcm")
    assert f"atable{{{tmp_path}/table.fits}}" in path.read_text()
    xspec.AllModels.clear()
    xspec.AllData.clear()
    monkeypatch.chdir("/")
    xspec.Xset.restore(str(path))
    np.testing.assert_allclose(Session(xspec, workers=1).evaluate([[0.01]], "a").statistic, statistic, rtol=1e-6)


def test_a_session_moved_without_its_data_is_fitted_with_data(project: Path, tmp_path: Path) -> None:
    from xspec_sixsa.interfaces.batch import check_inputs

    session = project / "runs" / "one" / "session.xcm"
    shutil.move(project / "data", tmp_path / "archive")
    options = {"priors": None, "output": tmp_path / "out", "resume": False, "clobber": False}
    with pytest.raises(FileNotFoundError, match="--data DIR"):
        check_inputs(session, **options)
    _, text = check_inputs(session, **options, data=tmp_path / "archive")
    assert text is not None and str(tmp_path / "archive" / "two.pha") in text and "/old/data/" not in text
    logging.getLogger("xspec_sixsa").setLevel(logging.NOTSET)
