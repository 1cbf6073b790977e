"""BXA's own workflow, as its documentation has it, on whatever `import xspec` gives; run by test_bxa.py.

Arguments: the folder with the spectra; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from types import ModuleType
from typing import Any

import matplotlib

matplotlib.use("Agg")


def two_sources(bxa: ModuleType, xspec: ModuleType, spectrum: Any) -> list[int]:
    """Where get_isrc, which reads XSPEC's log, finds the fluxes of two sources."""
    spectrum.multiresponse[1] = "small.rmf"
    spectrum.multiresponse[1].arf = "small.arf"
    xspec.Model("powerlaw", "second", 2)
    return [int(bxa.solver.get_isrc(isource=source)) for source in (1, 2)]


def main(folder: str) -> None:
    os.chdir(folder)
    if "--real" not in sys.argv:
        from xspec_sixsa.embedded import install

        install()
    import bxa.xspec as bxa
    import numpy as np
    import xspec

    xspec.Xset.chatter = 0
    xspec.Fit.statMethod = "cstat"
    xspec.Plot.xAxis = "keV"
    spectrum = xspec.Spectrum("a.pha")
    spectrum.ignore("**-0.4 9.0-**")
    model = xspec.Model("TBabs*(powerlaw+bbodyrad)")
    model.TBabs.nH.values = "0.1,0.01,0.01,0.01,1,1"
    model.powerlaw.PhoIndex.values = "1.8,0.01,1,1,3,3"
    model.powerlaw.norm.values = "3e-3,1e-4,1e-4,1e-4,1e-1,1e-1"
    model.bbodyrad.kT.values = "0.3,-1"
    model.bbodyrad.norm.values = "1,-1"
    transformations = [
        bxa.create_loguniform_prior_for(model, model.TBabs.nH),
        bxa.create_gaussian_prior_for(model, model.powerlaw.PhoIndex, 1.9, 0.3),
        bxa.create_jeffreys_prior_for(model, model.powerlaw.norm),
    ]
    custom = bxa.create_custom_prior_for(model, model.powerlaw.norm, lambda u: u)
    uniform = bxa.create_uniform_prior_for(model, model.powerlaw.norm)
    np.random.seed(1)  # UltraNest draws from numpy's global generator
    solver = bxa.BXASolver(transformations=transformations, outputfiles_basename="bxa_run/")
    results = solver.run(n_live_points=100, frac_remain=0.2, evidence_tolerance=0.5,
                         run_kwargs={"max_num_improvement_loops": 0})  # fmt: skip
    best = xspec.Fit.statistic
    convolved = solver.posterior_predictions_convolved(nsamples=20)
    solver.posterior_predictions_unconvolved(nsamples=10)
    flux = solver.create_flux_chain(spectrum, erange="0.5 2.0", nsamples=30)
    solver.set_best_fit()
    bxa.qq.qq("bxa_run/qq", markers=4)
    binned = bxa.binning("bxa_run/", np.asarray(convolved["bins"]), np.asarray(convolved["width"]),
                         np.asarray(convolved["data"]), convolved["models"])  # fmt: skip
    physical = [[t["aftertransform"](v) for t, v in zip(transformations, row, strict=True)]
                for row in results["samples"]]  # fmt: skip
    curves = convolved["models"]
    print("RESULT " + json.dumps({
        "best": best,
        "restored": xspec.Fit.statistic,
        "max_logl": float(results["maximum_likelihood"]["logl"]),
        "logz": float(results["logz"]),
        "logz_err": float(results["logzerr"]),
        "evaluations": int(results["ncall"]),
        "samples": len(results["samples"]),
        "medians": np.median(physical, axis=0).tolist(),
        "chains": xspec.AllChains(1).totalLength,
        "convolved": list(np.shape(convolved["models"])),
        "counts": float(np.sum(convolved["data"] * 2 * convolved["width"])),
        "model_counts": float(np.median(np.sum(convolved["models"][:, 0] * 2 * convolved["width"], axis=1))),
        "components_add_up": float(np.max(np.abs(curves[:, 1:].sum(axis=1) / curves[:, 0] - 1))),
        "flux": np.median(flux, axis=0).tolist(),
        "device": xspec.Plot.device,
        "chatter": xspec.Xset.chatter,
        "marked": len(binned["marked_binned"]),
        "isrc": int(bxa.solver.get_isrc()),
        "isrc_of_two": two_sources(bxa, xspec, spectrum),
        "custom": sorted(custom),
        "uniform": uniform["transform"](0.5),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
