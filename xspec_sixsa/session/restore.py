"""Sessions brought back from .xcm files, without questions asked."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from xspec_sixsa.common.files import working_directory
from xspec_sixsa.session.attached import check_attached
from xspec_sixsa.session.printed import check_printed, printed_errors

__all__ = ["restore_parts", "restore_session", "session_files", "session_folder"]

_FILE_COMMAND = re.compile(r"^\s*(data|response|arf|backgrnd)\s+(.*)$")
_NO_FILE = re.compile(r"^(\d+(:\d+)?(-\d+)?|none|/|,|-)$")


def restore_session(module: ModuleType, session: Path, folder: Path) -> None:
    """Restore an .xcm file as if from `folder`, without questions asked.

    Raises
    ------
    ValueError
        For a file or a command that XSPEC could not use: it prints an error, and goes on without.
    """
    module.Xset.allowPrompting = False
    module.AllData.clear()
    module.AllModels.clear()
    text = session.read_text(encoding="utf-8", errors="replace")
    with working_directory(folder):
        with tempfile.TemporaryDirectory() as scratch, printed_errors(module) as errors:
            stopped = _restored(module, session, text, Path(scratch) / "part.xcm")
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


def session_folder(session: Path) -> Path:
    """The folder in which every file of the session exists: the current one, or the session's own."""
    names = list(session_files(session))
    if not names:
        return Path.cwd()
    missing = []
    for folder in dict.fromkeys((Path.cwd(), session.parent)):
        lost = [(command, name) for command, name in names if not (folder / name).is_file()]
        if not lost:
            return folder
        missing.append((folder, lost))
    folder, lost = min(missing, key=lambda entry: len(entry[1]))
    what = ", ".join(f"{name} ({command})" for command, name in lost[:5])
    raise FileNotFoundError(
        f"{session.name} needs files that are not there: {what}. Looked in {' and '.join(str(f) for f, _ in missing)}. "
        "Start from the folder in which the session was saved, or put the files beside it."
    )


def session_files(session: Path) -> Iterator[tuple[str, Path]]:
    """Files that the session names outright (a response may also be named in a spectrum's header)."""
    moved = Path()
    for line in session.read_text(encoding="utf-8", errors="replace").splitlines():
        if re.match(r"^\s*cd\s+\S", line):
            moved = moved / os.path.expanduser(line.split()[1])
        match = _FILE_COMMAND.match(line)
        if not match or "$" in line:
            continue
        try:
            words = shlex.split(match.group(2))
        except ValueError:
            continue  # an open quote: the engine will name the line
        for word in words:
            if not _NO_FILE.match(word):
                yield match.group(1), moved / os.path.expanduser(re.sub(r"\{.*\}$", "", word))
