from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable

import numpy as np
import pytest
import toy

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.controlvariate import ControlVariate
from xspec_sixsa.infer.coordinates import Whitening
from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.emulatedproposal import EmulatedProposal, RejectionProposal
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.problem import Problem, Simulate
from xspec_sixsa.infer.proposal import StudentProposal
from xspec_sixsa.infer.search import Search
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations

SMALL = Settings(
    target_ess=400, budget=6000, first=240, later=400, pilot=200, emulated=1000, compressor="pca", flow_steps=300,
    explorer_steps=100, refine_steps=250,
)  # fmt: skip


def run(settings: Settings = SMALL, seed: int = 1, simulate: Callable = toy.simulate) -> Inference:
    spent = [0]

    def counted(u, stage, log_density=None):
        spent[0] += len(u)
        return simulate(u)

    return inferred(counted, lambda: spent[0], settings, seed)


def inferred(simulate: Simulate, spent: Callable[[], int], settings: Settings, seed: int = 1) -> Inference:
    problem = Problem(2, simulate, spent, toy.noise(), settings, Streams(seed), Progress(False))
    inference = Inference(problem)
    inference.begin(simulate(problem.prior_draws(settings.first), "round 1"))
    inference.run()
    return inference


@pytest.mark.parametrize(
    ("earlier", "rate", "learns"),
    [
        ([], 0.4, True),  # 2,500 draws, or 1,176 and a lesson
        ([], 0.8, False),  # 1,250 draws
        ([0.64], 0.63, False),  # a lesson has not helped: 1,587 draws again, or as many and a lesson
        ([0.64], 0.32, True),  # a rare draw, which is known now
        ([0.02, 0.14], 0.5, True),  # lessons help
    ],
)
def test_draws_teach_where_that_is_cheaper_than_going_on(earlier: list[float], rate: float, learns: bool) -> None:
    problem = Problem(2, toy.simulate, lambda: 0, toy.noise(), Settings(target_ess=1000), Streams(1), Progress(False))
    strategy = types.SimpleNamespace(step=50)
    inference = Inference(problem, strategy)
    inference._rates = earlier
    found = collections.UserList([None] * 100)
    found.weights = types.SimpleNamespace(efficiency=rate)
    assert inference._worth_learning(found) == learns


def draws(inference: Inference) -> FinalDraws:
    assert inference.draws is not None
    return inference.draws


@pytest.fixture(scope="module")
def inference() -> Inference:
    return run()


def test_the_evidence_is_that_of_quadrature(inference: Inference) -> None:
    w = draws(inference).weights
    assert inference.verdict() == []
    assert abs(w.log_z - toy.log_evidence_by_quadrature()) < 4 * w.log_z_err
    assert w.log_z_err < 0.1


def test_the_run_stops_at_the_wanted_effective_sample_size_within_the_budget(inference: Inference) -> None:
    assert SMALL.target_ess <= draws(inference).weights.ess < 2.5 * SMALL.target_ess
    assert inference.problem.spent() <= SMALL.budget


def test_weights_are_likelihood_over_density_of_the_draws_themselves(inference: Inference) -> None:
    final = draws(inference)
    assert final.log_likelihood == pytest.approx(toy.log_likelihood(final.u))
    assert final.weights.log_weights == pytest.approx(final.log_likelihood - final.log_density)


def test_the_same_seed_gives_the_same_draws(inference: Inference) -> None:
    assert np.array_equal(draws(inference).u, draws(run()).u)


def test_a_spent_budget_is_said() -> None:
    settings = dataclasses.replace(SMALL, target_ess=100000, budget=1500, rounds=1, refinements=0, attempts=1)
    inference = run(settings)
    assert inference.problem.spent() <= 1500
    assert any("budget of 1500" in reason for reason in inference.verdict())


def test_draws_that_are_worth_little_teach_instead_of_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    proper, made, drawn = Search.proposal, [], collections.Counter()

    def proposal(search: Search) -> EmulatedProposal:
        made.append(proper(search))
        if len(made) > 1:
            return made[-1]
        # of a Gaussian in two dimensions to the power 0.2, 36 % of the draws are effective
        broad = StudentProposal(Whitening.of(made[0].draw(500)), inflate=3.0)
        return RejectionProposal(broad, lambda u: 0.2 * search.emulator.log_likelihood(u))

    def simulate(u: np.ndarray, stage: str, log_density: np.ndarray | None = None) -> Simulations:
        drawn[stage] += len(u)
        return toy.simulate(u)

    monkeypatch.setattr(Search, "proposal", proposal)
    settings = dataclasses.replace(SMALL, target_ess=2000)
    spent = lambda: sum(drawn.values())  # noqa: E731
    inference = inferred(simulate, spent, settings)
    assert drawn["final"] == 200 and "final 2" in drawn
    assert len(draws(inference)) == drawn["final 2"] < 2000 / 0.7
    assert inference.verdict() == []
    w = draws(inference).weights
    assert abs(w.log_z - toy.log_evidence_by_quadrature()) < 4 * w.log_z_err


@pytest.mark.parametrize("training", [pytest.param("emulated", marks=pytest.mark.slow), "simulated"])
def test_final_draws_that_do_not_pass_are_followed_by_another_compressor(training: str) -> None:
    # a posterior of some twenty stripes, which sixty evaluations and barely trained networks cannot know
    def folded(u: np.ndarray) -> np.ndarray:
        return np.column_stack([u[:, 0], 0.5 + 0.4 * np.sin(120 * u[:, 1])])

    settings = dataclasses.replace(
        SMALL, target_ess=100, training=training, first=60, batch=20, pilot=60, searches=1, rounds=1, refinements=1,
        flow_steps=20, explorer_steps=50, refine_steps=20, accuracy=1e-6, budget=2000, attempts=2,
    )  # fmt: skip
    inference = run(settings, simulate=lambda u: toy.simulate(folded(u)))
    names = [r["compressor"] for r in inference.strategy.rounds.records if "compressor" in r]
    assert names == ["pca", "autoencoder"]
    assert inference.verdict()  # and none of it helped: said, not hidden


def test_emulated_draws_get_more_exact_ones_until_their_correction_is_good_enough() -> None:
    # off by waves that no quadratic follows, and too short to move a quantile: 150 exact draws do not stand for 6,000
    def waves(u: np.ndarray) -> np.ndarray:
        return 0.25 * np.sign(np.sin(2000 * u[:, 0]))

    drawn = collections.Counter()

    def simulate(u: np.ndarray, stage: str, log_density: np.ndarray | None = None) -> Simulations:
        drawn[stage] += len(u)
        return toy.simulate(u)

    settings = dataclasses.replace(SMALL, target_ess=6000, exact="control", budget=20000)
    inference = inferred(simulate, lambda: sum(drawn.values()), settings)
    proper = inference.strategy.search.emulator.log_likelihood
    inference.strategy.search.emulator.log_likelihood = lambda u: proper(u) + waves(u)
    inference.control, first = None, len(draws(inference))
    assert inference._correct(draws(inference), "final", learning=False)
    assert inference.control is not None and inference.control.exact > first
    assert inference.control.exact == len(draws(inference)) < 3000
    assert inference.control.ess > 0.95 * 6000


def test_exact_draws_teach_where_a_correction_would_need_many_more_but_only_if_it_helps() -> None:
    settings = dataclasses.replace(SMALL, target_ess=6000, exact="control", budget=20000)
    inference = run(settings)
    proper = inference.strategy.search.emulator.log_likelihood
    inference.strategy.search.emulator.log_likelihood = lambda u: proper(u) + 0.5 * np.sign(np.sin(2000 * u[:, 0]))
    inference.control, first = None, len(draws(inference))
    assert not inference._correct(draws(inference), "final", learning=True)  # given up to be learned from
    assert len(draws(inference)) == first and inference.control is None
    # as it would be if nothing had been learned
    assert inference._correct(draws(inference), "final", learning=True)
    assert len(draws(inference)) > first and inference.control is not None


def test_exact_draws_teach_where_a_correction_comes_to_need_many_more_than_it_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = dataclasses.replace(SMALL, target_ess=6000, exact="control", budget=20000)
    inference = run(settings)
    proper = inference.strategy.search.emulator.log_likelihood
    inference.strategy.search.emulator.log_likelihood = lambda u: proper(u) + 0.5 * np.sign(np.sin(2000 * u[:, 0]))
    inference.control, first = None, len(draws(inference))
    # at first few more seem to do, and then it is always half as many again
    monkeypatch.setattr(ControlVariate, "is_enough", lambda self, wanted: False)
    monkeypatch.setattr(ControlVariate, "needed", lambda self, wanted: int(1.5 * self.exact))
    assert not inference._correct(draws(inference), "final", learning=True)
    # DEAR times a lesson and new draws, about 200 here, and not the half of all that are wanted
    assert first < len(draws(inference)) < 1500 and inference.control is None


def test_where_the_correction_would_need_too_many_all_draws_are_exact() -> None:
    drawn = collections.Counter()

    def simulate(u: np.ndarray, stage: str, log_density: np.ndarray | None = None) -> Simulations:
        drawn[stage] += len(u)
        return toy.simulate(u)

    settings = dataclasses.replace(SMALL, target_ess=600, exact="control")
    inference = inferred(simulate, lambda: sum(drawn.values()), settings)
    proper = inference.strategy.search.emulator.log_likelihood
    emulator = inference.strategy.search.emulator
    emulator.log_likelihood = lambda u: proper(u) + 2 * np.sign(np.sin(2000 * u[:, 0]))
    inference.control = None
    assert inference._correct(draws(inference), "final", learning=False)
    assert inference.control is None
    assert draws(inference).weights.ess >= 600
