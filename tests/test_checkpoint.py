from __future__ import annotations

import numpy as np
import pytest
import toy

from xspec_sixsa.infer.checkpoint import Checkpoint

U = np.random.default_rng(0).random((30, 2))


class Model:
    """Counts its evaluations."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.calls += len(u)
        return toy.expected_counts(u), toy.log_likelihood(u)


def stopped_run(folder, batches: int) -> Checkpoint:
    checkpoint = Checkpoint()
    for i in range(batches):
        checkpoint.evaluate("round 1", U[10 * i : 10 * i + 10], None, Model())
        checkpoint.keep(folder)
    return checkpoint


def test_a_resumed_run_repeats_nothing_that_was_finished(tmp_path) -> None:
    first = stopped_run(tmp_path, 2)
    model, resumed = Model(), Checkpoint(tmp_path, resume=True)
    for i in range(3):
        batch = resumed.evaluate("round 1", U[10 * i : 10 * i + 10], None, model)
        assert batch.log_likelihood == pytest.approx(toy.log_likelihood(batch.u))
    assert model.calls == 10 and resumed.replayed == 20
    assert resumed.evaluations == {"round 1": 30}
    assert np.array_equal(resumed.batches[0].counts, first.batches[0].counts)
    assert len(list(tmp_path.glob("batch_*.npz"))) == 3


def test_other_draws_than_those_of_the_stopped_run_are_evaluated(tmp_path, caplog) -> None:
    stopped_run(tmp_path, 2)
    model, resumed = Model(), Checkpoint(tmp_path, resume=True)
    resumed.evaluate("round 1", U[:10], None, model)
    resumed.evaluate("round 1", U[:10] / 2, None, model)
    assert model.calls == 10
    assert "evaluated anew" in caplog.text
    assert len(list(tmp_path.glob("batch_*.npz"))) == 2


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Checkpoint().evaluate("round 1", U, None, Model())
    assert not list(tmp_path.iterdir())
