"""What ends a run before its end: Ctrl-C, a batch queue's SIGTERM, a time limit; queues kill without asking."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Stopped", "ends_on_sigterm", "interrupted_after"]


class Stopped(KeyboardInterrupt):
    """A run was ended from outside, and everything ends as after Ctrl-C.

    Parameters
    ----------
    cause : str, default "Ctrl-C"
    signum : int, default SIGINT
        The signal that did it.
    kept : str, optional
        What became of the run, and how to go on.

    Attributes
    ----------
    cause : str
    signum : int
    """

    def __init__(self, cause: str = "Ctrl-C", signum: int = signal.SIGINT, kept: str = "") -> None:
        super().__init__(f"Stopped by {cause}{f': {kept}' if kept else ''}.")
        self.cause, self.signum = cause, int(signum)

    @classmethod
    def of(cls, stop: KeyboardInterrupt, kept: str = "") -> Stopped:
        """The same end with what is kept; one without a cause was Ctrl-C."""
        return cls(stop.cause, stop.signum, kept) if isinstance(stop, Stopped) else cls(kept=kept)


@contextlib.contextmanager
def interrupted_after(seconds: float | None) -> Iterator[None]:
    """Raise `Stopped` inside the block when the time is over; None sets no limit.

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
            raise Stopped(f"the time limit of {seconds:g} s", signum)

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ends_on_sigterm() -> None:
    """Let SIGTERM raise `Stopped` in this process from now on: what a run has is saved, and can be resumed."""
    owner = os.getpid()

    def end(signum: int, frame: FrameType | None) -> None:
        # Workers are forked from here and inherit this; they shall just die.
        if os.getpid() != owner:
            os._exit(128 + signum)
        raise Stopped("SIGTERM (a batch queue's time limit, or `kill`)", signum)

    signal.signal(signal.SIGTERM, end)
