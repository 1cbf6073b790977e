"""Shared fixtures: where the real spectra lie, and whether a real XSPEC can be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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
