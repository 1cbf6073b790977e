"""OGIP table models (Arnaud, OGIP memo 92-009): ``atable{file}``, ``mtable{file}`` and ``etable{file}``."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits

from xspec_sixsa.common.fitsfile import check_table
from xspec_sixsa.embedded.components.numerics import redshifted
from xspec_sixsa.embedded.componenttype import ComponentType, ParameterInfo
from xspec_sixsa.embedded.ogip_table import open_fits
from xspec_sixsa.embedded.state import XspecError

__all__ = ["TableModel", "load_table"]

log = logging.getLogger(__name__)

FUZZY = 1e-6  # XSPEC takes energies, and parameter values at the end of a table, as equal within this
OPAQUE = 100.0  # XSPEC takes exp(-x) as 0 above


def load_table(kind: str, path: str | os.PathLike[str]) -> ComponentType:
    """Return the component that a table-model file defines.

    Parameters
    ----------
    kind : str
        ``"atable"`` (additive), ``"mtable"`` (a factor) or ``"etable"`` (an optical depth: the factor is its exp(-x)).
    path : path
        FITS file with the extensions PARAMETERS, ENERGIES and SPECTRA.

    Raises
    ------
    XspecError
        If the file is missing, is no table model, is of the other type, or uses what the engine lacks.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise XspecError(
            f"Table model file {path} does not exist (looked in {Path.cwd()}): give its path in the braces."
        )
    status = file.stat()
    table = _read(str(file.absolute()), (status.st_mtime_ns, status.st_size))
    if (kind == "atable") != table.additive:
        has, take = ("additive", "atable") if table.additive else ("multiplicative", "mtable or etable")
        raise XspecError(f"{path} contains an {has} table model: write {take}{{{path}}}, not {kind}{{{path}}}.")

    def function(edges: torch.Tensor, p: torch.Tensor, settings: Any = None) -> torch.Tensor:
        return table.evaluate(kind, edges, p)

    return ComponentType(table.name, "add" if table.additive else "mul", table.parameters, function)


class TableModel:
    """Spectra tabulated on a grid of parameters, interpolated in it and rebinned to any energies.

    Attributes
    ----------
    name : str
        MODLNAME.
    additive : bool
        ADDMODEL.
    parameters : tuple of ParameterInfo
        In the file's order; ``z`` last where the REDSHIFT keyword is true.
    energies : Tensor (n + 1,)
        Edges of the table's energy bins, keV.
    """

    def __init__(self, hdus: fits.HDUList, path: str) -> None:
        head = hdus[0].header
        version = str(head.get("HDUVERS", head.get("HDUVERS1", "")))
        classes = str(head.get("HDUCLASS", ""))[:4], str(head.get("HDUCLAS1", "")), version[:2]
        if classes != ("OGIP", "XSPEC TABLE MODEL", "1."):
            raise XspecError(
                f"{path}: unknown table format, HDUCLASS {classes[0]!r}, HDUCLAS1 {classes[1]!r}, version {version!r}; "
                "a table model has 'OGIP', 'XSPEC TABLE MODEL' and 1.x (OGIP memo 92-009) in its primary header."
            )
        for keyword in ("ADDMODEL", "REDSHIFT", "MODLNAME"):
            if keyword not in head:
                raise XspecError(f"{path}: table model missing keyword {keyword} in the primary header.")
        if head.get("ESCALE", False):
            raise XspecError(
                f"{path}: keyword ESCALE is set; the engine, as XSPEC 12.9.1, has no energy scaling for tables: "
                "use a newer XSPEC (HEASoft), or set ESCALE to F if its parameter is never moved from 1."
            )
        self.path = path
        self.name = str(head["MODLNAME"]).strip()
        self.additive, self.redshift = bool(head["ADDMODEL"]), bool(head["REDSHIFT"])
        # below and above the table, where LOELIMIT and HIELIMIT do not say otherwise, a factor is 1
        limits = (float(head.get(k, -1.0)) for k in ("LOELIMIT", "HIELIMIT"))
        self.outside = tuple(1.0 if limit < 0.0 else limit for limit in limits)
        try:
            for extension in ("PARAMETERS", "ENERGIES", "SPECTRA"):
                check_table(hdus[extension], path)
            rows, bins = hdus["PARAMETERS"], hdus["ENERGIES"].data
            spectra = hdus["SPECTRA"].data
            low, high = (bins[c].astype(float) for c in ("ENERG_LO", "ENERG_HI"))
            if (
                not (np.isfinite(low) & np.isfinite(high) & (high > low)).all()
                or (np.diff(low) <= 0).any()
                or not low.size
            ):
                raise XspecError(f"{path}: the table's energies do not rise, or are no numbers; the file is corrupt.")
            self._read_parameters(rows)
            self._read_spectra(spectra, low.size)
        except KeyError as missing:
            raise XspecError(f"{path}: table model lacks {missing.args[0]} (OGIP memo 92-009).") from None
        self.energies = torch.tensor(np.append(low, high[-1]))

    def _read_parameters(self, hdu: fits.BinTableHDU) -> None:
        data, count = hdu.data, int(hdu.header["NINTPARM"])
        if count + int(hdu.header["NADDPARM"]) != len(data):
            raise XspecError(f"{self.path}: NINTPARM + NADDPARM is not {len(data)}, the rows of PARAMETERS.")
        parameters: list[ParameterInfo] = []
        self.grid: list[np.ndarray] = []
        self.logarithmic: list[bool] = []
        self.interpolated: list[int] = []
        self.additional: list[int] = []
        for i, row in enumerate(data):
            name = str(row["NAME"]).strip()
            unit = str(row["UNITS"]).strip() if "UNITS" in data.names else ""
            columns = ("INITIAL", "DELTA", "MINIMUM", "BOTTOM", "TOP", "MAXIMUM")
            value, delta, hard_min, soft_min, soft_max, hard_max = (float(row[column]) for column in columns)
            limits = (hard_min, soft_min, soft_max, hard_max)
            if not (
                np.isfinite((delta, *limits)).all() and sorted(limits) == [*limits] and hard_min <= value <= hard_max
            ):
                raise XspecError(
                    f"{self.path}: {name} is INITIAL {value:g}, with the limits {', '.join(map(str, limits))}: "
                    "MINIMUM, BOTTOM, TOP and MAXIMUM must rise, and hold it."
                )
            parameters.append(ParameterInfo(name, unit, value, delta, *limits))
            n = int(row["NUMBVALS"])
            if row["METHOD"] < 0 or n <= 0 or len(self.grid) == count:
                self.additional.append(i)
                continue
            values = np.atleast_1d(row["VALUE"]).astype(float)[:n]
            if n > 1 and not (np.diff(values) > 0).all():
                raise XspecError(f"{self.path}: the tabulated values of {name} do not rise: {values.tolist()}.")
            if row["METHOD"] == 1 and values[0] <= 0.0:
                raise XspecError(f"{self.path}: {name} is interpolated logarithmically from {values[0]}; use METHOD 0.")
            self.interpolated.append(i)
            self.grid.append(values)
            self.logarithmic.append(row["METHOD"] == 1)
        if self.redshift:
            parameters.append(ParameterInfo("z", "", 0.0, -0.001, 0.0, 0.0, 5.0, 5.0))
        self.parameters = tuple(parameters)

    def _read_spectra(self, data: fits.FITS_rec, n_energies: int) -> None:
        shape = [g.size for g in self.grid]
        if len(data) != int(np.prod(shape)):
            raise XspecError(
                f"{self.path}: SPECTRA has {len(data)} rows, its parameters {' x '.join(map(str, shape))}."
            )
        columns = ["INTPSPEC", *(f"ADDSP{k + 1:03d}" for k in range(len(self.additional)))]
        if np.atleast_2d(data["INTPSPEC"]).reshape(len(data), -1).shape[1] != n_energies:
            raise XspecError(
                f"{self.path}: INTPSPEC has not one value for each of the {n_energies} energies; model variances "
                "(twice as many) are not among what the engine has. Use XSPEC (HEASoft)."
            )
        if "PARAMVAL" in data.names:
            # XSPEC trusts the order of the rows: the last parameter changes fastest
            expected = np.array(list(itertools.product(*self.grid)))
            given = np.asarray(data["PARAMVAL"], float).reshape(len(data), -1)[:, : expected.shape[1]]
            if not np.allclose(given, expected, rtol=1e-4, atol=1e-10):
                raise XspecError(f"{self.path}: SPECTRA's rows are not in the order of PARAMVAL, the last fastest.")
        stacked = [np.asarray(data[c], float).reshape(len(data), n_energies) for c in columns]
        wrong = sum(int((~np.isfinite(spectrum)).sum()) for spectrum in stacked)
        if wrong:
            raise XspecError(
                f"{self.path}: {wrong} values of the tabulated spectra are NaN or infinite; it is corrupt."
            )
        self.spectra = torch.tensor(np.stack(stacked))

    def evaluate(self, kind: str, edges: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        """Return photons/cm2/s in each bin, or the factor, for a batch of parameters; NaN beyond the grid."""
        values = self.interpolate(p)
        z = p[:, -1:] if self.redshift else None
        if z is None:
            shifted = edges[None]
        else:
            shifted = redshifted(edges, z)
        place, inside_low = self._place(shifted)
        if self.additive:
            flux = torch.where(inside_low, torch.diff(_sum_to(values, place), dim=1), 0.0)
            # time dilation
            return flux if z is None else flux / (1.0 + z)
        return self._factor(kind, values, place, inside_low)

    def interpolate(self, p: torch.Tensor) -> torch.Tensor:
        """Return the table at a batch of parameters, on its own energies: multilinear, in ln of the METHOD = 1 ones."""
        weights: list[tuple[torch.Tensor, ...]] = []
        indices: list[tuple[torch.Tensor, ...]] = []
        outside = torch.zeros(p.shape[0], dtype=torch.bool)
        for column, grid, logarithmic in zip(self.interpolated, self.grid, self.logarithmic, strict=True):
            value = p[:, column]
            near = FUZZY * value.detach().abs()
            outside |= (value < grid[0] - near) | (value > grid[-1] + near) if grid.size > 1 else False
            if grid.size == 1:
                indices.append((torch.zeros(p.shape[0], dtype=torch.long),))
                weights.append((torch.ones_like(value),))
                continue
            nodes = torch.tensor(np.log(grid) if logarithmic else grid)
            x = value.clamp(float(grid[0]), float(grid[-1]))
            x = x.log() if logarithmic else x
            i = torch.searchsorted(nodes, x.detach(), right=True).clamp(1, grid.size - 1) - 1
            share = (x - nodes[i]) / (nodes[i + 1] - nodes[i])
            indices.append((i, i + 1))
            weights.append((1.0 - share, share))
        strides = np.cumprod([1, *(g.size for g in self.grid[:0:-1])])[::-1].tolist()
        total = torch.zeros(self.spectra.shape[0], p.shape[0], self.spectra.shape[2], dtype=torch.float64)
        for corner in itertools.product(*(range(len(w)) for w in weights)):
            row = sum(indices[k][c] * strides[k] for k, c in enumerate(corner))
            weight = functools.reduce(torch.mul, (weights[k][c] for k, c in enumerate(corner)), torch.ones(p.shape[0]))
            total = total + weight[:, None] * self.spectra[:, row]
        values = total[0]
        for k, column in enumerate(self.additional):
            values = values + p[:, column : column + 1] * total[k + 1]
        return torch.where(outside[:, None], float("nan"), values)

    def _place(self, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each edge's position in the table's bins (2.5: halfway through the third) and which bins start inside.

        XSPEC leaves out a bin that the table covers from its middle only, but takes one that the table leaves.
        """
        energies = self.energies
        i = torch.searchsorted(energies, edges.detach().contiguous(), right=True).clamp(1, energies.numel() - 1) - 1
        place = i + (edges - energies[i]) / (energies[i + 1] - energies[i])
        place = place.clamp(0.0, float(energies.numel() - 1))
        inside = (edges[:, :-1] * (1.0 + FUZZY) >= energies[0]) & (edges[:, :-1] < energies[-1])
        return place, inside

    def _factor(self, kind: str, values: torch.Tensor, place: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        width = torch.diff(place, dim=1)
        covered = inside & (width > 0.0)
        mean = torch.diff(_sum_to(values, place), dim=1) / torch.where(covered, width, 1.0)
        if kind == "etable":
            mean = torch.where(mean > OPAQUE, 0.0, torch.exp(-mean.clamp_max(OPAQUE)))
        low, high = self.outside
        beyond = torch.where(torch.cumsum(covered, 1) > 0, high, low)
        return torch.where(covered, mean, beyond)


def _sum_to(values: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return the sum of the table's bins up to positions: (batch, n), (rows, m) -> (batch, m)."""
    cumulative = torch.nn.functional.pad(torch.cumsum(values, 1), (1, 0))
    i = place.detach().floor().clamp(0, values.shape[1] - 1).long()
    share = place - i
    i = i.expand(values.shape[0], -1)
    return cumulative.gather(1, i) + share * values.gather(1, i)


@functools.lru_cache(maxsize=16)
def _read(path: str, stamp: tuple[int, int]) -> TableModel:
    del stamp  # a changed file is another key
    with open_fits(Path(path)) as hdus:
        return TableModel(hdus, path)
