"""The channels of a spectrum: grouped, with their nominal energies, noticed or ignored."""

from __future__ import annotations

from typing import Any

import numpy as np

from xspec_sixsa.embedded.background import Restricted
from xspec_sixsa.embedded.grouping import Grouping
from xspec_sixsa.embedded.ogip import PHA
from xspec_sixsa.embedded.ranges import ChannelRange, RangeMemory, channels_of_energies, compact, parse_ranges
from xspec_sixsa.embedded.response import Response
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.units import range_in_kev

__all__ = ["Channels", "ignore_memory", "notice_memory"]

ignore_memory = RangeMemory()
notice_memory = RangeMemory()


class Channels(Restricted):
    """What `Spectrum` says about its channels, and `ignore` and `notice`; `Spectrum` fills it."""

    _pha: PHA
    _grouping: Grouping
    _noticed: np.ndarray
    _responses: dict[int, Response]
    _cache: dict[Any, Any]

    @property
    def fileName(self) -> str:
        """Name of the file, as given."""
        return self._pha.path

    @property
    def index(self) -> int:
        """Number in `AllData`, from 1; raises where the spectrum is no longer loaded."""
        for number, spectrum in enumerate(session.spectra, start=1):
            if spectrum is self:
                return number
        raise XspecError(
            f"Error: the spectrum {self.fileName} is no longer loaded. Load it again: Spectrum({self.fileName!r})."
        )

    @property
    def noticed(self) -> list[int]:
        """Numbers of the noticed groups, from 1."""
        return (np.flatnonzero(self._noticed) + 1).tolist()

    @property
    def ignored(self) -> list[int]:
        """Numbers of the ignored groups, from 1."""
        return (np.flatnonzero(~self._noticed) + 1).tolist()

    def _changed(self) -> None:
        self._cache.clear()
        session.touch()

    def _bounds(self, response: Response) -> tuple[np.ndarray, np.ndarray]:
        """Nominal lower and upper energy of every group, keV."""
        first, last = self._grouping.ends()
        rmf, offset = response._rmf, self._pha.offset
        low, high = rmf.e_min[offset + np.array([first, last])], rmf.e_max[offset + np.array([first, last])]
        return low.min(axis=0), high.max(axis=0)

    def ignore(self, ignoreRange: str) -> None:
        """Ignore channels, e.g. ``"**-0.5 10.0-**"`` (keV) or ``"1-3,5"`` (channels); see `ranges`."""
        self._ranges(ignoreRange, False)

    def notice(self, noticeRange: str) -> None:
        """Notice channels; ``"all"`` for every one."""
        self._ranges(noticeRange, True)

    def _ranges(self, text: str, notice: bool) -> None:
        command = "notice" if notice else "ignore"
        if not isinstance(text, str):
            raise XspecError(f"Error: Argument to {command} function must be a string.")
        if notice and "all" in text.lower():
            text = "**"
        if text.strip().lower() == "bad":
            raise XspecError('"bad" applies to all spectra: type AllData.ignore("bad").')
        for part in parse_ranges(f"{self.index}: {text}", notice_memory if notice else ignore_memory, command):
            self._apply(part, notice)

    def _apply(self, part: ChannelRange, notice: bool) -> None:
        if part.energies:
            if not self._responses:
                raise XspecError(
                    f" no energy defined range for spectrum {self.fileName}: it has no response. "
                    "Give channels (integers), or set .response first."
                )
            low, high = self._bounds(self._responses[min(self._responses)])
            taken = channels_of_energies(low, high, *range_in_kev(part.low, part.high))
        else:
            numbers = np.arange(1, self._grouping.size + 1)
            low_channel = 1 if part.low is None else part.low
            high_channel = numbers[-1] if part.high is None else part.high
            taken = (numbers >= min(low_channel, high_channel)) & (numbers <= max(low_channel, high_channel))
        self._noticed = np.where(taken, notice, self._noticed)
        self._changed()

    def _ignore_bad(self) -> None:
        self._noticed = self._noticed & (self._grouping.quality == 0)
        self._changed()

    def ignoredString(self) -> str:
        """Return the ignored channels, e.g. ``"1 3-5 7"``."""
        return compact(self.ignored)

    def noticedString(self) -> str:
        """Return the noticed channels, e.g. ``"1 3-5 7"``."""
        return compact(self.noticed)
