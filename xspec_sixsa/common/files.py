"""Files that are either whole or absent, JSON that is strict, and the folder that relative names are read from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from xspec_sixsa.common.fitsfile import split_name

__all__ = ["atomic_path", "content_digest", "plain", "working_directory", "write_json"]


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


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write strict, indented JSON, the file as a whole; see `plain` for what becomes of numpy and of NaN."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def plain(value: Any) -> Any:
    """What strict JSON holds: numpy becomes Python, and what is not finite a string ("nan", "inf").

    JSON has no number for those. What has no JSON form at all becomes text: a long run must not be lost for it.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def content_digest(name: str) -> str:
    """SHA-256 of a file's content, and which part of it is named (``pn.rmf[2]``); the name itself where there is none.

    Copies of one response have one digest.
    """
    file, extension, row = split_name(name)
    if not os.path.exists(file):
        return name
    state = os.stat(file)
    return f"{_content(file, state.st_size, state.st_mtime_ns)}{extension}{row or ''}"


@lru_cache(maxsize=1024)
def _content(file: str, size: int, changed: int) -> str:
    found = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
