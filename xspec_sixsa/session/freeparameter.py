"""One free parameter of the session: where it is, what it is called, what XSPEC allows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FreeParameter"]


@dataclass(frozen=True)
class FreeParameter:
    """One free parameter (not frozen, not linked).

    Attributes
    ----------
    model : str
        Name of its model; empty for the unnamed one.
    group : int
        Data group, from 1.
    index, global_index : int
        Within its Model object, and running on over the model's data groups, from 1.
    name, component, unit : str
        As XSPEC shows them.
    values : tuple of 6 floats
        Value, delta, hard minimum, soft minimum, soft maximum, hard maximum.
    chain_name : str
        Column name in a chain file: ``nH__1``, ``norm__bkg__3``.
    label : str
        For people: ``"TBabs nH"``, ``"bkg: powerlaw norm (group 2)"``.
    prior : tuple
        XSPEC's own (`bayes`): type and hyperparameters.
    response : (spectrum, source), optional
        Whose gain it is, for a response parameter; `model` is then "gain" (or "gain2" ... for further sources).
    """

    model: str
    group: int
    index: int
    global_index: int
    name: str
    component: str
    unit: str
    values: tuple[float, ...]
    chain_name: str
    label: str
    prior: tuple[Any, ...] = ("cons",)
    response: tuple[int, int] | None = None

    @property
    def hard_limits(self) -> tuple[float, float]:
        """Values that XSPEC accepts: it silently keeps the old value beyond them."""
        return self.values[2], self.values[5]

    @property
    def soft_limits(self) -> tuple[float, float]:
        """Where a fit starts to be held back."""
        return self.values[3], self.values[4]
