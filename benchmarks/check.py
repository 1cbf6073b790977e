"""Fit problems of ../shared/problems.toml and compare each with nautilus on the same session, statistic and priors.

    python benchmarks/check.py epic_pn --seeds 1 --seeds 2 --seeds 3 --seeds 4 --seeds 5
    python benchmarks/check.py epic_pn_wstat wstat_3c273 two_spectra gaussian_bright --seeds 1

Prints per problem and seed: evaluations by stage, effective samples, seconds, evidence against nautilus, and the
Jensen-Shannon divergence per parameter beside its limit; all of it goes to --json too. Exit code 1 if any check fails.
nautilus runs once a problem; --nested FOLDER keeps its runs there and reads them from there; --no-nested does without.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import xspec_sixsa as sixsa
from xspec_sixsa.compare.divergence import jensen_shannon
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session
from xspec_sixsa.session.engine import load_engine

sys.path.insert(0, str(Path(__file__).parent))
import problems


def nested_sampling(xspec: Any, priors: list[Any], live: int, ess: int, seed: int) -> dict[str, Any]:
    """Posterior and evidence by nautilus, from so many live points to so many effective samples."""
    from nautilus import Sampler

    with Session(xspec) as session:
        prior = bind(priors, session)
        spent = 0

        def log_likelihood(u: np.ndarray) -> np.ndarray:
            nonlocal spent
            u = np.atleast_2d(u)
            spent += len(u)
            value = session.evaluate(prior.transform(u), "nautilus").log_likelihood
            return np.where(np.isfinite(value), value, -1e300)

        began = time.monotonic()
        sampler = Sampler(lambda u: u, log_likelihood, session.n_free, n_live=live, vectorized=True, seed=seed)
        sampler.run(n_eff=ess, discard_exploration=True)
        u, log_weights, _ = sampler.posterior()
        return {
            "theta": prior.transform(u),
            "weights": np.exp(log_weights - log_weights.max()),
            "log_z": float(sampler.log_z),
            "log_z_err": float(1 / np.sqrt(sampler.n_eff)),
            "evaluations": spent,
            "live": live,
            "seconds": time.monotonic() - began,
        }


def kept(path: Path | None, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, or what `run` gives, which is then written there."""
    if path is not None and path.is_file():
        with np.load(path) as saved:
            return {key: saved[key] for key in saved.files}
    found = run()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **found)
    return found


def describe(result: Any) -> dict[str, Any]:
    """One run's numbers."""
    return {
        "status": result.status,
        "reasons": result.reasons,
        "seed": result.seed,
        "evaluations": result.evaluations,
        "total": sum(result.evaluations.values()),
        "ess": result.ess,
        "k_hat": result.k_hat,
        "emulator": result.emulator,
        "seconds": result.seconds,
        "log_z": result.log_z,
        "log_z_err": result.log_z_err,
        "median": dict(zip(result.names, result.quantile(0.5).tolist(), strict=True)),
        "best_statistic": result.best_statistic,
    }


def share(name: str, names: Sequence[str], theta: np.ndarray, weights: np.ndarray) -> float | None:
    """The share of a posterior in the first of a problem's two modes; None for a problem that has one."""
    if name not in problems.MODES:
        return None
    first, second = (theta[:, names.index(key)] for key in problems.MODES[name])
    return float(weights[first < second].sum() / weights.sum())


def compare(result: Any, nested: dict[str, Any]) -> dict[str, Any]:
    """Evidence and divergences of one run against nested sampling."""
    keep = np.isfinite(result.log_weights)
    divergences = {
        name: jensen_shannon(result.samples[keep, i], nested["theta"][:, i], result.weights[keep], nested["weights"])
        for i, name in enumerate(result.names)
    }
    sigma = float(np.hypot(result.log_z_err, nested["log_z_err"]))
    return describe(result) | {
        "pull": float((result.log_z - nested["log_z"]) / sigma),
        "divergence": {name: [d.value, d.limit] for name, d in divergences.items()},
        "agrees": all(d.indistinguishable for d in divergences.values())
        and bool(abs(result.log_z - nested["log_z"]) < 3 * sigma),
    }


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True)
@click.option("--seeds", multiple=True, type=int, default=(1,), help="Repeat for several.")
@click.option("--engine", type=click.Choice(["embedded", "xspec"]), default="embedded")
@click.option("--live", type=int, default=1500, help="nautilus's live points.")
@click.option("--nested-ess", type=int, default=10000, help="Effective samples that nautilus ends with.")
@click.option("--budget", type=int, default=None)
@click.option("--compressor", default=None)
@click.option("--emulator", type=click.Choice(["linear", "paired"]), default=None)
@click.option("--estimator", default=None)
@click.option("--training", default=None)
@click.option("--target-ess", type=int, default=1000)
@click.option("--exact", type=click.Choice(["draws", "control"]), default="draws")
@click.option("--nested", "folder", type=click.Path(path_type=Path), default=None)
@click.option("--no-nested", is_flag=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
def main(
    names: tuple[str, ...], seeds: tuple[int, ...], engine: str, live: int, nested_ess: int, budget: int | None,
    compressor: str | None, estimator: str | None, emulator: str | None, training: str | None,
    target_ess: int, exact: str,
    folder: Path | None, no_nested: bool, path: Path | None,
) -> None:  # fmt: skip
    logging.basicConfig(level=logging.WARNING)
    xspec = load_engine(engine)
    report: dict[str, Any] = {}
    for name in names:
        priors = problems.load(name, xspec)
        report[name] = {
            "engine": engine, "target_ess": target_ess, "exact": exact, "emulator": emulator, "training": training,
            "runs": [],
        }  # fmt: skip
        nested = None
        if not no_nested:
            path_kept = folder and folder / f"{name}-{engine}.npz"
            nested = kept(path_kept, functools.partial(nested_sampling, xspec, priors, live, nested_ess, 1))
            print(f"{name}: nautilus log Z {nested['log_z']:.3f} +- {nested['log_z_err']:.3f}, "
                  f"{nested['evaluations']} evaluations, {nested['seconds']:.0f} s", flush=True)  # fmt: skip
            numbers = ("log_z", "log_z_err", "evaluations", "live", "seconds")
            report[name]["nautilus"] = {k: float(nested[k]) for k in numbers if k in nested}
        for seed in seeds:
            load, began = os.getloadavg()[0], time.monotonic()
            result = sixsa.fit(
                priors, seed=seed, xspec=xspec, progress=False, budget=budget, compressor=compressor,
                estimator=estimator, emulator=emulator, training=training,
                target_ess=target_ess, exact=exact,
            )  # fmt: skip
            wall = time.monotonic() - began
            in_model = result.seconds.get("evaluation", 0.0) + result.seconds.get("polish", 0.0)
            row = (describe(result) if nested is None else compare(result, nested)) | {
                "wall": wall,
                "outside": wall - in_model,
                "load": load,
                "share": share(name, result.names, result.samples, result.weights),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
            report[name]["runs"].append(row)
            if nested is not None:
                report[name]["nautilus"]["share"] = share(name, result.names, nested["theta"], nested["weights"])
            print(
                f"  {name} seed {seed}: {row['status']}, {row['total']} evaluations, ESS {row['ess']:.0f}, "
                f"k-hat {row['k_hat']:.2f}, log Z {row['log_z']:.3f} +- {row['log_z_err']:.3f}, {wall:.0f} s "
                f"({row['outside']:.0f} outside the model), at most {row['peak_mib']:.0f} MiB so far",
                flush=True,
            )
            if nested is not None:
                worst = max(row["divergence"].items(), key=lambda item: item[1][0] / item[1][1])
                print(
                    f"    pull {row['pull']:+.1f}, worst JSD {worst[0]} {worst[1][0]:.4f} (limit {worst[1][1]:.4f}): "
                    f"{'agrees' if row['agrees'] else 'DISAGREES'}",
                    flush=True,
                )
                if row["share"] is not None:
                    print(f"    share of one mode {row['share']:.3f}, nautilus "
                          f"{report[name]['nautilus']['share']:.3f}", flush=True)  # fmt: skip
            if path is not None:
                path.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(
        0
        if all(run.get("agrees", run["status"] == "reliable") for entry in report.values() for run in entry["runs"])
        else 1
    )


if __name__ == "__main__":
    main()
