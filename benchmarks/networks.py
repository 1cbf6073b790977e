"""What compressors know, and how close networks come to the posterior: each trained as in a run, on the same spectra.

    python benchmarks/networks.py epic_pn narrow_line
    python benchmarks/networks.py narrow_line --marginal LineE__4 --network pca/npe --network pca/lbf

For each problem the emulated posterior is found as in a run. Every compressor and the estimator behind it are then
trained on 4,000 emulated spectra of the whole prior, and judged by draws of the emulated posterior:

KL: of the network's posterior from the emulated one, nats; its own statistical error stands behind it.
effective: share of the network's draws, when these are weighted.
kept: the least share of the Fisher information on any parameter that the score keeps over the posterior.
With --marginal networks learn one parameter alone; its KL is taken on a histogram of 20,000 draws in 200 bins.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.compress import compressor
from xspec_sixsa.infer.emulatedproposal import EmulatedProposal
from xspec_sixsa.infer.estimate import estimator
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.importance import effective_sample_size
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.proposal import Proposal
from xspec_sixsa.infer.settings import COMPRESSORS, Settings
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session
from xspec_sixsa.session.engine import load_engine

sys.path.insert(0, str(Path(__file__).parent))
import problems

DRAWS = 2000  # of the emulated posterior, and of each network
MARGINAL_DRAWS, BINS = 20000, 200
NETWORKS = (
    *(f"{name}/npe" for name in COMPRESSORS),
    *("pca/lbf", "pca/lbf/adaptive", "score/lbf", "pca/variational", "pca/variational/gaussian"),
)
OPTIONS = {"lbf": "basis", "variational": "guide"}


def searched(name: str, engine: str, seed: int) -> tuple[Factored, EmulatedProposal, list[str]]:
    """The strategy of a run on a problem, when its search has ended, the emulated posterior, and parameters' names."""
    xspec = load_engine(engine)
    priors = problems.load(name, xspec)
    session = Session(xspec)
    with session:
        model = RecordedModel(session, bind(priors, session), Checkpoint(), Progress(False))
        problem = Problem(
            session.n_free, model, model.spent, Noise(session.observation), Settings(), Streams(seed), Progress(False)
        )
        first = model(problem.prior_draws(16), "round 1")
        problem.factors, why = model.factors()
        if problem.factors is None:
            raise click.ClickException(f"{name} is not emulated component by component: {why}.")
        strategy = Factored(problem)
        strategy.begin(first)
        strategy._search_on(1.1)
        return strategy, strategy.search.proposal(), list(session.names)


def judged(network: Proposal, posterior: EmulatedProposal, streams: Streams) -> dict[str, float]:
    """A network's draws and density against the posterior's."""
    with streams.torch("judged"):
        u, v = posterior.draw(DRAWS), network.draw(DRAWS)
    difference = posterior.log_density(u) - network.log_density(u)
    log_weights = posterior.log_density(v) - network.log_density(v)
    return {
        "kl": float(difference.mean()),
        "kl_err": float(difference.std() / DRAWS**0.5),
        "effective": effective_sample_size(log_weights) / DRAWS,
    }


def marginal(strategy: Factored, posterior: EmulatedProposal, column: int, network: str, seed: int) -> dict[str, float]:
    """A network that learns one parameter alone, against the posterior's marginal."""
    problem, (first, second, *rest) = strategy._problem, network.split("/")
    u = np.random.default_rng(seed).random((problem.settings.emulated, problem.dimension))
    spectra = strategy.search.emulator.spectra(u)
    compress, learned = compressor(first), estimator(second, **{OPTIONS[second]: rest[0]} if rest else {})
    with Streams(seed).torch("marginal"):
        compress.fit(spectra, problem.noise)
        learned.fit(u[:, [column]], spectra, problem.noise, compress)
        height = np.histogram(posterior.draw(MARGINAL_DRAWS)[:, column], bins=BINS, range=(0, 1))[0]
    fine = (np.arange(10 * BINS) + 0.5) / (10 * BINS)
    density = np.exp(learned.proposal.log_density(fine[:, None])).reshape(BINS, 10).mean(axis=1)
    share = height / height.sum()
    seen = share > 0
    difference = np.log(share[seen] * BINS / density[seen])
    kl = share[seen] @ difference
    return {"kl": float(kl), "kl_err": float(np.sqrt(share[seen] @ (difference - kl) ** 2 / MARGINAL_DRAWS))}


def table(runs: list[dict[str, Any]]) -> str:
    """One row a problem and network; several seeds in one cell."""
    lines = [
        "| problem | compressor / estimator | KL, nats | effective | kept | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for problem, network in dict.fromkeys((r["problem"], r["network"]) for r in runs):
        group = [r for r in runs if (r["problem"], r["network"]) == (problem, network)]
        kl = ", ".join(f"{r['kl']:.2f} +- {r['kl_err']:.2f}" for r in group)
        effective = ", ".join(f"{100 * r['effective']:.2g} %" for r in group if "effective" in r)
        kept = ", ".join(f"{100 * min(r['kept']):.1f} %" for r in group if r.get("kept"))
        lines.append(
            f"| {problem} | {network} | {kl} | {effective} | {kept} | {np.median([r['seconds'] for r in group]):.0f} |"
        )
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True)
@click.option("--seeds", multiple=True, type=int, default=(1,), help="Repeat for several.")
@click.option("--engine", type=click.Choice(["embedded", "xspec"]), default="embedded")
@click.option("--network", "networks", multiple=True, default=NETWORKS, help="COMPRESSOR/ESTIMATOR, /basis or /guide.")
@click.option("--marginal", "parameter", default=None, help="A parameter that is learned alone.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write all numbers there.")
def main(
    names: tuple[str, ...], seeds: tuple[int, ...], engine: str, networks: tuple[str, ...], parameter: str | None,
    path: Path | None,
) -> None:  # fmt: skip
    """Train and judge; see the module's docstring."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    runs: list[dict[str, Any]] = []
    with one_thread():
        for name in names:
            for seed in seeds:
                strategy, posterior, parameters = searched(name, engine, seed)
                for network in networks:
                    began, run = time.monotonic(), {"problem": name, "seed": seed, "network": network}
                    if parameter is not None:
                        run |= marginal(strategy, posterior, parameters.index(parameter), network, seed)
                        run["seconds"] = time.monotonic() - began
                    else:
                        first, second, *rest = network.split("/")
                        strategy._problem.settings.estimator = second
                        for value in rest:
                            setattr(strategy._problem.settings, OPTIONS[second], value)
                        learned = strategy._train_explorer(first)
                        run["seconds"] = time.monotonic() - began
                        run["kept"] = strategy.rounds.records[-1].get("information_kept")
                        run |= judged(learned, posterior, Streams(seed))
                    runs.append(run)
                    click.echo(json.dumps(run))
    click.echo(table(runs))
    if path is not None:
        path.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
