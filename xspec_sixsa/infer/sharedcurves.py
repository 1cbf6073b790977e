"""Curves of a model's parts, measured once through a response and folded for every spectrum that was taken with it.

An evaluation gives expected counts in the channels of the response, whatever was observed. For one spectrum these are
summed over its own groups and scaled to its own exposure: nothing is evaluated again.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.infer.factors import Factors, Scale

if TYPE_CHECKING:
    from xspec_sixsa.infer.partmap import PartMap

__all__ = ["CurveLibrary", "Fold", "FoldedFactors"]

Points = NDArray[np.float64]
Measure = Callable[[int, Points], Points]


@dataclass(frozen=True, eq=False)
class Fold:
    """From the channels of a response to the groups of one spectrum.

    Attributes
    ----------
    channels : ndarray of int (k,)
        Channels that belong to a noticed group, group by group, counted from 0.
    starts : ndarray of int (n,)
        Where in `channels` each group begins.
    scale : ndarray (n,)
        Exposure times AREASCAL of each group, over the exposure that the channels' counts are for.
    """

    channels: NDArray[np.int_]
    starts: NDArray[np.int_]
    scale: Points

    @property
    def n_bins(self) -> int:
        """Groups."""
        return len(self.starts)

    def __call__(self, counts: NDArray[np.floating]) -> Points:
        """Expected counts (m, n) of the groups, for (m, channels of the response)."""
        return np.add.reduceat(counts[:, self.channels].astype(float), self.starts, axis=1) * self.scale


def _out_of_reach(*_: Any) -> Points:
    raise RuntimeError("A copy of a library of curves cannot measure: give it a `measure`.")


class CurveLibrary:
    """What has been measured of the parts' curves, in the channels of the response.

    Parameters
    ----------
    factors : Factors
        Of the model, in these channels; curves measured while the structure was found are the first ones.
    measure : callable, optional
        ``(part, x) -> curves``; default: the factors' own.

    Attributes
    ----------
    known : list of (ndarray (n, inputs), ndarray (n, channels))
        By part, as `Factors.known`.
    maps : list of PartMap
        As `Factors.maps`: of the spectrum that was trained last.
    """

    def __init__(self, factors: Factors, measure: Measure | None = None) -> None:
        self.factors, self.measure = factors, measure or factors.curves
        self.known = list(factors.known)
        self.maps: list[PartMap] = []

    def __getstate__(self) -> dict[str, Any]:
        """What other machines can have: all but what measures, which they are given another of."""
        factors = copy.copy(self.factors)
        factors._measure = _out_of_reach
        return self.__dict__ | {"factors": factors, "measure": _out_of_reach}

    def __len__(self) -> int:
        return sum(len(self.known[parts[0]][0]) for parts in self.factors.sharing)

    def curves(self, part: int, x: Points) -> Points:
        """Measure curves at points (n, inputs of the part), and keep them."""
        found = self.measure(part, x)
        points, curves = self.known[part]
        self.known[part] = np.concatenate([points, x]), np.concatenate([curves, found])
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curves, and the structure that they belong to, as numbers (``.npz``)."""
        arrays: dict[str, Any] = {"structure": np.array(self._structure)}
        for k, (x, curves) in enumerate(self.known):
            arrays |= {f"x_{k}": x, f"curves_{k}": curves}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    def take(self, path: str | os.PathLike[str]) -> None:
        """Know what `save` has written, too.

        Raises
        ------
        ValueError
            Where it is of a model of another structure.
        """
        with np.load(path, allow_pickle=False) as saved:
            if str(saved["structure"]) != self._structure:
                raise ValueError(f"The curves in {path} are another model's.")
            for k, (x, curves) in enumerate(self.known):
                self.known[k] = np.concatenate([x, saved[f"x_{k}"]]), np.concatenate([curves, saved[f"curves_{k}"]])

    @property
    def _structure(self) -> str:
        parts = [[part.norm, list(part.inputs), part.curve] for part in self.factors.parts]
        return json.dumps({"parts": parts, "scales": [scale.column for scale in self.factors.scales]})

    def folded(self, fold: Fold) -> FoldedFactors:
        """The model's structure as one spectrum sees it, with the curves that are known now."""
        return FoldedFactors(self, fold)


class FoldedFactors(Factors):
    """A model's structure in the groups of one spectrum; what it measures goes to the library.

    Parameters
    ----------
    library : CurveLibrary
    fold : Fold
    """

    def __init__(self, library: CurveLibrary, fold: Fold) -> None:
        whole = library.factors
        super().__init__(whole.transform, whole._measure, whole.norms, whole.dimension)
        self._library, self._fold = library, fold
        self.parts, self.exchanges = whole.parts, whole.exchanges
        self.scales = [Scale(scale.column, np.ones(fold.n_bins, dtype=bool)) for scale in whole.scales]
        self.known = [(x, fold(curves)) for x, curves in library.known]
        self.maps = library.maps
        # beside those few that the structure was found with, the first spectrum has measured the whole prior's
        self.surveyed = any(len(x) > len(first) for (x, _), (first, _) in zip(library.known, whole.known, strict=True))

    def curves(self, part: int, x: Points) -> Points:
        """As `Factors.curves`: (n, groups) at points (n, inputs of the part)."""
        return self._fold(self._library.curves(part, x))
