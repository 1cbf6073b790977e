"""Whether few exact draws correct many emulated ones without bias: `exact="control"`, again and again after one search.

    python benchmarks/corrected.py epic_pn two_modes [--repetitions 100] [--json corrected.json]

As in a run, more exact draws are taken where the correction needs them, until that would be about as dear as making all
exact: a run then does so, and the repetition enters no pull. By problem: pulls of every parameter's mean and 5, 50 and
95 % quantiles, and of log Z, each in units of the error that the corrected draws claim, against many more exact draws
of the same proposal. Quantiles are compared as probabilities: how much of a repetition lies below the true quantile.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from xspec_sixsa.common.files import plain
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.controlvariate import QUANTILES as MEASURED
from xspec_sixsa.infer.controlvariate import control_variate, corrected_draws
from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.settings import CONTROL_DRAWS, Settings
from xspec_sixsa.priors import bind
from xspec_sixsa.result.weighted import weighted_quantile
from xspec_sixsa.session import Session
from xspec_sixsa.session.engine import load_engine

sys.path.insert(0, str(Path(__file__).parent))
import problems

TRUER = 50  # times a repetition's effective samples: the truth's own error shifts all pulls alike
QUANTILES = (0.05, 0.5, 0.95)
LARGEST, SPREAD = 0.3, (0.8, 1.2)  # of the pulls' means and standard deviations


def shares(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to one."""
    w = np.exp(log_weights - log_weights.max())
    return w / w.sum()


def pulls(name: str, xspec: Any, repetitions: int, exact: int, wanted: int, truth: int, seed: int) -> dict[str, Any]:
    """Of means (repetitions, d), quantiles (repetitions, d, 3) and log Z (repetitions,)."""
    priors = problems.load(name, xspec)
    with Session(xspec) as session:
        quiet, streams = Progress(show=False), Streams(seed)
        model = RecordedModel(session, bind(priors, session), Checkpoint(), quiet)
        settings = Settings(target_ess=wanted, budget=10**7, exact="control")
        problem = Problem(session.n_free, model, model.spent, Noise(session.observation), settings, streams, quiet)
        problem.factors, why = model.factors()
        if problem.factors is None:
            raise click.ClickException(f"{name} has no factored emulator: {why}")
        strategy = Factored(problem)
        strategy.begin(model(problem.prior_draws(16), "round 1"))
        frozen = strategy.propose(1, last_resort=False)
        emulated = strategy.search.emulator.log_likelihood

        draws = FinalDraws(frozen, session.n_free)
        draws.extend(problem, "truth", truth)
        with streams.torch("truth", 0):
            best = control_variate(draws, emulated, TRUER * wanted)
        w = shares(best.log_weights)
        mean = w @ best.u
        deviation = np.sqrt(w @ (best.u - mean) ** 2)
        edges = np.array([weighted_quantile(x, QUANTILES, w) for x in best.u.T])

        found: dict[str, Any] = {"means": [], "quantiles": [], "log_z": [], "ess": [], "exact": []}
        for repetition in range(repetitions):
            draws = FinalDraws(frozen, session.n_free)
            draws.extend(problem, f"repetition {repetition}", exact)
            corrected = corrected_draws(draws, problem, f"repetition {repetition}", emulated)
            found["exact"].append(len(draws))
            if not corrected.is_enough(wanted):
                continue
            w = shares(corrected.log_weights)
            below = np.array(
                [[w[x <= edge].sum() for edge in row] for x, row in zip(corrected.u.T, edges, strict=True)]
            )
            own = corrected.quantile_ess[:, [MEASURED.index(q) for q in QUANTILES]]
            error = np.sqrt(np.array(QUANTILES) * (1 - np.array(QUANTILES)) / own)
            found["means"].append((w @ corrected.u - mean) / (deviation / np.sqrt(corrected.mean_ess)))
            found["quantiles"].append((below - QUANTILES) / error)
            # the emulated evidence, the norm of the proposal, is common to all
            error_z = np.sqrt(corrected.log_z_err**2 + best.log_z_err**2 - 2 * frozen.density_err**2)
            found["log_z"].append((corrected.log_z - best.log_z) / error_z)
            found["ess"].append(corrected.ess)
        return {key: np.array(values) for key, values in found.items()} | {"error": strategy.search.error}


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True)
@click.option("--repetitions", type=int, default=100)
@click.option("--exact", type=int, default=CONTROL_DRAWS, help="Exact draws a repetition.")
@click.option("--target-ess", type=int, default=10000)
@click.option("--truth", type=int, default=40000, help="Exact draws that stand for the truth.")
@click.option("--engine", type=click.Choice(["embedded", "xspec"]), default="embedded")
@click.option("--seed", type=int, default=1)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
def main(
    names: tuple[str, ...], repetitions: int, exact: int, target_ess: int, truth: int, engine: str, seed: int,
    path: Path | None,
) -> None:  # fmt: skip
    logging.basicConfig(level=logging.WARNING)
    xspec, report, within = load_engine(engine), {}, True
    for name in names:
        found = pulls(name, xspec, repetitions, exact, target_ess, truth, seed)
        taken, exact_draws = len(found["ess"]), np.median(found["exact"])
        print(f"{name}: emulator off by {found['error']:.2g}, {exact_draws:.0f} exact draws (median); the correction "
              f"is good enough in {taken} of {repetitions}", flush=True)  # fmt: skip
        report[name] = {"error": found["error"], "exact": found["exact"], "ess": found["ess"]}
        if taken < 2:
            continue
        print(f"  {np.median(found['ess']):.0f} effective (median)")
        for key in ("means", "quantiles", "log_z"):
            average, spread = found[key].mean(axis=0), found[key].std(axis=0, ddof=1)
            report[name][key] = {"mean": average, "spread": spread}
            good = bool((abs(average) < LARGEST).all() and (SPREAD[0] < spread).all() and (spread < SPREAD[1]).all())
            within &= good
            print(
                f"  {key}: pulls' means {average.min():+.2f} to {average.max():+.2f}, standard deviations "
                f"{spread.min():.2f} to {spread.max():.2f}: {'as they should be' if good else 'OUTSIDE'}",
                flush=True,
            )
        if path is not None:
            path.write_text(json.dumps(plain(report), indent=1) + "\n")
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
