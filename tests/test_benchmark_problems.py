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
