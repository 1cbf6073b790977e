"""Files that are either whole or absent, and the folder that relative names are read from."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_path", "working_directory"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name in the same folder; it takes the place of `path` only when the block succeeds.

    Parameters
    ----------
    path : path
        The file to be written. Its folder must exist.

    Yields
    ------
    pathlib.Path
        A name with the same suffix (some writers choose the format by it). Removed if the block raises.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; results are for the whole group, as the umask says.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def working_directory(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Stand in `folder` inside the block: XSPEC reads relative names from where it stands."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
