"""The session that a result was made from: brought back from the run's folder, or recognised in what XSPEC holds."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from types import ModuleType

from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.result import Result
from xspec_sixsa.session.engine import load_engine
from xspec_sixsa.session.fingerprint import difference, without_folders
from xspec_sixsa.session.restore import locate, restore_session
from xspec_sixsa.session.session import Session

__all__ = ["open_run", "open_session"]

log = logging.getLogger(__name__)

SAME = 1e-4
"""How well a moved run's best statistic must be found again, relatively: frozen values have six digits."""


def open_run(
    directory: str | os.PathLike[str], engine: str = "auto", data: str | os.PathLike[str] | None = None
) -> tuple[Result, ModuleType]:
    """Load a run's result, and its session into the engine; the current folder does not matter.

    Where the run or its data were moved, `session.xcm` names the files where they are now, afterwards.

    Parameters
    ----------
    directory : path
        What a run wrote; `session.xcm` must be in it.
    engine : {"auto", "xspec", "embedded"}
    data : path, optional
        Where files are that are neither where the run had them, nor in its folder or beside it.

    Raises
    ------
    FileNotFoundError
        Without session.xcm, or for data that are nowhere.
    ValueError
        Where files of the same names were found that do not give the run's best fit.
    """
    directory = Path(directory).absolute()
    result = Result.load(directory)
    session = directory / "session.xcm"
    if not session.is_file():
        raise FileNotFoundError(
            f"{directory} has no session.xcm, so XSPEC cannot be brought back to where the run was."
        )
    folder, text = locate(session, None if data is None else Path(data))
    module = load_engine(engine)
    module.Xset.chatter = 0
    restore_session(module, session, folder, text)
    if text is not None:
        _check_same(result, module)
        with contextlib.suppress(OSError), atomic_path(session) as temporary:  # else it is found anew every time
            temporary.write_text(text, encoding="utf-8")
            log.info("%s: files were moved; session.xcm names them where they are now", directory)
    return result, module


def _check_same(result: Result, module: ModuleType) -> None:
    """Refuse files that were found by their names, and are others."""
    session = Session(module, workers=1)
    best, value = result.best_statistic, float("nan")
    if session.names == list(result.names):
        value = float(session.evaluate(result.best_fit[None], "moved").statistic[0])
    if not abs(value - best) <= SAME * max(1.0, abs(best)):
        raise ValueError(
            f"Data were found under the names of this run's, but they are others: its best fit has the statistic "
            f"{best:.6g}, and these files give {value:.6g}. Say where the run's own are (--data DIR)."
        )


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
    changes = difference(without_folders(then), without_folders(now))
    if list(result.names) != session.names or changes:
        what = "; ".join(changes) or f"its free parameters are {', '.join(session.names)}"
        where = "the run's session.xcm" if result.output is None else str(Path(result.output) / "session.xcm")
        raise ValueError(
            f"XSPEC holds another session than this result was made from: {what}. Restore that one first: "
            f"@{where} at XSPEC's prompt, Xset.restore({where!r}) in Python."
        )
    return session
