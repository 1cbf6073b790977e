"""Calibration: ranks that are uniform for true posteriors only, and simulated spectra inferred as a run infers one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_session import fresh, power_law_run

from xspec_sixsa import embedded
from xspec_sixsa.common.deadline import Stopped
from xspec_sixsa.common.observation import Observation, SpectrumData
from xspec_sixsa.products.calibration import KINDS, Calibration, calibrate, spectra, uniform_rank
from xspec_sixsa.products.calibration.box import Box
from xspec_sixsa.products.calibration.observations import simulated_observation
from xspec_sixsa.products.calibration.spectra import Task, infer_all

BOX = np.array([[0.3, 0.5], [0.45, 0.55]])
CELLS = 150  # a side


def calibration(ranks: np.ndarray) -> Calibration:
    n, d = ranks.shape
    coverage = {kind: np.linspace(0.01, 0.99, n) for kind in KINDS}
    return Calibration(
        [f"p{i}" for i in range(d)], [f"model p{i}" for i in range(d)], np.zeros((d, 2)), np.zeros((n, d)),
        {kind: ranks for kind in KINDS}, coverage, np.full(n, 200.0), 0, 0.1, {"spectra": n}, 1.0, 1,
    )  # fmt: skip


def gaussian_ranks(n: int, width: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Unit prior, unit noise: the posterior is N(x/2, 1/2); draws are weighted from a wider proposal."""
    rng = np.random.default_rng(3)
    ranks = np.empty((n, 2))
    for i in range(n):
        truth = rng.standard_normal(2)
        mean = (truth + rng.standard_normal(2)) / 2 + shift
        draws = mean + 1.2 * rng.standard_normal((300, 2))
        log_w = -((draws - mean) ** 2 / width**2).sum(axis=1) + ((draws - mean) ** 2 / 2.88).sum(axis=1)
        w = np.exp(log_w - log_w.max())
        ranks[i] = [uniform_rank(draws[:, j] < truth[j], w / w.sum(), rng.random()) for j in range(2)]
    return ranks


@pytest.mark.parametrize(
    ("width", "shift", "fault"), [(1, 0, ""), (0.5, 0, "too narrow"), (2, 0, "too wide"), (1, -0.4, "too low")]
)
def test_only_the_true_posterior_has_uniform_ranks(width: float, shift: float, fault: str) -> None:
    found = calibration(gaussian_ranks(300, width, shift))
    assert found.passed == (not fault)
    assert found.fault("weighted", 0) == fault
    assert ("NOT CALIBRATED" in str(found)) == bool(fault)


def test_a_rank_among_equal_weights_is_exactly_uniform() -> None:
    # rank r of k draws takes each of k + 1 values equally often: its share of (0, 1) must be [r, r + 1]/(k + 1)
    w = np.full(4, 0.25)
    for r in range(5):
        below = np.arange(4) < r
        assert uniform_rank(below, w, 0.0) == pytest.approx(r / 5)
        assert uniform_rank(below, w, 1.0) == pytest.approx((r + 1) / 5)


def test_simulated_data_take_the_place_of_observed_ones() -> None:
    energies = np.array([[1.0, 2.0], [2.0, 3.0]])
    common = {"exposure": 1.0, "energies": energies}
    ratio = np.array([0.5, 0.5])
    with_background = SpectrumData(
        "a", 1, np.array([3.0, 4.0]), statistic="cstat", background=np.array([2.0, 6.0]), background_ratio=ratio,
        **common,
    )  # fmt: skip
    chi = SpectrumData(
        "b", 2, np.array([30.0, 40.0]), statistic="chi", sigma=np.array([5.0, 6.0]), background=np.array([8.0, 10.0]),
        background_ratio=ratio, **common,
    )  # fmt: skip
    made = simulated_observation(Observation((with_background, chi)), np.array([7.0, 8.0, 20.0, 21.0, 1.0, 9.0]))
    np.testing.assert_array_equal(made.spectra[0].counts, [7, 8])
    np.testing.assert_array_equal(made.spectra[0].background, [1, 9])
    np.testing.assert_array_equal(made.spectra[1].counts, [24, 26])  # net counts plus half the background
    np.testing.assert_array_equal(made.spectra[1].background, [8, 10])


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An absorbed power law of two free parameters; the box is given, so that no posterior is needed."""
    monkeypatch.chdir(tmp_path)
    yield *power_law_run(embedded, tmp_path, (1e-4, 1e-1)), embedded
    fresh(embedded)


def ctrl_c(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("factored", [True, False])
def test_ranks_are_those_of_the_exact_posterior_and_a_stopped_calibration_goes_on(
    factored: bool, problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, priors, xspec = problem
    run.emulator = {"parts": 1} if factored else {}
    options = {"priors": priors, "box": BOX, "xspec": xspec, "workers": 2, "progress": False, "seed": 5}
    folder = tmp_path / "calibration"
    found = calibrate(run, 2, output=folder, **options)
    assert found.ess.min() >= 200
    assert found.unreliable == 0
    records = [json.loads((folder / "spectra" / f"0000{k}.json").read_text()) for k in range(2)]
    assert found.evaluations["spectra"] == sum(r["evaluations"] for r in records) > 2 * 200
    bound = Box.of(run, priors, BOX, xspec)
    task = Task(bound, None, folder, 5, 200, 5000)
    grid = (np.arange(CELLS) + 0.5) / CELLS
    v = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    counts = torch.tensor(bound.evaluate(v, "grid")[0])
    for k in range(2):
        truth, noise, _ = task.simulate(k)
        np.testing.assert_allclose(bound.transform(truth)[0], found.truth[k])
        value = noise.statistics.log_likelihood(counts).numpy()
        w = np.exp(value - value.max())
        w /= w.sum()
        for j in range(2):
            edge = np.clip((truth[0, j] - v[:, j]) * CELLS + 0.5, 0, 1)  # a cell that the truth cuts counts in part
            # 200 effective samples: four standard errors, and one rank
            assert found.ranks["weighted"][k, j] == pytest.approx(w @ edge, abs=4 * 0.5 / np.sqrt(200) + 0.01)
    before = found.ranks["weighted"].copy()
    (folder / "spectra" / "00001.json").unlink()
    with pytest.raises(FileExistsError, match="--resume"):
        calibrate(run, 2, output=folder, **options)
    with pytest.raises(ValueError, match="another seed"):
        calibrate(run, 2, output=folder, resume=True, **(options | {"seed": 6}))
    with monkeypatch.context() as patch:
        patch.setattr(spectra, "infer_all", ctrl_c)
        with pytest.raises(Stopped, match=r"Stopped by Ctrl-C: .* are kept in .*--resume"):
            calibrate(run, 2, output=folder, resume=True, **options)
    again = calibrate(run, 2, output=folder, resume=True, **options)
    np.testing.assert_array_equal(again.ranks["weighted"], before)
    assert {"calibration.json", "ranks.png", "coverage.pdf"} <= {path.name for path in folder.iterdir()}


def test_a_folder_with_something_else_in_it_is_refused(problem: Any, tmp_path: Path) -> None:
    run, priors, xspec = problem
    with pytest.raises(FileExistsError, match="no calibration"):
        calibrate(run, 3, output=tmp_path, priors=priors, box=BOX, xspec=xspec)
    with pytest.raises(ValueError, match="low below high"):
        calibrate(run, 3, output=tmp_path / "new", priors=priors, box=BOX[:, ::-1], xspec=xspec)
    assert not (tmp_path / "new").exists()


def test_a_process_that_dies_is_reported_with_what_to_do(problem: Any, tmp_path: Path) -> None:
    run, priors, xspec = problem

    class Dying(Task):
        def infer(self, k: int) -> None:
            os._exit(1)

    task = Dying(Box.of(run, priors, BOX, xspec), None, tmp_path, 5, 200, 5000)
    with pytest.raises(RuntimeError, match="continue with --resume"):
        infer_all(task, [0, 1], 2, False)
