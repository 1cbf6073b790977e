"""Emulated draws corrected by few exact ones, where the posterior is known by quadrature."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy

from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer import controlvariate
from xspec_sixsa.infer.controlvariate import ControlVariate, control_variate
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws, Frozen
from xspec_sixsa.infer.proposal import KernelProposal, Mixture, StudentProposal


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Points of a grid of the cube and the posterior's probabilities there."""
    points = (np.arange(800) + 0.5) / 800
    u = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    value = toy.log_likelihood(u)
    p = np.exp(value - value.max())
    return u, p / p.sum()


U, P = grid()
MEAN, SD = P @ U, np.sqrt(P @ (U - P @ U) ** 2)


def tilted(size: float, step: float = 0.0, board: float = 0.0) -> object:
    """The exact log likelihood, off by `size` a standard deviation, a step, and a chequerboard's fields."""

    def log_likelihood(u: np.ndarray) -> np.ndarray:
        z = (u - MEAN) / SD
        off = size * z[:, 0] - 0.3 * size * z[:, 0] * z[:, 1] + step * np.sign(z[:, 0])
        return toy.log_likelihood(u) + off + board * np.sign(np.sin(20 * z)).prod(axis=1)

    return log_likelihood


def proposal() -> Mixture:
    with Streams(1).torch("points"):
        chosen = U[torch.multinomial(torch.tensor(P), 1500, replacement=True).numpy()]
    return Mixture([KernelProposal(chosen), StudentProposal(Whitening.of(chosen))], [0.95, 0.05])


def corrected(seed: int, emulated: object, exact: int = 150, wanted: float = 5000) -> ControlVariate:
    draws = FinalDraws(Frozen(proposal()), 2)
    streams = Streams(seed)
    problem = SimpleNamespace(streams=streams, left=10**6, simulate=toy.simulate)
    draws.extend(problem, "final", exact)
    with streams.torch("control"):
        return control_variate(draws, emulated, wanted)


def test_a_tilted_emulator_is_set_right_and_errors_are_as_said() -> None:
    log_z = toy.log_evidence_by_quadrature()
    pulls = []
    for seed in range(40):
        found = corrected(seed, tilted(0.2))
        w = np.exp(found.log_weights - found.log_weights.max())
        w /= w.sum()
        assert found.is_small
        pulls.append([*((w @ found.u - MEAN) / (SD / np.sqrt(found.ess))), (found.log_z - log_z) / found.log_z_err])
    pulls = np.array(pulls)
    # 40 pulls: their mean scatters by 0.16, their spread by 0.11; three times that
    assert (np.abs(pulls.mean(axis=0)) < 0.48).all(), pulls.mean(axis=0)
    assert ((pulls.std(axis=0) > 0.67) & (pulls.std(axis=0) < 1.33)).all(), pulls.std(axis=0)


def test_without_the_correction_the_same_draws_are_wrong() -> None:
    found = corrected(1, tilted(0.2))
    uncorrected = tilted(0.2)(found.u) - found.log_density
    w = np.exp(uncorrected - uncorrected.max())
    off = (w @ found.u / w.sum() - MEAN) / (SD / np.sqrt(found.ess))
    assert np.abs(off).max() > 5
    assert found.shift > 5  # and it is said how much was moved


def test_effective_samples_are_those_of_what_the_correction_leaves() -> None:
    assert corrected(2, tilted(0.0)).ess > 4500
    # fields far smaller than the draws' distances: the variance of exp(+-0.5) about its mean
    rough, most = corrected(2, tilted(0.0, board=0.5)), 150 / np.var(np.exp([0.5, -0.5]) / np.cosh(0.5))
    # of 150 draws of this proposal more than half are effective; one quantile of ten has half as many by chance
    assert 0.25 * most < rough.ess < most


def test_errors_of_emulated_draws_and_of_the_correction_add_up() -> None:
    enough = []
    for board in (0.1, 0.2, 0.4):  # fields that no correction follows
        found = corrected(5, tilted(0.0, board=board), exact=600)
        own = controlvariate.effective_sample_size(found.log_weights)
        assert found.ess == pytest.approx(1 / (1 / own + 1 / found.correction_ess))
        enough.append(found.is_enough(5000))
        if enough[-1]:
            assert own > 5000  # more than are wanted, since some of the error is the correction's
        else:
            assert found.more(5000) * found.correction_ess > 1.25 * 5000  # it says how many more exact draws would do
    assert enough == [True, True, False]


def test_a_step_along_one_parameter_is_learned_from_the_exact_draws() -> None:
    # 75 draws on either side know within a few percent of the posterior where it is
    found = corrected(2, tilted(0.0, step=0.5))
    assert found.ess > 4500
    w = np.exp(found.log_weights - found.log_weights.max())
    beyond = P[U[:, 0] > MEAN[0]].sum()
    error = np.sqrt(beyond * (1 - beyond) / found.ess)
    assert abs(w[found.u[:, 0] > MEAN[0]].sum() / w.sum() - beyond) < 3 * error


def test_what_is_left_in_one_tail_costs_effective_samples() -> None:
    # off by +-0.8 in the lowest tenth only, in fields that no correction follows
    def log_likelihood(u: np.ndarray) -> np.ndarray:
        z = (u - MEAN) / SD
        return toy.log_likelihood(u) + np.where(z[:, 0] < -1.3, 0.8 * np.sign(np.sin(20 * z)).prod(axis=1), 0.0)

    found = corrected(4, log_likelihood, exact=600, wanted=50000)
    # the tail's own quantile scatters with (1 - q) / q, half of it at q = 0.1, times what an even scatter leaves
    assert 1 / 20 < found.correction_ess / np.median(found.quantile_ess) < 1 / 3
    assert found.quantile_ess.argmin() == 0  # the first parameter's lowest


def test_what_cannot_be_corrected_is_not_called_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlvariate, "BETTER", 0.0)  # as where kernels do not help
    # a hundred times as many draws are wanted as are exact: what a step of 0.8 leaves in the median shows
    assert not corrected(3, tilted(0.0, step=0.8), exact=400, wanted=40000).is_small
