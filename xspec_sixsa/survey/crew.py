"""Forked processes that each do a share of a survey's spectra, and ask their parent for every evaluation.

Only the parent evaluates, counts and keeps a checkpoint; what a spectrum's inference does beside (populations, covers,
densities, files) its own process does. Answers do not depend on how many processes there are.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.cores import keep_to_one_core
from xspec_sixsa.infer.sharedcurves import CurveLibrary
from xspec_sixsa.survey.member import Member, Plan
from xspec_sixsa.survey.template import Observed

__all__ = ["Crew", "Failure"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]


class Failure(str):
    """Why a spectrum could not go on: what its member raised."""


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
    """

    def __init__(
        self,
        plan: Plan,
        observed: Sequence[Observed],
        library: CurveLibrary,
        evaluate: Callable[[Points, str], NDArray[np.floating]],
        workers: int,
    ) -> None:
        self._services: dict[str, Callable[..., Any]] = {"curves": library.curves, "evaluate": evaluate}
        self._workers: list[tuple[Connection, Any, list[int]]] = []
        context = multiprocessing.get_context("fork")
        n = min(max(workers, 1), len(observed))
        for w in range(n):
            numbers = list(range(w, len(observed), n))
            ours, theirs = context.Pipe()
            others = [connection for connection, _, _ in self._workers]
            share = {k: observed[k] for k in numbers}
            arguments = (theirs, [*others, ours], plan, share, library)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._workers.append((ours, process, numbers))

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: Any) -> None:
        for connection, process, _numbers in self._workers:
            connection.close()  # what it waits for ends with it
            process.join(5.0)
            if process.is_alive():
                process.kill()
                process.join()

    def ask(self, question: str, by_member: Mapping[int, tuple[Any, ...]], *common: Any) -> dict[int, Any]:
        """Have members answer: the name of a method of `Member`, its arguments by member, and those for all.

        Returns
        -------
        dict of int to object
            Answers by member's number; a `Failure` where it raised.
        """
        waiting = []
        for connection, process, members in self._workers:
            mine = {k: by_member[k] for k in members if k in by_member}
            if mine:
                connection.send((question, mine, common))
                waiting.append((connection, process))
        answers: dict[int, Any] = {}
        for connection, process in waiting:
            try:
                while True:
                    kind, content = connection.recv()
                    if kind == "answers":
                        answers |= content
                        break
                    connection.send(self._services[kind](*content))
            except EOFError:
                process.join()
                raise RuntimeError(
                    f"A process of the survey died (exit code {process.exitcode}): memory ran out, or it was killed. "
                    "What is finished is kept: go on with resume=True (--resume), with fewer workers."
                ) from None
        return answers


def _work(
    connection: Connection, others: list[Connection], plan: Plan, share: dict[int, Observed], library: CurveLibrary
) -> None:
    keep_to_one_core()
    logging.getLogger("xspec_sixsa").setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it closes the pipe
    for other in others:
        other.close()  # else a pipe would stay open that the parent has closed

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
    os._exit(0)  # no clean-up of the copy: it holds XSPEC's and the parent's open files
