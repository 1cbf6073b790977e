"""A Dask worker's share of a survey's spectra, as an actor of the cluster that hands messages on to a process.

As for `session.remote`, a worker's threads share too much (torch's random numbers, logging) to do the work themselves.
"""

from __future__ import annotations

import asyncio
from typing import Any

from xspec_sixsa.session.served import Served

__all__ = ["Slot"]


class Slot:
    """The process, as an actor of the cluster.

    Parameters
    ----------
    *setup : bytes
        Pickled: the survey's folder, its plan and library, which all have in common; and this one's spectra by number.
    """

    def __init__(self, *setup: bytes) -> None:
        self._served = Served("xspec_sixsa.survey.remote")
        for part in setup:
            self._served.tell(part)

    async def exchange(self, message: Any) -> Any:
        """Send a message, and give what is answered; others of the worker's processes go on meanwhile."""
        return await asyncio.to_thread(self._served.ask, message)

    def close(self) -> None:
        """End the process."""
        self._served.close()
