"""Persistent forked processes that evaluate parameter sets, and outlive none of their own deaths.

A process forked after the session is set up inherits it whole. Results come back through memory shared with the
parent, row by row, so that a worker that dies or hangs costs exactly the evaluation it was at: the rows before it are
there, the rows after it go to another worker. Children never use torch, read no terminal and print nothing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import mmap
import multiprocessing.connection
import os
import signal
import sys
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xspec_sixsa.session.settings import interrupt_waits

__all__ = ["WorkerPool"]

log = logging.getLogger(__name__)

Function = Callable[[np.ndarray], tuple[np.ndarray, float, str]]

LARGEST_CHUNK = 64
REASON_BYTES = 240
SHARED_BYTES = 32 << 20
"""Bound on one worker's shared memory, which bounds its chunk."""
GRACE_S = 2.0
"""The worker's own alarm rings first; the parent kills it this much later if the alarm did not."""

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class _Worker:
    """The parent's side of one child."""

    def __init__(
        self, pid: int, connection: multiprocessing.connection.Connection, block: np.ndarray, done: np.ndarray
    ) -> None:
        self.pid, self.connection, self.block, self.done = pid, connection, block, done
        self.rows: np.ndarray | None = None
        self.seen, self.since = 0, 0.0


class WorkerPool:
    """Forked workers for one function.

    Parameters
    ----------
    function : callable
        ``theta (d,) -> (counts (n_bins,), statistic, reason)``; an empty reason means success. It runs in the children,
        with everything the parent had when the pool was started.
    n_bins : int
    workers : int
        Number of processes.
    time_limit : float, default 300
        Seconds that one evaluation may take.
    """

    def __init__(self, function: Function, n_bins: int, workers: int, time_limit: float = 300.0) -> None:
        self._function, self._n_bins, self.time_limit = function, n_bins, float(time_limit)
        self._dtype = np.dtype(
            [("counts", np.float64, (n_bins,)), ("statistic", np.float64), ("reason", f"S{REASON_BYTES}")]
        )
        self._capacity = int(np.clip(SHARED_BYTES // self._dtype.itemsize, 1, LARGEST_CHUNK))
        self._owner = os.getpid()
        self._workers: list[_Worker] = []
        self.n_workers = max(1, int(workers))
        _pools.add(self)
        weakref.finalize(self, _kill, self._owner, self._workers)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process numbers of the living workers."""
        return [worker.pid for worker in self._workers]

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Evaluate a batch.

        Parameters
        ----------
        theta : array (n, d)

        Returns
        -------
        counts : ndarray (n, n_bins)
            NaN where a worker died or hung.
        statistic : ndarray (n,)
        reasons : list of str
            Why a row failed, empty where it did not.
        """
        n = len(theta)
        counts, statistic = np.full((n, self._n_bins), np.nan), np.full(n, np.nan)
        reasons = ["not evaluated"] * n
        if n == 0:
            return counts, statistic, reasons
        chunk = int(np.clip(-(-n // (4 * self.n_workers)), 1, self._capacity))
        waiting = deque(np.arange(start, min(start + chunk, n)) for start in range(0, n, chunk))
        busy: dict[Any, _Worker] = {}  # by connection: `wait` gives them back as what they need not be
        try:
            while waiting or busy:
                while len(self._workers) < min(self.n_workers, len(waiting) + len(busy)):
                    self._fork()
                for worker in self._workers:
                    if waiting and worker.rows is None:
                        rows = waiting.popleft()
                        if self._send(worker, theta, rows):
                            busy[worker.connection] = worker
                        else:
                            # it died while idle, and nothing of ours was lost
                            waiting.appendleft(rows)
                            self._drop(worker)
                            break
                if not busy:
                    continue
                ready = multiprocessing.connection.wait(list(busy), timeout=self._patience(busy.values()))
                for connection in ready:
                    worker = busy.pop(connection)
                    finished = False
                    with contextlib.suppress(EOFError, OSError):
                        finished = bool(worker.connection.recv_bytes())
                    rest = self._collect(worker, counts, statistic, reasons, None if finished else self._cause(worker))
                    if len(rest):
                        waiting.appendleft(rest)
                for connection, worker in list(busy.items()):
                    if self._stuck(worker):
                        del busy[connection]
                        _end(worker.pid)
                        why = f"no answer within {self.time_limit:g} s: the worker was stopped"
                        rest = self._collect(worker, counts, statistic, reasons, why)
                        self._drop(worker)
                        if len(rest):
                            waiting.appendleft(rest)
        except BaseException:
            # after Ctrl-C the children are somewhere in the middle: they cannot be used again
            self.close()
            raise
        return counts, statistic, reasons

    def close(self) -> None:
        """End all workers; a pool can be used again afterwards, with new ones."""
        for worker in list(self._workers):
            _end(worker.pid)
            self._drop(worker, reap=False)

    # ------------------------------------------------------------------------------------------------- the parent

    def _fork(self) -> None:
        ours, theirs = multiprocessing.connection.Pipe()
        size = self._capacity * self._dtype.itemsize
        memory = mmap.mmap(-1, size + 8)
        block = np.frombuffer(memory, self._dtype, self._capacity)
        done = np.frombuffer(memory, np.int64, 1, offset=size)
        sys.stdout.flush()
        sys.stderr.flush()
        with interrupt_waits(), warnings.catch_warnings():
            # Python 3.12 warns of threads (torch's): the child uses none of them, and no torch
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:
                _child(self, ours, theirs, block, done)
            theirs.close()
            self._workers.append(_Worker(pid, ours, block, done))

    def _send(self, worker: _Worker, theta: np.ndarray, rows: np.ndarray) -> bool:
        worker.done[0] = 0
        try:
            worker.connection.send((self.time_limit, np.ascontiguousarray(theta[rows], dtype=np.float64)))
        except OSError:
            return False
        worker.rows, worker.seen, worker.since = rows, 0, time.monotonic()
        return True

    def _patience(self, busy: Iterable[_Worker]) -> float:
        """Seconds until some worker could be stuck."""
        first = min(worker.since for worker in busy)
        return float(np.clip(first + self.time_limit + GRACE_S - time.monotonic(), 0.01, 60.0))

    def _stuck(self, worker: _Worker) -> bool:
        now = time.monotonic()
        if worker.done[0] != worker.seen:
            worker.seen, worker.since = int(worker.done[0]), now
        return now - worker.since > self.time_limit + GRACE_S

    def _cause(self, worker: _Worker) -> str:
        """Reap a worker that went away, and say what ended it."""
        self._drop(worker, reap=False)
        _, status = _wait(worker.pid)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGALRM:
                return f"no answer within {self.time_limit:g} s: the worker was stopped"
            return f"the worker was killed by {signal.Signals(number).name} while the model was computed"
        return f"the worker exited with status {os.WEXITSTATUS(status)} while the model was computed"

    def _collect(
        self, worker: _Worker, counts: np.ndarray, statistic: np.ndarray, reasons: list[str], cause: str | None
    ) -> np.ndarray:
        """Take over a worker's finished rows; return those to be done again elsewhere."""
        rows, worker.rows = worker.rows, None
        assert rows is not None
        k = len(rows) if cause is None else min(int(worker.done[0]), len(rows))
        finished = worker.block[:k]
        counts[rows[:k]], statistic[rows[:k]] = finished["counts"], finished["statistic"]
        for row, reason in zip(rows[:k], finished["reason"], strict=True):
            reasons[row] = reason.decode("utf-8", "replace")
        if cause is None or k == len(rows):
            return rows[:0]
        reasons[rows[k]] = cause
        log.debug("worker %d: %s", worker.pid, cause)
        return rows[k + 1 :]

    def _drop(self, worker: _Worker, reap: bool = True) -> None:
        worker.connection.close()
        if worker in self._workers:
            self._workers.remove(worker)
        if reap:
            _end(worker.pid)


def _wait(pid: int) -> tuple[int, int]:
    try:
        return os.waitpid(pid, 0)
    except ChildProcessError:  # somebody else's handler has reaped it
        return pid, 0


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _wait(pid)


def _kill(owner: int, workers: list[_Worker]) -> None:
    """At garbage collection or the interpreter's end; a forked copy of the pool must not touch its siblings."""
    if os.getpid() == owner:
        for worker in workers:
            _end(worker.pid)
        workers.clear()


def _child(
    pool: WorkerPool,
    ours: multiprocessing.connection.Connection,
    theirs: multiprocessing.connection.Connection,
    block: np.ndarray,
    done: np.ndarray,
) -> None:
    """The worker's life; never returns."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # a model's crash is reported by the parent; a traceback of ours would only frighten
        faulthandler.disable()
        ours.close()
        # Other workers' pipes came along with the fork; held open here, they would hide the parent's end from them.
        for other in list(_pools):
            for worker in other._workers:
                worker.connection.close()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # Notebooks and test runners put streams of their own in these places.
        sys.stdout = sys.stderr = open(os.devnull, "w")
        while True:
            limit, theta = theirs.recv()
            for k, row in enumerate(theta):
                # The kernel ends a hanging model even when the parent is gone.
                signal.setitimer(signal.ITIMER_REAL, limit)
                try:
                    block[k] = _record(pool._function(row))
                except Exception as error:
                    block[k] = (np.nan, np.nan, f"{type(error).__name__}: {error}".encode()[:REASON_BYTES])
                done[0] = k + 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            theirs.send_bytes(b"1")
    except (EOFError, OSError):
        pass
    finally:
        # Neither the parent's exit handlers nor its buffers are ours to run or to flush.
        os._exit(0)


def _record(result: tuple[np.ndarray, float, str]) -> tuple[np.ndarray, float, bytes]:
    counts, statistic, reason = result
    return counts, statistic, reason.encode()[:REASON_BYTES]
