"""The example scripts as a user runs them: on XSPEC where it is, else on the embedded engine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from live import QUICK

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PYTHON_EXAMPLES = {path.stem for path in EXAMPLES.glob("*.py")}
# the scripts are run as they are but for less to compute: what is there once, and what takes its place
LESS = f'compressor="pca", settings={QUICK})'
CHANGES = {
    "pyxspec_fit": ('output="run1")', f'output="run1", {LESS}'),
    "pyxspec_method": ('output="run2")', f'output="run2", {LESS}'),
    "bxa_after": ('output="run_sixsa")', f'output="run_sixsa", {LESS}'),
}
# `bxa_before.py` imports xspec itself: the alias must stand there before, as docs/pyxspec.md says
WITH_ENGINE = "import runpy, sys; from xspec_sixsa.embedded import install; install(); runpy.run_path(sys.argv[1])"


@pytest.fixture(scope="module")
def evidences() -> dict[str, tuple[float, float]]:
    return {}


def run(name: str, shared_data: Path, folder: Path) -> str:
    for path in (shared_data / "chandra_3c273").iterdir():
        shutil.copyfile(path, folder / path.name)
    text, (old, new) = (EXAMPLES / f"{name}.py").read_text(), CHANGES.get(name, ("", ""))
    assert not old or text.count(old) == 1
    script = str(folder / f"{name}.py")
    Path(script).write_text(text.replace(old, new) if old else text)
    real = bool(os.environ.get("HEADAS"))
    command = [script] if real or name != "bxa_before" else ["-c", WITH_ENGINE, script]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300, cwd=folder,
                          env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def evidence(output: str) -> tuple[float, float]:
    found = re.search(r"log (?:evidence|Z)\s+(-[\d.]+)\s+\+-\s+([\d.]+)", output)
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("name", ["pyxspec_fit", pytest.param("pyxspec_method", marks=pytest.mark.slow)])
def test_pyxspec_examples(name: str, shared_data: Path, tmp_path: Path, evidences: dict) -> None:
    output = run(name, shared_data, tmp_path)
    assert "Errors calculated from chains" in output
    assert "reliable" in output.lower() and "unreliable" not in output.lower()
    assert next(tmp_path.glob("run*/chain.fits")).exists()
    evidences[name] = evidence(output)


@pytest.mark.slow
def test_both_ways_in_give_the_same_for_the_same_seed(evidences: dict) -> None:
    if len(evidences) < 2:
        pytest.skip("the examples did not run")
    # printed with two decimals in one of them
    assert evidences["pyxspec_fit"] == pytest.approx(evidences["pyxspec_method"], abs=0.006)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("bxa") is None, reason="BXA is not installed: pip install bxa")
def test_moving_from_bxa_keeps_the_answer(shared_data: Path, tmp_path: Path) -> None:
    found = {}
    for name in ("bxa_before", "bxa_after"):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = evidence(run(name, shared_data, folder))
    (before, error), (after, own) = found["bxa_before"], found["bxa_after"]
    assert abs(before - after) < 4 * (error**2 + own**2) ** 0.5  # both errors are standard deviations


def test_moving_from_bxa_changes_few_lines() -> None:
    before, after = ((EXAMPLES / f"bxa_{when}.py").read_text().partition('"""\n')[2] for when in ("before", "after"))
    changed = [line for line in before.splitlines() if line and line not in after]
    assert len(changed) <= 5, changed


def test_every_example_is_run_here() -> None:
    assert PYTHON_EXAMPLES == {"pyxspec_fit", "pyxspec_method", "bxa_before", "bxa_after"}
