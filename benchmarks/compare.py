"""One problem by this project and by others: what each costs, and whether they agree.

Ours with every row exact and with corrected emulated rows (ten times as many); BXA; nautilus as it is safest and as it
is cheapest; PyVBMC, a Gaussian-process surrogate; XSPEC's Goodman-Weare chain.

    python benchmarks/compare.py epic_pn [--engine xspec] [--limit 1800] [--json epic_pn.json]
    python benchmarks/compare.py two_modes --methods sixsa --methods mcmc --ess 1000

The same data, model, statistic and priors, each method once, in a fresh process of its own, one after the other. A BXA
run that is over its --limit is stopped and its cost extrapolated, which is said. docs/benchmarks.md is written from
the JSON by benchmarks/report.py.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from xspec_sixsa.common.files import plain
from xspec_sixsa.compare.comparison import Comparison, compare_posteriors
from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.compare.words import table
from xspec_sixsa.result import Result

sys.path.insert(0, str(Path(__file__).parent))

METHODS = ("sixsa", "control", "bxa", "nautilus", "least", "vbmc", "mcmc")
TITLES = {
    "sixsa": "xspec_sixsa", "control": "xspec_sixsa, control", "bxa": "BXA", "nautilus": "nautilus",
    "least": "nautilus, least", "vbmc": "PyVBMC", "mcmc": "XSPEC Goodman-Weare",
}  # fmt: skip
CONTROL = 10
"""Times the effective samples that are asked for of corrected emulated draws."""
LEAST = {"live": 400, "ess": 1000, "discard_exploration": False}
"""nautilus as cheap as it still is right: its own default keeps the exploration's points, with 2,000 live ones."""
FRAC_REMAIN = 0.01
"""Share of the evidence in the live points at which UltraNest stops, its default."""
PACKAGES = ("xspec_sixsa", "bxa", "ultranest", "nautilus-sampler", "torch", "numpy")


# ------------------------------------------------------------------------------------------- one method, one process


def work(name: str, method: str, folder: Path, options: dict[str, Any]) -> None:
    """Load the problem, run one method on it, and leave draws and costs in `folder`."""
    import problems

    from xspec_sixsa.session.engine import load_engine

    xspec = load_engine(options["engine"])
    priors = problems.load(name, xspec)
    began = time.monotonic()
    if method in ("sixsa", "control"):
        posterior = run_sixsa(method, priors, xspec, folder, options)
    else:
        posterior = run_other(method, priors, xspec, folder, options)
    cost = {key: value for key, value in vars(posterior).items() if key not in ("samples", "weights")}
    cost["wall"] = time.monotonic() - began
    cost["peak_memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost["peak_memory_of_a_worker"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    np.savez(folder / f"{method}.npz", samples=posterior.samples, weights=posterior.weights)
    (folder / f"{method}.json").write_text(json.dumps(plain(cost)))


def run_sixsa(method: str, priors: Any, xspec: Any, folder: Path, options: dict[str, Any]) -> Posterior:
    import xspec_sixsa as sixsa

    asked = {"target_ess": options["ess"]}
    if method == "control":
        asked = {"target_ess": CONTROL * options["ess"], "exact": "control"}
    result = sixsa.fit(
        priors, seed=options["seed"], budget=options["budget"], workers=options["workers"],
        compressor=options["compressor"], xspec=xspec, progress=False, **asked,
    )  # fmt: skip
    result.save(folder / method)
    return Posterior.of(result, "xspec_sixsa" if method == "sixsa" else method)


def run_other(method: str, priors: Any, xspec: Any, folder: Path, options: dict[str, Any]) -> Posterior:
    from xspec_sixsa.compare.runners import RUNNERS
    from xspec_sixsa.priors import bind
    from xspec_sixsa.session import Session

    session = Session(xspec, workers=options["workers"] if method in ("nautilus", "least") else 1)
    given: dict[str, Any] = {"seed": options["seed"], "limit": options["limit"], "progress": False}
    if method == "mcmc":
        given["start"] = np.load(folder / "start.npy") if (folder / "start.npy").is_file() else present(session)
        given |= {"length": options["length"], "burn": options["length"] // 4}
    elif method == "vbmc":
        from surrogate import run_vbmc

        return run_vbmc(session, bind(priors, session), seed=options["seed"])
    elif method == "least":
        found = RUNNERS["nautilus"](session, bind(priors, session), **given, **LEAST)
        found.method = method
        return found
    elif options["live"] is not None:
        given["live"] = options["live"]
    return RUNNERS[method](session, bind(priors, session), **given)


def present(session: Any) -> np.ndarray:
    return np.array([parameter.values[0] for parameter in session.parameters])


# ------------------------------------------------------------------------------------------------------ all of them


def run_all(name: str, methods: tuple[str, ...], options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the methods in processes of their own; everything that the report needs."""
    runs: dict[str, dict[str, Any]] = {}
    posteriors: dict[str, Posterior] = {}
    for method in [m for m in METHODS if m in methods]:
        words = [sys.executable, __file__, name, "--worker", method, "--folder", str(folder)]
        words += [f"--{key}={value}" for key, value in options.items() if value is not None]
        (folder / f"{method}.json").unlink(missing_ok=True)  # of an earlier comparison in the same folder
        ended = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if not (folder / f"{method}.json").is_file():
            why = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            runs[method] = {"method": method, "failed": why[-1]}
            print(f"{TITLES[method]}: {why[-1]}", file=sys.stderr, flush=True)
            continue
        runs[method] = json.loads((folder / f"{method}.json").read_text())
        posteriors[method] = as_posterior(folder, method, runs[method])
        if method == "sixsa":
            np.save(folder / "start.npy", Result.load(folder / "sixsa").best_fit)
    report: dict[str, Any] = {"problem": name, "options": options, "machine": machine(), "runs": runs}
    if "sixsa" in posteriors:
        result = Result.load(folder / "sixsa")
        others = [posterior for method, posterior in posteriors.items() if method != "sixsa"]
        comparison = compare_posteriors(result, others)
        report["comparison"] = comparison.as_dict()
        report["text"] = str(comparison)
        comparison.save(folder / "sixsa")
        runs["sixsa"] |= {"k_hat": result.k_hat, "status": result.status, "reasons": result.reasons,
                          "evaluations_by_stage": result.evaluations, "seconds_by_stage": result.seconds}  # fmt: skip
        for method, posterior in posteriors.items():
            if not posterior.finished and method == "bxa":
                runs[method]["extrapolated"] = extrapolate(posterior, result)
        worst_of(runs, comparison)
    return report


def as_posterior(folder: Path, method: str, cost: dict[str, Any]) -> Posterior:
    keep = {key: number(value) for key, value in cost.items() if key in Posterior.__dataclass_fields__}
    with np.load(folder / f"{method}.npz") as arrays:
        return Posterior(**keep, samples=arrays["samples"], weights=arrays["weights"])


def number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def worst_of(runs: dict[str, dict[str, Any]], comparison: Comparison) -> None:
    """The largest divergence over its limit, method by method."""
    for entry in comparison.methods:
        if entry.parameters:
            worst = max(entry.parameters, key=lambda p: p.divergence.value / p.divergence.limit)
            runs[entry.other.method]["worst_divergence"] = {
                "name": worst.name, "value": worst.divergence.value, "limit": worst.divergence.limit,
            }  # fmt: skip
            runs[entry.other.method]["delta_log_z"] = entry.delta_log_z
            runs[entry.other.method]["delta_log_z_err"] = entry.delta_log_z_err


def extrapolate(stopped: Posterior, result: Result) -> dict[str, float]:
    """What a nested sampler that was stopped would have cost at least.

    Our draws tell how much prior volume X lies above each likelihood: X = Z E[1/L; L above]. Nested sampling shrinks it
    by exp(-1/live) an iteration, down to where the live points hold 1 % of the evidence. Evaluations an iteration are
    taken from what it did so far, and only grow; live points that UltraNest may add are left out. Effective samples
    (Kish's) are live/E[L X/Z], as L X/Z is the posterior's density in ln X.
    """
    keep = result.weights > 0
    order = np.argsort(-result.log_likelihood[keep])
    value, weight = result.log_likelihood[keep][order], result.weights[keep][order]
    above = np.logaddexp.accumulate(np.log(weight) - value) + result.log_z
    live = float(stopped.settings["live"])
    end = above[np.searchsorted(np.cumsum(weight), FRAC_REMAIN)]
    density = weight @ np.exp(value + above - result.log_z)
    iterations = max(-live * float(end), float(stopped.iterations))
    factor = iterations / max(stopped.iterations, 1)
    return {
        "iterations": iterations,
        "done": 1 / factor,
        "evaluations": float(stopped.evaluations or 0) * factor,
        "seconds": float(stopped.seconds or 0.0) * factor,
        "ess": live / float(density),
    }


def machine() -> dict[str, Any]:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def text_of(report: dict[str, Any]) -> str:
    """The table that is printed."""
    rows = [
        ("method", "evaluations", "ESS", "evals/ESS", "s in model", "s outside", "MiB", "log Z", "dlogZ", "worst JSD")
    ]
    for method, run in report["runs"].items():
        rows.append(row_of(method, run))
    lines = [f"{report['problem']} ({report['options']['engine']})", *table(rows)]
    for method, run in report["runs"].items():
        if "extrapolated" in run:
            e = run["extrapolated"]
            lines.append(
                f"{TITLES[method]} was stopped after {run['wall']:.0f} s, {100 * e['done']:.0f} % of its iterations: "
                f"at least {e['evaluations']:.0f} evaluations and {e['seconds']:.0f} s for {e['ess']:.0f} samples."
            )
    return "\n".join(lines)


def row_of(method: str, run: dict[str, Any]) -> tuple[str, ...]:
    if "failed" in run:
        return (TITLES[method], "failed", *[""] * 8)
    ess, worst = run["ess"], run.get("worst_divergence")
    log_z = "" if run["log_z"] is None else f"{run['log_z']:.3f} +- {run['log_z_err']:.3f}"
    delta = "" if run.get("delta_log_z") is None else f"{run['delta_log_z']:+.3f}"
    return (
        TITLES[method], str(run["evaluations"]), f"{ess:.0f}" if run["finished"] else "stopped",
        f"{run['evaluations'] / ess:.1f}" if ess else "", f"{run['seconds_model']:.1f}", f"{run['seconds_other']:.1f}",
        f"{run['peak_memory']:.0f}", log_z, delta, f"{worst['value']:.4f} ({worst['limit']:.4f})" if worst else "",
    )  # fmt: skip


@click.command(help=__doc__)
@click.argument("name")
@click.option("--methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@click.option("--engine", type=click.Choice(["embedded", "xspec"]), default="embedded")
@click.option("--seed", type=int, default=1)
@click.option("--ess", type=int, default=1000, help="Effective samples that this project is asked for.")
@click.option("--budget", type=int, default=None)
@click.option("--compressor", default=None)
@click.option("--workers", type=int, default=None, help="Processes on real XSPEC, of this project and nautilus.")
@click.option("--live", type=int, default=None, help="Live points; default: 400 of BXA, 1500 of nautilus.")
@click.option("--length", type=int, default=40_000, help="Rows of XSPEC's chain, after a quarter as many.")
@click.option("--limit", type=float, default=None, help="Seconds after which a nested sampler is stopped.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
@click.option("--worker", type=click.Choice(METHODS), default=None, hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Where draws and corner plots are kept.")
def main(
    name: str, methods: tuple[str, ...], path: Path | None, worker: str | None, folder: Path | None, **options: Any
) -> None:
    if worker is not None:
        try:
            work(name, worker, folder or Path(), options)
        except CompareError as error:
            raise SystemExit(str(error)) from error
        return
    with tempfile.TemporaryDirectory(prefix="sixsa-compare-") as scratch:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        report = run_all(name, methods, options, folder or Path(scratch))
    print(text_of(report))
    print()
    print(report.get("text", ""))
    if path is not None:
        path.write_text(json.dumps(plain(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
