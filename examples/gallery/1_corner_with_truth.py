"""A posterior beside the truth

The first test of any method: make a spectrum from parameters that you know, fit it as if you did not, and look where
the truth lies. The spectrum is EPIC-pn-like, of an absorbed black body and power law, with about 10,000 counts.

**How far to trust it.** `RELIABLE` says that the draws and their weights are good. The last line puts the truth into
the joint posterior: the share of it that lies nearer to the mean than the truth does. Below 99 % is where it should
be, in 99 cases of 100. One spectrum cannot show more than that; `sixsa calibrate` asks whether 200 spectra have their
truths as often inside as they should.
"""

from pathlib import Path

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # real PyXspec where there is HEASoft, else the embedded engine
from xspec_sixsa.interfaces.demo import TRUTH, make_demo_data

# Response, spectrum and a session as `save all` writes it: TBabs*(bbodyrad+powerlaw), C-stat, 0.5-10 keV.
xspec.Xset.chatter = 0  # no tables of XSPEC's between ours
xspec.Xset.restore(str(make_demo_data(Path("."))))
model = xspec.AllModels(1)

# What was known before: ranges. A norm spans orders of magnitude, so its logarithm is uniform.
priors = [
    sixsa.uniform(model.TBabs.nH, 0.0, 0.5),
    sixsa.uniform(model.bbodyrad.kT, 0.01, 2.0),
    sixsa.loguniform(model.bbodyrad.norm, 1e-2, 1.0),
    sixsa.uniform(model.powerlaw.PhoIndex, 0.0, 5.0),
    sixsa.loguniform(model.powerlaw.norm, 1e-5, 1e-2),
]
# The compressor only helps to find the posterior. The cheap one does here, and the answer is exact all the same.
result = sixsa.fit(priors, target_ess=1000, seed=1, compressor="pca")
print(result.summary())

# Contours hold 68 and 95 %; the truth is dashed.
result.corner("corner.png", truth=TRUTH)
mass = result.credible_mass(TRUTH[name] for name in result.names)
print(f"\nNearer to the mean than the truth: {100 * mass:.0f} % of the posterior.")
