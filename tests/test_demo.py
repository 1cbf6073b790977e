"""The main job, end to end, as the README's first command runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xspec_sixsa.interfaces.demo import TRUTH
from xspec_sixsa.result import Result
from xspec_sixsa.result.chainfile import read_chain

ROOT = Path(__file__).resolve().parents[1]
# The README's table of what a run leaves; `checkpoint` is there only while there is something to resume.
FILES = {
    "summary.json", "posterior.npz", "predictive.npz", "rounds.npz", "chain.fits", "corner.png", "predictive.png",
    "rounds.png", "session.xcm", "priors.toml",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "ess"),
    [
        (["--target-ess", "200", "--compressor", "pca"], 200),
        ([], 1000),
    ],
    ids=["quick", "as it is"],
)
@pytest.mark.slow  # `.ci/release` runs the demo from the wheel
def test_demo_is_reliable_and_recovers_the_truth(options: list[str], ess: int, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "xspec_sixsa.interfaces.cli", "demo", "--quiet", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("RELIABLE")
    assert "All true parameters are recovered." in run.stdout
    folder = tmp_path / "sixsa_demo" / "run"
    assert FILES <= {p.name for p in folder.iterdir()}
    assert [p.name for p in tmp_path.iterdir()] == ["sixsa_demo"]  # nothing is left beside the output
    result = Result.load(folder)
    assert result.names == list(TRUTH) and result.ess >= ess
    assert sum(result.evaluations.values()) <= 20000
    chain = read_chain(folder / "chain.fits")
    assert chain.names == result.names and chain.units == result.units == ["10^22", "keV", "", "", ""]
