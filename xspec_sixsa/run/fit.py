"""`fit`: from the session that XSPEC holds to an exact posterior, its files, and the chain in XSPEC."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa import __version__
from xspec_sixsa import priors as prior_module
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.coverage import check_coverage
from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.priors import save_toml
from xspec_sixsa.products.report import illustrate
from xspec_sixsa.result import Result, SpectrumPredictive
from xspec_sixsa.run import folder as folder
from xspec_sixsa.run.folder import CHECKPOINT, begin
from xspec_sixsa.session import Session, difference

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["fit"]

log = logging.getLogger(__name__)

CHUNK = 500  # evaluations between checkpoints: what a killed run can lose
PREDICTIVE_DRAWS = 200
COMPONENT_DRAWS = 30
POSITIVE = ("target_ess", "budget")
TRAINING = ("emulated", "simulated")


def fit(
    priors: Any = None,
    *,
    target_ess: int | None = None,
    budget: int | None = None,
    compressor: str | None = None,
    training: str | None = None,
    seed: int | None = None,
    workers: int | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    clobber: bool = False,
    polish: bool = True,
    replace_chains: bool = False,
    progress: bool = True,
    xspec: ModuleType | None = None,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Posterior of the model and data loaded in XSPEC, under XSPEC's own fit statistic.

    The session is left as it was but for the model's values (at the best fit) and the chain (loaded).

    Parameters
    ----------
    priors : list of Prior, list of BXA transformations, path of a TOML file, or None
        One prior per free parameter; those without one take XSPEC's own limits and `bayes` setting, and are printed.
    target_ess : int, default 1000
        Effective samples wanted.
    budget : int, default 20000
        Most evaluations of the model.
    compressor : {"autoencoder", "pca", "bands", "none"}, default "autoencoder"
    training : {"emulated", "simulated"}, default "emulated"
        What compressor and flow are trained on: spectra that an emulator of the model makes, or XSPEC's simulations
        only, in rounds (SIXSA III), which takes several times as many evaluations.
    seed : int, optional
        Same seed and machine, same answer; drawn and reported when not given.
    workers : int, optional
        Processes that evaluate XSPEC's models; default: all cores.
    output : path, optional
        Folder for the result's files (DESIGN: summary.json, posterior.npz, chain.fits, pictures ...). Without one
        nothing is written, and no chain is loaded into XSPEC.
    resume, clobber : bool, default False
        Continue the run that `output` holds, or replace it; a folder with something in it is refused otherwise.
    polish : bool, default True
        End with a short native fit from the best draw, which leaves XSPEC with a valid fit; False leaves the model as
        it was.
    replace_chains : bool, default False
        Unload chains that are loaded in XSPEC; they are refused otherwise.
    progress : bool, default True
        Bars on a terminal.
    xspec : module, optional
        The PyXspec to use; default: the real one where it can be imported, else the embedded engine.
    settings : dict, optional
        Further fields of `rounds.Settings` (``rounds``, ``first``, ``flow_steps`` ...), for studies.

    Returns
    -------
    Result

    Raises
    ------
    ValueError, FileExistsError
        For priors, options, sessions or folders that cannot work; before any evaluation, but for an observation
        outside the prior's reach (`coverage.CoverageError`), which takes 500.

    References
    ----------
    Barret & Dupourque, SIXSA III, arXiv 2512.16709.
    """
    prior_list, options = prior_module.normalise(priors)
    asked = {"target_ess": target_ess, "budget": budget, "compressor": compressor, "training": training, "seed": seed}
    for key, value in asked.items():
        if value is not None:
            options[key] = value
    settings_options = _settings_options(options) | (settings or {})
    session = Session(xspec, workers=workers)
    prior = prior_module.bind(prior_list, session)
    run = {
        "seed": options.get("seed"),
        "compressor": settings_options.get("compressor", "autoencoder"),
        "training": settings_options.get("training", "emulated"),
        "settings": settings or {},
        "fingerprint": session.fingerprint() | {"priors": prior.to_dict()},
    }
    if output is not None:
        if not replace_chains:
            session.refuse_chains()
        elif clobber:
            session.unload_chains(output)
        run = folder.prepare(output, run, resume=resume, clobber=clobber, difference=_difference)
    elif resume:
        raise ValueError("resume=True needs the output folder of the run to be resumed.")
    for line in prior.describe():
        log.info("prior  %s", line)
    return _Run(session, prior, run, settings_options, output, polish, replace_chains, progress, resume).result()


def _settings_options(options: dict[str, Any]) -> dict[str, Any]:
    from xspec_sixsa.infer.compress import COMPRESSORS

    chosen = {k: v for k, v in options.items() if k in (*POSITIVE, "compressor", "training")}
    for key in POSITIVE:
        if key in chosen:
            if not (chosen[key] > 0 and int(chosen[key]) == chosen[key]):
                raise ValueError(f"{key} is {chosen[key]}: it must be a whole number above zero.")
            chosen[key] = int(chosen[key])
    if chosen.get("training", "emulated") not in TRAINING:
        raise ValueError(f"Unknown training {chosen['training']!r}: type one of {', '.join(TRAINING)}.")
    if chosen.get("compressor", "autoencoder") not in COMPRESSORS:
        raise ValueError(f"Unknown compressor {chosen['compressor']!r}: type one of {', '.join(COMPRESSORS)}.")
    if "target_ess" in chosen and "budget" in chosen and chosen["budget"] < chosen["target_ess"]:
        raise ValueError(
            f"A budget of {chosen['budget']} evaluations cannot give {chosen['target_ess']:g} effective samples: each "
            "needs at least one. Raise budget or ask for fewer."
        )
    return chosen


def _difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return difference(old, new)


@dataclass
class _Run:
    session: Any
    prior: Any
    run: dict[str, Any]
    options: dict[str, Any]
    output: str | os.PathLike[str] | None
    polish: bool
    replace_chains: bool
    show: bool
    resume: bool
    seconds: dict[str, float] = field(default_factory=dict)

    def result(self) -> Result:
        from xspec_sixsa.infer.rounds import Inference, Settings
        from xspec_sixsa.infer.training import one_thread

        began = time.monotonic()
        session = self.session
        with session, one_thread():
            interrupted = None
            inference = None
            try:
                streams = Streams(self.run["seed"])
                self.run["seed"] = streams.seed
                settings = Settings(**self.options).sized(session.n_free)
                folder = Path(self.output) / CHECKPOINT if self.output is not None else None
                inference = self._inference(Inference, settings, streams)
                u = inference.prior_draws(settings.first)
                # nothing is written before the first evaluations have shown that the problem is one
                self.checkpoint = Checkpoint(folder if self.resume else None, self.resume)
                first = self._simulate(u[:CHUNK], "round 1")
                self._check_usable(first)
                check_coverage(first.counts.numpy()[first.usable], session.observation)
                if self.output is not None:
                    begin(self.output, self.run)
                    self.checkpoint.keep(folder)
                if len(u) > CHUNK:
                    first = first + self._simulate(u[CHUNK:], "round 1")
                self._first = first
                inference.run(first)
            except KeyboardInterrupt:
                if inference is None or not hasattr(self, "_first"):
                    raise
                interrupted = f"interrupted after {len(self.checkpoint)} evaluations"
                log.warning(
                    "Interrupted: what there is is kept%s.", "" if self.output is None else ", and can be resumed"
                )
            result = self._assemble(inference, interrupted)
            if self.output is not None:
                # the posterior first: neither a native fit nor a picture may cost it
                result.save(self.output)
                if session.why_no_chain:
                    log.warning("No chain.fits: %s.", session.why_no_chain)
                    result.reasons.append(f"no chain.fits: {session.why_no_chain}")
                elif result.ess > 0:
                    session.load_chain(result.save_chain(Path(self.output) / "chain.fits"), replace=self.replace_chains)
            # whatever is set after the native fit would make XSPEC forget it: nothing is
            self._polish(result)
            self.seconds["other"] = time.monotonic() - began - sum(self.seconds.values())
            result.seconds = dict(self.seconds)
            if self.output is not None:
                self._write(result)
        return result

    # -- evaluations -----------------------------------------------------------------------------------------------

    def _inference(self, kind: Any, settings: Any, streams: Any) -> Any:
        from xspec_sixsa.infer.noise import Noise

        self.progress = Progress(self.show)
        self.progress.seconds = self.seconds
        return kind(
            self.session.n_free,
            self._simulate,
            lambda: len(self.checkpoint) + sum(self._extra().values()),
            Noise(self.session.observation),
            settings,
            streams,
            self.progress,
        )

    def _extra(self) -> dict[str, int]:
        """Evaluations that are not in the checkpoint: probes, component curves, the native fit."""
        stages = self.checkpoint.evaluations
        return {k: v for k, v in self.session.evaluations.items() if k not in stages}

    def _simulate(self, u: NDArray[np.float64], stage: str, log_density: NDArray[np.float64] | None = None) -> Any:
        import torch

        from xspec_sixsa.infer.rounds import Simulations

        def model(part: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            evaluations = self.session.evaluate(self.prior.transform(part), stage)
            return evaluations.counts, evaluations.log_likelihood

        batches = []
        with self.progress.task(f"evaluating: {stage}", len(u), "evaluation") as tick:
            for start in range(0, len(u), CHUNK):
                part = slice(start, start + CHUNK)
                density = None if log_density is None else log_density[part]
                batches.append(self.checkpoint.evaluate(stage, u[part], density, model))
                tick(len(batches[-1].u))
        return Simulations(
            u,
            torch.from_numpy(np.concatenate([b.counts for b in batches])),
            np.concatenate([b.log_likelihood for b in batches]),
        )

    def _check_usable(self, first: Any) -> None:
        usable = float(first.usable.mean())
        if usable == 0:
            reasons = sorted({reason for _, _, reason in self.session.failures})
            raise ValueError(
                f"The model failed for all {len(first.u)} parameter sets drawn from the prior ({'; '.join(reasons)}): "
                "there is nothing to fit. Narrow the priors to where the model works, and try `show` there."
            )
        if usable < 0.9:
            log.warning(
                "The model failed for %.0f %% of the parameter sets drawn from the prior; they get zero likelihood.",
                100 * (1 - usable),
            )

    # -- the result ------------------------------------------------------------------------------------------------

    def _assemble(self, inference: Any, interrupted: str | None) -> Result:
        u, log_likelihood, log_density, reasons = self._draws(inference)
        weights = (
            inference.weights if len(inference.u) else Weights(log_likelihood - log_density, np.zeros(len(u), int))
        )
        if interrupted is not None:
            reasons = [interrupted, *reasons]
        elif not reasons:
            reasons = inference.verdict()
        samples = self.prior.transform(u)
        best = int(np.argmax(log_likelihood))
        rounds = [
            {
                **record,
                "samples": self.prior.transform(record["samples"]) if len(record["samples"]) else record["samples"],
            }
            for record in inference.rounds
        ]
        result = Result(
            names=self.session.names,
            labels=self.session.labels,
            units=self.session.units,
            samples=samples,
            log_weights=weights.log_weights,
            log_likelihood=log_likelihood,
            log_proposal=log_density,
            log_z=weights.log_z,
            log_z_err=weights.log_z_err,
            ess=weights.ess,
            k_hat=weights.k_hat,
            evaluations={},
            seconds={},
            status="unreliable" if reasons else "reliable",
            reasons=reasons,
            best_fit=samples[best],
            best_statistic=float(-2 * log_likelihood[best]),
            seed=self.run["seed"],
            versions=_versions(),
            fingerprint=self.run["fingerprint"],
            rounds=rounds,
            emulator=self._emulator(inference),
            common_norm=self._common_norm(inference, weights, interrupted),
        )
        if weights.ess > 0 and len(inference.u):
            result.predictive_data = self._predictive(result, inference)
            result.network_data = self._network_data(result, inference)
        result.evaluations = self.checkpoint.evaluations | self._extra()
        return result

    def _emulator(self, inference: Any) -> dict[str, Any]:
        found = inference.emulator_summary()
        if found:
            found["start"] = self.prior.transform(found["start"][None])[0].tolist()
        return found

    def _common_norm(self, inference: Any, weights: Any, interrupted: str | None) -> dict[str, Any]:
        """The weights once more with the model's scale integrated out: reported beside the result, not in it."""
        from xspec_sixsa.infer.normalisation import common_norm

        if interrupted is not None or weights.ess == 0 or not len(inference.u):
            return {"why_not": "the run has no final draws that it finished"}
        try:
            with self.progress.task("the common normalisation", 1, "common norm"):
                found = common_norm(
                    self.session, self.prior, inference.u, inference.log_likelihood, inference.counts.numpy(),
                    inference.proposal, weights,
                )  # fmt: skip
        except Exception as error:  # a number beside the result must not cost a finished posterior
            log.warning("The common normalisation is not integrated: %s", error)
            return {"why_not": f"it failed: {error}"}
        if "why_not" in found:
            log.info("the common normalisation is not integrated: %s", found["why_not"])
        return found

    def _draws(self, inference: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[str]]:
        """The final draws; where the run never came to them, the best exactly weighted ones that there are."""
        if len(inference.u):
            return inference.u, inference.log_likelihood, inference.log_density, []
        if inference.pilots:
            pilot = max(inference.pilots, key=lambda p: p.ess)
            return (
                pilot.u,
                pilot.log_likelihood,
                pilot.log_density,
                ["stopped before the final draws: a pilot's stand in"],
            )
        first = self._first
        reason = "stopped before the first posterior: draws from the prior stand in"
        return first.u, first.log_likelihood, np.zeros(len(first.u)), [reason]

    def _predictive(self, result: Result, inference: Any) -> list[Any]:
        """Posterior-predictive spectra: the final draws' own, and a few evaluated component by component."""
        counts = inference.counts.numpy()
        rng = np.random.default_rng([self.run["seed"] % 2**32, 1])
        chosen = result.resample(PREDICTIVE_DRAWS, rng, return_index=True)
        components: dict[str, NDArray[np.float64]] = {}
        try:
            with self.progress.task("component curves", 1, "evaluation"):
                components = self.session.component_counts(result.samples[chosen[:COMPONENT_DRAWS]])
        except Exception as error:  # a curve in a picture must not cost a finished posterior
            log.warning("No component curves in predictive.png: %s", error)
        spectra = []
        for s, part in zip(self.session.observation.spectra, self.session.observation.slices, strict=True):
            background = None if s.background is None else s.background_ratio * s.background
            spectra.append(
                SpectrumPredictive(
                    name=s.name,
                    energies=s.energies,
                    exposure=s.exposure,
                    counts=s.counts,
                    counts_error=np.sqrt(np.maximum(s.counts, 1.0)) if s.sigma is None else s.sigma,
                    background=background,
                    total=counts[chosen][:, part].astype(float) + (0.0 if background is None else background),
                    components={label: curve[:, part] for label, curve in components.items()},
                    statistic=s.statistic,
                    background_ratio=s.background_ratio,
                )
            )
        return spectra

    def _network_data(self, result: Result, inference: Any) -> dict[str, NDArray[np.float32]]:
        from xspec_sixsa.infer.networkdata import network_data

        try:
            with self.progress.task("what the networks know", 1, "network pictures"):
                return network_data(inference, self._first, result, self.prior)
        except Exception as error:  # as above
            log.warning("No pictures of networks and emulator: %s", error)
            return {}

    def _polish(self, result: Result) -> None:
        """Leave XSPEC at the best fit, by a short fit of its own from the best draw."""
        if self.polish and np.isfinite(result.best_statistic):
            with self.progress.task("native fit", 1, "polish"):
                theta, statistic = self.session.native_fit(result.best_fit)
            if statistic <= result.best_statistic:
                result.best_fit, result.best_statistic = np.asarray(theta), float(statistic)
        result.evaluations = self.checkpoint.evaluations | self._extra()

    def _write(self, result: Result) -> None:
        folder = Path(self.output)
        self.session.save_xcm(folder / "session.xcm")
        told = {key: self.options[key] for key in (*POSITIVE, "compressor", "training") if key in self.options}
        save_toml(folder / "priors.toml", self.prior, {**told, "seed": self.run["seed"]})
        result.save(folder)
        illustrate(result, folder)


def _versions() -> dict[str, str]:
    names: Sequence[str] = ("numpy", "scipy", "torch", "sbi", "zuko")
    return {"xspec_sixsa": __version__} | {name: importlib.metadata.version(name) for name in names}
