"""What OGIP files hold: a spectrum, a redistribution matrix, an effective area."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ARF", "PHA", "RMF"]


@dataclass
class PHA:
    """One type I spectrum as its file has it: nothing grouped, scaled or ignored.

    Attributes
    ----------
    path : str
        File name as given.
    values : ndarray (n,)
        Counts, or counts/s where ``is_counts`` is False.
    channels : ndarray of int (n,)
        Detector channel numbers, consecutive.
    exposure : float
        Seconds.
    first_channel, detchans : int
        Lowest legal channel number (TLMIN) and the number of legal channels.
    poisson : bool
        The POISSERR keyword.
    stat_err, sys_err : ndarray (n,) or None
        Statistical error (unit of ``values``) and fractional systematic error.
    quality, grouping : ndarray of int (n,) or None
        None where the file has neither column nor a keyword that says anything.
    area_scale, back_scale : ndarray (n,)
    area_is_key, back_is_key : bool
        Whether those are keywords (one number) rather than columns.
    net : bool
        HDUCLAS2 = NET: background already subtracted.
    backfile, corrfile, respfile, ancrfile : str
        Empty where the file says ``none``.
    """

    path: str
    values: np.ndarray
    channels: np.ndarray
    exposure: float
    is_counts: bool = True
    first_channel: int = 1
    detchans: int = 0
    poisson: bool = True
    stat_err: np.ndarray | None = None
    sys_err: np.ndarray | None = None
    quality: np.ndarray | None = None
    grouping: np.ndarray | None = None
    area_scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    back_scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    area_is_key: bool = True
    back_is_key: bool = True
    corr_scale: float = 1.0
    net: bool = False
    backfile: str = ""
    corrfile: str = ""
    respfile: str = ""
    ancrfile: str = ""
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"
    channel_type: str = "PHA"

    @property
    def offset(self) -> int:
        """Position of the first channel of the file among the detector's legal channels."""
        return int(self.channels[0]) - self.first_channel


@dataclass
class RMF:
    """A redistribution matrix.

    Attributes
    ----------
    path : str
    energy_lo, energy_hi : ndarray (nE,)
        Photon energy bins, keV.
    e_min, e_max : ndarray (channels,)
        Nominal channel energies (EBOUNDS), keV.
    matrix : scipy.sparse.csr_array (channels, nE)
        With the effective area inside when the file is a ``SPECRESP MATRIX`` with area (a .rsp).
    first_channel : int
        Number of the first channel (TLMIN of F_CHAN).
    lo_thres : float
        Lower threshold that was applied when the matrix was made; kept, as XSPEC does, without effect.
    """

    path: str
    energy_lo: np.ndarray
    energy_hi: np.ndarray
    e_min: np.ndarray
    e_max: np.ndarray
    matrix: csr_array
    first_channel: int = 1
    lo_thres: float = 0.0
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"
    channel_type: str = "PHA"

    @property
    def detchans(self) -> int:
        """Number of detector channels."""
        return self.e_min.size

    @property
    def edges(self) -> np.ndarray:
        """Edges of the photon energy bins, keV, shape (nE + 1,)."""
        return np.concatenate([self.energy_lo[:1], self.energy_hi])


@dataclass
class ARF:
    """An effective area: ``area`` (nE,) in cm2 on energy bins in keV."""

    path: str
    energy_lo: np.ndarray
    energy_hi: np.ndarray
    area: np.ndarray
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"
