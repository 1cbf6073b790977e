"""What XSPEC prints while it is given commands: an error there raises nothing, and the session goes on without."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["check_printed", "printed_errors"]

_ERROR = re.compile(r"^\s*(?:\*{3}(?!\s*Warning)|Error\b)\s*(?:XSPEC )?(?:Error\s*:?)?\s*(.*)$", re.IGNORECASE)
# a header's stale name is no fault where the session then attaches another file: `attached` judges what came out
_ABOUT_ATTACHED = re.compile(
    r"cannot open file named|cannot read (?:auxiliary )?response|cannot read background|skipped|ebins|"
    r"missing required entries|inconsistent with data"
)


@contextlib.contextmanager
def printed_errors(module: ModuleType) -> Iterator[list[str]]:
    """Collect the errors that XSPEC prints inside the block, also at chatter 0; the list is filled at its end.

    The embedded engine raises its errors, and prints none.
    """
    found: list[str] = []
    if hasattr(module, "evaluate_batch"):
        yield found
        return
    xset = module.Xset
    with tempfile.TemporaryDirectory(prefix="sixsa-") as folder:
        users = xset.log
        log = Path(users.name if users is not None else f"{folder}/xspec.log")
        begin = log.stat().st_size if users is not None else 0
        chatter = xset.logChatter
        if users is None:
            xset.openLog(str(log))
        xset.logChatter = 10
        try:
            yield found
        finally:
            if users is None:
                xset.closeLog()
            xset.logChatter = chatter
            text = log.read_bytes()[begin:].decode("utf-8", "replace") if log.is_file() else ""
            matches = [match for line in text.splitlines() if (match := _ERROR.match(line))]
            found += [match[1].strip() for match in matches if match[1].strip()]


def check_printed(errors: list[str], session: Path, commands: str) -> None:
    """Refuse a restored session of which XSPEC has not taken every command.

    Parameters
    ----------
    errors : list of str
        From `printed_errors`.
    session : Path
        What was restored.
    commands : str
        Its text, in which the line at fault is looked for.

    Raises
    ------
    ValueError
        With what XSPEC printed. Errors about files that belong to a spectrum are left to `attached.check_attached`.
    """
    errors = [error for error in errors if not _ABOUT_ATTACHED.search(error)]
    if errors:
        said = "; ".join(_with_command(error, commands) for error in dict.fromkeys(errors))
        raise ValueError(
            f"XSPEC did not take all of {session.name}, and would have gone on with what it had before: {said}. Put "
            "the command or the file right: the posterior would be that of another problem."
        )


def _with_command(error: str, commands: str) -> str:
    """The error and the line of the session that has its value."""
    value = re.search(r"(?:Desired Value|Range value|expression:|named:?)\s+=?\s*(\S+)", error)
    lines = commands.splitlines()
    for k, line in enumerate(lines, start=1):
        if value is not None and value[1] in line.split():
            return f"{error} (line {k}: {line.strip()})"
    return error
