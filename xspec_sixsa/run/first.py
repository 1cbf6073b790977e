"""The first evaluations of a run: do the prior's draws work, and can the model be factored?"""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import torch

from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.run.network import Network
from xspec_sixsa.session import Session

__all__ = ["first_simulations"]

log = logging.getLogger(__name__)

FEW = 16  # first evaluations, over the prior
MOSTLY_USABLE = 0.9  # of the parameter sets drawn from the prior; with fewer something is said


def first_simulations(problem: Problem, model: RecordedModel, network: Network | None = None) -> Simulations:
    """Prior-wide simulations: a few, which show whether the model works, where the others are not needed.

    `problem.factors` is set where the model has them, and they are to be used. What a `network` knows, factors or
    simulations know, too.

    Raises
    ------
    ValueError
        When the model fails for all of them.
    """
    session = model.session
    u = problem.prior_draws(problem.settings.first)
    first = model(u[:FEW], "round 1")
    if problem.settings.by_component and (network is None or network.is_factored):
        _check_usable(first, session)
        problem.factors, why = model.factors()
        if problem.factors is not None:
            n = len(problem.factors.parts)
            log.info("the model is emulated in %d part%s, linear in the norms", n, "s" * (n > 1))
            if network is not None:
                network.teach(problem.factors)
            return first
        log.info("the model is emulated as a whole: %s", why)
    if network is not None and not network.is_factored:
        _check_usable(first, session)
        first = first + _known_spectra(problem, model, network)
        if not network.beyond:
            return first
    if len(u) > FEW:
        first = first + model(u[FEW:], "round 1")
    _check_usable(first, session)
    return first


def _known_spectra(problem: Problem, model: RecordedModel, network: Network) -> Simulations:
    """What an earlier run has evaluated, scored for this observation; one evaluation sees that it holds."""
    u, counts = network.known(0, range(len(model.prior)))
    if len(u):
        network.check(model.curves(model.prior.transform(u[:1])), counts[:1])
    network.taught = len(u)
    spectra = torch.tensor(counts)
    log_likelihood = problem.noise.statistics.log_likelihood(spectra).numpy()
    return Simulations(u, spectra.float(), np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf))


def _check_usable(first: Simulations, session: Session) -> None:
    usable = float(first.usable.mean())
    if usable == 0:
        reasons = sorted({reason for _, _, reason in session.failures})
        raise ValueError(
            f"The model failed for all {len(first.u)} parameter sets drawn from the prior ({'; '.join(reasons)}): "
            "there is nothing to fit. Narrow the priors to where the model works, and try `show` there."
        )
    if usable < MOSTLY_USABLE:
        why = Counter(reason for _, _, reason in session.failures)
        log.warning(
            "The model failed for %.0f %% of the parameter sets drawn from the prior; they get zero likelihood (%s).",
            100 * (1 - usable), why.most_common(1)[0][0] if why else "it gives no finite likelihood",
        )  # fmt: skip
