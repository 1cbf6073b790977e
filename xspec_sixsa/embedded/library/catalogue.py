"""XSPEC's compiled models as components of the engine: which there are, and what each gives."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from xspec_sixsa.embedded.componenttype import ComponentType
from xspec_sixsa.embedded.library.datafiles import FOLDER_VARIABLE, SOURCE, data_folder, data_versions, missing_files
from xspec_sixsa.embedded.library.modeldat import Definition, read_definitions
from xspec_sixsa.embedded.library.processes import Processes
from xspec_sixsa.embedded.library.request import Request, Setting, Versions
from xspec_sixsa.embedded.state import Abundances, XspecError

__all__ = ["ModelLibrary", "library"]

log = logging.getLogger(__name__)

PACKAGE = "xspectrampoline"
TIME_LIMIT = 300.0
"""Seconds that one evaluation may take."""
UNREAD = re.compile(r"(failed to|cannot|could not|unable to|error) (be )?(read|open|find)|not be (found|opened)", re.I)
"""What models print of files that are not there."""
COLUMNS = tuple(10.0**power for power in range(-4, 6))
REFUSED = {
    "mix": "mixes the models of several spectra",
    "amx": "mixes the models of several spectra",
    "acn": "is folded with the response",
}
UNSURE = ("cemekl", "cevmkl")  # cemekl is right in one process, off by 13 % or not a number in another


class Settings(Protocol):
    """What of the session the library depends on."""

    abund: Abundances
    xsect: str
    cosmo: tuple[float, float, float]
    model_strings: dict[str, str]
    data_folder: str


def _why_refused(definition: Definition) -> str:
    """Why the engine does not evaluate a model; empty where it does."""
    if definition.name in UNSURE:
        return "is not computed the same each time by this library (XSPEC 12.15.0), and may be off by more than a tenth"
    xflt = "depends on the XFLT keywords of each spectrum" if definition.per_spectrum else ""
    why = REFUSED.get(definition.kind, xflt)
    return why and f"{why}, which the embedded engine does not do"


@dataclass(frozen=True)
class ModelLibrary:
    """The installed library.

    Attributes
    ----------
    folder : Path
        Where it lies: its libraries, ``model.dat`` and ``abundances.dat`` are below.
    definitions : dict of str to Definition
        By name, in the order in which XSPEC resolves abbreviations.
    processes : Processes
        What evaluates.
    """

    folder: Path
    definitions: dict[str, Definition]
    processes: Processes

    @property
    def version(self) -> str:
        """What it is and where it comes from."""
        return f"XSPEC 12.15.0 ({PACKAGE} {importlib.metadata.version(PACKAGE)})"

    @property
    def data_folder(self) -> Path:
        """Where the models' data files are looked for without a word of the session's."""
        return data_folder(self.folder / "spectral/modelData")

    @functools.cached_property
    def abundances(self) -> tuple[str, ...]:
        """Names of its abundance tables."""
        lines = (self.folder / "spectral/manager/abundances.dat").read_text("utf-8").splitlines()
        return tuple(line.split(":")[0].strip() for line in lines[1:] if line[:4].isalpha() and ":" in line[:6])

    @property
    def served(self) -> tuple[str, ...]:
        """Names of the models that the engine can evaluate."""
        return tuple(d.name for d in self.definitions.values() if not _why_refused(d))

    def component(self, name: str) -> ComponentType:
        """Return a model as a component of the engine.

        Raises
        ------
        XspecError
            For a mixing or pile-up model, one that depends on the spectrum's XFLT keywords, or one that the library
            does not compute the same each time.
        """
        if why := _why_refused(self.definitions[name]):
            raise XspecError(
                f"Model component {name} {why}: use XSPEC (HEASoft, "
                "https://heasarc.gsfc.nasa.gov/docs/software/heasoft/)."
            )
        return _component(name)

    def spectra(
        self,
        definition: Definition,
        edges: torch.Tensor,
        parameters: torch.Tensor,
        settings: Settings,
        flux: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Evaluate a model.

        Parameters
        ----------
        definition : Definition
        edges : Tensor (nE + 1,)
            keV.
        parameters : Tensor (n, d)
        settings : EngineSession or alike
            Its ``abund``, ``xsect``, ``cosmo``, ``model_strings`` and ``data_folder`` reach the library.
        flux : Tensor (1 or n, nE), optional
            What a convolution model works on.

        Returns
        -------
        Tensor (n, nE)
            NaN in the rows where the model failed; why is logged.

        Raises
        ------
        XspecError
            If the model's data are missing, or gradients are wanted.
        """
        if parameters.requires_grad or (flux is not None and flux.requires_grad):
            raise XspecError(
                f"{definition.name} comes from XSPEC's compiled library and cannot be differentiated: evaluate under "
                "torch.no_grad(), or write the model with components that `sixsa models` calls differentiable."
            )
        values = parameters.numpy()
        setting = self._setting(settings)
        self._check_data(definition, setting, values[0].tolist() if len(values) else None)
        given = None if flux is None else flux.numpy()
        request = Request(definition.function, definition.kind, setting, edges.numpy(), values, given, TIME_LIMIT)
        spectra, reasons = self.processes.evaluate(request)
        for row, reason in enumerate(reasons):
            if reason:
                spectra[row] = np.nan
        failed = sorted({reason for reason in reasons if reason})
        if all(reasons) and any(UNREAD.search(reason) for reason in failed):
            raise XspecError(
                f"Model {definition.name} does not get its data. It says: {failed[0]}\n{_remedy(Path(setting.data))}"
            )
        for reason in failed:
            log.warning("%s failed at %d of %d parameter sets: %s", definition.name, reasons.count(reason),
                        len(reasons), reason)  # fmt: skip
        return torch.from_numpy(spectra)

    def optical_depth(self, name: str, edges: torch.Tensor, settings: Settings) -> torch.Tensor:
        """Return what a unit of nH of an absorption model adds to -ln(transmission) in each bin.

        Parameters
        ----------
        name : str
            A model whose first parameter is the column and whose others are redshifts, taken as 0.
        edges : Tensor (nE + 1,)
            keV.
        settings : EngineSession or alike

        Returns
        -------
        Tensor (1, nE)
            From the column among `COLUMNS` whose transmission is closest to 1/e, where rounding matters least.
        """
        definition = self.definitions[name]
        parameters = torch.zeros(len(COLUMNS), len(definition.parameters), dtype=torch.float64)
        parameters[:, 0] = torch.tensor(COLUMNS, dtype=torch.float64)
        transmission = self.spectra(definition, edges, parameters, settings)
        best = (transmission - math.exp(-1.0)).abs().argmin(dim=0, keepdim=True)
        return -transmission.gather(0, best).log() / parameters[best, 0]

    def check_data(self, name: str, settings: Settings) -> None:
        """Raise XspecError, naming the files, where the data of a model without switches are not there."""
        definition = self.definitions[name]
        if all(parameter.kind != "switch" for parameter in definition.parameters):
            self._check_data(definition, self._setting(settings), None)

    def _check_data(self, definition: Definition, setting: Setting, values: Sequence[float] | None) -> None:
        folder = Path(setting.data)
        missing = missing_files(definition, values, folder, setting.versions, dict(setting.strings))
        if missing:
            verb = "are" if len(missing) > 1 else "is"
            raise XspecError(
                f"Model {definition.name} needs {' and '.join(missing)}, which {verb} not in {folder}: without, it "
                f"would give zeros or nonsense. {_remedy(folder)}"
            )

    def _setting(self, settings: Settings) -> Setting:
        folder = Path(settings.data_folder) if settings.data_folder else self.data_folder
        strings = tuple(sorted(settings.model_strings.items()))
        versions = _versions(self.folder, folder)
        if isinstance(settings.abund, str) and settings.abund not in self.abundances:
            raise XspecError(f"abund {settings.abund!r} is unknown: XSPEC has {', '.join(self.abundances)}.")
        return Setting(settings.abund, settings.xsect, settings.cosmo, strings, str(folder), versions)


def _remedy(folder: Path) -> str:
    return (
        f"Put what is missing there, from {SOURCE}; or name the folder that has it and start again: "
        f"export {FOLDER_VARIABLE}=/path/to/spectral/modelData"
    )


@functools.cache
def _versions(library: Path, folder: Path) -> Versions:
    """Return the versions of AtomDB, NEI and SPEX, by name: the library's own, or what the folder of data has."""
    text = (library / "spectral/manager/Xspec.init").read_text("utf-8")
    own = dict(re.findall(r"^\s*(ATOMDB|NEI|SPEX)_VERSION:\s*(\S+)", text, re.M))
    return data_versions(folder, Versions(own["ATOMDB"], own["NEI"], own["SPEX"]))


@functools.cache
def _component(name: str) -> ComponentType:
    """One component for each name: the engine knows equal parts of models by their function."""
    found = library()
    assert found is not None
    definition = found.definitions[name]
    function = functools.partial(found.spectra, definition)
    return ComponentType(definition.name, definition.kind, definition.parameters, function, found.version)


@functools.cache
def library() -> ModelLibrary | None:
    """Return the library that ``pip install xspectrampoline`` has put beside this package, or None."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = next(iter(sorted(Path(spec.submodule_search_locations[0]).glob("LibXSPEC*"))), None)
    if folder is None:
        log.warning("%s is installed without its LibXSPEC folder: it is not used", PACKAGE)
        return None
    manager = folder / "spectral/manager"
    definitions = [*read_definitions(manager / "model.dat"), *read_definitions(manager / "mixmodel.dat")]
    return ModelLibrary(folder, {definition.name: definition for definition in definitions}, Processes(folder))
