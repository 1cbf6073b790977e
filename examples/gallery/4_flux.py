"""The flux as a posterior

Fluxes, luminosities and equivalent widths follow from the parameters, so each draw of the posterior has one. XSPEC's
own `flux` command computes them. Here are the flux that is observed, and the one before absorption, from about 500
counts.

**How far to trust it.** The draws carry the correlations: the unabsorbed flux is far less certain than the observed
one, because the column density is not well known, and its error is larger upwards than downwards. What is not in it:
the error of the effective area, and the choice of the model.
"""

from pathlib import Path

import matplotlib.pyplot as plt

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # real PyXspec where there is HEASoft, else the embedded engine
from xspec_sixsa.interfaces.demo import make_demo_data

make_demo_data(Path("."))  # for its response
xspec.Xset.chatter, xspec.Xset.seed = 0, 1
xspec.Xset.abund = "wilm"
model = xspec.Model("TBabs*powerlaw", setPars=(0.3, 1.9, 5e-5))
xspec.AllData.fakeit(1, xspec.FakeitSettings("demo_pn.rmf", "demo_pn.arf", exposure=8000, fileName="src.pha"))
xspec.AllData(1).ignore("**-0.5 10.0-**")
xspec.Fit.statMethod = "cstat"
xspec.AllModels.calcFlux("0.5 2.0")
print(f"True observed flux: {xspec.AllData(1).flux[0]:.3g} erg/cm^2/s")

priors = [
    sixsa.uniform(model.TBabs.nH, 0.0, 2.0),
    sixsa.normal(model.powerlaw.PhoIndex, 1.9, 0.3),  # what is known of such sources
    sixsa.loguniform(model.powerlaw.norm, 1e-6, 1e-3),
]
result = sixsa.fit(priors, target_ess=500, seed=1, compressor="pca")

observed = result.flux(0.5, 2.0)
intrinsic = result.flux(0.5, 2.0, unabsorbed=True)  # every column density at zero
print(observed, intrinsic, sep="\n\n")

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for flux, label in ((observed, "observed"), (intrinsic, "before absorption")):
    axes.hist(1e14 * flux.samples[:, 0], 25, weights=flux.weights, density=True, alpha=0.6, label=label)
axes.set(xlabel=r"0.5-2 keV flux ($10^{-14}$ erg cm$^{-2}$ s$^{-1}$)", ylabel="probability density")
axes.legend(frameon=False)
figure.savefig("flux.png", dpi=150)
