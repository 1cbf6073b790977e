"""Batched evaluation: the same numbers as one by one, differentiable, computed once where shared, NaN on failure."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from xspec_sixsa.embedded import AllData, AllModels, Fit, Model, Spectrum, evaluate_batch
from xspec_sixsa.embedded.compiled import ROWS
from xspec_sixsa.embedded.state import XspecError, session

EPIC_PN = (0.0960, 0.744, 0.1956, 2.030, 2.618e-4)


def _engine():
    import importlib

    return importlib.import_module("xspec_sixsa.embedded.evaluate")


pytestmark = pytest.mark.usefixtures("clean_engine")


@pytest.fixture
def epic_pn(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.chdir(shared_data / "ngc7793_ulx4_pn")
    session.abund = "wilm"
    session.touch()
    Fit.statMethod = "cstat"
    spectrum = Spectrum("PN_spectrum_grp20.fits")
    spectrum.background = None
    spectrum.ignore("0.0-0.5 10.0-**")
    model = Model("TBabs*(bbodyrad+powerlaw)")
    model.setPars(*EPIC_PN)
    return model


@pytest.fixture
def two_groups(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, Model]:
    monkeypatch.chdir(shared_data / "xspec_session")
    AllData("1:1 file1.pha 2:2 file2.pha")
    first, second = Model("constant*phabs*powerlaw"), AllModels(2)
    first(1).frozen = True
    second(1).values = 0.8
    return first, second


def _draws(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.uniform(0.0, 0.5, n),
            rng.uniform(0.1, 2.0, n),
            10 ** rng.uniform(-2, 0, n),
            rng.uniform(0.0, 5.0, n),
            10 ** rng.uniform(-5, -2, n),
        ]
    )


def test_statistic_is_xspec_number(epic_pn: Model) -> None:
    # XSPEC 12.9.1 at these parameters: 95.8577; 0.01: the tabulated cross-sections.
    assert Fit.statistic == pytest.approx(95.8577, abs=0.01)
    assert Fit.dof == 99


def test_batch_equals_one_by_one(epic_pn: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    theta = _draws(ROWS + 7)
    # The smallest chunks, so that a seam is tested too.
    monkeypatch.setattr("xspec_sixsa.embedded.compiled.CHUNK_BYTES", 1)
    counts, statistic = evaluate_batch(theta)
    assert counts.shape == (ROWS + 7, 104) and statistic.shape == (ROWS + 7,)
    for row, expected, value in zip(theta, counts, statistic, strict=True):
        epic_pn.setPars(*map(float, row))
        single = np.array(epic_pn.folded(1)) * AllData(1).exposure
        # Rounding alone: sums of some thousand bins in double precision.
        np.testing.assert_allclose(single, expected, rtol=1e-11)
        assert Fit.statistic == pytest.approx(value, rel=1e-11)


def test_a_divided_batch_has_the_sums_of_a_whole_one(epic_pn: Model) -> None:
    theta = _draws(600)  # more than a chunk
    parts = [evaluate_batch(theta[start : start + 3 * ROWS]) for start in range(0, len(theta), 3 * ROWS)]
    for whole, divided in zip(evaluate_batch(theta), zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(divided))


def test_gradients_agree_with_differences(epic_pn: Model) -> None:
    theta = torch.tensor(_draws(2), requires_grad=True)
    _engine().evaluate(theta).statistic.sum().backward()
    for k in range(5):
        step = 1e-5 * theta.detach()[:, k]
        up, down = theta.detach().clone(), theta.detach().clone()
        up[:, k] += step
        down[:, k] -= step
        difference = (evaluate_batch(up)[1] - evaluate_batch(down)[1]) / (2 * step.numpy())
        # Central differences of relative step 1e-5: truncation about 1e-9, cancellation in the statistic about 1e-6.
        np.testing.assert_allclose(theta.grad[:, k].numpy(), difference, rtol=1e-4)


def test_free_parameters_run_through_groups_and_links(two_groups: tuple[Model, Model]) -> None:
    _first, _second = two_groups
    labels = [(state.name, state.group) for state in _engine().free_parameters()]
    assert labels == [("nH", 1), ("PhoIndex", 1), ("norm", 1), ("factor", 2)]
    theta = np.array([[1.0, 1.5, 0.2, 0.5], [1.0, 1.5, 0.2, 1.0]])
    counts, _ = evaluate_batch(theta)
    n = len(AllData(1).noticed)
    np.testing.assert_array_equal(counts[0, :n], counts[1, :n])  # group 1 does not know group 2's constant
    np.testing.assert_allclose(counts[0, n:] / counts[1, n:], 0.5, rtol=1e-12)  # group 2 is linear in it: rounding


def test_link_expressions_hold_within_a_batch(two_groups: tuple[Model, Model]) -> None:
    first, second = two_groups
    second.powerlaw.PhoIndex.link = "p3*0.5+0.3"
    theta = np.array([[1.0, 1.5, 0.2, 0.5], [1.0, 2.5, 0.2, 0.5]])
    _counts, statistic = evaluate_batch(theta)
    for row, value in zip(theta, statistic, strict=True):
        AllModels.setPars(first, {2: row[0], 3: row[1], 4: row[2]}, second, {1: row[3]})
        assert second.powerlaw.PhoIndex.values[0] == pytest.approx(row[1] * 0.5 + 0.3, rel=1e-15)
        assert Fit.statistic == pytest.approx(value, rel=1e-11)


def test_data_groups_share_what_they_have_in_common(
    two_groups: tuple[Model, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine()
    calls = []
    compute = engine.Program._compute
    monkeypatch.setattr(engine.Program, "_compute", lambda *a: calls.append(a[1].__name__) or compute(*a))
    program = engine.program()
    grids = len(program.grids)
    evaluate_batch(np.array([[1.0, 1.5, 0.2, 0.5]]))
    assert calls.count("powerlaw") == calls.count("phabs") == grids


def test_frozen_components_are_computed_once(epic_pn: Model) -> None:
    epic_pn.bbodyrad.kT.frozen = True
    seen = []
    component = epic_pn._record.expression.components[1]
    original = component.function
    object.__setattr__(component, "function", lambda e, p, s: seen.append(p.shape[0]) or original(e, p, s))
    try:
        evaluate_batch(np.delete(_draws(5), 1, axis=1))
        evaluate_batch(np.delete(_draws(5, seed=1), 1, axis=1))
    finally:
        object.__setattr__(component, "function", original)
    assert seen == [1]


def test_components_add_up(epic_pn: Model) -> None:
    parts = _engine().evaluate_components(_draws(3))
    assert list(parts) == ["bbodyrad", "powerlaw"]
    total = _engine().evaluate(_draws(3)).folded[0]
    torch.testing.assert_close(parts["bbodyrad"][0] + parts["powerlaw"][0], total, rtol=1e-12, atol=0.0)  # rounding


def test_unfolded_model_on_given_energies() -> None:
    Model("po")
    edges = np.array([1.0, 2.0, 4.0])
    flux = _engine().evaluate_flux(np.array([[1.0, 3.0], [2.0, 1.0]]), edges)
    # Integrals of E^-1 and E^-2 by hand; powerlaw keeps its gradient finite near index 1 to 1e-10.
    np.testing.assert_allclose(flux, [[3 * np.log(2), 3 * np.log(2)], [0.5, 0.25]], rtol=1e-9)


def test_a_model_that_fails_gives_nan_and_not_a_likelihood(epic_pn: Model) -> None:
    theta = _draws(3)
    theta[1, 4] = np.nan
    _counts, statistic = evaluate_batch(theta)
    assert np.isnan(statistic[1]) and np.isfinite(statistic[[0, 2]]).all()


def test_priors_are_added_where_bayes_is_on(epic_pn: Model) -> None:
    plain = Fit.statistic
    epic_pn(1).prior = ("gauss", 0.1, 0.02)
    epic_pn(2).prior = ("exp", 3.0)
    epic_pn(4).prior = "jeffreys"
    assert Fit.statistic == plain
    Fit.bayes = "on"
    expected = (
        np.log(2 * np.pi * 0.02**2) + ((0.1 - 0.096) / 0.02) ** 2 + 2 * (0.744 / 3 + np.log(3.0)) + 2 * np.log(2.03)
    )
    assert Fit.statistic - plain == pytest.approx(expected, rel=1e-9)  # difference of numbers near 100: rounding
    _counts, statistic = evaluate_batch(np.array([EPIC_PN]))
    assert statistic[0] == pytest.approx(Fit.statistic, rel=1e-12)


def test_caches_follow_every_change(epic_pn: Model) -> None:
    first = Fit.statistic
    epic_pn.powerlaw.norm = 3e-4
    second = Fit.statistic
    AllData(1).ignore("**-1.0")
    third = Fit.statistic
    session.abund = "angr"
    session.touch()
    assert len({first, second, third, Fit.statistic}) == 4


def test_wrong_shapes_and_empty_sessions_are_named(epic_pn: Model) -> None:
    with pytest.raises(XspecError, match=r"shape \(n, 5\)"):
        evaluate_batch(np.ones((3, 4)))
    assert evaluate_batch(np.empty((0, 5)))[1].shape == (0,)
    AllData.clear()
    with pytest.raises(XspecError, match="nothing to evaluate"):
        evaluate_batch(np.ones((1, 5)))


def test_speed_is_what_sampling_needs(epic_pn: Model) -> None:
    theta = _draws(1000)
    evaluate_batch(theta[:10])
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        evaluate_batch(theta)
        best = min(best, time.perf_counter() - start)
    # 2,000 a second on two idle cores is the goal (3,000 to 10,000 measured); a busy machine is allowed a fourth.
    assert 1000 / best > 500
