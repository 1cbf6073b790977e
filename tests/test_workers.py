"""Worker processes: real ones, that crash, hang, raise and are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from xspec_sixsa.session.workers import WorkerPool

N_BINS = 3


def behaves(theta: np.ndarray) -> tuple[np.ndarray, float, str]:
    """Do what the second parameter says."""
    x, what = theta
    if what == 1:
        os._exit(7)
    elif what == 2:
        while True:
            time.sleep(60)
    elif what == 3:
        raise ValueError("Sérsic index 99 is out of range")
    elif what == 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == 5:
        return np.full(N_BINS, np.nan), np.nan, "the fit statistic is nan"
    elif what == 6:
        # a stopped process gets no alarm: only the parent can end this one
        os.kill(os.getpid(), signal.SIGSTOP)
    return x * np.arange(1, N_BINS + 1), x * x, ""


def batch(n: int, **wrong: int) -> np.ndarray:
    """Rows 0..n-1, all well but for ``row_3=1`` and the like."""
    theta = np.column_stack([np.linspace(0.1, 2.0, n), np.zeros(n)])
    for row, what in wrong.items():
        theta[int(row[4:]), 1] = what
    return theta


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def check_others(theta: np.ndarray, counts: np.ndarray, statistic: np.ndarray, reasons: list[str]) -> None:
    good = theta[:, 1] == 0
    assert [reason for reason, well in zip(reasons, good, strict=True) if well] == [""] * int(good.sum())
    # the same multiplications in another process: equal to the last bit
    np.testing.assert_array_equal(statistic[good], theta[good, 0] * theta[good, 0])
    np.testing.assert_array_equal(counts[good], theta[good, :1] * np.arange(1, N_BINS + 1))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 200])
def test_rows_come_back_in_order(workers: int, n: int) -> None:
    with WorkerPool(behaves, N_BINS, workers) as pool:
        theta = batch(n)
        for _ in range(2):
            check_others(theta, *pool.evaluate(theta))


@pytest.mark.parametrize(("what", "word"), [(1, "status 7"), (3, "Sérsic index 99"), (4, "SIGSEGV"), (5, "nan")])
def test_a_failing_evaluation_costs_only_itself(what: int, word: str) -> None:
    theta = batch(50, row_0=what, row_17=what, row_18=what, row_49=what)
    with WorkerPool(behaves, N_BINS, 2) as pool:
        counts, statistic, reasons = pool.evaluate(theta)
        check_others(theta, counts, statistic, reasons)
        for row in (0, 17, 18, 49):
            assert word in reasons[row]
            assert np.isnan(statistic[row])
        check_others(batch(5), *pool.evaluate(batch(5)))


def test_a_hanging_evaluation_is_stopped_after_the_time_limit() -> None:
    theta = batch(20, row_4=2, row_15=2)
    with WorkerPool(behaves, N_BINS, 2, time_limit=0.3) as pool:
        begin = time.monotonic()
        counts, statistic, reasons = pool.evaluate(theta)
        # at most both limits one after the other, and a second for a busy machine
        assert time.monotonic() - begin < 2 * 0.3 + 1.0
    check_others(theta, counts, statistic, reasons)
    assert "0.3 s" in reasons[4] and "0.3 s" in reasons[15]


def test_the_parent_ends_a_worker_that_ignores_its_alarm() -> None:
    theta = batch(6, row_2=6)
    with WorkerPool(behaves, N_BINS, 1, time_limit=0.2) as pool:
        counts, statistic, reasons = pool.evaluate(theta)
    check_others(theta, counts, statistic, reasons)
    assert "0.2 s" in reasons[2]


def test_a_worker_killed_while_idle_is_replaced() -> None:
    with WorkerPool(behaves, N_BINS, 2) as pool:
        pool.evaluate(batch(20))
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
        theta = batch(20)
        _counts, _statistic, reasons = pool.evaluate(theta)
        lost = [reason for reason in reasons if reason]
        # A task may have been sent before the death was noticed; then its first row is charged with it.
        assert len(lost) <= 2 and all("SIGKILL" in reason for reason in lost)


def test_close_leaves_no_process() -> None:
    pool = WorkerPool(behaves, N_BINS, 3)
    pool.evaluate(batch(30))
    pids = pool.pids
    assert len(pids) == 3 and all(map(alive, pids))
    pool.close()
    assert not any(map(alive, pids))
    check_others(batch(3), *pool.evaluate(batch(3)))
    pool.close()


CTRL_C = """
import os, signal, sys, threading
sys.path.insert(0, {tests!r})
import test_workers as t
signal.signal(signal.SIGINT, signal.default_int_handler)
pool = t.WorkerPool(t.behaves, t.N_BINS, 2)
strike = lambda: os.kill(os.getpid(), signal.SIGINT)
{when}
pids = pool.pids
try:
    pool.evaluate(t.batch(10, row_1=2, row_8=2))
except KeyboardInterrupt:
    sys.exit(0 if not any(map(t.alive, pids)) and pool.pids == [] else 3)
sys.exit(4)
"""


@pytest.mark.parametrize(
    "when",
    ["pool.evaluate(t.batch(10)); threading.Timer(0.3, strike).start()", "os.register_at_fork(after_in_parent=strike)"],
    ids=["at work", "while forking"],
)
def test_ctrl_c_ends_workers_and_the_wait(when: str) -> None:
    # in a process of its own: XSPEC, once loaded, takes the signal
    script = CTRL_C.format(tests=os.path.dirname(__file__), when=when)
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_a_worker_ends_when_its_parent_is_gone() -> None:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            first, second = WorkerPool(behaves, N_BINS, 2), WorkerPool(behaves, N_BINS, 1)
            first.evaluate(batch(20))
            second.evaluate(batch(20))
            os.write(writer, " ".join(map(str, first.pids + second.pids)).encode())
        finally:
            os._exit(0)
    os.waitpid(middle, 0)
    pids = [int(word) for word in os.read(reader, 200).split()]
    os.close(reader), os.close(writer)
    assert len(pids) == 3
    deadline = time.monotonic() + 10.0
    # Orphans belong to init: a zombie there would still answer, so look at what the process is doing.
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(running(pid) for pid in pids)


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return alive(pid) if not os.path.isdir("/proc/self") else False


def test_workers_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def loud(theta: np.ndarray) -> tuple[np.ndarray, float, str]:
        os.write(1, b"model says hello\n")
        print("and so does python", flush=True)
        return np.zeros(N_BINS), 0.0, ""

    with WorkerPool(loud, N_BINS, 1) as pool:
        pool.evaluate(batch(2))
    assert capfd.readouterr().out == ""
