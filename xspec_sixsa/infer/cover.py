"""A proposal that covers the emulated posterior, found step by step."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.infer.coordinates import Straightening, Whitening
from xspec_sixsa.infer.emulatedproposal import EmulatedProposal, MovedProposal, RejectionProposal, chosen, weighed
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.proposal import (
    KernelProposal,
    Mixture,
    Proposal,
    StudentMixture,
    StudentProposal,
    temper,
)

__all__ = ["KEPT", "Cover", "cover"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

KEPT = 2000  # points that carry the kernels of a cover
KERNELS = 1000  # of them, beside a mixture
COVERED = 20000  # draws that judge a cover, and that the next is fitted to
COMPONENTS = (5, 10, 10, 20, 20, 40, 40)  # of the covers tried, in turn
ENOUGH_COVER = 0.5  # effective emulated draws per draw
PATIENCE = 2  # covers in a row that are no better
AS_ROUGH = 0.8  # of the rough share: with less, the rough likelihood has misled
POOR_COVER = 0.1  # below which moves cost less than rejection


def cover(
    points: Points, log_likelihood: Callable[[Points], Points], rough: Callable[[Points], Points] | None = None
) -> EmulatedProposal:
    """A proposal that draws the emulated posterior.

    Its cover is a mixture of Student t, fitted again to its own weighted draws of the emulated posterior until they are
    about equally heavy (population Monte Carlo: Cappe et al. 2008, Stat. Comput. 18, 447).

    Parameters
    ----------
    points : ndarray, shape (n, d)
        Of the emulated posterior, about equally weighted.
    log_likelihood : callable
        Emulated, of points (n, d); shape (n,).
    rough : callable, optional
        Nearly the same, for less: it judges covers in its place.
    """
    best, best_share = _best_of(points, rough or log_likelihood)
    if rough is not None:
        u, log_weights = weighed(best, log_likelihood, COVERED)
        best_share, before = effective_sample_size(log_weights) / len(u), best_share
        if best_share < AS_ROUGH * before:
            other, share = _best_of(_resample(u, log_weights, COVERED // 2), log_likelihood)
            best, best_share = (other, share) if share > best_share else (best, best_share)
    log.info("the cover's draws of the emulated posterior are %.2g %% effective", 100 * best_share)
    if best_share < POOR_COVER:
        return MovedProposal(best, log_likelihood)
    return RejectionProposal(best, log_likelihood)


def _best_of(points: Points, log_likelihood: Callable[[Points], Points]) -> tuple[Proposal, float]:
    """The best of several covers, and what share of its draws is effective."""
    best: Proposal = Cover(points).proposal
    best_share, failures = 0.0, 0
    for components in COMPONENTS:
        tried = Cover(points, components).proposal
        u, log_weights = weighed(tried, log_likelihood, COVERED)
        share = effective_sample_size(log_weights) / len(u)
        failures = 0 if share > best_share else failures + 1
        if share > best_share:
            best, best_share = tried, share
        if best_share > ENOUGH_COVER or failures == PATIENCE:
            break
        points = _resample(u, log_weights, COVERED // 2)
    return best, best_share


class Cover:
    """A proposal around points: kernels, a broad share, and a mixture of so many Student t where that is wanted.

    Attributes
    ----------
    proposal : Proposal
    """

    def __init__(self, points: Points, components: int = 0) -> None:
        straight, broad = Straightening(points), StudentProposal(Whitening.of(points))
        most = KERNELS if components else KEPT
        kernels = KernelProposal(points[:: -(-len(points) // most)], coordinates=straight)
        self.proposal = (
            Mixture([StudentMixture(points, components, straight), kernels, broad], [0.75, 0.2, 0.05])
            if components
            else Mixture([kernels, broad], [0.8, 0.2])
        )

    def resample(self, log_likelihood: Callable[[Points], Points], n: int) -> Points:
        """Points (n, d), equally weighted."""
        return _resample(*weighed(self.proposal, log_likelihood, 4 * n), n)


def _resample(u: Points, log_weights: Points, n: int) -> Points:
    """Points (n, d) for fits: weights are tempered where a few draws would be nearly all of them."""
    return chosen(u, temper(log_weights, n / 4), n)
