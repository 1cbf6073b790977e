"""Plotted arrays and QDP files are those of real XSPEC (numbers in data/plot_xspec.json, made by plot_reference.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import plot_reference
import pytest
from small_session import fresh, write_fixed_spectra

import xspec_sixsa.embedded as xspec
from xspec_sixsa.embedded import XspecError
from xspec_sixsa.embedded.qdp import format_number

REFERENCE = json.loads((Path(__file__).parent / "data" / "plot_xspec.json").read_text())
# XSPEC's absorption cross-sections differ from the engine's by some 1e-5; all else is the same arithmetic.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("plot")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_fixed_spectra(folder)
        fresh(xspec)
        plot_reference.setup(xspec)
        yield xspec
        fresh(xspec)


@pytest.fixture(scope="module")
def collected(engine: ModuleType) -> dict[str, Any]:
    return plot_reference.collect(engine)


@pytest.mark.parametrize("plot", sorted(REFERENCE["arrays"]))
def test_arrays_are_those_of_xspec(collected: dict[str, Any], plot: str) -> None:
    expected, found = REFERENCE["arrays"][plot], collected[plot]
    # After "data" XSPEC still hands out the model that the residuals were made with; nothing draws it.
    donated = "resid" in plot or (plot.split()[1:2] == ["counts"] and "ratio" in plot)
    assert set(found) == set(expected) - ({"model"} if donated and "model" not in found else set())
    for name, values in found.items():
        # The sum is compared with the same absolute tolerance as terms that cancel in it.
        scale = max(abs(v) for v in expected[name][1:])
        np.testing.assert_allclose(values, expected[name], rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.parametrize("name", sorted(REFERENCE["tables"]))
def test_wdata_writes_the_file_that_xspec_writes(engine: ModuleType, name: str) -> None:
    expected = REFERENCE["tables"][name].splitlines()
    found = plot_reference.write_tables(engine)[name].splitlines()
    assert found[:3] == expected[:3]
    assert len(found) == len(expected)
    for ours, theirs in zip(found[3:], expected[3:], strict=True):
        ours, theirs = ours.split(), theirs.split()
        assert [word == "NO" for word in ours] == [word == "NO" for word in theirs]
        numbers = [(float(a), float(b)) for a, b in zip(ours, theirs, strict=True) if b != "NO"]
        # delchi and residuals cross zero, where a relative difference means nothing.
        found_numbers, expected_numbers = np.array(numbers).reshape(-1, 2).T
        np.testing.assert_allclose(found_numbers, expected_numbers, rtol=TOLERANCE, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    # Numbers from a file of XSPEC's wdata.
    [(0.539354980, "0.53935498"), (0.0178070068, "1.78070068E-2"), (0.0, "0"), (1.0, "1"), (-1.2e-34, "NO"),
     (-4.24491882, "-4.24491882"), (7251.82748, "7251.82764"), (float("nan"), "NO"), (4.99999151e-4, "4.99999151E-4")],
)  # fmt: skip
def test_numbers_are_written_as_plt_does(value: float, text: str) -> None:
    assert format_number(value) == text


def test_components_add_up_to_the_model_and_end(engine: ModuleType) -> None:
    engine.Plot.add = True
    engine.Plot("data")
    total = np.add(engine.Plot.addComp(1), engine.Plot.addComp(2))
    # Sums of the same products in another order.
    np.testing.assert_allclose(total, engine.Plot.model(), rtol=1e-12)
    with pytest.raises(XspecError, match="additive component 3 of 2"):
        engine.Plot.addComp(3)
    engine.Plot.add = False
    engine.Plot("data")
    assert engine.Plot.nAddComps() == 0


def test_arrays_need_a_plot_group_that_is_there(engine: ModuleType) -> None:
    engine.Plot("data")
    with pytest.raises(XspecError, match="plot group 3 in window 1 is not there"):
        engine.Plot.x(3)
    with pytest.raises(XspecError, match="must be an int"):
        engine.Plot.x(0)


def test_labels_name_the_axes(engine: ModuleType) -> None:
    engine.Plot.xAxis = "keV"
    engine.Plot("data eemodel")
    assert engine.Plot.labels(1) == ("Energy (keV)", "normalized counts s\\u-1\\d keV\\u-1\\d", "data and folded model")
    assert engine.Plot.labels(2)[1] == "keV\\u2\\d (Photons cm\\u-2\\d s\\u-1\\d keV\\u-1\\d)"


def test_units_may_be_abbreviated(engine: ModuleType) -> None:
    engine.Plot.xAxis = "ANG"
    assert engine.Plot.xAxis == "angstrom"
    with pytest.raises(XspecError, match="furlong"):
        engine.Plot.xAxis = "furlong"
    engine.Plot.xAxis = "keV"


def test_commands_are_kept_in_order(engine: ModuleType) -> None:
    engine.Plot.commands = ("time off", "label top")
    engine.Plot.addCommand("skip")
    engine.Plot.delCommand(1)
    assert engine.Plot.commands == ("label top", "skip")
    with pytest.raises(XspecError, match="out of range"):
        engine.Plot.delCommand(3)
    engine.Plot.commands = ()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda plot: setattr(plot, "device", "plot.png/png"), "the engine draws nothing"),
        (lambda plot: plot("contour"), "'contour'.*not in the embedded engine"),
        (lambda plot: plot("nonsense"), "'nonsense' is not a plot command"),
        (lambda plot: plot("model nobody"), "no model has been entered named 'nobody'"),
        (lambda plot: plot.iplot("data"), "no interactive PLT"),
        (lambda plot: plot.setGroup("1-2"), "its own plot group"),
        (lambda plot: setattr(plot, "area", True), "effective area"),
        (lambda plot: setattr(plot, "xaxis", "keV"), "misspell"),
        (lambda plot: plot.setRebin(errType="guess"), "errType"),
    ],
)
def test_what_is_absent_is_refused_by_name(engine: ModuleType, action: Any, message: str) -> None:
    with pytest.raises(XspecError, match=message):
        action(engine.Plot)


def test_model_plots_need_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: ModuleType) -> None:
    spectra = list(xspec.AllData(i) for i in (1, 2))
    try:
        xspec.AllData.clear()
        engine.Plot("model")
        # XSPEC's dummy response: 0.1 to 50 keV.
        assert engine.Plot.x()[0] == pytest.approx(0.1, rel=1e-3)
        assert engine.Plot.x()[-1] == pytest.approx(50.0, rel=1e-3)
        with pytest.raises(XspecError, match="no data are loaded"):
            engine.Plot("data")
    finally:
        from xspec_sixsa.embedded.state import session

        session.spectra.extend(spectra)
        session.touch()


@pytest.mark.parametrize(
    ("unit", "ranges"),
    [("keV", "**-2.0 5.0-**"), ("MeV", "**-0.002 0.005-**"), ("angstrom", "**-2.479683948 6.19920987-**"),
     ("nm", "**-0.2479683948 0.619920987-**")],
)  # fmt: skip
def test_ignored_ranges_are_in_the_unit_of_the_axis(engine: ModuleType, unit: str, ranges: str) -> None:
    spectrum = engine.AllData(1)
    before = spectrum.noticed
    spectrum.notice("all")
    engine.Plot.xAxis = unit
    spectrum.ignore(ranges)
    found = spectrum.noticed
    engine.Plot.xAxis = "keV"
    spectrum.notice("all")
    spectrum.ignore("**-2.0 5.0-**")
    assert found == spectrum.noticed
    spectrum.ignore("1-**")
    spectrum.notice(",".join(map(str, before)))
    assert spectrum.noticed == before
