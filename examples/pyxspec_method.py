"""The same analysis with sixsa as XSPEC's fitting method: the rest of a script stays as it is.

python pyxspec_method.py
"""

import xspec_sixsa as sixsa
from xspec_sixsa import xspec  # or, where only XSPEC will do: import xspec

sixsa.install(output="run2")

xspec.Fit.statMethod = "cstat"
spectrum = xspec.Spectrum("3c273.pi")
spectrum.ignore("**-0.5 7.0-**")
model = xspec.Model("TBabs*powerlaw")
model.setPars(0.1, 2.0, 2e-4)

# Priors by number, as at the Tcl prompt. The limits of a parameter do for a uniform one.
model.TBabs.nH.values = (0.1, 0.001, 0.0, 0.0, 0.2, 0.2)
model.powerlaw.PhoIndex.values = (2.0, 0.01, 1.0, 1.0, 3.0, 3.0)
sixsa.prior(3, "loguniform", 1e-5, 1e-3)

xspec.Fit.method = "sixsa 200 1"  # effective samples, seed
xspec.Fit.perform()
xspec.Fit.error("1-3")

result = sixsa.last_result
print(f"log evidence {result.log_z:.2f} +- {result.log_z_err:.2f}, {result.status}")
for name, median, (low, high) in zip(result.names, result.quantile(0.5), result.interval(0.9), strict=True):
    print(f"{name}: {median:.4g}, 90 % {low:.4g} to {high:.4g}")

xspec.Fit.method = "leven"  # XSPEC's own again
