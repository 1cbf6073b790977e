"""Detector responses: PyXspec's `Response`, and `Folding`, the matrix that turns model spectra into count rates."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.grouping import Grouping
from xspec_sixsa.embedded.ogip import ARF, PHA, RMF, find_file, read_arf, read_rmf
from xspec_sixsa.embedded.state import XspecError

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_array

    from xspec_sixsa.embedded.spectrum import Spectrum

__all__ = ["Folding", "MultiResponse", "Response", "load_response", "load_rmf", "make_folding"]

# Below this many elements, or above this filling, a dense product is faster than a sparse one (measured, 2 cores).
_DENSE_ELEMENTS = 3_000_000
_DENSE_FILLING = 0.2


@functools.lru_cache(maxsize=16)
def _cached_rmf(name: str, path: str, stamp: tuple[int, int]) -> RMF:
    # Reading and unpacking a large matrix takes longer than many evaluations; several spectra often share one.
    del stamp
    rmf = read_rmf(path)
    rmf.path = name
    return rmf


def load_rmf(name: str, beside: str | None) -> RMF:
    """Read a response matrix, or take it from memory where the file is unchanged; `beside` is where else to look."""
    path = find_file(name, beside, "response")
    status = os.stat(path)
    return _cached_rmf(name, str(path.absolute()), (status.st_mtime_ns, status.st_size))


def _check_arf(arf: ARF, rmf: RMF) -> None:
    n = rmf.energy_lo.size
    if arf.area.size != n:
        raise XspecError(
            f"{arf.path}: {arf.area.size} energy bins, but {rmf.path} has {n}: the effective area does not belong to "
            "this response. Make the ARF on the RMF's energy grid (arfgen, mkwarf: energy grid from the RMF)."
        )
    width = rmf.energy_hi - rmf.energy_lo
    shift = np.maximum(np.abs(arf.energy_lo - rmf.energy_lo), np.abs(arf.energy_hi - rmf.energy_hi))
    # The first edge is exempt: zero there is replaced by a small number in the RMF.
    worst = int(np.argmax((shift / width)[1:])) + 1 if n > 1 else 0
    if n > 1 and shift[worst] > 0.5 * width[worst]:
        raise XspecError(
            f"{arf.path}: energy bin {worst + 1} is {arf.energy_lo[worst]:g}-{arf.energy_hi[worst]:g} keV, "
            f"in {rmf.path} {rmf.energy_lo[worst]:g}-{rmf.energy_hi[worst]:g} keV: the "
            "effective area would be applied at wrong energies. "
            "Make the ARF on the RMF's energy grid."
        )


def _check_channels(rmf: RMF, pha: PHA) -> None:
    if rmf.detchans != pha.detchans:
        raise XspecError(
            f"Response DETCHANS: {rmf.detchans} ({rmf.path}), and data DETCHANS: {pha.detchans} ({pha.path}) "
            "do not match. "
            "Give the response made for this spectrum (RESPFILE keyword, or Spectrum.response = file)."
        )


class Folding:
    """Fold model spectra into count rates of the noticed groups, many at once, differentiably.

    Parameters
    ----------
    edges : ndarray (nE + 1,)
        Photon energies, keV.
    matrix : csr_array (groups, nE)
        Response with the effective area (cm2) inside, summed over each noticed group's channels.
    """

    def __init__(self, edges: np.ndarray, matrix: csr_array) -> None:
        from scipy.sparse import csr_array

        self.edges = np.asarray(edges, dtype=float)
        self.matrix = csr_array(matrix, dtype=float)
        size = self.matrix.shape[0] * self.matrix.shape[1]
        self.is_dense = size <= _DENSE_ELEMENTS or self.matrix.nnz > _DENSE_FILLING * size

    def from_energies(self, edges: np.ndarray, rebinning: csr_array) -> Folding:
        """Return the same for model spectra on other energies, each bin's share (nE, n) of which is known."""
        return Folding(edges, self.matrix @ rebinning)

    @functools.cached_property
    def _dense(self) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.matrix.toarray().T))

    @functools.cached_property
    def transposed(self) -> csr_array:
        """The matrix as csr_array (nE, groups), for gradients."""
        from scipy.sparse import csr_array

        return csr_array(self.matrix.T)

    def fold(self, flux: torch.Tensor) -> torch.Tensor:
        """Fold.

        Parameters
        ----------
        flux : Tensor (batch, nE), float64
            Photons/cm2/s in each energy bin.

        Returns
        -------
        Tensor (batch, groups)
            Counts/s (per unit of AREASCAL) in each noticed group: PyXspec's ``Model.folded``.  Differentiable any
            number of times, also under ``torch.func``.
        """
        if self.is_dense:
            return flux @ self._dense.to(flux.dtype)
        from xspec_sixsa.embedded.sparse import sparse_product

        return sparse_product(flux, self.matrix, self.transposed)


def make_folding(response: Response, pha: PHA, grouping: Grouping, noticed: np.ndarray) -> Folding:
    """Sum the response's channels into the noticed groups (bool, (groups,)) of a spectrum and apply the area."""
    from scipy.sparse import csr_array

    new = np.full(grouping.size, -1)
    new[noticed] = np.arange(noticed.sum())
    target = np.where(grouping.group_of >= 0, new[grouping.group_of], -1)
    kept = np.flatnonzero(target >= 0)
    gather = csr_array(
        (np.ones(kept.size), (target[kept], kept + pha.offset)), shape=(int(noticed.sum()), response._rmf.detchans)
    )
    matrix = csr_array(gather @ response._rmf.matrix)
    if response._arf is not None:
        matrix = csr_array(matrix.multiply(response._arf.area[None, :]))
    matrix.sort_indices()
    return Folding(response._rmf.edges, matrix)


class Response:
    """A detector response of a spectrum (PyXspec `Response`).

    Attributes
    ----------
    rmf : str
        File name (get only).
    arf : str
        File name; set a name to replace it, None or ``""`` to remove it.  Getting it without an ARF raises.
    energies, chanEnergies : tuple of float
        Edges in keV of the photon energy bins and of the grouped channels (get only).
    sourceNumber : int
        1 unless the spectrum has several sources (get only).
    gain
        Raises: gain fitting exists only in XSPEC.
    """

    __slots__ = ("_arf", "_rmf", "_source", "_spectrum")

    def __init__(self, spectrum: Spectrum, rmf: RMF, arf: ARF | None, source: int) -> None:
        self._spectrum, self._rmf, self._arf, self._source = spectrum, rmf, arf, source

    @property
    def rmf(self) -> str:
        """Name of the response file (get only)."""
        return self._rmf.path

    @property
    def arf(self) -> str:
        """Name of the ARF; raises without one. Set another's name, or None to remove it."""
        if self._arf is None:
            raise XspecError("Error: Response has no Arf.")
        return self._arf.path

    @arf.setter
    def arf(self, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise XspecError("Error: Filename string is required to set Arf")
        arf = None
        if name and name.strip():
            arf = read_arf(name.strip())
            _check_arf(arf, self._rmf)
        self._arf = arf
        self._spectrum._changed()

    @property
    def has_arf(self) -> bool:
        """Whether an ARF is attached (engine only; `arf` raises without one, as PyXspec's)."""
        return self._arf is not None

    @property
    def energies(self) -> tuple[float, ...]:
        """Edges of the photon energy bins, keV (get only)."""
        return tuple(self._rmf.edges.tolist())

    @property
    def chanEnergies(self) -> tuple[float, ...]:
        """Nominal edges of the spectrum's groups, keV (get only)."""
        low, high = self._spectrum._bounds(self)
        return (*low.tolist(), float(high[-1]))

    @property
    def sourceNumber(self) -> int:
        """Number of the source whose model it folds, from 1 (get only)."""
        return self._source

    @property
    def gain(self) -> Any:
        """Not available: raises."""
        raise XspecError(
            "gain is not available in the embedded engine: response parameters cannot be fitted here. "
            "Use XSPEC (HEASoft) for gain fits, or correct the response file."
        )

    def setPars(self, *values: float | str) -> None:
        """Raise: see `gain`."""
        del values
        _ = self.gain

    def show(self) -> None:
        """Print the response's files and sizes."""
        area = f", {self._arf.path}" if self._arf is not None else ""
        report(
            f"Response {self.rmf}{area} for source {self._source}: {len(self._rmf.energy_lo)} energies, "
            f"{self._rmf.detchans} channels"
        )


class MultiResponse:
    """The responses of a spectrum by source, from 0 (PyXspec's ``Spectrum.multiresponse``)."""

    __slots__ = ("_spectrum",)

    def __init__(self, spectrum: Spectrum) -> None:
        self._spectrum = spectrum

    @staticmethod
    def _check(source: int) -> int:
        if not isinstance(source, int) or source < 0:
            raise XspecError("Error: Multiresponse array index must be an int for source number")
        return source

    def __getitem__(self, source: int) -> Response:
        response = self._spectrum._responses.get(self._check(source) + 1)
        if response is None:
            raise XspecError(f"Error: No response is assigned to source {source + 1} for this spectrum")
        return response

    def __setitem__(self, source: int, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise XspecError("Error: Multiresponse setting must be a filename string or None")
        self._spectrum._set_response(self._check(source) + 1, name)


def load_response(
    spectrum: Spectrum, pha: PHA, rmf_name: str, arf_name: str = "", source: int = 1, beside: str | None = None
) -> Response:
    """Read a response (and ARF) and check that it fits the spectrum's channels."""
    rmf = load_rmf(rmf_name, beside)
    _check_channels(rmf, pha)
    arf = None
    if arf_name:
        arf = read_arf(arf_name, beside)
        _check_arf(arf, rmf)
    return Response(spectrum, rmf, arf, source)
