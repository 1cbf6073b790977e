"""A process of one of our modules that answers through a pipe."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from multiprocessing import Pipe
from typing import Any

__all__ = ["Served"]


class Served:
    """``python -m MODULE DESCRIPTOR``, which ends with its pipe, and with this object.

    Parameters
    ----------
    module : str
        It takes the pipe's file descriptor as its argument.
    """

    def __init__(self, module: str) -> None:
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", module, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

    def tell(self, pickled: bytes) -> None:
        """Send what is pickled already; nothing is answered."""
        self._connection.send_bytes(pickled)

    def ask(self, question: Any) -> Any:
        """What it answers.

        Raises
        ------
        RuntimeError
            Where it has died.
        """
        try:
            self._connection.send(question)
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
