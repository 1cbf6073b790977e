"""Fit problems through real XSPEC twice, from PyXspec and by a command script, and compare the two posteriors.

    python benchmarks/ways_in.py epic_pn epic_pn_wstat two_spectra two_modes [--seed 1] [--json ways.json]

Both get the same data, model, priors and seed: PyXspec's session is saved, and read by `xspec - script.xcm`, which
loads the Tcl package of this checkout. Exit code 1 if a pair is not the same posterior: other draws, and then more than
three sigma in the evidence or a Jensen-Shannon divergence above its limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.compare.divergence import jensen_shannon
from xspec_sixsa.priors import Prior
from xspec_sixsa.result import Result
from xspec_sixsa.session import Session

sys.path.insert(0, str(Path(__file__).parent))
import problems

QUICK = {"target_ess": 50, "budget": 1000, "compressor": "none"}
TCL = Path(__file__).resolve().parents[1] / "tcl"


def from_python(xspec: Any, priors: list[Prior], folder: Path, options: dict[str, Any]) -> tuple[Result, float]:
    """Result and wall-clock seconds in this process."""
    began = time.monotonic()
    result = sixsa.fit(priors, xspec=xspec, output=folder / "pyxspec", progress=False, **options)
    return result, time.monotonic() - began


def command_script(xspec: Any, priors: list[Prior], folder: Path, options: dict[str, Any]) -> Path:
    """Save the session in `folder`, with a script that fits it with the same priors and options."""
    session = Session(xspec, workers=1)
    lines = ["package require sixsa", "@session.xcm"]
    for prior in priors:
        number = session.find(prior.parameter).chain_name.rsplit("__", 1)[1]
        low, high = prior.numbers["low"], prior.numbers["high"]
        lines.append(f"sixsa prior {number} {prior.kind} {low!r} {high!r}")
    run = " ".join(["sixsa run tcl", *(f"-{key.removeprefix('target_')} {value}" for key, value in options.items())])
    lines.append(f"if {{[catch {{{run}}} message]}} {{puts $message}}")  # a script's errors are not shown by XSPEC
    with working_directory(folder):  # the names of data are saved as seen from where one stands
        xspec.Xset.save("session.xcm", "a")
    script = folder / "script.xcm"
    script.write_text("\n".join([*lines, "exit", ""]))
    return script


def from_script(script: Path) -> tuple[Result, float]:
    """Result and wall-clock seconds of the program `xspec`, its start included."""
    began = time.monotonic()
    ended = subprocess.run(
        ["xspec", "-", str(script)], cwd=script.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"TCLLIBPATH": str(TCL), "SIXSA_PYTHON": sys.executable},
    )  # fmt: skip
    seconds = time.monotonic() - began
    text = ended.stdout.decode("utf-8", "replace")
    (script.parent / "xspec.log").write_text(text)
    if "Saved in" not in text:
        raise SystemExit(f"{script}: xspec gave no result. It said:\n{text[-3000:]}")
    return Result.load(script.parent / "tcl"), seconds


def numbers(result: Result, wall: float) -> dict[str, Any]:
    """What a run cost and gave."""
    return {
        "status": result.status,
        "reasons": result.reasons,
        "evaluations": sum(result.evaluations.values()),
        "stages": result.evaluations,
        "draws": len(result.samples),
        "ess": result.ess,
        "k_hat": result.k_hat,
        "log_z": result.log_z,
        "log_z_err": result.log_z_err,
        "best_statistic": result.best_statistic,
        "median": dict(zip(result.names, result.quantile(0.5).tolist(), strict=True)),
        "seconds": result.seconds,
        "wall": wall,
    }


def compare(one: Result, other: Result) -> dict[str, Any]:
    """Whether two results are draw by draw the same, and else how far apart."""
    same_names = one.names == other.names
    shapes = one.samples.shape == other.samples.shape
    identical = (
        same_names
        and shapes
        and np.array_equal(one.samples, other.samples)
        and np.array_equal(one.log_weights, other.log_weights)
    )
    found: dict[str, Any] = {"identical": identical, "same": identical}
    if shapes:
        with np.errstate(invalid="ignore"):  # -inf of draws outside the prior, in both
            found["largest_difference_of_samples"] = float(np.abs(one.samples - other.samples).max())
            found["largest_difference_of_log_weights"] = float(np.nanmax(np.abs(one.log_weights - other.log_weights)))
    if same_names and not identical:
        divergences = {
            name: jensen_shannon(one.samples[:, i], other.samples[:, i], one.weights, other.weights)
            for i, name in enumerate(one.names)
        }
        found["divergence"] = {name: [d.value, d.limit] for name, d in divergences.items()}
        found["pull"] = (one.log_z - other.log_z) / float(np.hypot(one.log_z_err, other.log_z_err))
        found["same"] = abs(found["pull"]) < 3 and all(d.indistinguishable for d in divergences.values())
    return found


def verdict(found: dict[str, Any]) -> str:
    if found["identical"]:
        return "the same draws and weights"
    if "divergence" not in found:
        return "OTHER PARAMETERS"
    worst, (value, limit) = max(found["divergence"].items(), key=lambda item: item[1][0] / item[1][1])
    return (f"{'the same posterior' if found['same'] else 'ANOTHER POSTERIOR'}, other draws: log Z pull "
            f"{found['pull']:+.2f}, worst JSD {worst} {value:.4f} (limit {limit:.4f})")  # fmt: skip


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True)
@click.option("--seed", type=int, default=1)
@click.option("--workers", type=int, default=None, help="Processes that evaluate; default: all cores.")
@click.option("--quick", is_flag=True, help="Few draws, most likely no reliable ones: are they the same?")
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Keep results and scripts here.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
def main(
    names: tuple[str, ...], seed: int, workers: int | None, quick: bool, folder: Path | None, path: Path | None
) -> None:
    import xspec

    options = {"seed": seed} | ({"workers": workers} if workers else {}) | (QUICK if quick else {})
    base = Path(tempfile.mkdtemp(prefix="sixsa-ways-")) if folder is None else folder.absolute()
    report: dict[str, Any] = {}
    print(
        f"{'problem':14} {'way':8} {'status':10} {'evaluations':>11} {'ESS':>6} {'log Z':>9} {'+-':>6} {'seconds':>8}"
    )
    for name in names:
        here = base / name
        here.mkdir(parents=True, exist_ok=True)
        xspec.AllChains.clear()
        priors = problems.load(name, xspec, here)
        script = command_script(xspec, priors, here, options)
        runs = {"PyXspec": from_python(xspec, priors, here, options), "Tcl": from_script(script)}
        report[name] = {way: numbers(result, wall) for way, (result, wall) in runs.items()}
        for way, row in report[name].items():
            print(f"{name:14} {way:8} {row['status']:10} {row['evaluations']:11d} {row['ess']:6.0f} "
                  f"{row['log_z']:9.4f} {row['log_z_err']:6.4f} {row['wall']:8.1f}", flush=True)  # fmt: skip
        found = compare(runs["PyXspec"][0], runs["Tcl"][0])
        report[name]["comparison"] = found
        print(f"{name:14} {verdict(found)}", flush=True)
        if path is not None:
            path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"results, scripts and XSPEC's output: {base}")
    sys.exit(0 if all(entry["comparison"]["same"] for entry in report.values()) else 1)


if __name__ == "__main__":
    main()
