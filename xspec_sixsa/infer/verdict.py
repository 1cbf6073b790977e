"""Whether final draws can be trusted, and if not, why."""

from __future__ import annotations

from scipy import stats

from xspec_sixsa.infer.draws import FinalDraws
from xspec_sixsa.infer.problem import Problem
from xspec_sixsa.result.weighted import LARGEST_K_HAT

__all__ = ["verdict"]

LARGEST_ERROR = 1.0  # of the emulator in log L over the posterior: beyond it, it knows neither modes nor tails
BATCH_P_VALUE = 1e-3  # the batches' evidences disagree below this


def verdict(draws: FinalDraws, problem: Problem, emulator_error: float | None) -> list[str]:
    """Reasons not to trust the draws; empty for a reliable posterior.

    Parameters
    ----------
    draws : FinalDraws
    problem : Problem
    emulator_error : float or None
        In log L over the posterior, on the final draws; None without an emulator.
    """
    w, s = draws.weights, problem.settings
    wanted = s.exact_ess
    if w.ess == 0:
        return [
            "no draw with a positive weight: the proposal never met the posterior. Check the priors, or raise `budget`."
        ]
    reasons = []
    if w.k_hat > LARGEST_K_HAT and w.unseen > w.negligible:
        reasons.append(
            f"k-hat {w.k_hat:.2f} > {LARGEST_K_HAT:.2f} (N = {len(draws)}, ESS = {w.ess:.0f}), and "
            f"{100 * w.unseen:.1f} % of the evidence is expected beyond the largest weight drawn (limit "
            f"{100 * w.negligible:.1f} %): the proposal misses part of the posterior. Raise `budget`, try another "
            "compressor, or compare with BXA."
        )
    if w.ess < wanted:
        why = (
            f"the budget of {s.budget} evaluations is spent"
            if problem.left <= 0
            else f"only {100 * w.efficiency:.1f} % of the draws are effective"
        )
        reasons.append(
            f"ESS {w.ess:.0f} below the wanted {wanted:.0f}: {why} ({len(draws)} final draws). Raise "
            "`budget`, or ask for fewer effective samples."
        )
    if emulator_error is not None and emulator_error > LARGEST_ERROR:
        reasons.append(
            f"the emulator is off by {emulator_error:.2f} in log L over the posterior (limit {LARGEST_ERROR:g}): it "
            'may not know all of it. Raise `budget`, or train on simulations (training="simulated").'
        )
    chi2, dof = w.batch_chi2
    if dof and stats.chi2.sf(chi2, dof) < BATCH_P_VALUE:
        reasons.append(
            f"independent batches disagree about the evidence (chi2 {chi2:.1f} for {dof} degrees of freedom): rare "
            "draws carry it. Raise `target_ess`, or compare with BXA."
        )
    return reasons
