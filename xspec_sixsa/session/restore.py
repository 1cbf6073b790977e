"""Sessions brought back from .xcm files, without questions asked."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from xspec_sixsa.common.files import working_directory
from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.session.attached import check_attached
from xspec_sixsa.session.printed import check_printed, printed_errors

__all__ = ["find_file", "locate", "restore_parts", "restore_session", "session_files"]

_FILE_COMMAND = re.compile(r"^\s*(data|response|arf|backgrnd|corfile)\s+(.*)$")
_TABLE = re.compile(r"\b[aem]table\{([^{}]+)\}")
_ABUNDANCES = re.compile(r"^\s*(?:xset\s+)?abund\s+file\s+(\S+)")
DEEPEST = 4
"""Folders, from the last, of a path that is looked for elsewhere."""
ABOVE = 4
"""Folders, from the session's own upwards, that a project moved as a whole may have its data below."""
_NO_FILE = re.compile(r"^(\d+(:\d+)?(-\d+)?|none|/|,|-)$")


def restore_session(module: ModuleType, session: Path, folder: Path, text: str | None = None) -> None:
    """Restore an .xcm file as if from `folder`, without questions asked.

    Parameters
    ----------
    module : module
    session, folder : Path
    text : str, optional
        Its commands, where they are not those of the file: see `locate`.

    Raises
    ------
    ValueError
        For a file or a command that XSPEC could not use: it prints an error, and goes on without.
    """
    module.Xset.allowPrompting = False
    module.AllData.clear()
    module.AllModels.clear()
    session = session.absolute()
    moved, text = text is not None, text or session.read_text(encoding="utf-8", errors="replace")
    with working_directory(folder):
        with tempfile.TemporaryDirectory() as scratch, printed_errors(module) as errors:
            if moved:
                (Path(scratch) / session.name).write_text(text, encoding="utf-8")
            script = Path(scratch) / session.name if moved else session
            stopped = _restored(module, script, text, Path(scratch) / "part.xcm")
        if stopped is not None:
            said = f" XSPEC said: {'; '.join(errors)}." if errors else ""
            raise ValueError(f"{session.name} cannot be restored: {stopped}.{said}") from stopped
        check_printed(errors, session, text)
        if module.AllData.nSpectra == 0:
            raise ValueError(f"{session} loads no data. Save the session in XSPEC with `save all`, not `save model`.")
        if not re.search(r"(?m)^\s*cd\s", text):  # else names are relative to several folders
            check_attached(module, text.splitlines())


def _restored(module: ModuleType, session: Path, text: str, part: Path) -> Exception | None:
    """Restore the session; what stopped it on real XSPEC, where what was printed says more, else None."""
    if hasattr(module, "evaluate_batch"):
        module.Xset.restore(str(session))
        return None
    try:
        if re.search(r"(?m)^cd ", text):
            restore_parts(module, text, part)
        else:
            module.Xset.restore(str(session))
    except Exception as error:  # PyXspec raises plain Exception
        return error
    return None


def restore_parts(module: ModuleType, text: str, script: Path) -> None:
    """Restore the text of an .xcm whose `cd` lines PyXspec's own `Xset.restore` refuses.

    `save all` writes them about data that were loaded in another folder. `script` is the file that each part is
    written to.
    """
    first, *rest = re.split(r"(?m)^cd (.+)\n", text)
    with working_directory(Path.cwd()):
        for folder, part in zip([".", *rest[::2]], [first, *rest[1::2]], strict=True):
            os.chdir(folder.strip())
            script.write_text(f"#PyXspec\n{part}", encoding="utf-8")
            module.Xset.restore(str(script))


def locate(session: Path, data: Path | None = None) -> tuple[Path, str | None]:
    """Find every file that a session names: where it says, or, where session or data were moved, elsewhere.

    Parameters
    ----------
    session : Path
    data : Path, optional
        A folder to look in first for what is not where the session says.

    Returns
    -------
    folder : Path
        The one that relative names start from: the current one, or the session's own.
    text : str or None
        The commands with the places where files were found, by the longest end of their path, in `data`, in the
        session's folder or those above it; None where all are where the session says.

    Raises
    ------
    FileNotFoundError
        Naming what is nowhere.
    """
    names = list(session_files(session))
    folders = list(dict.fromkeys((Path.cwd(), session.parent)))
    lost = {folder: [(c, name) for c, name in names if not _is_there(folder / name)] for folder in folders}
    folder = min(folders, key=lambda one: len(lost[one]))
    if not lost[folder]:
        return folder, None
    if data is not None and not data.is_dir():
        raise NotADirectoryError(f"There is no folder {data} to look for data in.")
    places = [*([data.absolute()] if data else []), *session.absolute().parents[:ABOVE]]
    found = {name: find_file(name, places) for _, name in lost[folder]}
    missing = ", ".join(f"{name} ({command})" for command, name in lost[folder] if found[name] is None)
    if missing:
        where = " and ".join(str(place) for place in dict.fromkeys([*folders, *places]))
        raise FileNotFoundError(
            f"{session.name} needs files that are not there: {missing}. Looked in {where}. Start from the folder in "
            "which the session was saved, put the files beside it, or say where they are (--data DIR)."
        )
    text = session.read_text(encoding="utf-8", errors="replace")
    for name, path in found.items():
        text = str(path).join(re.split(rf"(?<![\w./-]){re.escape(str(name))}(?![\w./-])", text))
    return folder, text


def _is_there(path: Path) -> bool:
    """Whether XSPEC finds a file: its reader takes a gzipped one of that name, too."""
    return path.is_file() or path.with_name(f"{path.name}.gz").is_file()


def find_file(name: Path, places: Iterable[Path]) -> Path | None:
    """The file in one of the places, nearest first, under as much of its old path as there is again."""
    parts = [part for part in name.parts if part not in ("/", "..", ".")]
    for place in places:
        for k in range(min(len(parts), DEEPEST), 0, -1):
            if _is_there(place.joinpath(*parts[-k:])):
                return place.joinpath(*parts[-k:]).absolute()
    return None


def session_files(session: Path) -> Iterator[tuple[str, Path]]:
    """Files that the session names outright (a response may also be named in a spectrum's header)."""
    moved = Path()
    for line in session.read_text(encoding="utf-8", errors="replace").splitlines():
        if re.match(r"^\s*cd\s+\S", line):
            moved = moved / os.path.expanduser(line.split()[1])
        if re.match(r"^\s*mo(?:d(?:el?)?)?\s", line):
            yield from (("model", moved / os.path.expanduser(name)) for name in _TABLE.findall(line))
        abundances = _ABUNDANCES.match(line)
        if abundances:
            yield "abund", moved / os.path.expanduser(abundances[1])
        match = _FILE_COMMAND.match(line)
        if not match or "$" in line:
            continue
        try:
            words = shlex.split(match.group(2))
        except ValueError:
            continue  # an open quote: the engine will name the line
        for word in words:
            if not _NO_FILE.match(word):
                yield match.group(1), moved / os.path.expanduser(split_name(re.sub(r"\{.*\}$", "", word))[0])
