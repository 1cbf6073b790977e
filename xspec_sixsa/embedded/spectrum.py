"""Spectra and their backgrounds: PyXspec's `Spectrum` and `Background` (PyXspec 2.0 of XSPEC 12.9.1)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from xspec_sixsa.embedded.background import Background, floats, scale_of
from xspec_sixsa.embedded.channels import Channels
from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.grouping import GroupedSpectrum, group_spectrum, make_grouping
from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.ogip import PHA, read_pha
from xspec_sixsa.embedded.response import Folding, MultiResponse, Response, load_response, make_folding
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.weighting import weighted_variance

__all__ = ["Background", "Spectrum"]

log = logging.getLogger(__name__)

FROM_HEADER = "USE_DEFAULT"  # PyXspec's word


class Spectrum(Channels):
    """One loaded spectrum; constructing one reads the file and adds it to `AllData`.

    Parameters
    ----------
    dataFile : str
        OGIP type I file; ``.pha`` is added to a name without extension.
    backFile, respFile, arfFile : str or None, optional
        Instead of those in the file's header (newer PyXspec has these too); None, ``""`` or ``"none"`` for none at all.

    Attributes
    ----------
    fileName, index, dataGroup, exposure, isPoisson
    areaScale, backScale : float or tuple of float
    background, correction : Background
        Raise where there is none; set a file name, or None to remove.
    cornorm : float
    response : Response
        Of source 1; set a file name or None.
    multiresponse
        By source from 0.
    values, variance : tuple of float
        Raw rate (background not subtracted) of noticed channels, counts/s per unit of AREASCAL, and its variance.
    rate : tuple of 4 floats
        Net rate, its error, total rate, model rate over the noticed channels.
    energies : tuple of (float, float)
        keV, of noticed channels.
    noticed, ignored : list of int
        Channel numbers (of the grouped spectrum, from 1).
    flux, lumin : tuple of 6 floats a model
        Last calculation by AllModels.calcFlux / calcLumin.
    eqwidth : tuple of 3 floats
    """

    _settable = frozenset({"background", "correction", "cornorm", "response", "statMethod"})

    _grouped: GroupedSpectrum
    _background: Background | None
    _correction: Background | None

    def __init__(self, dataFile: str, backFile: str | None = FROM_HEADER, respFile: str | None = FROM_HEADER,
                 arfFile: str | None = FROM_HEADER) -> None:  # fmt: skip
        if not isinstance(dataFile, str) or not dataFile.strip():
            raise XspecError("Error: Data file name is required.")
        self._load(dataFile.strip(), group=1, back=backFile, resp=respFile, arf=arfFile)
        session.spectra.append(self)
        session.touch()

    # ------------------------------------------------------------------------------------------------- loading

    @classmethod
    def _unlisted(cls, name: str, group: int) -> Spectrum:
        """Read a file without adding it to the session: the caller lists it when everything else succeeded."""
        spectrum = cls.__new__(cls)
        spectrum._load(name, group)
        return spectrum

    def _load(
        self, name: str, group: int, back: str | None = FROM_HEADER, resp: str | None = FROM_HEADER,
        arf: str | None = FROM_HEADER,
    ) -> None:  # fmt: skip
        if "{" not in name and "." not in Path(name).name:
            name += ".pha"
        pha = read_pha(name)
        if not (pha.values > 0).any():
            log.warning("%s: the spectrum has no counts at all", pha.path)
        self._set_pha(pha, group)
        rmf_name = pha.respfile if resp == FROM_HEADER else _given(resp)
        # an effective area goes with the response that the header names
        arf_name = (
            pha.ancrfile if arf == FROM_HEADER and resp == FROM_HEADER else "" if arf == FROM_HEADER else _given(arf)
        )
        if rmf_name:
            self._responses[1] = load_response(self, pha, rmf_name, arf_name, 1, name)
        elif arf_name:
            log.warning("%s: ANCRFILE %s without RESPFILE is not used", name, arf_name)
        self._background = self._read_background(pha.backfile if back == FROM_HEADER else _given(back), name)
        self._correction = self._read_background(pha.corrfile, name, correction=True)
        if self._background is not None and not self._background.isPoisson and pha.poisson:
            log.info("%s: the background %s has Gaussian errors", name, self._background.fileName)

    def _set_pha(self, pha: PHA, group: int) -> None:
        self._pha, self._data_group = pha, group
        self._grouping = make_grouping(pha)
        self._grouped = group_spectrum(pha, self._grouping)
        self._noticed = np.ones(self._grouping.size, bool)
        self._responses = {}
        self._background = None
        self._correction = None
        self._cornorm = pha.corr_scale
        self._stat_method = session.stat_method
        self._flux: tuple[float, ...] = (0.0,) * 6
        self._lumin: tuple[float, ...] = (0.0,) * 6
        self._eqwidth: tuple[float, ...] = (0.0,) * 3
        self._cache = {}

    def _read_background(self, name: str, beside: str | None, correction: bool = False) -> Background | None:
        if not name:
            return None
        what = "correction" if correction else "background"
        if Path(name).name == Path(self.fileName).name and not correction:
            log.warning("%s is its own background; nothing is left after subtraction", name)
        pha = read_pha(name, beside, what)
        source = self._pha
        if pha.detchans != source.detchans or pha.values.size != source.values.size or pha.offset != source.offset:
            raise XspecError(
                f"{what.capitalize()} file {name}: {pha.values.size} channels from {pha.channels[0]} "
                f"(DETCHANS {pha.detchans}), data file {source.path}: {source.values.size} from {source.channels[0]} "
                f"(DETCHANS {source.detchans}). They must be the same: extract the background with these channels."
            )
        return Background(self, pha, group_spectrum(pha, self._grouping, self._grouped.back_scale), correction)

    # ------------------------------------------------------------------------------------------- what it is

    @property
    def dataGroup(self) -> int:
        """Data group number, from 1 (get only)."""
        return self._data_group

    @property
    def exposure(self) -> float:
        """Seconds (get only)."""
        return self._pha.exposure

    @property
    def areaScale(self) -> float | tuple[float, ...]:
        """AREASCAL: one number where the file has a keyword, else one a group (get only)."""
        return scale_of(self._grouped.area_scale, self._pha.area_is_key)

    @property
    def backScale(self) -> float | tuple[float, ...]:
        """BACKSCAL: one number where the file has a keyword, else one a group (get only)."""
        return scale_of(self._grouped.back_scale, self._pha.back_is_key)

    @property
    def isPoisson(self) -> bool:
        """Whether the errors are those of counts (get only)."""
        return self._grouped.poisson

    @property
    def statMethod(self) -> str:
        """Fit statistic of this spectrum (engine only; PyXspec shows only ``Fit.statMethod``)."""
        return self._stat_method

    @statMethod.setter
    def statMethod(self, name: str) -> None:
        self._stat_method = name
        self._changed()

    @property
    def flux(self) -> tuple[float, ...]:
        """From the last `AllModels.calcFlux`, for each source: erg/cm2/s, 0, 0, photons/cm2/s, 0, 0."""
        return self._flux

    @property
    def lumin(self) -> tuple[float, ...]:
        """From the last `AllModels.calcLumin`, for each source: 1e44 erg/s, 0, 0, photons/cm2/s, 0, 0."""
        return self._lumin

    @property
    def eqwidth(self) -> tuple[float, ...]:
        """From the last `AllModels.eqwidth`: keV, 0, 0."""
        return self._eqwidth

    # --------------------------------------------------------------------------------------- what belongs to it

    @property
    def background(self) -> Background:
        """The background; raises where there is none. Set a file name, or None to remove it."""
        if self._background is None:
            raise XspecError("Error: Spectrum has no background.")
        return self._background

    @background.setter
    def background(self, name: str | None) -> None:
        self._background = self._read_background(_given(name), self.fileName)
        self._changed()

    @property
    def has_background(self) -> bool:
        """Whether a background is attached (engine only; `background` raises without one, as PyXspec's)."""
        return self._background is not None

    @property
    def correction(self) -> Background:
        """The correction file's spectrum; raises where there is none. Set a file name, or None to remove it."""
        if self._correction is None:
            raise XspecError("Error: Spectrum has no correction.")
        return self._correction

    @correction.setter
    def correction(self, name: str | None) -> None:
        self._correction = self._read_background(_given(name), self.fileName, correction=True)
        self._changed()

    @property
    def has_correction(self) -> bool:
        """Whether a correction is attached (engine only; `correction` raises without one, as PyXspec's)."""
        return self._correction is not None

    @property
    def cornorm(self) -> float:
        """Factor on the correction, which is subtracted from the data."""
        return self._cornorm

    @cornorm.setter
    def cornorm(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise XspecError("Error: cornorm argument must be a numeric value")
        self._cornorm = float(value)
        self._changed()

    @property
    def response(self) -> Response:
        """The response of source 1; raises where there is none. Set a file name, or None to remove it."""
        if 1 not in self._responses:
            raise XspecError(
                f"Error: No response is assigned to source 1 for spectrum {self.fileName}. Set .response = file."
            )
        return self._responses[1]

    @response.setter
    def response(self, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise XspecError("Error: Response setting must be a filename string or None.")
        self._set_response(1, name)

    @property
    def has_response(self) -> bool:
        """Whether source 1 has a response (engine only)."""
        return 1 in self._responses

    def has_source(self, source: int) -> bool:
        """Whether there is a response for models of a source number (engine only)."""
        return source in self._responses

    @property
    def multiresponse(self) -> MultiResponse:
        """The responses by source, from 0: ``multiresponse[1] = "bkg.rmf"`` is that of source 2."""
        return MultiResponse(self)

    def _set_response(self, source: int, name: str | None) -> None:
        text = _given(name)
        if text:
            self._responses[source] = load_response(self, self._pha, text, source=source)
        else:
            self._responses.pop(source, None)
        self._changed()

    # ------------------------------------------------------------------------------------------------- numbers

    @property
    def values(self) -> tuple[float, ...]:
        """Rate of the noticed groups, counts/s per unit of AREASCAL, background not subtracted."""
        return floats(self._grouped.rate[self._noticed])

    @property
    def variance(self) -> tuple[float, ...]:
        """Variance of `values` under the session's weighting."""
        return floats(self._weighted()[self._noticed])

    def _weighted(self) -> np.ndarray:
        to_counts = self.exposure * self._grouped.area_scale
        return weighted_variance(session.weight, self._grouped.rate, self._grouped.variance, to_counts)

    @property
    def counts(self) -> np.ndarray:
        """Source counts per noticed group, background not subtracted, float (engine only)."""
        return (self._grouped.rate * self.exposure * self._grouped.area_scale)[self._noticed]

    @property
    def n_bins(self) -> int:
        """Number of noticed groups (engine only)."""
        return int(self._noticed.sum())

    @property
    def energies(self) -> tuple[tuple[float, float], ...]:
        """Lower and upper energy of each noticed group, keV; the upper one is the next group's lower."""
        low, high = self._bounds(self.response)
        # PyXspec pairs each channel's lower energy with that of the next channel.
        edges = np.append(low, high[-1])
        return tuple((float(edges[i]), float(edges[i + 1])) for i in np.flatnonzero(self._noticed))

    @property
    def rate(self) -> tuple[float, float, float, float]:
        """Net rate, its error, total rate and model rate over the noticed groups, counts/s."""
        noticed, area = self._noticed, self._grouped.area_scale[self._noticed]
        total = float(area @ self._grouped.rate[noticed])
        net, spread = total, float(area**2 @ self._weighted()[noticed])
        if self._background is not None:
            net -= float(area @ self._background._grouped.rate[noticed])
            spread += float(area**2 @ self._background._weighted()[noticed])
        if self._correction is not None:
            corrected = self._cornorm * float(area @ self._correction._grouped.rate[noticed])
            net, total = net - corrected, total - corrected
        return net, spread**0.5, total, self._model_rate()

    def _model_rate(self) -> float:
        if self not in session.spectra:
            return 0.0
        number, rate = self.index, 0.0
        for source, name in AllModels.sources.items():
            if source in self._responses:
                folded = np.asarray(AllModels(self.dataGroup, name).folded(number))
                rate += float(self._grouped.area_scale[self._noticed] @ folded)
        return rate

    def folding(self, source: int = 1) -> Folding:
        """Return the matrix that folds a model onto the noticed groups (engine only; kept until something changes).

        Raises
        ------
        XspecError
            When there is no response for `source`.
        """
        key = ("folding", source)
        if key not in self._cache:
            if source not in self._responses:
                raise XspecError(
                    f"Error: No response is assigned to source {source} for spectrum {self.fileName}: a model cannot "
                    f"be compared with it. Set .response = file, or .multiresponse[{source - 1}] = file."
                )
            self._cache[key] = make_folding(self._responses[source], self._pha, self._grouping, self._noticed)
        return self._cache[key]

    # ---------------------------------------------------------------------------------------------------- other

    def dummyrsp(self, *args: Any, **kwargs: Any) -> None:
        """Raise: dummy responses exist only in XSPEC."""
        del args, kwargs
        raise XspecError(
            "dummyrsp is not available in the embedded engine. Give a response file, or use XSPEC (HEASoft)."
        )

    def show(self) -> None:
        """Print file, exposure, channels and rates."""
        net, error, total, model = self.rate
        report(
            f"Spectrum {self.index}  Spectral Data File: {self.fileName}\n"
            f"Net count rate (cts/s) {net:.4g} +/- {error:.3g}, total {total:.4g}, model {model:.4g}\n"
            f" Assigned to Data Group {self.dataGroup}; Exposure Time: {self.exposure:g} sec\n"
            f" Noticed Channels: {self.noticedString()}\n"
            f" Background: {self._background.fileName if self._background else 'none'}; "
            f"Response: {', '.join(r.rmf for r in self._responses.values()) or 'none'}"
        )


def _given(name: str | None) -> str:
    if name is not None and not isinstance(name, str):
        raise XspecError(f"Error: a file name or None is needed, got {name!r}.")
    text = (name or "").strip()
    return "" if text.lower() == "none" else text
