"""Chains are run, written, loaded, appended and used as XSPEC does; real XSPEC takes the same intervals from them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_session import fake_spectra, fresh

import xspec_sixsa.embedded as xspec
from xspec_sixsa.embedded import XspecError, loadedchain
from xspec_sixsa.result.chainfile import read_chain, write_chain

HERE = Path(__file__).parent


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """``TBabs*powerlaw`` with nH frozen, fitted to 5,000 faked counts."""
    monkeypatch.chdir(tmp_path)
    fresh(xspec)
    fake_spectra(xspec, tmp_path, exposure=10000.0)
    xspec.Spectrum("a.pha")
    model = xspec.Model("TBabs*powerlaw", setPars=("0.1 -1", 1.8, 3e-3))
    assert model(1).frozen
    xspec.Fit.perform()
    xspec.Xset.seed = 7
    yield xspec
    fresh(xspec)


def some_chain(path: str, names: tuple[str, ...] = ("PhoIndex__2", "norm__3"), units: tuple[str, ...] = ("", ""),
               rows: int = 400, seed: int = 1) -> np.ndarray:  # fmt: skip
    samples = np.random.default_rng(seed).normal([1.8, 3e-3], [0.05, 1e-4], size=(rows, 2))
    write_chain(path, names, units, samples, np.arange(1.0, rows + 1))
    return samples


def test_goodman_weare_finds_the_profile_likelihoods_widths(engine: ModuleType) -> None:
    chain = engine.Chain("gw.fits", burn=2000, runLength=20000, walkers=40)
    assert chain.totalLength == 20000
    index = engine.AllModels(1)(2)
    data = read_chain("gw.fits")
    # 500 steps of 40 walkers are some 1,000 independent draws: 3 % of the width for the spread, 0.03 for the mean.
    assert data.samples[:, 0].std() == pytest.approx(index.sigma, rel=0.12)
    assert data.samples[:, 0].mean() == pytest.approx(index.values[0], abs=0.15 * index.sigma)
    # The mean of the statistic lies d/2 * 2 = d above the minimum for d parameters.
    assert data.statistic.mean() - engine.Fit.statistic == pytest.approx(2.0, abs=0.4)
    assert data.header["CHAINTYP"] == "GoodmanWeare"
    assert data.header["NWALKERS"] == 40


def test_statistic_column_is_that_of_the_row(engine: ModuleType) -> None:
    engine.Chain("gw.fits", runLength=200)
    data = read_chain("gw.fits")
    engine.AllModels(1).setPars({2: data.samples[57, 0], 3: data.samples[57, 1]})
    # The same arithmetic, in a batch and alone.
    assert engine.Fit.statistic == pytest.approx(data.statistic[57], rel=1e-10)


def test_seed_repeats_a_chain_and_parameters_stay(engine: ModuleType) -> None:
    before = [engine.AllModels(1)(i).values[0] for i in (1, 2, 3)]
    engine.Xset.seed = 3
    engine.Chain("one.fits", runLength=100)
    engine.Xset.seed = 3
    engine.AllChains.clear()
    engine.Chain("two.fits", runLength=100)
    np.testing.assert_array_equal(read_chain("one.fits").samples, read_chain("two.fits").samples)
    assert [engine.AllModels(1)(i).values[0] for i in (1, 2, 3)] == before


def test_lengths_are_cut_to_whole_sets_of_walkers_and_appended(engine: ModuleType) -> None:
    chain = engine.Chain("gw.fits", runLength=105, walkers=10)
    assert chain.totalLength == 100
    first = read_chain("gw.fits").samples
    chain.runLength = 50
    chain.run()
    assert chain.totalLength == engine.AllChains(1).totalLength == 150
    np.testing.assert_array_equal(read_chain("gw.fits").samples[:100], first)
    chain.walkers = 12
    with pytest.raises(XspecError, match="only be appended to with walkers = 10"):
        chain.run()


def test_walkers_stay_inside_the_hard_limits(engine: ModuleType) -> None:
    engine.AllModels(1)(2).values = "1.8,0.01,1.75,1.75,1.85,1.85"
    engine.Chain("gw.fits", runLength=2000, walkers=20)
    index = read_chain("gw.fits").samples[:, 0]
    assert 1.75 <= index.min() < index.max() <= 1.85


def test_interval_is_central_and_of_the_wanted_probability(engine: ModuleType) -> None:
    samples = some_chain("c.fits", rows=1000)
    engine.AllChains += "c.fits"
    low, high = loadedchain.interval(2, 1.0)
    # Delta statistic 1 with one parameter holds 68.27 %: XSPEC counts 158.66 rows off on either side.
    ordered = np.sort(samples[:, 0])
    assert (low, high) == (ordered[159], ordered[840])
    with pytest.raises(XspecError, match="Cannot find parameter 1 in chains"):
        loadedchain.interval(1, 1.0)


def test_error_uses_a_chain_in_sync_only(engine: ModuleType) -> None:
    engine.Fit.error("1.0 2")
    profile = engine.AllModels(1)(2).error[:2]
    some_chain("c.fits")
    engine.AllChains += "c.fits"
    assert loadedchain.in_sync()
    engine.Fit.error("1.0 2")
    assert engine.AllModels(1)(2).error == (*loadedchain.interval(2, 1.0), "FFFFFFFFF")
    engine.AllModels(1)(1).frozen = False
    assert not loadedchain.in_sync()
    engine.AllModels(1)(1).frozen = True
    engine.AllChains.clear()
    engine.Fit.error("1.0 2")
    assert engine.AllModels(1)(2).error[:2] == pytest.approx(profile, rel=1e-6)


@pytest.mark.xspec
def test_real_xspec_takes_the_same_intervals_from_our_chain(engine: ModuleType) -> None:
    engine.Chain("gw.fits", runLength=2000, walkers=20)
    engine.AllModels(1)(1).frozen = True
    engine.Xset.save("s.xcm")
    engine.Fit.error("2.706 2-3")
    ours = [engine.AllModels(1)(i).error for i in (2, 3)]
    run = subprocess.run([sys.executable, str(HERE / "xcm_reference.py"), "restore", "s.xcm", "gw.fits", "2-3"],
                         capture_output=True, text=True, timeout=120)  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("RESULT "))
    theirs = json.loads(line.removeprefix("RESULT "))["errors"]
    assert [tuple(error) for error in theirs] == ours


@pytest.mark.parametrize(
    ("names", "units"),
    [(("norm__3", "PhoIndex__2"), ("", "")), (("PhoIndex__2", "norm__3"), ("keV", "")),
     (("PhoIndex__2", "norm__4"), ("", "")), (("PhoIndex__bkg__2", "norm__3"), ("", "")),
     (("log(norm)__2", "norm__3"), ("", ""))],
)  # fmt: skip
def test_chain_of_other_parameters_is_loaded_but_not_used(
    engine: ModuleType, names: tuple[str, ...], units: tuple[str, ...]
) -> None:
    some_chain("c.fits", names, units)
    engine.AllChains += "c.fits"
    assert len(engine.AllChains) == 1
    assert not loadedchain.in_sync()


def test_units_of_the_model_are_in_the_file(engine: ModuleType) -> None:
    engine.AllModels(1)(1).frozen = False
    engine.Chain("gw.fits", runLength=100)
    assert read_chain("gw.fits").names == ["nH__1", "PhoIndex__2", "norm__3"]
    assert read_chain("gw.fits").units == ["10^22", "", ""]
    assert loadedchain.in_sync()


def test_loaded_chains_are_ordered_unloaded_and_cleared(engine: ModuleType) -> None:
    for name in ("b.fits", "a.fits", "c.fits"):
        some_chain(name)
        engine.AllChains += name
    assert [engine.AllChains(i).fileName for i in (1, 2, 3)] == ["a.fits", "b.fits", "c.fits"]
    engine.AllChains -= 1
    engine.AllChains -= "c.fits"
    assert engine.AllChains(1).fileName == "b.fits"
    with pytest.raises(XspecError, match="out of range"):
        engine.AllChains(2)
    engine.AllChains -= "*"
    assert len(engine.AllChains) == 0


def test_name_of_no_file_runs_a_chain(engine: ModuleType) -> None:
    engine.AllChains.defLength = 40
    engine.AllChains += "new.fits"
    engine.AllChains.defLength = 100
    assert len(read_chain("new.fits").samples) == 40


def test_statistics_over_chains(engine: ModuleType) -> None:
    first, second = some_chain("a.fits", seed=1), some_chain("b.fits", seed=2)
    engine.AllChains += "a.fits"
    engine.AllChains += "b.fits"
    found = engine.AllChains.stat(2)
    assert found["means"] == pytest.approx([first[:, 0].mean(), second[:, 0].mean()])
    # Two chains of the same distribution: the measure is 1 within its own scatter of 1/400 rows.
    assert found["rubin_gelman"] == pytest.approx(1.0, abs=0.02)
    values, statistic = engine.AllChains.best()
    assert statistic == 1.0
    assert values == pytest.approx(first[0])


def test_draws_are_rows_of_the_chains(engine: ModuleType) -> None:
    samples = some_chain("a.fits")
    engine.AllChains += "a.fits"
    rows = loadedchain.draw(50)
    assert all((samples == row).all(axis=1).any() for row in rows)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda x: x.Chain("n.fits", algorithm="mh"), "Metropolis-Hastings.*use 'gw'"),
        (lambda x: x.Chain("n.fits", proposal="cauchy fit"), "'cauchy fit' is not in the embedded engine"),
        (lambda x: x.Chain("n.fits", fileType="ascii"), "ASCII chains"),
        (lambda x: x.Chain("n.fits", walkers=7), "even integer"),
        (lambda x: x.Chain("n.fits", runLength=6), "less than 10"),
        (lambda x: x.Chain("a.pha"), "exists and is not replaced"),
        (lambda x: setattr(x.AllChains, "defLenght", 3), "misspell"),
        (lambda x: x.AllChains.margin("2 1 2 10"), "margin is not in the embedded engine"),
        (lambda x: x.AllChains.stat(2), "No chains loaded"),
        (lambda x: x.AllChains.__iadd__("a.pha"), "cannot be loaded.*no CHAIN table"),
        (lambda x: x.AllChains.__iadd__(3), "Invalid type"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(engine: ModuleType, action: Any, message: str) -> None:
    with pytest.raises(XspecError, match=message):
        action(engine)
    assert len(engine.AllChains) == 0
    assert not Path("n.fits").exists()


def test_chains_of_other_length_or_parameters_are_refused(engine: ModuleType) -> None:
    some_chain("a.fits")
    engine.AllChains += "a.fits"
    some_chain("short.fits", rows=200)
    with pytest.raises(XspecError, match="200 rows, the loaded chains have 400"):
        engine.AllChains += "short.fits"
    some_chain("other.fits", ("PhoIndex__2", "norm__5"))
    with pytest.raises(XspecError, match="different pars"):
        engine.AllChains += "other.fits"
    assert len(engine.AllChains) == 1


def test_without_free_parameters_nothing_is_run(engine: ModuleType) -> None:
    engine.AllModels(1)(2).frozen = engine.AllModels(1)(3).frozen = True
    with pytest.raises(XspecError, match="no free parameter"):
        engine.Chain("n.fits")
