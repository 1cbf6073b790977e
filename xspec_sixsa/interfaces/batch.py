"""Fit a session file outside any XSPEC prompt: check the inputs, choose the engine, restore the session, fit it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xspec_sixsa.priors import from_words, load_toml
from xspec_sixsa.run.check import check
from xspec_sixsa.run.fit import fit
from xspec_sixsa.run.start import start
from xspec_sixsa.session import Session
from xspec_sixsa.session.engine import load_engine
from xspec_sixsa.session.restore import locate, restore_session
from xspec_sixsa.survey import fit_many
from xspec_sixsa.survey.listing import read_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    from xspec_sixsa.priors import PriorsLike
    from xspec_sixsa.result import Result
    from xspec_sixsa.run.check import PriorCheck
    from xspec_sixsa.run.start import Start
    from xspec_sixsa.survey import Survey

__all__ = ["check_inputs", "check_session", "fit_session", "start_session", "survey_list"]


def fit_session(
    session: str | os.PathLike[str],
    priors: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    engine: str = "auto",
    data: str | os.PathLike[str] | None = None,
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
    data : path, optional
        Where files are that are not where the session says.
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
    folder, text = check_inputs(session, priors, output=output, data=data, resume=resume, clobber=clobber)
    given = {key: value for key, value in options.items() if value is not None}
    if priors is not None:
        priors = Path(priors).absolute()
    module = load_engine(engine)
    if not given.get("progress", True):
        module.Xset.chatter = 0
    restore_session(module, session, folder, text)
    toml = str(priors) if priors is not None else None
    return fit(toml, output=output, resume=resume, clobber=clobber, xspec=module, **given)


def survey_list(
    path: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    session: str | os.PathLike[str] | None = None,
    priors: str | os.PathLike[str] | None = None,
    words: Iterable[str] = (),
    ignore: str | None = None,
    flux: Iterable[Sequence[float]] = (),
    engine: str = "auto",
    data: str | os.PathLike[str] | None = None,
    xspec: Callable[[], ModuleType] | None = None,
    **options: Any,
) -> Survey:
    """Fit the spectra of a list.

    Parameters
    ----------
    path : path
        See `survey.listing.read_list`.
    session, priors, ignore, flux : optional
        In place of the list's.
    words : iterable of str
        Priors as they are typed at XSPEC's prompt: ``3 uniform 0 0.5``.
    xspec : callable, optional
        Gives the session, in place of a file.
    output, engine, data, **options
        As for `fit_session` and `xspec_sixsa.fit_many`.
    """
    listing = read_list(path)
    chosen = Path(session).absolute() if session is not None else listing.session
    file = Path(priors).absolute() if priors is not None else listing.priors
    given: PriorsLike = None if file is None else str(file)
    typed = [word.split() for word in words]
    if typed:
        if file is not None:
            raise ValueError(f"Priors are set at the prompt, and {file} has some, too: clear these, or drop the file.")
        given = [from_words(_place(number), kind, numbers) for number, kind, *numbers in typed]
    if file is not None:
        load_toml(file)
    if xspec is not None:
        module = xspec()
    elif chosen is None:
        raise ValueError(
            f'{path} names no session: give the one that has the model (session = "model.xcm"), or --session.'
        )
    else:
        folder, text = check_inputs(chosen, None, data=data)
        module = load_engine(engine)
        if not options.get("progress", True):
            module.Xset.chatter = 0
        restore_session(module, chosen, folder, text)
    asked = {key: value for key, value in options.items() if value is not None}
    asked |= {"ignore": listing.ignore if ignore is None else ignore, "flux": list(flux) or listing.flux}
    return fit_many([vars(entry) for entry in listing.entries], given, output=output, xspec=module, **asked)


def _place(number: str) -> tuple[str, int]:
    """Model and parameter of ``3`` or ``bkg:3``."""
    model, _, index = number.rpartition(":")
    return model, int(index)


def check_session(
    session: str | os.PathLike[str],
    priors: str | os.PathLike[str] | None = None,
    *,
    engine: str = "auto",
    data: str | os.PathLike[str] | None = None,
    **options: Any,
) -> PriorCheck:
    """Restore an .xcm session and see what its priors say of the data; arguments as for `fit_session` and `check`."""
    session = Path(session).absolute()
    folder, text = check_inputs(session, priors, data=data)
    toml = None if priors is None else str(Path(priors).absolute())
    module = load_engine(engine)
    module.Xset.chatter = 0
    restore_session(module, session, folder, text)
    return check(toml, xspec=module, **options)


def start_session(
    session: str | os.PathLike[str],
    priors: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    clobber: bool = False,
    engine: str = "auto",
    data: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Start:
    """Restore an .xcm session, `start` it, and save it where the fit ended; arguments as for `check_session`.

    Parameters
    ----------
    output : path
        The .xcm file that is written; with `clobber`, one that exists is replaced.
    """
    session, output = Path(session).absolute(), Path(output).absolute()
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(
            f"{output} cannot be written: give --output the name of a session file in a folder that exists."
        )
    if output.exists() and not clobber:
        raise FileExistsError(f"{output} exists: replace it with --clobber, or give another --output.")
    folder, text = check_inputs(session, priors, data=data)
    toml = None if priors is None else str(Path(priors).absolute())
    module = load_engine(engine)
    module.Xset.chatter = 0
    restore_session(module, session, folder, text)
    found = start(toml, xspec=module, **options)
    Session(module, workers=1).save_xcm(output)
    return found


def check_inputs(
    session: Path,
    priors: str | os.PathLike[str] | None,
    *,
    output: Path | None = None,
    resume: bool = False,
    clobber: bool = False,
    data: str | os.PathLike[str] | None = None,
) -> tuple[Path, str | None]:
    """Find what must fail, without loading any engine.

    Returns
    -------
    folder : Path
        From which the session's relative paths are read.
    text : str or None
        The session's commands, where files were found elsewhere: see `session.restore.locate`.
    """
    if not session.is_file():
        raise FileNotFoundError(f"No session file {session}. Write one in XSPEC with: save all {session.name}")
    if resume and clobber:
        raise ValueError("--resume and --clobber contradict each other: continue the old run, or replace it?")
    if output is not None and output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file, not a folder: give another --output.")
    if output is not None and output.is_dir() and any(output.iterdir()) and not (resume or clobber):
        raise FileExistsError(
            f"The output folder {output} exists. Continue its run with --resume, replace it with --clobber, "
            "or give another --output."
        )
    if priors is not None:
        load_toml(priors)
    return locate(session, None if data is None else Path(data))
