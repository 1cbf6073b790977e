"""From a recorded spectrum back to parameters: the linear inverse beside that of paired auto-encoders (`sixsa start`).

    python benchmarks/inverses.py epic_pn high_resolution
    python benchmarks/inverses.py lines --engine xspec

Both learn from the same spectra of the prior. Prints rows of a table: XSPEC's fit statistic after one pass, RRE and RMA
(their limits: 99.9 % of spectra simulated where latent-space inversion ends), and CPU seconds of the training; for
the networks the statistic after that inversion as well; and where XSPEC's own fit ends from what is best there, and
from where `problems.py` leaves the parameters.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import numpy as np

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.emulator import Emulator, ReducedEmulator
from xspec_sixsa.infer.paired import PairedEmulator
from xspec_sixsa.priors import bind
from xspec_sixsa.run.inverse import JUDGED, STEPS, taught
from xspec_sixsa.session import Session
from xspec_sixsa.session.engine import load_engine

sys.path.insert(0, str(Path(__file__).parent))
import problems


def row(name: str, emulator: ReducedEmulator, statistic: list[float], where: np.ndarray, seconds: float) -> str:
    """One row of the table."""
    r = emulator.recovery(np.repeat(where[None], JUDGED, axis=0))
    numbers = [f"{value:,.1f}" for value in statistic] + [""] * (2 - len(statistic))
    return " | ".join(
        [name, *numbers, f"{r.rre:.3f} ({r.rre_limit:.3f})", f"{r.rma:.4f} ({r.rma_limit:.4f})", f"{seconds:.0f}"]
    )


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True)
@click.option("--engine", type=click.Choice(["embedded", "xspec"]), default="embedded")
@click.option("--seed", type=int, default=1)
def main(names: tuple[str, ...], engine: str, seed: int) -> None:
    xspec = load_engine(engine)
    for name in names:
        priors = problems.load(name, xspec)
        session, streams = Session(xspec), Streams(seed)
        prior = bind(priors, session)
        before = np.array([p.values[0] for p in session.parameters])
        with session:
            known = taught(session, prior, streams, Progress(False))
            learned = (known.spectra.u, known.spectra.counts, known.weights, known.noise)
            with streams.torch("paired"):
                began = time.process_time()
                paired = PairedEmulator(*learned, steps=STEPS)
                networks = time.process_time() - began
            with streams.torch("linear"):
                began = time.process_time()
                linear = Emulator(*learned)
                closed = linear.parameters(known.noise.observed[None])
                kernels = time.process_time() - began
            u = np.concatenate([closed, paired.starts()])
            passed, one, inverted = session.evaluate(prior.transform(u), "start").statistic.tolist()
            best = u[1 + int(inverted < one)]
            fits = [session.best_fit(theta, prior.support) for theta in (prior.transform(best[None])[0], before)]
            with streams.torch("recovery"):
                print(row(f"{name} | linear", linear, [passed], u[2], kernels))
                print(row(f"{name} | paired", paired, [one, inverted], u[2], networks))
        spent = sum(known.evaluations.values())
        print(f"{name}: {spent} evaluations to learn from; XSPEC's fit ends at {fits[0].statistic:.2f}, "
              f"from before at {fits[1].statistic:.2f} {fits[1].complaint[:60]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
