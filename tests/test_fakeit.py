"""fakeit against real XSPEC (without noise) and against Poisson statistics (with noise)."""

# ruff: noqa: F811  (fixtures are imported by name)
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from test_spectrum import REFERENCE, compare, fresh, load, tiny  # noqa: F401

from xspec_sixsa.embedded.datamanager import AllData
from xspec_sixsa.embedded.fakeit import FakeitSettings, fakeit
from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.model import Model
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.xset import Xset


@pytest.fixture(autouse=True)
def no_models() -> None:
    AllModels.clear()


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in ("shared", "tiny") for n in REFERENCE[k]])
def test_fakeit_without_noise_gives_the_spectrum_of_xspec(
    kind: str,
    name: str,
    tiny: Path,
    request: pytest.FixtureRequest,
) -> None:
    case = REFERENCE[kind][name]
    shared = request.getfixturevalue("shared_data") if kind == "shared" else None
    load(case, shared, tiny if kind == "tiny" else None, name)
    point = case["points"][-1]
    Model("powerlaw").setPars(point["PhoIndex"], point["norm"])
    AllData.fakeit(1, FakeitSettings(exposure=500.0, backExposure=700.0), False, "", True)
    compare(AllData(1), case["fake"])


@pytest.mark.parametrize("name", ["grouped", "vectors", "net", "rate", "channel0", "plain"])
@pytest.mark.parametrize("noise", [False, True])
def test_written_spectrum_reads_back_as_the_one_in_memory(name: str, noise: bool, tiny: Path, tmp_path: Path) -> None:
    os.chdir(tiny)
    Spectrum(f"{name}.pha")
    Model("powerlaw", setPars={2: 0.05})
    prefix = str(tmp_path) + "/"
    AllData.fakeit(1, FakeitSettings(exposure=800.0, fileName=f"{prefix}out.fak"), noise)
    made = AllData(1)
    read = Spectrum(f"{prefix}out.fak")
    # Doubles are written; dividing by exposure and area and multiplying again costs a few ulp.
    np.testing.assert_allclose(read.values, made.values, rtol=1e-12)
    np.testing.assert_allclose(read.variance, made.variance, rtol=1e-12)
    assert read.isPoisson == made.isPoisson and read.exposure == made.exposure == 800.0
    if made.has_background:
        np.testing.assert_allclose(read.background.values, made.background.values, rtol=1e-12)
        assert read.background.fileName == f"{prefix}out_bkg.fak"


def test_noise_is_poisson_about_model_plus_background(tiny: Path) -> None:
    os.chdir(tiny)
    Spectrum("grouped.pha")
    Model("powerlaw", setPars={2: 0.01})
    original, rng = AllData(1), np.random.default_rng(5)
    expected = (np.array(AllModels(1).folded(1)) + np.array(original.background.values)) * original.exposure
    background = original._background
    back_expected = np.array(background.values) * background._to_counts()
    draws, back_draws = [], []
    for _ in range(300):
        session.spectra[:] = [original]
        session.touch()
        fakeit(1, None, True, "", True, rng)
        draws.append(AllData(1).counts)
        back_draws.append(np.array(AllData(1).background.values) * background._to_counts())
    for sample, mean in ((np.array(draws), expected), (np.array(back_draws), back_expected)):
        # 5 sigma on each of about 10 bins for 300 draws, fixed seed
        assert (np.abs(sample.mean(0) - mean) < 5 * np.sqrt(mean / 300)).all()
        assert sample.var(0) / mean == pytest.approx(1.0, abs=5 * np.sqrt(2 / 300 + 1 / (300 * mean.min())))


def test_same_seed_gives_the_same_spectra(tiny: Path) -> None:
    os.chdir(tiny)
    Model("powerlaw", setPars={2: 0.05})
    settings = FakeitSettings("tiny.rmf", "tiny.arf", exposure=100.0)
    drawn = []
    for seed in (3, 3, 4):
        AllData.clear()
        Xset.seed = seed
        AllData.fakeit(1, settings, True, "", True)
        drawn.append(AllData(1).values)
    assert drawn[0] == drawn[1] != drawn[2]
    assert AllData(1).fileName == "tiny_1.fak" and len(drawn[0]) == 24


def test_fakeit_without_data_takes_channels_and_scales_of_the_background(tiny: Path) -> None:
    os.chdir(tiny)
    Model("powerlaw")
    AllData.fakeit(2, {2: FakeitSettings("tiny.rmf", "tiny.arf", "grouped_bkg.pha"),
                       1: FakeitSettings("tiny0.rmf", exposure="30")}, True, "my_", True)  # fmt: skip
    assert [AllData(i).fileName for i in (1, 2)] == ["my_tiny0_1.fak", "my_tiny_2.fak"]
    assert AllData(2).exposure == 2500.0 and AllData(2).backScale == 1.5
    assert AllData(1).exposure == 30.0 and AllData(1)._pha.first_channel == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FakeitSettings(), "A response is needed"),
        (FakeitSettings("none"), "not a valid option"),
        (FakeitSettings("tiny.rmf", exposure="long"), "exposure is 'long'"),
        (FakeitSettings("tiny.rmf", exposure=-3), "a positive one is needed"),
        ({4: FakeitSettings("tiny.rmf")}, "beyond the number"),
    ],
)
def test_impossible_settings_are_refused_and_nothing_is_replaced(settings: object, message: str, tiny: Path) -> None:
    os.chdir(tiny)
    Spectrum("plain.pha")
    Model("powerlaw")
    with pytest.raises(XspecError, match=message):
        AllData.fakeit(2, settings if isinstance(settings, dict) else [FakeitSettings(), settings])
    assert AllData.nSpectra == 1 and AllData(1).fileName == "plain.pha"


def test_fakeit_needs_a_model(tiny: Path) -> None:
    os.chdir(tiny)
    Spectrum("plain.pha")
    with pytest.raises(XspecError, match="needs a model"):
        AllData.fakeit()


def test_model_rate_is_that_of_xspec(tiny: Path, shared_data: Path) -> None:
    for kind, name in (("shared", "session1"), ("tiny", "vectors"), ("tiny", "net")):
        case = REFERENCE[kind][name]
        AllData.clear()
        AllModels.clear()
        spectrum = load(case, shared_data, tiny if kind == "tiny" else None, name)
        model = Model("powerlaw")
        for point in case["points"]:
            model.setPars(point["PhoIndex"], point["norm"])
            # The engine's own power law against XSPEC's, in double precision.
            assert spectrum.rate[3] == pytest.approx(point["model_rate"], rel=1e-9)
