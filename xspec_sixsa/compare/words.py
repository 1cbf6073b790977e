"""A comparison as text: the tables, and who is suspect where methods disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xspec_sixsa.compare.agreement import LEAST_ESS, SIGMAS, TITLES, MethodComparison, pair
from xspec_sixsa.compare.divergence import BINS
from xspec_sixsa.compare.posterior import Posterior
from xspec_sixsa.result import weighted_quantile
from xspec_sixsa.result.notebook import html_badge, html_list, html_table

if TYPE_CHECKING:
    from xspec_sixsa.compare.comparison import Comparison

__all__ = ["comparison_html", "comparison_text", "suspects", "table", "unseen"]

R_HAT_LIMIT, LEAST_TIMES = 1.05, 50
"""A chain is trusted with a split R-hat below, and longer than so many of its autocorrelation times (as emcee asks)."""
LARGE_EVIDENCE_ERROR = 0.3
BETTER_FIT = 1.0
"""A lower fit statistic by so much is a place that the other method has not seen."""
UNSEEN_SHARE, UNSEEN_DRAWS = 0.02, 10.0
"""Share of a posterior where another has no draw, and how many draws that other should have had there."""
LEGEND = (
    "JSD: below its limit, sampling alone explains it. Evidences disagree where they differ by more than "
    f"{SIGMAS:g} times their error."
)


def suspects(comparison: Comparison, method: MethodComparison) -> list[str]:
    """What limits a comparison with one method and, where the two disagree, who is suspect and why."""
    ours, other, name = comparison.ours, method.other, _title(method.other)
    found = _doubts(other, name, suspect=not method.agrees)
    if method.agrees or method.agreement == "says little":
        return found
    if method.delta_log_z is not None and not method.evidence_agrees:
        found.append(
            f"the evidences differ by {abs(method.delta_log_z):.3f}, more than {SIGMAS:g} times their error of "
            f"{method.delta_log_z_err:.3f}."
        )
    if not comparison.result.reliable:
        found.append(f"ours is suspect: it is marked unreliable ({'; '.join(comparison.result.reasons)}).")
    for a, b, who in ((ours, other, name), (other, ours, "ours")):
        where = unseen(a, b, comparison.names)
        if where:
            more = ": a chain rarely leaves the mode it started in" if b.is_chain else ""
            found.append(f"{who} is suspect: it has no draw where the other has {where}, a part it missed{more}.")
        gain = b.best_statistic - a.best_statistic
        if gain > BETTER_FIT:
            found.append(f"{who} is suspect: the other found a fit whose statistic is lower by {gain:.1f}.")
    if not method.evidence_agrees and not any(p.matters for p in method.parameters):
        found.append(
            "the parameters agree and the evidences do not: an error of one of them is too small (the scatter of "
            "repeated runs with other seeds is the surer error)."
        )
    for third in comparison.methods:
        if third is method or not third.other.finished:
            continue
        with_other = not any(p.matters for p in pair(other, third.other, comparison.names))
        with_ours = not any(p.matters for p in third.parameters)
        if with_ours and not with_other:
            found.append(f"{name} is suspect: {_title(third.other)} agrees with ours and not with it.")
        elif with_other and not with_ours:
            found.append(f"ours is suspect: {_title(third.other)} agrees with {name} and not with ours.")
    if not any("suspect" in words for words in found):
        found.append("nothing here tells which of the two is wrong: compare with a third method, or another seed.")
    return found


def unseen(a: Posterior, b: Posterior, names: list[str]) -> str:
    """Where `b` has no draw and `a` much of its posterior, in words; empty where there is no such place."""
    for i, name in enumerate(names):
        x, y = a.samples[:, i], b.samples[:, i]
        # as fine where the mass is, however far the lightest draws reach
        low, high = weighted_quantile(x, [0.001, 0.999], a.weights)
        edges = np.unique([min(x.min(), y.min()), *np.linspace(low, high, BINS + 1), max(x.max(), y.max())])
        if edges.size < 2:
            continue
        share, _ = np.histogram(x, edges, weights=a.weights)
        drawn, _ = np.histogram(y, edges, weights=b.weights)
        empty = (drawn == 0) & (share > 0)
        missed = float(share[empty].sum())
        if missed > UNSEEN_SHARE and missed * b.ess > UNSEEN_DRAWS:
            places = np.flatnonzero(empty)
            return (
                f"{100 * missed:.0f} % of its posterior ({name} between {edges[places[0]]:.4g} and "
                f"{edges[places[-1] + 1]:.4g})"
            )
    return ""


def comparison_text(comparison: Comparison) -> str:
    """The verdict, the costs, the parameters method by method, and the reasons."""
    verdict, heads = _verdict(comparison)
    lines = [f"{verdict}  ({'; '.join(heads)})"]
    if not comparison.result.reliable:
        lines.append(_unreliable(comparison))
    lines += ["", *table(_cost_rows(comparison))]
    for rows in _parameter_rows(comparison):
        lines += ["", *table(rows)]
    reasons = [f"  {words}" for words in _reasons(comparison)]
    lines += ["", *reasons] if reasons else []
    lines += ["", LEGEND]
    if comparison.output is not None:
        lines.append(f"Saved in {comparison.output}")
    return "\n".join(lines)


def comparison_html(comparison: Comparison) -> str:
    """What `comparison_text` says, for a notebook."""
    verdict, heads = _verdict(comparison)
    doubt = [] if comparison.result.reliable else [_unreliable(comparison)]
    saved = [] if comparison.output is None else [f"Saved in {comparison.output}"]
    return "\n".join(
        [
            "<div>",
            html_badge(verdict, {"AGREE": True, "INCONCLUSIVE": None}.get(verdict, False)),
            html_list([*heads, *doubt]),
            html_table(_cost_rows(comparison)),
            *(html_table(rows) for rows in _parameter_rows(comparison)),
            html_list([*_reasons(comparison), LEGEND, *saved]),
            "</div>",
        ]
    )


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns of text under a ruled head, the first left-justified."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(
            c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(len(line) for line in lines), *lines[1:]]


def _verdict(comparison: Comparison) -> tuple[str, list[str]]:
    disagree = any(m.agreement == "DISAGREES" for m in comparison.methods)
    verdict = "AGREE" if comparison.agree else "DO NOT ALL AGREE" if disagree else "INCONCLUSIVE"
    return verdict, [f"{_title(m.other)}: {m.agreement}" for m in comparison.methods]


def _unreliable(comparison: Comparison) -> str:
    return f"Ours is UNRELIABLE: {'; '.join(comparison.result.reasons)}"


def _reasons(comparison: Comparison) -> list[str]:
    return [f"{_title(m.other)}: {words}" for m in comparison.methods for words in m.why + _notes(m)]


def _cost_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    head = ("method", "evaluations", "ESS", "evals/ESS", "s in model", "s outside", "log Z", "theirs - ours")
    rows: list[tuple[str, ...]] = [head, _cost_row(comparison.ours, "xspec_sixsa", "")]
    for m in comparison.methods:
        delta = "" if m.delta_log_z is None else f"{m.delta_log_z:+.3f} +- {m.delta_log_z_err:.3f}"
        rows.append(_cost_row(m.other, _title(m.other), delta))
    return rows


def _parameter_rows(comparison: Comparison) -> list[list[tuple[str, ...]]]:
    """A table for each method that finished."""
    tables = []
    for m in comparison.methods:
        if not m.parameters:
            continue
        title = _title(m.other)
        rows: list[tuple[str, ...]] = [
            (title, "JSD (nat)", "limit", "floor", "shift (sigma)", "68 % ratio", "90 % ratio", "")
        ]
        for label, name, p in zip(comparison.labels, comparison.names, m.parameters, strict=True):
            mark = "" if p.divergence.indistinguishable else "DIFFERS" if p.matters else "differs a little"
            rows.append((
                f"{label} ({name})", f"{p.divergence.value:.4f}", f"{p.divergence.limit:.4f}",
                f"{p.divergence.floor:.4f}", f"{p.shift:+.2f}", f"{p.ratio_68:.2f}", f"{p.ratio_90:.2f}", mark,
            ))  # fmt: skip
        tables.append(rows)
    return tables


def _doubts(other: Posterior, name: str, *, suspect: bool) -> list[str]:
    begin = f"{name} is suspect: " if suspect else ""
    found = []
    if other.is_chain:
        times = other.steps / other.correlation
        if other.r_hat > R_HAT_LIMIT or times < LEAST_TIMES:
            found.append(
                f"{begin}its chain has not converged: split R-hat {other.r_hat:.3f} (trusted below {R_HAT_LIMIT}), "
                f"{times:.0f} autocorrelation times long (trusted from {LEAST_TIMES}). Run it longer."
            )
    if other.ess < LEAST_ESS:
        found.append(f"{begin}it has {other.ess:.0f} effective samples only.")
    if other.log_z_err is not None and other.log_z_err > LARGE_EVIDENCE_ERROR:
        found.append(f"its evidence has an error of {other.log_z_err:.2f}, so it says little about ours.")
    return found


def _notes(method: MethodComparison) -> list[str]:
    return [note for note in method.other.notes if note not in method.why]


def _title(posterior: Posterior) -> str:
    return TITLES.get(posterior.method, posterior.method)


def _cost_row(posterior: Posterior, title: str, delta: str) -> tuple[str, ...]:
    p = posterior
    evaluations = "" if p.evaluations is None else f"{p.evaluations:d}"
    per = "" if p.evaluations is None or not p.ess else f"{p.evaluations / p.ess:.1f}"
    log_z = "" if p.log_z is None else f"{p.log_z:.3f} +- {p.log_z_err:.3f}"
    return (
        title, evaluations, f"{p.ess:.0f}" if p.finished else "not finished", per,
        "" if p.seconds_model is None else f"{p.seconds_model:.1f}",
        "" if p.seconds_other is None else f"{p.seconds_other:.1f}", log_z, delta,
    )  # fmt: skip
