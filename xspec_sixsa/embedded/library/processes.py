"""The processes that evaluate library models: started when first needed, one a core, and replaced when one dies.

They are fresh processes rather than forks. A fork would have what this process has loaded, which may be a real XSPEC
with other libraries of the same names.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

import xspec_sixsa
from xspec_sixsa.common.cores import available_cores
from xspec_sixsa.embedded.library.request import Request
from xspec_sixsa.embedded.state import XspecError

__all__ = ["Processes"]

LARGEST_CHUNK = 64
ROOT = Path(xspec_sixsa.__file__).resolve().parents[1]


class _Process:
    """One child."""

    def __init__(self, library: Path, data: str) -> None:
        self.data = data
        self._printed = tempfile.TemporaryFile()
        self.connection, theirs = multiprocessing.Pipe()
        command = [sys.executable, "-m", "xspec_sixsa.embedded.library.child", str(theirs.fileno())]
        self.popen = subprocess.Popen(
            command,
            env=_environment(library, data),
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._printed,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def wait(self) -> None:
        """Return when the library is loaded; raise XspecError where it cannot be."""
        try:
            self.connection.recv()
        except (EOFError, OSError):
            status, text = self.end()
            raise XspecError(
                f"XSPEC's compiled models cannot be loaded; their process ended with status {status} after printing:\n"
                f"{text}\nTo go on with the engine's own models alone: pip uninstall xspectrampoline."
            ) from None

    def end(self) -> tuple[int, str]:
        """Stop it, and return how it ended and what it had printed last."""
        self.connection.close()
        try:
            status = self.popen.wait(0.2)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            status = self.popen.wait()
        self._printed.seek(0)
        text = self._printed.read().decode("utf-8", "replace").strip()
        self._printed.close()
        return status, text


class Processes:
    """Children with the library loaded.

    Parameters
    ----------
    library : Path
        Folder of the library.
    """

    def __init__(self, library: Path) -> None:
        self._library = library
        self._idle: list[_Process] = []
        self._owner = os.getpid()
        weakref.finalize(self, _end_all, self._owner, self._idle)

    @property
    def pids(self) -> list[int]:
        """Process numbers of the idle children."""
        return [process.popen.pid for process in self._idle]

    def evaluate(self, request: Request) -> tuple[np.ndarray, list[str]]:
        """Evaluate one model at several parameter sets.

        Returns
        -------
        spectra : ndarray (n, nE)
            NaN where a child died or hung.
        reasons : list of str
            Why a spectrum cannot be trusted, empty where it can.
        """
        if os.getpid() != self._owner:
            # in a fork of the process that started them, their answers would reach both
            self._owner, self._idle = os.getpid(), []
            weakref.finalize(self, _end_all, self._owner, self._idle)
        if any(process.data != request.setting.data for process in self._idle):
            self.close()
        n, cores = len(request.parameters), available_cores()
        spectra, reasons = np.full((n, len(request.edges) - 1), np.nan), ["not evaluated"] * n
        chunk = int(np.clip(-(-n // (2 * cores)), 1, LARGEST_CHUNK))
        waiting = deque(np.arange(start, min(start + chunk, n)) for start in range(0, n, chunk))
        busy: dict[Any, tuple[_Process, np.ndarray]] = {}
        self._start(min(len(waiting), cores), request.setting.data)
        try:
            while waiting or busy:
                while waiting and len(busy) < cores:
                    self._start(1, request.setting.data)
                    process, rows = self._idle.pop(), waiting.popleft()
                    busy[process.connection] = process, rows
                    with contextlib.suppress(OSError):  # a dead one shows below
                        process.connection.send(request.part(rows))
                for connection in multiprocessing.connection.wait(list(busy)):
                    process, rows = busy.pop(connection)
                    try:
                        spectra[rows], found = process.connection.recv()
                    except (EOFError, OSError):
                        ending = _ending(*process.end(), request.time_limit)
                        if len(rows) > 1:  # which of them was it?
                            waiting.extend(np.split(rows, len(rows)))
                        else:
                            reasons[rows[0]] = ending
                        continue
                    for row, reason in zip(rows, found, strict=True):
                        reasons[row] = reason
                    self._idle.append(process)
        except BaseException:
            # after Ctrl-C they are somewhere in the middle: they cannot be used again
            _end_all(self._owner, [process for process, _ in busy.values()])
            raise
        return spectra, reasons

    def _start(self, wanted: int, data: str) -> None:
        """Have as many children idle as are wanted; new ones load the library side by side."""
        fresh = [_Process(self._library, data) for _ in range(wanted - len(self._idle))]
        while fresh:
            process = fresh.pop()
            try:
                process.wait()
            except BaseException:
                _end_all(self._owner, fresh)
                raise
            self._idle.append(process)

    def close(self) -> None:
        """End the children; new ones are started when needed."""
        _end_all(self._owner, self._idle)


def _end_all(owner: int, processes: list[_Process]) -> None:
    if os.getpid() == owner:
        while processes:
            processes.pop().end()


def _ending(status: int, text: str, time_limit: float) -> str:
    if status == -signal.SIGALRM:
        return f"no answer within {time_limit:g} s: the model was stopped"
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"its process {how}" + (f" after printing: {text}" if text else "")


def _environment(library: Path, data: str) -> dict[str, str]:
    """Return an environment in which the library finds itself, its models' data, and no other HEASoft's libraries."""
    environment = dict(os.environ)
    other = environment.get("HEADAS", "")
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if other and name in environment:
            # headas-init.sh writes the folder as it is, or as its links resolve
            paths = [path for path in environment[name].split(":") if not _within(path, other)]
            environment[name] = ":".join(paths)
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    # some models put their file's name right behind the folder's
    own = {"HEADAS": str(library), "XSPEC_MDATA_DIR": f"{data}/", "GFORTRAN_UNBUFFERED_ALL": "1", "PYTHONPATH": path}
    return environment | own


def _within(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder))
