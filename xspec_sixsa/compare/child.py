"""Run a function in a forked copy of this process: whatever it does to XSPEC stays there."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.session.settings import interrupt_waits, interruptible

__all__ = ["in_child"]

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 0.2
"""Seconds between looks whether Ctrl-C was heard by another thread."""


def in_child(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call `function` in a forked process, which inherits the XSPEC session whole, and return what it returns.

    The session here is not touched, not even by a crash or Ctrl-C. What libraries print there is lost; standard error
    stays.

    Raises
    ------
    Exception
        What the function raised.
    RuntimeError
        When the process died.
    """
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sending, function, args, options))
    with interruptible():  # XSPEC hears Ctrl-C below Python
        try:
            with interrupt_waits():  # Ctrl-C during the start strikes here, where the process is ended
                process.start()
            sending.close()
            while not receiving.poll(PATIENCE):
                pass
            ok, answer = receiving.recv()
        except EOFError:
            process.join()
            raise RuntimeError(
                f"The process of the other method died (exit code {process.exitcode}): the model crashed it, or memory "
                "ran out. The session here is as it was."
            ) from None
        except KeyboardInterrupt:
            if process.pid is not None:
                process.kill()
            raise
        finally:
            sending.close()
            receiving.close()
            if process.pid is not None:
                process.join()
    if ok:
        return answer
    raise answer


def _work(sending: Connection, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's waits for its start to be over
    sys.stdout.flush()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        # a fork has no threads of the parent's pools, and would wait for them for ever
        with one_thread():
            answer = True, function(*args, **options)
    except BaseException as error:
        log.debug("in the child: %s", traceback.format_exc())
        answer = False, error
    try:
        sending.send(answer)
    except Exception:  # an exception that cannot be pickled
        sending.send((False, RuntimeError(f"{type(answer[1]).__name__}: {answer[1]}")))
    with contextlib.suppress(Exception):
        sending.close()
    # no clean-up of the copy: it holds XSPEC's and the parent's open files
    os._exit(0)
