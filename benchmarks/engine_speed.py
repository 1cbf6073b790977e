"""Spectra per second of the embedded engine, model evaluation, folding and statistic included.

    python benchmarks/engine_speed.py [--models]

EPIC-pn (104 bins, 2,067 energies) and the 12,000-channel microcalorimeter of ../shared/data, best of three; the issue's
goals are 2,000 and 150 a second on 2 otherwise idle cores. With --models: ten common models through the demo's
EPIC-pn-like response, by our own code (and compiled models for what it lacks), by XSPEC's compiled models alone, and by
a real XSPEC where HEADAS is set, the latter two from as many processes as there are cores.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import problems

import xspec_sixsa.embedded as xspec
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.embedded.components import REGISTRY
from xspec_sixsa.embedded.library.catalogue import library
from xspec_sixsa.interfaces.demo import make_demo_data
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session


def spectra_per_second(theta: np.ndarray) -> float:
    """Best of three for one batch of parameter sets."""
    xspec.evaluate_batch(theta[:4])
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        xspec.evaluate_batch(theta)
        seconds.append(time.perf_counter() - began)
    return len(theta) / min(seconds)


def epic_pn(n: int = 4000) -> float:
    """`epic_pn` at draws from its prior."""
    priors = problems.load("epic_pn", xspec)
    prior = bind(priors, Session(xspec))
    return spectra_per_second(prior.transform(np.random.default_rng(0).random((n, 5))))


def microcalorimeter(n: int = 400) -> float:
    """TBabs*(compTT+powerlaw) through all noticed channels of the LXM response, ungrouped."""
    problem = problems.definition("high_resolution")
    xspec.AllData.clear()
    xspec.Model(problem["model"])
    data = problems.SHARED / "data"
    settings = xspec.FakeitSettings(
        str(data / problem["response"]), str(data / problem["arf"]), exposure=300.0, fileName="lxm.pha"
    )
    xspec.AllData.fakeit(1, settings)
    xspec.Fit.statMethod = "cstat"
    for part in problem["ignore"].split():
        xspec.AllData.ignore(part)
    u = np.random.default_rng(0).random((n, len(problem["priors"])))
    ranges = [entry[1:] for entry in problem["priors"].values()]
    return spectra_per_second(np.column_stack([low + u[:, i] * (high - low) for i, (low, high) in enumerate(ranges)]))


MODELS = (
    "powerlaw", "bbodyrad", "diskbb", "cutoffpl", "compTT", "TBabs*powerlaw", "nthComp", "pexrav", "pexmon",
    "TBabs*cflux*powerlaw",
)  # fmt: skip


def model_rate(module: ModuleType, expression: str, n: int) -> float:
    """Spectra per second of one model, its free parameters within 10 per cent of their defaults; best of three."""
    module.Model(expression)
    if "cflux" in expression:
        module.AllModels(1).powerlaw.norm.frozen = True
    session = Session(module)
    defaults = np.array([parameter.values[0] for parameter in session.parameters])
    theta = defaults * (1.0 + 0.1 * np.random.default_rng(0).uniform(-1.0, 1.0, (n, len(defaults))))
    seconds = []
    with session:
        session.evaluate(theta[:8], "speed")
        for _ in range(3):
            began = time.perf_counter()
            session.evaluate(theta, "speed")
            seconds.append(time.perf_counter() - began)
    return n / min(seconds)


@contextlib.contextmanager
def without_our_own() -> Iterator[None]:
    """Let the compiled library serve every model that it has."""
    kept = dict(REGISTRY)
    REGISTRY.clear()
    yield
    REGISTRY.update(kept)


def models(n: int) -> None:
    """Print the rates of ten common models by everything that there is here."""
    real = importlib.import_module("xspec") if os.environ.get("HEADAS") else None
    with tempfile.TemporaryDirectory() as folder, working_directory(folder):
        make_demo_data(Path(folder))
        for module in filter(None, (xspec, real)):
            module.Xset.chatter = 0
            module.AllData("demo_pn.pha")
            module.AllData(1).ignore("**-0.5 10.0-**")
            module.Fit.statMethod = "cstat"
        print(f"{'':22}{'own':>9}{'compiled':>10}{'XSPEC':>9}   spectra/s")
        for expression in MODELS:
            words = set(expression.lower().split("*"))
            ours = bool(words & {name.lower() for name in REGISTRY})
            rates = [model_rate(xspec, expression, n) if ours else None]
            with without_our_own():
                rates.append(model_rate(xspec, expression, n) if library() else None)
            rates.append(model_rate(real, expression, n) if real else None)
            print(f"{expression:22}" + "".join(f"{rate:9.0f} " if rate else f"{'-':>9} " for rate in rates))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", action="store_true", help="ten common models instead of the two problems")
    parser.add_argument("-n", type=int, default=400, help="parameter sets for each model (default 400)")
    options = parser.parse_args()
    if options.models:
        models(options.n)
        raise SystemExit
    print(f"EPIC-pn, 104 bins:                 {epic_pn():8.0f} spectra/s")
    with tempfile.TemporaryDirectory() as folder, working_directory(folder):
        print(f"microcalorimeter, 12,000 channels: {microcalorimeter():8.0f} spectra/s")
