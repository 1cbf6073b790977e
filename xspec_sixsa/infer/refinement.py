"""Proposals judged by pilots, and refined on all pilots' exactly weighted draws."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws, Frozen, Pilot
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import KernelProposal, Mixture, Proposal, StudentProposal, fit_flow, temper

__all__ = ["BROAD", "KERNELS", "Pilots", "smoothed"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

BROAD = 0.05  # share of broad draws in every proposal: guards against a mode that the flow missed
SMOOTH = 0.3  # least share of the smooth part beside a flow
KERNELS = 1000  # points that carry the smooth part


class Pilots:
    """The proposals that have been tried, each with exactly weighted draws of it.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    tried : list of Pilot
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.tried: list[Pilot] = []

    @property
    def best(self) -> Pilot:
        """The one whose draws are worth most."""
        return max(self.tried, key=lambda p: p.efficiency)

    @property
    def stalled(self) -> bool:
        """Whether the latest was no better than an earlier, usable one."""
        efficiency = [p.efficiency for p in self.tried]
        return len(efficiency) > 1 and efficiency[-1] < 1.2 * max(efficiency[:-1]) and max(efficiency) > 0.05

    def judge(self, proposal: Proposal, stage: str, index: int, taught_by: float = 0.0) -> Pilot:
        """Draw from a proposal and weight the draws."""
        problem = self._problem
        # refinements' pilots grow: their draws are what the next proposal learns from
        size = problem.settings.pilot * (index if taught_by else 1)
        with problem.streams.torch(stage, index):
            u = proposal.draw(min(size, max(problem.left, 0)))
        density = proposal.log_density(u)
        pilot = Pilot(proposal, u, problem.simulate(u, "pilot", density).log_likelihood, density, taught_by)
        self.tried.append(pilot)
        return pilot

    def set_aside(self, draws: FinalDraws) -> None:
        """Take final draws that failed for a pilot: they are exact, and the more numerous the better they teach."""
        self.tried.append(draws.as_pilot())
        if draws.frozen.pilot in self.tried:
            self.tried.remove(draws.frozen.pilot)  # judged by few draws, it promised more than it held

    def refine(self, attempt: int) -> Frozen:
        """Fit flows to the pilots' draws, piloted in turn, while that pays; the best proposal of all."""
        problem, s = self._problem, self._problem.settings
        taught = s.teachers * problem.dimension
        for number in range(1, s.refinements + 1):
            best = self.best
            if best.efficiency >= s.good_enough and best.taught_by >= taught:
                break
            if problem.left < number * s.pilot + s.target_ess:
                log.info("refinement ends: the budget of %d leaves no room for another", s.budget)
                break
            proposal, ess = self._refined(attempt, number)
            pilot = self.judge(proposal, f"refinement {attempt}", number, ess)
            log.info("refinement %d: the proposal's draws are %.1f %% effective", number, 100 * pilot.efficiency)
            if pilot.efficiency < 1.1 * best.efficiency and best.taught_by >= taught:
                break
        return Frozen(self.best.proposal, pilot=self.best)

    def _refined(self, attempt: int, number: int) -> tuple[Proposal, float]:
        """A proposal fitted to the pilots' draws, and how many effective ones these are."""
        problem, s = self._problem, self._problem.settings
        u, log_weights = self._pooled()
        tempered = temper(log_weights, max(60.0, 12.0 * problem.dimension))
        with problem.streams.torch(f"kernels {attempt}", number):
            share = torch.tensor(np.exp(tempered - tempered.max()))
            points = u[torch.multinomial(share, KERNELS, replacement=True).numpy()]
        ess, least = effective_sample_size(tempered), 20.0 * problem.dimension
        if ess < least:
            return smoothed(None, points), ess
        label = f"refinement {number}" if attempt == 1 else f"refinement {attempt}.{number}"
        with (
            problem.streams.torch(f"refine {attempt}", number),
            problem.progress.task(label, s.refine_steps) as tick,
        ):
            flow = fit_flow(u, tempered, steps=s.refine_steps, tick=tick)
        return smoothed(flow, points, float(np.clip(least / ess, SMOOTH, 0.5))), ess

    def _pooled(self) -> tuple[Points, NDArray[np.float64]]:
        """All pilots' draws, weighted by the mixture of everything they were drawn from.

        Only to *fit* a proposal: weights measured against densities fitted to the same draws bias the evidence
        (METHOD.md, Traps), and never enter a result.
        """
        pilots = [p for p in self.tried if np.isfinite(p.log_likelihood).any()]
        u = np.concatenate([p.u for p in pilots])
        mixture = Mixture([p.proposal for p in pilots], [len(p.u) for p in pilots])
        return u, np.concatenate([p.log_likelihood for p in pilots]) - mixture.log_density(u)


def smoothed(flow: Proposal | None, points: Points, smooth: float = SMOOTH) -> Mixture:
    """A flow made safe to weight by: kernels on equally weighted points fill its holes, a broad share the rest.

    A flow fitted to a few hundred draws leaves holes, most of all in the tails that a prior's edge makes, and a draw in
    a hole has a huge weight.
    """
    parts: list[Proposal] = [KernelProposal(points), StudentProposal(Whitening.of(points))]
    if flow is None:
        return Mixture(parts, [1 - BROAD, BROAD])
    return Mixture([flow, *parts], [1 - smooth - BROAD, smooth, BROAD])
