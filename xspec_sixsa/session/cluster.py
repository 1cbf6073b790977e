"""Dask workers that evaluate for a session, on other machines or on this one.

The session is written down (`saved`), and each worker that gets parameter sets makes it again from that, in a process
of its own (`remote`), which stays for the next ones. Parameter sets of a worker that is lost go to others; a crash or a
hang of a model costs one evaluation, as in this machine's own workers.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.session.saved import SavedSession
from xspec_sixsa.session.served import Served

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Cluster", "Copy", "evaluate_here"]

log = logging.getLogger(__name__)

Rows = tuple[np.ndarray, np.ndarray, list[str]]

TIMEOUT = 30  # seconds for a scheduler to answer
RETRIES = 2  # of a task whose process died, beside those of lost workers, which Dask counts
TASKS = 4  # for each thread of the cluster, so that none is idle for long while another ends
LARGEST = 64  # rows of a task


class Cluster:
    """A Dask cluster.

    Parameters
    ----------
    dask : str or distributed.Client
        A scheduler's address (``"tcp://10.0.0.1:8786"``), its file (``"scheduler.json"``), or a client.

    Raises
    ------
    ImportError
        Where Dask is not installed.
    ValueError
        Where no scheduler answers.
    """

    def __init__(self, dask: str | os.PathLike[str] | Client) -> None:
        try:
            import distributed
        except ImportError as error:
            raise ImportError(
                f"Dask is asked for and cannot be imported ({error}): pip install 'xspec_sixsa[dask]', here and where "
                "the workers run."
            ) from error
        self._given: Client | None = None
        self._where: dict[str, Any]
        if isinstance(dask, distributed.Client):
            self._given, self._owner = dask, os.getpid()
            self._where = {"address": dask.scheduler_info()["address"], "security": dask.security}
        else:
            text = os.fspath(dask)
            self._where = {"scheduler_file" if text.endswith(".json") else "address": text}
        self._client: tuple[int, Client] | None = None

    def connect(self) -> Client:
        """The client of this process: a fork has none of its parent's threads."""
        from distributed import Client

        if self._given is not None and self._owner == os.getpid():
            return self._given
        if self._client is None or self._client[0] != os.getpid():
            where = str(self._where.get("address", self._where.get("scheduler_file")))
            try:
                client = Client(**self._where, timeout=TIMEOUT, set_as_default=False)
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"No Dask scheduler answers at {where} ({error}). Start one (`dask scheduler`, and `dask worker` "
                    "where models are to be evaluated), or correct the address."
                ) from error
            self._client = os.getpid(), client
            workers = client.nthreads()
            log.info("Dask: %d workers with %d threads at %s", len(workers), sum(workers.values()), where)
            if not workers:
                log.warning("No Dask worker is there yet: evaluations wait for the first one.")
        return self._client[1]

    def close(self) -> None:
        """Part from the scheduler, where the client is ours."""
        if self._client is not None and self._client[0] == os.getpid():
            self._client[1].close()
        self._client = None

    def slots(self) -> list[str]:
        """Addresses of the workers that are there, each as often as it has threads."""
        return [address for address, n in sorted(self.connect().nthreads().items()) for _ in range(n)]

    @staticmethod
    def packed(what: Any) -> bytes:
        """Pickled, functions of the user's own by value: `pickle.loads` reads it where Dask is installed."""
        from distributed.protocol.pickle import dumps

        return bytes(dumps(what))

    def evaluate(self, saved: SavedSession, theta: np.ndarray) -> Rows:
        """Evaluate parameter sets (n, d) inside the limits; as `Backend.evaluate`.

        Raises
        ------
        RuntimeError
            Where workers cannot make the session again, each that tried was lost, or the scheduler is gone.
        """
        from distributed import as_completed

        client = self.connect()
        futures: list[Future] = []
        try:
            share = -(-len(theta) // (TASKS * max(sum(client.nthreads().values()), 1)))
            n = int(np.clip(share, 1, LARGEST))
            if saved.engine == "embedded":
                from xspec_sixsa.embedded.compiled import ROWS

                n = -(-n // ROWS) * ROWS  # the sums of a whole batch, to the last bit
            parts = [theta[start : start + n] for start in range(0, len(theta), n)]
            futures = client.map(evaluate_here, parts, saved=saved, pure=False, retries=RETRIES)
            number = {future.key: k for k, future in enumerate(futures)}
            answers: list[Rows] = [(np.empty(0), np.empty(0), [])] * len(parts)
            for future, answer in as_completed(futures, loop=client.loop, with_results=True):
                if future.cancelled():
                    raise ConnectionError("the scheduler is gone, or has cancelled what was asked")
                if isinstance(answer, str):
                    raise ValueError(
                        f"a worker cannot make the session again: {answer}. It must find the data under the same "
                        "names, and run the same XSPEC (source headas-init.sh before `dask worker`)"
                    )
                answers[number[future.key]] = answer
        except BaseException as error:
            if futures:
                client.cancel(futures)
            if not isinstance(error, Exception):  # Ctrl-C
                raise
            raise RuntimeError(
                f"Dask could not evaluate ({type(error).__name__}): {error}. Workers need the same xspec_sixsa and "
                "engine as here, memory, and a scheduler that stays. What is evaluated is kept in the output folder: "
                "go on with resume=True (--resume)."
            ) from error
        counts, statistic, reasons = zip(*answers, strict=True)
        return np.concatenate(counts), np.concatenate(statistic), [reason for part in reasons for reason in part]


class Copy(Served):
    """A process with the session made again; ended when this object is.

    Parameters
    ----------
    saved : SavedSession

    Attributes
    ----------
    complaint : str
        What is wrong with it; empty where it can be used.
    """

    def __init__(self, saved: SavedSession) -> None:
        super().__init__("xspec_sixsa.session.remote")
        self.key = saved.key
        self.complaint: str = self.ask(saved)

    def evaluate(self, theta: np.ndarray) -> Rows:
        """As `Backend.evaluate`."""
        answer: Rows = self.ask(theta)
        return answer


_idle: list[Copy] = []
_lock = threading.Lock()


def evaluate_here(theta: np.ndarray, saved: SavedSession) -> Rows | str:
    """What a Dask worker does: parameter sets evaluated by a copy of the session, or why there is none."""
    copy = _take(saved)
    if copy.complaint:
        copy.close()
        return copy.complaint
    answer = copy.evaluate(theta)
    with _lock:
        _idle.append(copy)
    return answer


def _take(saved: SavedSession) -> Copy:
    """An idle copy of the session, or a new one: one for each of the worker's threads; idle ones of others end."""
    key = saved.key
    with _lock:
        fitting = [copy for copy in _idle if copy.key == key]
        others = [copy for copy in _idle if copy.key != key]
        _idle[:] = fitting[1:]
    for copy in others:
        copy.close()
    return fitting[0] if fitting else Copy(saved)
