"""Faults of the machine: full disks, lost folders, two runs in one, no home, time that is over, kills at any time."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import small_session
import test_run as run_tests
from test_run import OPTIONS, load, priors

import xspec_sixsa as sixsa
import xspec_sixsa.embedded as xspec
from xspec_sixsa.common.deadline import Stopped, ends_on_sigterm, interrupted_after
from xspec_sixsa.session import Session
from xspec_sixsa.session.settings import interrupt_waits

__all__ = ["priors"]  # the fixture
SCRIPT = run_tests.SCRIPT.format(tests=str(Path(__file__).parent))
long_test = pytest.mark.skipif("SIXSA_LONG_TESTS" not in os.environ, reason="takes minutes: set SIXSA_LONG_TESTS")


def test_a_full_disk_ends_the_run_in_words_and_it_goes_on_later(
    priors: list[sixsa.Prior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a limit on the size of files is as good as a full disk: the next batch does not fit
    evaluate, soft = Session.evaluate, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills_up(self: Session, theta: np.ndarray, stage: str) -> object:
        if stage.startswith("search"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, soft[1]))
        return evaluate(self, theta, stage)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "evaluate", fills_up)
        try:
            with pytest.raises(OSError, match=r"run could not be written .* go on with resume=True") as full:
                sixsa.fit(priors, xspec=xspec, output="run", **OPTIONS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert full.value.errno == errno.EFBIG
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoint").glob("*"))
    assert "batch_00001.npz" in kept and not any(name.startswith(".") for name in kept)


def test_a_folder_that_is_removed_and_a_second_run_in_it(
    priors: list[sixsa.Prior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Session.evaluate
    second = "from xspec_sixsa.run.folder import prepare; prepare('run', {}, resume=False, clobber=True)"
    said = []

    def disturbed(self: Session, theta: np.ndarray, stage: str) -> object:
        if stage.startswith("search") and not said:
            env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            ended = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=False, env=env)
            said.append(ended.stderr)
            shutil.rmtree(tmp_path / "run")
        return evaluate(self, theta, stage)

    monkeypatch.setattr(Session, "evaluate", disturbed)
    with pytest.raises(FileNotFoundError, match="run was removed while the run was going on"):
        sixsa.fit(priors, xspec=xspec, output="run", **OPTIONS)
    assert f"Another run (process {os.getpid()}) is going on in {tmp_path / 'run'}" in said[0], said


def test_a_time_limit_ends_the_run_with_what_it_has(
    priors: list[sixsa.Prior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate = Session.evaluate

    def slow(self: Session, theta: np.ndarray, stage: str) -> object:
        if stage.startswith("search"):
            signal.setitimer(signal.ITIMER_REAL, 0.2)  # what is left of an hour
            time.sleep(60)
        return evaluate(self, theta, stage)

    monkeypatch.setattr(Session, "evaluate", slow)
    began = time.monotonic()
    result = sixsa.fit(priors, xspec=xspec, output="run", polish=False, time_limit=3600, **OPTIONS)
    assert time.monotonic() - began < 60
    assert result.status == "unreliable"
    assert re.fullmatch(r"interrupted by the time limit of 3600 s after \d+ evaluations", result.reasons[0])
    assert re.search(
        r"Stopped by the time limit of 3600 s after \d+ evaluations: .* kept in run; .*--resume", caplog.text
    )
    assert list((tmp_path / "run" / "checkpoint").glob("batch_*.npz")) and (tmp_path / "run" / "summary.json").is_file()


@pytest.mark.parametrize("stage", ["round 1", "polish"])
def test_what_is_kept_of_a_run_that_cannot_return_is_said(
    priors: list[sixsa.Prior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Before the run has a folder, and when its posterior is there already."""
    evaluate = Session.evaluate

    def stopped(self: Session, theta: np.ndarray, now: str) -> object:
        if now == stage:
            raise Stopped("SIGTERM", signal.SIGTERM)
        return evaluate(self, theta, now)

    monkeypatch.setattr(Session, "evaluate", stopped)
    kept = "nothing is kept" if stage == "round 1" else "what was evaluated is kept in run, and resume=True"
    with pytest.raises(Stopped, match=f"^Stopped by SIGTERM: {kept}") as stop:
        sixsa.fit(priors, xspec=xspec, output="run", **OPTIONS)
    assert stop.value.signum == signal.SIGTERM and isinstance(stop.value, KeyboardInterrupt)


def test_the_shell_says_what_ended_a_run(tmp_path: Path) -> None:
    code = "import os, signal, time; from xspec_sixsa.interfaces import cli; cli.check_session = lambda *_, **__: "
    code += "(os.kill(os.getpid(), signal.SIGTERM), time.sleep(9)); cli.main(['check', 'session.xcm'])"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert (ended.returncode, ended.stderr) == (143, "Stopped by SIGTERM (a batch queue's time limit, or `kill`).\n")


def test_sigterm_during_a_fork_strikes_after_it() -> None:
    ends_on_sigterm()
    try:
        with contextlib.ExitStack() as block:
            block.enter_context(interrupt_waits())
            signal.raise_signal(signal.SIGTERM)  # a Stopped here would end the test
            with pytest.raises(Stopped, match="SIGTERM"):
                block.close()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_time_limit_strikes_once_and_puts_the_alarm_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(Stopped, match=r"the time limit of 0\.05 s"), interrupted_after(0.05):
        time.sleep(5)
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with interrupted_after(5):
        pass
    with pytest.raises(ValueError, match="no time"), interrupted_after(0):
        pass


def test_neither_home_nor_display_nor_stdout_is_needed(tmp_path: Path) -> None:
    small_session.write_fixed_spectra(tmp_path)
    (tmp_path / "s.xcm").write_text("statistic cstat\ndata two.pha\nmodel powerlaw & 2 & 0.01\n")
    (tmp_path / "p.toml").write_text('["norm__2"]\nkind = "loguniform"\nlow = 1e-3\nhigh = 0.1\n')
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    options = (
        "--priors p.toml --engine embedded --draws 20 --seed 1"  # one seed of seven draws 20 that do not reach the data
    )
    command = f"{sys.executable} -m xspec_sixsa.interfaces.cli check s.xcm {options}"
    ended = subprocess.run(["/bin/sh", "-c", f"exec {command} >&- 2>&- <&-"], cwd=tmp_path, env=env, check=False)
    assert ended.returncode == 0
    assert (tmp_path / "sixsa_check" / "reach.png").is_file()


def uninterrupted(folder: Path) -> sixsa.Result:
    small_session.fake_spectra(xspec, folder)
    return sixsa.fit(load(), xspec=xspec, output="whole", **OPTIONS)


@long_test
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_at_twenty_random_times_it_resumes_to_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, rng = uninterrupted(tmp_path), np.random.default_rng(int(number))
    imports = "import signal, sys\nfrom xspec_sixsa.common.deadline import ends_on_sigterm\n"
    # a runner in the background ignores SIGINT, and its children with it
    listens = "ends_on_sigterm()\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nsixsa.fit("
    script = SCRIPT.replace("import sys\n", imports, 1).replace("sixsa.fit(", listens)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script.replace('"run"', '"timed"')], cwd=tmp_path, check=True)
    length = time.monotonic() - began
    early = 0
    for k in range(20):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(length * rng.uniform(0.2, 0.95))
        process.send_signal(number)
        process.wait(timeout=600)
        summary = tmp_path / "run" / "summary.json"
        early += not summary.is_file() or json.loads(summary.read_text())["status"] == "unreliable"
        begun = (tmp_path / "run" / "checkpoint" / "run.json").is_file()
        resumed = sixsa.fit(load(), xspec=xspec, output="run", resume=begun, clobber=not begun, **OPTIONS)
        assert np.array_equal(resumed.samples, whole.samples) and resumed.log_z == whole.log_z, k
    assert early > 5  # of the times that were drawn, most are before the result


@long_test
def test_a_hundred_fits_in_one_process_grow_nothing(priors: list[sixsa.Prior], tmp_path: Path) -> None:
    def held() -> tuple[int, int, int]:
        gc.collect()
        statm = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return statm, len(os.listdir("/proc/self/fd")), len(children)

    after = []
    for k in range(100):
        sixsa.fit(load(), xspec=xspec, output=tmp_path / f"run{k}", **OPTIONS)
        after.append(held())
        shutil.rmtree(tmp_path / f"run{k}")
    memory, descriptors, children = np.array(after).T
    assert descriptors[-1] <= descriptors[4] and children[-1] <= children[4]
    # MB: a run's draws and spectra are 20
    assert memory[-1] - memory[9] < 100, memory
