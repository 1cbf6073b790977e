"""A reliable posterior of the wrong model

The spectrum has a black body and a power law. Here it is fitted by a power law alone. The posterior is narrow, and it
is reliable: it is the right answer to the wrong question. The data say so, when they are asked.

**How far to trust it.** The verdict `RELIABLE` is about the sampling, never about the model. Whether the model
describes the data is seen in the residuals below, and by `result.diagnose()`: C-stat against what this model expects,
spectra simulated from the posterior, and the largest narrow residual.
"""

from pathlib import Path

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # real PyXspec where there is HEASoft, else the embedded engine
from xspec_sixsa.interfaces.demo import make_demo_data

xspec.Xset.chatter = 0
xspec.Xset.restore(str(make_demo_data(Path("."))))  # the spectrum, and the model that it was made from
model = xspec.Model("TBabs*powerlaw", setPars=(0.1, 2.0, 1e-3))  # and the one we try instead

priors = [
    sixsa.uniform(model.TBabs.nH, 0.0, 0.5),
    sixsa.uniform(model.powerlaw.PhoIndex, 0.0, 5.0),
    sixsa.loguniform(model.powerlaw.norm, 1e-5, 1e-2),
]
result = sixsa.fit(priors, target_ess=300, seed=1, compressor="pca", output="run")
print(result.status, "after", sum(result.evaluations.values()), "evaluations")

# Data, the posterior's 68 and 95 % bands, and what is left over, bin by bin.
result.predictive("predictive.png")
print(result.diagnose())
