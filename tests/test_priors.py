"""Priors: distributions, binding to a session, refusals, BXA's lists, the TOML file."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small_session import fresh

import xspec_sixsa.embedded as xspec
from xspec_sixsa import priors as P
from xspec_sixsa.priors import JointPrior, PriorError, bind

HERE = Path(__file__).parent
U = np.linspace(0.001, 0.999, 101)


@dataclass(frozen=True)
class Free:
    """A free parameter with the attributes that binding reads; the session's own is tested with the session."""

    chain_name: str
    label: str
    unit: str
    values: tuple[float, ...]
    prior: Any = None


class Session:
    """The two things that binding asks of a session."""

    def __init__(self, *parameters: Free) -> None:
        self.parameters = list(parameters)

    def find(self, reference: Any) -> Free:
        for position, parameter in enumerate(self.parameters, start=1):
            if reference in (parameter.chain_name, ("", position)) or reference is parameter:
                return parameter
        raise ValueError(f"{reference}: no such free parameter (frozen or linked?).")


NH = Free("nH__1", "TBabs nH", "10^22", (0.1, 0.01, 0.0, 0.0, 10.0, 20.0))
INDEX = Free("PhoIndex__2", "powerlaw PhoIndex", "", (1.8, 0.01, -3.0, -2.0, 9.0, 10.0))
NORM = Free("norm__3", "powerlaw norm", "", (1e-3, 1e-5, 0.0, 0.0, 1e20, 1e24))
SESSION = Session(NH, INDEX, NORM)
GOOD = [P.uniform("nH__1", 0, 0.5), P.normal("PhoIndex__2", 2, 0.3), P.loguniform("norm__3", 1e-5, 1e-2)]


def refused(call: Any, *words: str) -> PriorError:
    """The call raises PriorError, whose message has all these words."""
    with pytest.raises(PriorError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


TRUNCATED = stats.truncnorm(-1.0, 2.0, 3.0, 0.5)
KNOWN = {
    "uniform": (P.uniform("x", -2, 3), stats.uniform(-2, 5)),
    "loguniform": (P.loguniform("x", 1e-8, 1e3), stats.loguniform(1e-8, 1e3)),
    "normal": (P.normal("x", 3, 0.5), stats.norm(3, 0.5)),
    "truncated normal": (P.normal("x", 3, 0.5, 2.5, 4.0), TRUNCATED),
    "lognormal": (P.lognormal("x", math.log(1e-4), 2.3), stats.lognorm(2.3, scale=1e-4)),
    "exponential": (P.exponential("x", 2.0), stats.expon(scale=2.0)),
    "truncated exponential": (P.exponential("x", 2.0, 1.0, 7.0), stats.truncexpon(3.0, 1.0, 2.0)),
    "custom": (P.custom("x", stats.beta(2, 5, 1, 3)), stats.beta(2, 5, 1, 3)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_distribution_is_scipys(name: str) -> None:
    prior, expected = KNOWN[name]
    # The same distributions by other formulas of scipy: a few dozen roundings.
    np.testing.assert_allclose(prior.ppf(U), expected.ppf(U), rtol=1e-11)
    np.testing.assert_allclose(prior.cdf(expected.ppf(U)), U, rtol=1e-11)
    low, high = expected.support()
    assert prior.support == pytest.approx((low, high))
    assert np.all(np.isfinite(prior.ppf([0.0, 1.0]))), "the faces of the cube are finite values"


def test_truncated_lognormal_is_cut_and_renormalised() -> None:
    prior, whole = P.lognormal("x", 0.0, 1.0, 0.5, 3.0), stats.lognorm(1.0)
    below, above = whole.cdf([0.5, 3.0])
    # The plain way of truncating loses a few digits in the subtraction.
    np.testing.assert_allclose(prior.ppf(U), whole.ppf(below + U * (above - below)), rtol=1e-9)
    assert prior.ppf([0.0, 1.0]).tolist() == [0.5, 3.0]


def test_normal_keeps_its_shape_far_in_the_tail() -> None:
    # 30 sigma out the cumulative probability is exactly 1 in floats; there the tail is an exponential of scale sd/30,
    # to its first correction, 1/30^2.
    values = P.normal("x", 0.0, 1.0, 30.0, 40.0).ppf(np.array([0.5]))
    assert values[0] - 30.0 == pytest.approx(math.log(2) / 30, rel=2e-3)


def test_faces_of_the_cube_stay_on_the_limits() -> None:
    # exp(log(x)) and low + (high - low) can both miss the limit by a rounding; XSPEC would drop a value beyond it.
    rng = np.random.default_rng(3)
    for low, high in np.sort(10 ** rng.uniform(-9, 3, (200, 2)), axis=1):
        for prior in (P.uniform("a", low, high), P.loguniform("a", low, high)):
            values = JointPrior(["a"], [prior], [(low, high)]).transform(np.array([[0.0], [1.0]]))
            assert low <= values[0, 0] and values[1, 0] <= high
            # The logarithm of 1e-9 has 5 bits before its point, lost to the exponential.
            np.testing.assert_allclose(values.ravel(), [low, high], rtol=1e-14)


def test_bound_priors_follow_the_session_not_the_list() -> None:
    prior = bind(GOOD[::-1], SESSION)
    assert prior.names == ("nH__1", "PhoIndex__2", "norm__3")
    u = np.random.default_rng(1).random((50, 3))
    theta = prior.transform(u)
    np.testing.assert_allclose(theta[:, 0], 0.5 * u[:, 0])
    np.testing.assert_allclose(theta[:, 2], 1e-5 * 1e3 ** u[:, 2])
    # The cdf of a truncated normal and its inverse: roundings, and 1 - u near the upper end.
    np.testing.assert_allclose(prior.cdf(theta), u, atol=1e-12)


@pytest.mark.parametrize("reference", ["PhoIndex__2", ("", 2), INDEX])
def test_every_form_of_reference_becomes_the_chain_name(reference: Any) -> None:
    prior = bind([GOOD[0], P.uniform(reference, 0, 5), GOOD[2]], SESSION)
    assert prior.priors[1].parameter == "PhoIndex__2"


def test_normal_takes_the_hard_limits_where_it_has_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    prior = bind([P.normal("nH__1", 0.0, 1.0), *GOOD[1:]], SESSION)
    # Half a normal: its median is the 75 % quantile of the whole.
    assert prior.transform([[0.5, 0.5, 0.5]])[0, 0] == pytest.approx(stats.norm.ppf(0.75))
    assert prior.priors[0].numbers["low"] == 0.0
    assert "nH__1: 0.5 of the normal prior lies within 0" in caplog.text


def test_missing_priors_are_xspecs_limits_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    norm = replace(NORM, values=(1e-3, 1e-5, 0.0, 0.0, 1.0, 1.0))
    prior = bind([GOOD[0]], Session(NH, INDEX, norm))
    assert prior.transform([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]).tolist() == [[0.0, -3.0, 0.0], [0.5, 10.0, 1.0]]
    assert "PhoIndex__2: no prior given, taking uniform low -3 high 10" in caplog.text
    assert "its soft ones are -2 to 9" in caplog.text
    assert 'consider loguniform("norm__3", 1e-05, 0.1)' in caplog.text


@pytest.mark.parametrize(
    ("bayes", "expected"),
    [
        (("cons",), stats.uniform(1.0, 8.0)),
        (("CONS",), stats.uniform(1.0, 8.0)),
        (("exp", 2.0), stats.truncexpon(4.0, 1.0, 2.0)),
        (("jeffreys",), stats.loguniform(1.0, 9.0)),
        (("gauss", 4.0, 2.0), stats.truncnorm(-1.5, 2.5, 4.0, 2.0)),
    ],
)
def test_bayes_prior_of_the_session_is_taken(bayes: tuple[Any, ...], expected: Any) -> None:
    prior = bind([], Session(replace(NH, values=(2.0, 0.1, 1.0, 1.0, 9.0, 9.0), prior=bayes)))
    np.testing.assert_allclose(prior.transform(U[:, None])[:, 0], expected.ppf(U), rtol=1e-11)  # roundings


def test_bayes_density_is_what_the_engine_adds_to_the_statistic() -> None:
    # The engine's -2 ln prior is checked against XSPEC's; the slope of our cdf must be the same up to a factor.
    prior = bind([], Session(replace(NH, values=(2.0, 0.1, 1.0, 1.0, 9.0, 9.0), prior=("exp", 2.0))))
    x = np.array([2.0, 2.001, 5.0, 5.001])
    mass = np.diff(prior.cdf(x[:, None])[:, 0])[::2]
    # Two equal widths: exact but for the roundings of differences of 3e-4.
    assert mass[0] / mass[1] == pytest.approx(math.exp(3.0 / 2.0), rel=1e-9)


def test_joint_prior_orders_two_temperatures() -> None:
    def ordered(u: np.ndarray) -> np.ndarray:
        first = 10.0 * u[:, 0]
        return np.column_stack([first, first + (10.0 - first) * u[:, 1]])

    two = Session(NH, replace(NH, chain_name="nH__2"), NORM)
    prior = bind([P.joint(["nH__2", "nH__1"], ordered, kind="ordered"), GOOD[2]], two)
    theta = prior.transform(np.random.default_rng(0).random((500, 3)))
    assert np.all(theta[:, 1] <= theta[:, 0])
    assert np.ptp(theta[:, 1]) > 9.0
    refused(lambda: prior.cdf(theta), "ordered", "nH__2, nH__1", "coordinates")
    assert sum("ordered prior of nH__2, nH__1" in line for line in prior.describe()) == 2


def test_custom_prior_is_cut_at_the_hard_limits() -> None:
    prior = bind([P.custom("nH__1", stats.norm(0, 1)), *GOOD[1:]], SESSION)
    assert prior.transform([[0.5, 0.5, 0.5]])[0, 0] == pytest.approx(stats.norm.ppf(0.75))
    theta = prior.transform(np.full((3, 3), [[0.1], [0.5], [0.9]]))
    np.testing.assert_allclose(prior.cdf(theta)[:, 0], [0.1, 0.5, 0.9], atol=1e-12)  # roundings


def test_custom_prior_without_cdf_is_inverted() -> None:
    class Square:
        def ppf(self, u: Any) -> Any:
            return np.asarray(u) ** 2

    prior = P.custom("x", Square())
    np.testing.assert_allclose(prior.cdf(U**2), U, atol=1e-12)  # bisected to the last bit, less sharp near 0


def test_infinite_tail_of_a_bxa_transformation_is_cut() -> None:
    made = P.from_bxa([{"model": "", "index": 1, "name": "nH", "transform": stats.norm(0.3, 0.1).ppf,
                        "aftertransform": lambda x: x}])  # fmt: skip
    theta = bind([*made, *GOOD[1:]], SESSION).transform(np.full((len(U), 3), U[:, None]))[:, 0]
    # Bisection ends at the last bit of u.
    np.testing.assert_allclose(theta, stats.truncnorm(-3.0, 197.0, 0.3, 0.1).ppf(U), rtol=1e-10)


def test_description_has_name_label_unit_and_numbers() -> None:
    lines = bind(GOOD, SESSION).describe()
    assert lines[0].split() == ["nH__1", "TBabs", "nH", "(10^22)", "uniform", "low", "0", "high", "0.5"]
    assert lines[2].endswith("loguniform low 1e-05 high 0.01")


def test_dictionary_is_json_and_notices_a_changed_function() -> None:
    def with_power(power: float) -> dict[str, Any]:
        return bind([P.custom("nH__1", stats.beta(power, 2)), *GOOD[1:]], SESSION).to_dict()

    assert json.loads(json.dumps(with_power(2.0))) == with_power(2.0)
    assert with_power(2.0) != with_power(2.01)


class EngineSession:
    """The embedded engine's model through the session's own search for parameters."""

    def __init__(self, module: Any) -> None:
        from xspec_sixsa.session import parameters

        self.parameters = parameters.free_parameters(module)
        self.find = partial(parameters.find, module, self.parameters)


@pytest.fixture
def model() -> Any:
    """``TBabs*(powerlaw+powerlaw)`` on the engine: first index frozen, second norm linked."""
    fresh(xspec)
    model = xspec.Model("TBabs*(powerlaw+powerlaw)")
    model.TBabs.nH.values = (0.2, 0.01, 0.0, 0.0, 5.0, 5.0)
    model.powerlaw.PhoIndex.frozen = True
    model.powerlaw_3.norm.link = "p3*0.5"
    yield model
    fresh(xspec)


def test_pyxspec_objects_and_bayes_of_a_live_session(model: Any) -> None:
    model.powerlaw_3.PhoIndex.prior = ("gauss", 2.0, 0.2)
    prior = bind([P.loguniform(model.powerlaw.norm, 1e-5, 1e-2)], EngineSession(xspec))
    assert prior.names == ("nH__1", "norm__3", "PhoIndex__4")
    middle = prior.transform([[0.5, 0.5, 0.5]])[0]
    assert middle == pytest.approx([2.5, 10**-3.5, 2.0])
    assert "bayes gauss" in prior.describe()[2]
    bxa_form = P.create_gaussian_prior_for(model, model.TBabs.nH, 1.0, 0.5)
    assert bind([bxa_form, P.loguniform((model, 3), 1e-5, 1e-2)], EngineSession(xspec)).priors[0].parameter == "nH__1"


def test_frozen_and_linked_parameters_are_refused(model: Any) -> None:
    def bound(reference: Any) -> Any:
        return lambda: bind([P.uniform(reference, 0, 1)], EngineSession(xspec))

    refused(bound(model.powerlaw.PhoIndex), "frozen", "thaw")
    refused(bound(model.powerlaw_3.norm), "linked", "untie")
    refused(bound("norm__9"), "norm__9", "nH__1, norm__3, PhoIndex__4")


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: P.uniform("nH__1", 2, 1), ("nH__1", "low 2", "high 1", "Exchange")),
        (lambda: P.uniform("nH__1", 1, 1), ("low 1", "Freeze")),
        (lambda: P.uniform("nH__1", math.nan, 1), ("low", "nan", "finite")),
        (lambda: P.uniform("nH__1", 0, math.inf), ("high", "inf", "finite")),
        (lambda: P.uniform("nH__1", "0,1", 1), ("low", "'0,1'", "finite")),
        (lambda: P.loguniform("norm__3", 0, 1), ("norm__3", "is 0", "such as 1e-06", "uniform")),
        (lambda: P.loguniform("norm__3", -1, 1), ("is -1",)),
        (lambda: P.normal("nH__1", 1, 0), ("sd", "is 0", "Freeze")),
        (lambda: P.normal("nH__1", 1, -2), ("sd", "is -2", "above 0")),
        (lambda: P.normal("nH__1", 1, 1, 3, 2), ("low 3", "high 2")),
        (lambda: P.lognormal("nH__1", 1, -1), ("sd", "is -1")),
        (lambda: P.lognormal("nH__1", 1, 1, -3, -1), ("positive", "-1")),
        (lambda: P.exponential("nH__1", 0), ("scale", "is 0")),
        (lambda: P.custom("nH__1", stats.beta), ("nH__1", "Is it frozen")),
        (lambda: P.custom("nH__1", 3.0), ("ppf", "float", "scipy.stats")),
        (lambda: P.custom("nH__1", stats.norm([0, 1], 1)), ("shape (2,)", "joint")),
        (lambda: P.joint("nH__1", lambda u: u), ("list of parameters",)),
        (lambda: P.joint(["nH__1"], 3), ("function",)),
        (lambda: P.joint(["nH__1", "norm__3"], lambda u: u).ppf(0.5), ("joint", "nH__1, norm__3")),
        (lambda: P.from_words("nH__1", "unifrom", [0, 1]), ("'unifrom'", "uniform, loguniform")),
        (lambda: P.from_words("nH__1", "uniform", [0]), ("low high", "got 1")),
        (lambda: P.from_words("nH__1", "normal", [0, 1, 2, 3, 4]), ("mean sd ?low? ?high?", "got 5")),
    ],
)
def test_wrong_numbers_are_refused(call: Any, words: tuple[str, ...]) -> None:
    refused(call, *words)


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (P.uniform("nH__1", 0, 21), ("nH__1", "goes to 21", "hard maximum 20", "newpar")),
        (P.uniform("nH__1", -1, 2), ("goes to -1", "hard minimum 0", "Stay within 0 to 20")),
        (P.loguniform("nH__1", 1e-3, 1e3), ("goes to 1000", "20")),
        (P.normal("nH__1", 1, 1, -1), ("goes to -1", "hard minimum 0")),
        (P.normal("nH__1", 1, 1, high=30), ("goes to 30", "hard maximum 20")),
        (P.normal("nH__1", 100, 1), ("only 0 of its prior", "mean 100", "0 to 20")),
        (P.normal("nH__1", 5, 1, 25), ("goes to 25",)),
        (P.lognormal("nH__1", 50, 1), ("only 0", "ln(value)")),
        (P.custom("nH__1", stats.uniform(10, 20)), ("goes to 30", "hard maximum 20")),
        (P.custom("nH__1", stats.norm(100, 1)), ("only", "norm(100, 1)")),
        (P.joint(["nH__1", "PhoIndex__2"], lambda u: 30 * u), ("nH__1", "beyond XSPEC's hard limits 0 to 20")),
        (P.joint(["nH__1", "PhoIndex__2"], lambda u: u[:, 0]), ("shape (321,)", "(321, 2)")),
        (P.joint(["nH__1", "PhoIndex__2"], lambda u: u * np.nan), ("gives nan",)),
        (P.joint(["nH__1", "nH__1"], lambda u: u), ("nH__1 has two priors",)),
        (P.uniform("kT__7", 0, 1), ("kT__7", "Free parameters: nH__1, PhoIndex__2, norm__3")),
        (P.uniform("PhoIndex__2", 0, 1), ("PhoIndex__2 has two priors", "high 1", "mean 2", "Drop one")),
    ],
)
def test_priors_that_contradict_the_session_are_refused(prior: P.Prior, words: tuple[str, ...]) -> None:
    others = GOOD[2:] if prior.is_joint else GOOD[1:]
    refused(lambda: bind([*others, prior], SESSION), *words)


def test_defaults_that_span_nothing_sensible_are_refused_together() -> None:
    column = replace(NH, values=(0.1, 0.01, 0.0, 0.0, 1e5, 1e6))
    error = refused(
        lambda: bind([], Session(column, INDEX, NORM)),
        "nH__1: give a prior. XSPEC's own limits, 0 to 1e+06",
        'uniform("nH__1", 0, 1)',
        'loguniform("norm__3", 1e-05, 0.1)',
    )
    assert "PhoIndex" not in str(error)


@pytest.mark.parametrize(
    ("bayes", "words"),
    [
        (("jeffreys",), ("jeffreys", "hard minimum 0")),
        (("gauss", 1.0, 0.0), ("sd", "is 0")),
        (("gauss", 1.0), ("1 of 2 numbers",)),
        (("gamma", 1.0), ("'gamma'", "Give a prior")),
    ],
)
def test_unusable_bayes_priors_are_refused_by_name(bayes: tuple[Any, ...], words: tuple[str, ...]) -> None:
    refused(lambda: bind([], Session(replace(NH, prior=bayes))), "nH__1", *words)


def test_empty_session_is_refused() -> None:
    refused(lambda: bind([], Session()), "no free parameter", "Thaw")


def test_points_outside_the_cube_are_refused() -> None:
    prior = bind(GOOD, SESSION)
    refused(lambda: prior.transform(np.full((2, 3), 1.1)), "[0, 1]")
    refused(lambda: prior.transform(np.full((2, 3), np.nan)), "NaN")
    refused(lambda: prior.transform(np.zeros(3)), "(3,)", "(n, 3)")


# Files and lists -----------------------------------------------------------------------------------------------------


def test_toml_round_trip_keeps_every_number(tmp_path: Path) -> None:
    extra = Session(NH, INDEX, NORM, replace(NH, chain_name="kT__bkg__1"), replace(NH, chain_name="Tau__5"))
    prior = bind([*GOOD, P.lognormal("kT__bkg__1", -0.1, 1 / 3), P.exponential("Tau__5", 2.0)], extra)
    options = {"target_ess": 2000, "seed": 0, "budget": None, "compressor": "pca"}
    P.save_toml(tmp_path / "priors.toml", prior, options)
    loaded, read = P.load_toml(tmp_path / "priors.toml")
    assert bind(loaded, extra).to_dict() == prior.to_dict()
    assert read == {"target_ess": 2000, "seed": 0, "compressor": "pca"}


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    options = {"target_ess": np.float64(1500), "seed": np.int64(2**40), "budget": 1e4}
    P.save_toml(tmp_path / "priors.toml", GOOD, options)
    assert P.load_toml(tmp_path / "priors.toml")[1] == {"target_ess": 1500, "seed": 2**40, "budget": 10000}
    (tmp_path / "written.toml").write_text("[fit]\nbudget = 2e4\n")
    assert P.load_toml(tmp_path / "written.toml")[1] == {"budget": 20000}


def test_functions_are_named_in_the_file(tmp_path: Path) -> None:
    prior = bind([P.custom("nH__1", stats.beta(2, 5)), *GOOD[1:]], SESSION)
    P.save_toml(tmp_path / "priors.toml", prior)
    assert '# "nH__1": custom beta(2, 5): not in this file' in (tmp_path / "priors.toml").read_text()
    assert [p.parameter for p in P.load_toml(tmp_path / "priors.toml")[0]] == ["PhoIndex__2", "norm__3"]


def test_file_needs_names(tmp_path: Path) -> None:
    refused(lambda: P.save_toml(tmp_path / "priors.toml", [P.uniform(NH, 0, 1)]), "nH__1", "bind(priors, session)")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["nH__1"]\nlow = 0.0\nhigh = 1.0\n', ("nH__1", 'kind = "uniform"')),
        ('["nH__1"]\nkind = "flat"\n', ("nH__1", "'flat'")),
        ('["nH__1"]\nkind = "uniform"\nlow = 0.0\n', ("nH__1", "'high'")),
        ('["nH__1"]\nkind = "uniform"\nlow = 0.0\nhigh = 1\nmean = 2\n', ("no 'mean'", "low, high")),
        ('["nH__1"]\nkind = "uniform"\nlow = true\nhigh = 1\n', ("low", "True")),
        ('["nH__1"]\nkind = "loguniform"\nlow = 0\nhigh = 1\n', ("priors.toml", "nH__1", "is 0")),
        ("nH__1 = 3\n", ("nH__1", '["nH__1"]')),
        ('[TBabs.nH]\nkind = "uniform"\n', ("TBabs", "quotes")),
        ("[fit]\ntarget_es = 3\n", ("'target_es'", "target_ess, seed, budget, compressor")),
        ("[fit]\ntarget_ess = 3.5\n", ("target_ess", "3.5", "whole number")),
        ("[fit]\nbudget = 0\n", ("budget", "at least 1")),
        ("[fit]\ncompressor = 3\n", ("compressor", "quotes")),
        ("fit = 3\n", ("[fit]",)),
        ("[nH__1\n", ("not valid TOML",)),
    ],
)
def test_faulty_files_are_refused_by_name(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "priors.toml"
    path.write_text(text)
    refused(lambda: P.load_toml(path), "priors.toml", *words)


def test_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No priors file"):
        P.normalise(tmp_path / "nothing.toml")


def test_words_are_read_in_tcl_order() -> None:
    assert P.from_words("nH__1", "uniform", ["0", "0.5"]).numbers == {"low": 0.0, "high": 0.5}
    assert P.from_words("nH__1", "gauss", ["1", "2", "0"]).numbers == {"mean": 1.0, "sd": 2.0, "low": 0.0}
    assert P.from_words("norm__3", "Jeffreys", [1e-5, 1]).kind == "loguniform"


def test_every_way_to_give_priors_is_normalised(tmp_path: Path) -> None:
    P.save_toml(tmp_path / "p.toml", [GOOD[0]], {"seed": 3})
    dictionary = {"model": "", "index": 1, "name": "nH", "transform": lambda u: 0.5 * u, "aftertransform": lambda x: x}
    forms = [GOOD[0], [GOOD[0]], (GOOD[0],), [dictionary], dictionary, str(tmp_path / "p.toml")]
    forms += [{"nH__1": ("uniform", 0, 0.5)}, {"nH__1": {"kind": "uniform", "low": 0, "high": 0.5}}]
    for form in [*forms, bind([GOOD[0]], Session(NH))]:
        (prior,), _ = P.normalise(form)
        assert prior.ppf(0.5) == 0.25
        bind([prior], Session(NH))
    assert P.normalise(None) == ([], {})
    assert P.normalise(tmp_path / "p.toml")[1] == {"seed": 3}


def test_lists_of_something_else_are_refused() -> None:
    refused(lambda: P.normalise([GOOD[0], 3]), "Entry 2", "3", "uniform")
    refused(lambda: P.normalise([{"transform": abs}]), "lacks model, index, name, aftertransform")
    refused(lambda: P.normalise({"nH__1": 3}), "nH__1", "(kind, numbers...)")


@pytest.fixture(scope="module")
def bxa_values() -> dict[str, Any]:
    if importlib.util.find_spec("bxa") is None:
        pytest.skip("BXA is not installed: pip install bxa")
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, str(HERE / "bxa_priors.py")], capture_output=True, text=True, timeout=120,
                         env=environment)  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


def test_bxas_transformations_give_bxas_values(bxa_values: dict[str, Any]) -> None:
    # The same functions are called; numpy's vectorised powers may differ from Python's in the last bit.
    np.testing.assert_allclose(bxa_values["from_bxa"], bxa_values["bxa"], rtol=1e-15)
    assert bxa_values["indices"] == [1, 2, 3, 3, 4, 4]


def test_our_helpers_mean_what_bxas_mean(bxa_values: dict[str, Any]) -> None:
    np.testing.assert_allclose(bxa_values["ours"], bxa_values["bxa"], rtol=1e-12)  # ln against log10
    assert max(bxa_values["bxa"][1]) == 3.0, "clipped at the limit, which the comparison must reach"
    assert bxa_values["our_indices"] == bxa_values["indices"]


def test_differing_soft_limits_raise_as_in_bxa(bxa_values: dict[str, Any]) -> None:
    assert set(bxa_values["soft"]) == {"bxa", "ours"}
    assert "0.001..0.01" in bxa_values["soft"]["ours"]
