"""For the paper: the table of parameters in LaTeX, and whom to cite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xspec_sixsa import __version__
from xspec_sixsa.result.summary import format_value

if TYPE_CHECKING:
    from xspec_sixsa.result import Result

__all__ = ["citation", "latex_table", "latex_value"]


def latex_table(result: Result, *, level: float = 0.68) -> str:
    """Write the parameters as a LaTeX `table` that needs no package.

    Parameters
    ----------
    result : Result
    level : float, default 0.68
        Content of the central intervals that stand as errors of the median.

    Returns
    -------
    str
        Rows ``component & parameter & unit & median with errors & best fit``; the fit statistic, the evidence and the
        effective sample size are in the caption, and an unreliable verdict is too.
    """
    median, interval = result.quantile(0.5), result.interval(level)
    rows = []
    for i, label in enumerate(result.labels):
        component, _, parameter = label.partition(" ")
        low, high = interval[i]
        best = latex_value(result.best_fit[i], (high - low) / 2)
        cells = (
            _escape(component),
            _escape(parameter),
            _unit(result.units[i]),
            latex_value(median[i], low, high),
            best,
        )
        rows.append("  " + " & ".join(cells) + r" \\")
    model = ", ".join(_escape(m) for m in result.fingerprint.get("models", {}).values())
    caption = (
        f"Posterior of {model or 'the model'}: medians with central {100 * level:g}\\,\\% intervals, and the best fit "
        f"(fit statistic {result.best_statistic:.1f}). $\\ln Z = {result.log_z:.2f} \\pm {result.log_z_err:.2f}$; "
        f"{result.ess:.0f} effective samples."
    )
    if not result.reliable:
        caption = (
            rf"\textbf{{UNRELIABLE: {_escape('; '.join(result.reasons) or 'no reason was recorded')}.}} " + caption
        )
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            r"\begin{tabular}{lllll}",
            r"\hline",
            r"  Component & Parameter & Unit & Median & Best fit \\",
            r"\hline",
            *rows,
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex_value(value: float, *errors: float) -> str:
    r"""Write ``$0.092^{+0.020}_{-0.021}$``, or ``$(2.45^{+0.19}_{-0.20})\times10^{-4}$``.

    Parameters
    ----------
    value : float
    *errors : float
        The ends of its interval; or one number, the scale to which the value alone is rounded.
    """
    scale = errors[0] if len(errors) == 1 else (errors[1] - errors[0]) / 2
    power = common_power(value, scale)
    unit = 10.0**power
    text = format_value(value / unit, scale / unit)
    if len(errors) == 2:
        low, high = errors
        upper, lower = (format_value(x / unit, scale / unit) for x in (high - value, value - low))
        text = f"{text}^{{+{upper}}}_{{-{lower}}}"
    if not power:
        return f"${text}$"
    return rf"$({text})\times10^{{{power}}}$" if len(errors) == 2 else rf"${text}\times10^{{{power}}}$"


def common_power(value: float, scale: float) -> int:
    """Power of ten to take out of a number and its errors; 0 where they are readable without."""
    largest = max(abs(value), scale) if math.isfinite(scale) else abs(value)
    power = math.floor(math.log10(largest)) if math.isfinite(largest) and largest > 0 else 0
    return power if not -3 < power < 5 else 0


@dataclass(frozen=True)
class Reference:
    """One work to cite: BibTeX key, authors, year, where it appeared, what it is cited for, and its DOI."""

    key: str
    authors: tuple[str, ...]
    year: int
    where: str
    what: str
    doi: str = ""

    def line(self) -> str:
        """As in a list of references."""
        *first, last = self.authors
        who = f"{', '.join(first)} {'et al.' if last == 'others' else '& ' + last}" if first else last
        return f"{who} {self.year}, {self.where}"

    def bibtex(self) -> str:
        """As a BibTeX entry."""
        authors = " and ".join(self.authors)
        doi = f"  doi = {{{self.doi}}},\n" if self.doi else ""
        return (
            f"@misc{{{self.key},\n  author = {{{authors}}},\n  year = {{{self.year}}},\n{doi}"
            f"  howpublished = {{{self.where.replace('&', chr(92) + '&')}}},\n  note = {{{self.what}}}\n}}"
        )


_SIXSA = Reference(
    "sixsa3",
    (
        "Barret, D.",
        "Dupourqué, S.",
    ),
    2026,
    "A&A 708, A280 (arXiv:2512.16709)",
    "the method (SIXSA III)",
    "10.1051/0004-6361/202557639",
)
_XSPEC = Reference("xspec", ("Arnaud, K. A.",), 1996, "ASP Conf. Ser. 101, 17", "XSPEC")
_SBI = Reference(
    "sbi",
    (
        "Tejero-Cantero, A.",
        "others",
    ),
    2020,
    "JOSS 5(52), 2505",
    "sbi, the neural posterior estimation",
)
_KHAT = Reference(
    "khat",
    (
        "Vehtari, A.",
        "others",
    ),
    2024,
    "JMLR 25(72), 1",
    "k-hat, by which the weights are judged",
)
_EMULATOR = Reference(
    "pairedautoencoders",
    ("Chung, M.", "Hart, E.", "Chung, J.", "Peters, B.", "Haber, E."),
    2024,
    "arXiv:2405.13220",
    "the emulator's structure (paired auto-encoders)",
)
_STATISTICS = {
    "cstat": Reference("cash", ("Cash, W.",), 1979, "ApJ 228, 939", "the fit statistic"),
    "wstat": Reference(
        "wstat",
        (
            "Wachter, K.",
            "Leach, R.",
            "Kellogg, E.",
        ),
        1979,
        "ApJ 230, 274",
        "the W-statistic",
    ),
}
_TABLES = {
    "angr": Reference(
        "angr",
        (
            "Anders, E.",
            "Grevesse, N.",
        ),
        1989,
        "Geochim. Cosmochim. Acta 53, 197",
        "abundances",
    ),
    "aneb": Reference(
        "aneb",
        (
            "Anders, E.",
            "Ebihara, M.",
        ),
        1982,
        "Geochim. Cosmochim. Acta 46, 2363",
        "abundances",
    ),
    "aspl": Reference(
        "aspl",
        (
            "Asplund, M.",
            "others",
        ),
        2009,
        "ARA&A 47, 481",
        "abundances",
    ),
    "feld": Reference("feld", ("Feldman, U.",), 1992, "Phys. Scr. 46, 202", "abundances"),
    "grsa": Reference(
        "grsa",
        (
            "Grevesse, N.",
            "Sauval, A. J.",
        ),
        1998,
        "Space Sci. Rev. 85, 161",
        "abundances",
    ),
    "lodd": Reference("lodd", ("Lodders, K.",), 2003, "ApJ 591, 1220", "abundances"),
    "wilm": Reference(
        "wilm",
        (
            "Wilms, J.",
            "Allen, A.",
            "McCray, R.",
        ),
        2000,
        "ApJ 542, 914",
        "abundances",
    ),
    "vern": Reference(
        "vern",
        (
            "Verner, D. A.",
            "others",
        ),
        1996,
        "ApJ 465, 487",
        "photoelectric cross-sections",
    ),
    "bcmc": Reference(
        "bcmc",
        (
            "Balucinska-Church, M.",
            "McCammon, D.",
        ),
        1992,
        "ApJ 400, 699",
        "photoelectric cross-sections",
    ),
}
_ABSORBERS = ("abs", "zxipcf", "redden", "dust", "ismabs", "pcf", "swind")


def references(result: Result | None = None) -> list[Reference]:
    """The works that a paper using the software, or this result of it, rests upon."""
    found = [_SIXSA, _XSPEC, _SBI, _KHAT]
    if result is None:
        return found
    if result.emulator:
        found.insert(1, _EMULATOR)
    spectra = result.fingerprint.get("spectra", [])
    if any(s["statistic"] == "cstat" for s in spectra):
        found.append(_STATISTICS["wstat" if any(s["background"] for s in spectra) else "cstat"])
    models = " ".join(result.fingerprint.get("models", {}).values()).lower()
    if any(word in models for word in _ABSORBERS):
        found += [_TABLES[t] for t in (result.fingerprint.get(k) for k in ("abund", "xsect")) if t in _TABLES]
    return found


def citation(result: Result | None = None, *, bibtex: bool = False) -> str:
    """Give the sentence for a paper and the references it needs.

    Parameters
    ----------
    result : Result, optional
        The run that the paper uses: its version, statistic and abundance table are named then.
    bibtex : bool, default False
        BibTeX entries instead.
    """
    chosen = references(result)
    if bibtex:
        return "\n\n".join(reference.bibtex() for reference in chosen)
    version = __version__ if result is None else result.versions.get("xspec_sixsa", __version__)
    weighted = "made exact by importance weights from XSPEC's own fit statistic"
    if result is not None and result.control:
        weighted = (
            f"weighted by their emulated likelihoods, which {result.control['exact']:,.0f} evaluations of XSPEC's own "
            "fit statistic correct as a control variate"
        )
    text = f"Posteriors were computed with xspec_sixsa {version}: {_way(result)} proposed draws, {weighted}."
    if result is not None:
        evaluations = sum(result.evaluations.values())
        text += (
            f" The run made {evaluations:,} evaluations of the model for {result.ess:,.0f} effective samples "
            f"(k-hat {result.k_hat:.2f})."
        )
    return "\n".join([text, "", *(f"{r.line()}: {r.what}" for r in chosen)])


def _way(result: Result | None) -> str:
    network = "neural posterior estimation on compressed spectra"
    if result is None or not result.emulator:
        return f"{network} in rounds (Barret & Dupourqué 2026)"
    emulator = f"an emulator of the model's {'components' if result.emulator.get('parts') else 'spectra'}"
    if any(entry.get("training") for entry in result.rounds):
        return f"{emulator} (Chung et al. 2024) and {network} (Barret & Dupourqué 2026)"
    return f"{emulator} (after Chung et al. 2024), for simulation-based inference after Barret & Dupourqué (2026),"


def _escape(text: str) -> str:
    for character in "\\&%$#_{}":
        text = text.replace(character, r"\textbackslash " if character == "\\" else "\\" + character)
    for character in "<>|":
        text = text.replace(character, f"${character}$")
    return text.replace("^", r"\^{}").replace("~", r"\~{}")


def _unit(unit: str) -> str:
    return r"$10^{22}$\,cm$^{-2}$" if unit == "10^22" else _escape(unit)
