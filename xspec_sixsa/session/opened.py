"""The session that a result was made from: brought back from the run's folder, or recognised in what XSPEC holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from xspec_sixsa.result import Result
from xspec_sixsa.session.engine import load_engine
from xspec_sixsa.session.fingerprint import difference
from xspec_sixsa.session.restore import restore_session, session_folder
from xspec_sixsa.session.session import Session

__all__ = ["open_run", "open_session"]


def open_run(directory: str | os.PathLike[str], engine: str = "auto") -> tuple[Result, ModuleType]:
    """Load a run's result, and its session into the engine.

    Parameters
    ----------
    directory : path
        What a run wrote; `session.xcm` must be in it.
    engine : {"auto", "xspec", "embedded"}
    """
    directory = Path(directory).absolute()
    result = Result.load(directory)
    session = directory / "session.xcm"
    if not session.is_file():
        raise FileNotFoundError(
            f"{directory} has no session.xcm, so XSPEC cannot be brought back to where the run was."
        )
    folder = session_folder(session)
    module = load_engine(engine)
    module.Xset.chatter = 0
    restore_session(module, session, folder)
    return result, module


def open_session(result: Result, xspec: ModuleType | None = None, workers: int | None = None) -> Session:
    """Look at the session that XSPEC holds, and refuse it when it is not the one that the result was made from.

    Raises
    ------
    ValueError
        With what differs. Only the folders of files may.
    """
    session = Session(xspec, workers=workers)
    now = session.fingerprint()
    then = {key: value for key, value in result.fingerprint.items() if key in now}
    changes = difference(_without_folders(then), _without_folders(now))
    if list(result.names) != session.names or changes:
        what = "; ".join(changes) or f"its free parameters are {', '.join(session.names)}"
        where = "the run's session.xcm" if result.output is None else str(Path(result.output) / "session.xcm")
        raise ValueError(
            f"XSPEC holds another session than this result was made from: {what}. Restore that one first: "
            f"@{where} at XSPEC's prompt, Xset.restore({where!r}) in Python."
        )
    return session


def _without_folders(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    def name(file: str) -> str:
        return Path(file).name

    spectra = [
        s | {"file": name(s["file"]), "background": name(s["background"]),
             "responses": {k: [name(f) for f in files] for k, files in s["responses"].items()}}
        for s in fingerprint.get("spectra", [])
    ]  # fmt: skip
    return {**fingerprint, "spectra": spectra}
