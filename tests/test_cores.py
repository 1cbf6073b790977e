"""One place says how many cores a run uses, and everything that computes keeps to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_session import fresh
from threadpoolctl import threadpool_info, threadpool_limits
from weighted import load_powerlaw

from xspec_sixsa import embedded
from xspec_sixsa.common import cores
from xspec_sixsa.interfaces.doctor import examine
from xspec_sixsa.session import Session


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sixteen cores and nothing else said; gives a function that writes control groups as the kernel shows them."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "OF_PROCESS", tmp_path / "of_process")

    def groups(of_process: str, files: dict[str, str]) -> None:
        (tmp_path / "of_process").write_text(of_process)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return groups


def test_all_cores_are_used_where_nothing_limits_them(sixteen: Callable[..., None]) -> None:
    sixteen("0::/\n", {"cpu.max": "max 100000\n"})
    assert cores.available_cores() == 16
    sixteen("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"})
    assert cores.available_cores() == 16


def test_a_container_s_quota_is_kept_to(sixteen: Callable[..., None]) -> None:
    sixteen("0::/\n", {"cpu.max": "250000 100000\n"})
    assert cores.core_limits() == {"machine": 16, "affinity mask": 16, "control group": 3}


def test_the_least_quota_of_all_groups_above_counts(sixteen: Callable[..., None]) -> None:
    sixteen(
        "12:memory:/job\n3:cpu,cpuacct:/batch/job/step\n1:name=systemd:/x\n",
        {
            "cpu,cpuacct/batch/cpu.cfs_quota_us": "800000\n",
            "cpu,cpuacct/batch/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/batch/job/cpu.cfs_quota_us": "50000\n",
            "cpu,cpuacct/batch/job/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/batch/job/step/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/batch/job/step/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cores.available_cores() == 1  # half a core is one
    sixteen("0::/user.slice/job\n", {"user.slice/cpu.max": "400000 100000", "user.slice/job/cpu.max": "max 100000"})
    assert cores.available_cores() == 4


@pytest.mark.parametrize(("said", "limit"), [("3", 3), ("2,4", 2), (" 1 ", 1), ("64", 16), ("", 16), ("0", 16)])
def test_omp_num_threads_is_kept_to(
    sixteen: Callable[..., None], monkeypatch: pytest.MonkeyPatch, said: str, limit: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert cores.available_cores() == limit


def test_the_doctor_says_what_limits_the_cores(sixteen: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xspec_sixsa.interfaces.doctor._engine", lambda *_: examine)  # seconds each
    monkeypatch.setattr("xspec_sixsa.interfaces.doctor._compiled_models", list)
    assert examine()[0].text.endswith(", 16 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert examine()[0].text.endswith(", 1 core of 16 (OMP_NUM_THREADS)")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_a_process_pinned_to_one_core_has_one() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from xspec_sixsa.common import cores; "
    command = [sys.executable, "-c", code + "print(cores.available_cores())"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_session_computes_on_one_thread_and_gives_threads_back(tmp_path: Path) -> None:
    load_powerlaw(embedded, tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2), Session(embedded):
            assert torch.get_num_threads() == 1
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        fresh(embedded)


def test_a_session_has_a_worker_for_each_core(
    sixteen: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_powerlaw(embedded, tmp_path)
    assert Session(embedded).workers == 16
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert Session(embedded).workers == 2
    assert Session(embedded, workers=5).workers == 5
    fresh(embedded)


def test_one_of_many_processes_keeps_to_one_core() -> None:
    code = "import torch; from xspec_sixsa.common import cores; cores.keep_to_one_core(); "
    command = [sys.executable, "-c", code + "print(cores.available_cores(), torch.get_num_threads())"]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "1 1\n"
