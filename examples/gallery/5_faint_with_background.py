"""A faint source on its background

About 180 counts of the source among 2,300 of the background. Nothing is subtracted and nothing is grouped: with a
background file, `statistic cstat` is XSPEC's W-statistic, of source and background counts together.

**How far to trust it.** The photon index is poorly known, and the posterior says so. Its prior matters here, so the
corner plot is worth a look: where the posterior fills the prior's range, the data have said nothing. The W-statistic
takes each bin's background at its best value; where bins have no background counts at all it is known to be biased,
so keep the background region large (ten times the source's here).
"""

from pathlib import Path

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # real PyXspec where there is HEASoft, else the embedded engine
from xspec_sixsa.interfaces.demo import make_demo_data
from xspec_sixsa.products.plots import predictions_plot

make_demo_data(Path("."))  # for its response
xspec.Xset.chatter, xspec.Xset.seed = 0, 1
xspec.Model("powerlaw", setPars=(1.4, 1e-4))  # the background, for ten times as long
background = xspec.FakeitSettings("demo_pn.rmf", "demo_pn.arf", exposure=1e5, fileName="background.pha")
xspec.AllData.fakeit(1, background)

xspec.AllData.clear()
model = xspec.Model("TBabs*powerlaw", setPars=(0.1, 2.0, 1e-5))  # the truth
source = xspec.FakeitSettings("demo_pn.rmf", "demo_pn.arf", "background.pha", exposure=1e4, fileName="faint.pha")
xspec.AllData.fakeit(1, source)
xspec.AllData(1).ignore("**-0.5 7.0-**")
xspec.Fit.statMethod = "cstat"  # there is a background: W

model.TBabs.nH.frozen = True  # known from the Galaxy
priors = [sixsa.uniform(model.powerlaw.PhoIndex, 0.0, 4.0), sixsa.loguniform(model.powerlaw.norm, 1e-7, 1e-3)]
result = sixsa.fit(priors, target_ess=500, seed=1, compressor="pca")
print(result.summary())
print(result.flux(0.5, 7.0))

# XSPEC's own plot, rebinned for the eye only (`setplot rebin`).
xspec.Plot.xAxis = "keV"
xspec.Plot.setRebin(5, 60)
predictions_plot(result.posterior_predictions_convolved(nsamples=200, plottype="ldata"), "1_spectrum.png")
result.corner("2_corner.png", truth={"PhoIndex__2": 2.0, "norm__3": 1e-5})
