"""BXA's own prior helpers beside ours, on whatever `import xspec` gives; run by test_priors.py; prints JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import scipy.stats


def main() -> None:
    if "--real" not in sys.argv:
        from xspec_sixsa.embedded import install

        install()
    import bxa.xspec as bxa
    import xspec

    from xspec_sixsa import priors as ours

    xspec.Xset.chatter = 0
    model = xspec.Model("TBabs*(powerlaw+bbodyrad)")
    model.TBabs.nH.values = "0.1,0.01,0.01,0.01,1,1"
    model.powerlaw.PhoIndex.values = "1.8,0.01,1,1,3,3"
    model.powerlaw.norm.values = "3e-3,1e-4,1e-4,1e-4,1e-1,1e-1"
    model.bbodyrad.kT.values = "0.3,0.01,0.1,0.1,2,2"

    def made(module: Any) -> list[Any]:
        return [
            module.create_uniform_prior_for(model, model.TBabs.nH),
            module.create_gaussian_prior_for(model, model.powerlaw.PhoIndex, 2.5, 0.6),
            module.create_loguniform_prior_for(model, model.powerlaw.norm),
            module.create_jeffreys_prior_for(model, model.powerlaw.norm),
            module.create_custom_prior_for(model, model.bbodyrad.kT, lambda u: 0.1 + 1.9 * u**2),
            module.create_custom_prior_for(model, model.bbodyrad.kT, scipy.stats.norm(-0.5, 0.1).ppf, lambda x: 10**x),
        ]

    u = np.linspace(0.01, 0.99, 25)
    transformations = made(bxa)
    soft = {}
    for name, module in (("bxa", bxa), ("ours", ours)):
        model.powerlaw.norm.values = "3e-3,1e-4,1e-4,1e-3,1e-2,1e-1"
        try:
            module.create_uniform_prior_for(model, model.powerlaw.norm)
        except UserWarning as error:
            soft[name] = str(error)
        model.powerlaw.norm.values = "3e-3,1e-4,1e-4,1e-4,1e-1,1e-1"
    print("RESULT " + json.dumps({
        "bxa": [[float(t["aftertransform"](t["transform"](float(x)))) for x in u] for t in transformations],
        "from_bxa": [prior.ppf(u).tolist() for prior in ours.from_bxa(transformations)],
        "ours": [prior.ppf(u).tolist() for prior in made(ours)],
        "indices": [prior.parameter[1] for prior in ours.from_bxa(transformations)],
        "our_indices": [prior.parameter[1] for prior in made(ours)],
        "soft": soft,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
