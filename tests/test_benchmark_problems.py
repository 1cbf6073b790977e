"""The benchmarks' faked spectra are what ../shared/problems.toml says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from xspec_sixsa import embedded
from xspec_sixsa.embedded.ogip import read_pha
from xspec_sixsa.session import Session


@pytest.fixture
def problems(shared_data: Path, clean_engine: None) -> ModuleType:
    pytest.importorskip("tomllib")  # Python 3.11, as the benchmarks
    # the tests have a module of this name too
    path = Path(__file__).parents[1] / "benchmarks" / "problems.py"
    spec = importlib.util.spec_from_file_location("benchmark_problems", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_faint_spectrum_has_its_counts_grouping_and_seed(problems: ModuleType, tmp_path: Path) -> None:
    problems.load("epic_pn_faint", embedded, tmp_path)
    session = Session(embedded, workers=1)
    counts = session.observation.counts
    assert counts.size == 104
    # problems.toml: about 100; four standard deviations
    assert abs(counts.sum() - 100) < 40
    made = read_pha(str(next(tmp_path.glob("*.pha"))))
    real = read_pha(str(problems.SHARED / "data" / "ngc7793_ulx4_pn" / "PN_spectrum_grp20.fits"))
    np.testing.assert_array_equal(made.grouping, real.grouping)
    np.testing.assert_array_equal(made.quality, real.quality)
    problems.load("epic_pn_faint", embedded, tmp_path)
    np.testing.assert_array_equal(Session(embedded, workers=1).observation.counts, counts)


def test_the_counts_are_drawn_from_the_truth(problems: ModuleType, tmp_path: Path) -> None:
    problems.load("epic_pn_faint", embedded, tmp_path)
    session = Session(embedded, workers=1)
    truth = problems.definition("epic_pn_faint")["fake"]["truth"]
    expected = session.evaluate(np.array([truth]), "test").counts[0]
    # a sum of Poisson numbers about their own mean: four standard deviations
    assert abs(session.observation.counts.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())
    wrong = session.evaluate(np.array([truth]) * 2, "test").statistic[0]
    assert session.evaluate(np.array([truth]), "test").statistic[0] < wrong


@pytest.mark.xspec
def test_two_modes_swap(problems: ModuleType, tmp_path: Path) -> None:
    import xspec

    problems.load("two_modes", xspec, tmp_path)
    session = Session(xspec, workers=1)
    assert session.names == ["kT__1", "Redshift__4", "norm__6", "kT__7", "norm__12"]
    assert session.observation.counts.sum() == pytest.approx(22000, rel=0.02)  # problems.toml: about 22,000
    kt, z, norm, kt2, norm2 = problems.definition("two_modes")["fake"]["truth"]
    one, other = session.evaluate(np.array([[kt, z, norm, kt2, norm2], [kt2, z, norm2, kt, norm]]), "test").statistic
    # the same sum in another order, in XSPEC's single and double precision parts
    assert one == pytest.approx(other, abs=1e-4)


def test_optimal_bins_follow_the_formula(problems: ModuleType) -> None:
    from optimal_grouping import bin_widths, optimal_grouping

    fwhm = np.full(1000, 20.0)
    assert (bin_widths(fwhm, np.full(1000, 1e-3)) == 20).all()  # few counts: a bin is a resolution element
    # R = 50, N_r = 1.314 * 21 * 100: x = ln(2759 * (1 + 0.2 ln 50)) = 8.50, and equation 36 gives 0.548 of 20 channels
    inside = slice(10, -11)  # where the width at half maximum is inside the spectrum
    assert (bin_widths(fwhm, np.full(1000, 100.0))[inside] == 10).all()
    narrow = np.where(np.arange(1000) < 500, 20.0, 5.0)
    flags = optimal_grouping(narrow, np.full(1000, 1e-3))
    starts = np.flatnonzero(flags == 1)
    np.testing.assert_array_equal(np.diff(starts), [20] * 25 + [5] * 99)  # no bin reaches into the narrow part


def test_high_resolution_is_grouped_for_the_response(problems: ModuleType, tmp_path: Path) -> None:
    problems.load("high_resolution", embedded, tmp_path)
    counts = Session(embedded, workers=1).observation.counts
    assert 2300 < counts.size < 3500  # problems.toml: about 3,000 of 11,700 channels
    # problems.toml: 80,000, here within five standard deviations of their Poisson noise
    assert abs(counts.sum() - 80000) < 5 * np.sqrt(80000)
