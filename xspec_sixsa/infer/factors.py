"""The linear structure of a model: which free norms multiply a curve each, and which parameters shape that curve.

Every XSPEC model is linear in its additive norms, unless a convolution, a link or a component of the user's own makes
it otherwise: ``expected counts = sum_k norm_k S_k(shape of k)``, times cross-calibration constants by spectrum; and
where a component occurs twice, the two have one curve. Nothing of this is assumed: each statement is tried on the
model, and what does not hold is not used.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xspec_sixsa.infer.partmap import PartMap

__all__ = ["Factors", "Hints", "Part", "Scale", "find_factors"]

Points = NDArray[np.float64]
Measure = Callable[[Points], Points]

BASE, MOVED = 0.3820, 0.6180  # of the prior, where structure is looked for: no symmetric value
REFERENCE = 0.9  # quantile of a norm's prior at which its curve is measured
EXACT = 1e-5  # of the terms' sum in every bin: above what single precision rounds, below what any noise shows


@dataclass(frozen=True)
class Hints:
    """What the session knows without an evaluation.

    Attributes
    ----------
    norms : sequence of int
        Free parameters that are norms of additive components, and may be zero.
    own : mapping of int to sequence of int
        The other free parameters of each norm's own component.
    constants : sequence of int
        Free factors of ``constant`` components.
    together : sequence of sequence of int
        Columns of the cube that one prior uses together.
    spectra : sequence of slice
        Bins of each spectrum.
    kinds : mapping of int to str
        The norms' kinds of component, the free parameters' names: what two copies of one component have in common.
    """

    norms: Sequence[int]
    own: Mapping[int, Sequence[int]]
    constants: Sequence[int] = ()
    together: Sequence[Sequence[int]] = ()
    spectra: Sequence[slice] = ()
    kinds: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A share of the model that is proportional to one norm.

    Attributes
    ----------
    norm : int or None
        The free parameter; None for what remains with all free norms at zero.
    inputs : tuple of int
        Columns of the unit cube that shape its curve.
    curve : int
        The first part that has the same curve, its inputs in the same order; its own number where there is none.
    """

    norm: int | None
    inputs: tuple[int, ...]
    curve: int


@dataclass(frozen=True, eq=False)
class Scale:
    """A free parameter that multiplies all counts in some bins.

    Attributes
    ----------
    column : int
    bins : ndarray of bool, shape (n_bins,)
    """

    column: int
    bins: NDArray[np.bool_]


class Factors:
    """A model as a sum of parts.

    Parameters
    ----------
    transform : callable
        The prior's map from the unit cube (n, d) to physical parameters (n, d).
    measure : callable
        Expected source counts (n, n_bins) at physical parameters (n, d), NaN where the model failed.
    norms : sequence of int
    dimension : int

    Attributes
    ----------
    parts : list of Part
    scales : list of Scale
    known : list of (ndarray (n, inputs), ndarray (n, n_bins))
        By part: where its curve was measured while the structure was found, and the curves.
    exchanges : list of ndarray of int, shape (d,)
        Orders of the columns of the unit cube in which two components of one kind have traded places.
    surveyed : bool
        Whether the known curves cover the prior: other spectra have had them measured.
    maps : list of PartMap
        By curve (`sharing`), of another spectrum, for the search for length scales to begin with; or none.
    """

    def __init__(
        self, transform: Callable[[Points], Points], measure: Measure, norms: Sequence[int], dimension: int
    ) -> None:
        self.transform, self._measure = transform, measure
        self.norms = list(norms)
        self.parts: list[Part] = []
        self.scales: list[Scale] = []
        self.known: list[tuple[Points, Points]] = []
        self.exchanges: list[NDArray[np.int_]] = []
        self.surveyed = False
        self.maps: list[PartMap] = []
        self._base = np.full(dimension, BASE)
        self._reference = transform(np.where(np.isin(np.arange(dimension), norms), REFERENCE, self._base)[None])[0]
        self._offset: Points | None = None

    @property
    def dimension(self) -> int:
        """Free parameters, d."""
        return len(self._base)

    def _rows(self, u: Points, norms: Points) -> Points:
        """Physical parameters at points (n, d), the norms' values (n, norms) set."""
        theta = self.transform(u)
        theta[:, self.norms] = norms
        for scale in self.scales:
            theta[:, scale.column] = self._reference[scale.column]
        return theta

    def curves(self, part: int, x: Points) -> Points:
        """Measure the curve of a part, for a norm of one; one evaluation each.

        Parameters
        ----------
        part : int
        x : ndarray, shape (n, inputs of the part)
            In the unit cube.

        Returns
        -------
        ndarray, shape (n, n_bins)
            Counts for a norm of one; NaN where the model failed.
        """
        u = np.tile(self._base, (len(x), 1))
        u[:, self.parts[part].inputs] = x
        return self._alone(self.parts[part].norm, u)

    def _alone(self, norm: int | None, u: Points) -> Points:
        norms = np.zeros((len(u), len(self.norms)))
        if norm is None:
            return self._measure(self._rows(u, norms))
        reference = self._reference[norm]
        norms[:, self.norms.index(norm)] = reference
        found = self._measure(self._rows(u, norms))
        return (found if self._offset is None else found - self._offset) / reference

    @property
    def sharing(self) -> list[list[int]]:
        """Numbers of the parts, those together that have one curve."""
        return [
            [k for k, part in enumerate(self.parts) if part.curve == first]
            for first in dict.fromkeys(part.curve for part in self.parts)
        ]

    @property
    def blocks(self) -> list[list[int]]:
        """By norm: its column of the unit cube and those that shape its part only."""
        shaped = [c for part in self.parts for c in part.inputs]
        return [
            [part.norm, *(c for c in part.inputs if shaped.count(c) == 1)]
            for part in self.parts
            if part.norm is not None
        ]

    def amplitudes(self, theta: Points) -> Points:
        """What multiplies the parts' curves, (n, parts), at physical parameters (n, d)."""
        return np.stack([np.ones(len(theta)) if p.norm is None else theta[:, p.norm] for p in self.parts], axis=1)

    def multipliers(self, theta: Points) -> list[tuple[NDArray[np.bool_], Points]]:
        """Bins, and what multiplies their counts (n,) at physical parameters (n, d)."""
        return [(s.bins, theta[:, s.column] / self._reference[s.column]) for s in self.scales]

    def taught(self, measure: Measure, known: Sequence[tuple[Points, Points]], maps: Sequence[PartMap]) -> Factors:
        """The same for another observation, with curves over the prior that were measured before.

        Parameters
        ----------
        measure : as for `Factors`
        known, maps : sequence
            By curve (`sharing`): where curves were measured (n, inputs), these (n, n_bins), and their map.
        """
        other = copy.copy(self)
        other._measure, other.known, other.maps, other.surveyed = measure, list(self.known), list(maps), True
        for parts, measured in zip(self.sharing, known, strict=True):
            other.known[parts[0]] = measured
        return other

    def grouped(self, starts: NDArray[np.int_]) -> Factors:
        """The same for groups of bins that begin at `starts`; the curves that are known stay as they are."""
        other = copy.copy(self)
        other.scales = [Scale(s.column, s.bins[starts]) for s in self.scales]
        return other


def find_factors(
    transform: Callable[[Points], Points], measure: Measure, hints: Hints, dimension: int
) -> tuple[Factors | None, str]:
    """Try what the hints say, in a few evaluations.

    Parameters
    ----------
    transform, measure : as for `Factors`
    hints : Hints
    dimension : int

    Returns
    -------
    Factors or None
        None where the model cannot be factored.
    str
        Why not, or empty.
    """
    if not hints.norms:
        return None, "no norm of an additive component is free, or none may be zero"
    factors = Factors(transform, measure, hints.norms, dimension)
    reference = factors._reference[factors.norms]
    if not (np.isfinite(reference) & (reference != 0)).all():
        return None, "a norm's prior has no value to measure at"
    n = len(factors.norms)
    # nothing, each norm alone, all of them, and all in other proportions
    mixed = np.array([np.ones(n), np.resize([0.37, 2.1, 0.8], n)])
    norms = np.concatenate([np.zeros((1, n)), np.eye(n), mixed]) * reference
    found = measure(factors._rows(np.tile(factors._base, (len(norms), 1)), norms))
    if not np.isfinite(found).all():
        return None, "the model gives no counts with some of its norms at zero"
    offset, alone, whole = found[0], found[1 : n + 1] - found[0], found[n + 1 :]
    if (alone < 0).any():
        return None, "a component adds negative counts"
    terms = np.abs(offset) + mixed @ np.abs(alone)
    if not _same(whole, offset + mixed @ alone, terms):
        return None, "the expected counts are not linear in the norms"
    if offset.any():
        factors._offset = offset
    for column in hints.constants:
        _try_scale(factors, column, whole[0], hints.spectra)
    scales = [s.column for s in factors.scales]
    others = [c for c in range(dimension) if c not in factors.norms and c not in scales]
    for norm, curve in zip(factors.norms, alone / reference[:, None], strict=True):
        suspects = [c for other, own in hints.own.items() if other != norm for c in own if c in others]
        suspects = [c for c in dict.fromkeys(suspects) if c not in hints.own.get(norm, ())]
        shared = [c for c in others if c not in suspects and c not in hints.own.get(norm, ())]
        _add(factors, norm, curve, others, suspects, shared if len(shared) > 1 else [], hints.together)
    if factors._offset is not None:
        _add(factors, None, offset, others, others, [], hints.together)
        if factors.parts[-1].inputs:
            # it would have to be measured at every point of the others
            return None, "components with frozen norms are shaped by free parameters"
    _pair(factors, hints.kinds)
    return factors, ""


def _same(a: Points, b: Points, terms: Points) -> bool:
    # bins that hold next to nothing are noise of the rounding
    return bool((np.abs(a - b) <= EXACT * (terms + 1e-6 * terms.max(axis=-1, keepdims=True))).all())


def _try_scale(factors: Factors, column: int, whole: Points, spectra: Sequence[slice]) -> None:
    u = np.array([factors._base])
    u[0, column] = MOVED
    theta = factors._rows(u, factors._reference[None, factors.norms])
    ratio = theta[0, column] / factors._reference[column]
    moved = factors._measure(theta)[0]
    bins = np.zeros(len(whole), dtype=bool)
    for where in spectra:
        # a spectrum is multiplied whole, or not at all: bins that are empty here need not be so elsewhere
        if not _same(moved[where], whole[where], np.abs(whole[where])):
            if not _same(moved[where], ratio * whole[where], np.abs(whole[where])):
                return
            bins[where] = True
    if bins.any():
        factors.scales.append(Scale(column, bins))


def _add(
    factors: Factors,
    norm: int | None,
    curve: Points,
    others: Sequence[int],
    suspects: Sequence[int],
    singly: Sequence[int],
    together: Sequence[Sequence[int]],
) -> None:
    """Add the part of a norm; `suspects` probably do not matter to it, those of `singly` may not."""
    points, curves = [factors._base[None]], [curve[None]]

    def matters(columns: Sequence[int]) -> bool:
        u = factors._base[None].copy()
        u[0, list(columns)] = MOVED
        moved = factors._alone(norm, u)
        if not np.isfinite(moved).all():
            return True
        points.append(u)
        curves.append(moved)
        return not _same(moved[0], curve, np.abs(curve))

    irrelevant = set(_irrelevant(suspects, matters))
    irrelevant |= set(itertools.chain.from_iterable(_irrelevant([c], matters) for c in singly))
    relevant = {c for c in others if c not in irrelevant}
    for columns in together:
        if len(columns) > 1 and relevant & set(columns):
            relevant |= set(columns)
    part = Part(norm, tuple(sorted(relevant)), len(factors.parts))
    factors.parts.append(part)
    factors.known.append((np.concatenate(points)[:, part.inputs], np.concatenate(curves)))


def _pair(factors: Factors, kinds: Mapping[int, str]) -> None:
    """Find components of one kind, which can trade places; let those for which measurements agree have one curve."""
    for j, k in sorted(itertools.combinations(range(len(factors.parts)), 2), key=lambda pair: pair[1]):
        part, first = factors.parts[k], factors.parts[j]
        if part.norm is None or first.norm is None or kinds.get(part.norm, "") != kinds.get(first.norm):
            continue
        own = [c for c in part.inputs if c not in first.inputs]
        theirs = {kinds.get(c, ""): c for c in first.inputs if c not in part.inputs}
        names = [kinds.get(c, "") for c in own]
        if (
            len(part.inputs) != len(first.inputs)
            or not part.inputs
            or len(theirs) < len(own)
            or set(names) != set(theirs)
        ):
            continue
        order, here, there = np.arange(factors.dimension), [*own, part.norm], [*(theirs[n] for n in names), first.norm]
        order[here], order[there] = there, here
        factors.exchanges.append(order)
        if first.curve == j and part.curve == k:
            _join(factors, k, j, tuple(order[list(first.inputs)]))


def _join(factors: Factors, k: int, j: int, inputs: tuple[int, ...]) -> None:
    """Let part `k`, with its inputs in the order of `inputs`, have the curve of part `j`, if it is the same."""
    part, first = factors.parts[k], factors.parts[j]
    order = [part.inputs.index(c) for c in inputs]
    x, curve = factors.known[k][0][:1][:, order], factors.known[k][1][:1]
    u = np.tile(factors._base, (2, 1))
    u[0, list(first.inputs)] = x[0]
    u[1, list(first.inputs)] = MOVED
    found = factors._alone(first.norm, u)
    u[1, list(inputs)] = MOVED
    moved = factors._alone(part.norm, u[1:])
    if _same(found, np.concatenate([curve, moved]), np.abs(found)):
        factors.parts[k] = replace(part, inputs=inputs, curve=j)
        points, curves = factors.known[j]
        factors.known[j] = np.concatenate([points, u[1:, inputs]]), np.concatenate([curves, moved])


def _irrelevant(columns: Sequence[int], matters: Callable[[Sequence[int]], bool]) -> Iterable[int]:
    """Which columns do not matter, halving those that together do."""
    if not columns:
        return []
    if not matters(columns):
        return columns
    if len(columns) == 1:
        return []
    half = len(columns) // 2
    return [*_irrelevant(columns[:half], matters), *_irrelevant(columns[half:], matters)]
