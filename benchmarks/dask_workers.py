"""What a second Dask worker on this machine gives: evaluations per second of one and of two.

    python benchmarks/dask_workers.py [problem ...] [--engine xspec] [--seconds 15]

Each worker is a process with one thread, and evaluates in a copy of the session. What making the copies takes is told
apart: it happens once.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from distributed import LocalCluster
from problems import load

from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session
from xspec_sixsa.session.cluster import Cluster
from xspec_sixsa.session.engine import load_engine

FIRST = 64  # evaluations that tell how many the seconds allow


def measure(engine: object, theta: np.ndarray, workers: int, seconds: float) -> tuple[float, float]:
    """Evaluations per second, and seconds until the copies are there."""
    settings = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**settings) as local:
        cluster = Cluster(local.scheduler_address)
        with Session(engine, cluster=cluster) as session:
            session.evaluate(theta[:1], "probe")
            began = time.perf_counter()
            session.evaluate(theta[:FIRST], "copies")
            made = time.perf_counter()
            session.evaluate(theta[:FIRST], "first")
            n = int(FIRST * seconds / (time.perf_counter() - made))
            rows = theta[np.arange(n) % len(theta)]
            start = time.perf_counter()
            session.evaluate(rows, "timed")
            rate = n / (time.perf_counter() - start)
        cluster.close()
    return rate, made - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", default=["epic_pn"])
    parser.add_argument("--engine", default="xspec", choices=("xspec", "embedded"))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement, about")
    arguments = parser.parse_args()
    engine = load_engine(arguments.engine)
    print("problem        one worker [1/s]  two workers [1/s]  ratio  copies [s]")
    for name in arguments.problems:
        prior = bind(load(name, engine), Session(engine, workers=1))
        theta = prior.transform(np.random.default_rng(1).random((2000, len(prior.names))))
        one, _ = measure(engine, theta, 1, arguments.seconds)
        two, copies = measure(engine, theta, 2, arguments.seconds)
        print(f"{name:<14} {one:16.1f} {two:18.1f} {two / one:6.2f} {copies:11.1f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (the ratio needs idle ones)")


if __name__ == "__main__":
    main()
