"""A Dask worker's share of a survey's spectra, as an actor of the cluster that hands messages on to a process.

As for `session.remote`, a worker's threads share too much (torch's random numbers, logging) to do the work themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from multiprocessing import Pipe
from typing import Any

__all__ = ["Slot"]


class Slot:
    """The process, as an actor of the cluster.

    Parameters
    ----------
    setup : bytes
        The survey's folder and what `crew.work` is to have, pickled.
    """

    def __init__(self, setup: bytes) -> None:
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", "xspec_sixsa.survey.remote", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._connection.send_bytes(setup)

    async def exchange(self, message: Any) -> Any:
        """Send a message, and give what is answered; others of the worker's processes go on meanwhile."""
        return await asyncio.to_thread(self._exchange, message)

    def _exchange(self, message: Any) -> Any:
        try:
            self._connection.send(message)
            return self._connection.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise RuntimeError(f"its process died (exit code {self._process.returncode})") from error

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    __del__ = close  # where the other side is gone before it has had the actor
