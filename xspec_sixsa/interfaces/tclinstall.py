"""The Tcl package put where XSPEC finds it, and taken away again."""

from __future__ import annotations

import os
import shutil
import site
import sys
from pathlib import Path

__all__ = ["install_tcl", "remove_tcl", "user_folder"]

FOLDER = "sixsa"
MARK = "# Written by `sixsa install-tcl`; `sixsa install-tcl --remove` takes this folder away."
CONFIG = "config.tcl"


def user_folder() -> Path:
    """XSPEC's folder of the user, ``~/.xspec``: it and the folders in it are searched by Tcl's `package require`."""
    return Path(os.path.expanduser("~")) / ".xspec"


def install_tcl(folder: Path | None = None) -> list[Path]:
    """Copy the Tcl package into a folder of its own, with the path of this Python written down.

    Nothing else that is in XSPEC's folder is touched; an earlier installation is replaced.

    Parameters
    ----------
    folder : Path, optional
        XSPEC's folder; default `user_folder`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    FileExistsError
        When the place is taken by something that is not ours.
    FileNotFoundError
        When this installation lacks the Tcl files.
    """
    target = (folder or user_folder()) / FOLDER
    sources = _sources()
    if target.is_symlink() or target.exists():
        _refuse_foreign(target)
        shutil.rmtree(target)
    target.mkdir(parents=True)
    written = [target / source.name for source in sources]
    for source, copy in zip(sources, written, strict=True):
        shutil.copyfile(source, copy)
    config = [MARK, f"set python {_tcl_quoted(sys.executable)}", f"set python_path {_tcl_quoted(_module_path())}"]
    (target / CONFIG).write_text("\n".join(config) + "\n", encoding="utf-8")
    return [*written, target / CONFIG]


def remove_tcl(folder: Path | None = None) -> list[Path]:
    """Take away what `install_tcl` put there, and nothing else.

    Returns
    -------
    list of Path
        The files removed; empty when there was nothing.
    """
    target = (folder or user_folder()) / FOLDER
    if not (target.is_symlink() or target.exists()):
        return []
    _refuse_foreign(target)
    files = sorted(target.iterdir())
    shutil.rmtree(target)
    return files


def _sources() -> list[Path]:
    """The package's Tcl files: in the wheel beside the modules, in a checkout beside the package."""
    here = Path(__file__).resolve().parents[1]
    for place in (here / "tcl", here.parent / "tcl"):
        files = sorted(place.glob("*.tcl"))
        if (place / "pkgIndex.tcl").is_file() and files:
            return [file for file in files if file.name != CONFIG]
    raise FileNotFoundError(f"The Tcl files are missing beside {here}: install xspec_sixsa again.")


def _refuse_foreign(target: Path) -> None:
    """Refuse a folder that holds anything but our own files."""
    ours = {source.name for source in _sources()} | {CONFIG}
    config = target / CONFIG
    if not target.is_symlink() and config.is_file() and config.read_text(encoding="utf-8").startswith(MARK):
        others = sorted(path.name for path in target.iterdir() if path.name not in ours)
        if not others:
            return
        raise FileExistsError(f"{target} also holds {', '.join(others)}, which is not ours: move it elsewhere first.")
    raise FileExistsError(f"{target} is there and was not made by `sixsa install-tcl`: move it elsewhere first.")


def _module_path() -> str:
    """What PYTHONPATH must have for this Python to find the package; empty for an ordinary installation."""
    parent = Path(__file__).resolve().parents[2]
    found = {Path(path).resolve() for path in (*site.getsitepackages(), site.getusersitepackages())}
    return "" if parent in found else str(parent)


def _tcl_quoted(text: str) -> str:
    r"""Quote text as a Tcl word: braces do, but for those and backslashes in it, which a path hardly has.

    >>> _tcl_quoted("/a b/python")
    '{/a b/python}'
    """
    if any(character in text for character in "{}\\\n"):
        raise ValueError(f"The path {text!r} has a brace, a backslash or a line break: Tcl cannot be given it.")
    return f"{{{text}}}"
