"""What a survey is of: files of spectra, their names, and what belongs to each."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xspec_sixsa.common.fitsfile import split_name

__all__ = ["Entry", "Spectra", "entries_of"]

Spectra = Iterable["str | os.PathLike[str] | Mapping[str, Any]"]

NAME = re.compile(r"[^A-Za-z0-9_.+-]+")  # what a folder's name is kept free of
KEYS = ("file", "name", "time", "response", "arf", "background")


@dataclass(frozen=True)
class Entry:
    """One spectrum of a survey.

    Attributes
    ----------
    name : str
        Of its folder, and in the catalogue.
    file : Path
        Absolute; a row of a type II file in braces: ``a.pha{3}``.
    time : float
        Where it stands in pictures; NaN: by its number.
    response, arf, background : Path or None
        Instead of those that its header names.
    """

    name: str
    file: Path
    time: float = float("nan")
    response: Path | None = None
    arf: Path | None = None
    background: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Names as text."""
        return {key: None if value is None else str(value) for key, value in vars(self).items()}


def entries_of(spectra: Spectra, folder: str | os.PathLike[str] = ".") -> list[Entry]:
    """The spectra that a list of files, patterns and tables means, in its order.

    Parameters
    ----------
    spectra : iterable of path, pattern (``slices/*.pha``) or mapping
        A mapping has ``file`` and, as wanted, ``name``, ``time``, ``response``, ``arf``, ``background``.
    folder : path, default "."
        Where relative names start.

    Raises
    ------
    ValueError
        For an empty list, an unknown key, a pattern without a file, or two entries of one name.
    """
    if isinstance(spectra, (str, os.PathLike)):
        raise ValueError(f"One spectrum ({spectra}) is no list: give its files in a list, or fit it with `fit`.")
    folder = Path(folder).absolute()
    entries = [entry for given in spectra for entry in _entries(given, folder)]
    if not entries:
        raise ValueError("A survey of no spectra: give the files' names, or a pattern such as 'slices/*.pha'.")
    seen: dict[str, Path] = {}
    for entry in entries:
        if entry.name in seen:
            raise ValueError(
                f"{seen[entry.name]} and {entry.file} would both go to the folder {entry.name}: give one of them "
                "another name ({'file': ..., 'name': ...})."
            )
        seen[entry.name] = entry.file
    return entries


def _entries(given: Any, folder: Path) -> list[Entry]:
    if isinstance(given, Mapping):
        return [_from_mapping(given, folder)]
    text = os.fspath(given)
    if not isinstance(text, str):
        raise ValueError(f"{given!r} is no file name.")
    if any(sign in text for sign in "*?[") and not (folder / text).exists():
        files = sorted(glob.glob(os.path.join(folder, text)))
        if not files:
            raise ValueError(f"No file matches {text} in {folder}.")
        return [Entry(_name(file), Path(file)) for file in files]
    return [Entry(_name(text), folder / text)]


def _from_mapping(given: Mapping[str, Any], folder: Path) -> Entry:
    unknown = [str(key) for key in given if key not in KEYS]
    if unknown or "file" not in given:
        what = f"unknown: {', '.join(unknown)}" if unknown else "it names no file"
        raise ValueError(f"The spectrum {dict(given)} cannot be used ({what}). Its keys are {', '.join(KEYS)}.")
    others = {key: folder / given[key] for key in ("response", "arf", "background") if given.get(key)}
    name = NAME.sub("_", str(given.get("name") or _name(given["file"])))
    return Entry(name, folder / given["file"], float(given.get("time", "nan")), **others)


def _name(file: str) -> str:
    """A folder's name: the file's, without what only tells its format."""
    file, _, row = split_name(os.path.basename(file))
    stem = re.sub(r"(\.(fits|fit|pha|pha2|pi|ds|grp))?(\.gz)?$", "", file)
    return NAME.sub("_", stem) + ("" if row is None else f"_{row}")
