"""A survey of faked burst spectra: what it costs, whether its ranks are uniform, and whether nautilus agrees.

    python benchmarks/survey.py OUTPUT [--spectra 100] [--every 10] [--workers 2] [--exact control]
        [--estimator variational] [--resume]

`TBabs*(powerlaw+bbodyrad)` through the demo's response. The truth of every spectrum is drawn from the priors, and its
expected counts log-uniformly from 300 to 30,000, which fixes its exposure. Embedded engine.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
from scipy import stats

import xspec_sixsa as sixsa
from xspec_sixsa import embedded as xspec
from xspec_sixsa.common.files import working_directory, write_json
from xspec_sixsa.embedded.ogip import read_pha, write_arf, write_pha, write_rmf
from xspec_sixsa.interfaces.demo import group_minimum, make_response
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session
from xspec_sixsa.session.opened import open_run

MODEL, START = "TBabs*(powerlaw+bbodyrad)", (0.3, 2.0, 0.05, 2.0, 100.0)
IGNORE = "**-0.5 10.0-**"
COUNTS = (300.0, 30000.0)
FEW = 2000  # counts below which groups have one count or more, above it 20


def priors() -> list[sixsa.Prior]:
    return [
        sixsa.uniform("nH__1", 0.05, 1.0),
        sixsa.uniform("PhoIndex__2", 1.2, 3.2),
        sixsa.loguniform("norm__3", 3e-3, 0.3),
        sixsa.uniform("kT__4", 0.8, 3.0),
        sixsa.loguniform("norm__5", 10.0, 1000.0),
    ]


def load_template() -> None:
    """Load the first spectrum and the model; the folder of the spectra is where we are."""
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.Fit.statMethod = "cstat"
    xspec.Spectrum("burst_000.pha").ignore(IGNORE)
    xspec.Model(MODEL, setPars=START)


def fake(n: int) -> np.ndarray:
    """Write ``burst_000.pha`` ... where we are; the truths (n, 5)."""
    rmf, arf = make_response()
    write_rmf("pn.rmf", rmf)
    write_arf("pn.arf", arf)
    xspec.AllData.clear()
    xspec.AllModels.clear()
    model, rng = xspec.Model(MODEL, setPars=START), np.random.default_rng(14)

    def record(name: str, exposure: float, seed: int) -> None:
        xspec.AllData.clear()
        xspec.Xset.seed = seed
        settings = xspec.FakeitSettings("pn.rmf", "pn.arf", exposure=exposure, fileName=name)
        xspec.AllData.fakeit(1, [settings])

    record("burst_000.pha", 1.0, 1)
    prior = bind(priors(), Session(xspec))
    truths = prior.transform(rng.random((n, len(START))))
    for k, truth in enumerate(truths):
        name = f"burst_{k:03d}.pha"
        model.setPars(dict(enumerate(truth.tolist(), start=1)))
        record("rate.pha", 1.0, 1)
        xspec.AllData(1).ignore(IGNORE)
        wanted = float(np.exp(rng.uniform(*np.log(COUNTS))))
        record(name, wanted / float(np.sum(model.folded(1))), 1000 + k)
        pha = read_pha(name)
        pha.grouping = group_minimum(pha.values, 1 if wanted < FEW else 20)
        write_pha(name, pha)
    os.unlink("rate.pha")
    return truths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--spectra", type=int, default=100)
    parser.add_argument("--every", type=int, default=10, help="every so many are compared with nautilus; 0: none")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--exact", default="control")
    parser.add_argument("--estimator", help="variational: exploration begins with a guide")
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    xspec.Xset.chatter = 0
    data, output = (arguments.output / part for part in ("data", "survey"))
    data = data.absolute()
    output = output.absolute()
    data.mkdir(parents=True, exist_ok=True)
    with working_directory(data):
        if not (data / "truth.npy").is_file():
            np.save("truth.npy", fake(arguments.spectra))
        truths = np.load("truth.npy")
        load_template()
        files = [f"burst_{k:03d}.pha" for k in range(len(truths))]
        began = os.times()
        found = sixsa.fit_many(
            files, priors(), output=output, ignore=IGNORE, seed=1, workers=arguments.workers, exact=arguments.exact,
            estimator=arguments.estimator, resume=arguments.resume, xspec=xspec,
        )  # fmt: skip
        ended = os.times()
    print(found)
    results = {name: found[name] for name in found.names if name in set(found.catalogue["name"])}
    ranks = np.array([
        [float(result.weights[result.samples[:, i] < truth].sum()) for i, truth in enumerate(truths[int(name[-3:])])]
        for name, result in results.items()
    ])  # fmt: skip
    answer = {
        "spectra": len(found), "evaluations": found.evaluations, "total": sum(found.evaluations.values()),
        "seconds": found.seconds, "cpu": ended.children_user - began.children_user,
        "reliable": int((found.catalogue["status"] == "reliable").sum()),
        "ess": [float(x) for x in np.quantile(found.catalogue["ess"], [0, 0.5, 1])],
        "own": [float(x) for x in np.quantile(found.catalogue["evaluations"], [0, 0.5, 1])],
        "counts": [float(x) for x in np.quantile(found.catalogue["counts"], [0, 0.5, 1])],
        "ranks": [float(stats.kstest(column, "uniform").pvalue) for column in ranks.T],
        "nautilus": {},
    }  # fmt: skip
    for name in found.names[:: arguments.every] if arguments.every else []:
        result, module = open_run(output / "spectra" / name, "embedded")
        other = result.compare("nautilus", xspec=module, progress=False)
        method = other.methods[0]
        answer["nautilus"][name] = {
            "agreement": method.agreement, "delta_log_z": method.delta_log_z, "error": method.delta_log_z_err,
            "shift": max(abs(parameter.shift) for parameter in method.parameters),
        }  # fmt: skip
        print(name, answer["nautilus"][name], flush=True)
    write_json(arguments.output / "benchmark.json", answer)
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
