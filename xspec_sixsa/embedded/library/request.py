"""What is asked of the library's processes: a model, its parameters, and the settings that it depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from xspec_sixsa.embedded.state import Abundances

__all__ = ["Request", "Setting", "Versions"]


class Versions(NamedTuple):
    """Versions of the atomic data that plasma models read."""

    atomdb: str
    nei: str
    spex: str


@dataclass(frozen=True)
class Setting:
    """What the library keeps between evaluations.

    Attributes
    ----------
    abund : Abundances
    xsect : str
        Photoelectric cross-sections.
    cosmo : tuple of float
        H0 (km/s/Mpc), q0, Lambda0.
    strings : tuple of (str, str)
        Model strings.
    data : str
        Folder with the models' data files; a process keeps to the one that it was started with.
    versions : Versions
    """

    abund: Abundances
    xsect: str
    cosmo: tuple[float, float, float]
    strings: tuple[tuple[str, str], ...]
    data: str
    versions: Versions


@dataclass(frozen=True)
class Request:
    """Spectra of one model at several parameter sets.

    Attributes
    ----------
    function, kind : str
        As in model.dat.
    setting : Setting
    edges : ndarray (nE + 1,)
        keV.
    parameters : ndarray (n, d)
    flux : ndarray (1 or n, nE), optional
        What a convolution model works on.
    time_limit : float
        Seconds that one evaluation may take.
    """

    function: str
    kind: str
    setting: Setting
    edges: np.ndarray
    parameters: np.ndarray
    flux: np.ndarray | None
    time_limit: float

    def rows(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Go through the parameter sets, each with its flux."""
        for k, row in enumerate(self.parameters):
            yield row, None if self.flux is None else self.flux[k if len(self.flux) > 1 else 0]

    def part(self, rows: np.ndarray) -> Request:
        """Return the same for some of the parameter sets, by number."""
        flux = self.flux if self.flux is None or len(self.flux) == 1 else self.flux[rows]
        return replace(self, parameters=self.parameters[rows], flux=flux)
