"""Deliberately wrong runs, and which diagnostic catches each; beside a right run of the same data as control.

    python benchmarks/wrong_runs.py [--engine xspec] [--spectra 5] [--json wrong.json] [--markdown wrong.md]

Spectra of the problem `epic_pn` are faked at its truth, each with noise of its own, and fitted as follows:

network   an under-trained flow whose draws are taken, unweighted, for the posterior;
prior     the power law's norm cut by its prior below the truth;
line      data with an emission line, the model without it;
gain      data whose energies are 3 % too high, the response without that.

Everything is measured on faked data, so that the truth is known. The evidence is compared with that of the right
run: the wide prior, the model with the line, the response with the shift (on XSPEC also with the gain free).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import xspec_sixsa as sixsa
from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.files import plain
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.compare.divergence import jensen_shannon
from xspec_sixsa.embedded.ogip import ARF, RMF, read_arf, read_pha, read_rmf, write_arf, write_pha, write_rmf
from xspec_sixsa.infer.compress import compressor
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.infer.inference import HOPELESS
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.priors import Prior, bind
from xspec_sixsa.products.calibration import uniform_rank
from xspec_sixsa.products.calibration.observations import simulated_observation
from xspec_sixsa.result import Result
from xspec_sixsa.session import Session
from xspec_sixsa.session.engine import load_engine

sys.path.insert(0, str(Path(__file__).parent))
import problems

RUNS = ("control", "network", "prior", "line", "gain")
GAIN = 1.03
LINE = (2.0, 0.01, 7e-6)  # keV, keV, photons/cm2/s: about 150 of 10,000 counts, 6 sigma
LINE_PRIORS = {"gaussian.LineE": ["uniform", 1.0, 8.0], "gaussian.norm": ["loguniform", 1e-7, 1e-3]}
CUT = 2.4e-4  # upper limit of the power law's norm; the truth is 2.618e-4
SIMULATIONS, FLOW_STEPS, FLOW_DRAWS = 1500, 60, 1000
STRONG = 5.0  # ln of the Bayes factor: "very strong" (Kass & Raftery 1995)


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One diagnostic: where its number is, and from where on it says that something is wrong."""

    title: str
    key: str
    limit: float
    above: bool
    form: str = "{:.2g}"

    def caught(self, numbers: dict[str, Any]) -> bool | None:
        """Whether it complains; None where it was not asked."""
        value = numbers.get(self.key)
        if value is None:
            return None
        return bool(value > self.limit if self.above else value < self.limit)

    def cell(self, runs: Sequence[dict[str, Any]]) -> str:
        """Complaints in so many runs, and the median number; bold where it complains in more than half of them."""
        found = [self.caught(run) for run in runs]
        values = [run[self.key] for run, complains in zip(runs, found, strict=True) if complains is not None]
        if not values:
            return "-"
        n, total = sum(map(bool, found)), len(values)
        text = f"{n} of {total} ({self.form.format(float(np.median(values)))})"
        return f"**{text}**" if n > total / 2 else text


CHECKS = (
    Check("verdict: effective samples per draw", "efficiency", HOPELESS, False),
    Check("divergence from the weighted posterior, in units of its limit", "divergence", 1.0, True, "{:.1f}"),
    Check("SBC: smallest p of ranks, times 5 parameters", "ranks_p", 0.01, False),
    Check("TARP: p of expected coverage", "tarp_p", 0.01, False),
    Check("prior's edge: posterior within 2 % of it", "edge", 0.0, True, "{:.2f}"),
    Check("C-stat against expectation, sigma", "sigma", 3.0, True, "{:+.1f}"),
    Check("posterior-predictive p", "predictive_p", 0.01, False),
    Check("QQ p", "qq_p", 0.01, False),
    Check("line search p", "line_p", 0.01, False),
    Check("outlying: RRE or RMA over its limit", "outlying", 1.0, True, "{:.2f}"),
    Check("ln Z of the right run minus this one's", "delta_log_z", STRONG, True, "{:+.1f}"),
    Check("ln Z with the gain free minus this one's", "delta_log_z_free", STRONG, True, "{:+.1f}"),
)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a diagnostic, a column a kind of run; the harm done in the last two rows."""
    kinds = [kind for kind in RUNS if any(run["kind"] == kind for run in runs)]
    columns = {kind: [run for run in runs if run["kind"] == kind] for kind in kinds}
    rows = [["diagnostic", *kinds], ["---"] * (len(kinds) + 1)]
    for check in CHECKS:
        cells = [check.cell(columns[kind]) for kind in kinds]
        if set(cells) != {"-"}:
            rows.append([check.title, *cells])
    shift = [float(np.median([run["shift"] for run in columns[kind]])) for kind in kinds]
    lost = [f"{sum(run['mass'] > 0.99 for run in columns[kind])} of {len(columns[kind])}" for kind in kinds]
    rows.append(["*largest shift from the truth, in sigma*", *(f"{value:.1f}" for value in shift)])
    rows.append(["*truth outside the joint 99 % region*", *lost])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# -- data --------------------------------------------------------------------------------------------------------------


def shifted(rmf: RMF, arf: ARF, gain: float) -> tuple[RMF, ARF]:
    """A detector that records a photon of energy E where the given one records one of `gain` E.

    The mirror's area stays where it is: at E.
    """
    low, high = rmf.energy_lo / gain, rmf.energy_hi / gain
    nominal = 0.5 * (arf.energy_lo + arf.energy_hi)
    area = np.interp(0.5 * (low + high), nominal, arf.area)
    return replace(rmf, energy_lo=low, energy_hi=high), replace(arf, energy_lo=low, energy_hi=high, area=area)


@dataclass
class Data:
    """The problem's faked spectra of one noise seed, of so many times its exposure, and the sessions with them."""

    xspec: Any
    folder: Path
    seed: int
    longer: float = 1.0

    def __post_init__(self) -> None:
        self.problem = problems.definition("epic_pn")
        self.truth = np.array(problems.definition("epic_pn_faint")["fake"]["truth"])
        real = problems.SHARED / "data" / self.problem["data"]
        pha = read_pha(str(real))
        self.exposure = pha.exposure * self.longer
        self.folder.mkdir(parents=True, exist_ok=True)
        self.nominal = [str(real.parent / name) for name in (pha.respfile, pha.ancrfile)]
        self.moved = [str(self.folder / name) for name in ("gain.rmf", "gain.arf")]
        rmf, arf = shifted(read_rmf(self.nominal[0]), read_arf(self.nominal[1]), GAIN)
        write_rmf(self.moved[0], rmf)
        write_arf(self.moved[1], arf)

    def fake(self, kind: str) -> Path:
        """A spectrum of the problem's model ("plain"), with a line, or with the gain shifted."""
        problem, truth = dict(self.problem), list(self.truth)
        if kind == "line":
            problem["model"] = "TBabs*(bbodyrad+powerlaw+gaussian)"
            problem["priors"] = problem["priors"] | LINE_PRIORS | {"gaussian.Sigma": ["uniform", 0.0, 0.1]}
            truth += [LINE[0], LINE[2], LINE[1]]
        if kind == "gain":
            problem["data"] = str(self._on(Path(problems.SHARED / "data" / self.problem["data"]), self.moved))
        problem["fake"] = {"truth": truth, "exposure": self.exposure, "fake_seed": self.seed}
        (file,) = problems.fake(f"wrong_{kind}", problem, self.xspec, self.folder)
        return self._on(file, self.nominal)

    def load(self, file: Path, *, line: bool = False, moved: bool = False, cut: bool = False) -> list[Prior]:
        """Load a spectrum, the model and the priors of a run."""
        problem = dict(self.problem)
        if moved:
            file = self._on(file, self.moved)
        if line:
            problem["model"] = "TBabs*(bbodyrad+powerlaw+gaussian)"
            problem["priors"] = problem["priors"] | LINE_PRIORS
        if cut:
            kind, low, _ = problem["priors"]["powerlaw.norm"]
            problem["priors"] = problem["priors"] | {"powerlaw.norm": [kind, low, CUT]}
        priors = problems.set_up("epic_pn", problem, self.xspec, [file])
        if line:
            sigma = self.xspec.AllModels(1).gaussian.Sigma
            sigma.values = LINE[1]
            sigma.frozen = True
        return priors

    def _on(self, file: Path, response: Sequence[str]) -> Path:
        """A copy of a spectrum with another response in its header."""
        name = self.folder / f"{file.stem}_{Path(response[0]).stem}.pha"
        write_pha(name, replace(read_pha(str(file)), respfile=response[0], ancrfile=response[1], backfile=""))
        return name


# -- the runs ----------------------------------------------------------------------------------------------------------


def under_trained(
    priors: Sequence[Prior], right: Result, xspec: Any, seed: int, ranks: int
) -> tuple[Result, dict[str, Any]]:
    """The draws of an under-trained flow as if they were the posterior, and what their exact weights say.

    Parameters
    ----------
    right : Result
        The weighted posterior of the same data.
    ranks : int
        Spectra simulated from the prior whose posteriors, by the same network, are tested for calibration.
    """
    streams = Streams(seed)
    with Session(xspec) as session:
        prior = bind(list(priors), session)
        noise, observation = Noise(session.observation), session.observation
        u = streams.numpy("prior").random((SIMULATIONS, session.n_free))
        with one_thread(), streams.torch("network"):
            expected = torch.tensor(session.evaluate(prior.transform(u), "network").counts, dtype=torch.float32)
            compress, network = compressor("autoencoder"), NeuralPosterior(steps=FLOW_STEPS)
            compress.fit(expected, noise)
            network.fit(u, expected, noise, compress)
            flow = network.proposal
            draws = flow.draw(FLOW_DRAWS)
            exact = session.evaluate(prior.transform(draws), "weights")
            found = _calibration(session, prior, network, streams, ranks) if ranks else {}
    weights = Weights(exact.log_likelihood - flow.log_density(draws), np.zeros(len(draws), int))
    chosen = streams.numpy("predictive").choice(len(draws), 200, replace=False)
    spectra = [
        replace(s, total=exact.counts[chosen][:, part].astype(float), components={})
        for s, part in zip(right.predictive_data, observation.slices, strict=True)
    ]
    best = int(np.argmax(exact.log_likelihood))
    wrong = replace(
        right, samples=prior.transform(draws), log_weights=np.zeros(len(draws)), log_likelihood=exact.log_likelihood,
        log_proposal=exact.log_likelihood, ess=float(len(draws)), best_fit=prior.transform(draws[[best]])[0],
        best_statistic=float(-2 * exact.log_likelihood[best]), predictive_data=spectra, emulator={}, rounds=[],
    )  # fmt: skip
    divergences = [
        jensen_shannon(wrong.samples[:, i], right.samples[:, i], wrong.weights, right.weights)
        for i in range(len(right.names))
    ]
    return wrong, found | of_weights(weights) | {"divergence": max(d.value / d.limit for d in divergences)}


def of_weights(weights: Weights) -> dict[str, float]:
    """What the verdict looks at (`verdict.verdict`)."""
    return {"k_hat": weights.k_hat, "ess": weights.ess, "efficiency": weights.efficiency}


def _calibration(session: Session, prior: Any, network: Any, streams: Streams, n: int) -> dict[str, float]:
    """p-values of ranks and expected coverage over the prior, by the network's own unweighted draws."""
    from scipy import stats

    rng = streams.numpy("ranks")
    truth = rng.random((n, session.n_free))
    counts = session.evaluate(prior.transform(truth), "ranks").counts
    recorded = Noise(session.observation).draw(torch.tensor(counts)).numpy()
    ranks, coverage = np.empty_like(truth), np.empty(n)
    for k in range(n):
        given = network.given(Noise(simulated_observation(session.observation, recorded[k])))
        v = given.proposal.draw(500)
        weights = np.full(len(v), 1 / len(v))
        ranks[k] = [uniform_rank(below, weights, rng.random()) for below in (v < truth[k]).T]
        reference = rng.random(session.n_free)
        nearer = ((v - reference) ** 2).sum(axis=1) < ((truth[k] - reference) ** 2).sum()
        coverage[k] = uniform_rank(nearer, weights, rng.random())
    smallest = min(stats.kstest(column, "uniform").pvalue for column in ranks.T)
    return {
        "ranks_p": min(1.0, float(smallest) * session.n_free),
        "tarp_p": float(stats.kstest(coverage, "uniform").pvalue),
    }


def judge(result: Result, truth: np.ndarray) -> dict[str, Any]:
    """The numbers that `CHECKS` look at, and what harm was done (the first parameters are the problem's)."""
    found = result.diagnose()
    spectrum, n = found.spectra[0], len(truth)
    emulator = result.emulator
    ratios = [emulator[key] / emulator[f"{key}_limit"] for key in ("rre", "rma") if emulator]
    problem_only = replace(
        result, names=result.names[:n], labels=result.labels[:n], units=result.units[:n],
        samples=result.samples[:, :n], best_fit=result.best_fit[:n],
    )  # fmt: skip
    return of_weights(Weights(result.log_weights, np.zeros(len(result.log_weights), int))) | {
        "status": result.status,
        "reasons": result.reasons,
        "log_z": result.log_z,
        "log_z_err": result.log_z_err,
        "sigma": spectrum.sigma,
        "statistic": spectrum.value,
        "predictive_p": spectrum.predictive_p,
        "qq_p": spectrum.qq_p,
        "line_p": spectrum.line.p_value,
        "line": str(spectrum.line),
        "outlying": max(ratios) if ratios else None,
        "edge": max((edge.mass for edge in result.prior_edges), default=0.0),
        "edges": [str(edge) for edge in result.prior_edges],
        "shift": float(np.max(np.abs(problem_only.mean - truth) / problem_only.sd)),
        "mass": problem_only.credible_mass(truth),
        "mean": problem_only.mean,
        "sd": problem_only.sd,
        "evaluations": sum(result.evaluations.values()),
    }


def runs_of(
    data: Data, fit: Callable[[list[Prior]], Result], ranks: int, kinds: Sequence[str] = RUNS
) -> list[dict[str, Any]]:
    """The runs of these kinds on the spectra of one noise seed; the first three need the control."""
    truth, made = data.truth, []

    def add(kind: str, result: Result, **more: Any) -> None:
        made.append({"kind": kind, "seed": data.seed} | judge(result, truth) | more)
        numbers = {key: value for key, value in made[-1].items() if isinstance(value, float)}
        print(f"seed {data.seed}, {kind}: " + ", ".join(f"{k} {v:.3g}" for k, v in numbers.items()), flush=True)

    if set(kinds) & {"control", "network", "prior"}:
        plain = data.fake("plain")
        priors = data.load(plain)
        right = fit(priors)
        add("control", right)
    if "network" in kinds:
        wrong, weights = under_trained(priors, right, data.xspec, data.seed, ranks)
        add("network", wrong, **weights)
    if "prior" in kinds:
        cut = fit(data.load(plain, cut=True))
        add("prior", cut, delta_log_z=right.log_z - cut.log_z)
    if "line" in kinds:
        lined = data.fake("line")
        with_line = fit(data.load(lined, line=True))
        without = fit(data.load(lined))
        add("line", without, delta_log_z=with_line.log_z - without.log_z, right=judge(with_line, truth))
    if "gain" not in kinds:
        return made
    moved = data.fake("gain")
    corrected = fit(data.load(moved, moved=True))
    nominal = fit(data.load(moved))
    more = {"delta_log_z": corrected.log_z - nominal.log_z, "right": judge(corrected, truth)}
    if data.xspec.__name__ == "xspec":
        priors = data.load(moved)
        found = data.xspec.AllData(1).response.gain
        found.slope = "1.0, 0.01, 0.8, 0.8, 1.2, 1.2"
        found.offset.frozen = True
        free = fit([*priors, sixsa.uniform(found.slope, 0.9, 1.1)])
        more |= {"delta_log_z_free": free.log_z - nominal.log_z, "gain": [free.mean[-1], free.sd[-1]]}
    add("gain", nominal, **more)
    return made


@click.command(help=__doc__)
@click.option("--engine", type=click.Choice(["embedded", "xspec"]), default="embedded")
@click.option("--kind", "kinds", type=click.Choice(RUNS), multiple=True, default=RUNS)
@click.option("--longer", type=float, default=1.0, help="Times the real spectrum's exposure.")
@click.option("--spectra", type=click.IntRange(1), default=5, help="Noise seeds.")
@click.option("--first", type=int, default=1, help="The first of them.")
@click.option("--ess", "target_ess", type=int, default=1000)
@click.option("--ranks", type=int, default=200, help="Simulated spectra that test the network's calibration; 0: none.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
@click.option("--markdown", type=click.Path(path_type=Path), default=None)
def main(
    engine: str, kinds: tuple[str, ...], longer: float, spectra: int, first: int, target_ess: int, ranks: int,
    path: Path | None, markdown: Path | None,
) -> None:  # fmt: skip
    logging.basicConfig(level=logging.ERROR)
    xspec = load_engine(engine)
    made: list[dict[str, Any]] = []
    began = time.monotonic()
    for seed in range(first, first + spectra):

        def fit(priors: list[Prior], seed: int = seed) -> Result:
            return sixsa.fit(priors, xspec=xspec, seed=seed, target_ess=target_ess, progress=False)

        folder = Path(problems.temporary_folder().name) / str(seed)
        made += runs_of(Data(xspec, folder, seed, longer), fit, ranks, kinds)
        if path is not None:
            options = {"engine": engine, "kinds": kinds, "longer": longer, "spectra": spectra, "first": first,
                       "target_ess": target_ess, "ranks": ranks}  # fmt: skip
            report = {"options": options, "seconds": time.monotonic() - began, "runs": made}
            path.write_text(json.dumps(plain(report), indent=1) + "\n")
    print(f"\n{table(made)}\n\n{engine}, {spectra} spectra, {time.monotonic() - began:.0f} s")
    if markdown is not None:
        markdown.write_text(table(made) + "\n")


if __name__ == "__main__":
    main()
