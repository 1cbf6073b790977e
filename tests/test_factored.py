"""Emulation part by part: maps of curves, the search that measures them, and a run that uses them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from small_session import fake_spectra, fresh

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.factoredsearch import FEW_CHECKS, FactoredSearch
from xspec_sixsa.infer.importance import effective_error
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.optimum import optimum
from xspec_sixsa.infer.partmap import PartMap
from xspec_sixsa.infer.population import Population
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.priors import bind
from xspec_sixsa.result.chainfile import read_chain
from xspec_sixsa.session import Session

ENERGY = np.geomspace(0.3, 10, 80)


def black_bodies(x: np.ndarray) -> np.ndarray:
    """Counts of black bodies of 0.01-2 keV: from nothing at all to thousands."""
    kt = 0.01 + 1.99 * x[:, :1]
    return 300 * ENERGY**2 / np.expm1(np.minimum(ENERGY / kt, 700)) * np.exp(-0.5 * x[:, 1:] / ENERGY)


def test_a_map_predicts_curves_that_it_has_not_seen_and_knows_how_well() -> None:
    variance, ratios = np.full(len(ENERGY), 100.0), []
    for seed in range(1, 6):
        rng = np.random.default_rng(seed)
        x, new = rng.random((60, 2)), 0.1 + 0.8 * rng.random((200, 2))
        learned = PartMap(x, black_bodies(x), np.ones(60), 1.0, variance)
        off = (learned(new).numpy() - black_bodies(new)) / np.sqrt(variance + black_bodies(new))
        found = float(np.sqrt((off**2).sum(axis=1).mean()))
        # away from the prior's edge, where points have neighbours on all sides; the map's own number has the edge in it
        assert found < learned.error < 1.0
        # it has no steps: for the first seed kernels of them would be typically better, but worse at the edge
        assert learned.rough is None
        ratios.append(found / float(learned.uncertainty(new).diagonal().mean().sqrt()))
    # the measured errors are what the map says at these points, typically: one variance for the whole prior, of which
    # the edge may have most, and few points to find it by
    assert 0.5 < np.median(ratios) < 2


def moving_lines(x: np.ndarray) -> np.ndarray:
    """Counts of a narrow line, anywhere in the band, absorbed a little."""
    centre = 0.5 + 9 * x[:, 1:]
    return 300 * np.exp(-0.5 * ((ENERGY - centre) / (0.1 + 0.03 * centre)) ** 2) * np.exp(-0.5 * x[:, :1] / ENERGY)


def test_a_line_of_unknown_energy_is_not_taken_for_noise() -> None:
    rng = np.random.default_rng(1)
    x, new = rng.random((80, 2)), rng.random((200, 2))
    variance = np.full(len(ENERGY), 100.0)
    learned = PartMap(x, moving_lines(x), np.ones(80), 1.0, variance)
    off = (learned(new).numpy() - moving_lines(new)) / np.sqrt(variance + moving_lines(new))
    ignorant = (moving_lines(x).mean(axis=0) - moving_lines(new)) / np.sqrt(variance + moving_lines(new))
    # 80 points, an eighth of a keV apart, tell of lines three times as wide; as noise, nothing was learned of them
    assert np.median((off**2).sum(axis=1)) < 0.01 * np.median((ignorant**2).sum(axis=1))


def lines_in_bins(x: np.ndarray) -> np.ndarray:
    """Counts of twelve narrow lines, each of which is put into one of the model's bins, and moves by whole bins."""
    rest, width = np.random.default_rng(7).uniform(1, 8, 12), 0.05
    put = np.round(rest / (1 + 0.02 * x[:, 1:]) / width) * width
    shapes = np.exp(-0.5 * ((ENERGY - put[..., None]) / 0.1) ** 2).sum(axis=1)
    return 300 * (ENERGY**-1.0 + shapes) * np.exp(-0.5 * x[:, :1] / ENERGY)


def test_lines_that_go_from_bin_to_bin_are_known_between_their_steps() -> None:
    rng = np.random.default_rng(1)
    x, new = rng.random((300, 2)), rng.random((200, 2))
    variance = np.full(len(ENERGY), 100.0)

    def off(learned: PartMap) -> float:
        squared = (learned(new).numpy() - lines_in_bins(new)) ** 2 / (variance + lines_in_bins(new))
        return float(np.sqrt(np.median(squared.sum(axis=1))))

    learned = PartMap(x, lines_in_bins(x), np.ones(300), 1.0, variance)
    assert learned.rough == 1
    few = PartMap(x[:30], lines_in_bins(x[:30]), np.ones(30), 1.0, variance)
    assert few.rough is None
    # a smooth map of the same curves: what was chosen with few is kept until there are half as many again
    few.chosen_with = few.rough_with = 299
    smooth = PartMap(x, lines_in_bins(x), np.ones(300), 1.0, variance, few)
    assert smooth.rough is None
    # most points have no step between their neighbours and them; a smooth map is off beside every step
    assert off(learned) < 0.6 * off(smooth)
    # differentiable is the same map
    at = torch.tensor(new[:5])
    np.testing.assert_allclose(learned.differentiable(at), learned(new[:5]), rtol=1e-4)  # single precision decodes
    # and a curve that bends, but goes in no steps, is smooth
    assert PartMap(x, moving_lines(x), np.ones(300), 1.0, variance).rough is None


def test_a_curve_that_nothing_shapes_is_exact() -> None:
    curve = black_bodies(np.full((1, 2), 0.5))
    learned = PartMap(np.empty((1, 0)), curve, np.ones(1), 1.0, np.ones(len(ENERGY)))
    np.testing.assert_array_equal(learned(np.empty((3, 0))).numpy(), np.tile(curve.astype(np.float32), (3, 1)))


def two_peaks(u: np.ndarray) -> np.ndarray:
    """70 % and 30 % of the posterior, 0.6 apart and 0.01 wide."""
    squared = [(((u - centre) / 0.01) ** 2).sum(axis=1) for centre in (0.2, 0.8)]
    return np.logaddexp(np.log(0.7) - 0.5 * squared[0], np.log(0.3) - 0.5 * squared[1])


def test_a_population_finds_both_modes_with_their_shares() -> None:
    shares = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = Population.of_prior(3, 1000, rng).moved(two_peaks, rng)
        shares.append((found.u[:, 0] < 0.5).mean())
        near = found.u[found.u[:, 0] < 0.5]
        assert 0.0085 < near.std(axis=0).min() and near.std(axis=0).max() < 0.0115
    # a step of temperature resamples half of the points: about twice a binomial's scatter remains
    assert abs(np.mean(shares) - 0.7) < 3 * 2 * np.sqrt(0.21 / 1000 / 5)


def two_lines(u: np.ndarray) -> np.ndarray:
    """Two copies of a narrow line, at 0.3 and 0.7, that can trade places: both needed, each with its own strength."""
    found = np.zeros(len(u))
    for centre, strength in ((0.3, 0.4), (0.7, 0.6)):
        near = [np.exp(-0.5 * ((u[:, k] - centre) / 0.01) ** 2) * u[:, k + 1] for k in (0, 2)]
        found -= 0.5 * ((sum(near) - strength) / 0.02) ** 2
    return found


def test_points_trade_places_where_components_are_of_one_kind() -> None:
    rng, order = np.random.default_rng(3), np.array([2, 3, 0, 1])
    one_mode = Population.of_prior(4, 800, rng).moved(lambda u: two_lines(u) - 1e3 * (u[:, 0] > 0.5), rng, size=800)
    assert (one_mode.u[:, 0] < 0.5).all()
    both = Population(one_mode.u, two_lines, [[0, 1], [2, 3]], [order]).moved(two_lines, rng, size=800, moves=10)
    assert abs((both.u[:, 0] < 0.5).mean() - 0.5) < 5 * 0.5 / np.sqrt(800)


def test_jumps_leave_the_density_as_it_is() -> None:
    rng = np.random.default_rng(5)
    u = rng.beta(5, 2, size=(20000, 2))  # a density that jumps have to keep

    def beta(u: np.ndarray) -> np.ndarray:
        return (4 * np.log(u) + np.log1p(-u)).sum(axis=1)

    kept = Population(u, beta, [[0], [1]], [np.array([1, 0])]).moved(beta, rng, size=20000, moves=40)
    np.testing.assert_allclose(kept.u.mean(axis=0), 5 / 7, atol=5 * 0.16 / np.sqrt(20000 / 3))


def test_islands_keep_modes_that_chance_would_lose() -> None:
    def needles(u: np.ndarray) -> np.ndarray:
        # equal, and so narrow that few of the prior's draws lie near
        squared = [(((u - centre) / 0.003) ** 2).sum(axis=1) for centre in (0.2, 0.8)]
        return np.logaddexp(-0.5 * squared[0], -0.5 * squared[1])

    found = Population.of_prior(6, 1000, np.random.default_rng(1)).moved(needles, np.random.default_rng(2))
    assert 0.05 < (found.u[:, 0] < 0.5).mean() < 0.95


def test_an_island_without_a_find_is_settled_anew() -> None:
    def hidden(u: np.ndarray) -> np.ndarray:
        # one island alone is told of the peak
        return np.where(u[:, 0] > 0.9, 20.0, 0.0) * (u[:, 0] > 0.9)

    u = np.random.default_rng(1).random((800, 2)) * [0.5, 1]
    u[:200, 0] += 0.45
    begun = Population(u, lambda u: np.zeros(len(u)))
    found = begun.moved(hidden, np.random.default_rng(2), size=800, moves=2)
    assert (found.u[:, 0] > 0.9).all() and len(found.log_evidence) == 4


def test_a_population_goes_from_one_posterior_to_another() -> None:
    rng = np.random.default_rng(2)

    def peak(centre: float) -> Any:
        return lambda u: -0.5 * (((u - centre) / 0.02) ** 2).sum(axis=1)

    first = Population.of_prior(2, 600, rng).moved(peak(0.4), rng, size=600)
    second = first.moved(peak(0.5), rng, size=600)
    np.testing.assert_allclose(second.u.mean(axis=0), 0.5, atol=4 * 0.02 / np.sqrt(200))  # moves leave a third of them
    np.testing.assert_allclose(second.u.std(axis=0), 0.02, rtol=0.15)


def test_the_optimum_is_found_to_the_edge_of_the_prior() -> None:
    draws = np.clip([0.3, 0.6] + 0.05 * np.random.default_rng(1).standard_normal((100, 2)), 0, 1)
    inside = optimum(lambda u: -0.5 * (((u - [0.3, 0.6]) / 0.05) ** 2).sum(axis=1), draws, 0)
    np.testing.assert_allclose(inside, [0.3, 0.6], atol=1e-4)
    draws = np.stack([0.05 * np.random.default_rng(2).random(100) ** 2, draws[:, 1]], axis=1)
    edge = optimum(lambda u: -0.5 * (((u - [-0.1, 0.6]) / 0.05) ** 2).sum(axis=1), draws, 0)
    assert edge[0] < 1e-3 and abs(edge[1] - 0.6) < 1e-3
    alone = optimum(lambda u: -0.5 * (((u - [0.3, 0.6]) / 0.05) ** 2).sum(axis=1), draws[:1], 0)
    np.testing.assert_allclose(alone, [0.3, 0.6], atol=1e-4)


def test_the_optimum_is_found_along_a_valley() -> None:
    rng = np.random.default_rng(1)
    axes, widths = np.linalg.qr(rng.standard_normal((5, 5)))[0], np.geomspace(1e-4, 0.3, 5)
    axes[:, 4] *= np.sign(axes[0, 4])
    draws = 0.5 + rng.standard_normal((10000, 5)) * widths @ axes.T
    draws = draws[((draws > 0) & (draws < 1)).all(axis=1)][:300]

    def log_likelihood(u: np.ndarray) -> np.ndarray:
        """Highest where the valley leaves the cube."""
        return -0.5 * (((u - 0.5 - 0.5 * axes[:, 4]) @ axes / widths) ** 2).sum(axis=1)

    middling = int(np.argsort(log_likelihood(draws))[150])
    # in the cube's own coordinates sixty steps end 0.007 below
    assert log_likelihood(optimum(log_likelihood, draws, middling)[None])[0] > -1e-3


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ModuleType]:
    import xspec_sixsa.embedded as xspec

    with working_directory(tmp_path):
        fake_spectra(fresh(xspec), tmp_path)
        xspec.AllData("a.pha")
        yield xspec
    fresh(xspec)


def two_components(xspec: ModuleType) -> list[Any]:
    m = xspec.Model("TBabs*(powerlaw+bbodyrad)", setPars=(0.1, 1.8, 3e-3, 0.7, 5.0))
    return [
        sixsa.uniform(m.TBabs.nH, 0, 1), sixsa.uniform(m.powerlaw.PhoIndex, 0, 4),
        sixsa.loguniform(m.powerlaw.norm, 1e-4, 1e-1), sixsa.uniform(m.bbodyrad.kT, 0.05, 2),
        sixsa.loguniform(m.bbodyrad.norm, 0.1, 1e3),
    ]  # fmt: skip


def searched(xspec: ModuleType) -> tuple[RecordedModel, FactoredSearch]:
    return searching(two_components(xspec), xspec)


def searching(priors: list[Any], xspec: ModuleType) -> tuple[RecordedModel, FactoredSearch]:
    session = Session(xspec, workers=1)
    model = RecordedModel(session, bind(priors, session), Checkpoint(), Progress(show=False))
    noise = Noise(session.observation)
    problem = Problem(session.n_free, model, model.spent, noise, Settings(), Streams(1), Progress(False))
    factors, _ = model.factors()
    assert factors is not None
    return model, FactoredSearch(problem, factors)


def test_a_search_ends_with_an_emulator_that_is_right_over_the_posterior(engine: ModuleType) -> None:
    model, search = searched(engine)
    search.run(25, 0)
    u = search.sample(np.random.default_rng(1))[:200]
    difference = model(u, "check").log_likelihood - search.emulator.log_likelihood(u)
    error = effective_error(difference)
    # sqrt(0.8 (16 + 24) / 1000) is what ends the search, by 16 spectra: twice that is far out
    assert error < 2 * 0.18
    assert model.evaluations["curves"] + model.evaluations["search"] < 300
    assert search.measured <= model.evaluations["curves"]
    # part by part is the whole
    whole = search.emulator.of_norms(u)
    parts = search.emulator.of_norms(u, [2]) + search.emulator.of_norms(u, [4])
    np.testing.assert_allclose(whole.numpy(), parts.numpy(), rtol=1e-6)  # single precision: 6e-8 a sum
    # and is good to 0.001 in log L, at points where it varies by units
    smooth = search.emulator.smooth_log_likelihood(u)
    np.testing.assert_allclose(search.emulator.log_likelihood(u), smooth, rtol=0, atol=1e-3)
    assert smooth.std() > 0.5


def test_curves_measured_over_the_whole_prior_serve_another_observation(engine: ModuleType) -> None:
    model, search = searched(engine)
    u = np.random.default_rng(1).random((100, model.session.n_free))
    exact = model(u, "check").counts.double()

    def off(emulated: torch.Tensor) -> float:
        """Root mean square distance in units of noise, of the spectra that are next to right: few are far off."""
        distance = ((emulated - exact) ** 2 / (exact + 1)).sum(dim=1).sqrt()
        return float(distance.sort().values[:80].square().mean().sqrt())

    few, before = off(search.emulator.spectra(u)), search.measured
    search.teach_everywhere(2 * before)
    assert 2 * before < search.measured <= 3 * before  # points that are known well enough are not measured
    many = off(search.emulator.spectra(u))
    assert many < 0.5 * few
    known = [(x, curves) for _, x, curves in search.known]
    taught = search.emulator.factors.taught(pytest.fail, known, search.emulator.maps)  # it measures nothing
    another = dataclasses.replace(search._problem, streams=Streams(2))  # the points that it would measure are others
    again = FactoredSearch(another, taught)
    assert again.measured == search.measured
    assert off(again.emulator.spectra(u)) < 1.2 * many  # length scales are sought anew from where they were


def test_a_search_goes_on_while_its_points_are_where_the_emulator_is_wrong(
    engine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, search = searched(engine)
    # the second: a mode that is none, met when the search had cost twice what an error of 0.2 costs in draws
    errors = [0.2, 50.0, 0.02]

    def check() -> float:
        search.error = errors[len(search.steps)]
        search.steps.append({"power": 1.0, "effective_error": search.error, "evaluations": 40})
        return 1.0

    monkeypatch.setattr(search, "_check", check)
    monkeypatch.setattr(search, "_teach", lambda n: None)
    search.run(10, 0)
    assert [step["effective_error"] for step in search.steps] == errors
    assert not search.has_failed


def test_steps_of_a_search_grow_where_curves_go_in_steps(engine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    _, search = searched(engine)
    search.run(25, 0)
    assert search.steps[-1]["power"] == 1
    few = search._curves_of_a_step()
    assert few < 0.3 * 2000
    search.emulator.maps[0].rough = 1
    assert search._curves_of_a_step() == max(few, int(0.3 * search.measured))
    monkeypatch.setattr(FactoredSearch, "measured", 2000)
    assert search._curves_of_a_step() == 600
    # not while the emulator cannot be trusted: these may be steps that are none
    search._trusted = 0.5
    assert search._curves_of_a_step() < 600


def test_whole_spectra_of_a_model_of_one_part_are_curves(engine: ModuleType) -> None:
    m = engine.Model("TBabs*powerlaw", setPars=(0.1, 1.8, 3e-3))
    priors = [
        sixsa.uniform(m.TBabs.nH, 0, 1), sixsa.uniform(m.powerlaw.PhoIndex, 0, 4),
        sixsa.loguniform(m.powerlaw.norm, 1e-4, 1e-1),
    ]  # fmt: skip
    model, search = searching(priors, engine)
    measured, spent = search.measured, model.evaluations["curves"]
    assert search._check() < 1
    assert (search.measured, model.evaluations["curves"]) == (measured + FEW_CHECKS, spent)
    assert model.evaluations["search"] == FEW_CHECKS
    x, curves = search._curves[0].x[-3:], search._curves[0].curves[-3:]
    np.testing.assert_allclose(curves, search._factors.curves(0, x), rtol=1e-6)  # kept in single precision
    # of two parts the sum is known only
    _, other = searched(engine)
    before = other.measured
    other._check()
    assert other.measured == before


def test_constants_multiply_emulated_counts_of_their_own_spectrum(engine: ModuleType) -> None:
    engine.AllData("1:1 a.pha 2:2 a.pha")
    m = engine.Model("constant*powerlaw", setPars=(1.0, 1.8, 3e-3))
    m.constant.factor.frozen = True
    second = engine.AllModels(2).constant.factor
    second.untie()
    second.frozen = False
    priors = [
        sixsa.uniform(m.powerlaw.PhoIndex, 1, 3), sixsa.loguniform(m.powerlaw.norm, 1e-3, 1e-2),
        sixsa.loguniform(second, 0.5, 2.0),
    ]  # fmt: skip
    model, search = searching(priors, engine)
    u = np.random.default_rng(1).random((20, 3))
    assert search.emulator.factors.scales
    # before any step: a smooth curve of one parameter
    np.testing.assert_allclose(search.emulator(u).numpy(), model(u, "check").counts.numpy(), rtol=0.01, atol=0.01)
    counts, slopes = search.emulator.jacobian(u[0])
    # float64 beside float32
    np.testing.assert_allclose(counts, search.emulator(u[:1])[0], rtol=2e-6)
    for step, slope in zip(1e-4 * np.eye(3), slopes.T, strict=True):
        above, below = search.emulator.differentiable(torch.tensor(np.array([u[0] + step, u[0] - step])))
        difference = (above - below) / 2e-4
        # norms over a decade: the third derivative is five times the first, and 1e-8 of that is missed
        np.testing.assert_allclose(slope, difference, rtol=1e-4, atol=1e-4 * float(difference.abs().max()))


def test_curves_are_measured_where_they_are_known_least(engine: ModuleType) -> None:
    _, search = searched(engine)
    pool = np.full((3, 5), 0.5)
    # a corner that no point is near to, twice, and the place where the structure was looked for
    pool[0] = pool[1] = [0.001, 0.001, 0.5, 0.001, 0.5]
    pool[2] = 0.382
    (first,) = [x for x in search._least_known(pool, 1) if len(x)]
    assert (first == 0.001).all()
    # measured once, the corner is known
    for x in search._least_known(pool, 4):
        assert len(np.unique(x, axis=0)) == len(x)


def test_the_curve_to_blame_is_measured_where_a_spectrum_was_off(engine: ModuleType) -> None:
    model, search = searched(engine)
    u = np.full((3, 5), 0.382)
    u[1, 3] = 0.001  # a black body of next to nothing, which no point is near to; at the others the structure was found
    exact = model(u, "check").log_likelihood
    search._compare(u, exact)
    powerlaw, bbodyrad = search._blamed(10)
    assert [0.382, 0.001] in bbodyrad.tolist() and [0.382, 0.001] not in powerlaw.tolist()


def test_no_curve_is_measured_twice(engine: ModuleType) -> None:
    model, search = searched(engine)
    u = np.full((3, 5), 0.382)
    u[1, 3] = 0.001
    search._compare(u, model(u, "check").log_likelihood)
    _, curve = search._curves
    search._measure(curve, search._blamed(10)[1])
    # the emulator has not learned from it, and is as wrong there as before
    assert [0.382, 0.001] not in search._blamed(10)[1].tolist()
    before, known = model.spent(), len(curve.x)
    search._measure(curve, np.array([[0.382, 0.001], [0.123, 0.456]]))
    assert model.spent() == before + 1 and len(curve.x) == known + 1


def test_points_where_the_emulated_likelihood_is_too_small_stay_to_blame(engine: ModuleType) -> None:
    _, search = searched(engine)
    u = np.full((3, 5), 0.382)
    u[1, 3] = 0.001
    emulated = search.emulator.log_likelihood(u)
    best = np.full(3, emulated.max())
    # too large there: a population will come again, and see
    search._compare(u, emulated - [0, 3, 0])
    assert sum(map(len, search._blamed(10)))
    search._compare(u[:1], emulated[:1])
    assert not sum(map(len, search._blamed(10)))
    # too small: none will come, of a place as likely as any
    search._compare(u[1:2], best[1:2] + 1)
    search._compare(u[:1], emulated[:1])
    assert [0.382, 0.001] in search._blamed(10)[1].tolist()
    # not of one that is irrelevant beside what is best
    search._compare(u[:1], emulated[:1] + 100)
    search._compare(u[:1], emulated[:1])
    assert [0.382, 0.001] not in search._blamed(10)[1].tolist()


def test_a_run_without_factors_says_so_and_is_right_all_the_same(
    engine: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    m = engine.Model("TBabs*(powerlaw+powerlaw)", setPars=(0.1, 1.8, 3e-3, 1.0, 1e-4))
    m(5).link = "0.1 * p3 ^ 1.1"
    m(1).frozen = m(4).frozen = True
    priors = [sixsa.uniform(m(2), 1, 3), sixsa.loguniform(m(3), 1e-3, 1e-2)]
    with caplog.at_level("INFO", logger="xspec_sixsa"):
        result = sixsa.fit(
            priors, xspec=engine, seed=1, target_ess=150, compressor="bands", output=None, progress=False, polish=False
        )
    assert "emulated as a whole: the expected counts are not linear in the norms" in caplog.text
    assert result.status == "reliable", result.reasons
    assert result.evaluations["round 1"] == 240 and result.evaluations["curves"] == 4


def test_every_evaluation_of_a_run_is_counted(engine: ModuleType) -> None:
    result = sixsa.fit(
        two_components(engine), xspec=engine, seed=3, target_ess=300, output="run", progress=False, polish=False,
        compressor="score", estimator="variational", settings={"explorer_steps": 5, "emulated": 200},
    )  # fmt: skip
    assert result.status == "reliable", result.reasons
    # an estimator that was asked for is trained, and the score knows what the posterior's spectra tell
    (trained,) = [entry for entry in result.rounds if "estimator" in entry]
    assert (trained["compressor"], trained["estimator"]) == ("score", "variational")
    # a tenth is lost over so wide a posterior; of a parameter that is not told, all
    assert min(trained["information_kept"]) > 0.8
    kept = {stage: 0 for stage in ("round 1", "curves", "search", "final")}
    for path in Path("run/checkpoint").glob("*.npz"):
        with np.load(path) as batch:
            kept[str(batch["stage"])] += len(batch["u"])
    assert kept == {stage: result.evaluations[stage] for stage in kept}
    assert result.emulator["evaluations"] <= kept["curves"]
    # component curves in the picture are the emulator's: no evaluation was made for them
    assert "components" not in result.evaluations
    (spectrum,) = result.predictive_data
    drawn = sum(spectrum.components.values())
    total = spectrum.total[: len(drawn)]
    off = (drawn - total) / np.sqrt(total + 1)
    # all bins together make the error in log L, of which 0.3 ends a search, as far as 16 spectra tell;
    # where a broad draw lies far from what was learned, unseen in a picture still
    assert np.median(np.linalg.norm(off, axis=1)) < 2 * 0.3 and np.abs(off).max() < 0.5


@pytest.mark.slow
def test_emulated_draws_are_corrected_by_exact_ones(engine: ModuleType) -> None:
    options: dict[str, Any] = {"xspec": engine, "seed": 3, "output": None, "progress": False, "polish": False}
    priors = two_components(engine)
    found = sixsa.fit(priors, target_ess=3000, exact="control", **options)
    assert found.status == "reliable", found.reasons
    assert found.ess > 0.95 * 3000 and len(found.samples) > 3000
    assert found.control["exact"] == found.evaluations["final"] < 700
    assert "which correct" in found.summary() and "Least and most sure" in found.summary()
    own = np.array(list(found.control["quantile_ess"].values()))
    assert own.shape == (5, len(found.names)) and own.min() >= 0.999 * found.ess
    assert len(found.control["mean_ess"]) == len(found.names)
    exact = sixsa.fit(priors, target_ess=1000, **options)
    assert exact.control == {}
    assert abs(found.log_z - exact.log_z) < 4 * np.hypot(found.log_z_err, exact.log_z_err)
    off = (found.mean - exact.mean) / (exact.sd * np.sqrt(1 / found.ess + 1 / exact.ess))
    assert (np.abs(off) < 4).all()
    chain = found.save_chain(Path("chain.fits"))
    assert "emulated, corrected by" in read_chain(chain).header["HISTORY"]
    again = sixsa.Result.load(found.save(Path("kept")))
    assert again.control == found.control


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"target_ess": 300, "budget": 360}, "unreliable"),  # no step of a search fits in
        ({"target_ess": 5000, "budget": 1500, "exact": "control"}, "reliable"),  # what is left for draws is enough
    ],
)
def test_a_small_budget_gives_what_it_can(engine: ModuleType, options: dict[str, Any], status: str) -> None:
    result = sixsa.fit(two_components(engine), xspec=engine, seed=1, workers=1, progress=False, polish=False, **options)
    spent = sum(result.evaluations.values()) - result.evaluations.get("components", 0)
    assert result.status == status and spent <= options["budget"] + 6  # the budget is for draws: probe and structure
    assert ("search" in result.evaluations) == (status == "reliable")


def test_a_correction_that_the_budget_ends_is_better_than_as_many_exact_draws(engine: ModuleType) -> None:
    options: dict[str, Any] = {"target_ess": 5000, "budget": 500, "exact": "control", "seed": 1}
    result = sixsa.fit(two_components(engine), xspec=engine, workers=1, progress=False, polish=False, **options)
    assert result.status == "unreliable"
    assert re.search(r"ESS \d+ below the wanted 5000: the budget of 500 evaluations is spent", result.reasons[0])
    assert 2 * result.control["exact"] < result.ess < 0.95 * 5000


def test_emulated_draws_need_an_emulator(engine: ModuleType) -> None:
    with pytest.raises(ValueError, match='"simulated" has no emulator'):
        sixsa.fit(two_components(engine), xspec=engine, exact="control", training="simulated")
    with pytest.raises(ValueError, match="Unknown exact 'some'"):
        sixsa.fit(two_components(engine), xspec=engine, exact="some")
