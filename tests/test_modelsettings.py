"""`abund file`, `xset mdatadir` and model strings reach our own components and XSPEC's, by Python and by script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import live
import numpy as np
import pytest
import torch

from xspec_sixsa.embedded.components import REGISTRY
from xspec_sixsa.embedded.components.crosssections import abundance
from xspec_sixsa.embedded.library.catalogue import library
from xspec_sixsa.embedded.state import EngineSession, XspecError, session
from xspec_sixsa.session import Session
from xspec_sixsa.session.restore import locate

needs_library = pytest.mark.skipif(
    library() is None, reason="xspectrampoline is not installed: pip install '.[models]'"
)
OXYGEN = 8


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from live.fresh("xspec_sixsa.embedded", tmp_path)
    session.model_strings, session.data_folder = {}, ""
    session.touch()


def write_abundances(path: Path, oxygen: float = 1.0) -> None:
    """Those of the table wilm, with `oxygen` times the oxygen."""
    table = abundance("wilm")
    numbers = [table.get(z, 0.0) * (oxygen if z == OXYGEN else 1.0) for z in range(1, 31)]
    path.write_text("\n".join(f"{number:.3e}" for number in numbers))


# ------------------------------------------------------------------------------------------------------ abundances


@pytest.mark.parametrize("expression", ["TBabs*powerlaw", "phabs*powerlaw", "zTBabs*powerlaw", "zphabs*powerlaw"])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_file_of_a_tables_numbers_gives_what_the_table_gives(
    engine: ModuleType, request: pytest.FixtureRequest, expression: str, compiled: bool
) -> None:
    if not compiled:
        request.getfixturevalue("without_library")
    write_abundances(Path("same.txt"))
    write_abundances(Path("more.txt"), oxygen=2.0)
    engine.AllData("two.pha")
    model = engine.Model(expression)
    folded = {}
    for abundances in ("wilm", "file same.txt", "file more.txt"):
        engine.Xset.abund = abundances
        folded[abundances] = np.array(model.folded(1))
    assert folded["file same.txt"] == pytest.approx(folded["wilm"], rel=2e-3)  # three digits
    assert engine.Xset.abund == "file"
    assert folded["file more.txt"].sum() < 0.95 * folded["wilm"].sum()


@needs_library
def test_compiled_models_take_the_file_and_leave_it(engine: ModuleType) -> None:
    write_abundances(Path("more.txt"), oxygen=2.0)
    sums = []
    model = engine.Model("vphabs*powerlaw")
    for abundances in ("wilm", "file more.txt", "wilm", "file more.txt"):
        engine.Xset.addModelString("abund", abundances)  # as PyXspec's, it is `xset`
        sums.append(sum(model.values(0)))
    assert sums[1] < 0.99 * sums[0] and sums[2:] == sums[:2]


def test_sessions_name_the_file_absolutely_and_runs_know_its_contents(engine: ModuleType, tmp_path: Path) -> None:
    write_abundances(Path("mine.txt"), oxygen=2.0)
    engine.AllData("two.pha")
    engine.Xset.abund = "file mine.txt"
    engine.Model("TBabs*powerlaw")
    statistic, before = engine.Fit.statistic, Session(engine).fingerprint()
    assert before["abund"].startswith("file mine.txt (")
    engine.Xset.save("saved.xcm")
    assert f"abund file {tmp_path}/mine.txt" in Path("saved.xcm").read_text()
    engine.Xset.abund = "angr"
    assert engine.Fit.statistic != statistic
    engine.Xset.restore("saved.xcm")
    assert engine.Fit.statistic == pytest.approx(statistic, rel=1e-12)
    Path("by_hand.xcm").write_text("xset abund file mine.txt\n")
    engine.Xset.abund = "angr"
    engine.Xset.restore("by_hand.xcm")
    assert engine.Fit.statistic == pytest.approx(statistic, rel=1e-12)
    run = Session(engine).save_xcm("run.xcm")
    Path("moved").mkdir()
    Path("mine.txt").rename("moved/mine.txt")
    found = locate(run, tmp_path / "moved")[1]
    assert found is not None and f"abund file {tmp_path}/moved/mine.txt" in found
    write_abundances(Path("mine.txt"), oxygen=3.0)
    engine.Xset.abund = "file mine.txt"
    assert Session(engine).fingerprint()["abund"] != before["abund"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"), ("1 2 3", "has 3 numbers: 30"), ("x " * 30, "numbers and no comments"),
        ("1 " * 9 + "-1 " + "0 " * 20, "element 10 is -1"),
    ],
)  # fmt: skip
def test_a_file_without_abundances_is_named(engine: ModuleType, content: str | None, message: str) -> None:
    if content is not None:
        Path("bad.txt").write_text(content)
    before = session.abund
    with pytest.raises(XspecError, match=f"bad.txt.*{message}"):
        engine.Xset.abund = "file bad.txt"
    Path("bad.xcm").write_text("abund file nowhere.txt\n")
    with pytest.raises(XspecError, match="there is no file nowhere.txt"):
        engine.Xset.restore("bad.xcm")
    with pytest.raises(XspecError, match="name is missing"):
        engine.Xset.abund = "file"
    assert session.abund == before


@pytest.mark.xspec
@pytest.mark.parametrize("expression", ["TBabs*powerlaw", "phabs*powerlaw"])
def test_real_xspec_takes_the_same_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_abundances(Path("more.txt"), oxygen=2.0)
    folded = []
    for name in ("xspec", "xspec_sixsa.embedded"):
        for xspec in live.fresh(name, tmp_path):
            xspec.AllData("two.pha")
            xspec.Xset.abund = "file more.txt"
            folded.append(np.array(xspec.Model(expression).folded(1)))
            run = Session(xspec).save_xcm(f"{name}.xcm")
            assert f"abund file {tmp_path}/more.txt" in run.read_text()
            xspec.Xset.abund = "wilm"
            # XSPEC 12.9.1 goes on to write the file's name
            assert "\nabund wilm\n" in Session(xspec).save_xcm(f"{name}.xcm").read_text()
    assert folded[1] == pytest.approx(folded[0], rel=1e-5)  # phabs sees energies in single precision


# --------------------------------------------------------------------------------------------------- model strings


@needs_library
@pytest.mark.parametrize(
    ("strings", "names"),
    [
        ({"POW_EMIN": "2", "POW_EMAX": "10"}, ["powerlaw", "zpowerlw", "cutoffpl", "bknpower", "bkn2pow"]),
        ({"LINECRITLEVEL": "0.1"}, ["gaussian", "zgauss", "lorentz"]),
        ({"TBABSVERSION": "1"}, ["TBabs", "zTBabs"]),
    ],
)
def test_model_strings_reach_components_of_our_own(
    engine: ModuleType, strings: dict[str, str], names: list[str]
) -> None:
    models, edges = library(), torch.from_numpy(np.geomspace(0.1, 50.0, 5001))
    assert models is not None
    for name, component in REGISTRY.items():
        assert (name in names) == bool(set(strings) & set(component.strings))
    for name in names:
        model = engine.Model(name if REGISTRY[name].kind == "add" else f"{name}*powerlaw")
        before = np.array(model.values(0))
        for key, value in strings.items():
            engine.Xset.addModelString(key, value)
        found = np.array(model.values(0))
        parameters = torch.tensor([[p.value for p in REGISTRY[name].parameters]], dtype=torch.float64)
        settings = EngineSession(abund="wilm", model_strings=strings)
        theirs = models.spectra(models.definitions[name], edges, parameters, settings)[0]
        if REGISTRY[name].kind == "mul":
            theirs = theirs * torch.diff(edges.log())
        assert found == pytest.approx(theirs.numpy(), rel=1e-9)
        engine.Xset.modelStrings = {}
        assert np.array_equal(np.array(model.values(0)), before)
        assert np.abs(found / np.maximum(before, 1e-300) - 1.0).max() > 1e-7


@needs_library
def test_model_strings_of_a_session_file_reach_them_too(engine: ModuleType) -> None:
    Path("strings.xcm").write_text("xset pow_emin 2\nxset POW_EMAX 10\n")
    engine.Xset.restore("strings.xcm")
    model = engine.Model("powerlaw")
    model.powerlaw.PhoIndex = 2.0
    engine.AllModels.calcFlux("2 10")
    # the norm is the flux then, in XSPEC's own units
    assert model.flux[0] == pytest.approx(1e-12, rel=1e-3)


def test_without_the_compiled_models_such_strings_are_refused(engine: ModuleType, without_library: None) -> None:
    with pytest.raises(XspecError, match="POW_EMIN is refused.*powerlaw.*pip install xspectrampoline"):
        engine.Xset.addModelString("pow_emin", "2")
    with pytest.raises(XspecError, match="LINECRITLEVEL is refused"):
        engine.Xset.modelStrings = {"LINECRITLEVEL": "0.1"}
    engine.Xset.addModelString("SOMETHING", "1")
    assert engine.Xset.modelStrings == (("SOMETHING", "1"),)


def test_what_is_an_attribute_is_no_model_string(engine: ModuleType) -> None:
    with pytest.raises(XspecError, match="weight is an attribute of Fit"):
        engine.Xset.addModelString("weight", "gehrels")


# ----------------------------------------------------------------------------------------------------- model data


@needs_library
def test_the_folder_of_data_is_taken_from_the_session(engine: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "data of mine"
    folder.mkdir()
    engine.Xset.addModelString("mdatadir", str(folder))
    with pytest.raises(XspecError, match=f"ari.mod.*not in {folder}"):
        engine.Model("laor")
    engine.Xset.save("data.xcm")
    engine.Xset.addModelString("mdatadir", "")
    assert session.data_folder == ""
    engine.Xset.restore("data.xcm")
    assert session.data_folder == str(folder)
    Path("gone.xcm").write_text("xset mdatadir nowhere\n")
    with pytest.raises(XspecError, match=r"line 1.*mdatadir.*no folder"):
        engine.Xset.restore("gone.xcm")
