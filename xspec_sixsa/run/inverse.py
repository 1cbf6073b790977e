"""The surrogate inverse of a session: paired auto-encoders trained on spectra of the prior, for one observation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.coverage import check_coverage
from xspec_sixsa.infer.emulator import Recovery
from xspec_sixsa.infer.factoredsearch import FactoredSearch
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.paired import PairedEmulator
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.search import teaching_weights
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.run.first import first_simulations
from xspec_sixsa.run.network import Network
from xspec_sixsa.session import Session

__all__ = ["JUDGED", "STEPS", "Inverse", "Taught", "invert", "taught"]

SPECTRA, MOST_NUMBERS = 3000, 30_000_000  # emulated spectra, and counts in them all
STEPS = 300  # of the training: a start need not be exact
JUDGED = 300  # simulated spectra that say what RRE and RMA are usual

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Inverse:
    """What the networks make of the observation.

    Attributes
    ----------
    theta : ndarray (2, d)
        Physical parameters after one pass, and after latent-space inversion.
    trained_on, looks : str
        As of `start.Start`.
    evaluations : dict of str to int
        By stage.
    """

    theta: Points
    trained_on: str
    looks: str
    evaluations: dict[str, int]


@dataclass(frozen=True)
class Taught:
    """What an inverse can be learned from.

    Attributes
    ----------
    spectra : Simulations
        Of the whole prior.
    made : str
        ``"emulated"`` or ``"evaluated"``.
    weights : ndarray (n,)
        Where it must be right.
    noise : Noise
    evaluations : dict of str to int
        That it took, by stage.
    """

    spectra: Simulations
    made: str
    weights: Points
    noise: Noise
    evaluations: dict[str, int]


def taught(
    session: Session, prior: JointPrior, streams: Streams, progress: Progress, network: Network | None = None
) -> Taught:
    """Spectra of the whole prior: emulated ones where the model is linear in its norms, else evaluated ones.

    What a `network` knows is not evaluated again.

    Raises
    ------
    ValueError
        Where the model fails for the whole prior, or the observation is out of the prior's reach.
    """
    noise, model = Noise(session.observation), RecordedModel(session, prior, Checkpoint(), progress)
    problem = Problem(session.n_free, model, model.spent, noise, Settings(), streams, progress)
    first = first_simulations(problem, model, network)
    spectra, made = first[first.usable], "evaluated"
    if problem.factors is not None:
        emulator, made = FactoredSearch(problem, problem.factors).emulator, "emulated"
        u = problem.prior_draws(max(min(SPECTRA, MOST_NUMBERS // noise.n_bins), 10 * JUDGED // 3))
        spectra = Simulations(u, emulator.spectra(u), emulator.log_likelihood(u))
    check_coverage(spectra.counts.numpy(), session.observation)
    return Taught(spectra, made, teaching_weights(spectra.log_likelihood)[0], noise, model.evaluations)


def invert(
    session: Session, prior: JointPrior, streams: Streams, progress: Progress, network: Network | None = None
) -> Inverse:
    """Train paired auto-encoders on spectra of the prior, and send the observation through them.

    Raises
    ------
    ValueError
        As `taught`.
    """
    known = taught(session, prior, streams, progress, network)
    spectra, n = known.spectra, len(known.spectra.u)
    with progress.task(f"paired auto-encoders: {n} spectra", STEPS) as tick, streams.torch("paired"):
        paired = PairedEmulator(spectra.u, spectra.counts, known.weights, known.noise, steps=STEPS, tick=tick)
    with progress.task("latent-space inversion", 1, "inversion"), streams.torch("recovery"):
        found = paired.starts()
        recovery = paired.recovery(np.repeat(found[1:], JUDGED, axis=0))
    trained_on = f"{n} {known.made} spectra of the prior"
    if network is not None and network.taught:
        what = "curves" if network.is_factored else "spectra"
        trained_on += f" ({network.taught} {what} were known from {network.folder})"
    return Inverse(prior.transform(found), trained_on, _in_words(recovery), known.evaluations)


def _in_words(recovery: Recovery) -> str:
    looks = "like" if recovery.inside else "NOT like"
    return (
        f"The observation looks {looks} spectra simulated where the inversion ended (RRE {recovery.rre:.3g}, limit "
        f"{recovery.rre_limit:.3g}; RMA {recovery.rma:.3g}, limit {recovery.rma_limit:.3g})."
    )
