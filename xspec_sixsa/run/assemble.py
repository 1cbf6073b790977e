"""From an inference that has ended, or was stopped, to a `Result`."""

from __future__ import annotations

import importlib.metadata
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa import __version__
from xspec_sixsa.infer.controlvariate import QUANTILES, ControlVariate
from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.factoredemulator import FactoredEmulator
from xspec_sixsa.infer.importance import Weights
from xspec_sixsa.infer.inference import Inference
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.networkdata import network_data
from xspec_sixsa.infer.normalisation import common_norm
from xspec_sixsa.infer.simulations import Simulations
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.result import Result, SpectrumPredictive

__all__ = ["assemble"]

log = logging.getLogger(__name__)

PREDICTIVE_DRAWS, MOST_DRAWS = 200, 1000  # of the expected counts that a result keeps, for pictures and scores
PREDICTIVE_VALUES = 1_000_000  # counts of them, where that leaves enough draws
COMPONENT_DRAWS = 30
CURVES_KNOWN = 0.5  # error of the emulator in log L below which its curves stand for XSPEC's in a picture

Points = NDArray[np.float64]


@dataclass(frozen=True)
class _Draws:
    """The draws that make the result, and why they must not be trusted."""

    u: Points
    log_likelihood: Points
    log_density: Points
    weights: Weights
    reasons: list[str]


def assemble(
    inference: Inference,
    model: RecordedModel,
    first: Simulations,
    record: dict[str, Any],
    interrupted: str,
    *,
    with_common_norm: bool = True,
) -> Result:
    """The result of a run, with what its pictures show; `seconds` is left to the caller.

    Parameters
    ----------
    inference : Inference
    model : RecordedModel
    first : Simulations
        The prior-wide ones.
    record : dict
        ``seed`` and ``fingerprint`` of the run.
    interrupted : str
        By what; empty for a run that came to its end.
    with_common_norm : bool, default True
        Whether the common norm is integrated, too: it takes evaluations.
    """
    session, prior = model.session, model.prior
    draws = _draws(inference, first, interrupted)
    samples = prior.transform(draws.u)
    best = int(np.argmax(draws.log_likelihood))
    result = Result(
        names=session.names,
        labels=session.labels,
        units=session.units,
        samples=samples,
        log_weights=draws.weights.log_weights,
        log_likelihood=draws.log_likelihood,
        log_proposal=draws.log_density,
        log_z=draws.weights.log_z,
        log_z_err=draws.weights.log_z_err,
        ess=draws.weights.ess,
        k_hat=draws.weights.k_hat,
        evaluations={},
        seconds={},
        status="unreliable" if draws.reasons else "reliable",
        reasons=draws.reasons,
        best_fit=samples[best],
        best_statistic=float(-2 * draws.log_likelihood[best]),
        seed=record["seed"],
        versions=_versions(),
        fingerprint=record["fingerprint"],
        rounds=[
            entry | {"samples": prior.transform(entry["samples"]) if len(entry["samples"]) else entry["samples"]}
            for entry in inference.strategy.rounds.records
        ],
        emulator=_emulator(inference, model),
        common_norm=_common_norm(inference, model, draws.weights, interrupted) if with_common_norm else {},
    )
    if inference.control is not None and draws.reasons == inference.shortfall:
        _take_emulated(result, inference.control, prior)
    if draws.weights.ess > 0 and inference.draws is not None and len(inference.draws):
        result.predictive_index, result.predictive_data = _predictive(result, inference, inference.draws, model)
        result.network_data = _network_data(result, inference, model)
    result.reasons += session.observation.warnings
    result.evaluations = model.evaluations
    return result


def _take_emulated(result: Result, control: ControlVariate, prior: JointPrior) -> None:
    """Let corrected emulated draws take the place of the exact ones; best fit and k-hat stay the exact ones'."""
    result.samples = prior.transform(control.u)
    result.log_likelihood, result.log_proposal = control.log_likelihood, control.log_density
    result.log_weights, result.ess = control.log_weights, control.ess
    result.log_z, result.log_z_err = control.log_z, control.log_z_err
    result.control = {
        "exact": control.exact,
        "shift": control.shift,
        "remaining": max(control.remaining, 0.0),
        "mean_ess": control.mean_ess.tolist(),
        "quantile_ess": dict(zip(map(str, QUANTILES), control.quantile_ess.T.tolist(), strict=True)),
    }


def _draws(inference: Inference, first: Simulations, interrupted: str) -> _Draws:
    """The final draws; where the run never came to them, the best exactly weighted ones that there are."""
    final, pilots = inference.draws, inference.strategy.pilots.tried
    if final is not None and len(final):
        reasons = [interrupted] if interrupted else inference.verdict()
        return _Draws(final.u, final.log_likelihood, final.log_density, final.weights, reasons)
    if pilots:
        pilot = max(pilots, key=lambda p: p.ess)
        u, log_likelihood, log_density = pilot.u, pilot.log_likelihood, pilot.log_density
        reason = "stopped before the final draws: a pilot's stand in"
    else:
        u, log_likelihood, log_density = first.u, first.log_likelihood, np.zeros(len(first.u))
        reason = "stopped before the first posterior: draws from the prior stand in"
    weights = Weights(log_likelihood - log_density, np.zeros(len(u), int))
    return _Draws(u, log_likelihood, log_density, weights, [*filter(None, [interrupted]), reason])


def _emulator(inference: Inference, model: RecordedModel) -> dict[str, Any]:
    if inference.draws is None:
        return {}
    found = inference.strategy.emulator_summary(inference.draws)
    if found:
        found["start"] = model.prior.transform(found["start"][None])[0].tolist()
    return found


def _common_norm(inference: Inference, model: RecordedModel, weights: Weights, interrupted: str) -> dict[str, Any]:
    """The weights once more with the model's scale integrated out: reported beside the result, not in it."""
    draws = inference.draws
    if interrupted or weights.ess == 0 or draws is None or not len(draws):
        return {"why_not": "the run has no final draws that it finished"}
    try:
        with model.progress.task("the common normalisation", 1, "common norm"):
            found = common_norm(
                model.session, model.prior, draws.u, draws.log_likelihood, draws.counts.numpy(),
                draws.frozen.proposal, weights,
            )  # fmt: skip
    except Exception as error:  # a number beside the result must not cost a finished posterior
        log.warning("The common normalisation is not integrated: %s", error)
        return {"why_not": f"it failed: {error}"}
    if "why_not" in found:
        log.info("the common normalisation is not integrated: %s", found["why_not"])
    return found


def _predictive(
    result: Result, inference: Inference, draws: FinalDraws, model: RecordedModel
) -> tuple[NDArray[np.int_], list[SpectrumPredictive]]:
    """Rows of some draws, and their posterior-predictive spectra; of a few, component by component."""
    session, emulator = model.session, inference.strategy.emulator
    rng = np.random.default_rng([(result.seed or 0) % 2**32, 1])
    size = int(np.clip(PREDICTIVE_VALUES // session.observation.n_bins, PREDICTIVE_DRAWS, MOST_DRAWS))
    chosen = result.resample(size, rng, return_index=True)
    if inference.control is not None and emulator is not None and result.control:
        u = inference.control.u[chosen]
        counts = emulator.spectra(u).numpy()
    else:
        u, counts = draws.u[chosen], draws.counts.numpy()[chosen]
    components: dict[str, NDArray[np.float64]] = {}
    try:
        with model.progress.task("component curves", 1, "evaluation"):
            components = _emulated_components(result, inference, u[:COMPONENT_DRAWS], model)
            components = components or session.component_counts(result.samples[chosen[:COMPONENT_DRAWS]])
    except Exception as error:  # a curve in a picture must not cost a finished posterior
        log.warning("No component curves in predictive.png: %s", error)
    spectra = []
    for s, part in zip(session.observation.spectra, session.observation.slices, strict=True):
        background = None if s.background is None else s.expected_background
        spectra.append(
            SpectrumPredictive(
                name=s.name,
                energies=s.energies,
                exposure=s.exposure,
                counts=s.counts,
                counts_error=np.sqrt(np.maximum(s.counts, 1.0)) if s.sigma is None else s.sigma,
                background=background,
                total=counts[:, part].astype(float) + (0.0 if background is None else background),
                components={label: curve[:, part] for label, curve in components.items()},
                statistic=s.statistic,
                background_ratio=s.background_ratio,
            )
        )
    return chosen, spectra


def _emulated_components(
    result: Result, inference: Inference, u: Points, model: RecordedModel
) -> dict[str, NDArray[np.float64]]:
    """Curves of the additive components at points (n, d), without an evaluation; empty where they are not known."""
    emulator, norms = inference.strategy.emulator, model.session.norms_by_component()
    error = result.emulator.get("error", np.inf)
    if not isinstance(emulator, FactoredEmulator) or norms is None or error > CURVES_KNOWN:
        return {}
    if {norm for columns in norms.values() for norm in columns} != {part.norm for part in emulator.factors.parts}:
        return {}
    return {label: emulator.of_norms(u, columns).double().numpy() for label, columns in norms.items()}


def _network_data(result: Result, inference: Inference, model: RecordedModel) -> dict[str, np.ndarray]:
    try:
        with model.progress.task("what the networks know", 1, "network pictures"):
            return network_data(inference, inference.strategy.prior, result, model.prior)
    except Exception as error:  # a picture must not cost a finished posterior
        log.warning("No pictures of networks and emulator: %s", error)
        return {}


def _versions() -> dict[str, str]:
    names = ("numpy", "scipy", "torch", "sbi", "zuko")
    return {"xspec_sixsa": __version__} | {name: importlib.metadata.version(name) for name in names}
