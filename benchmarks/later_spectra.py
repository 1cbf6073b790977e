"""What a later spectrum costs with and without what an earlier run has left; embedded engine, `epic_pn`.

    python benchmarks/later_spectra.py OUTPUT [--exact draws] [--only hotter] [--estimator variational] [--start]

The later spectra are faked through the same response, in the same groups. With --estimator it says how effective the
network's draws of the emulated posterior are, too, and with --start what `sixsa start` costs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import problems

import xspec_sixsa as sixsa
from xspec_sixsa import embedded as xspec
from xspec_sixsa.infer.settings import ESTIMATORS

LATER = {
    "same exposure": ([0.15, 0.6, 0.25, 1.8, 4e-4], None),
    "others": ([0.15, 0.6, 0.25, 1.8, 4e-4], 1e4),
    "faint": ([0.096, 0.744, 0.1956, 2.03, 2.618e-4], 200.0),
    "hotter": ([0.3, 1.2, 0.05, 2.6, 8e-4], 4e4),
}
"""Parameters that spectra are faked at, and exposures (None: the first spectrum's)."""


def fake(name: str, folder: Path) -> list[sixsa.Prior]:
    """Load a later spectrum, and its priors."""
    truth, exposure = LATER[name]
    problem = problems.definition("epic_pn_faint")
    problem["fake"] = {"truth": truth, "exposure": exposure or problems.template(problem).exposure, "fake_seed": 5}
    folder.mkdir(parents=True, exist_ok=True)
    files = problems.fake("epic_pn_faint", problem, xspec, folder)
    return problems.set_up("epic_pn_faint", problem, xspec, files)


def show(label: str, priors: list[sixsa.Prior], **options: Any) -> None:
    """Fit, and print what it took."""
    began = time.process_time()
    result = sixsa.fit(priors, **options)
    seconds = time.process_time() - began
    stages = {stage: result.evaluations.get(stage, 0) for stage in ("curves", "search", "final", "polish")}
    text = "  ".join(f"{stage} {n}" for stage, n in stages.items())
    total = sum(result.evaluations.values())
    print(f"{label:<24} {total:5d}  {text}  log Z {result.log_z:.3f}  {result.status}  {seconds:.0f} CPU s", flush=True)
    for record in result.rounds:
        if "emulated_efficiency" in record:
            effective = 100 * record["emulated_efficiency"]
            print(
                f"{'':<24} {record['estimator']} {record.get('network', 'trained here')}: {effective:.1f} % effective"
            )


def show_start(label: str, found: sixsa.Start) -> None:
    stages = {stage: found.evaluations.get(stage, 0) for stage in ("round 1", "curves")}
    statistic = ", ".join(f"{value:.2f}" for value in found.statistic)
    print(f"{label:<24} {'  '.join(f'{stage} {n}' for stage, n in stages.items())}  statistic {statistic}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--exact", default="draws", choices=("draws", "control"))
    parser.add_argument("--only", action="append", choices=tuple(LATER))
    parser.add_argument("--estimator", choices=ESTIMATORS)
    parser.add_argument("--start", action="store_true")
    arguments = parser.parse_args()
    output = arguments.output.absolute()
    xspec.Xset.chatter = 0
    common = {"seed": 1, "progress": False, "xspec": xspec}
    options = common | {"exact": arguments.exact, "estimator": arguments.estimator}
    show("first", problems.load("epic_pn", xspec, output), output=output / "first", **options)
    for name in arguments.only or LATER:
        priors = fake(name, output / "faked" / name)
        counts = float(sixsa.Session(xspec).observation.counts.sum())
        show(f"{name} ({counts:.0f} counts)", priors, **options)
        priors = fake(name, output / "faked" / name)
        show("  with --network", priors, network=output / "first", **options)
        if arguments.start:
            for label, given in (("  start", {}), ("  start with --network", {"network": output / "first"})):
                show_start(label, sixsa.start(fake(name, output / "faked" / name), **given, **common))


if __name__ == "__main__":
    main()
