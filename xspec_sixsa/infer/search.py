"""Emulate, then propose: evaluate where the emulated posterior is, until the emulator is right there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from xspec_sixsa.common.ensemble import stretch_moves
from xspec_sixsa.infer.coordinates import EDGE
from xspec_sixsa.infer.cover import KEPT, Cover, cover
from xspec_sixsa.infer.emulatedproposal import EmulatedProposal
from xspec_sixsa.infer.emulator import Emulator, Recovery, ReducedEmulator
from xspec_sixsa.infer.importance import effective_error, negligible_share, tempering_power, unseen_share
from xspec_sixsa.infer.paired import STEPS, PairedEmulator
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import Proposal
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["Search", "teaching_weights"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

WALKERS = 200
ENOUGH_POWER = 0.1  # of the likelihood at which a very accurate emulator ends the search
PATIENCE = 3  # steps without improvement that end a search
MOVES = 60  # stretch moves a step, from points that already lie where the density is
LEAST_WEIGHT = 1e-3  # of evaluations far from the posterior: they keep the emulator sane where it extrapolates
TEMPERED_ESS = 60.0  # effective evaluations that the next temperature must rest on


class Search:
    """The loop of evaluations that teach an emulator.

    Parameters
    ----------
    problem : Problem
    simulations : Simulations
        What has been evaluated.
    emulator : ReducedEmulator, optional
        To begin with; default: one that is fitted to the simulations.

    Attributes
    ----------
    simulations : Simulations
        What has been evaluated so far.
    emulator : ReducedEmulator
        That learned from them.
    explorer : Proposal or None
        A neural posterior that saw the whole prior: it finds modes that the evaluations so far do not show.
    error : float
        Of the emulator in log L, over the last step's evaluations, which it had not seen: the standard deviation of
        Gaussian errors that cost as many effective samples, ``sqrt(log(n / ESS))``.
    spread : float
        Standard deviation of exact minus emulated log L there.
    unseen : float
        Share of the evidence that may hide where the emulator is far too low (`importance.unseen_share`).
    power : float
        Of the likelihood, in the last step.
    steps : list of dict
        ``power``, ``error`` (the `spread`), ``effective_error`` (the `error`), ``samples``, ``evaluations``.
    """

    def __init__(self, problem: Problem, simulations: Simulations, emulator: ReducedEmulator | None = None) -> None:
        self._problem, self.simulations = problem, simulations
        self.explorer: Proposal | None = None
        self.error = self.spread = float("inf")
        self.unseen, self.power = 1.0, 0.0
        self.steps: list[dict[str, Any]] = []
        self._beta = 1.0
        self.emulator: ReducedEmulator
        if emulator is None:
            self._learn(None)
        else:
            self.emulator = emulator

    @property
    def measured(self) -> int:
        """Evaluations that the emulator has learned from."""
        return len(self.simulations.u)

    @property
    def accuracy(self) -> float:
        """Error in log L that ends the search."""
        return self._problem.settings.accuracy

    def add(self, simulations: Simulations) -> None:
        """Take further evaluations into account."""
        self.simulations = self.simulations + simulations[simulations.usable]

    def run(self, most: int, reserve: int) -> None:
        """Search until the emulator is accurate, `most` steps were made, or only `reserve` evaluations are left."""
        s = self._problem.settings
        for _ in range(most):
            if self._problem.left - s.batch < reserve:
                log.info("the search ends: the budget leaves no room for another step")
                break
            self._step(len(self.steps) + 1)
            # a tempered posterior holds the posterior: an emulator that is right there needs no step at full power
            limit = s.accuracy if self.power == 1 else 0.5 * s.accuracy
            if self.power >= ENOUGH_POWER and self.error < limit and self.unseen < negligible_share(s.batch):
                break
            errors = [step["effective_error"] for step in self.steps if step["power"] == 1]
            if len(errors) > PATIENCE and min(errors[-PATIENCE:]) > 0.9 * min(errors[:-PATIENCE]):
                log.info("the search ends: the emulator has not improved in %d steps", PATIENCE)
                break
        self._learn(self.emulator)

    def _learn(self, previous: ReducedEmulator | None) -> None:
        s, problem = self.simulations, self._problem
        weights, self._beta = teaching_weights(s.log_likelihood)
        name = f"emulator: {len(s.u)} spectra"
        if problem.settings.emulator == "paired":
            with problem.progress.task(name, STEPS) as tick, problem.streams.torch("paired", len(s.u)):
                self.emulator = PairedEmulator(s.u, s.counts, weights, problem.noise, steps=STEPS, tick=tick)
            return
        with problem.progress.task(name, 1, "fit"):
            earlier = previous if isinstance(previous, Emulator) else None
            self.emulator = Emulator(s.u, s.counts, weights, problem.noise, earlier)

    def _step(self, number: int) -> None:
        settings = self._problem.settings
        if number > 1:
            self._learn(self.emulator)
        # no further than the last step's error allows, nor than the evaluations so far reach
        self.power = min(1.0, max(4 * self._beta, 1 / max(self.spread, 1e-3)))
        rng = self._problem.streams.numpy("search", number)
        with self._problem.progress.task(f"search {number}: sampling the emulator", 1, "ensemble"):
            exploring = int(settings.explore * settings.batch)
            near = self.sample(rng, self.power)[: settings.batch - exploring]
        parts = [near, rng.random((exploring - exploring // 2, near.shape[1]))]
        if self.explorer is not None:
            with self._problem.streams.torch("explore", number):
                parts.append(self.explorer.draw(exploring // 2))
        new = self._problem.simulate(np.concatenate(parts), "search")
        emulated = self.emulator.log_likelihood(near)
        exact = new.log_likelihood[: len(near)]
        difference = exact - emulated
        finite = np.isfinite(exact)
        if finite.sum() > 1:
            self.spread = float(np.std(difference[finite]))
            self.error = effective_error(difference)
            self.unseen = unseen_share(difference)
        self.steps.append(
            {
                "power": self.power,
                "error": self.spread,
                "effective_error": self.error,
                "samples": near,
                "evaluations": len(new.u),
            }
        )
        self.add(new)
        log.info(
            "search %d: likelihood to the power %.3g, best log L %.2f, emulator off by %.2f in log L",
            number, self.power, self.simulations.log_likelihood.max(), self.spread,
        )  # fmt: skip

    def sample(self, rng: np.random.Generator, power: float = 1.0) -> Points:
        """Points (KEPT, d) of the posterior whose emulated likelihood is raised to `power`, about equally weighted.

        Stretch moves find where the density is; one importance resampling from kernels on the walkers then fills tails
        and sets the shares of separate modes, which walkers cannot leave.
        """
        candidates, value = self._candidates()
        weight = np.exp(power * (value - value.max()))
        chosen = rng.choice(len(candidates), WALKERS, p=weight / weight.sum())
        z = ndtri(np.clip(candidates[chosen], EDGE, 1 - EDGE))
        # copies part ways: moves along the line between two equal walkers lead nowhere
        z += 0.1 * (z.std(axis=0) + 1e-6) * rng.standard_normal(z.shape)
        late = [
            _cube(positions)
            for step, (positions, _) in enumerate(stretch_moves(self._log_density(power), z, None, MOVES, rng), 1)
            if step > MOVES // 2
        ]
        points = rng.permutation(np.concatenate(late))[:KEPT]
        # components of one kind may have traded places: the weights tell how much is there
        exchanges = [] if self._problem.factors is None else self._problem.factors.exchanges
        points = np.concatenate([points, *(points[:, order] for order in exchanges)])
        with self._problem.streams.torch("sample", int(rng.integers(2**31))):
            return Cover(points).resample(lambda u: power * self.emulator.log_likelihood(u), KEPT)

    def _log_density(self, power: float) -> Callable[[Points], Points]:
        # the prior is a unit normal in z: no walls for walkers to wait at
        return lambda z: power * self.emulator.log_likelihood(_cube(z)) - 0.5 * (z**2).sum(axis=1)

    def _candidates(self) -> tuple[Points, Points]:
        """Points to start walkers from, with log likelihoods: evaluated ones, and what explorer and inverse give."""
        s = self.simulations
        with self._problem.streams.torch("candidates", len(self.steps)):
            found = [] if self.explorer is None else [self.explorer.draw(WALKERS)]
            if not self.steps:
                found.append(self.emulator.starts())
        if not found:
            return s.u, s.log_likelihood
        u = np.concatenate(found)
        return np.concatenate([s.u, u]), np.concatenate([s.log_likelihood, self.emulator.log_likelihood(u)])

    def recovery(self, n: int = 300) -> Recovery:
        """`Emulator.recovery`, against `n` spectra of the emulated posterior."""
        points = self.sample(self._problem.streams.numpy("recovery", len(self.steps)))[:n]
        with self._problem.streams.torch("recovery", len(self.steps)):
            return self.emulator.recovery(points)

    def proposal(self) -> EmulatedProposal:
        """The emulated posterior as a density to draw from: see `cover.cover`."""
        number, streams = len(self.steps), self._problem.streams
        task = self._problem.progress.task("covering the emulated posterior", 1, "ensemble")
        with streams.torch("cover", number), task:
            return cover(self.sample(streams.numpy("cover", number)), self.emulator.log_likelihood)


def teaching_weights(log_likelihood: Points) -> tuple[Points, float]:
    """How much an emulator is to care for evaluated points, by their likelihood (n,), and the power that it goes by."""
    power = tempering_power(log_likelihood, max(TEMPERED_ESS, len(log_likelihood) / 20))
    depth = power * (log_likelihood.max() - log_likelihood)
    # spectra far off differ by so much that their share must shrink as the square of the distance grows
    return np.exp(-0.5 * depth) + LEAST_WEIGHT / (1 + depth), power


def _cube(z: Points) -> Points:
    return np.clip(ndtr(z), EDGE, 1 - EDGE)
