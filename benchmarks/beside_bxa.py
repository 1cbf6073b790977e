"""One problem by `bxa.xspec` and by xspec_sixsa, one after the other on real XSPEC: what each costs.

    python benchmarks/beside_bxa.py epic_pn [--live 400] [--limit 300] [--workers 1 --workers 2] [--json beside.json]

BXA evaluates in one process; ours is run once per --workers. A BXA run that is over its limit is given up and said so.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click
import numpy as np

import xspec_sixsa as sixsa
from xspec_sixsa.compare.divergence import jensen_shannon
from xspec_sixsa.priors import Prior

sys.path.insert(0, str(Path(__file__).parent))
import problems  # noqa: E402


def by_bxa(xspec: Any, priors: list[Prior], live: int, limit: float, seed: int) -> dict[str, Any]:
    """Evaluations, effective samples, evidence and seconds of a BXA run; `finished` False when it took too long."""
    import bxa.xspec as bxa

    makers = {"uniform": bxa.create_uniform_prior_for, "loguniform": bxa.create_loguniform_prior_for}
    transformations = []
    for prior in priors:
        model, index = prior.parameter
        parameter = model(index)
        low, high = prior.numbers["low"], prior.numbers["high"]
        value, delta, *_ = parameter.values
        parameter.values = [value, delta, low, low, high, high]  # BXA's priors reach from limit to limit
        transformations.append(makers[prior.kind](model, parameter))

    def too_long(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError

    np.random.seed(seed)  # UltraNest draws from numpy's global generator
    logging.getLogger("ultranest").setLevel(logging.WARNING)
    before = signal.signal(signal.SIGALRM, too_long)
    began = time.monotonic()
    found: dict[str, Any] = {"method": f"BXA, {live} live points", "finished": False}
    try:
        with tempfile.TemporaryDirectory(prefix="sixsa-bxa-") as folder, contextlib.redirect_stdout(io.StringIO()):
            solver = bxa.BXASolver(transformations=transformations, outputfiles_basename=f"{folder}/bxa")
            signal.setitimer(signal.ITIMER_REAL, limit)
            results = solver.run(n_live_points=live)
            signal.setitimer(signal.ITIMER_REAL, 0)
            draws = results["weighted_samples"]
            points = np.array([[t["aftertransform"](v) for t, v in zip(transformations, row, strict=True)]
                               for row in np.asarray(draws["points"])])  # fmt: skip
            found |= {
                "finished": True, "evaluations": int(results["ncall"]), "ess": float(results["ess"]),
                "log_z": float(results["logz"]), "log_z_err": float(results["logzerr"]),
                "points": points, "weights": np.asarray(draws["weights"]),
            }  # fmt: skip
    except TimeoutError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return found | {"seconds": time.monotonic() - began}


def by_sixsa(xspec: Any, priors: list[Prior], workers: int, seed: int) -> tuple[dict[str, Any], Any]:
    """The same of ours, and the result."""
    began = time.monotonic()
    result = sixsa.fit(priors, seed=seed, workers=workers, xspec=xspec, progress=False)
    return {
        "method": f"xspec_sixsa, {workers} worker{'s' if workers > 1 else ''}",
        "finished": True,
        "evaluations": sum(result.evaluations.values()),
        "ess": result.ess,
        "log_z": result.log_z,
        "log_z_err": result.log_z_err,
        "seconds": time.monotonic() - began,
        "status": result.status,
        "parts": result.seconds,
    }, result


@click.command(help=__doc__)
@click.argument("name")
@click.option("--live", type=int, default=400)
@click.option("--limit", type=float, default=300.0, help="Seconds after which BXA is given up.")
@click.option("--workers", multiple=True, type=int, default=(1, 2))
@click.option("--seed", type=int, default=1)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
def main(name: str, live: int, limit: float, workers: tuple[int, ...], seed: int, path: Path | None) -> None:
    import xspec

    print(f"{name}\n{'method':24} {'evaluations':>11} {'ESS':>6} {'per ESS':>8} {'log Z':>9} {'+-':>6} {'seconds':>8}")
    rows = []

    def show(row: dict[str, Any]) -> None:
        rows.append(row)
        if row["finished"]:
            print(f"{row['method']:24} {row['evaluations']:11d} {row['ess']:6.0f} "
                  f"{row['evaluations'] / row['ess']:8.1f} {row['log_z']:9.3f} {row['log_z_err']:6.3f} "
                  f"{row['seconds']:8.1f}", flush=True)  # fmt: skip
        else:
            print(f"{row['method']:24} not finished after {row['seconds']:.0f} s", flush=True)

    for count in workers:
        row, result = by_sixsa(xspec, problems.load(name, xspec), count, seed)
        show(row)
    nested = by_bxa(xspec, problems.load(name, xspec), live, limit, seed)
    show(nested)
    if nested["finished"]:
        points, weights = nested.pop("points"), nested.pop("weights")
        for i, label in enumerate(result.names):
            found = jensen_shannon(result.samples[:, i], points[:, i], result.weights, weights)
            print(f"{label:14} JSD {found.value:.4f} (limit {found.limit:.4f})")
            nested.setdefault("divergence", {})[label] = [found.value, found.limit]
    if path is not None:
        path.write_text(json.dumps({"problem": name, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
