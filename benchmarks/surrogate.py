"""A Gaussian-process surrogate of the likelihood for comparison: PyVBMC (Huggins et al. 2023, JOSS 8, 5428).

    pip install pyvbmc

Its posterior is a mixture of Gaussians that is fitted to the surrogate: it takes few evaluations, and its draws, which
are independent, carry no exact weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

from xspec_sixsa.compare.nested import Clock
from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.session import Session

__all__ = ["run_vbmc"]

DRAWS = 10_000
LEAST = -1e6  # log likelihood of what has none: a Gaussian process takes no infinity
PLAUSIBLE = 1.5  # standard deviations of the prior in which PyVBMC begins


def run_vbmc(session: Session, prior: JointPrior, *, seed: int = 1) -> Posterior:
    """Run PyVBMC on the session, with its own settings, in coordinates in which the prior is a unit normal.

    Raises
    ------
    CompareError
        Where PyVBMC is not installed.
    """
    try:
        from pyvbmc import VBMC
    except ImportError as error:
        raise CompareError("PyVBMC is not installed: pip install pyvbmc") from error
    clock, d = Clock("PyVBMC"), session.n_free

    def log_likelihood(z: np.ndarray) -> float:
        return float(session.evaluate(prior.transform(ndtr(z)[None]), "vbmc").log_likelihood[0])

    timed = clock.timed(log_likelihood)

    def log_joint(z: Any) -> float:
        z = np.ravel(z)
        return max(timed(z), LEAST) - 0.5 * float(z @ z) - 0.5 * d * np.log(2 * np.pi)

    np.random.seed(seed)
    with session, clock:
        begin, side = np.zeros((1, d)), np.full((1, d), PLAUSIBLE)
        sampler = VBMC(log_joint, begin, plausible_lower_bounds=-side, plausible_upper_bounds=side,
                       options={"display": "off"})  # fmt: skip
        found, told = sampler.optimize()
        z = found.sample(DRAWS)[0]
    return Posterior(
        "vbmc", prior.transform(ndtr(z)), np.ones(len(z)), len(z), float(told["elbo"]), float(told["elbo_sd"]),
        seed=seed, notes=["" if told["success_flag"] else "did not converge"], **clock.cost(),
    )  # fmt: skip
