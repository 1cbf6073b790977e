"""``list.toml``: a survey's spectra, and what they are fitted with."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xspec_sixsa.survey.entries import Entry, entries_of

__all__ = ["Listing", "read_list"]

KEYS = ("session", "priors", "ignore", "flux", "spectra", "spectrum")


@dataclass(frozen=True)
class Listing:
    """What a list says; relative names start in its folder.

    Attributes
    ----------
    entries : list of Entry
    session, priors : Path or None
        A saved session with the model, and a TOML file of priors.
    ignore : str or None
        What XSPEC's `ignore` is told for each spectrum.
    flux : list of list of float
        Bands, keV, whose fluxes are wanted.
    """

    entries: list[Entry] = field(default_factory=list)
    session: Path | None = None
    priors: Path | None = None
    ignore: str | None = None
    flux: list[list[float]] = field(default_factory=list)


def read_list(path: str | os.PathLike[str]) -> Listing:
    """Read a survey's list.

    ::

        session = "burst.xcm"
        priors = "priors.toml"
        ignore = "**-0.5 10.0-**"
        flux = [[0.5, 2.0], [2.0, 10.0]]
        spectra = ["slices/*.pha"]

        [[spectrum]]
        file = "more/last.pha"
        time = 12.5

    Parameters
    ----------
    path : path

    Raises
    ------
    FileNotFoundError
    ValueError
        For a file that is no TOML, a key that is unknown, and whatever `entries_of` refuses.
    """
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no list of spectra {path}.")
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}.") from error
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        raise ValueError(f"{path}: unknown {', '.join(unknown)}. It may have {', '.join(KEYS)}.")
    folder = path.absolute().parent
    given = content.get("spectra", [])
    if isinstance(given, str):
        given = [given]
    files = {key: folder / content[key] if key in content else None for key in ("session", "priors")}
    return Listing(
        entries_of([*given, *content.get("spectrum", [])], folder), ignore=content.get("ignore"),
        flux=content.get("flux", []), **files,
    )  # fmt: skip
