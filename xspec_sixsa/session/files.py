"""Sessions saved and chains loaded."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from types import ModuleType

from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.common.fitsfile import split_name

__all__ = ["load_chain", "loaded_chains", "refuse_chains", "refuse_folder", "save_xcm", "unload_chains"]

_FILE_LINE = re.compile(r"^(\s*(?:(?:data|backgrnd|corfile|response|arf)\s+(?:\S+\s+)?|abund\s+file\s+))(\S+)(\s*)$")
_TABLE = re.compile(r"(\b[aem]table\{)([^{}]+)(\})")


def save_xcm(module: ModuleType, path: Path) -> Path:
    """Write the whole session (``save all``), with data paths made absolute; an existing file is replaced at once.

    Parameters
    ----------
    module : module
    path : Path

    Returns
    -------
    Path
        The absolute path.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        # XSPEC asks before it overwrites, and then fails: the name must be free.
        fresh = Path(temporary).with_name(f".{path.stem}-{os.getpid()}.xcm")
        fresh.unlink(missing_ok=True)
        try:
            module.Xset.save(str(fresh), "a")
            lines = fresh.read_text().splitlines()
        finally:
            fresh.unlink(missing_ok=True)
        lines, folders = _without_cd(_with_abundances(module, lines))
        lines = _with_attached(module, lines, folders)
        Path(temporary).write_text("\n".join(lines) + "\n")
    return path


def _with_abundances(module: ModuleType, lines: list[str]) -> list[str]:
    """Name the abundances in use: once a file was read, XSPEC 12.9.1 writes ``abund file`` whatever came after it."""
    table = str(module.Xset.abund).split()[0].rstrip(":")
    return lines if table == "file" else [re.sub(r"^abund\s+file\s.*", f"abund {table}", line) for line in lines]


def _without_cd(lines: list[str]) -> tuple[list[str], dict[int, Path]]:
    """Absolute names instead of the `cd` of data from another folder, and the folder that each spectrum came from."""
    kept, folders, folder = [], {}, Path.cwd()
    for line in lines:
        words = line.split(maxsplit=1)
        if words[:1] == ["cd"]:
            folder = (folder / words[1].strip()).resolve()
            continue
        data = re.match(r"\s*data\s+(?:\d+:)?(\d+)\s", line)
        if data:
            folders[int(data[1])] = folder
        kept.append(_absolute(line, folder))
    return kept, folders


def _with_attached(module: ModuleType, lines: list[str], folders: dict[int, Path]) -> list[str]:
    """Name the files that XSPEC found through a spectrum's header: elsewhere it would look in the wrong folder."""
    named = {tuple(line.split()[:2]) for line in lines if line.strip()}
    added = []
    for number in range(1, module.AllData.nSpectra + 1):
        spectrum = module.AllData(number)
        for command, where, get in (
            ("response", f"1:{number}", lambda s: s.response.rmf),
            ("arf", f"1:{number}", lambda s: s.response.arf),
            ("backgrnd", f"{number}", lambda s: s.background.fileName),
        ):
            if (command, where) in named or (command, f"{number}") in named:
                continue
            try:
                name = get(spectrum)
            except Exception:  # PyXspec raises plain Exception where there is none
                continue
            file = split_name(name)[0]
            path = folders.get(number, Path.cwd()) / file
            if file and path.exists():
                added.append(f"{command} {where} {path}{name[len(file) :]}")
    last = max((i for i, line in enumerate(lines) if line.split()[:1] == ["data"]), default=-1)
    return [*lines[: last + 1], *added, *lines[last + 1 :]]


def _absolute(line: str, folder: Path) -> str:
    if line.startswith("model"):
        places = (folder, Path.cwd())  # XSPEC may end with a `cd` to where it once began
        return _TABLE.sub(
            lambda m: m[1] + str(next(((p / m[2]).resolve() for p in places if (p / m[2]).exists()), m[2])) + m[3], line
        )
    match = _FILE_LINE.match(line)
    if match is None:
        return line
    name = split_name(match[2])[0]
    if not name or name.startswith(("/", "none")) or not (folder / name).exists():
        return line
    return f"{match[1]}{folder / name}{match[2][len(name) :]}{match[3]}"


def loaded_chains(module: ModuleType) -> list[str]:
    """Return the file names of the chains that are loaded."""
    names: list[str] = []
    while True:
        # PyXspec tells how many there are only by raising beyond the last, and says so on the terminal too.
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                names.append(str(module.AllChains(len(names) + 1).fileName))
        except Exception:
            return names


def refuse_chains(module: ModuleType) -> None:
    """Raise RuntimeError when chains of the user's are loaded: XSPEC would mix them with another.

    Those that `load_chain` has loaded in this process are not the user's: a new fit supersedes them, as XSPEC's own fit
    does its covariance.
    """
    present = loaded_chains(module)
    if not all(Path(name).absolute() in _ours for name in present):
        raise RuntimeError(
            f"{len(present)} chain(s) are loaded already ({', '.join(present)}): XSPEC would take all of them together "
            "for one posterior. Unload them (AllChains.clear()), or let them be replaced (replace_chains=True)."
        )


def refuse_folder(module: ModuleType, folder: Path) -> None:
    """Raise ValueError for a folder whose chain real XSPEC could not load, before anything is spent on it."""
    taken = sorted(set("[]()") & set(str(folder.absolute())))
    if taken and not hasattr(module, "evaluate_batch"):
        raise ValueError(
            f"XSPEC cannot load a chain from {folder.absolute()}: its file reader takes {' '.join(taken)} for commands "
            "of its own. Give an output folder without brackets."
        )


_ours: set[Path] = set()
"""Chain files that this process loaded for a fit."""


def unload_chains(module: ModuleType, folder: Path) -> None:
    """Unload all chains if one of them lies in `folder`, before that is replaced.

    XSPEC would end the whole program at the next command that looks into a chain whose file is gone.
    """
    if any(Path(name).absolute().parent == folder.absolute() for name in loaded_chains(module)):
        module.AllChains.clear()


def load_chain(module: ModuleType, path: Path, replace: bool = False) -> None:
    """Load a chain file into XSPEC.

    Parameters
    ----------
    module : module
    path : Path
    replace : bool, default False
        Whether to unload chains of the user's that are there already.

    Raises
    ------
    RuntimeError
        When chains of the user's are loaded and `replace` is False: see `refuse_chains`.
    FileNotFoundError
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no chain file {path}.")
    if not replace:
        refuse_chains(module)
    if loaded_chains(module):
        module.AllChains.clear()
    chains = module.AllChains
    # absolute: XSPEC opens the file anew at every use, and ends the program where it is not found
    chains += str(path.absolute())
    _ours.add(path.absolute())
