"""One page per run: verdict first, then parameters, pictures, cost, provenance, and how to do it again.

The page is one file: pictures are embedded, and neither scripts nor network are needed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xspec_sixsa import __version__
from xspec_sixsa.common.files import atomic_path, plain
from xspec_sixsa.infer.importance import negligible_share, unseen_share
from xspec_sixsa.products.plots import plot_all
from xspec_sixsa.products.plots.learned import LEARNED
from xspec_sixsa.products.publish import citation, common_power, latex_table
from xspec_sixsa.result.summary import format_value
from xspec_sixsa.result.weighted import LARGEST_K_HAT

if TYPE_CHECKING:
    from jinja2 import Template

    from xspec_sixsa.result import Result

__all__ = ["REPORT", "illustrate", "write_report"]

log = logging.getLogger(__name__)

REPORT = "report.html"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PIXELS_PER_CSS_PIXEL = 1.5  # pictures have 150 dots per inch, a page 96: printed, they stay sharp
CAPTIONS = {
    "corner": "The posterior: 68 and 95 % contours, and marginal distributions under their medians with 68 % errors.",
    "predictive": "Data beside the posterior's model with 68 and 95 % bands, and what is left of the data in sigma.",
    "rounds": "How the posterior came about, round by round, and the training of the networks.",
    "weights": "Importance weights: how evenly the draws share the posterior, and the tail that k-hat judges.",
    "cost": "Effective samples gained by evaluations of the model.",
    "coverage": "Spectra simulated from the prior, noise included, about the observed one, and their counts: does the "
    "prior reach the data?",
    "emulator": "How far the emulator is off on exact evaluations of the posterior that it has not seen. Its errors "
    "cost draws; the weights make up for them.",
    "parameters": "Parameters that the neural posterior reads (its median) from noisy spectra of the whole prior, "
    "against the true ones; what the spectra do not tell makes a flat line.",
    "latents": "Compressed spectra, number by number: simulated from the prior (blue) and from the posterior "
    "(orange), and the observation (line), which must lie among the latter.",
    "reconstruction": "Spectra simulated from the posterior against their model and against what the auto-encoder "
    "makes of them: alike where it loses nothing; below, where it follows the noise.",
}


def write_report(
    result: Result, directory: str | os.PathLike[str] | None = None, pictures: Iterable[Path] | None = None
) -> Path:
    """Write `report.html`.

    Parameters
    ----------
    result : Result
    directory : path, optional
        Its folder; default: the one that the result was saved to.
    pictures : iterable of paths, optional
        PNG files to embed, in this order; default: they are drawn for the page.

    Raises
    ------
    ValueError
        Without a folder.
    """
    directory = directory if directory is not None else result.output
    if directory is None:
        raise ValueError("The result was saved nowhere, so the report needs a folder: write_report(result, folder).")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if pictures is None:
        with tempfile.TemporaryDirectory() as scratch:
            figures = [_figure(path) for path in plot_all(result, scratch)]
    else:
        figures = [_figure(Path(path)) for path in pictures if Path(path).suffix == ".png"]
    learned = [figure for figure in figures if figure["name"] in LEARNED]
    figures = [figure for figure in figures if figure["name"] not in LEARNED]
    text = _template().render(_content(result, directory), figures=figures, learned=learned)
    with atomic_path(directory / REPORT) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return directory / REPORT


def illustrate(
    result: Result,
    directory: str | os.PathLike[str],
    suffix: str = "png",
    only: Iterable[str] | None = None,
    truth: Mapping[str, float] | None = None,
) -> list[Path]:
    """Draw every picture that the result has data for, and the page with it: PNG only, which the page embeds.

    What fails is logged, not fatal.

    Parameters
    ----------
    result : Result
    directory : path
    suffix : {"png", "pdf", "svg"}
    only : iterable of str, optional
        Pictures to be drawn, by name; default: all.
    truth : dict of parameter's name to value, optional
        Marked in the corner plot.

    Returns
    -------
    list of Path
        The files made: those of `plots.plot_all`, and `report.html`.
    """
    made = plot_all(result, directory, suffix=suffix, only=only, truth=truth)
    if suffix == "png":
        try:
            made.append(write_report(result, directory, made))
        except Exception as error:
            log.warning("%s could not be made: %s", REPORT, error)
    return made


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("xspec_sixsa.products"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html")


def _content(result: Result, directory: Path) -> dict[str, Any]:
    print_ = result.fingerprint
    models = [f"{name}: {model}" if name else model for name, model in print_.get("models", {}).items()]
    files = [_name(s["file"]) for s in print_.get("spectra", [])] or [s.name for s in result.predictive_data]
    has_draws = bool((result.weights > 0).any())
    verdict, advice = _verdict(result)
    return {
        "title": ", ".join(models) or "Posterior",
        "subtitle": ", ".join(files),
        "word": result.status.upper(),
        "status": result.status,
        "verdict": verdict,
        "reasons": result.reasons,
        "advice": advice,
        "edges": [str(edge) for edge in result.prior_edges],
        "has_draws": has_draws,
        "parameters": list(_parameters(result, has_draws)),
        "statistic": _statistic(result),
        "log_z": f"{result.log_z:.3f} ± {result.log_z_err:.3f}".replace("-", "\N{MINUS SIGN}"),
        "ess": f"{result.ess:.0f} of {len(result.samples)} draws",
        "k_hat": f"{result.k_hat:.2f}",
        "common_norm": _common_norm(result),
        "emulator": _emulator(result),
        "costs": [
            ("Evaluations", "", _stages(result.evaluations, "{:,.0f}")),
            ("Seconds", " s", _stages(result.seconds, "{:,.1f}")),
        ],
        "assumed": list(_assumed(print_, models)),
        "spectra": _spectra(result),
        "reproduce": _reproduce(result),
        "go_on": _go_on(directory),
        "provenance": [
            ("Seed", result.seed),
            ("Versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
            ("Fingerprint", hashlib.sha256(_canonical(print_)).hexdigest()[:16]),
        ],
        "citation": citation(result),
        "latex": latex_table(result) if has_draws else "",
        "version": __version__,
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def _verdict(result: Result) -> tuple[list[str], list[str]]:
    """What the verdict means, and what to do about it, for somebody who knows neither k-hat nor Kish."""
    exact, correct = len(result.samples), ""
    if result.control:
        exact, correct = int(result.control["exact"]), f", which correct {exact:,} emulated draws,"
    counts = f"{exact:,} exact evaluations{correct} are worth {result.ess:,.0f} independent draws"
    if result.reliable:
        tail = f"k-hat {result.k_hat:.2f}, trusted below {LARGEST_K_HAT}"
        if result.k_hat > LARGEST_K_HAT and result.control:
            tail = f"k-hat {result.k_hat:.2f} is no matter: that tail holds next to nothing"
        elif result.k_hat > LARGEST_K_HAT:
            unseen, limit = 100 * unseen_share(result.log_weights), 100 * negligible_share(result.ess)
            tail = (
                f"k-hat {result.k_hat:.2f} would be too much for weights that differ; of these, {unseen:.2g} % of the "
                f"evidence is expected beyond the largest, where {limit:.2g} % may be"
            )
        return [
            "These numbers can be used. The posterior is "
            f"{'emulated, and set right by' if result.control else 'exact under'} XSPEC's own fit statistic: its "
            f"{counts}, and no few of them dominate ({tail})."
        ], []
    return ["Do not use these numbers as they are. What the run itself found wrong:"], [
        f"For what it is worth, {counts}; k-hat is {result.k_hat:.2f}, and weights are trusted below {LARGEST_K_HAT}.",
        "What to do: if the run was stopped, go on with --resume; else look at the pictures for a posterior cut by its "
        "prior or a model that misses the data, then widen the priors or raise the budget, or compare with BXA.",
    ]


def _parameters(result: Result, has_draws: bool) -> Iterable[dict[str, Any]]:
    priors = {
        name: entry for entry in result.fingerprint.get("priors", {}).get("priors", []) for name in entry["parameters"]
    }
    if has_draws:
        median, inner, outer = result.quantile(0.5), result.interval(0.68), result.interval(0.90)
    for i, name in enumerate(result.names):
        entry = {
            "label": result.labels[i],
            "name": name,
            "unit": _unit(result.units[i]),
            "prior": _prior(priors.get(name)),
            "outer": "",
            "best": f"{result.best_fit[i]:.5g}",
        }
        if has_draws:
            low, high = (float(x) for x in inner[i])
            scale = (high - low) / 2
            power = common_power(float(median[i]), scale)
            factor = f" \N{MULTIPLICATION SIGN} 10{str(power).translate(SUPERSCRIPT)}" if power else ""

            def text(value: float, unit: float = 10.0**power, scale: float = scale) -> str:
                return format_value(float(value) / unit, scale / unit).replace("-", "\N{MINUS SIGN}")

            entry |= {
                "median": text(median[i]),
                "upper": text(high - median[i]),
                "lower": text(median[i] - low),
                "power": factor,
                "outer": f"{text(outer[i, 0])} to {text(outer[i, 1])}{factor}",
                "best": text(result.best_fit[i]) + factor,
            }
        yield entry


def _prior(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    if {"low", "high"} <= entry.keys():
        return f"{entry['kind']} {entry['low']:g} to {entry['high']:g}"
    numbers = ", ".join(f"{v:g}" for v in entry.values() if isinstance(v, (int, float)) and not isinstance(v, bool))
    joint = f" (joint with {', '.join(entry['parameters'])})" if len(entry["parameters"]) > 1 else ""
    return f"{entry['kind']} {numbers}".strip() + joint


def _statistic(result: Result) -> str:
    kinds = sorted({s["statistic"] for s in result.fingerprint.get("spectra", [])})
    bins = sum(len(s.counts) for s in result.predictive_data)
    text = f"{result.best_statistic:.2f}"
    if kinds:
        text += f" ({', '.join(kinds)})"
    return text + (f" in {bins} bins, {len(result.names)} free parameters" if bins else "")


def _common_norm(result: Result) -> str:
    found = result.common_norm
    if "ess" not in found:
        return ""
    return (
        f"{found['ess']:.0f} effective samples ({100 * found['gain']:+.1f} %), "
        f"ln Z {found['log_z']:.3f} ± {found['log_z_err']:.3f}; reported apart, nothing here makes use of it"
    ).replace("-", "\N{MINUS SIGN}")


def _emulator(result: Result) -> str:
    found = result.emulator
    if not found:
        return ""
    looks = "looks like a simulated one" if found["inside"] else "does NOT look like any simulated one"
    return f"off by {found['error']:.2f} in ln L over the posterior; by it the observation {looks}"


def _stages(numbers: Mapping[str, float], spec: str) -> list[tuple[str, str]]:
    rows = [(stage, spec.format(value)) for stage, value in numbers.items()]
    return [*rows, ("in all", spec.format(sum(numbers.values())))]


def _assumed(print_: Mapping[str, Any], models: list[str]) -> Iterable[tuple[str, str]]:
    if models:
        yield "Model", "; ".join(models)
    for key, what in (("frozen", "Frozen"), ("links", "Linked")):
        if print_.get(key):
            yield what, ", ".join(f"{name} = {value}" for name, value in print_[key].items())
    for key, what in (("abund", "Abundances"), ("xsect", "Cross-sections"), ("cosmo", "Cosmology (H0, q0, Λ0)")):
        if print_.get(key):
            value = print_[key]
            yield what, ", ".join(f"{x:g}" for x in value) if isinstance(value, (list, tuple)) else str(value)


def _spectra(result: Result) -> list[dict[str, str]]:
    shown = {i: s for i, s in enumerate(result.predictive_data)}
    table = []
    for i, s in enumerate(result.fingerprint.get("spectra", [])):
        responses = [_name(file) for files in s["responses"].values() for file in files if file]
        row = {
            "Spectrum": _name(s["file"]),
            "Response": ", ".join(responses),
            "Background": _name(s["background"]) or "none",
            "Exposure": f"{s['exposure']:g} s",
            "Channels": s["noticed"],
            "Statistic": s["statistic"],
        }
        if i in shown:
            row["Counts"] = f"{shown[i].counts.sum():,.0f} in {len(shown[i].counts)} bins"
        table.append(row)
    return table


def _reproduce(result: Result) -> str:
    seed = "" if result.seed is None else f" --seed {result.seed}"
    version = result.versions.get("xspec_sixsa")
    return (f"# xspec_sixsa {version}\n" if version else "") + (
        f"sixsa fit session.xcm --priors priors.toml --output again{seed}"
    )


def _go_on(directory: Path) -> str:
    folder = directory.absolute()
    lines = [
        "# shell",
        f"sixsa info {folder}",
        "# Python",
        f"import xspec_sixsa as sixsa; result = sixsa.Result.load({str(folder)!r})",
    ]
    if (directory / "chain.fits").is_file():
        lines += ["# XSPEC", "@session.xcm", "chain load chain.fits"]
    return "\n".join(lines)


def _figure(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])  # PNG, section 11.2.2: the header chunk comes first
    caption = CAPTIONS.get(path.stem, path.stem)
    return {
        "name": path.stem,
        "source": "data:image/png;base64," + base64.b64encode(data).decode("ascii"),
        "alt": f"{path.stem} plot. {caption}",
        "caption": caption,
        "width": round(width / PIXELS_PER_CSS_PIXEL),
        "height": round(height / PIXELS_PER_CSS_PIXEL),
    }


def _unit(unit: str) -> str:
    return "10²² cm⁻²" if unit == "10^22" else unit


def _name(file: str) -> str:
    return os.path.basename(file.split("{")[0])


def _canonical(print_: Mapping[str, Any]) -> bytes:
    return json.dumps(plain(print_), sort_keys=True).encode()
