"""The process that evaluates for another one's session: ``python -m xspec_sixsa.session.remote DESCRIPTOR``.

`cluster.Copy` starts it, on a machine of a Dask cluster, and talks to it through a pipe of that file descriptor: first
comes the `SavedSession`, and goes what is wrong with it (nothing: an empty text); then come parameter sets, and go what
they gave. It ends with the pipe. On real XSPEC a forked process of its own evaluates, so that a model that crashes or
hangs costs one evaluation.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from xspec_sixsa.common.cores import keep_to_one_core
from xspec_sixsa.session.engine import load_engine
from xspec_sixsa.session.fingerprint import difference, without_folders
from xspec_sixsa.session.restore import restore_session
from xspec_sixsa.session.saved import SavedSession, take_exact_values
from xspec_sixsa.session.session import Session
from xspec_sixsa.session.settings import Silence

__all__ = ["restored", "serve"]

SAME = 1e-7  # of the statistic: machines, and versions of a library, may round otherwise


def restored(saved: SavedSession) -> Session:
    """Make the session again in this process.

    Raises
    ------
    Exception
        Whatever keeps it from being the same.
    """
    module = load_engine(saved.engine)
    module.Xset.chatter, module.Xset.logChatter = 0, 0
    with tempfile.TemporaryDirectory(prefix="sixsa-") as folder:
        file = Path(folder) / "session.xcm"
        file.write_text(saved.text, encoding="utf-8")
        restore_session(module, file, Path(folder))
    with Silence(module):
        module.Fit.weight = saved.weight
        take_exact_values(module, saved.values)
        statistic = float(module.Fit.statistic)
    session = Session(module, workers=1, time_limit=saved.time_limit, commands=saved.text.splitlines())
    session.in_process = False
    changes = difference(without_folders(saved.fingerprint), without_folders(session.fingerprint()))
    if not changes and abs(statistic - saved.statistic) > SAME * max(1.0, abs(saved.statistic)):
        changes = [f"the statistic was {saved.statistic:.10g} and is {statistic:.10g} (another release of XSPEC?)"]
    if changes:
        raise ValueError(f"the copy is another session: {'; '.join(changes)}")
    return session


def serve(connection: Connection) -> None:
    """Answer until the other side is gone."""
    with contextlib.suppress(EOFError, OSError):
        try:
            session = restored(connection.recv())
        except Exception as error:  # PyXspec raises plain Exception
            connection.send(f"{type(error).__name__}: {error}")
            return
        with session:
            connection.send("")
            while True:
                connection.send(session.rows(connection.recv()))


if __name__ == "__main__":
    logging.getLogger("xspec_sixsa").setLevel(logging.ERROR)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # XSPEC prints there, too
    keep_to_one_core()
    serve(Connection(int(sys.argv[1])))
