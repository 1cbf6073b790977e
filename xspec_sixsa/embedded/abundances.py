"""Abundances of the elements: a table of XSPEC's, by name, or the numbers of a file (XSPEC manual, command "abund")."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from xspec_sixsa.embedded.state import Abundances, XspecError

__all__ = ["ELEMENTS", "FILE", "name_of", "read_abundances"]

ELEMENTS = 30
FILE = "file"
"""What XSPEC calls abundances that came from a file."""


def name_of(abundances: Abundances) -> str:
    """Return XSPEC's name of abundances: a table's, or ``"file"``."""
    return abundances if isinstance(abundances, str) else FILE


def read_abundances(path: str | os.PathLike[str]) -> tuple[float, ...]:
    """Read the first 30 numbers of a file: atoms of hydrogen to zinc, relative to hydrogen.

    Raises
    ------
    XspecError
        For a file that is not there, has fewer numbers or other words, or gives an element fewer atoms than none.
    """
    try:
        words = Path(path).read_text(encoding="utf-8", errors="replace").split()[:ELEMENTS]
    except OSError as error:
        raise XspecError(f"The abundances {path} cannot be read ({error.strerror}).") from error
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise XspecError(f"{path} holds abundances only, {ELEMENTS} numbers and no comments: {error}.") from None
    if len(numbers) < ELEMENTS:
        raise XspecError(f"{path} has {len(numbers)} numbers: {ELEMENTS} are needed, atoms of H to Zn relative to H.")
    if not (np.isfinite(numbers) & (numbers >= 0.0)).all():
        worst = int(np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0.0)))[0])
        raise XspecError(f"{path}: the abundance of element {worst + 1} is {numbers[worst]:g}; it cannot be below 0.")
    return tuple(numbers.tolist())
