"""Progress shown while a run works: bars on a terminal, one line a stage in a log file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Progress", "Tick"]

log = logging.getLogger(__name__)


class Tick(Protocol):
    """Tells a stage how far it is."""

    def __call__(self, n: int = 1, absolute: bool = False) -> None:
        """So many steps more, or (`absolute`) in all."""


class Progress:
    """Stages with a clock.

    Parameters
    ----------
    show : bool, default True
        Bars on stderr where that is a terminal; a log file only gets the line that closes a stage.

    Attributes
    ----------
    seconds : dict of str to float
        Wall-clock seconds by kind of work ("evaluation", "training" ...); a stage within a stage counts once.
    """

    def __init__(self, show: bool = True) -> None:
        self._show = show
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def task(self, name: str, total: int, kind: str = "training") -> Iterator[Tick]:
        """A stage of `total` steps; yields ``tick(n=1, absolute=False)``."""
        from tqdm import tqdm

        began = time.monotonic()
        bar = tqdm(
            total=total, desc=name, leave=False, disable=not (self._show and sys.stderr.isatty()), file=sys.stderr
        )

        def tick(n: int = 1, absolute: bool = False) -> None:
            bar.update(min(n, total) - bar.n if absolute else n)

        try:
            yield tick
        finally:
            bar.close()
            taken = time.monotonic() - began
            self.seconds[kind] = self.seconds.get(kind, 0.0) + taken
            log.log(logging.INFO if kind == "training" else logging.DEBUG, "%s: %.1f s", name, taken)
