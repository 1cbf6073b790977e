"""What a fit costs on a machine that has other things to do: idle, beside one busy process a core, on one core.

    python benchmarks/busy.py epic_pn [--repeats 3] [--seed 1] [--json busy.json]

Each fit is a process of its own, with default settings and loading included, timed as `time` does it. The situations
alternate and the best of each counts, so that other work on the machine disturbs least. CPU seconds tell spinning from
waiting: where threads wait for one another spinning, they grow with the seconds on the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # and no longer than we live
SITUATIONS = ("idle", "busy", "one core", "one busy core")
"""Busy: beside one busy process for each core."""


def fit(problem: str, seed: int) -> None:
    """Fit it, on real XSPEC where there is one."""
    import xspec_sixsa as sixsa

    sys.path.insert(0, str(Path(__file__).parent))
    import problems

    sixsa.xspec.Xset.chatter = 0
    result = sixsa.fit(problems.load(problem, sixsa.xspec), xspec=sixsa.xspec, seed=seed, progress=False)
    print(json.dumps({"engine": "XSPEC" if os.environ.get("HEADAS") else "embedded", "status": result.status,
                      "evaluations": sum(result.evaluations.values()), "log_z": result.log_z}))  # fmt: skip


@contextlib.contextmanager
def others(cores: set[int]) -> Iterator[None]:
    """As many processes as these cores, on them, that do nothing else than keep them busy."""
    command = [sys.executable, "-c", BUSY]
    busy = [subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, cores)) for _ in cores]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def timed(problem: str, seed: int, situation: str) -> dict[str, Any]:
    """One fit in its process: seconds on the clock and of the CPU, context switches, what came out."""
    cores = os.sched_getaffinity(0)
    mine = {min(cores)} if "one" in situation else cores
    command = [sys.executable, __file__, problem, "--seed", str(seed), "--once"]
    with others(mine if "busy" in situation else set()):
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, mine)
        )
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}.")
    return json.loads(text.splitlines()[-1]) | {
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "waits": used.ru_nvcsw,
        "preempted": used.ru_nivcsw,
    }


def ratio_of(best: dict[str, dict[str, Any]], situation: str) -> tuple[float, str]:
    """How many times as long as in which other situation: busy cores beside the same ones idle."""
    than = {"idle": "", "one busy core": "one core"}.get(situation, "idle")
    return best[situation]["seconds"] / best[than or situation]["seconds"], than


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", nargs="?", default="epic_pn")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", action="store_true", help="one fit in this process")
    arguments = parser.parse_args()
    if arguments.once:
        return fit(arguments.problem, arguments.seed)
    runs: dict[str, list[dict[str, Any]]] = {situation: [] for situation in SITUATIONS}
    for _ in range(arguments.repeats):
        for situation, found in runs.items():
            found.append(timed(arguments.problem, arguments.seed, situation))
            print(situation, {key: value for key, value in found[-1].items() if key != "engine"}, flush=True)
    best = {situation: min(found, key=lambda run: run["seconds"]) for situation, found in runs.items()}
    for situation, run in best.items():
        ratio, than = ratio_of(best, situation)
        print(f"{situation:14s} {run['seconds']:6.1f} s{f' ({ratio:4.2f} x {than})' if than else ''}, "
              f"{run['cpu']:6.1f} s of CPU, {run['waits']} waits, {run['preempted']} times put aside")  # fmt: skip
    if arguments.json:
        report = {"problem": arguments.problem, "cores": len(os.sched_getaffinity(0)), "repeats": arguments.repeats}
        arguments.json.write_text(json.dumps(report | {"best": best}, indent=1))


if __name__ == "__main__":
    main()
