"""How many cores a run may use, and how it uses them: workers, threads, BLAS and training all ask here."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from threadpoolctl import threadpool_limits

__all__ = ["available_cores", "core_limits", "keep_to_one_core", "one_thread"]

GROUPS = Path("/sys/fs/cgroup")
OF_PROCESS = Path("/proc/self/cgroup")
THREADS = "OMP_NUM_THREADS"


def available_cores() -> int:
    """Return the cores that this process may use: the least of `core_limits`, 1 or more."""
    return min(core_limits().values())


def core_limits() -> dict[str, int]:
    """Return how many cores this process may use, by what says so.

    Returns
    -------
    dict of str to int
        ``machine``; and, where they are set, ``affinity mask`` (``taskset``, batch queues), ``control group`` (the CPU
        quota of a container or a queue, rounded up) and ``OMP_NUM_THREADS`` (the first of its numbers).
    """
    limits = {"machine": os.cpu_count() or 1}
    if hasattr(os, "sched_getaffinity"):
        limits["affinity mask"] = len(os.sched_getaffinity(0))
    quota = _quota()
    if math.isfinite(quota):
        limits["control group"] = max(1, math.ceil(quota))
    asked = os.environ.get(THREADS, "").split(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        limits[THREADS] = int(asked)
    return limits


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch, BLAS and OpenMP on one thread inside the block, as far as they are loaded.

    Networks and kernels of this size gain little from a second thread, and lose much where something else needs the
    core: OpenMP's threads wait for each other at every layer, and do so spinning (9,500 bins: 31 s on one thread,
    117 s on two of two busy cores).
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def keep_to_one_core() -> None:
    """For good, in a forked process that is one of as many as there are cores: one thread, and one core for its own.

    A fork has no threads of its parent's pools either, and would wait for them for ever.
    """
    os.environ[THREADS] = "1"
    threadpool_limits(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _quota() -> float:
    """CPUs that the control groups of this process may use together; infinite without a quota.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (``cpu.max``) and
    https://docs.kernel.org/scheduler/sched-bwc.html (version 1).
    """
    try:
        lines = OF_PROCESS.read_text().splitlines()
    except OSError:
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = GROUPS / controllers
        # a quota holds for all groups within; in a container the upper ones are not to be seen
        for group in [top, *(top / part for part in _prefixes(path))]:
            least = min(least, _quota_of(group))
    return least


def _prefixes(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[:k]) for k in range(1, len(parts) + 1)]


def _quota_of(group: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        return float(quota) / float(period) if quota != "max" else math.inf
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((group / f"cpu.cfs_{word}_us").read_text() for word in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    return math.inf
