"""`AllModels`: the container of the loaded models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xspec_sixsa.embedded.energies import set_energies
from xspec_sixsa.embedded.model import Model, collate, model_of
from xspec_sixsa.embedded.record import ModelRecord, apply_changes, create_record
from xspec_sixsa.embedded.show import show_all
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["AllModels", "ModelManager"]


class ModelManager:
    """PyXspec's `AllModels`; there is one, `AllModels`.

    Attributes
    ----------
    sources : dict of int to str
        Active models: name by source number.
    systematic : float
        Fractional model systematic error; only 0 is available.
    """

    __slots__ = ()

    def __call__(self, groupNum: int, modName: str = "") -> Model:
        """Return the model object of a data group (from 1), of the unnamed model or a named one."""
        if not isinstance(groupNum, int) or groupNum < 1:
            raise XspecError("Error: Must enter integer >= 1 for data group number.")
        return model_of(_record("" if modName.isspace() else modName), groupNum)

    def __iadd__(self, modelInfo: str | tuple[Any, ...]) -> ModelManager:
        """Define a model: an expression, or (expression, name[, source number])."""
        if isinstance(modelInfo, str):
            modelInfo = (modelInfo,)
        record = create_record(*modelInfo[:3])
        model_of(record, min(record.groups)).show()
        return self

    def __isub__(self, modName: str) -> ModelManager:
        """Remove a model by name (``""`` the unnamed one, ``"*"`` all)."""
        if modName == "*":
            self.clear()
            return self
        name = "" if modName.isspace() or modName == "unnamed" else modName
        if name not in session.models:
            raise XspecError(f"Model removal error. There is no model {name or 'without a name'}.")
        session.models.pop(name).release()
        session.touch()
        return self

    def __iter__(self) -> Iterator[Model]:
        """Go through all model objects: model by model in order of definition, then by data group."""
        for record in list(session.models.values()):
            record.sync()
            for group in sorted(record.groups):
                yield model_of(record, group)

    @property
    def sources(self) -> dict[int, str]:
        """Name of the active model by source number; without data only where a model waits for them."""
        return {
            record.source: record.name
            for record in sorted(session.models.values(), key=lambda record: record.source)
            if record.active and (not session.spectra or any(s.has_source(record.source) for s in session.spectra))
        }

    @sources.setter
    def sources(self, value: Any) -> None:
        raise XspecError("Error: Cannot rebind AllModels.sources attribute")

    @property
    def systematic(self) -> float:
        """Fractional model systematic error; the engine has none."""
        return 0.0

    @systematic.setter
    def systematic(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise XspecError("Error: Systematic error must be numeric type.")
        if not 0.0 <= value < 1.0:
            raise XspecError("Error: Systematic error must be .0 <= syst < 1.0")
        if value:
            raise _absent("AllModels.systematic other than 0")

    def clear(self) -> None:
        """Remove all models."""
        session.models.clear()
        session.touch()

    def setPars(self, *args: Any) -> None:
        """Change parameters of several model objects: ``setPars(m1, 0.4, {3: 1.0}, m2, {1: 0.99})``."""
        changes = []
        model: Model | None = None
        pending: list[Any] = []
        for argument in (*args, None):
            if isinstance(argument, Model) or argument is None:
                if model is not None and pending:
                    states = model.states()
                    changes += [(states[i - 1], value) for i, value in collate(model, pending).items()]
                model, pending = argument, []
            elif model is None:
                raise XspecError("Error: First argument must be a model object.")
            else:
                pending.append(argument)
        apply_changes(changes)

    def calcFlux(self, cmdStr: str) -> None:
        """Compute the flux of all spectra (or, without data, of the models) between two energies: ``"2 10"``, keV."""
        from xspec_sixsa.embedded.flux import calculate

        if not isinstance(cmdStr, str):
            raise XspecError("Error: Argument to calcFlux must be a string")
        calculate(cmdStr, luminosity=False)

    def calcLumin(self, cmdStr: str) -> None:
        """Compute luminosities (1e44 erg/s) between two rest-frame energies at a redshift: ``"2 10 0.05"``."""
        from xspec_sixsa.embedded.flux import calculate

        if not isinstance(cmdStr, str):
            raise XspecError("Error: Argument to calcLumin must be a string")
        calculate(cmdStr, luminosity=True)

    def show(self, parIDs: str | None = None) -> None:
        """Show all parameters, or a range such as ``"1-3"`` of the unnamed model or ``"bkg:1-3"`` of a named one."""
        show_all(parIDs)

    def simpars(self) -> tuple[float, ...]:
        """Return one draw of the free parameters from the last fit's covariance, linked and frozen ones included."""
        from xspec_sixsa.embedded.fitting import simulated_parameters

        return simulated_parameters()

    def setEnergies(self, arg1: str, arg2: str | None = None) -> None:
        """Evaluate models on other energies than the responses', or on more.

        Parameters
        ----------
        arg1 : str
            ``".1 50. 1000 log"`` with further ranges behind it (``"100. 5 lin"``), the name of a file, ``"extend"``, or
            ``"reset"``, which ends either.
        arg2 : str
            With ``"extend"``: ``"high,50,100 log"``.

        Raises
        ------
        XspecError
            For anything else.
        """
        if not isinstance(arg1, str) or not isinstance(arg2, str | None):
            raise XspecError('Error: setEnergies takes strings, as in setEnergies(".1 50. 1000 log").')
        set_energies(f"{arg1} {arg2 or ''}")

    def eqwidth(
        self,
        component: int | str,
        rangeFrac: float | None = None,
        err: bool = False,
        number: int | None = None,
        level: float | None = None,
    ) -> None:
        """Compute the equivalent width (keV) of an additive component; it is then in ``Spectrum.eqwidth``.

        Parameters
        ----------
        component : int or str
            Number in the model, from 1; ``"name:3"`` in a named one.
        rangeFrac : float, optional
            The continuum is averaged over E(1 - rangeFrac) to E(1 + rangeFrac) about the component's peak; stays the
            default afterwards (at first 0.05).
        err, number, level
            Errors are not available: take them from posterior samples.
        """
        from xspec_sixsa.embedded.flux import equivalent_width

        if err:
            raise XspecError("'eqwidth ... err' is not available in the embedded engine: take it from posterior "
                             "samples, or run it in XSPEC with the chain loaded.")  # fmt: skip
        if rangeFrac:
            session.eqwidth_range = float(rangeFrac)
        name, _, index = str(component).rpartition(":")
        if not index.strip().isdigit():
            raise XspecError(f'Error: eqwidth needs a component number, or "model:number", not {component!r}.')
        equivalent_width(_record(name.strip()), int(index), session.eqwidth_range)

    def addPyMod(self, *args: Any, **kwargs: Any) -> None:
        """Not available."""
        raise _absent("AllModels.addPyMod")

    def initpackage(self, *args: Any, **kwargs: Any) -> None:
        """Not available."""
        raise _absent("AllModels.initpackage")

    def lmod(self, *args: Any, **kwargs: Any) -> None:
        """Not available."""
        raise _absent("AllModels.lmod")

    def tclLoad(self, *args: Any, **kwargs: Any) -> None:
        """Not available."""
        raise _absent("AllModels.tclLoad")


def _absent(what: str) -> XspecError:
    return XspecError(
        f"{what} is not available in the embedded engine: run the script with XSPEC's own PyXspec (HEASoft)."
    )


def _record(name: str) -> ModelRecord:
    if name not in session.models:
        raise XspecError(
            f"Error: Model with name: {name} is not currently loaded in XSPEC."
            if name
            else "Error: Model is not currently loaded in XSPEC."
        )
    return session.models[name]


AllModels = ModelManager()
"""The container of the loaded models."""
