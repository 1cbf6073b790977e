"""Sessions restored from .xcm files, those of XSPEC's `save all` and our own.

Restoring is all or nothing: the file is read and every file it names is looked for before anything changes, and if
something still fails the session is put back as it was.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from xspec_sixsa.common.files import working_directory
from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.embedded.abundances import FILE
from xspec_sixsa.embedded.chains import AllChains
from xspec_sixsa.embedded.datamanager import AllData
from xspec_sixsa.embedded.energies import names_file, set_energies
from xspec_sixsa.embedded.fit import Fit
from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.parameterstate import bump_structure
from xspec_sixsa.embedded.plot import Plot
from xspec_sixsa.embedded.settings import (
    OTHER_COMMANDS,
    SETTERS,
    add_model_string,
    set_abundances,
    set_cosmology,
    set_cross_sections,
    set_data_folder,
    set_seed,
)
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.xcm_models import PARAMETER_COMMANDS, define_model
from xspec_sixsa.embedded.xcm_script import Statement, parse_ranges, parse_script

__all__ = ["restore"]

log = logging.getLogger(__name__)

# Known, and without effect on data, model or statistic.
WITHOUT_EFFECT = frozenset(
    "autosave chatter cpd hardcopy help identify iplot log logchatter parallel plot pwd save script show tclout "
    "tcloutr time undo version rescalecov".split()
)

REFUSED = {
    "gain": "gain shifts and fits are not in the embedded engine",
    "rmodel": "response models are not in the embedded engine",
    "rnewpar": "response parameters are not in the embedded engine",
    "lmod": "local models cannot be loaded by the embedded engine",
    "initpackage": "local models cannot be loaded by the embedded engine",
    "mdefine": "mdefine models are not in the embedded engine",
    "dummyrsp": "dummy responses are not restored by the embedded engine",
    "diagrsp": "diagonal responses are not in the embedded engine",
    "addcomp": "components are not added one by one: give the whole model expression",
    "delcomp": "components are not deleted one by one: give the whole model expression",
    "editmod": "models are not edited: give the whole model expression",
}
NONE = "none"


def restore(path: str | os.PathLike[str]) -> None:
    """Read a session file and put its data, settings and models in place of the present ones.

    Relative data paths are looked for from the working folder, as XSPEC does, then from the file's own folder.

    Raises
    ------
    XspecError
        Naming command and line; the session is then as it was before.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise XspecError(f"The session file {path} cannot be read ({error.strerror}).") from error
    try:
        statements = parse_script(text)
        plan = _Restorer(path, statements)
        plan.check()
        with _all_or_nothing():
            plan.run()
    except XspecError as error:
        raise XspecError(f"{path}, {error}") from error


@contextlib.contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Work on fresh containers; put the old objects back, as they were, if the block fails."""
    settings = dict(vars(session))
    objects = [(thing, dict(vars(thing))) for thing in (Plot, *session.spectra)]
    records = [(record, dict(vars(record)), {g: list(s) for g, s in record.groups.items()})
               for record in session.models.values()]  # fmt: skip
    states = [(state, [getattr(state, name, None) for name in state.__slots__])
              for _, _, groups in records for group in groups.values() for state in group]  # fmt: skip
    session.spectra = list(session.spectra)
    session.models = dict(session.models)
    session.chains = list(session.chains)
    session.model_strings = dict(session.model_strings)
    try:
        yield
    except BaseException:
        generation = session.generation
        for thing, attributes in [(session, settings), *objects]:
            vars(thing).clear()
            vars(thing).update(attributes)
        for record, attributes, groups in records:
            vars(record).clear()
            vars(record).update(attributes, groups=groups)
        for state, values in states:
            for name, value in zip(state.__slots__, values, strict=True):
                setattr(state, name, value)
        session.generation = generation
        session.touch()
        bump_structure()
        raise


@contextlib.contextmanager
def _line(statement: Statement) -> Iterator[None]:
    """Errors of the block name the line: what people write by hand fails in every way."""
    try:
        yield
    except Exception as error:
        message = str(error)
        if message.startswith(f"line {statement.line},"):
            raise
        if isinstance(error, IndexError):
            message = "a word is missing at its end"
        elif not isinstance(error, (XspecError, ValueError, OSError)):
            message = f"XSPEC's `{statement.command}` does not take these words ({message})"
        raise statement.error(message) from error


class _Restorer:
    """The statements of one file, checked, then run."""

    def __init__(self, path: Path, statements: list[Statement]) -> None:
        self.path = path
        self.statements = statements
        self.folder = Path.cwd()

    # -- before anything changes

    def check(self) -> None:
        """Refuse what is not known, and look for every file."""
        for statement in self.statements:
            with _line(statement):
                self._check(statement)
        self.folder = Path.cwd()

    def _check(self, statement: Statement) -> None:
        command = statement.command
        if command in REFUSED:
            raise statement.error(f"{REFUSED[command]}; with HEASoft installed use real XSPEC.")
        if command == "cd":
            self._cd(statement)
        elif command in ("abund", "energies", "xset"):
            self._named_file(statement)
        elif command in ("data", "response", "arf", "backgrnd", "corfile"):
            for _, name in self._file_arguments(statement):
                if name.lower() != NONE:
                    self._file(name, statement)
        elif command not in WITHOUT_EFFECT and self._handler(command) is None:
            raise statement.error(f"`{command}` is not in the embedded engine; with HEASoft use real XSPEC.")

    def run(self) -> None:
        commands = {statement.command for statement in self.statements}
        if "data" in commands:
            session.spectra = []
            AllData.clear()
        if "model" in commands:
            session.models = {}
            AllModels.clear()
        for statement in self.statements:
            if statement.command in WITHOUT_EFFECT:
                log.info("%s line %d: `%s` has no effect here", self.path, statement.line, statement.command)
                continue
            handler = self._handler(statement.command)
            assert handler is not None
            with _line(statement):
                handler(statement)
        session.touch()

    def _handler(self, command: str) -> Callable[[Statement], None] | None:
        return getattr(self, f"_{command}", None) or PARAMETER_COMMANDS.get(command)

    # -- files and folders

    def _cd(self, statement: Statement) -> None:
        if statement.words:
            folder = self.folder / Path(statement.words[0]).expanduser()
            if not folder.is_dir():
                raise statement.error(f"there is no folder {folder}.")
            self.folder = folder.resolve()

    def _file(self, name: str, statement: Statement) -> str:
        """The path to give to the engine for a file named in the script."""
        base = split_name(name)[0]
        rest = name[len(base) :]
        for folder in (self.folder, self.path.resolve().parent):
            candidate = folder / Path(base).expanduser()
            if candidate.is_file() or candidate.with_name(f"{candidate.name}.gz").is_file():
                here = folder == Path.cwd() or Path(base).is_absolute()
                return (base if here else str(candidate)) + rest
        raise statement.error(f"there is no file {base} in {self.folder} or beside the session file.")

    def _named_file(self, statement: Statement) -> str | None:
        """The path of the file that an `abund`, `energies` or `xset abund` command names; None where it names none."""
        words = statement.words
        if statement.command == "xset" and words and "abund".startswith(words[0].lower()):
            words = words[1:]
        elif statement.command == "energies":
            return self._file(words[0], statement) if words and names_file(words[0]) else None
        elif statement.command == "xset":
            return None
        return self._file(words[1], statement) if len(words) > 1 and words[0].lower() == FILE else None

    def _file_arguments(self, statement: Statement) -> list[tuple[str, str]]:
        """(index before the file, file) pairs of data, response, arf, backgrnd and corfile commands."""
        pairs, index = [], ""
        for word in statement.words:
            if word.replace(":", "").replace(",", "").isdigit():
                index = word
            else:
                pairs.append((index, word))
                index = ""
        return pairs

    # -- data

    def _data(self, statement: Statement) -> None:
        for index, name in self._file_arguments(statement):
            if name.lower() == NONE:
                continue
            path = self._file(name, statement)
            if " " in path:
                raise statement.error(f"the path {path!r} has a blank, which XSPEC's data command cannot take.")
            # Response and background names in a spectrum's header are relative to the folder where XSPEC stands.
            with working_directory(self.folder):
                AllData(f"{index} {path}".strip())

    def _spectrum(self, index: str, statement: Statement) -> Spectrum:
        number = int(index.rpartition(":")[2] or 1)
        if not 1 <= number <= len(session.spectra):
            raise statement.error(f"there is no spectrum {number}.")
        return session.spectra[number - 1]

    def _each_file(self, statement: Statement) -> Iterator[tuple[Spectrum, int, str | None]]:
        """(spectrum, source number, path or None) for every file of a response, arf or background command."""
        for position, (index, name) in enumerate(self._file_arguments(statement), start=1):
            spectrum = self._spectrum(index or str(position), statement)
            source = int(index.partition(":")[0]) if ":" in index else 1
            yield spectrum, source, None if name.lower() == NONE else self._file(name, statement)

    def _response(self, statement: Statement) -> None:
        for spectrum, source, path in self._each_file(statement):
            if source == 1:
                spectrum.response = path
            else:
                spectrum.multiresponse[source - 1] = path

    def _arf(self, statement: Statement) -> None:
        for spectrum, source, path in self._each_file(statement):
            response = spectrum.response if source == 1 else spectrum.multiresponse[source - 1]
            response.arf = path

    def _backgrnd(self, statement: Statement) -> None:
        for spectrum, _, path in self._each_file(statement):
            spectrum.background = path

    def _corfile(self, statement: Statement) -> None:
        for spectrum, _, path in self._each_file(statement):
            spectrum.correction = path

    def _cornorm(self, statement: Statement) -> None:
        words = statement.words
        numbers = parse_ranges(" ".join(words[:-1]), statement) or [1]
        for number in numbers:
            self._spectrum(str(number), statement).cornorm = float(words[-1])

    def _ignore(self, statement: Statement) -> None:
        AllData.ignore(" ".join(statement.words))

    def _notice(self, statement: Statement) -> None:
        AllData.notice(" ".join(statement.words))

    # -- settings

    def _statistic(self, statement: Statement) -> None:
        if statement.words and "test".startswith(statement.words[0].lower()):
            Fit.statTest = " ".join(statement.words[1:])
        else:
            Fit.statMethod = " ".join(statement.words)

    def _method(self, statement: Statement) -> None:
        if not "leven".startswith(statement.words[0].lower()[:5]):
            log.warning("%s line %d: fit method %s is not in the embedded engine, leven is kept",
                        self.path, statement.line, statement.words[0])  # fmt: skip
            return
        Fit.method = " ".join(statement.words)

    def _xset(self, statement: Statement) -> None:
        key, value = statement.words[0].lower(), " ".join(statement.words[1:])
        setting = next((name for name in _XSET if name.startswith(key)), None)
        if setting == "abund":
            self._abund(Statement(statement.line, "abund", statement.words[1:], statement.text))
        elif setting == "mdatadir":
            set_data_folder(str(self.folder / Path(value).expanduser()))
        elif setting in SETTERS:
            SETTERS[setting](value)
        elif setting == "seed":
            set_seed(int(value))
        elif setting == "weight":
            Fit.weight = value
        elif setting == "delta":
            Fit.delta = float(value)
        elif setting == "statistic":
            Fit.statMethod = value
        elif setting == "method":
            self._method(Statement(statement.line, "method", statement.words[1:], statement.text))
        else:
            add_model_string(statement.words[0], value)

    def _abund(self, statement: Statement) -> None:
        path = self._named_file(statement)
        set_abundances(f"{FILE} {path}" if path else " ".join(statement.words))

    def _xsect(self, statement: Statement) -> None:
        set_cross_sections(" ".join(statement.words))

    def _cosmo(self, statement: Statement) -> None:
        set_cosmology(" ".join(statement.words))

    def _energies(self, statement: Statement) -> None:
        set_energies(self._named_file(statement) or " ".join(statement.words))

    def _weight(self, statement: Statement) -> None:
        Fit.weight = " ".join(statement.words)

    def _systematic(self, statement: Statement) -> None:
        AllModels.systematic = float(statement.words[0])

    def _query(self, statement: Statement) -> None:
        Fit.query = statement.words[0]

    def _renorm(self, statement: Statement) -> None:
        Fit.renorm(*statement.words)

    def _model(self, statement: Statement) -> None:
        define_model(statement, lambda name: self._file(name, statement))

    def _fit(self, statement: Statement) -> None:
        if statement.words:
            Fit.nIterations = int(statement.words[0])
        Fit.perform()

    def _chain(self, statement: Statement) -> None:
        if len(statement.words) == 2 and "load".startswith(statement.words[0].lower()):
            AllChains.__iadd__(self._file(statement.words[1], statement))
        else:
            raise statement.error("of the chain commands only `chain load` is restored.")

    def _setplot(self, statement: Statement) -> None:
        word = statement.words[0].lower()
        if "energy".startswith(word):
            Plot.xAxis = statement.words[1] if len(statement.words) > 1 else "keV"
        elif "channel".startswith(word):
            Plot.xAxis = "channel"
        elif len(word) > 1 and "wavelength".startswith(word):
            Plot.xAxis = statement.words[1] if len(statement.words) > 1 else "angstrom"
        else:
            log.info("%s line %d: `setplot %s` is not restored", self.path, statement.line, word)


_XSET = sorted([*SETTERS, *OTHER_COMMANDS])
