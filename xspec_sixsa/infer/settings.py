"""What a run may spend and when it stops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["COMPRESSORS", "EMULATORS", "ESTIMATORS", "EXACT", "GUIDES", "TRAINING", "Settings"]

COMPRESSORS = ("autoencoder", "pca", "bands", "score", "none")
ESTIMATORS = ("npe", "lbf", "variational")
GUIDES = ("flow", "gaussian")
EMULATORS = ("linear", "paired")
TRAINING = ("emulated", "unfactored", "simulated")
EXACT = ("draws", "control")
CONTROL_DRAWS = 150  # exact ones that emulated ones are corrected by, at first


@dataclass
class Settings:
    """What a run may spend and when it stops.

    Attributes
    ----------
    target_ess : float
        Effective samples wanted.
    budget : int
        Evaluations that may be spent in all.
    compressor : str
        "autoencoder", "pca", "bands", "score" or "none".
    estimator : str
        "npe", "lbf" or "variational": what learns the posterior of compressed spectra. "npe" does where draws do not
        pass the verdict, and wherever the model is not emulated in parts; another one always.
    basis : {"splines", "adaptive"}
        Of "lbf".
    guide : {"flow", "gaussian"}
        Of "variational".
    training : {"emulated", "unfactored", "simulated"}
        What proposal, compressor and flow learn from: emulated spectra, made component by component where the model is
        linear in its norms; emulated whole; or XSPEC's simulations only (SIXSA III).
    emulator : {"linear", "paired"}
        What emulates spectra: principal components and kernels in closed form, component by component where the model
        is linear in its norms; or networks, paired auto-encoders, always of whole spectra.
    exact_draws : float
        Effective exact draws that correct emulated ones, at first.
    exact : {"draws", "control"}
        Whether each draw of the result is an exact evaluation, or a few of these correct many emulated draws.
    first : int
        Prior-wide simulations to begin with; 0: 120 per parameter, 3000 (simulated). With a factored emulator 16 do.
    batch : int
        Evaluations of a search step; 0: 40 per parameter, at least 100.
    explore : float
        Share of a search step that is drawn from the prior and from the flow.
    accuracy : float
        Error of the emulator in log L over the posterior that ends the search: about ``exp(-error^2)`` of the draws
        are effective. 0: ``sqrt(0.8 batch / target_ess)``, within 0.1-0.4: a step that halves the error saves as
        many draws as it costs at ``sqrt(1.3 batch / target_ess)``, and the error is known from a few points only.
    searches : int
        Most search steps before each set of final draws.
    emulated : int
        Emulated spectra that compressor and flow are trained on.
    rounds : int
        Most rounds of neural posterior estimation on simulations.
    later : int
        Most simulations of a round after the first.
    pilot : int
        Draws with exact weights that judge a proposal.
    refinements : int
        Most refinements after the rounds, and before each further attempt.
    attempts : int
        Sets of final draws that are judged: those that fail the verdict only teach the next proposal.
    flow_steps, explorer_steps, refine_steps : int
        Training steps of a round's flow, of the flow that explores for the emulator, and of a refinement's.
    truncation : float
        Mass left outside the highest-density region (SIXSA III: 1e-4).
    enough_to_refine, good_enough : float
        Effective samples per pilot draw that end the rounds, and the refinements.
    teachers : float
        Effective draws per parameter that a final proposal must have been fitted to.
    """

    target_ess: float = 1000
    budget: int = 20000
    compressor: str = "autoencoder"
    estimator: str = "npe"
    basis: str = "splines"
    guide: str = "flow"
    training: str = "emulated"
    emulator: str = "linear"
    exact: str = "draws"
    exact_draws: float = CONTROL_DRAWS
    first: int = 0
    batch: int = 0
    explore: float = 0.1
    accuracy: float = 0.0
    searches: int = 25
    emulated: int = 4000
    rounds: int = 5
    later: int = 1500
    pilot: int = 400
    refinements: int = 6
    attempts: int = 3
    flow_steps: int = 1000
    explorer_steps: int = 500
    refine_steps: int = 300
    truncation: float = 1e-4
    enough_to_refine: float = 0.2
    good_enough: float = 0.75
    teachers: float = 100

    @property
    def by_component(self) -> bool:
        """Whether the model is to be emulated component by component, where it can be."""
        return self.training == "emulated" and self.emulator == "linear"

    @property
    def exact_ess(self) -> float:
        """Effective samples wanted of exact draws."""
        return self.target_ess if self.exact == "draws" else min(self.exact_draws, self.target_ess)

    def worthwhile(self, cost: float, least: float, most: float) -> float:
        """Error of an emulator in log L below which a further step of `cost` evaluations costs more than it saves."""
        return float(np.clip(np.sqrt(0.8 * cost / self.target_ess), least, most))

    def sized(self, dimension: int) -> Settings:
        """A copy whose sizes are set for `dimension` free parameters."""
        first = self.first or (120 * dimension if self.training != "simulated" else 3000)
        first = min(first, max(self.budget // 3, 100))
        batch = self.batch or max(40 * dimension, 100)
        accuracy = self.accuracy or self.worthwhile(batch, 0.1, 0.4)
        return replace(self, first=first, batch=batch, accuracy=accuracy)
