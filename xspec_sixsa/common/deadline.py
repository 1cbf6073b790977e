"""A time after which what is going on ends as Ctrl-C would end it: batch queues kill without asking."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["interrupted_after"]


@contextlib.contextmanager
def interrupted_after(seconds: float | None) -> Iterator[None]:
    """Raise KeyboardInterrupt inside the block when the time is over; None sets no limit.

    Raises
    ------
    ValueError
        For a time that is not positive, or outside the main thread, where Python delivers no signals.
    """
    if seconds is None:
        yield
        return
    if not seconds > 0:
        raise ValueError(f"A time limit of {seconds:g} s leaves no time: give seconds above zero.")
    if threading.current_thread() is not threading.main_thread():
        raise ValueError("A time limit works in Python's main thread only: leave it out here.")
    owner = os.getpid()

    def over(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:  # a child has alarms of its own
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
