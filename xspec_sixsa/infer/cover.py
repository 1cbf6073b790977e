"""The emulated posterior as a density to draw from: rejection from a proposal that covers it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.infer.coordinates import Straightening, Whitening
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.proposal import (
    EmulatedProposal,
    KernelProposal,
    Mixture,
    Proposal,
    StudentMixture,
    StudentProposal,
    fit_flow,
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
POOR_COVER = 0.05  # below which no mixture follows the posterior, and flows are tried
FLOWS, ENOUGH_FLOW = 10, 0.15  # fitted at most, and effective emulated draws per draw that are enough then
FLOW_STEPS = 500
FLOW_TAUGHT = 4000.0  # effective draws that a flow is fitted to
FLOW_SHARE = 0.9  # of a cover, beside the cover that it began with


def cover(points: Points, log_likelihood: Callable[[Points], Points]) -> EmulatedProposal:
    """A proposal that draws the emulated posterior.

    Its cover is a mixture of Student t, fitted again to its own weighted draws of the emulated posterior until they are
    about equally heavy (population Monte Carlo: Cappe et al. 2008, Stat. Comput. 18, 447).

    Parameters
    ----------
    points : ndarray, shape (n, d)
        Of the emulated posterior, about equally weighted.
    log_likelihood : callable
        Emulated, of points (n, d); shape (n,).
    """
    best: Proposal = Cover(points).proposal
    best_share = 0.0
    for components in COMPONENTS:
        tried = Cover(points, components).proposal
        u, log_weights = _weighed(tried, log_likelihood, COVERED)
        share = effective_sample_size(log_weights) / len(u)
        if share > best_share:
            best, best_share = tried, share
        if best_share > ENOUGH_COVER:
            break
        points = _resample(u, log_weights, COVERED // 2)
    if best_share < POOR_COVER:
        best, best_share = _flowing(best, best_share, log_likelihood)
    proposal = EmulatedProposal(best, log_likelihood)
    log.info(
        "the cover's draws of the emulated posterior are %.2g %% effective, %.2g %% are accepted",
        100 * best_share,
        100 * proposal.acceptance,
    )
    return proposal


def _flowing(first: Proposal, share: float, log_likelihood: Callable[[Points], Points]) -> tuple[Proposal, float]:
    """A cover by a flow, fitted to its own weighted draws again and again: for many parameters, thinly spread."""
    best, (u, log_weights) = first, _weighed(first, log_likelihood, COVERED)
    for number in range(1, FLOWS + 1):
        flow = fit_flow(u, temper(log_weights, FLOW_TAUGHT), steps=FLOW_STEPS)
        tried = Mixture([flow, first], [FLOW_SHARE, 1 - FLOW_SHARE])
        u, log_weights = _weighed(tried, log_likelihood, COVERED)
        found = effective_sample_size(log_weights) / COVERED
        log.info("covering the emulated posterior by a flow, step %d: %.2g %% effective", number, 100 * found)
        if found > share:
            best, share = tried, found
        if share > ENOUGH_FLOW:
            break
    return best, share


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
        return _resample(*_weighed(self.proposal, log_likelihood, 4 * n), n)


def _weighed(proposal: Proposal, log_likelihood: Callable[[Points], Points], n: int) -> tuple[Points, Points]:
    """Draws (n, d) and their log weights."""
    u = proposal.draw(n)
    return u, log_likelihood(u) - proposal.log_density(u)


def _resample(u: Points, log_weights: Points, n: int) -> Points:
    tempered = temper(log_weights, n / 4)
    share = torch.tensor(np.exp(tempered - tempered.max()))
    return u[torch.multinomial(share, n, replacement=True).numpy()]
