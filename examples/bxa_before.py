"""An analysis with BXA, as its documentation has it; `bxa_after.py` is the same with xspec_sixsa."""

import bxa.xspec as bxa
import xspec

xspec.Fit.statMethod = "cstat"
spectrum = xspec.Spectrum("3c273.pi")
spectrum.ignore("**-0.5 7.0-**")
model = xspec.Model("TBabs*powerlaw")
model.TBabs.nH.values = (0.1, 0.001, 0.0, 0.0, 0.2, 0.2)
model.powerlaw.PhoIndex.values = (2.0, 0.01, 1.0, 1.0, 3.0, 3.0)
model.powerlaw.norm.values = (2e-4, 1e-6, 1e-5, 1e-5, 1e-3, 1e-3)

transformations = [
    bxa.create_uniform_prior_for(model, model.TBabs.nH),
    bxa.create_uniform_prior_for(model, model.powerlaw.PhoIndex),
    bxa.create_loguniform_prior_for(model, model.powerlaw.norm),
]
solver = bxa.BXASolver(transformations=transformations, outputfiles_basename="run_bxa/")
results = solver.run(n_live_points=100)
print("log evidence", results["logz"], "+-", results["logzerr"])
