"""The Python process behind the Tcl commands: ``python -m xspec_sixsa.interfaces.tclside COMMAND FOLDER``.

The prompt (tcl/child.tcl) reads its standard output line by line: ``say TEXT`` is shown, ``set KEY VALUE`` is a part of
the answer, ``fail TEXT`` is an error. FOLDER is what tcl/session.tcl wrote: ``session.xcm`` by XSPEC, ``before.xcm``
and ``after.xcm`` with what `save all` leaves out, ``asked.txt`` with the files that were to be attached,
``statistic.txt`` and ``job.txt``. COMMAND is ``check``, ``start``, ``run``, ``load``, or one of commands.py's, whose
words are then in ``job.txt``, one a line.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from xspec_sixsa.interfaces.commands import runs
from xspec_sixsa.interfaces.tclcommands import perform, tcl_array, usage, with_one_dash
from xspec_sixsa.priors import from_words
from xspec_sixsa.products.derived import columns
from xspec_sixsa.result import Result
from xspec_sixsa.run.check import check
from xspec_sixsa.run.fit import fit
from xspec_sixsa.run.folder import CHECKPOINT
from xspec_sixsa.run.start import start
from xspec_sixsa.session import Session, difference
from xspec_sixsa.session.attached import check_attached
from xspec_sixsa.session.engine import load_engine
from xspec_sixsa.session.fitting import NO_FIT
from xspec_sixsa.session.observe import saved_lines
from xspec_sixsa.session.parameters import model_objects, parameters_of
from xspec_sixsa.session.restore import restore_parts

if TYPE_CHECKING:
    from xspec_sixsa.priors import Prior
    from xspec_sixsa.result import Result

__all__ = ["SessionCopyError", "main"]

log = logging.getLogger(__name__)

STATISTIC_DIGITS = 1e-8
"""How well the copy's statistic must agree, relatively, apart from rounded parameters: `tclout` prints ten digits."""
ROUNDING_SAFETY = 2.0
"""The statistic is not quite linear over a rounding."""
SAME_RESULT = 1e-4
"""How well a loaded result's best statistic must be found again, relatively: frozen values have six digits."""
SECOND_INTERRUPT = 3.0
"""Seconds within which a second Ctrl-C is taken for the same one: the terminal and the prompt both send it."""
NOISE_LINES = 6


class SessionCopyError(RuntimeError):
    """The copy of the session is not what the prompt has."""


class Protocol(logging.Handler):
    """Lines to the prompt; log messages are said.

    Parameters
    ----------
    stream : text stream
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.INFO)
        self._stream = stream

    def send(self, kind: str, text: object) -> None:
        for line in str(text).splitlines() or [""]:
            self._stream.write(f"{kind} {line}\n")
        self._stream.flush()

    def set(self, key: str, value: object) -> None:
        for line in str(value).splitlines() or [""]:
            self.send("set", f"{key} {line}")

    def emit(self, record: logging.LogRecord) -> None:
        self.send("say", record.getMessage())


@dataclass
class Job:
    """What the prompt asks for.

    Attributes
    ----------
    output : Path
        The folder; ``Path()`` where none is given.
    options : dict
        For `check`: `draws`, `seed`, `workers`; for `start` the last two, and `network`. For `fit`: `target_ess`,
        `seed`, `budget`, `compressor`, `estimator`, `training`, `emulator`, `exact`, `workers`, `dask`, `network`,
        `clobber`, `resume`.
    priors : list of (model name, global index, kind, numbers)
    """

    output: Path = Path()
    options: dict[str, Any] = field(default_factory=dict)
    priors: list[tuple[str, int, str, list[str]]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read ``job.txt``: Tcl lists, one a line, of words without blanks (but for the folder's name)."""
        job = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, rest = line.partition(" ")
            if key == "output":
                job.output = Path(_tcl_word(rest))
            elif key in ("dask", "network"):
                job.options[key] = _tcl_word(rest)
            elif key == "prior":
                model, index, kind, *numbers = rest.split()
                job.priors.append(("" if model == "{}" else model, int(index), kind, numbers))
            elif key in ("clobber", "resume"):
                job.options[key] = True
            else:
                job.options[key] = (
                    rest if key in ("compressor", "estimator", "training", "emulator", "exact") else int(rest)
                )
        return job

    def for_fit(self) -> list[Prior]:
        """The priors as `fit` takes them."""
        return [from_words((model, index), kind, numbers) for model, index, kind, numbers in self.priors]


def main(words: list[str] | None = None) -> int:
    """Do what the prompt asks; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    with _quiet_stdout() as (stream, noise):
        protocol = Protocol(stream)
        logger = logging.getLogger("xspec_sixsa")
        logger.addHandler(protocol)
        logger.setLevel(logging.WARNING)  # which engine it is goes without saying here
        warnings.simplefilter("ignore")  # they speak to programmers
        _once_interrupted()
        try:
            if len(words) != 2 or words[0] not in ("check", "start", "run", "load", *runs.commands):
                raise ValueError("usage: python -m xspec_sixsa.interfaces.tclside COMMAND FOLDER")
            if words[0] in runs.commands:
                about_finished(words[0], Path(words[1]), protocol)
                return 0
            if words[0] == "check":
                before_a_fit(Path(words[1]), protocol)
                return 0
            if words[0] == "start":
                find_a_start(Path(words[1]), protocol)
                return 0
            result = run(Path(words[1])) if words[0] == "run" else load(Path(words[1]))
            interrupted = [reason for reason in result.reasons if reason.startswith("interrupted")]
            if words[0] == "run" and interrupted:
                protocol.set("interrupted", interrupted[0])
            answer(protocol, result)
            return 0
        except KeyboardInterrupt:
            if _resumable(words):
                protocol.set("interrupted", 1)
                protocol.set("done", 1)
            else:
                protocol.send("fail", "interrupted; the session is as it was.")
        except SessionCopyError as error:
            protocol.send("fail", error)
            for line in noise():
                protocol.send("fail", f"  {line}")
        except Exception as error:  # the person at the prompt gets the message; the traceback says where, on demand
            name = "" if str(error) and not _is_fault(error) else f"{type(error).__name__}: "
            protocol.send("fail", with_one_dash(f"{name}{error}"))
            if os.environ.get("SIXSA_DEBUG"):
                protocol.send("fail", traceback.format_exc())
    return 1


def before_a_fit(folder: Path, protocol: Protocol) -> None:
    """Check the priors on the session in `folder`, with pictures where the job has a folder, and send what is found."""
    job = Job.read(folder / "job.txt")
    found = check(job.for_fit(), xspec=copy_of_session(folder), **job.options)
    pictures = found.plot(job.output) if job.output.name else []
    protocol.set("summary", "\n".join([str(found), *map(str, pictures)]))
    for key, value in tcl_array(found.to_dict() | {"files": [str(path) for path in pictures]}):
        protocol.set(key, value)
    protocol.set("done", 1)


def find_a_start(folder: Path, protocol: Protocol) -> None:
    """Find a start of the session in `folder`, fit from there, and send the values that the prompt is to take."""
    job = Job.read(folder / "job.txt")
    found = start(job.for_fit(), xspec=copy_of_session(folder), **job.options)
    numbers = [_tcl_number(name) for name in found.prior.names]
    values = {"parameters": numbers} | {
        f"best,{n}": repr(float(x)) for n, x in zip(numbers, found.theta[-1], strict=True)
    }
    protocol.set("summary", found)
    for key, value in tcl_array(found.to_dict() | values):
        protocol.set(key, value)
    protocol.set("done", 1)


def run(folder: Path) -> Result:
    """Restore the session in `folder`, see that it is the prompt's, and fit it."""
    job = Job.read(folder / "job.txt")
    return fit(job.for_fit(), output=job.output, xspec=copy_of_session(folder), **job.options)


def load(folder: Path) -> Result:
    """Read the earlier result that the job names, and see that it is of the session in `folder`.

    Raises
    ------
    ValueError
        When it is not, saying what is different.
    """
    directory = Job.read(folder / "job.txt").output
    result = Result.load(directory)
    session = Session(copy_of_session(folder), workers=1)
    problem = ""
    if session.names != result.names:
        problem = f"its free parameters are {', '.join(result.names)}, and here they are {', '.join(session.names)}"
    else:
        found = float(session.evaluate(result.best_fit, "check").statistic[0])
        if not abs(found - result.best_statistic) <= SAME_RESULT * max(1.0, abs(result.best_statistic)):
            problem = f"its best fit had the statistic {result.best_statistic:.6g}, and has {found:.6g} here"
    if problem:
        old = {key: value for key, value in result.fingerprint.items() if key != "priors"}
        changed = difference(old, session.fingerprint())
        raise ValueError(f"{directory} is a result of another session: {'; '.join([problem, *changed])}.")
    return result


def about_finished(name: str, folder: Path, protocol: Protocol) -> None:
    """Run one of commands.py's with the words and the session in `folder`, and send what it found."""
    words = (folder / "job.txt").read_text(encoding="utf-8").splitlines()
    if words[:1] in (["?"], ["-h"], ["-help"]):
        protocol.send("say", usage(name))
    else:
        found = perform(name, words, functools.partial(copy_of_session, folder))
        protocol.set("summary", with_one_dash(found.text))
        for key, value in tcl_array(found.numbers):
            protocol.set(key, value)
    protocol.set("done", 1)


def copy_of_session(folder: Path) -> ModuleType:
    """Real XSPEC with the prompt's session, as tcl/session.tcl has put it into `folder`."""
    if not (folder / "session.xcm").is_file():
        raise ValueError("there are no data or no model here to evaluate: load the run's first (@<dir>/session.xcm).")
    module = load_engine("xspec")
    restore(module, folder)
    # XSPEC's data commands leave a handler of their own in the place of Python's
    _once_interrupted()
    logging.getLogger("xspec_sixsa").setLevel(logging.INFO)
    return module


def restore(module: ModuleType, folder: Path) -> None:
    """Make the session of `folder` in this process.

    Raises
    ------
    SessionCopyError
        When its fit statistic is another one than at the prompt: something was not copied.
    """
    module.Xset.chatter, module.Xset.logChatter = 5, 0  # what goes wrong is then in the noise
    module.Xset.allowPrompting = False
    script = folder / "whole.xcm"
    parts = [folder / name for name in ("before.xcm", "session.xcm", "after.xcm")]
    text = "".join(part.read_text(encoding="utf-8") for part in parts)
    # Xset.restore takes a gain's values for commands, but only where they stand on lines of their own
    text = re.sub(r"(?m)^gain fit .*(\n[ \t]+[-+.\d=].*)+", lambda found: re.sub(r"\s*\n\s+", " & ", found[0]), text)
    bayes = re.findall(r"(?m)^bayes .*$", text)
    try:
        restore_parts(module, re.sub(r"(?m)^bayes .*\n", "", text), script)
    except Exception as error:  # PyXspec raises plain Exception
        raise SessionCopyError(f"a copy of this session could not be made: {error}. XSPEC said:") from error
    for line in bayes:
        script.write_text(f"#PyXspec\n{line}\n", encoding="utf-8")
        # of a parameter that was frozen since; whether it matters, the statistic tells
        with contextlib.suppress(Exception):
            module.Xset.restore(str(script))
    if module.AllData.nSpectra == 0 or not module.AllModels.sources:
        raise SessionCopyError("a copy of this session has no data or no model. XSPEC said:")
    asked = (folder / "asked.txt").read_text(encoding="utf-8").splitlines()
    check_attached(module, [*saved_lines(module), *asked])
    text = (folder / "statistic.txt").read_text().strip()
    expected, found = float(text or "nan"), float(module.Fit.statistic)
    if abs(found - expected) <= STATISTIC_DIGITS * max(1.0, abs(expected)):
        return
    if not abs(found - expected) <= STATISTIC_DIGITS * max(1.0, abs(expected)) + _rounding(module):
        raise SessionCopyError(
            f"a copy of this session has the fit statistic {found:.9g}, and the session itself {expected:.9g}, so it "
            "would be another problem that is fitted. `save all` leaves out bayes, energies, lmod and mdefine: these "
            "are copied only if typed after `package require sixsa`; type them again now. Data that were loaded in "
            "another folder: cd there. XSPEC said:"
        )


def _rounding(module: ModuleType) -> float:
    """How much the statistic can differ because parameters are saved, and told by `tclout`, with six digits."""
    total = 0.0
    for _, _, model in model_objects(module):
        for _, parameter in parameters_of(model):
            values = list(parameter.values)
            if parameter.link or len(values) < 6 or values[0] == 0.0:
                continue
            here, unit = float(module.Fit.statistic), 10.0 ** (math.floor(math.log10(abs(values[0]))) - 5)
            step = 0.5 * unit if values[0] + 0.5 * unit <= values[5] else -0.5 * unit
            parameter.values = [values[0] + step, *values[1:]]
            total += abs(float(module.Fit.statistic) - here)
            parameter.values = values
    log.debug("rounding of the parameters may change the statistic by %g", total)
    return ROUNDING_SAFETY * total


def answer(protocol: Protocol, result: Result) -> None:
    """Send a result to the prompt; parameters under XSPEC's numbers (``3``, ``bkg:3``)."""
    chain = Path(result.output or "") / "chain.fits"
    draws = bool((result.weights > 0).any())
    numbers = [_tcl_number(name) for name in result.names]
    values: dict[str, Any] = {
        "summary": result.summary(),
        "directory": str(Path(result.output or "").absolute()),
        "chain": chain.absolute() if chain.is_file() else "",
        "parameters": " ".join(numbers),
        "statistic": repr(float(result.best_statistic)),
        "logz": repr(float(result.log_z)),
        "logz_err": repr(float(result.log_z_err)),
        "ess": repr(float(result.ess)),
        "khat": repr(float(result.k_hat)),
        "status": result.status,
        "reasons": "; ".join(result.reasons),
        "nofit": next((reason for reason in result.reasons if reason.startswith(NO_FIT)), ""),
        "evaluations": sum(result.evaluations.values()),
        "seconds": f"{sum(result.seconds.values()):.1f}",
        "seed": result.seed,
    }
    arrays: dict[str, Any] = {"best": result.best_fit}
    if draws:
        arrays |= {"sd": result.sd} | columns(result)
    for i, number in enumerate(numbers):
        values[f"name,{number}"] = result.names[i]
        values |= {f"{column},{number}": repr(float(array[i])) for column, array in arrays.items()}
    for key, value in values.items():
        protocol.set(key, value)
    protocol.set("done", 1)


def _tcl_number(chain_name: str) -> str:
    """``nH__1`` -> ``1``; ``norm__bkg__3`` -> ``bkg:3``."""
    _, *model, number = chain_name.split("__")
    return f"{'__'.join(model)}:{number}" if model else number


def _tcl_word(text: str) -> str:
    return text[1:-1] if text.startswith("{") and text.endswith("}") else text.replace("\\", "")


def _resumable(words: list[str]) -> bool:
    """Whether the run that was stopped left evaluations in its folder."""
    return words[0] == "run" and any((Job.read(Path(words[1]) / "job.txt").output / CHECKPOINT).glob("batch_*.npz"))


def _is_fault(error: Exception) -> bool:
    return isinstance(error, (AssertionError, AttributeError, LookupError, NameError, TypeError, ZeroDivisionError))


def _once_interrupted() -> None:
    """Ctrl-C ends the run once; the same key pressed reaches this process on two ways."""
    owner, last = os.getpid(), [-SECOND_INTERRUPT]

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + signum)
        now = time.monotonic()
        if now - last[0] > SECOND_INTERRUPT:
            last[0] = now
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[tuple[TextIO, Any]]:
    """Keep the pipe to the prompt for our lines; what XSPEC's libraries print goes to a file that errors quote."""
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream, tempfile.TemporaryFile("w+b") as file:
        sys.stderr = os.fdopen(os.dup(2), "w")  # the bars, on the prompt's terminal
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

        def noise() -> list[str]:
            sys.stdout.flush()
            # its own offset: XSPEC goes on writing at the end
            text = os.pread(file.fileno(), 1 << 20, 0).decode("utf-8", "replace")
            return [line for line in text.splitlines() if line.strip()][-NOISE_LINES:]

        yield stream, noise


if __name__ == "__main__":
    sys.exit(main())
