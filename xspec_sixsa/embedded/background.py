"""Backgrounds and corrections of spectra (PyXspec's `Background`), and what all data objects share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xspec_sixsa.embedded.grouping import GroupedSpectrum
from xspec_sixsa.embedded.ogip import PHA
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.weighting import weighted_variance

if TYPE_CHECKING:
    from xspec_sixsa.embedded.spectrum import Spectrum

__all__ = ["Background", "Restricted", "floats", "scale_of"]


class Restricted:
    """Objects that refuse new attributes and rebinding of get-only ones, as PyXspec's do."""

    _settable: ClassVar[frozenset[str]] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        if name.startswith("_") or name in self._settable:
            object.__setattr__(self, name, value)
        elif hasattr(type(self), name):
            raise XspecError(f"Error: Cannot rebind a {kind} object's {name}")
        else:
            raise XspecError(f"***Error: Attribute {name} does not exist in class {kind}. Did you misspell?")


def floats(values: np.ndarray) -> tuple[float, ...]:
    """Return an array as the tuple of floats that PyXspec gives."""
    return tuple(values.tolist())


class Background(Restricted):
    """A background (or correction) spectrum of a spectrum; every attribute is get-only.

    Attributes
    ----------
    fileName : str
    exposure : float
        Seconds.
    areaScale, backScale : float or tuple of float
        A number where the file has a keyword, else one value a channel (grouped).
    isPoisson : bool
    values, variance : tuple of float
        Rate of the source's noticed channels, scaled to the source region and per unit of AREASCAL; its variance.
    """

    def __init__(self, spectrum: Spectrum, pha: PHA, grouped: GroupedSpectrum, correction: bool = False) -> None:
        self._spectrum, self._pha, self._grouped, self._correction = spectrum, pha, grouped, correction
        self._exposure = pha.exposure

    @property
    def fileName(self) -> str:
        """Name of the file, as given."""
        return self._pha.path

    @property
    def exposure(self) -> float:
        """Seconds."""
        return self._exposure

    @property
    def areaScale(self) -> float | tuple[float, ...]:
        """AREASCAL: one number where both this file and the source's have a keyword, else one a group."""
        # PyXspec looks at the source's file for this, not only at the background's.
        return scale_of(self._grouped.area_scale, self._pha.area_is_key and self._spectrum._pha.area_is_key)

    @property
    def backScale(self) -> float | tuple[float, ...]:
        """BACKSCAL: one number where both this file and the source's have a keyword, else one a group."""
        return scale_of(self._grouped.back_scale, self._pha.back_is_key and self._spectrum._pha.back_is_key)

    @property
    def isPoisson(self) -> bool:
        """Whether the errors are those of counts."""
        return self._grouped.poisson

    @property
    def values(self) -> tuple[float, ...]:
        """Rate (counts/s per unit of AREASCAL) of the source's noticed groups, scaled to the source region."""
        return floats(self._grouped.rate[self._spectrum._noticed])

    @property
    def variance(self) -> tuple[float, ...]:
        """Variance of `values` under the session's weighting; empty for a correction, which has no errors."""
        if self._correction:
            return ()
        return floats(self._weighted()[self._spectrum._noticed])

    def _to_counts(self) -> np.ndarray:
        """Counts in the background file per unit of rate, by group."""
        ratio = self._grouped.back_scale / self._spectrum._grouped.back_scale
        return self._exposure * self._grouped.area_scale * ratio

    def _weighted(self) -> np.ndarray:
        return weighted_variance(session.weight, self._grouped.rate, self._grouped.variance, self._to_counts())


def scale_of(values: np.ndarray, is_key: bool) -> float | tuple[float, ...]:
    """Return an area or background scale: one number where the file has a keyword, else one a group."""
    return float(values[0]) if is_key else floats(values)
