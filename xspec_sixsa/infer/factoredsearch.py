"""Measure components, then propose: curves are measured where the emulated posterior is, until the emulator is right.

Beside a few space-filling points of each part's own shape parameters, curves are measured where they are least known
among the points of the emulated posterior: one part at a time, by what its error costs in units of the observation's
noise. A few whole spectra a step, which no map has seen, say how far the emulator is off.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import chi2, qmc

from xspec_sixsa.infer.conditioned import ConditionedNorms, ConditionedProposal
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.cover import KEPT, cover
from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.emulator import Recovery
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.importance import effective_error, tempering_power
from xspec_sixsa.infer.partmap import PartMap
from xspec_sixsa.infer.population import Population
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import Proposal
from xspec_sixsa.infer.simulations import Simulations

__all__ = ["FactoredSearch"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

FIRST = 8  # space-filling points of a part, for each of its shape parameters and one
STEP = 6  # curves measured a step, for each shape parameter of each part
GROWTH = 1.5  # of a step's curves over the last's, where the last has not raised the likelihood's power, or been better
SLOW = 0.3  # of the curves so far: a step's at least, where steps of a plasma leave errors as the square root of curves
LESSON = 2  # times a step's curves, where final draws teach: these are many more than a step's checks
CHECKS, FEW_CHECKS = 16, 8  # whole spectra evaluated a step, and one with less than the likelihood's full power
TRUSTED = 0.5  # of them, that are effective with the power that the emulator's errors allow
POOL = 400  # points of the emulated posterior among which those to be measured are chosen
KNOWN = 1e-6  # of the largest variance in a pool: what rounding leaves of a point that has been chosen
IRRELEVANT = 1e-3  # of a normal posterior, that lies farther below the best log L
BLAMED = 0.1  # of the largest variance at a point, from which a curve may be to blame for what is off there
LEAST_WEIGHT = 1e-3  # of curves far from the posterior
NEAR = 0.5  # standard deviations of the posterior within which a curve is near to it
PATIENCE, TRIPLED = 3, 3  # steps at full power without improvement, and times as many curves, that end a search
IMPROVED = 0.9  # of the least error before, that is an improvement
ASTRAY = 3.0  # times the least error in log L, from which a population is where the emulator is wrong
RESOLVED = 1000  # curves that resolve a narrow line over a whole band, in two parameters
HOPE = 4  # steps in which the likelihood's power must have doubled by then
WALKERS, MOVES = 600, 8  # of the population that a step is drawn from
# of what bins tell: where a posterior is sought, where it is known, and with a small power of the likelihood
LOST, LEAST_LOST, MOST_LOST = 3e-3, 3e-4, 0.03
ACCURACY = (0.05, 0.3)  # error in log L, at least and at most, that ends a search
HOPELESS = 1.0  # error in log L beyond which the emulated posterior is none to draw from
AMPLITUDE = 0.9  # quantile of a norm over prior or posterior for which its part is learned


class _Curve:
    """What is known of one curve.

    Attributes
    ----------
    parts : list of int
        Which have it.
    x : ndarray, shape (n, p)
        Where it was measured.
    curves : ndarray, shape (n, n_bins)
        For a norm of one.
    map : PartMap or None
        The latest; at first another spectrum's, where there is one.
    """

    def __init__(self, parts: list[int], x: Points, curves: Points, earlier: PartMap | None) -> None:
        self.parts, self.map = parts, earlier
        self.x, self.curves = np.empty((0, x.shape[1])), np.empty((0, curves.shape[1]))
        self._measured: set[bytes] = set()
        self.add(x, curves)

    def unknown(self, x: Points) -> NDArray[np.bool_]:
        """Which rows of x (n, p) were not measured."""
        return np.array([row.tobytes() not in self._measured for row in x], dtype=bool)

    def add(self, x: Points, curves: Points) -> None:
        self._measured.update(row.tobytes() for row in x)
        usable = np.isfinite(curves).all(axis=1)
        x, curves = np.concatenate([self.x, x[usable]]), np.concatenate([self.curves, curves[usable]])
        first = np.sort(np.unique(x, axis=0, return_index=True)[1]) if x.shape[1] else slice(1)
        self.x, self.curves = x[first], curves[first]


class FactoredSearch:
    """The loop of measurements that teach a factored emulator.

    Parameters
    ----------
    problem : Problem
    factors : Factors
        Its model's.

    Attributes
    ----------
    emulator : FactoredEmulator
    error : float
        Of the emulator in log L, over the last step's whole spectra: the standard deviation of Gaussian errors that
        cost as many effective samples.
    steps : list of dict
        ``power``, ``error`` (standard deviation of exact minus emulated log L), ``effective_error``, ``samples``,
        ``evaluations``.
    measured : int
        Curves measured.
    start : Proposal or None
        Where populations that seek the emulated posterior begin; None: with the prior.
    """

    emulator: FactoredEmulator
    start: Proposal | None = None
    _population: Population
    _rough: Population  # the same of the coarse emulator, from which the next is found

    def __init__(self, problem: Problem, factors: Factors) -> None:
        self._problem, self._factors = problem, factors
        # power of the likelihood as far as the last step's errors let the emulator be trusted
        self.error, self._trusted = float("inf"), 0.0
        self.steps: list[dict[str, Any]] = []
        self._worst = np.empty((0, problem.dimension))  # where curves are to blame
        self._compared_u, self._compared = np.empty((0, problem.dimension)), np.empty(0)  # all points, exact log L
        self._taught = 0  # steps before final draws showed that their errors were too small
        noise = problem.noise
        expected = noise.expected(torch.zeros(1, noise.n_bins))[0, : noise.n_bins].numpy()
        observed = noise.observed[: noise.n_bins].numpy()
        self._variance = np.where(
            noise.gaussian[: noise.n_bins], noise.sigma[: noise.n_bins].square(), np.maximum(observed, expected + 1.0)
        )
        rng = problem.streams.numpy("parts")
        self._curves = []
        for parts, earlier in itertools.zip_longest(factors.sharing, factors.maps):
            curve = _Curve(parts, *factors.known[parts[0]], earlier)
            self._curves.append(curve)
            p = curve.x.shape[1]
            if p and not factors.surveyed:
                n = FIRST * (p + 1)
                self._measure(curve, qmc.Sobol(p, rng=rng).random_base2(int(np.ceil(np.log2(n))))[:n])
        top = np.where(np.isin(np.arange(factors.dimension), factors.norms), AMPLITUDE, 0.5)
        self._amplitudes = np.abs(factors.amplitudes(factors.transform(top[None]))[0])
        self._learn(None)

    @property
    def measured(self) -> int:
        """Curves that the emulator has learned from."""
        return sum(len(curve.x) for curve in self._curves)

    @property
    def known(self) -> list[tuple[list[int], Points, Points]]:
        """By curve: columns of the cube that shape it, where it was measured (n, inputs), and what was (n, n_bins)."""
        parts = self._factors.parts
        return [(list(parts[curve.parts[0]].inputs), curve.x, curve.curves) for curve in self._curves]

    def _measure(self, curve: _Curve, x: Points) -> None:
        x = x[curve.unknown(x)]
        if len(x):
            curve.add(x, self._factors.curves(curve.parts[0], x))

    def _take(self, whole: Simulations) -> int:
        """Learn from whole spectra, each the curve times its norm where the model is one part; how many were taken."""
        factors, curve = self._factors, self._curves[0]
        if len(factors.parts) > 1:
            return 0
        theta, counts = factors.transform(whole.u), whole.counts.numpy().astype(float)
        for bins, multiplier in factors.multipliers(theta):
            counts[:, bins] /= multiplier[:, None]
        before = len(curve.x)
        curve.add(whole.u[:, factors.parts[0].inputs], counts / factors.amplitudes(theta))
        self._worst = self._worst[:0]  # it is known there now
        return len(curve.x) - before

    def _inputs(self, curve: _Curve, u: Points) -> Points:
        """Where the parts that have a curve need it, for points (n, d): (parts * n, p), part by part."""
        return np.concatenate([u[:, self._factors.parts[k].inputs] for k in curve.parts])

    def _amplitude(self, curve: _Curve) -> float:
        return float(self._amplitudes[curve.parts].max())

    def _learn(self, posterior: Points | None) -> None:
        """Fit the maps; `posterior` (n, d) says where they must be right, without it everywhere."""
        maps = []
        with self._problem.progress.task(f"emulator: {self.measured} curves", 1, "fit"):
            for curve in self._curves:
                weights = np.ones(len(curve.x))
                if posterior is not None and curve.x.shape[1]:
                    weights = _closeness(curve.x, self._inputs(curve, posterior))
                curve.map = PartMap(curve.x, curve.curves, weights, self._amplitude(curve), self._variance, curve.map)
                maps.append(curve.map)
            self.emulator = FactoredEmulator(self._factors, maps, self._problem.noise)

    @property
    def has_failed(self) -> bool:
        """Whether the emulator does not know the posterior: a search ended before it was right there."""
        return bool(self.steps) and (self.error > HOPELESS or self.steps[-1]["power"] < 1)

    @property
    def step(self) -> int:
        """Evaluations of a step at full power: whole spectra and curves."""
        return CHECKS + STEP * sum(curve.x.shape[1] for curve in self._curves)

    @property
    def accuracy(self) -> float:
        """Error in log L that ends the search."""
        return self._problem.settings.worthwhile(self.step, *ACCURACY)

    def run(self, most: int, reserve: int) -> None:
        """Search until the emulator is accurate, `most` steps were made, or only `reserve` evaluations are left."""
        for _ in range(most):
            curves = self._curves_of_a_step()
            if self._problem.left - CHECKS - curves < reserve:
                log.info("the search ends: the budget leaves no room for another step")
                if not self.steps:
                    self.locate(trusted=False)
                return
            power = self._check()
            if power == 1 and self.error < self.accuracy:
                return
            why = self._why_to_end()
            if why:
                log.info("the search ends: %s", why)
                return
            before = self.measured
            self._teach(curves)
            self.steps[-1]["evaluations"] += self.measured - before

    def _why_to_end(self) -> str:
        """Why no further step is worth it, though the emulator is not yet accurate; empty where one is."""
        full = self._full
        errors = [step["effective_error"] for step in full]
        if errors and self.error > max(HOPELESS, ASTRAY * min(errors)):  # a mode that is none: it is unlearned next
            return self._why_hopeless()
        # as with skis that are rented until they could have been bought: never twice of what was best
        saved = self._problem.settings.target_ess * np.expm1(min(errors, default=np.inf) ** 2)
        if self.steps[-1]["power"] == 1 and sum(step["evaluations"] for step in full) > saved:
            return "further steps would cost more than the draws that they save"
        stalled = self._stalled
        if stalled >= PATIENCE and self.measured > TRIPLED * full[-1 - stalled]["curves"]:
            return f"the emulator has not improved in {stalled} steps, with three times as many curves"
        return self._why_hopeless()

    @property
    def _full(self) -> list[dict[str, Any]]:
        """Steps at full power since final draws taught."""
        return [step for step in self.steps[self._taught :] if step["power"] == 1]

    @property
    def _stalled(self) -> int:
        """How many of them came after the last that was better than all before it."""
        least, stalled = np.inf, 0
        for error in (step["effective_error"] for step in self._full):
            stalled = 0 if error < IMPROVED * least else stalled + 1
            least = min(least, error)
        return stalled

    def _why_hopeless(self) -> str:
        """Why curves cannot be learned; empty where they may be."""
        # the next step's power, too: what was learned last counts most
        powers = [step["power"] for step in self.steps] + [self._trusted]
        enough = self.measured > RESOLVED and len(powers) > 2 * HOPE
        if enough and max(powers[-HOPE:]) < min(2 * max(powers[:-HOPE]), 1.0):
            return f"the likelihood's power has not risen in {HOPE} steps"
        return ""

    def locate(self, *, trusted: bool = True) -> None:
        """Find the emulated posterior with the curves that are known, and learn from them anew where it is.

        Unless `trusted`, the likelihood's power is at first what the maps' own errors allow, as in every other search.
        """
        rng = self._problem.streams.numpy("search")
        coarse, emulator = self.coarse_and_nearly_exact()
        self._rough = self._sought(coarse, rng, WALKERS, MOVES)
        self._population = _refined(self._rough, coarse, emulator, rng)
        self._learn(self._population.u)
        # others' spectra have taught it: the first whole ones of this say whether that is enough
        self._trusted = 1.0 if trusted else self._power_of_maps

    def learn(self, draws: FinalDraws) -> None:
        """Measure curves where final draws, exact ones, show the emulator to be off most."""
        self._compare(draws.u, draws.log_likelihood)
        told = self._take(draws.simulations[np.arange(len(draws)) < POOL])
        self._teach(max(LESSON * self._curves_of_a_step() - told, 0))
        self._taught = len(self.steps)

    def _compare(self, u: Points, log_likelihood: Points) -> Points:
        """Exact less emulated log L (n,) at points (n, d); the worst are where curves are measured next.

        Of those compared before, too, where the emulated likelihood is too small: no population will come there.
        """
        self._compared_u = np.concatenate([self._compared_u, u])
        self._compared = np.concatenate([self._compared, log_likelihood])
        differences: Points = self._compared - self.emulator.log_likelihood(self._compared_u)
        new = np.arange(len(self._compared)) >= len(self._compared) - len(u)
        finite = np.isfinite(differences)
        off = differences - (np.median(differences[new & finite]) if (new & finite).any() else 0.0)
        relevant = self._compared > np.max(self._compared) - 0.5 * chi2.isf(IRRELEVANT, u.shape[1])
        off = np.where(finite, np.where(new, np.abs(off), off * relevant), 0.0)
        self._worst = self._compared_u[np.argsort(-off, kind="stable")[: (off > self.accuracy).sum()]]
        return differences[new]

    @property
    def _power_of_maps(self) -> float:
        return min(1.0, 1 / max(max(m.error for m in self.emulator.maps), 1e-3))

    def _curves_of_a_step(self) -> int:
        stalled = self._stalled
        if self._trusted < 1:
            powers = [*(step["power"] for step in self.steps), self._trusted]
            stalled = sum(after <= before for before, after in itertools.pairwise(powers))
        n = int(STEP * sum(curve.x.shape[1] for curve in self._curves) * GROWTH**stalled)
        if self._trusted == 1 and any(known.rough is not None for known in self.emulator.maps):
            n = max(n, int(SLOW * self.measured))
        return n

    def _check(self) -> float:
        """Draw the emulated posterior as far as the emulator can be trusted, and evaluate a few of its points."""
        problem, number = self._problem, len(self.steps) + 1
        known = self._trusted > 0
        if known:
            power = self._trusted
        else:
            power = self._power_of_maps
        rng = problem.streams.numpy("search", number)
        with problem.progress.task(f"search {number}: sampling the emulator", 1, "ensemble"):
            coarse, emulator = self.coarse_and_nearly_exact(power)
            self._rough = (
                self._rough.moved(coarse.log_likelihood, rng, size=WALKERS, moves=MOVES, coordinates=coarse)
                if known
                else self._sought(coarse, rng, WALKERS, MOVES)
            )
            self._population = _refined(self._rough, coarse, emulator, rng)
        points = self._population.u
        checked = points[rng.choice(len(points), FEW_CHECKS if power < 1 else CHECKS, replace=False)]
        new = problem.simulate(checked, "search")
        difference = self._compare(checked, new.log_likelihood)
        self._take(new)
        finite, spread = np.isfinite(difference), float("inf")
        if finite.sum() > 1:
            spread = float(np.std(difference[finite]))
            self.error = effective_error(difference)
            # where an emulator is too hopeful, points go there and curves are measured: it is its doubts that mislead
            self._trusted = tempering_power(difference, TRUSTED * len(checked))
        self.steps.append(
            {
                "power": power,
                "error": spread,
                "effective_error": self.error,
                "samples": points,
                "evaluations": len(checked),
                "curves": self.measured,
            }
        )
        log.info(
            "search %d: likelihood to the power %.3g, best log L %.2f, emulator off by %.2g in log L",
            number, power, new.log_likelihood.max(), spread,
        )  # fmt: skip
        return power

    def _teach(self, n: int) -> None:
        """Measure `n` curves, half of them at the worst of what was compared, the others where they are least known."""
        points, rng = self._population.u, self._problem.streams.numpy("design", len(self.steps))
        pool = points[rng.choice(len(points), min(POOL, len(points)), replace=False)]
        self._amplitudes = np.quantile(
            np.abs(self._factors.amplitudes(self._factors.transform(points))), AMPLITUDE, axis=0
        )
        blamed = self._blamed(n // 2)
        for curve, x in zip(self._curves, blamed, strict=True):
            self._measure(curve, x)
        for curve, x in zip(self._curves, self._least_known(pool, n - sum(map(len, blamed))), strict=True):
            self._measure(curve, x)
        self._learn(points)

    def teach_everywhere(self, n: int) -> None:
        """Measure `n` curves where they are least known over the whole prior."""
        pool = self._problem.streams.numpy("everywhere", self.measured).random((POOL, self._problem.dimension))
        for curve, x in zip(self._curves, self._least_known(pool, n), strict=True):
            self._measure(curve, x)
        self._learn(None)

    def _doubts(self, points: Points) -> tuple[list[Points], list[torch.Tensor]]:
        """By curve: where points (n, d) need it, (parts * n, p), and the covariance of its errors there."""
        inputs = [self._inputs(curve, points) for curve in self._curves]
        norms = np.abs(self._factors.amplitudes(self._factors.transform(points)))
        covariances = []
        for curve, known, x in zip(self._curves, self.emulator.maps, inputs, strict=True):
            # errors grow with the norm that the curve is multiplied by
            ratio = torch.tensor(np.concatenate([norms[:, k] for k in curve.parts]) / self._amplitude(curve))
            covariances.append(known.uncertainty(x) * torch.outer(ratio, ratio))
        return inputs, covariances

    def _blamed(self, n: int) -> list[Points]:
        """By curve: where the worst of what was compared lie, of new curves about as uncertain as any there."""
        if not len(self._worst):
            return [np.empty((0, curve.x.shape[1])) for curve in self._curves]
        inputs, covariances = self._doubts(self._worst)
        doubts = [covariance.diagonal().reshape(-1, len(self._worst)).numpy() for covariance in covariances]
        most = np.max(np.concatenate(doubts), axis=0)
        unknown = [c.unknown(x).reshape(doubt.shape) for c, x, doubt in zip(self._curves, inputs, doubts, strict=True)]
        # parts and points
        chosen = [np.argwhere((d >= BLAMED * most) & (most > 0) & new) for d, new in zip(doubts, unknown, strict=True)]
        worst = np.sort(np.concatenate([pairs[:, 1] for pairs in chosen]))[:n]
        last = worst[-1] if len(worst) else -1
        return [
            x[[part * len(self._worst) + point for part, point in pairs if point <= last]]
            for x, pairs in zip(inputs, chosen, strict=True)
        ]

    def _least_known(self, pool: Points, n: int) -> list[Points]:
        """By curve: where among the points of a pool it is to be measured, each least certain after those before it."""
        inputs, covariances = self._doubts(pool)
        chosen: list[list[int]] = [[] for _ in inputs]
        known_enough = KNOWN * max(float(covariance.diagonal().max()) for covariance in covariances)
        for _ in range(n):
            largest = [float(covariance.diagonal().max()) for covariance in covariances]
            number = int(np.argmax(largest))
            if largest[number] <= known_enough:
                break
            covariance = covariances[number]
            row = int(covariance.diagonal().argmax())
            chosen[number].append(row)
            column = covariance[:, row].clone()
            covariance -= torch.outer(column, column) / (column[row] + 1e-9 * largest[number])
            covariance[row, row] = 0.0
        return [x[rows] for x, rows in zip(inputs, chosen, strict=True)]

    @property
    def points(self) -> Points:
        """Points (n, d) of the emulated posterior, as the last step of the search had it."""
        return self._population.u

    def sample(self, rng: np.random.Generator) -> Points:
        """Points (n, d) of the emulated posterior, sought in the whole prior."""
        coarse, emulator = self.coarse_and_nearly_exact()
        return _refined(self._sought(coarse, rng), coarse, emulator, rng).u

    def coarse_and_nearly_exact(self, power: float = 1.0) -> tuple[ConditionedNorms, FactoredEmulator]:
        """What a posterior is sought with, and what it is then known by: one emulator where bins are few."""
        coarse = self.emulator.coarse(min(LOST / power, MOST_LOST))
        emulator = coarse if coarse is self.emulator else self.emulator.coarse(LEAST_LOST)
        return ConditionedNorms(coarse, power), emulator

    def _sought(
        self, conditioned: ConditionedNorms, rng: np.random.Generator, size: int = KEPT // 2, moves: int = MOVES
    ) -> Population:
        """A population of the emulated posterior, from `start`; or from the whole prior, and norms that fit there."""
        factors, log_likelihood = self._factors, conditioned.log_likelihood
        if self.start is not None:
            begun = Population.of(self.start, size, factors.blocks, factors.exchanges)
            return begun.moved(log_likelihood, rng, size=size, moves=moves, coordinates=conditioned)
        begun = Population.of_prior(factors.dimension, size, rng, factors.blocks, factors.exchanges, islands=2)
        anywhere = begun.moved(log_likelihood, rng, size=size // 2, moves=moves)
        fitting = begun.moved(conditioned.log_density, rng, size=size // 2, moves=moves)
        fitting = replace(fitting, u=conditioned.inverse(fitting.u)[0])
        joined = Population.joined([anywhere, fitting])
        return joined.moved(log_likelihood, rng, size=size, moves=2 * moves, coordinates=conditioned)

    def proposal(self) -> ConditionedProposal:
        """The emulated posterior as a density to draw from."""
        number, streams = len(self.steps), self._problem.streams
        task = self._problem.progress.task("covering the emulated posterior", 1, "ensemble")
        coarse, emulator = self.coarse_and_nearly_exact()

        def log_density(v: Points) -> Points:
            u, volume = coarse.inverse(v)
            return emulator.log_likelihood(u) + volume

        with streams.torch("cover", number), task:
            # two that do not know of each other: what one has missed, the other may have found
            rng = streams.numpy("cover", number)
            sought = _refined(self._sought(coarse, rng), coarse, emulator, rng)
            points = coarse.forward(np.concatenate([sought.u, self._population.u]))[0]
            cheap = coarse.log_density
            found = cover(points, cheap) if coarse.emulator is emulator else cover(points, log_density, cheap)
            return ConditionedProposal(found, coarse)

    def recovery(self, n: int = 300) -> Recovery:
        """`FactoredEmulator.recovery`, against `n` spectra of the emulated posterior."""
        with self._problem.streams.torch("recovery", len(self.steps)):
            return self.emulator.recovery(self._population.u[:n])


def _refined(
    rough: Population, coarse: ConditionedNorms, emulator: FactoredEmulator, rng: np.random.Generator
) -> Population:
    """A population of an emulator's posterior, from that of a coarse one."""
    if coarse.emulator is emulator:
        return rough
    return rough.moved(
        lambda u: coarse.power * emulator.log_likelihood(u), rng, size=len(rough.u), moves=MOVES, coordinates=coarse
    )


def _closeness(x: Points, posterior: Points) -> Points:
    """Weights (n,) of points (n, p): about one near to the posterior's points (m, p), and small far off."""
    whitening = Whitening.of(posterior)
    distance = cKDTree(whitening.forward(posterior)).query(whitening.forward(x))[0] / NEAR
    depth = distance**2
    return np.exp(-0.5 * depth) + LEAST_WEIGHT / (1 + depth)
