"""Chains in memory: read from XSPEC's FITS files, and what the rows say about a parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from xspec_sixsa.embedded.evaluate import free_parameters
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.result.chainfile import read_chain

__all__ = ["LoadedChain", "ParameterId", "draw", "free_parameter_ids", "in_sync", "interval", "load_file",
           "loaded_chains", "position"]  # fmt: skip

_COLUMN = re.compile(r"^\s*(?P<name>.+?)__(?:(?P<model>.+)__)?(?P<index>\d+)$")


@dataclass(frozen=True)
class ParameterId:
    """What XSPEC compares to see whether a chain belongs to the present free parameters."""

    name: str
    model: str
    index: int
    unit: str

    @property
    def column(self) -> str:
        """Column name in a chain file: ``<par>__[<model>__]<index>``."""
        return f"{self.name}__{self.model}__{self.index}" if self.model else f"{self.name}__{self.index}"


@dataclass(frozen=True)
class LoadedChain:
    """A chain in memory: where it came from, its parameters, `samples` (n, d) physical, `statistic` (n,)."""

    file_name: str
    parameters: tuple[ParameterId, ...]
    samples: np.ndarray
    statistic: np.ndarray
    walkers: int

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def repeats(self) -> float:
        """Fraction of rows equal to the same walker's row before."""
        rows = np.column_stack([self.samples, self.statistic])
        lag = self.walkers or 1
        return float((rows[lag:] == rows[:-lag]).all(axis=1).sum() / len(rows))


def free_parameter_ids() -> tuple[ParameterId, ...]:
    """The free parameters in XSPEC's order."""
    return tuple(ParameterId(s.name, s.record.name, s.global_index, s.unit) for s in free_parameters())


def in_sync() -> bool:
    """Whether the loaded chains are those of the free parameters: names, order, indices and units, as XSPEC demands.

    False without a chain. Only then do `error` and the like take their answers from the chains.
    """
    return bool(session.chains) and session.chains[0].parameters == free_parameter_ids()


def interval(parameter: int, delta: float = 2.706, model: str = "") -> tuple[float, float]:
    """Central interval of a parameter over all loaded chains, as XSPEC's `error` reports it.

    Parameters
    ----------
    parameter : int
        Global parameter index within its model.
    delta : float
        Delta statistic; the interval holds the probability of chi-squared with one degree of freedom below it (2.706:
        90 %), centred on the median.
    model : str
        Name of the model, empty for the unnamed one.

    Raises
    ------
    XspecError
        If no chain is loaded, or the parameter is not in it.
    """
    if not delta > 0:
        raise XspecError(f"Delta-stat confidence value must be > 0.0, not {delta:g}.")
    values = np.sort(np.concatenate([chain.samples[:, position(parameter, model)] for chain in loaded_chains()]))
    if len(values) < 2:
        raise XspecError("Sample array size not large enough to get a confidence range: a chain of one row.")
    tail = len(values) * (1 - float(chi2.cdf(delta, 1))) / 2
    return float(values[int(tail + 0.5)]), float(values[int(len(values) - tail - 0.5)])


def draw(n: int) -> np.ndarray:
    """Rows (n, d) drawn at random from the loaded chains, e.g. for the error of a flux."""
    samples = np.concatenate([chain.samples for chain in loaded_chains()])
    return samples[session.generator.integers(len(samples), size=n)]


def loaded_chains() -> list[LoadedChain]:
    """Return the loaded chains, of which there must be one at least."""
    if not session.chains:
        raise XspecError("No chains loaded. Load one with AllChains += 'chain.fits', or run Chain('new.fits').")
    return session.chains


def position(parameter: int, model: str) -> int:
    """Return the column of a parameter's global index within its model (``""`` the unnamed one)."""
    for i, known in enumerate(loaded_chains()[0].parameters):
        if (known.index, known.model) == (parameter, model):
            return i
    label = f"{model}:{parameter}" if model else str(parameter)
    raise XspecError(f"Cannot find parameter {label} in chains. The loaded chains have "
                     f"{', '.join(p.column for p in loaded_chains()[0].parameters)}.")  # fmt: skip


def load_file(path: str) -> LoadedChain:
    """Read a chain file, refusing what XSPEC would refuse."""
    try:
        data = read_chain(path)
    except (FileNotFoundError, ValueError) as error:
        raise XspecError(f"Chain {path} cannot be loaded: {error}") from error
    header: dict[str, Any] = data.header  # keywords of any FITS type
    if len(data.samples) == 0:
        raise XspecError(f"Chain {path} has no length, it will not be loaded.")
    if str(header.get("CHAINTYP", "")) == "GoodmanWeare":
        given = header.get("NWALKERS")
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise XspecError(
                f"Chain {path} is of type GoodmanWeare, and its NWALKERS is {given!r}: a number is needed."
            )
        walkers = given
    else:
        walkers = 0
        temperature = header.get("TEMPR001", 0)
        if not (isinstance(temperature, (int, float)) and temperature > 0) or "STROW001" not in header:
            raise XspecError(f"At least 1 pair of TEMPR001 (> 0) and STROW001 keywords is required in {path}.")
    parameters = []
    for name, unit in zip(data.names, data.units, strict=True):
        match = _COLUMN.match(name)
        if match is None:
            raise XspecError(f"Column {name!r} of {path} is not <parameter>__[<model>__]<index>, e.g. nH__1.")
        parameters.append(ParameterId(match["name"], match["model"] or "", int(match["index"]), unit))
    return LoadedChain(str(path), tuple(parameters), data.samples, data.statistic, walkers)
