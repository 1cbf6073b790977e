"""Shared fixtures: where the real spectra lie, and whether a real XSPEC can be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# before torch and numpy are loaded: two processes of tests share the cores, and threads that wait for each other crawl
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# Seconds to minutes each: begun first, so that no core is idle while the last of them ends.
LONGEST = (
    "test_examples", "test_tcl", "test_compare", "test_run", "test_method", "test_demo", "test_inference",
    "test_tclcommands", "test_calibration", "test_retriever", "test_chain_used", "test_session_holds", "test_plots",
    "test_emulator", "test_cli", "test_bxa",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # pytest-xdist would begin with the files of most tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
    if os.environ.get("HEADAS"):
        return
    skip = pytest.mark.skip(reason="real XSPEC needed: HEADAS is not set")
    for item in items:
        if "xspec" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real spectra beside the checkout (never shipped)."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real spectra absent: {SHARED_DATA} is not there")
    return SHARED_DATA


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The embedded engine as it is where `pip install xspectrampoline` has not been run."""
    from xspec_sixsa.embedded.library import catalogue

    monkeypatch.setattr(catalogue, "PACKAGE", "no_such_package")
    catalogue.library.cache_clear()
    yield
    monkeypatch.undo()
    catalogue.library.cache_clear()


@pytest.fixture
def clean_engine() -> Iterator[None]:
    """The embedded engine silent, empty and with its default settings, before and after."""
    from xspec_sixsa.embedded import AllData, AllModels, Fit
    from xspec_sixsa.embedded.state import EngineSession, session

    def reset() -> None:
        fresh = EngineSession()
        AllData.clear()
        AllModels.clear()
        Fit.statMethod, Fit.bayes = "chi", "off"
        Fit.renorm("prefit")
        for name in ("abund", "abund_file", "xsect", "cosmo", "model_strings", "data_folder", "energies", "extensions"):
            setattr(session, name, getattr(fresh, name))
        session.touch()

    chatter, log_chatter = session.chatter, session.log_chatter
    session.chatter = session.log_chatter = 0
    reset()
    yield
    reset()
    session.chatter, session.log_chatter = chatter, log_chatter
