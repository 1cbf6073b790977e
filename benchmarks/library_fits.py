"""Fits with XSPEC's compiled models from the shell, as on a machine without HEASoft, and the same with a real XSPEC.

    python benchmarks/library_fits.py [--folder library_fits] [--only agn] [--time-limit 900]
    # then: sixsa plot library_fits/agn/embedded

Two spectra are faked through the demo's EPIC-pn-like response, each is saved as a session with priors, and `sixsa fit`
is run on it: by the embedded engine in an environment without HEADAS; then by real XSPEC where HEADAS is set. Printed
are the verdicts, log Z, evaluations, and for each parameter the means, their difference in standard deviations and the
Jensen-Shannon divergence in nat. A fit that reaches its time limit ends the command; called again it goes on there, and
fits that the folder has are not made anew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

import xspec_sixsa.embedded as xspec
from xspec_sixsa import Result
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.compare.divergence import jensen_shannon
from xspec_sixsa.interfaces.demo import make_demo_data

EXPOSURE = 40000.0
TARGET = 2000
INTERRUPTED = 130  # exit code of a run that ended before it had anything
PRIORS = {
    "agn": {
        "nH__1": ("uniform", 0.0, 1.0),
        "Gamma__2": ("uniform", 1.2, 2.8),
        "norm__7": ("loguniform", 1e-4, 1e-1),
        "norm__15": ("loguniform", 1e-4, 1e-1),
        "LineE__16": ("uniform", 6.0, 7.0),
        "norm__19": ("loguniform", 1e-6, 1e-3),
    },
    "flux": {
        "nH__1": ("uniform", 0.0, 1.0),
        "lg10Flux__4": ("uniform", -13.0, -10.0),
        "PhoIndex__5": ("uniform", 0.0, 4.0),
    },
}


def agn(xspec: ModuleType) -> None:
    """A Comptonised continuum, its reflection with the same index, and an iron line."""
    model = xspec.Model("tbabs*(nthcomp+pexmon+zgauss)")
    model.setPars({1: 0.1, 2: 1.9, 7: 3e-3, 14: "60 -1", 15: 4e-3, 16: 6.4, 17: "0.1 -1", 18: 0.01, 19: 5e-5})
    model.pexmon.PhoIndex.link = "p2"
    model.nthComp.kT_e.frozen = True
    for redshift in (model.nthComp.Redshift, model.pexmon.redshift):
        redshift.values = 0.01


def flux(xspec: ModuleType) -> None:
    """A power law whose flux between 0.5 and 10 keV is a parameter."""
    model = xspec.Model("tbabs*cflux*powerlaw")
    model.setPars({1: 0.1, 4: -11.6, 5: 2.1, 6: "1 -1"})


def make(name: str, folder: Path) -> None:
    """Fake the spectrum, and write ``session.xcm`` and ``priors.toml``, where they are not there."""
    session = folder / "session.xcm"
    if session.exists() and "fake.pha" in session.read_text():  # written last
        return
    make_demo_data(folder)
    with working_directory(folder):
        xspec.AllData.clear()
        xspec.AllModels.clear()
        xspec.Xset.chatter, xspec.Xset.seed = 0, 3
        xspec.Xset.abund = "wilm"
        MODELS[name](xspec)
        xspec.AllData.fakeit(
            1, xspec.FakeitSettings("demo_pn.rmf", "demo_pn.arf", exposure=EXPOSURE, fileName="fake.pha")
        )
        xspec.AllData.ignore("**-0.5 10.0-**")
        xspec.Fit.statMethod = "cstat"
        priors = PRIORS[name].items()
        lines = [f'["{key}"]\nkind = "{kind}"\nlow = {low}\nhigh = {high}\n' for key, (kind, low, high) in priors]
        Path("priors.toml").write_text("\n".join(lines))
        Path("session.xcm").unlink()
        xspec.Xset.save("session.xcm")


MODELS = {"agn": agn, "flux": flux}


def fit(folder: Path, engine: str, time_limit: float) -> Result:
    """Run `sixsa fit` in a process of its own, or go on with the run that the folder has."""
    finished = folder / engine / "summary.json"
    if finished.exists() and not interrupted(result := Result.load(folder / engine)):
        return result
    environment = dict(os.environ)
    if engine == "embedded":
        headas = environment.pop("HEADAS", "no HEADAS")
        for name in ("LD_LIBRARY_PATH", "PYTHONPATH"):
            environment[name] = ":".join(p for p in environment.get(name, "").split(":") if headas not in p)
    command = [str(Path(sys.executable).with_name("sixsa")), "fit", "session.xcm", "--priors", "priors.toml", "-q"]
    command += ["--engine", engine, "--seed", "1", "--target-ess", str(TARGET), "--output", engine]
    command += ["--time-limit", f"{time_limit:g}", *(["--resume"] if (folder / engine).exists() else [])]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3, INTERRUPTED):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    if done.returncode == INTERRUPTED or interrupted(result := Result.load(folder / engine)):
        raise SystemExit(f"{folder}, {engine}: not done after {time_limit:g} s; the same command goes on from there.")
    return result


def interrupted(result: Result) -> bool:
    """Whether a run ended before it was done."""
    return any(reason.startswith("interrupted") for reason in result.reasons)


def main() -> None:
    """Make both spectra, fit them, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("library_fits"))
    parser.add_argument("--only", choices=MODELS, help="one of the two")
    parser.add_argument("--time-limit", type=float, default=900.0, help="seconds for each fit (default 900)")
    options = parser.parse_args()
    engines = ["embedded", *(["xspec"] if os.environ.get("HEADAS") else [])]
    for name in [options.only] if options.only else MODELS:
        folder = options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        make(name, folder)
        results = {}
        for engine in engines:
            result = results[engine] = fit(folder, engine, options.time_limit)
            print(f"{name}, {engine}: {'reliable' if result.reliable else 'unreliable'}, log Z {result.log_z:.3f} "
                  f"+- {result.log_z_err:.3f}, ESS {result.ess:.0f}, {sum(result.evaluations.values())} evaluations, "
                  f"{sum(result.seconds.values()):.0f} s", flush=True)  # fmt: skip
        ours = results["embedded"]
        for row in summary_rows(ours, results.get("xspec")):
            print("  " + row)


def summary_rows(ours: Result, real: Result | None) -> list[str]:
    """One line for each parameter."""
    rows = []
    for k, name in enumerate(ours.names):
        mean, sd = moments(ours, k)
        text = f"{name}: {mean:.5g} +- {sd:.2g}"
        if real is not None:
            other, _ = moments(real, k)
            jsd = jensen_shannon(ours.samples[:, k], real.samples[:, k], ours.weights, real.weights)
            text += (
                f"; real XSPEC {other:.5g}, {(mean - other) / sd:+.3f} sd, {jsd.value:.4f} nat (limit {jsd.limit:.4f})"
            )
        rows.append(text)
    return rows


def moments(result: Result, k: int) -> tuple[float, float]:
    """Weighted mean and standard deviation of a parameter."""
    x, w = result.samples[:, k], result.weights / result.weights.sum()
    mean = float(w @ x)
    return mean, float(np.sqrt(w @ (x - mean) ** 2))


if __name__ == "__main__":
    main()
