"""PyXspec of XSPEC 12.12 and newer, as far as its release notes tell: the embedded engine behind a thin wrapper."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from xspec_sixsa import embedded
from xspec_sixsa.embedded.background import Background
from xspec_sixsa.embedded.model import Model
from xspec_sixsa.embedded.spectrum import Spectrum

NAMES = ("AllChains", "AllData", "AllModels", "Chain", "Fit", "Model", "Plot", "Spectrum", "Xset")


def newer(
    patch: pytest.MonkeyPatch, recorded: bool = False, variance: bool = True, folded: bool = True, **other: Any
) -> ModuleType:
    """Return a PyXspec that does not divide by AREASCAL.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
    recorded : bool
        Whether background values are those of the background's own AREASCAL, or scaled to the source's.
    variance, folded : bool
        Whether variances and folded models are undivided, too: the release notes speak of `values` only.
    **other
        Attributes in place of the engine's, such as ``Plot``.
    """
    by_area = (Spectrum.values, Spectrum.variance, Background.values, Background.variance, Model.folded)
    values, spread, behind, behind_spread, fold = by_area

    def area(spectrum: Spectrum) -> np.ndarray:
        return spectrum._grouped.area_scale[spectrum._noticed]

    def of(background: Background) -> np.ndarray:
        own = background._grouped.area_scale[background._spectrum._noticed]
        return own if recorded else area(background._spectrum)

    def undivided(old: property, factor: Any, power: int = 1) -> property:
        return property(
            lambda self: tuple(np.asarray(old.fget(self)) * factor(self) ** power) if old.fget(self) else ()
        )

    patch.setattr(Spectrum, "values", undivided(values, area))
    patch.setattr(Background, "values", undivided(behind, of))
    if variance:
        patch.setattr(Spectrum, "variance", undivided(spread, area, 2))
        patch.setattr(Background, "variance", undivided(behind_spread, of, 2))
    if folded:
        patch.setattr(Model, "folded", lambda self, n: list(np.asarray(fold(self, n)) * area(embedded.AllData(n))))
        # the engine's own rate goes through Model.folded, and stays what it is
        patch.setattr(
            Spectrum, "_model_rate", lambda self: float(sum(embedded.AllModels(self.dataGroup).folded(self.index)))
        )
    module = ModuleType("xspec")  # without `evaluate_batch`, so that the session takes it for the real one
    for name in NAMES:
        setattr(module, name, other.get(name, getattr(embedded, name)))
    return module
