"""What an evaluation costs beside a bare PyXspec loop, and what a second worker gives; real XSPEC, EPIC-pn.

    python benchmarks/overhead.py [problem ...] [--evaluations 600] [--repeats 3]

The bare loop is what a user would write: ``setPars``, ``folded``, ``Fit.statistic`` at the same parameter sets. The
repeats alternate, and the best of each counts, so that other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import xspec
from problems import load

from xspec_sixsa.session import Session


def parameter_sets(session: Session, n: int) -> np.ndarray:
    """Around XSPEC's own fit, where most evaluations of a run are, (n, d)."""
    with session:
        best, _ = session.native_fit([p.values[0] for p in session.parameters])
    low, high = session.hard_limits.T
    scatter = 1 + 0.05 * np.random.default_rng(1).standard_normal((n, session.n_free))
    return np.clip(best * scatter, low, high)


def bare(session: Session, theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds and statistics of the loop by hand (one model object a data group, one source)."""
    groups = sorted({p.group for p in session.parameters})
    models = {group: xspec.AllModels(group) for group in range(1, max(groups) + 1)}
    columns = {g: [(p.index, k) for k, p in enumerate(session.parameters) if p.group == g] for g in groups}
    folded = [(data.index, xspec.AllModels(data.data_group)) for data in session.observation.spectra]
    found = np.empty(len(theta))
    began = time.perf_counter()
    for i, row in enumerate(theta.tolist()):
        if len(groups) == 1:
            models[groups[0]].setPars({index: row[k] for index, k in columns[groups[0]]})
        else:
            # one call for all, or XSPEC computes everything once a group
            pairs = [(models[g], {index: row[k] for index, k in columns[g]}) for g in groups]
            xspec.AllModels.setPars(*(part for pair in pairs for part in pair))
        for number, model in folded:
            model.folded(number)
        found[i] = xspec.Fit.statistic
    return time.perf_counter() - began, found


def ours(session: Session, theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds and statistics through a session whose workers are there already."""
    with session:
        session.evaluate(theta[: 2 * session.workers], "warm-up")
        began = time.perf_counter()
        found = session.evaluate(theta, "timed")
        seconds = time.perf_counter() - began
    return seconds, found.statistic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", default=["epic_pn"])
    parser.add_argument("--evaluations", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    head = ("problem", "bins", "bare [ms]", "1 process", "1 worker", "2 workers", "overhead", "speed-up")
    rows = []
    for name in arguments.problems:
        load(name, xspec)
        sessions = {"1 process": Session(xspec, workers=1), "2 workers": Session(xspec, workers=2)}
        theta = parameter_sets(sessions["1 process"], arguments.evaluations)
        one = Session(xspec, workers=1)
        seconds: dict[str, list[float]] = {}
        for _ in range(arguments.repeats):
            spent, statistic = bare(one, theta)
            seconds.setdefault("bare", []).append(spent)
            for label, session in sessions.items():
                spent, found = ours(session, theta)
                seconds.setdefault(label, []).append(spent)
                if not np.allclose(found, statistic, rtol=1e-9):
                    raise SystemExit(f"{name}: {label} gives other statistics than the bare loop.")
            spent, _ = one_worker(one, theta)
            seconds.setdefault("1 worker", []).append(spent)
        best = {label: 1e3 * min(values) / len(theta) for label, values in seconds.items()}
        rows.append(
            (name, f"{one.observation.n_bins}", f"{best['bare']:.3f}", f"{best['1 process']:.3f}",
             f"{best['1 worker']:.3f}", f"{best['2 workers']:.3f}",
             f"{100 * (best['1 process'] / best['bare'] - 1):+.1f} %", f"{best['1 worker'] / best['2 workers']:.2f} x")
        )  # fmt: skip
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (speed-up needs idle ones)")
    print("ms an evaluation; overhead: one process against the bare loop; speed-up: two workers against one.")


def one_worker(session: Session, theta: np.ndarray) -> tuple[float, np.ndarray]:
    """As `ours`, with the pool's machinery about a single worker."""
    from xspec_sixsa.session.workers import WorkerPool

    with session, WorkerPool(session._evaluator, session.observation.n_bins, 1) as pool:
        pool.evaluate(theta[:2])
        began = time.perf_counter()
        _, statistic, _ = pool.evaluate(theta)
        return time.perf_counter() - began, statistic


if __name__ == "__main__":
    main()
