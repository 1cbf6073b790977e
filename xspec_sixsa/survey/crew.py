"""Processes that each do a share of a survey's spectra, and ask their parent for every evaluation.

Only the parent evaluates, counts and keeps a checkpoint; what a spectrum's inference does beside (populations, covers,
densities, files) its own process does: a fork of this one, or a process of a Dask cluster's worker. Answers do not
depend on how many processes there are.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.cores import keep_to_one_core
from xspec_sixsa.infer.sharedcurves import CurveLibrary
from xspec_sixsa.session.cluster import Cluster
from xspec_sixsa.survey.member import Member, Plan
from xspec_sixsa.survey.slot import Slot
from xspec_sixsa.survey.template import Observed

if TYPE_CHECKING:
    from distributed import Actor, Client

__all__ = ["Crew", "Failure", "LostWorkerError", "work"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

LOOK = 2.0  # seconds of waiting for a Dask worker, after which it is looked for


class Failure(str):
    """Why a spectrum could not go on: what its member raised."""


class LostWorkerError(RuntimeError):
    """A Dask worker is gone, and what its members knew with it."""


class _Hand(Protocol):
    """A process that answers: what is sent to it, it answers by one message."""

    def send(self, message: Any) -> None: ...

    def recv(self) -> Any: ...

    def close(self) -> None: ...


class _Fork:
    """A fork of this process."""

    def __init__(self, others: Sequence[_Fork], *share: Any) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        ours = [*(other._connection for other in others), self._connection]
        self._process = context.Process(target=_forked, args=(theirs, ours, *share), daemon=True)
        self._process.start()
        theirs.close()
        self.send = self._connection.send

    def recv(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(
                f"A process of the survey died (exit code {self._process.exitcode}): memory ran out, or it was killed. "
                "What is finished is kept: go on with resume=True (--resume), with fewer workers."
            ) from None

    def close(self) -> None:
        self._connection.close()  # what it waits for ends with it
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _Remote:
    """A process of a Dask worker."""

    def __init__(self, client: Client, address: str, *setup: bytes) -> None:
        self._client, self._address = client, address
        self._future = client.submit(Slot, *setup, actor=True, workers=[address], pure=False)
        self._actor: Actor | None = None
        self._answer: Any = None

    def _asked(self, call: Callable[[float], Any]) -> Any:
        """What a call gives, which is asked again until then: Dask does not tell an actor's client that it is gone."""
        try:
            while True:
                try:
                    with self._client.as_current():  # else an actor takes the parent's, whose loop is not in a fork
                        return call(LOOK)
                except TimeoutError:
                    if self._address not in self._client.nthreads():
                        raise ConnectionError("the scheduler knows it no more") from None
        except Exception as error:
            raise LostWorkerError(f"The Dask worker {self._address} is lost ({error})") from error

    def send(self, message: Any) -> None:
        if self._actor is None:
            self._actor = self._asked(self._future.result)
        self._answer = self._actor.exchange(message)

    def recv(self) -> Any:
        return self._asked(self._answer.result)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it is gone already
            if self._actor is not None:
                self._actor.close().result(timeout=5.0)
            self._future.cancel()


class Crew:
    """The processes, and their members by number.

    Parameters
    ----------
    plan : Plan
    observed : sequence of Observed
    library : CurveLibrary
        As it is now; what members measure later is added to this one, too.
    evaluate : callable
        As for `Member`.
    workers : int
        Forks, without a cluster.
    folder : Path
        Of the survey: members write there.
    cluster : Cluster, optional
        One process for each of its workers' threads.

    Raises
    ------
    ValueError
        Where a worker of the cluster does not see the folder.
    LostWorkerError
        Here, and by `ask`.
    """

    def __init__(
        self,
        plan: Plan,
        observed: Sequence[Observed],
        library: CurveLibrary,
        evaluate: Callable[[Points, str], NDArray[np.floating]],
        workers: int,
        folder: Path,
        cluster: Cluster | None = None,
    ) -> None:
        self._services: dict[str, Callable[..., Any]] = {"curves": library.curves, "evaluate": evaluate}
        self._hands: list[tuple[_Hand, list[int]]] = []
        slots = [] if cluster is None else cluster.slots()
        n = min(len(slots) or max(workers, 1), len(observed))
        shares = [list(range(w, len(observed), n)) for w in range(n)]
        if cluster is None or not slots:
            forks: list[_Fork] = []
            for numbers in shares:
                forks.append(_Fork(forks, plan, {k: observed[k] for k in numbers}, library))
                self._hands.append((forks[-1], numbers))
            return
        common = cluster.packed((folder, plan, library))
        for address, numbers in zip(slots[:n], shares, strict=True):
            share = cluster.packed({k: observed[k] for k in numbers})
            self._hands.append((_Remote(cluster.connect(), address, common, share), numbers))
        try:
            self._welcome(folder)
        except BaseException:
            self.__exit__()
            raise

    def _welcome(self, folder: Path) -> None:
        for hand, _ in self._hands:
            hand.send("ready?")
        complaints = [complaint for complaint in (hand.recv() for hand, _ in self._hands) if complaint]
        if complaints:
            raise ValueError(
                f"A Dask worker does not see {folder} ({complaints[0]}), where a spectrum's own files go: give an "
                "output folder on a file system that all workers share."
            )

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: Any) -> None:
        for hand, _numbers in self._hands:
            hand.close()

    def ask(self, question: str, by_member: Mapping[int, tuple[Any, ...]], *common: Any) -> dict[int, Any]:
        """Have members answer: the name of a method of `Member`, its arguments by member, and those for all.

        Returns
        -------
        dict of int to object
            Answers by member's number; a `Failure` where it raised.
        """
        waiting = []
        for hand, members in self._hands:
            mine = {k: by_member[k] for k in members if k in by_member}
            if mine:
                hand.send((question, mine, common))
                waiting.append(hand)
        answers: dict[int, Any] = {}
        for hand in waiting:
            while True:
                kind, content = hand.recv()
                if kind == "answers":
                    answers |= content
                    break
                hand.send(self._services[kind](*content))
        return answers


def _forked(connection: Connection, others: list[Connection], *share: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it closes the pipe
    for other in others:
        other.close()  # else a pipe would stay open that the parent has closed
    work(connection, *share)
    os._exit(0)  # no clean-up of the copy: it holds XSPEC's and the parent's open files


def work(connection: Connection, plan: Plan, share: dict[int, Observed], library: CurveLibrary) -> None:
    """Answer what `Crew.ask` asks, until the other side is gone."""
    keep_to_one_core()
    logging.getLogger("xspec_sixsa").setLevel(logging.ERROR)

    def remote(kind: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            connection.send((kind, arguments))
            return connection.recv()

        return call

    library.measure = remote("curves")
    members = {k: Member(plan, observed, library, remote("evaluate")) for k, observed in share.items()}
    with contextlib.suppress(EOFError, OSError):
        while True:
            question, by_member, common = connection.recv()
            answers: dict[int, Any] = {}
            for k, arguments in by_member.items():
                try:
                    answers[k] = getattr(members[k], question)(*arguments, *common)
                except (EOFError, OSError, MemoryError):
                    raise
                except Exception as error:  # one spectrum's trouble is no other's
                    log.debug("%s: %s", share[k].entry.name, error, exc_info=True)
                    answers[k] = Failure(str(error) or type(error).__name__)
            connection.send(("answers", answers))
