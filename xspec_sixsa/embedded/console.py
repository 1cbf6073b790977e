"""What an XSPEC command shows: on the terminal and in the log file, as the chatter levels allow."""

from __future__ import annotations

from xspec_sixsa.embedded.state import session

__all__ = ["report"]


def report(text: str, level: int = 10) -> None:
    """Show text as an XSPEC command would.

    Parameters
    ----------
    text : str
        Lines to show.
    level : int
        The chatter at which XSPEC shows such text (default 10).
    """
    if session.chatter >= level:
        print(text)
    if session.log_file is not None and session.log_chatter >= level:
        session.log_file.write(text + "\n")
        session.log_file.flush()
