"""The session written as XSPEC commands, in the order and form of XSPEC's own `save all`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.embedded.abundances import name_of
from xspec_sixsa.embedded.fit import Fit
from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.parameterstate import ParameterState
from xspec_sixsa.embedded.response import Response
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["save"]

HEADER = "#PyXspec: Output generated from Xset.save().  DO NOT MODIFY."
_SPECIAL = re.compile(r"([\s\[\]{}$\";\\])")


def save(path: str | os.PathLike[str], data: bool = True, model: bool = True) -> Path:
    """Write the session.

    Values keep all their digits (XSPEC writes six). `weight`, `energies` and `bayes`, which XSPEC drops, are written.

    Parameters
    ----------
    path : path
        File to write (replaced if it exists; `Xset.save` refuses that beforehand).
    data, model : bool
        Whether to write the data commands, and the settings and models.
    """
    lines = [HEADER, ""]
    if data:
        lines += data_lines()
    if model:
        lines += setting_lines() + model_lines()
    path = Path(path)
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise XspecError(f"The session cannot be written to {path} ({error.strerror}).") from error
    return path


def data_lines() -> list[str]:
    """`statistic`, `data`, `response`, `arf`, `backgrnd`, `corfile` and `ignore` commands of the loaded spectra."""
    lines = [f"statistic {session.stat_method}"]
    ignored, statistics = [], []
    for number, spectrum in enumerate(session.spectra, start=1):
        if number > 1:
            lines.append("")
        lines.append(f"data {spectrum.dataGroup}:{number} {_path(spectrum.fileName)}")
        for source, response in _responses(spectrum):
            lines.append(f"response  {source}:{number} {_path(response.rmf, spectrum.fileName)}")
            if response.has_arf:
                lines.append(f"arf {source}:{number} {_path(response.arf, spectrum.fileName)}")
        name = _path(spectrum.background.fileName, spectrum.fileName) if spectrum.has_background else "none"
        lines.append(f"backgrnd {number} {name}")
        if spectrum.has_correction:
            lines.append(f"cornorm {number} {spectrum.cornorm!r}")
            lines.append(f"corfile {number} {_path(spectrum.correction.fileName, spectrum.fileName)}")
        channels = channel_ranges(spectrum.ignored)
        if channels:
            ignored.append(f"{number}:{channels}")
        method = spectrum.statMethod
        if method != session.stat_method:
            statistics.append(f"statistic {method} {number}")
    if ignored:
        lines.append("ignore " + " ".join(ignored))
    return [*lines, *statistics, ""] if session.spectra else [lines[0]]


def setting_lines() -> list[str]:
    """`method`, `abund`, `xsect`, `cosmo`, `xset`, `systematic`; `weight`, `energies` where not XSPEC's default."""
    lines = [
        f"method {Fit.method} {Fit.nIterations} {Fit.criticalDelta:g}",
        f"abund {name_of(session.abund)} {_path(session.abund_file)}".rstrip(),
        f"xsect {session.xsect}",
        "cosmo " + " ".join(f"{value:g}" for value in session.cosmo),
        f"xset delta {Fit.delta:g}",
    ]
    if session.data_folder:
        lines.append(f"xset mdatadir {_path(session.data_folder)}")
    lines += [f"xset {key}  {value}" for key, value in sorted(session.model_strings.items())]
    lines.append(f"systematic {AllModels.systematic:g}")
    if Fit.weight != "standard":
        lines.append(f"weight {Fit.weight}")
    if session.energies:
        ranges = (f"{part.high!r} {part.bins} {part.spacing}" for part in session.energies)
        lines.append(f"energies {session.energies[0].low!r} {' '.join(ranges)}")
    for side, more in session.extensions.items():
        lines.append(f"energies extend {side},{more.energy!r},{more.bins},{more.spacing}")
    return lines


def model_lines() -> list[str]:
    """`model` commands with one line per parameter, late links as `newpar`, and the priors as `bayes`.

    Inactive models come first, as XSPEC writes them, so that the active ones take their sources over.
    """
    lines, links, priors = [], [], []
    for record in sorted(session.models.values(), key=lambda record: (record.active, record.source)):
        prefix = f"{record.name}:" if record.name else ""
        name = f" {record.source}:{record.name}" if record.name else ""
        lines.append(f"model {name} {record.expression.text}")
        for state in record.states:
            if state.link is None:
                lines.append(_parameter_line(state))
            elif any(m.record is record and m.global_index > state.global_index for m in state.link.members):
                lines.append("/")
                links.append(f"newpar {prefix}{state.global_index} {state.link.text}")
            else:
                lines.append(state.link.text)
            if state.prior[0].lower() != "cons":
                numbers = " ".join(map(_number, state.prior[1:]))
                priors.append(f"bayes {prefix}{state.global_index} {state.prior[0].lower()} {numbers}")
    if priors or Fit.bayes == "on":
        priors.append(f"bayes {Fit.bayes}")
    return [*lines, *links, *priors]


def channel_ranges(channels: Iterable[int]) -> str:
    """``1-20,35,40-**`` without the stars: the ignored channels as XSPEC writes them.

    Examples
    --------
    >>> channel_ranges([1, 2, 3, 7])
    '1-3,7'
    """
    ranges: list[list[int]] = []
    for channel in sorted(int(c) for c in channels):
        if ranges and channel == ranges[-1][1] + 1:
            ranges[-1][1] = channel
        else:
            ranges.append([channel, channel])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _responses(spectrum: Spectrum) -> list[tuple[int, Response]]:
    """(source number, response) of every response of a spectrum."""
    return [(source, spectrum.multiresponse[source - 1]) for source in range(1, 11) if spectrum.has_source(source)]


def _path(name: str, beside: str = "") -> str:
    """A path that can be found from here, with the characters escaped that Tcl would take for its own."""
    base = split_name(name)[0]
    rest = name[len(base) :]
    if not os.path.isfile(base) and beside and not os.path.isabs(base):
        neighbour = os.path.join(os.path.dirname(beside), base)
        base = neighbour if os.path.isfile(neighbour) else base
    return _SPECIAL.sub(r"\\\1", base) + re.sub(r"([\[\]])", r"\\\1", rest)


def _parameter_line(state: ParameterState) -> str:
    """Value, delta (the parameter's own, negative where frozen) and limits; a switch or scale has its value only."""
    if state.kind != "variable":
        return _number(state.value).rjust(15)
    delta = -state.delta if state.frozen else state.delta
    numbers = (state.value, delta, state.hard_min, state.soft_min, state.soft_max, state.hard_max)
    return " ".join([_number(numbers[0]).rjust(15), *(_number(number).rjust(10) for number in numbers[1:])])


def _number(value: float) -> str:
    """XSPEC's six digits where they suffice, else as many as give the same double again."""
    number = float(value)
    text = f"{number:g}"
    return text if float(text) == number else repr(number)
