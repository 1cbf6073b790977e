"""Write docs/benchmarks.md from what check.py (--seeds), compare.py, busy.py and scaling.py measured.

python benchmarks/report.py epic_pn.json --seeds check.json --busy busy.json --scaling scaling.json [--output FILE]
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import tomllib

sys.path.insert(0, str(Path(__file__).parent))
from busy import ratio_of
from compare import TITLES

HEAD = """# Benchmarks

Written by `benchmarks/report.py` from the JSON of `benchmarks/check.py`, `benchmarks/compare.py`,
`benchmarks/busy.py` and `benchmarks/scaling.py`; the problems are those of `shared/problems.toml`. An evaluation is one
parameter set through all loaded spectra, whatever for; all are counted.
"""
QUIET = 2.5
NETWORKS = Path(__file__).parent / "networks.md"  # what networks.py and bases.py gave, in words
EARLIER = Path(__file__).parent / "earlier.md"  # what was measured once, and is not measured again with every change
GOALS = tomllib.loads((Path(__file__).parent / "goals.toml").read_text())
METHODS = """## Beside other methods

Every method ran once, in a process of its own, one after the other, on the same data, model, statistic and priors.

- ESS: effective samples (of the weights; a nested sampler's own count; a chain's rows over its autocorrelation time).
- per 1,000: evaluations for 1,000 effective samples, in proportion.
- in model, outside: seconds of wall-clock; peak memory: MiB of the main process.
- JSD: the parameter whose Jensen-Shannon divergence from ours is largest in units of its limit, below which sampling
  alone explains it; dlogZ: evidence minus ours.
"""


def seeds_table(reports: list[dict[str, Any]]) -> str:
    """What several seeds of ours cost, by problem, and what falls short of `GOALS`."""
    lines = [
        "## Several seeds",
        "",
        "Effective samples are those of the exact weights, or, where emulated draws are corrected "
        '(`exact="control"`), what their own error and that of their correction leave of them. '
        "Seconds outside the model: the best of the runs "
        "that began on a quiet machine (load below 2.5; ours makes up to 2). dlogZ: the seed whose evidence "
        "is farthest from nautilus's, on the same session. After a slash: the goal (`benchmarks/goals.toml`).",
        "",
        "| problem | engine | seeds | verdicts | evaluations: median (worst) | ESS | log Z by seed | nautilus log Z | "
        "its evaluations | dlogZ | outside, best s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for report in reports:
        for name, entry in report.items():
            runs, nested = entry["runs"], entry.get("nautilus")
            wanted, corrected = entry.get("target_ess", 1000), entry.get("exact") == "control"
            goal = GOALS.get(name, {}).get(f"{wanted}{' control' if corrected else ''}", {})
            label = f"{name}, corrected" if corrected else name
            found = measured(entry)
            cells = [
                label,
                "XSPEC" if entry["engine"] == "xspec" else "embedded",
                str(len(runs)),
                f"{found['reliable']} of {len(runs)} reliable",
                cell(found, goal, "evaluations", lambda pair: f"{pair[0]:,} ({pair[1]:,})"),
                *many_seeds(runs),
                f"{nested['log_z']:.3f} +- {nested['log_z_err']:.3f}" if nested else "",
                f"{nested['evaluations']:,.0f}" if nested else "",
                cell(found, goal, "evidence", "{:+.3f}".format),
                cell(found, goal, "outside", "{:.0f}".format),
            ]
            lines.append("| " + " | ".join(cells) + " |")
            if entry["engine"] != "xspec":  # goals are XSPEC's: what the engine has not measured is no shortfall
                goal = {key: limit for key, limit in goal.items() if key in found}
            notes += [f"- {label}, {cells[1]}: {text}" for text in shortfalls(found, goal, len(runs))]
            if "share" in found:
                ours, theirs = found["shares"], f"{nested['share']:.3f}"
                notes.append(f"- {label}, {cells[1]}: one mode's share is {ours}; nautilus's is {theirs}.")
    return "\n".join([*lines, "", *notes])


def measured(entry: dict[str, Any]) -> dict[str, Any]:
    """What `GOALS` speak of, as far as a report of check.py tells it."""
    runs, nested = entry["runs"], entry.get("nautilus")
    totals = sorted(run["total"] for run in runs)
    found: dict[str, Any] = {
        "reliable": sum(run["status"] == "reliable" for run in runs),
        "evaluations": (round(np.median(totals)), totals[-1]),
    }
    quiet = [run["outside"] for run in runs if run.get("load", QUIET) < QUIET]
    if quiet:
        found["outside"] = min(quiet)
    if nested:
        found["evidence"] = max((run["log_z"] - nested["log_z"] for run in runs), key=abs)
        if nested.get("share") is not None:
            found["share"] = max((run["share"] - nested["share"] for run in runs), key=abs)
            found["shares"] = ", ".join(f"{run['share']:.3f}" for run in runs)
    return found


def cell(found: dict[str, Any], goal: dict[str, Any], key: str, form: Callable[[Any], str]) -> str:
    """What was measured, and its goal: empty where nothing was."""
    if key not in found:
        return ""
    return form(found[key]) + (f" / {form(goal[key]).lstrip('+')}" if key in goal else "")


def shortfalls(found: dict[str, Any], goal: dict[str, Any], seeds: int) -> list[str]:
    """Where a problem misses its goals, or has not been measured against them."""
    short = []
    if found["reliable"] < seeds:
        short.append(f"{seeds - found['reliable']} of {seeds} runs are unreliable.")
    for key, limit in goal.items():
        if key not in found:
            short.append(f"{key} was not measured beside its goal of {limit}.")
        elif key == "evaluations":
            if any(spent > most for spent, most in zip(found[key], limit, strict=True)):
                short.append(f"MISSES its goal in evaluations, {limit[0]:,} ({limit[1]:,}).")
        elif abs(found[key]) > limit:
            short.append(f"MISSES its goal in {key}, {limit}: {found[key]:.3g}.")
    return short


def many_seeds(runs: list[dict[str, Any]]) -> tuple[str, str]:
    """ESS and evidences, seed by seed; of more than five, their range, mean and scatter."""
    ess, log_z, error = (np.array([run[key] for run in runs]) for key in ("ess", "log_z", "log_z_err"))
    if len(runs) <= 5:
        return (
            " ".join(f"{value:.0f}" for value in ess),
            ", ".join(f"{z:.3f} +- {e:.3f}" for z, e in zip(log_z, error, strict=True)),
        )
    return (
        f"{ess.min():.0f}-{ess.max():.0f}",
        f"mean {log_z.mean():.4f}, scatter {log_z.std(ddof=1):.4f} where errors say {error.mean():.4f}",
    )


def problem(report: dict[str, Any]) -> str:
    """One problem's section."""
    runs, options, machine = report["runs"], report["options"], report["machine"]
    engine = "real XSPEC" if options["engine"] == "xspec" else "the embedded engine"
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"## {report['problem']}",
        "",
        f"On {engine}, {machine['cores']} cores ({machine['processor']}, load {machine['load']:.1f} at the end), "
        f"seed {options['seed']}. {versions}.",
        "",
        "| method | evaluations | ESS | per 1,000 | in model | outside | peak memory | log Z | dlogZ | JSD (limit) |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(row(method, run) for method, run in runs.items()),
        "",
    ]
    ours = runs.get("sixsa", {})
    if ours.get("status") == "unreliable":
        lines += [f"xspec_sixsa's verdict on itself: unreliable ({'; '.join(ours['reasons'])}).", ""]
    for method, run in runs.items():
        if "failed" in run:
            lines += [f"{TITLES[method]}: {run['failed']}", ""]
        if "extrapolated" in run:
            e = run["extrapolated"]
            lines += [
                f"{TITLES[method]} was stopped after {run['wall']:.0f} s, with {100 * e['done']:.0f} % of the "
                f"iterations that the posterior's information asks for. Extrapolated, at least: "
                f"{e['evaluations']:,.0f} evaluations and {e['seconds']:,.0f} s, for about {e['ess']:.0f} effective "
                "samples.",
                "",
            ]
    gains = [gain(method, run, ours) for method, run in runs.items() if method != "sixsa"]
    lines += [text for text in gains if text]
    for entry in report.get("comparison", {}).get("methods", []):
        if entry["finished"]:
            words = " ".join(entry["why"])
            lines.append(f"- {TITLES[entry['method']]}: {entry['agreement']}" + (f"; {words}" if words else "."))
    return "\n".join(lines)


def row(method: str, run: dict[str, Any]) -> str:
    if "failed" in run:
        return f"| {TITLES[method]} | not run | | | | | | | | |"
    worst, ess = run.get("worst_divergence"), run["ess"]
    cells = [
        TITLES[method],
        f"{run['evaluations']:,}",
        f"{ess:,.0f}" if run["finished"] else "stopped",
        f"{1000 * run['evaluations'] / ess:,.0f}" if ess else "",
        f"{run['seconds_model']:.1f}",
        f"{run['seconds_other']:.1f}",
        f"{run['peak_memory']:.0f}",
        "" if run["log_z"] is None else f"{run['log_z']:.3f} +- {run['log_z_err']:.3f}",
        "" if run.get("delta_log_z") is None else f"{run['delta_log_z']:+.3f} +- {run['delta_log_z_err']:.3f}",
        f"{worst['name']} {worst['value']:.4f} ({worst['limit']:.4f})" if worst else "",
    ]
    return "| " + " | ".join(cells) + " |"


def gain(method: str, run: dict[str, Any], ours: dict[str, Any]) -> str:
    """How many times more evaluations and seconds an effective sample costs."""
    other = run.get("extrapolated", run)
    if "failed" in run or not ours.get("ess") or not other.get("ess"):
        return ""
    seconds = other.get("seconds", (run.get("seconds_model") or 0) + (run.get("seconds_other") or 0))
    own = (ours["seconds_model"] + ours["seconds_other"]) / ours["ess"]
    evaluations = other["evaluations"] / other["ess"] / (ours["evaluations"] / ours["ess"])
    return (
        f"- {TITLES[method]}, for an effective sample: {evaluations:.2g} times our evaluations, "
        f"{seconds / other['ess'] / own:.2g} times our wall-clock."
    )


def scaling(report: dict[str, Any], picture: str | None) -> str:
    """The scaling section: a table, and the curves."""
    base = report["base"]
    lines = [
        "## Scaling",
        "",
        f"xspec_sixsa on the embedded engine, {report['options']['target_ess']} effective samples wanted, one axis at "
        f"a time about {base['counts']:,} counts, {base['channels']} channels, {base['parameters']} parameters.",
        "",
        *(
            [f"![Evaluations and seconds outside the model]({picture}). Open circles: unreliable.", ""]
            if picture
            else []
        ),
        "| axis | value | evaluations | ESS | in model | outside | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in report["points"]:
        lines.append(
            f"| {p['axis']} | {p['value']:g} | {p['evaluations']:,} | {p['ess']:,.0f} | {p['seconds_model']:.1f} | "
            f"{p['seconds_other']:.1f} | {p['status']} |"
        )
    return "\n".join(lines)


def busy(reports: list[dict[str, Any]]) -> str:
    """What a fit costs beside other work."""
    first = reports[0]
    lines = [
        "## Busy machines",
        "",
        f"`python benchmarks/busy.py {first['problem']}`: a fit with default settings, loading included, "
        f"{first['cores']} cores, the best of several in turns. Busy: beside one process for each core that does "
        "nothing else than keep it busy. Where threads waited spinning, CPU seconds would grow with the seconds.",
        "",
        "| engine | situation | seconds | times as long | CPU seconds | waited | put aside | evaluations |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        for situation, run in report["best"].items():
            ratio, than = ratio_of(report["best"], situation)
            lines.append(
                f"| {'XSPEC' if run['engine'] == 'XSPEC' else 'embedded'} | {situation} | {run['seconds']:.1f} | "
                f"{f'{ratio:.2f} x {than}' if than else ''} | {run['cpu']:.1f} | {run['waits']:,} | "
                f"{run['preempted']:,} | {run['evaluations']:,} |"
            )
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("reports", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--seeds", "seed_paths", multiple=True, type=click.Path(exists=True, path_type=Path), help="check.py's.")
@click.option("--busy", "busy_paths", multiple=True, type=click.Path(exists=True, path_type=Path), help="busy.py's.")
@click.option("--scaling", "scaling_path", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--picture", type=click.Path(exists=True, path_type=Path), default=None, help="scaling.py's curves.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md",
)
def main(
    reports: tuple[Path, ...],
    seed_paths: tuple[Path, ...],
    busy_paths: tuple[Path, ...],
    scaling_path: Path | None,
    picture: Path | None,
    output: Path,
) -> None:
    parts = [HEAD]
    if seed_paths:
        parts.append(seeds_table([json.loads(path.read_text()) for path in seed_paths]) + "\n")
    if reports:
        parts += [METHODS, *(problem(json.loads(path.read_text())) + "\n" for path in reports), EARLIER.read_text()]
    if busy_paths:
        parts.append(busy([json.loads(path.read_text()) for path in busy_paths]) + "\n")
    if scaling_path is not None:
        if picture is not None and picture.resolve().parent != output.resolve().parent:
            shutil.copy(picture, output.parent / picture.name)
        parts.append(scaling(json.loads(scaling_path.read_text()), picture.name if picture else None) + "\n")
    parts.append(NETWORKS.read_text())
    output.write_text("\n".join(parts))
    print(output)


if __name__ == "__main__":
    main()
