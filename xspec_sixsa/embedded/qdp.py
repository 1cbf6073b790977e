"""Plotted arrays written as QDP files, as PLT's `wdata` writes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xspec_sixsa.embedded.state import XspecError

__all__ = ["NO_DATA", "Table", "format_number", "write_qdp"]

NO_DATA = -1.2e-34
"""PLT's value for a point that is not there; written as ``NO``."""

Table = tuple[Sequence[int], Sequence[np.ndarray]]
"""Of one plot group: how many error columns each vector has, and all columns in PLT's order."""


def write_qdp(path: str, groups: Sequence[Table]) -> Path:
    """Write plot groups to a QDP file: ``READ SERR`` line, command file line, ``!``, then the columns.

    Parameters
    ----------
    path : str
        ``.qdp`` is appended where the name has no extension, as PLT does; an existing file is replaced.
    groups : sequence of (errors, columns)
        ``errors[i]`` is 1 where vector ``i`` carries a symmetric error column; groups are separated by a row of ``NO``.
        Groups with fewer columns are filled up with ``NO``.
    """
    name = path.strip().strip('"')
    stem, extension = os.path.splitext(name)
    target = Path(name if extension else name + ".qdp")
    width = max(len(columns) for _, columns in groups)
    errors = max((list(errors) for errors, _ in groups), key=len)
    with_errors = [str(i) for i, count in enumerate(errors, start=1) if count]
    lines = ["READ SERR " + " ".join(with_errors)] if with_errors else []
    lines += [f"@{stem}.pco", "!"]
    for i, (_, columns) in enumerate(groups):
        if i:
            lines.append(" ".join(["NO"] * width))
        filler = [np.full(len(columns[0]), NO_DATA)] * (width - len(columns))
        for row in zip(*columns, *filler, strict=True):
            lines.append(" ".join(format_number(value) for value in row))
    try:
        target.write_text("\n".join(lines) + "\n", encoding="ascii")
    except OSError as error:
        raise XspecError(f"wdata cannot write {target} ({error.strerror}).") from error
    return target


def format_number(value: float) -> str:
    """One number as PLT prints it: single precision, nine digits, without zeros that say nothing.

    Examples
    --------
    >>> format_number(0.5), format_number(0.0178070068), format_number(float("nan"))
    ('0.5', '1.78070068E-2', 'NO')
    """
    single = np.float32(value)
    if np.isnan(single) or single == np.float32(NO_DATA):
        return "NO"
    magnitude = abs(float(single))
    if magnitude == 0.0:
        return "0"
    if 0.1 <= magnitude < 1e9:
        decimals = 8 - int(np.floor(np.log10(magnitude)))
        text, exponent = f"{float(single):.{max(decimals, 0)}f}", ""
    else:
        text, _, power = f"{float(single):.8E}".partition("E")
        exponent = f"E{'-' if int(power) < 0 else '+'}{abs(int(power))}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + exponent
