"""XSPEC's compiled models beside a real XSPEC, in one process: nothing of either is mixed with the other.

These models did not change between XSPEC 12.9.1 and the library's 12.15; docs/models.md lists those that did.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import live
import numpy as np
import pytest

import xspec_sixsa.embedded as embedded
from xspec_sixsa.embedded.library.catalogue import library

if library() is None:
    pytest.skip("xspectrampoline is not installed: pip install '.[models]'", allow_module_level=True)
pytestmark = pytest.mark.xspec

# Values away from the defaults, by parameter number.
SAME = {
    "TBabs*powerlaw": {1: 0.3, 2: 1.8},
    "phabs*zphabs*powerlaw": {1: 0.2, 2: 0.4, 3: 0.3},
    "nthComp": {1: 2.1, 2: 30.0, 3: 0.3},
    "pexmon": {1: 1.9, 3: -0.8, 7: 45.0},
    "diskbb": {1: 1.3},
    "compTT": {2: 0.2, 3: 40.0, 4: 2.0},
    "bbodyrad+zgauss": {1: 0.9, 3: 6.7, 4: 0.2},
    "bmc": {1: 0.8, 2: 1.5, 3: 0.5},
    "srcut": {1: 0.6, 2: 5e17},
    "zwabs*grbm": {1: 0.4, 2: 0.1},
    "TBpcf*zpowerlw": {1: 2.0, 2: 0.6, 3: 0.05},
    "TBabs*cflux*powerlaw": {1: 0.3, 4: -11.2, 5: 2.2},
    "phabs(cflux*powerlaw+gaussian)": {1: 0.3, 4: -11.2, 5: 2.2},
    "partcov*phabs*powerlaw": {1: 0.7, 2: 3.0},
    "reflect*powerlaw": {1: 0.7, 5: 0.6, 6: 1.9},
    "simpl*diskbb": {1: 2.4, 2: 0.2, 4: 1.1},
    "zashift*(powerlaw+gaussian)": {1: 0.2, 4: 6.4},
}


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    monkeypatch.chdir(tmp_path)
    for real in live.fresh("xspec", tmp_path):
        for ours in live.fresh("xspec_sixsa.embedded", tmp_path):
            yield real, ours


@pytest.mark.parametrize("expression", SAME)
def test_folded_models_are_those_of_a_real_xspec(both: tuple[ModuleType, ModuleType], expression: str) -> None:
    folded = []
    for xspec in both:
        xspec.AllData("two.pha")
        xspec.AllModels.setEnergies("extend", "high,100,200 log")
        model = xspec.Model(expression)
        model.setPars(SAME[expression])
        folded.append(np.array(model.folded(1)))
        xspec.AllModels.setEnergies("reset")
    assert both[0] is not both[1] and both[1] is embedded
    # single precision and each release's quadratures leave 2e-5
    assert np.max(np.abs(folded[1] / folded[0] - 1.0)) < 1e-4
    assert "xspectrampoline" not in sys.modules


# By parameter number; what they read is `mekal1.dat` to `mekal6.dat`, and `nsatmosdata.fits`.
WITH_DATA = {
    "mekal": {1: 0.7, 3: 0.4, 5: 0},
    "vmekal": {1: 3.0, 9: 0.2, 18: 0},
    "nsatmos": {1: 6.2, 2: 1.6},
}


@pytest.mark.parametrize("expression", WITH_DATA)
def test_models_with_data_are_those_of_a_real_xspec(both: tuple[ModuleType, ModuleType], expression: str) -> None:
    models = library()
    assert models is not None
    lacking = [name for name in ("mekal1.dat", "nsatmosdata.fits") if not (models.data_folder / name).is_file()]
    if lacking:
        pytest.skip(f"this HEASoft has no model data: {lacking} are not in {models.data_folder}")
    values = []
    for xspec in both:
        xspec.Xset.abund = "angr"
        xspec.AllData("two.pha")
        model = xspec.Model(expression)
        model.setPars(WITH_DATA[expression])
        values.append(np.array(model.folded(1)))
    assert values[1] == pytest.approx(values[0], rel=1e-5)  # single precision


def test_extended_energies_are_those_of_a_real_xspec(both: tuple[ModuleType, ModuleType]) -> None:
    found = []
    for xspec in both:
        xspec.AllData("two.pha")
        model = xspec.Model("powerlaw")
        energies = []
        for words in ("low,0.01,4 log", "high,50,5 log", "low,0.02", "high,5,3"):
            xspec.AllModels.setEnergies("extend", words)
            energies.append([float(energy) for energy in model.energies(1)])
        xspec.AllModels.setEnergies("reset")
        found.append(energies)
    for real, ours in zip(*found, strict=True):
        assert ours == pytest.approx(real, rel=1e-9)  # XSPEC gives ten digits


def test_luminosity_follows_the_cosmology_as_in_a_real_xspec(both: tuple[ModuleType, ModuleType]) -> None:
    folded = []
    for xspec in both:
        xspec.AllData("two.pha")
        model = xspec.Model("clumin*powerlaw")
        model.clumin.Redshift, model.clumin.lg10Lum = 0.3, 44.0
        values = []
        for cosmo in ("70 0 0.73", "50 0.5 0"):
            xspec.Xset.cosmo = cosmo
            values.append(sum(model.folded(1)))
        xspec.Xset.cosmo = "70 0 0.73"
        folded.append(values)
    # the constants of the distance are the releases' own
    assert folded[1] == pytest.approx(folded[0], rel=1e-3)
    assert folded[0][0] != pytest.approx(folded[0][1], rel=0.1)
