from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import toy
from scipy.stats import qmc

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.emulatedproposal import RejectionProposal
from xspec_sixsa.infer.emulator import Emulator, KernelRegression
from xspec_sixsa.infer.importance import effective_sample_size, log_evidence
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.paired import PairedEmulator
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import StudentMixture, StudentProposal
from xspec_sixsa.infer.regression import _loss
from xspec_sixsa.infer.search import Search
from xspec_sixsa.infer.settings import Settings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


U = qmc.Sobol(2, rng=np.random.default_rng(1)).random(256)


@pytest.fixture(scope="module")
def noise() -> Noise:
    return toy.noise()


@pytest.fixture(scope="module")
def emulator(noise: Noise) -> Emulator:
    simulations = toy.simulate(U)
    return Emulator(U, simulations.counts, np.ones(len(U)), noise)


@pytest.fixture(scope="module")
def paired(noise: Noise) -> PairedEmulator:
    with one_thread(), Streams(1).torch("paired"):
        return PairedEmulator(U, toy.simulate(U).counts, np.ones(len(U)), noise, steps=200)


def search(noise: Noise, seed: int = 1, begin: PairedEmulator | None = None) -> Search:
    settings = Settings(
        budget=5000, batch=100, explore=0.1, accuracy=0.4, emulator="paired" if begin is not None else "linear"
    )
    problem = Problem(2, toy.simulate, lambda: 0, noise, settings, Streams(seed), Progress(False))
    found = Search(problem, toy.simulate(U), begin)
    found.run(10 if begin is None else 1, 0)
    return found


def test_a_regression_is_exact_for_what_its_trend_can_say() -> None:
    x = np.random.default_rng(2).random((60, 3))

    def f(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.stack([1 + x @ [1.0, -2, 3], x[:, 0] * x[:, 1] - x[:, 2] ** 2], axis=1))

    fitted, new = KernelRegression(x, f(x), np.ones(60)), np.random.default_rng(3).random((40, 3)) * 2
    # the ridge of 1e-10 leaves about its square root
    assert fitted(new).numpy() == pytest.approx(f(new).numpy(), abs=1e-4)


def test_spectra_between_the_evaluated_ones_are_right_within_a_part_of_their_noise(emulator: Emulator) -> None:
    u = np.random.default_rng(4).random((200, 2)) * 0.9 + 0.05
    exact, emulated = toy.expected_counts(u), emulator(u).numpy()
    assert (np.abs(emulated - exact) / np.sqrt(exact + 1)).max() < 0.1


def test_many_bins_are_emulated_alike_whatever_was_drawn_before() -> None:
    # more than four times as many bins and spectra as components: the principal ones come from a random sketch
    rng, n_bins = np.random.default_rng(3), 400
    u = qmc.Sobol(2, rng=rng).random(512)
    counts = torch.tensor(100 * np.exp(u @ rng.normal(size=(2, n_bins)) / 3))
    edges = np.stack([np.arange(n_bins), np.arange(n_bins) + 1.0], axis=1)
    noise = toy.noise(counts=np.full(n_bins, 100.0), energies=edges)
    emulated = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        emulated.append(Emulator(u, counts, np.ones(len(u)), noise)(u[:20]))
    assert torch.equal(*emulated)


def test_spectra_that_are_kept_are_decoded_in_parts(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    u = np.random.default_rng(2).random((30, 2))
    decoded = []
    monkeypatch.setattr("xspec_sixsa.infer.emulator.PART", 8 * 20)
    monkeypatch.setattr(Emulator, "__call__", lambda self, part, whole=Emulator.__call__: (
        decoded.append(len(part)) or whole(self, part)))  # fmt: skip
    kept = emulator.spectra(u)
    assert max(decoded) <= 8 and sum(decoded) == len(u)
    monkeypatch.undo()
    assert kept.dtype == torch.float32
    np.testing.assert_allclose(kept, emulator(u), rtol=1e-6)  # float32


def test_log_likelihood_is_the_statistic_of_the_emulated_spectrum(emulator: Emulator, noise: Noise) -> None:
    u = np.random.default_rng(5).random((50, 2))
    assert emulator.log_likelihood(u) == pytest.approx(noise.statistics.log_likelihood(emulator(u)).numpy())
    assert noise.statistics.log_likelihood(torch.tensor(toy.expected_counts(u))).numpy() == pytest.approx(
        toy.log_likelihood(u)
    )


def test_derivatives_are_those_of_the_emulated_spectrum(emulator: Emulator) -> None:
    at = np.array([0.45, 0.5])
    counts, slopes = emulator.jacobian(at)
    np.testing.assert_allclose(counts, emulator(at[None])[0], rtol=1e-9)
    steps = 1e-5 * np.eye(2)
    differences = torch.stack([emulator((at + s)[None])[0] - emulator((at - s)[None])[0] for s in steps], dim=1) / 2e-5
    # the differences' own error: a third derivative of some hundred times 1e-10
    np.testing.assert_allclose(slopes, differences, rtol=1e-4, atol=1e-4 * float(slopes.abs().max()))
    np.testing.assert_allclose(slopes, toy.fiducial(at).slopes, rtol=0.1, atol=0.05 * float(slopes.abs().max()))


def test_gaussian_spectra_are_emulated_too() -> None:
    sigma = np.sqrt(toy.OBSERVED + 1)
    noise = toy.noise(statistic="chi", sigma=sigma)
    emulator = Emulator(U, toy.simulate(U).counts, np.ones(len(U)), noise)
    u = np.random.default_rng(6).normal([0.45, 0.5], 0.05, (100, 2))
    assert (np.abs(emulator(u).numpy() - toy.expected_counts(u)) / sigma).max() < 0.5


def test_the_inverse_half_finds_parameters_and_knows_a_stranger(emulator: Emulator, noise: Noise) -> None:
    truth = np.array([[0.3, 0.8]] * 50)
    torch.manual_seed(1)
    found = emulator.parameters(noise.draw(torch.tensor(toy.expected_counts(truth))))
    assert np.abs(found.mean(axis=0) - truth[0]).max() < 0.1
    own = emulator.recovery(np.array([[0.45, 0.5]] * 300))
    assert own.inside
    strange = toy.OBSERVED * (1 + 3 * (np.arange(20) == 3))
    other = Emulator(U, toy.simulate(U).counts, np.ones(len(U)), toy.noise(counts=strange))
    assert not other.recovery(np.array([[0.45, 0.5]] * 300)).inside


def test_networks_turn_parameters_into_spectra_and_back(paired: PairedEmulator, noise: Noise) -> None:
    u = np.random.default_rng(4).random((200, 2)) * 0.9 + 0.05
    exact = toy.expected_counts(u)
    # over the whole prior, where counts differ by 10^5: within the noise, but for the brightest corner
    assert np.median(np.abs((paired(u).numpy() - exact) / np.sqrt(exact + 1)).max(axis=1)) < 0.5
    truth = np.array([[0.3, 0.8], [0.7, 0.9], [0.2, 0.6]])
    torch.manual_seed(1)
    recorded = noise.draw(torch.tensor(toy.expected_counts(np.repeat(truth, 50, axis=0))))
    assert np.abs(paired.parameters(recorded).reshape(3, 50, 2).mean(axis=1) - truth).max() < 0.05
    with torch.no_grad():  # as strategies may be in
        passed, inverted = toy.log_likelihood(paired.starts())
    # 20,000 points fill the square as densely as the best fit is known to a hundredth in log L
    best = toy.log_likelihood(np.random.default_rng(5).random((20000, 2))).max()
    assert passed < inverted and best - inverted < 0.1


def test_networks_know_a_stranger(paired: PairedEmulator) -> None:
    posterior = np.array([[0.45, 0.5]] * 300)
    torch.manual_seed(1)
    assert paired.recovery(posterior).inside
    strange = toy.OBSERVED * (1 + 3 * (np.arange(20) == 3))
    assert not paired.given(toy.noise(counts=strange)).recovery(posterior).inside


def test_a_search_ends_with_an_emulator_that_is_right_over_the_posterior(noise: Noise) -> None:
    found = search(noise)
    u = found.sample(np.random.default_rng(7))
    assert np.std(found.emulator.log_likelihood(u) - toy.log_likelihood(u)) < 0.4
    assert found.error < 0.4
    again = search(noise)
    assert np.array_equal(again.simulations.u, found.simulations.u)


def test_networks_search_too(paired: PairedEmulator, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xspec_sixsa.infer.search.STEPS", 25)
    found = search(noise, begin=paired)
    # the step found the posterior by the first networks, and others have learned from it
    assert found.power == 1 and found.error < 0.4
    assert isinstance(found.emulator, PairedEmulator) and found.emulator is not paired
    assert np.isfinite(found.emulator.log_likelihood(found.simulations.u)).all()
    assert not Settings(emulator="paired").by_component and Settings().by_component


def test_draws_of_the_emulated_posterior_have_the_density_that_they_say(noise: Noise) -> None:
    proposal = search(noise).proposal()
    torch.manual_seed(2)
    u = proposal.draw(4000)
    log_weights = toy.log_likelihood(u) - proposal.log_density(u)
    log_z, error = log_evidence(log_weights)
    assert abs(log_z - toy.log_evidence_by_quadrature()) < 4 * np.hypot(error, proposal.log_norm_err)
    assert effective_sample_size(log_weights) > 0.8 * len(u)


def test_a_wrong_emulator_costs_draws_but_not_the_evidence() -> None:
    def wrong(u: np.ndarray) -> np.ndarray:
        return 0.5 * toy.log_likelihood(u)

    torch.manual_seed(3)
    cover = StudentProposal(Whitening.of(np.random.default_rng(8).normal(0.45, 0.05, (500, 2)).clip(0.01, 0.99)))
    proposal = RejectionProposal(cover, wrong)
    u = proposal.draw(6000)
    log_weights = toy.log_likelihood(u) - proposal.log_density(u)
    log_z, error = log_evidence(log_weights)
    assert abs(log_z - toy.log_evidence_by_quadrature()) < 4 * np.hypot(error, proposal.log_norm_err)


def test_a_mixture_of_student_t_is_normalised_and_follows_two_modes() -> None:
    rng = np.random.default_rng(9)
    points = np.concatenate([rng.normal(0.2, 0.02, (500, 2)), rng.normal(0.8, 0.02, (500, 2))]).clip(0.001, 0.999)
    torch.manual_seed(4)
    mixture = StudentMixture(points, 2)
    u = mixture.draw(2000)
    assert abs((u[:, 0] < 0.5).mean() - 0.5) < 0.05  # four standard errors of 2000 draws
    inside = np.random.default_rng(10).random((200000, 2))
    assert np.exp(mixture.log_density(inside)).mean() == pytest.approx(1.0, abs=0.03)


def test_settings_are_sized_by_the_parameters() -> None:
    sized = Settings().sized(5)
    assert (sized.first, sized.batch) == (600, 200)
    assert Settings(training="simulated").sized(5).first == 3000
    # many draws repay a better emulator
    assert sized.accuracy == 0.4 and Settings(target_ess=10000).sized(5).accuracy == pytest.approx(0.126, abs=1e-3)
    assert Settings(accuracy=0.3).sized(5).accuracy == 0.3


def test_a_regression_knows_small_steps_beside_what_is_smooth() -> None:
    def f(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.sin(4 * x[:, :1]) * np.exp(x[:, 1:]) + 0.02 * np.floor(15 * x[:, 1:]))

    rng = np.random.default_rng(4)
    x, new = rng.random((150, 2)), rng.random((400, 2))
    smooth = KernelRegression(x, f(x), np.ones(150), noiseless=True, mixed=False)
    rough = KernelRegression(x, f(x), np.ones(150), smooth.scales, noiseless=True, rough=1, mixed=False)
    off = [(fitted(new) - f(new)).abs() for fitted in (smooth, rough)]
    # nine points in ten have no step between their neighbour and them
    assert off[1].median() < 0.5 * off[0].median()
    # what it says of its errors: right within a factor of two
    assert 0.5 < rough.uncertainty(new).diagonal().mean().sqrt() / off[1].square().mean().sqrt() < 2
    assert rough.differentiable(torch.tensor(new)).numpy() == pytest.approx(rough(new).numpy(), abs=1e-12)


def test_coordinates_that_points_are_correlated_in_may_be_kept_apart() -> None:
    rng = np.random.default_rng(5)
    x = rng.random((80, 2))
    x[:, 1] = 0.8 * x[:, 0] + 0.2 * x[:, 1]
    new = rng.permutation(x)
    new[:, 0] += 0.02 * rng.normal(size=80)

    def f(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.tanh(10 * (x[:, 1:] - 0.5)) + x[:, :1])

    mixed, apart = (KernelRegression(x, f(x), np.ones(80), noiseless=True, mixed=mixed) for mixed in (True, False))
    off = [float((fitted(new) - f(new)).square().mean().sqrt()) for fitted in (mixed, apart)]
    # the bend is along one coordinate only: what the other adds is in the trend
    assert off[1] < 0.5 * off[0]


@pytest.mark.parametrize("rough", [False, True])
def test_the_derivatives_of_the_marginal_likelihood_are_its_own(rough: bool) -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(60, 3, generator=rng, dtype=torch.float64)
    y = torch.stack([x[:, 0].sin(), x[:, 1].square() + x[:, 2]], dim=1)
    scales = torch.tensor([0.3, -0.2, 0.8] + [-1.5] * rough + [-4.0], dtype=torch.float64)
    _, slopes = _loss(x, y, scales, rough)
    steps = 1e-5 * torch.eye(len(scales), dtype=torch.float64)
    difference = [
        (_loss(x, y, scales + step, rough)[0] - _loss(x, y, scales - step, rough)[0]) / 2e-5 for step in steps
    ]
    # losses of some tens, rounded at 1e-14, over twice the step
    np.testing.assert_allclose(slopes, difference, rtol=1e-6, atol=1e-6)
