"""`bxa_before.py` moved to xspec_sixsa: the import, and the two lines that run it.

The `create_*_prior_for` names and whole lists of BXA's transformations are taken as they are.
"""

import xspec_sixsa as bxa
from xspec_sixsa import xspec  # or, where only XSPEC will do: import xspec

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
result = bxa.fit(transformations, target_ess=200, seed=1, output="run_sixsa")
print("log evidence", result.log_z, "+-", result.log_z_err)
