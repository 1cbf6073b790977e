"""Fit a session file outside any XSPEC prompt: check the inputs, choose the engine, restore the session, fit it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._files import working_directory

if TYPE_CHECKING:
    from .result import Result

__all__ = ["ENGINES", "check_inputs", "fit_session", "load_engine", "open_run"]

log = logging.getLogger(__name__)

ENGINES = ("auto", "xspec", "embedded")
_FILE_COMMAND = re.compile(r"^\s*(data|response|arf|backgrnd)\s+(.*)$")
_NO_FILE = re.compile(r"^(\d+(:\d+)?(-\d+)?|none|/|,|-)$")


def fit_session(
    session: str | os.PathLike[str],
    priors: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    engine: str = "auto",
    resume: bool = False,
    clobber: bool = False,
    **options: Any,
) -> Result:
    """Restore an .xcm session and fit it.

    Parameters
    ----------
    session : path
        What `save all` wrote. Relative data paths start in the current folder, as in XSPEC, or else in the file's.
    priors : path, optional
        A TOML file; default: XSPEC's own limits and `bayes` settings. Its `[fit]` table gives options that are not
        given here.
    output : path
        The result's folder.
    engine : {"auto", "xspec", "embedded"}
        "auto" takes the real XSPEC where PyXspec can be imported.
    resume, clobber : bool
        What to do with an existing output folder; it is refused by default.
    **options
        Handed to `xspec_sixsa.fit`; None means "not given".

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        For inputs that cannot work, before anything is loaded or written.
    """
    session, output = Path(session).absolute(), Path(output).absolute()
    folder = check_inputs(session, priors, output=output, resume=resume, clobber=clobber)
    given = {key: value for key, value in options.items() if value is not None}
    if priors is not None:
        priors = Path(priors).absolute()
    module = load_engine(engine)
    if not given.get("progress", True):
        module.Xset.chatter = 0
    restore_session(module, session, folder)

    from .pipeline import fit

    toml = str(priors) if priors is not None else None
    return fit(toml, output=output, resume=resume, clobber=clobber, xspec=module, **given)


def open_run(directory: str | os.PathLike[str], engine: str = "auto") -> tuple[Result, ModuleType]:
    """Load a run's result, and its session into the engine.

    Parameters
    ----------
    directory : path
        What a run wrote; `session.xcm` must be in it.
    engine : {"auto", "xspec", "embedded"}
    """
    from .result import Result

    directory = Path(directory).absolute()
    result = Result.load(directory)
    session = directory / "session.xcm"
    if not session.is_file():
        raise FileNotFoundError(
            f"{directory} has no session.xcm, so XSPEC cannot be brought back to where the run was."
        )
    folder = _session_folder(session)
    module = load_engine(engine)
    module.Xset.chatter = 0
    restore_session(module, session, folder)
    return result, module


def check_inputs(
    session: Path, priors: str | os.PathLike[str] | None, *, output: Path, resume: bool, clobber: bool
) -> Path:
    """Find what must fail, without loading any engine.

    Returns
    -------
    Path
        The folder from which the session's relative paths are read.
    """
    if not session.is_file():
        raise FileNotFoundError(f"No session file {session}. Write one in XSPEC with: save all {session.name}")
    if resume and clobber:
        raise ValueError("--resume and --clobber contradict each other: continue the old run, or replace it?")
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file, not a folder: give another --output.")
    if output.is_dir() and any(output.iterdir()) and not (resume or clobber):
        raise FileExistsError(
            f"The output folder {output} exists. Continue its run with --resume, replace it with --clobber, "
            "or give another --output."
        )
    if priors is not None:
        from .priors import load_toml

        load_toml(priors)
    return _session_folder(session)


def load_engine(name: str = "auto") -> ModuleType:
    """Import the real XSPEC or the embedded engine.

    Parameters
    ----------
    name : {"auto", "xspec", "embedded"}
        "auto" takes PyXspec where it can be imported, and says which one it took (log level INFO).

    Raises
    ------
    ImportError
        If "xspec" was asked for and cannot be imported.
    ValueError
        If there is no engine of that name.
    """
    if name not in ENGINES:
        raise ValueError(f"No engine {name!r}; there are {', '.join(ENGINES)}.")
    if name != "embedded":
        reason = "no Python module named xspec"
        if importlib.util.find_spec("xspec") is not None:
            try:
                module = importlib.import_module("xspec")
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if hasattr(module, "AllModels") and hasattr(module, "Xset"):
                    log.info("Engine: XSPEC (%s)", getattr(module, "__file__", "built in"))
                    return module
                reason = f"{getattr(module, '__file__', 'the module xspec')} is not PyXspec"
        if name == "xspec":
            raise ImportError(
                f"PyXspec cannot be imported ({reason}). Run HEASoft's headas-init.sh in this shell and use the Python "
                "that PyXspec was built for, or take --engine embedded. `sixsa doctor` shows more."
            )
        log.info("Engine: the embedded one (%s)", reason)
    return importlib.import_module("xspec_sixsa.embedded")


def restore_session(module: ModuleType, session: Path, folder: Path) -> None:
    """Restore an .xcm file as if from `folder`, without questions asked."""
    module.Xset.allowPrompting = False
    module.AllData.clear()
    module.AllModels.clear()
    text = session.read_text(encoding="utf-8", errors="replace")
    with working_directory(folder), tempfile.TemporaryDirectory() as scratch:
        if re.search(r"(?m)^cd ", text) and not hasattr(module, "evaluate_batch"):
            restore_parts(module, text, Path(scratch) / "part.xcm")
        else:
            module.Xset.restore(str(session))
    if module.AllData.nSpectra == 0:
        raise ValueError(f"{session} loads no data. Save the session in XSPEC with `save all`, not `save model`.")


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


def _session_folder(session: Path) -> Path:
    """The folder in which every file of the session exists: the current one, or the session's own."""
    names = list(_session_files(session))
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


def _session_files(session: Path) -> Iterator[tuple[str, Path]]:
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
