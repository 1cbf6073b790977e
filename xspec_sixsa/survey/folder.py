"""The folder of a survey: refused, resumed or replaced as told; which of its batches are finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from xspec_sixsa.common.files import plain, write_json
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.session.fingerprint import difference

__all__ = ["CHECKPOINT", "SETUP", "SPECTRA", "check_network", "prepare"]

SETUP, SPECTRA, CHECKPOINT = "survey.json", "spectra", "checkpoint"
OURS = ("catalogue.fits", "catalogue.csv", "overview.html", "overview.png", "totals.json", "priors.toml", SETUP)


def prepare(folder: Path, record: dict[str, Any], *, resume: bool, clobber: bool) -> dict[str, Any]:
    """Make the folder ready, and write what the survey is to it.

    Parameters
    ----------
    folder : Path
    record : dict
        ``seed`` (None: not asked for), ``batch``, ``options``, ``settings``, ``network``, ``flux``, ``fingerprint``,
        ``spectra``.
    resume, clobber : bool

    Returns
    -------
    dict
        `record`, with the seed that was drawn, or that the stopped survey had.

    Raises
    ------
    FileExistsError
        For a folder with something in it when neither `resume` nor `clobber` is given.
    ValueError
        When the survey to be resumed was another; the message says what changed.
    """
    if resume and clobber:
        raise ValueError("resume and clobber contradict each other: continue the old survey, or replace it?")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, not a folder: give another output.")
    setup = folder / SETUP
    occupied = folder.is_dir() and any(folder.iterdir())
    if occupied and not (resume or clobber):
        raise FileExistsError(
            f"The output folder {folder} is not empty: resume=True continues its survey, clobber=True replaces it "
            "(only files of xspec_sixsa), or give another output."
        )
    if resume and occupied:
        if not setup.is_file():
            raise ValueError(f"{folder} holds no survey to resume ({SETUP} is missing): give another output.")
        old = json.loads(setup.read_text(encoding="utf-8"))
        _refuse_others(folder, old, plain(record))
        return old
    if clobber and setup.is_file():
        for name in OURS:
            (folder / name).unlink(missing_ok=True)
        for name in (SPECTRA, CHECKPOINT):
            shutil.rmtree(folder / name, ignore_errors=True)
    record = record | {"seed": Streams(record["seed"]).seed}
    (folder / SPECTRA).mkdir(parents=True, exist_ok=True)
    (folder / CHECKPOINT).mkdir(exist_ok=True)
    write_json(setup, record)
    return record


def check_network(folder: Path, fingerprint: dict[str, Any]) -> None:
    """See that the curves of another survey are this one's: of its model, over its priors.

    Raises
    ------
    FileNotFoundError
        Where there is no survey.
    ValueError
        With what differs.
    """
    if not (folder / SETUP).is_file():
        raise FileNotFoundError(f"{folder} holds no survey ({SETUP} is missing): give the folder of one as network.")
    then = json.loads((folder / SETUP).read_text(encoding="utf-8"))["fingerprint"]
    own = ("statistic", "noticed")
    before, now = ({k: v for k, v in found.items() if k not in own} for found in (then, plain(fingerprint)))
    changed = difference(before, now)
    if changed:
        raise ValueError(
            f"The survey in {folder} was of another model or priors: {'; '.join(changed)}. Undo that, or leave network "
            "out."
        )


def _refuse_others(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    changed = difference(old["fingerprint"], new["fingerprint"])
    if new["seed"] not in (None, old["seed"]):
        changed.append(f"the seed was {old['seed']} and is {new['seed']}")
    changed += [
        f"the {key} was {old.get(key)} and is {new.get(key)}"
        for key in ("options", "settings", "batch", "network", "flux")
        if (old.get(key) or None) != (new.get(key) or None)
    ]
    if old["spectra"] != new["spectra"]:
        changed.append(f"the list of {len(old['spectra'])} spectra is another one of {len(new['spectra'])}")
    if changed:
        raise ValueError(
            f"The survey in {folder} was another and cannot be resumed: {'; '.join(changed)}. Undo that, or start "
            "again with clobber=True or another output."
        )
