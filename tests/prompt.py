"""The program `xspec`: command scripts, and its interactive prompt on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

TCL = Path(__file__).resolve().parents[1] / "tcl"
PROMPT = "XSPEC12>"


def environment(home: Path | None = None, *, tcl: bool = True) -> dict[str, str]:
    """What xspec needs to find the package: TCLLIBPATH with `tcl`, else only what is in `home`."""
    found = dict(os.environ, OMP_NUM_THREADS="1", TERM="dumb")
    # the tests' own modules are no business of the child
    found.pop("PYTHONSTARTUP", None)
    if tcl:
        found |= {"TCLLIBPATH": str(TCL), "SIXSA_PYTHON": sys.executable}
    else:
        found.pop("TCLLIBPATH", None)
        found.pop("SIXSA_PYTHON", None)
    if home is not None:
        found["HOME"] = str(home)
    return found


def run_script(text: str, folder: Path, *, home: Path | None = None, tcl: bool = True, timeout: float = 120) -> str:
    """Run a command script as `xspec - script.xcm` in `folder`; returns what it printed."""
    script = folder / "script.xcm"
    script.write_text(text)
    ended = subprocess.run(
        ["xspec", "-", str(script)], cwd=folder, env=environment(home, tcl=tcl), timeout=timeout,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True,
    )  # fmt: skip
    return ended.stdout.decode("utf-8", "replace")


class Prompt:
    """An interactive xspec on a terminal of its own; a context manager that ends it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe("xspec", ["xspec"], environment(home, tcl=False))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))  # bars need a width
        self.everything = ""
        self.wait()

    def __enter__(self) -> Prompt:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)

    def wait(self, until: str = PROMPT, timeout: float = 120) -> str:
        """What is printed up to and with the words `until`; AssertionError when they do not come."""
        seen, deadline = "", time.monotonic() + timeout
        while until not in seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._fd], [], [], left)[0], (
                f"no {until!r} in {timeout} s after:\n{seen}"
            )
            part = os.read(self._fd, 65536).decode("utf-8", "replace")
            seen += part
            self.everything += part
        return re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", seen)

    def send(self, line: str) -> None:
        """Type a line."""
        os.write(self._fd, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal sends the signal to all that run on it."""
        os.write(self._fd, b"\x03")

    def type(self, line: str, timeout: float = 120) -> str:
        """Type a line and return what comes up to the next prompt."""
        self.send(line)
        # the terminal echoes the line, and the prompt that it was typed at has been read
        return self.wait(timeout=timeout)
