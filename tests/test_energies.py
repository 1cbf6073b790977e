"""`energies`: models on ranges, on a file's energies, beyond the response; as in XSPEC, and what cannot be."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tiny_ogip import make_arf, make_pha, make_rmf

from xspec_sixsa import embedded
from xspec_sixsa.embedded.energies import rebinning
from xspec_sixsa.embedded.evaluate import evaluate_components
from xspec_sixsa.embedded.ogip import write_arf, write_pha, write_rmf
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.session import Session

FILE = "# mine\n.1\n1.0\n\n10.   # now linear\n15.\n20.\n25.\n"
COMMANDS: list[tuple[str, ...]] = [
    (",50,,log",), (",,,,100. 5 lin",), (",,,,200.",), ("1.,,100",), ("mine.txt",), ("extend", "high,70.,200,log"),
    ("extend", ",75.,,lin"), ("extend", "low .01"), (".3 8 10 lin",), ("extend", "high 20 3"), ("reset",),
    (".1 10. 2 log  25. 3 lin",), (".1 10. 2 log  25.",), ("1 2 3 log 4",), ("0.95,2.05,5,LIN",), ("",),
    ("0 10 100 lin",),
]  # fmt: skip
"""From XSPEC's manual and about it; each takes what it leaves out from those before it."""
EDGES = {
    ".1 10. 2 log 25. 3 lin": [0.1, 1.0, 10.0, 15.0, 20.0, 25.0],
    "mine.txt": [0.1, 1.0, 10.0, 15.0, 20.0, 25.0],
    "1,,3": [1.0, 4.0, 7.0, 10.0],
}


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_engine: None) -> Iterator[None]:
    write_rmf(tmp_path / "tiny.rmf", make_rmf())
    write_arf(tmp_path / "tiny.arf", make_arf())
    write_pha(tmp_path / "plain.pha", make_pha())
    (tmp_path / "mine.txt").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    session.ranges, session.last_extension = (), None
    load(embedded)
    yield
    embedded.AllModels.setEnergies("reset")


def load(xspec: ModuleType) -> None:
    xspec.Xset.chatter, xspec.Xset.allowPrompting = 0, False
    xspec.AllModels.clear()
    xspec.AllData.clear()
    xspec.AllData("plain.pha")
    xspec.Model("powerlaw+gaussian", setPars=(1.7, 1.0, 3.0, 0.3, 1.0))


@pytest.mark.parametrize("command", EDGES)
def test_models_are_evaluated_on_the_energies_that_are_set(command: str) -> None:
    model = embedded.AllModels(1)
    own = model.energies(1)
    embedded.AllModels.setEnergies(command)
    assert model.energies(1) == pytest.approx(EDGES[command])
    assert len(model.values(1)) == len(EDGES[command]) - 1
    embedded.AllData.clear()
    assert embedded.AllModels(1).energies(0) == pytest.approx(EDGES[command])
    load(embedded)
    embedded.AllModels.setEnergies("reset")
    assert embedded.AllModels(1).energies(1) == own


def test_a_response_gets_the_share_of_each_bin_that_lies_in_its_own() -> None:
    share = rebinning(np.array([0.0, 2.0, 3.0, 7.0]), np.array([1.0, 2.0, 4.0, 6.0])).toarray()
    assert share == pytest.approx(np.array([[0.5, 0, 0], [0, 1, 0.25], [0, 0, 0.5]]))
    # photons below the response's bins are as good as unknown: XSPEC leaves the bin out
    assert rebinning(np.array([1.5, 2.0]), np.array([1.0, 2.0, 3.0])).nnz == 1
    assert rebinning(np.array([1.5, 2.0]), np.array([1.0, 2.0, 3.0])).sum() == 0.0


def test_a_fine_grid_gives_what_the_response_has_and_components_add_up() -> None:
    model = embedded.AllModels(1)
    own = np.array(model.folded(1))
    embedded.AllModels.setEnergies("0.3 8.3 8000 lin")
    assert np.array(model.folded(1)) == pytest.approx(own, rel=1e-9)
    parts = evaluate_components()
    assert sum(part[0][0].numpy() for part in parts.values()) == pytest.approx(own, rel=1e-9)
    embedded.AllModels.calcFlux("2 6")
    assert embedded.AllData(1).flux[3] == pytest.approx(1.0 + 1.0 / 0.7 * (2**-0.7 - 6**-0.7), rel=1e-3)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("2 1 5 lin", "from 2 to 1 keV is no range"), ("0 1 5 log", "is no range .log"), ("-1 1 5 lin", "is no range"),
        ("1 2 0 lin", "0 bins"), ("1 2 1.5 lin", "1.5 bins"), ("1 2 x lin", "'x' is not a number"),
        ("1 2 3 li", "li. For"), ("1 2 3 log 1.5 4 lin", "from 2 to 1.5"), ("nofile.txt", "cannot be read"),
        ("bad.txt", "line 3: '2'"), ("one.txt", "1 energies"),
        ("extend up,3", "'up'"), ("extend high,-3", "above 0 keV"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_changes_nothing(command: str, message: str) -> None:
    Path("bad.txt").write_text("1\n3\n2\n")
    Path("one.txt").write_text("1\n")
    embedded.AllModels.setEnergies("1 5 4 lin")
    word, _, rest = command.partition(" ")
    with pytest.raises(XspecError, match=message):
        embedded.AllModels.setEnergies(*((word, rest) if word == "extend" else (command,)))
    assert embedded.AllModels(1).energies(1) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_energies_that_no_response_has_are_refused_by_name() -> None:
    embedded.AllModels.setEnergies("20 30 5 lin")
    with pytest.raises(XspecError, match="nothing in common.*energies reset"):
        embedded.AllModels(1).folded(1)


def test_sessions_keep_energies_also_those_of_a_file() -> None:
    statistic = embedded.Fit.statistic
    embedded.AllModels.setEnergies("mine.txt")
    coarse = embedded.Fit.statistic
    assert coarse != pytest.approx(statistic, rel=1e-3)
    embedded.Xset.save("mine.xcm")
    embedded.AllModels.setEnergies("reset")
    Path("mine.txt").rename("elsewhere.txt")
    embedded.Xset.restore("mine.xcm")
    assert embedded.Fit.statistic == pytest.approx(coarse, rel=1e-12)
    Path("sub").mkdir()
    Path("elsewhere.txt").rename("sub/mine.txt")
    Path("sub/hand.xcm").write_text("energies reset\nenergies mine.txt\n")  # beside the session file
    embedded.Xset.restore("sub/hand.xcm")
    assert embedded.Fit.statistic == pytest.approx(coarse, rel=1e-12)
    Path("hand.xcm").write_text("energies nowhere.txt\n")
    with pytest.raises(XspecError, match=r"line 1, `energies nowhere.txt`: there is no file nowhere.txt"):
        embedded.Xset.restore("hand.xcm")


def test_a_run_is_not_resumed_with_other_energies() -> None:
    before = Session(embedded).fingerprint()
    embedded.AllModels.setEnergies("mine.txt")
    assert Session(embedded).fingerprint() != before
    embedded.AllModels.setEnergies("reset")
    assert Session(embedded).fingerprint() == before


@pytest.mark.xspec
def test_all_is_as_in_real_xspec() -> None:
    real = importlib.import_module("xspec")
    load(real)
    found = []
    for xspec in (real, embedded):
        for command in COMMANDS:
            xspec.AllModels.setEnergies(*command)
            model = xspec.AllModels(1)
            found.append((np.array(model.energies(1), dtype=float), np.array(model.folded(1))))
        xspec.AllModels.setEnergies("reset")
    real.AllModels.clear()
    real.AllData.clear()
    n = len(COMMANDS)
    for command, theirs, ours in zip(COMMANDS, found[:n], found[n:], strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, err_msg=str(command))  # XSPEC gives ten digits
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, err_msg=str(command))
