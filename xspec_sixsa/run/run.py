"""One run: prior-wide simulations, inference, the result, and what it leaves in XSPEC and in its folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xspec_sixsa.common.deadline import Stopped
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.coverage import check_coverage
from xspec_sixsa.infer.factored import Factored
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.noise import Noise
from xspec_sixsa.infer.optimum import optimum
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.infer.searching import Searching
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.priors import JointPrior, save_toml
from xspec_sixsa.products.report import illustrate
from xspec_sixsa.result import Result
from xspec_sixsa.run.assemble import assemble
from xspec_sixsa.run.first import first_simulations
from xspec_sixsa.run.folder import CHECKPOINT, begin
from xspec_sixsa.run.learned import save_network
from xspec_sixsa.run.network import Network
from xspec_sixsa.session import Session

__all__ = ["Run"]

log = logging.getLogger(__name__)


class Run:
    """One run on the session that XSPEC holds.

    Parameters
    ----------
    session : Session
    prior : JointPrior
    record : dict
        What identifies the run (`folder.prepare`); its seed is drawn here where it is None.
    options, settings : dict
        Fields of `infer.settings.Settings`: the user's, and further ones for studies.
    folder : Path or None
        Where its files go.
    network : Network or None
        What an earlier run has learned.
    resume : bool
        Whether the folder holds a stopped run to go on with.
    progress : bool
        Bars on a terminal.
    """

    def __init__(
        self,
        session: Session,
        prior: JointPrior,
        record: dict[str, Any],
        options: dict[str, Any],
        settings: dict[str, Any],
        folder: Path | None,
        network: Network | None,
        *,
        resume: bool,
        progress: bool,
    ) -> None:
        streams = Streams(record["seed"])
        self.record = record | {"seed": streams.seed}
        self.options, self.folder = options, folder
        self.network = network
        self.progress = Progress(progress)
        # nothing is written before the first evaluations have shown that the problem is one
        checkpoint = Checkpoint(folder / CHECKPOINT if resume and folder is not None else None, resume)
        self.model = RecordedModel(session, prior, checkpoint, self.progress)
        self._problem = Problem(
            session.n_free,
            self.model,
            self.model.spent,
            Noise(session.observation),
            Settings(**(options | settings)),
            streams,
            self.progress,
            trained=None if network is None else network.trained,
        )

    def result(self, *, polish: bool, replace_chains: bool, truth: Mapping[str, float] | None) -> Result:
        """Do it; parameters as for `fit`."""
        began = time.monotonic()
        with self.model.session:
            first = first_simulations(self._problem, self.model, self.network)
            inference = self._begin(first)
            result = assemble(inference, self.model, first, self.record, self._infer(inference))
            if self.network is not None and result.emulator:
                result.emulator |= self._what_was_reused(self.network, inference)
            if self.folder is not None:
                # the posterior first: neither a native fit nor a picture may cost it
                result.save(self.folder)
                self._hand_over(result, self.folder, replace_chains)
            # whatever is set after the native fit would make XSPEC forget it: nothing is
            if polish and np.isfinite(result.best_statistic):
                self._polish(result, inference)
            seconds = self.progress.seconds
            result.seconds = seconds | {"other": time.monotonic() - began - sum(seconds.values())}
            if self.folder is not None:
                self._write(result, self.folder, truth)
                save_network(self.folder, inference, self.model.session, self.model.prior, result.emulator)
        return result

    def _what_was_reused(self, network: Network, inference: Inference) -> dict[str, Any]:
        """How many curves or spectra were known, and how well they did when first checked; how many were measured."""
        strategy = inference.strategy
        if not isinstance(strategy, Searching) or not network.taught:
            return {}
        errors = [step["effective_error"] for step in strategy.search.steps[:1]]
        if errors and errors[0] > strategy.accuracy:
            log.warning(
                "The network from %s did not hold here: its emulator was off by %.2g in log L. It was trained on.",
                network.folder, errors[0],
            )  # fmt: skip
        new = max(strategy.search.measured - network.taught, 0)
        networks = [f"{r['estimator']} {r['network']}" for r in strategy.rounds.records if "network" in r]
        return {
            "reused": network.taught, "reused_from": str(network.folder), "reused_kind": network.about["kind"],
            "measured": new, "reused_error": errors[0] if errors else np.nan, "reused_network": ", ".join(networks),
        }  # fmt: skip

    def _begin(self, first: Simulations) -> Inference:
        """An inference that knows the prior's spectra, which the observation must be one of."""
        inference = Inference(self._problem)
        inference.begin(first)
        prior = inference.strategy.prior
        check_coverage(prior.counts.numpy()[prior.usable], self.model.session.observation)
        if isinstance(inference.strategy, Factored) and self.network is not None and self.network.taught:
            inference.strategy.search.locate(trusted=False)
        if self.folder is not None:
            begin(self.folder, self.record)
            self.model.checkpoint.keep(self.folder / CHECKPOINT)
        return inference

    def _infer(self, inference: Inference) -> str:
        """What stopped the inference; empty where it came to its end."""
        try:
            inference.run()
        except KeyboardInterrupt as interrupt:
            stop, n = Stopped.of(interrupt), len(self.model.checkpoint)
            kept = (
                "the result so far is returned; with an output folder the run could be resumed"
                if self.folder is None
                else f"they and the result so far are kept in {self.folder}; resume=True (--resume) goes on with them"
            )
            log.warning("Stopped by %s after %d evaluations: %s.", stop.cause, n, kept)
            return f"interrupted by {stop.cause} after {n} evaluations"
        return ""

    def _hand_over(self, result: Result, folder: Path, replace_chains: bool) -> None:
        """Load the posterior into XSPEC as a chain, where XSPEC takes one."""
        session = self.model.session
        if session.why_no_chain:
            log.warning("No chain.fits: %s.", session.why_no_chain)
            result.reasons.append(f"no chain.fits: {session.why_no_chain}")
        elif result.ess > 0:
            session.load_chain(result.save_chain(folder / "chain.fits"), replace=replace_chains)

    def _polish(self, result: Result, inference: Inference) -> None:
        """Leave XSPEC at the best fit, by a short fit of its own from the best draw, or better where that is known."""
        session, emulator, draws = self.model.session, inference.strategy.emulator, inference.draws
        with self.progress.task("native fit", 1, "polish"):
            if emulator is not None and draws is not None and len(draws):
                u = optimum(emulator.smooth_log_likelihood, draws.u, int(np.argmax(draws.log_likelihood)))
                found = session.evaluate(self.model.prior.transform(u[None]), "polish")
                if found.ok[0] and found.statistic[0] < result.best_statistic:
                    result.best_fit, result.best_statistic = found.theta[0], float(found.statistic[0])
            best = session.best_fit(result.best_fit, self.model.prior.support)
        if best.statistic <= result.best_statistic:
            result.best_fit, result.best_statistic = best.theta, best.statistic
        if best.complaint:
            log.warning("%s.", best.complaint)
            result.reasons.append(best.complaint)
        result.evaluations = self.model.evaluations

    def _write(self, result: Result, folder: Path, truth: Mapping[str, float] | None) -> None:
        self.model.session.save_xcm(folder / "session.xcm")
        save_toml(folder / "priors.toml", self.model.prior, self.options | {"seed": self.record["seed"]})
        result.save(folder)
        illustrate(result, folder, truth=truth)
