"""XSPEC kept silent, unprompted and interruptible while we work, and every setting put back as it was."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import threading
from collections.abc import Iterator
from types import ModuleType, TracebackType
from typing import Any

__all__ = ["Silence", "interrupt_waits", "interruptible"]

log = logging.getLogger(__name__)

IGNORE = 1  # C's SIG_IGN: a Ctrl-C between the two handlers must not end the program


class Silence:
    """No output, no questions and no `bayes` term in the statistic inside the block; all as before after it.

    Also after an error or Ctrl-C. XSPEC's random generator, logs and plots are not touched. Parameter values are the
    session's affair.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine.
    """

    def __init__(self, module: ModuleType) -> None:
        self._wanted: list[tuple[Any, str, Any]] = [
            # first, so that the rest is silent; it is put back last
            (module.Xset, "chatter", 0),
            (module.Xset, "logChatter", 0),
            # a missing file would otherwise be asked for, for ever where there is no terminal
            (module.Xset, "allowPrompting", False),
            (module.Fit, "query", "no"),
            # it adds -2 ln prior to Fit.statistic, and the prior is in the unit cube already
            (module.Fit, "bayes", "off"),
        ]
        self._before: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Silence:
        try:
            for owner, name, value in self._wanted:
                old = getattr(owner, name)
                if old != value:
                    self._before.append((owner, name, old))
                    setattr(owner, name, value)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            owner, name, old = self._before.pop()
            try:
                setattr(owner, name, old)
            except Exception as error:  # the others must be put back all the same
                log.error("%s.%s could not be set back to %r: %s", type(owner).__name__, name, old, error)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt inside the block; after it the signal goes where it went before.

    XSPEC takes SIGINT over, below Python, when data are loaded: nothing in Python would hear it any more.
    """
    ours = signal.getsignal(signal.SIGINT)
    if ours is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    libc = ctypes.CDLL(None)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    theirs = libc.signal(signal.SIGINT, IGNORE)
    signal.signal(signal.SIGINT, ours)
    try:
        yield
    finally:
        libc.signal(signal.SIGINT, theirs)


@contextlib.contextmanager
def interrupt_waits() -> Iterator[None]:
    """Ctrl-C, SIGTERM and time limits strike after the block, in which we fork.

    Python runs functions then, and swallows what they raise.
    """
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    ours = {number: handler for number, handler in previous.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    struck: list[int] = []
    for number in ours:
        signal.signal(number, lambda number, _: struck.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if struck:
            signal.raise_signal(struck[0])
