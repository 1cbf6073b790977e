"""Response parameters (``gain fit``): found, named, set and read.

XSPEC fits them like any other parameter, but keeps no chain of them: they are sampled and reported, and a session that
has free ones gets no chain file. The embedded engine has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from xspec_sixsa.session.freeparameter import FreeParameter

__all__ = ["WHY_NO_CHAIN", "Gain", "gains"]

WHY_NO_CHAIN = "XSPEC refuses chains for response parameters, and {names} are free: no chain.fits is written or loaded"


@dataclass(frozen=True, eq=False)
class Gain:
    """The gain of one spectrum's response to one source, switched on.

    Attributes
    ----------
    spectrum, source : int
        From 1.
    group : int
        The spectrum's data group.
    response : Response
        PyXspec's.
    first : int
        XSPEC's number of its slope: they run on over the spectra of a source.
    """

    spectrum: int
    source: int
    group: int
    response: Any
    first: int

    @property
    def parameters(self) -> list[Any]:
        """Slope and offset, PyXspec Parameters."""
        model = self.response.gain
        return [getattr(model, name) for name in model.parameterNames]

    def free(self) -> list[FreeParameter]:
        """Those of the two that are free."""
        found = []
        for offset, parameter in enumerate(self.parameters):
            values = tuple(float(v) for v in parameter.values)
            if parameter.link or parameter.frozen or values[1] <= 0.0:
                continue
            number = self.first + offset
            where = f"spectrum {self.spectrum}" + (f", source {self.source}" if self.source > 1 else "")
            owner = "gain" if self.source == 1 else f"gain{self.source}"
            found.append(
                FreeParameter(
                    owner, self.group, offset + 1, number, parameter.name, "gain", parameter.unit or "", values,
                    f"{parameter.name}__{owner}__{number}", f"gain {parameter.name} ({where})",
                    tuple(parameter.prior), (self.spectrum, self.source),
                )
            )  # fmt: skip
        return found

    def fixed(self) -> list[Any]:
        """Values and links of those that are not free, for the fingerprint."""
        free = {p.index for p in self.free()}
        return [p.link.strip() or float(p.values[0]) for i, p in enumerate(self.parameters, start=1) if i not in free]

    def set(self, values: dict[int, float]) -> None:
        """Set some of the two, by index from 1, with as few recalculations as XSPEC allows."""
        parameters = self.parameters
        if len(values) == len(parameters):
            self.response.setPars(*(values[i + 1] for i in range(len(parameters))))
            return
        for index, value in values.items():
            parameters[index - 1].values = value


def gains(module: ModuleType) -> list[Gain]:
    """Return the gains that are switched on, by source and spectrum, as XSPEC numbers them."""
    found = []
    for source in sorted(module.AllModels.sources):
        first = 1
        for index in range(1, module.AllData.nSpectra + 1):
            spectrum = module.AllData(index)
            try:
                response = spectrum.multiresponse[source - 1]
                on = bool(response.gain.isOn)
            except Exception:  # no response for that source, or an engine without gain
                continue
            if on:
                found.append(Gain(index, source, int(spectrum.dataGroup), response, first))
                first += 2
    return found
