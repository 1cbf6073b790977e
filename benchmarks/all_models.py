"""Every model of XSPEC's compiled library: does it run, is it refused by name, or does it fail?

    python benchmarks/all_models.py [--sets 20]

Each is evaluated at its defaults and at random parameter sets: free parameters up to a factor of three from their
defaults, uniform in the logarithm (where the default is 0: between -1 and 1), within their soft limits; frozen ones
and switches at their defaults. Two grids: 0.1-50 keV in 1,000 logarithmic bins, and 0.2-12 keV in 2,067 equal ones.
Convolutions work on a power law of index 1.7. A model that gives anything not finite, or zeros only, is listed.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch

from xspec_sixsa.embedded.componenttype import ParameterInfo
from xspec_sixsa.embedded.library.catalogue import ModelLibrary, library
from xspec_sixsa.embedded.library.modeldat import Definition
from xspec_sixsa.embedded.state import EngineSession, XspecError

GRIDS = (np.geomspace(0.1, 50.0, 1001), np.linspace(0.2, 12.0, 2068))


FACTOR = 3.0


@dataclass
class Outcome:
    """What became of one model."""

    name: str
    what: str  # run, refused, failed
    why: str = ""
    zeros: int = 0  # evaluations that gave zeros only
    failed: int = 0
    seconds: float = 0.0  # per evaluation


def draw(parameter: ParameterInfo, rng: np.random.Generator) -> float:
    """One value of a parameter."""
    low, high = parameter.soft_min, parameter.soft_max
    if parameter.kind != "variable" or parameter.delta <= 0.0 or low >= high:
        return parameter.value
    value = parameter.value * FACTOR ** rng.uniform(-1.0, 1.0) if parameter.value else rng.uniform(-1.0, 1.0)
    return float(np.clip(value, low, high))


def examine(models: ModelLibrary, definition: Definition, sets: int, seed: int) -> Outcome:
    """Evaluate one model at its defaults and at `sets` random parameter sets, on both grids."""
    rng = np.random.default_rng([seed, *definition.name.encode()])
    rows = [[p.value for p in definition.parameters]]
    rows += [[draw(p, rng) for p in definition.parameters] for _ in range(sets)]
    parameters = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), -1)
    outcome = Outcome(definition.name, "run")
    try:
        component = models.component(definition.name)
        for grid in GRIDS:
            edges = torch.from_numpy(grid)
            given = [torch.from_numpy((np.diff(grid) * grid[1:] ** -1.7)[None])] if definition.kind == "con" else []
            began = time.perf_counter()
            spectra = component.function(edges, parameters, EngineSession(), *given)
            outcome.seconds += (time.perf_counter() - began) / len(rows) / len(GRIDS)
            finite = torch.isfinite(spectra).all(dim=1)
            outcome.failed += int((~finite).sum())
            outcome.zeros += int((finite & (spectra == 0.0).all(dim=1)).sum())
    except XspecError as error:
        return Outcome(definition.name, "refused", str(error).split(": without")[0].split(", which the embedded")[0])
    if outcome.failed:
        outcome.what = "failed"
    return outcome


def main() -> None:
    """Print the count, and the models that are not simply run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20, help="random parameter sets for each model (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    models = library()
    if models is None:
        raise SystemExit("The library is not installed: pip install xspectrampoline")
    reasons: dict[str, Counter[str]] = {}

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            name, _, _, reason = record.args  # type: ignore[misc]
            reasons.setdefault(str(name), Counter())[str(reason)[:160]] += 1

    log = logging.getLogger("xspec_sixsa.embedded.library")
    log.addHandler(Note())
    log.propagate = False
    outcomes = [examine(models, definition, options.sets, options.seed) for definition in models.definitions.values()]
    n = len(GRIDS) * (options.sets + 1)
    print(f"{models.version}, {len(outcomes)} models, {n} evaluations each, data in {models.data_folder}")
    for kind in ("add", "mul", "con", "acn", "mix"):
        of_kind = [outcome for outcome in outcomes if models.definitions[outcome.name].kind == kind]
        counts = Counter(outcome.what for outcome in of_kind)
        print(f"  {kind}: " + ", ".join(f"{counts[what]} {what}" for what in ("run", "refused", "failed")))
    for outcome in outcomes:
        if outcome.what == "failed":
            print(f"failed: {outcome.name}, {outcome.failed} of {n}: {dict(reasons.get(outcome.name, {}))}")
        if outcome.zeros:
            print(f"zeros only: {outcome.name}, {outcome.zeros} of {n}")
    print("refused:")
    for why, count in Counter(
        outcome.why.partition(" ")[2].partition(" ")[2] for outcome in outcomes if outcome.why
    ).items():
        names = [o.name for o in outcomes if o.why and o.why.partition(" ")[2].partition(" ")[2] == why]
        print(f"  {count}: {why.replace(str(models.data_folder), 'the data folder')}: {' '.join(names)}")
    slow = sorted((outcome for outcome in outcomes if outcome.what == "run"), key=lambda o: -o.seconds)[:8]
    print("slowest, ms: " + ", ".join(f"{outcome.name} {1e3 * outcome.seconds:.1f}" for outcome in slow))


if __name__ == "__main__":
    main()
