"""The readable table of a result."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xspec_sixsa.result.weighted import LARGEST_K_HAT

if TYPE_CHECKING:
    from xspec_sixsa.result.result import Result

__all__ = ["HEAD", "NO_POSTERIOR", "format_value", "numbers", "parameter_rows", "percent", "summary_text"]

WIDTH = 118  # characters of a note's line
HEAD = ("unit", "median", "68 %", "90 %", "best fit")
NO_POSTERIOR = "No draw has a finite likelihood: there is no posterior to describe."


def summary_text(result: Result) -> str:
    """Verdict first, then the parameters as XSPEC shows them, then evidence and cost; at most ~120 columns wide."""
    lines = [_verdict(result), ""]
    lines += _table(result)
    for edge in result.prior_edges:
        lines += textwrap.wrap(f"Note: {edge}", WIDTH, subsequent_indent="  ")
    return "\n".join([*lines, "", *(f"{name:<31}{text}" for name, text in numbers(result))])


def parameter_rows(result: Result) -> list[tuple[str, ...]]:
    """Label, chain name, unit, median, 68 %, 90 %, best fit of every parameter; without draws, label and name alone."""
    if not (result.weights > 0).any():
        return [*zip(result.labels, result.names, strict=True)]
    median, inner, outer = result.quantile(0.5), result.interval(0.68), result.interval(0.90)
    rows: list[tuple[str, ...]] = []
    for i, (label, name) in enumerate(zip(result.labels, result.names, strict=True)):
        scale = (inner[i, 1] - inner[i, 0]) / 2

        def text(value: float, scale: float = scale) -> str:
            return format_value(float(value), float(scale))

        rows.append(
            (
                label,
                name,
                result.units[i],
                text(median[i]),
                f"{text(inner[i, 0])} .. {text(inner[i, 1])}",
                f"{text(outer[i, 0])} .. {text(outer[i, 1])}",
                text(result.best_fit[i]),
            )
        )
    return rows


def numbers(result: Result) -> list[tuple[str, str]]:
    """Name and text of what the table does not hold: statistic, evidence, effective sample size, cost, folder."""
    total = sum(result.evaluations.values())
    k_hat = f"k-hat {result.k_hat:.2f}"
    if result.reliable and result.k_hat > LARGEST_K_HAT:
        k_hat += " (no matter: that tail holds next to nothing)"
    lines = [
        ("Fit statistic at the best fit", f"{result.best_statistic:.2f}"),
        ("log Z", f"{result.log_z:.3f} +- {result.log_z_err:.3f}"),
        ("Effective sample size", f"{result.ess:.0f} of {len(result.samples)} draws; {k_hat}"),
        *_control(result.control, len(result.samples), result.labels),
        *_common_norm(result.common_norm),
        *_emulator(result.emulator),
        ("Evaluations", f"{total:d}{_by_stage(result.evaluations, 'd')}"),
        ("Seconds", f"{sum(result.seconds.values()):.1f}{_by_stage(result.seconds, '.1f')}"),
    ]
    if result.output is not None:
        lines.append(("Saved in", str(result.output)))
    return lines


def percent(share: float) -> str:
    """A share in percent, with two significant digits where that takes no exponent.

    Examples
    --------
    >>> percent(0.997), percent(0.0432), percent(2e-4)
    ('100 %', '4.3 %', '0.02 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if abs(value) >= 9.95 else f"{value:.2g} %"


def format_value(value: float, scale: float) -> str:
    """Write `value` with as many digits as make its `scale` (half an interval) show two significant ones."""
    if not math.isfinite(value):
        return str(value)
    if not (math.isfinite(scale) and scale > 0):
        return f"{value:.5g}"
    last = math.floor(math.log10(scale)) - 1
    if value != 0 and not 1e-3 <= max(abs(value), scale) < 1e6:
        return f"{value:.{min(max(math.floor(math.log10(abs(value))) - last, 0), 15)}e}"
    return f"{value:.{max(-last, 0)}f}"


def _verdict(result: Result) -> str:
    if result.reliable:
        notes = (textwrap.fill(f"  note: {reason}", WIDTH, subsequent_indent="    ") for reason in result.reasons)
        return "\n".join(["RELIABLE", *notes])
    return "UNRELIABLE: " + "\n  ".join(result.reasons or ["no reason was recorded"])


def _emulator(emulator: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not emulator:
        return []
    looks = "like" if emulator["inside"] else "NOT like"
    return [
        (
            "Emulator",
            f"{_parts(emulator)}off by {emulator['error']:.2g} in log L; the observation looks {looks} a simulated one "
            f"(RRE {emulator['rre']:.3g}, limit {emulator['rre_limit']:.3g}; RMA {emulator['rma']:.3g}, limit "
            f"{emulator['rma_limit']:.3g})",
        ),
        *_reused(emulator),
    ]


def _reused(emulator: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "reused" not in emulator:
        return []
    what = "curves" if emulator["reused_kind"] == "factored" else "spectra"
    network = f"; {emulator['reused_network']}" if emulator.get("reused_network") else ""
    return [
        (
            "Reused network",
            f"{emulator['reused']} {what} of {emulator['reused_from']}, not counted here; off by "
            f"{emulator['reused_error']:.2g} in log L when first checked; {emulator['measured']} measured here"
            f"{network}",
        )
    ]


def _parts(emulator: Mapping[str, Any]) -> str:
    parts = int(emulator.get("parts", 0))
    return f"of {parts} part{'s' * (parts > 1)}; " if parts else ""


def _control(control: Mapping[str, Any], draws: int, labels: Sequence[str]) -> list[tuple[str, str]]:
    if not control:
        return []
    rows = [
        (
            "Exact evaluations",
            f"{control['exact']:.0f}, which correct {draws} emulated draws (by at most {control['shift']:.2f} of their "
            f"statistical error; {control['remaining']:.2f} may remain)",
        )
    ]
    if "quantile_ess" in control:
        named = {f"{100 * float(level):g} % quantile": found for level, found in control["quantile_ess"].items()}
        named["mean"] = control["mean_ess"]
        ess = {f"{what} of {label}": n for what, found in named.items() for label, n in zip(labels, found, strict=True)}
        least, most = min(ess, key=lambda what: ess[what]), max(ess, key=lambda what: ess[what])
        rows.append(("Least and most sure", f"the {least} ({ess[least]:.0f} effective), the {most} ({ess[most]:.0f})"))
    return rows


def _common_norm(found: Mapping[str, float]) -> list[tuple[str, str]]:
    if "ess" not in found:
        return []
    return [
        (
            "Common norm integrated",
            f"ESS {found['ess']:.0f} ({100 * found['gain']:+.1f} %), log Z {found['log_z']:.3f} +- "
            f"{found['log_z_err']:.3f}; apart, not used above",
        )
    ]


def _table(result: Result) -> list[str]:
    rows: list[tuple[str, ...]] = [(f"{label} ({name})", *cells) for label, name, *cells in parameter_rows(result)]
    if not (result.weights > 0).any():
        return [NO_POSTERIOR, *(f"  {row[0]}" for row in rows)]
    rows.insert(0, ("parameter", *HEAD))
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    lines = []
    for row in rows:
        cells = [row[k].ljust(widths[k]) if k < 2 else row[k].rjust(widths[k]) for k in range(6)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return lines


def _by_stage(numbers: Mapping[str, float], spec: str) -> str:
    return f"  ({', '.join(f'{stage} {value:{spec}}' for stage, value in numbers.items())})" if numbers else ""
