"""Is there a line? Two models on the same data

A spectrum with a narrow iron line of 85 eV equivalent width, and the question that every referee asks. Both
models are fitted, and ranked by their evidence and by how well they would predict a spectrum like this one.

**How far to trust it.** The evidence has an error, and it is small. What it depends on is the prior: a line that may
lie anywhere from 6 to 7 keV, with any strength over three decades, has to pay for that freedom. Change the ranges,
and ln B changes with them, so say them in the paper. The predictive score (elpd) hardly depends on them.
"""

from pathlib import Path

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # real PyXspec where there is HEASoft, else the embedded engine
from xspec_sixsa.interfaces.demo import make_demo_data

make_demo_data(Path("."))  # for its response
xspec.Xset.chatter, xspec.Xset.seed = 0, 1
xspec.Model("powerlaw + gaussian", setPars=(1.8, 1e-3, 6.4, 0.01, 3e-6))
fake = xspec.FakeitSettings("demo_pn.rmf", "demo_pn.arf", exposure=20000, fileName="line.pha")
xspec.AllData.fakeit(1, fake)
xspec.AllData(1).ignore("**-2.0 10.0-**")
xspec.Fit.statMethod = "cstat"

# Without the line ...
model = xspec.Model("powerlaw", setPars=(1.8, 1e-3))
continuum = [sixsa.uniform((model, 1), 1.0, 3.0), sixsa.loguniform((model, 2), 1e-4, 1e-2)]
sixsa.fit(continuum, target_ess=300, seed=1, compressor="pca", output="without", replace_chains=True)

# ... and with it: narrow, its energy and strength free.
model = xspec.Model("powerlaw + gaussian", setPars={1: 1.8, 2: 1e-3, 3: 6.4, 4: "0.01,-1", 5: 1e-6})
line = [sixsa.uniform(model.gaussian.LineE, 6.0, 7.0), sixsa.loguniform(model.gaussian.norm, 1e-7, 1e-4)]
continuum = [sixsa.uniform((model, 1), 1.0, 3.0), sixsa.loguniform((model, 2), 1e-4, 1e-2)]
result = sixsa.fit(continuum + line, target_ess=300, seed=1, compressor="pca", output="with", replace_chains=True)

ranking = sixsa.rank(["without", "with"])
print(ranking)
ranking.plot("1_ranking.png")
result.corner("2_corner_with_the_line.png")
print(result.eqwidth("gaussian"))
