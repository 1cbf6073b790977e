"""A survey's spectra shared out to processes: forks here, and those of a Dask cluster's workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from small_session import fresh, power_law_run

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.survey.slot import Slot

NAMES = ("first", "second")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(**settings) as local, Client(local) as client:
        yield client


@pytest.fixture
def priors(tmp_path: Path) -> Iterator[list[Any]]:
    from xspec_sixsa import embedded

    with working_directory(tmp_path):
        _, priors = power_law_run(embedded, tmp_path, (1e-4, 1e-1))
        yield priors
    fresh(embedded)


def surveyed(priors: list[Any], output: str, **options: Any) -> Any:
    from xspec_sixsa import embedded

    spectra = [{"file": "a.pha", "name": name} for name in NAMES]
    return sixsa.fit_many(
        spectra, priors, output=output, xspec=embedded, seed=1, target_ess=50, progress=False, pictures=(), **options
    )


def slots_of(worker: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(worker).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since, or waits to be reaped
            found += [child] if "xspec_sixsa.survey.remote" in child.cmdline() else []
    return found


def kill_when_busy(worker: int) -> None:
    """End a worker as soon as it has a share of the spectra."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if slots_of(worker):
            os.kill(worker, signal.SIGKILL)
            return
        time.sleep(0.05)


def test_spectra_are_shared_out_to_a_cluster_and_a_lost_worker_loses_nothing(
    priors: list[Any], client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    here = surveyed(priors, "here", workers=1)
    victim = min(client.run(os.getpid).values())
    threading.Thread(target=kill_when_busy, args=(victim,), daemon=True).start()
    with caplog.at_level(logging.WARNING):
        there = surveyed(priors, "there", dask=client)
    assert victim not in client.run(os.getpid).values()  # it had its share, and was lost
    assert there.evaluations == here.evaluations
    for name in NAMES:
        np.testing.assert_array_equal(there[name].samples, here[name].samples)
        np.testing.assert_array_equal(there[name].weights, here[name].weights)
    # and nothing is left behind on those that live
    assert not [slot for worker in client.run(os.getpid).values() for slot in slots_of(worker)]


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    slot = Slot(pickle.dumps((tmp_path / "elsewhere", None, None)), pickle.dumps({}))
    assert "has no such folder" in asyncio.run(slot.exchange("ready?"))
    with pytest.raises(RuntimeError, match="its process died"):
        asyncio.run(slot.exchange("begin"))
