"""The process of a `slot.Slot`: ``python -m xspec_sixsa.survey.remote DESCRIPTOR``. It ends with its pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing.connection import Connection

from xspec_sixsa.survey.crew import work

__all__ = ["serve"]


def serve(connection: Connection) -> None:
    """Answer as a crew's hand, where the survey's folder is to be seen; else say that it is not."""
    with contextlib.suppress(EOFError, OSError):
        folder, plan, library = connection.recv()
        share = connection.recv()
        connection.recv()
        connection.send("" if folder.is_dir() else f"{os.uname().nodename} has no such folder")
        work(connection, plan, share, library)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
