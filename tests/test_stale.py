"""An evaluation that XSPEC could not make must not pass with the numbers of the one before."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from live import fresh

from xspec_sixsa.session import Session

REAL = pytest.param("xspec", marks=pytest.mark.xspec)
only_real = pytest.mark.parametrize("engine", [REAL], indirect=True)
NH = np.array([0.5, 1.0, 3.0, 4.0, 1.5, 2.5, 0.5])


@pytest.fixture(params=["xspec_sixsa.embedded", REAL])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from fresh(request.param, tmp_path)


def table_file(name: str) -> None:
    """A table of kT and of slope, 0.5 to 2.5."""
    path = Path(__file__).parent / "data" / "make_tablemodels_xspec.py"
    spec = importlib.util.spec_from_file_location("make_tablemodels_xspec", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.write_table("atable", Path(name))


def table_session(engine: ModuleType, link: str = "", *, workers: int = 1, highest: float = 2.5) -> Session:
    """Absorbed; the limits of `slope` end at `highest`; free: nH (as is slope without a link)."""
    table_file("table.fits")
    with fits.open("table.fits", mode="update") as hdus:
        hdus["PARAMETERS"].data["MAXIMUM"][1] = hdus["PARAMETERS"].data["TOP"][1] = highest
    engine.AllData("two.pha")
    model = engine.Model("phabs*atable{table.fits}")
    for index in (2, 4, 5):
        model(index).frozen = True
    if link:
        model(3).link = link
    return Session(engine, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_link_that_leaves_the_table_fails_and_is_named(engine: ModuleType, workers: int) -> None:
    found = table_session(engine, "p1 + 0.5", workers=workers).evaluate(NH[:, None], "test")
    beyond = NH + 0.5 > 2.5
    assert beyond.sum() == 3
    np.testing.assert_array_equal(found.ok, ~beyond)
    assert np.isneginf(found.log_likelihood[beyond]).all()
    assert len(np.unique(found.statistic[~beyond])) == 3  # 0.5 came twice
    assert "slope__3 is 3.5 by its link (= p1 + 0.5), outside its limits 0.5 to 2.5" in found.reasons[2]


@only_real
@pytest.mark.parametrize("link", ["", "p1 + 0.5"])
def test_a_table_that_ends_before_its_limits_does_not_give_the_spectrum_before(engine: ModuleType, link: str) -> None:
    session = table_session(engine, link, highest=9.0)
    theta = NH[:, None] if link else np.column_stack([np.full(7, 0.5), NH + 0.5])
    found = session.evaluate(theta, "test")
    np.testing.assert_array_equal(found.ok, NH + 0.5 <= 2.5)
    assert "kept the last spectrum" in found.reasons[3]
    # the same in another order, from another spectrum before
    again = session.evaluate(theta[::-1], "test")
    np.testing.assert_array_equal(again.statistic[::-1], found.statistic)


def test_parameters_without_effect_are_no_failure(engine: ModuleType) -> None:
    engine.AllData("two.pha")
    model = engine.Model("powerlaw + gaussian")
    model.gaussian.LineE.values = (20.0, 0.1, 15.0, 15.0, 30.0, 30.0)  # beyond the response
    model.gaussian.Sigma = 0.0
    for name in ("PhoIndex", "norm"):
        getattr(model.powerlaw, name).frozen = True
    model.gaussian.Sigma.frozen = model.gaussian.norm.frozen = True
    found = Session(engine, workers=1).evaluate(np.linspace(16.0, 29.0, 6)[:, None], "test")
    # batches sum in another order than single rows
    assert found.ok.all() and np.ptp(found.statistic) < 1e-6


def test_a_data_groups_copy_goes_as_far_as_what_it_copies(engine: ModuleType) -> None:
    engine.AllData("1:1 one.pha 2:2 two.pha")
    model = engine.Model("powerlaw")
    model(1).values = (2.0, 0.01, -5.0, -5.0, 14.0, 14.0)
    assert Session(engine, workers=1).evaluate([[12.0, 1e-2]], "test").ok.all()


def test_a_session_that_starts_beyond_its_limits_is_refused(engine: ModuleType) -> None:
    session = table_session(engine, "p1 + 0.5")
    engine.AllModels(1)(1).values = 3.0
    with pytest.raises(RuntimeError, match=r"slope__3 is 3\.5 by its link") as refused:
        session.evaluate([[0.5]], "test")
    assert "component" not in str(refused.value)
