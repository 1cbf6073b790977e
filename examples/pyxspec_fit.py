"""A whole analysis in PyXspec, in the folder of the Chandra spectrum of 3C 273 (38.6 ks, background attached):

    python pyxspec_fit.py

With HEASoft it runs in XSPEC; without, in the embedded engine, which knows these models too.
"""

import logging

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # or, where only XSPEC will do: import xspec

logging.basicConfig(format="%(message)s", level=logging.INFO)  # what it is doing, and the priors it takes

xspec.Fit.statMethod = "cstat"  # with a background file: the W-statistic
spectrum = xspec.Spectrum("3c273.pi")
spectrum.ignore("**-0.5 7.0-**")
model = xspec.Model("TBabs*powerlaw")
model.setPars(0.1, 2.0, 2e-4)

priors = [
    sixsa.uniform(model.TBabs.nH, 0.0, 0.2),
    sixsa.uniform(model.powerlaw.PhoIndex, 1.0, 3.0),
    sixsa.loguniform(model.powerlaw.norm, 1e-5, 1e-3),
]
result = sixsa.fit(priors, target_ess=200, seed=1, output="run1")
print(result.summary())

# XSPEC stands at the best fit and has the chain: its own commands now use the posterior.
xspec.Fit.error("1-3")
for index in (1, 2, 3):
    print(model(index).name, model(index).values[0], model(index).error[:2])
print(result.flux(2.0, 7.0))  # from the posterior itself; in XSPEC AllModels.calcFlux("2.0 7.0 err 1000 90") works too
