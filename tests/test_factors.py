"""The linear structure of a model, found by trying: on the engine and on real XSPEC."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_session import fresh, write_fixed_spectra

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session

ENOUGH = 1e-5  # relative: spectra are kept in single precision, and parts are differences of them


@pytest.fixture(params=["embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def xspec(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    module = importlib.import_module("xspec" if request.param == "xspec" else "xspec_sixsa.embedded")
    fresh(module)
    module.Xset.allowPrompting = False
    write_fixed_spectra(tmp_path)
    with working_directory(tmp_path):
        yield module
    fresh(module)


def load(xspec: ModuleType, model: str, values: tuple[float, ...], groups: int = 1) -> Any:
    xspec.AllData(" ".join(f"{k}:{k} two.pha" for k in range(1, groups + 1)))
    xspec.Fit.statMethod = "cstat"
    return xspec.Model(model, setPars=values)


def recorded(xspec: ModuleType, priors: Any) -> RecordedModel:
    session = Session(xspec, workers=1)
    return RecordedModel(session, bind(priors, session), Checkpoint(), Progress(show=False))


def rebuilt(factors: Factors, model: RecordedModel, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Counts at draws of the prior: from parts that are measured there, and whole."""
    u = np.random.default_rng(4).random((n, factors.dimension))
    theta = model.prior.transform(u)
    amplitudes, counts = factors.amplitudes(theta), 0.0
    for k, part in enumerate(factors.parts):
        counts = counts + amplitudes[:, k, None] * factors.curves(part.curve, u[:, part.inputs])
    for bins, multiplier in factors.multipliers(theta):
        counts = np.where(bins, multiplier[:, None] * counts, counts)
    return counts, model.session.evaluate(theta, "whole").counts


def both(model: Any) -> list[Any]:
    """Priors of TBabs*(powerlaw+bbodyrad)."""
    return [
        sixsa.uniform(model.TBabs.nH, 0, 1), sixsa.uniform(model.powerlaw.PhoIndex, 0, 4),
        sixsa.loguniform(model.powerlaw.norm, 1e-4, 1e-1), sixsa.uniform(model.bbodyrad.kT, 0.1, 2),
        sixsa.loguniform(model.bbodyrad.norm, 1, 1e3),
    ]  # fmt: skip


def test_each_component_is_a_part_with_what_shapes_it(xspec: ModuleType) -> None:
    m = load(xspec, "TBabs*(powerlaw+bbodyrad)", (0.1, 1.5, 4e-3, 0.7, 50.0))
    model = recorded(xspec, both(m))
    with model.session:
        factors, why = model.factors()
        assert (why, [(p.norm, p.inputs) for p in factors.parts]) == ("", [(2, (0, 1)), (4, (0, 3))])
        # nothing, each alone, two mixtures, and one trial a part of what is the other's
        assert model.spent() == model.evaluations["curves"] + model.evaluations["probe"] == 8
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)


def test_a_norm_linked_in_proportion_belongs_to_the_part_of_the_free_one(xspec: ModuleType) -> None:
    m = load(xspec, "TBabs*(powerlaw+bbodyrad)", (0.1, 1.5, 4e-3, 0.7, 50.0))
    m(5).link = "3.0 * p3"
    model = recorded(xspec, [p for p in both(m) if p.parameter.index != 5])
    with model.session:
        factors, why = model.factors()
        assert (why, [(p.norm, p.inputs) for p in factors.parts]) == ("", [(2, (0, 1, 3))])
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)


def test_what_is_not_linear_is_found_out(xspec: ModuleType) -> None:
    m = load(xspec, "TBabs*(powerlaw+bbodyrad)", (0.1, 1.5, 4e-3, 0.7, 50.0))
    m(5).link = "p3^2"
    model = recorded(xspec, [p for p in both(m) if p.parameter.index != 5])
    with model.session:
        assert model.factors() == (None, "the expected counts are not linear in the norms")


def test_a_frozen_component_is_a_part_that_nothing_multiplies(xspec: ModuleType) -> None:
    m = load(xspec, "powerlaw+bbodyrad", (1.5, 4e-3, 0.7, 50.0))
    m.powerlaw.PhoIndex.frozen = m.powerlaw.norm.frozen = True
    priors = [sixsa.uniform(m.bbodyrad.kT, 0.1, 2), sixsa.loguniform(m.bbodyrad.norm, 1, 1e3)]
    model = recorded(xspec, priors)
    with model.session:
        factors, why = model.factors()
        assert (why, [(p.norm, p.inputs) for p in factors.parts]) == ("", [(1, (0,)), (None, ())])
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)


def test_a_frozen_component_that_free_parameters_shape_is_refused(xspec: ModuleType) -> None:
    m = load(xspec, "TBabs*(powerlaw+bbodyrad)", (0.1, 1.5, 4e-3, 0.7, 50.0))
    m.powerlaw.norm.frozen = True
    model = recorded(xspec, [p for p in both(m) if p.parameter.index != 3])
    with model.session:
        assert model.factors() == (None, "components with frozen norms are shaped by free parameters")


def test_a_constant_multiplies_its_own_spectrum(xspec: ModuleType) -> None:
    m = load(xspec, "constant*powerlaw", (1.0, 1.5, 4e-3), groups=2)
    m.constant.factor.frozen = True
    second = xspec.AllModels(2).constant.factor
    second.untie()
    second.frozen = False
    priors = [
        sixsa.uniform(m.powerlaw.PhoIndex, 0, 4), sixsa.loguniform(m.powerlaw.norm, 1e-4, 1e-1),
        sixsa.loguniform(second, 0.5, 2.0),
    ]  # fmt: skip
    model = recorded(xspec, priors)
    with model.session:
        factors, why = model.factors()
        assert why == ""
        assert [(p.norm, p.inputs) for p in factors.parts] == [(1, (0,))]
        (scale,) = factors.scales
        first, other = model.session.observation.slices
        assert scale.column == 2 and scale.bins[other].all() and not scale.bins[first].any()
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)


def test_a_constant_on_one_component_shapes_it(xspec: ModuleType) -> None:
    m = load(xspec, "constant*powerlaw+bbodyrad", (1.0, 1.5, 4e-3, 0.7, 50.0))
    m.powerlaw.PhoIndex.frozen = m.bbodyrad.kT.frozen = True
    priors = [
        sixsa.loguniform(m.constant.factor, 0.5, 2.0), sixsa.loguniform(m.powerlaw.norm, 1e-4, 1e-1),
        sixsa.loguniform(m.bbodyrad.norm, 1, 1e3),
    ]  # fmt: skip
    model = recorded(xspec, priors)
    with model.session:
        factors, why = model.factors()
        assert (why, factors.scales) == ("", [])
        assert factors.parts[0].inputs == (0,)
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)


def test_two_copies_of_one_component_have_one_curve(xspec: ModuleType) -> None:
    m = load(xspec, "TBabs*(powerlaw+powerlaw)", (0.1, 1.5, 4e-3, 3.0, 1e-3))
    priors = [
        sixsa.uniform(m.TBabs.nH, 0, 1), sixsa.uniform(m(2), 0, 4), sixsa.loguniform(m(3), 1e-4, 1e-1),
        sixsa.uniform(m(4), 0, 4), sixsa.loguniform(m(5), 1e-4, 1e-1),
    ]  # fmt: skip
    model = recorded(xspec, priors)
    with model.session:
        factors, _ = model.factors()
        assert [(p.inputs, p.curve) for p in factors.parts] == [((0, 1), 0), ((0, 3), 0)]
        assert factors.blocks == [[2, 1], [4, 3]]
        assert [order.tolist() for order in factors.exchanges] == [[0, 3, 4, 1, 2]]
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)
    # not of one prior: the cube's columns mean other values
    priors[1] = sixsa.uniform(m(2), 0, 3)
    model = recorded(xspec, priors)
    with model.session:
        factors, _ = model.factors()
        assert [p.curve for p in factors.parts] == [0, 1]
        # trading places may still be worth a try
        assert [order.tolist() for order in factors.exchanges] == [[0, 3, 4, 1, 2]]


def test_components_of_other_kinds_do_not_trade_places(xspec: ModuleType) -> None:
    model = recorded(xspec, both(load(xspec, "TBabs*(powerlaw+bbodyrad)", (0.1, 1.5, 4e-3, 0.7, 50.0))))
    with model.session:
        assert model.factors()[0].exchanges == []


def test_parameters_of_one_joint_prior_stay_together(xspec: ModuleType) -> None:
    m = load(xspec, "powerlaw+bbodyrad", (1.5, 4e-3, 0.7, 50.0))

    def steep_is_faint(u: np.ndarray) -> np.ndarray:
        return np.stack([4 * u[:, 0], 10 ** (-4 + 3 * u[:, 0] * u[:, 1])], axis=1)

    joint = sixsa.joint([m.powerlaw.PhoIndex, m.powerlaw.norm], steep_is_faint)
    priors = [joint, sixsa.uniform(m.bbodyrad.kT, 0.1, 2), sixsa.loguniform(m.bbodyrad.norm, 1, 1e3)]
    model = recorded(xspec, priors)
    with model.session:
        factors, why = model.factors()
        assert (why, [p.inputs for p in factors.parts]) == ("", [(0, 1), (2,)])
        parts, whole = rebuilt(factors, model)
    np.testing.assert_allclose(parts, whole, rtol=ENOUGH)
