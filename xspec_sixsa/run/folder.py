"""The output folder of a run: refused, resumed or replaced, only as told; never anything in it but our own files."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
from pathlib import Path
from typing import IO, Any

from xspec_sixsa.common.files import write_json
from xspec_sixsa.session.fingerprint import difference

__all__ = ["CHECKPOINT", "begin", "in_words", "prepare", "release", "run_began", "what_is_kept"]

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"
RUN, LOCK = "run.json", "lock"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
OURS = (
    "summary.json", "posterior.npz", "predictive.npz", "rounds.npz", "chain.fits", "corner.png", "predictive.png",
    "rounds.png", "weights.png", "cost.png", "networks.npz", "coverage.png", "emulator.png", "parameters.png",
    "latents.png", "reconstruction.png", "network.npz", "network.json", "report.html", "session.xcm",
    "priors.toml", "log.txt",
)  # fmt: skip


def prepare(output: str | os.PathLike[str], run: dict[str, Any], *, resume: bool, clobber: bool) -> dict[str, Any]:
    """Make the folder ready for a run, or for going on with one.

    Parameters
    ----------
    output : path
    run : dict
        ``seed`` (None: not asked for), ``fingerprint``, ``compressor``, ``estimator``, ``training``,
        ``emulator`` and ``settings`` of this run, and the digest of a ``network`` that it begins with (None: of none).
    resume, clobber : bool

    Returns
    -------
    dict
        `run`, with the stopped run's seed when it is resumed.

    Raises
    ------
    FileExistsError
        For a folder with something in it when neither `resume` nor `clobber` is given, or when another run is going on
        in it.
    ValueError
        When the run to be resumed was of another problem; the message says what changed.
    """
    output = Path(output)
    if resume and clobber:
        raise ValueError("resume and clobber contradict each other: continue the old run, or replace it?")
    _check_writable(output)
    occupied = output.is_dir() and any(output.iterdir())
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file, not a folder: give another output.")
    if occupied and not (resume or clobber):
        raise FileExistsError(
            f"The output folder {output} is not empty: resume=True continues its run, clobber=True replaces it "
            "(only files of xspec_sixsa), or give another output."
        )
    if (output / CHECKPOINT).is_dir():
        _claim(output)
    record = output / CHECKPOINT / RUN
    if resume and record.is_file():
        old = {"emulator": "linear"} | json.loads(record.read_text(encoding="utf-8"))
        changed = difference(old["fingerprint"], run["fingerprint"])
        if run["seed"] not in (None, old["seed"]):
            changed.append(f"seed: {old['seed']}, now {run['seed']}")
        for key in ("compressor", "estimator", "training", "emulator", "settings", "network"):
            if key in old and run[key] != old[key]:
                changed.append(f"{key}: {old[key]}, now {run[key]}")
        if changed:
            raise ValueError(
                f"The run in {output} was of another problem and cannot be resumed: {'; '.join(changed)}. Undo that, "
                "or start again with clobber=True or another output."
            )
        return old
    if resume and occupied:
        raise ValueError(f"{output} holds no run to resume ({CHECKPOINT}/{RUN} is missing): give another output.")
    if clobber and output.is_dir():
        for name in OURS:
            (output / name).unlink(missing_ok=True)
        shutil.rmtree(output / CHECKPOINT, ignore_errors=True)
    return run


def _check_writable(output: Path) -> None:
    """Refuse a folder that cannot be made or written to, before anything is spent on what it should hold."""
    there = output.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if there != output.absolute() and not there.is_dir():
        raise NotADirectoryError(f"The output folder {output} cannot be made: {there} is a file. Give another output.")
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"The output folder {output} cannot be written: no permission in {there}.")


def begin(output: str | os.PathLike[str], run: dict[str, Any]) -> None:
    """Record what the run is, so that it can be resumed."""
    folder = Path(output) / CHECKPOINT
    folder.mkdir(parents=True, exist_ok=True)
    _claim(Path(output))
    write_json(folder / RUN, run)


_claimed: dict[Path, IO[str]] = {}
"""Locks that this process holds, by the folder; the system releases them with the process, however it ends."""


def _claim(output: Path) -> None:
    """Lock the folder for this run.

    Raises
    ------
    FileExistsError
        When another process runs in it.
    """
    output = output.absolute()
    path = output / CHECKPOINT / LOCK
    if output in _claimed and path.exists():
        return
    release(output)
    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        who = stream.read().strip() or "unknown"
        stream.close()
        raise FileExistsError(
            f"Another run (process {who}) is going on in {output}: two would mix their files. Wait for it, or give "
            "another output."
        ) from None
    except OSError as error:  # a file system without locks
        log.debug("%s cannot be locked: %s", output, error)
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    _claimed[output] = stream


def release(output: str | os.PathLike[str]) -> None:
    """Let other runs have the folder; harmless where this process has not claimed it."""
    stream = _claimed.pop(Path(output).absolute(), None)
    if stream is not None:
        fcntl.flock(stream, fcntl.LOCK_UN)
        stream.close()


def run_began(output: Path) -> bool:
    """Whether this process has a run in the folder."""
    return output.absolute() in _claimed


def what_is_kept(output: Path | None) -> str:
    """What there is of a run that was stopped before it could return, and how to go on."""
    if output is None or not run_began(output):
        return "nothing is kept, start it again"
    return f"what was evaluated is kept in {output}, and resume=True (--resume) goes on with it"


def in_words(error: OSError, output: Path) -> OSError:
    """What became of a run's folder, and how to go on; other errors as they are."""
    if not output.is_dir():
        return FileNotFoundError(
            f"The output folder {output} was removed while the run was going on ({error}): nothing of it is left. "
            "Start it again, and leave the folder alone."
        )
    if error.errno in FULL:
        return OSError(
            error.errno, f"{output} could not be written ({error.strerror}): the disk is full, or gone. What was "
            "evaluated before is kept: make room, and go on with resume=True (--resume)",
        )  # fmt: skip
    return error
