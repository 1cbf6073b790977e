"""What a model component is: its name, kind, parameters and the function that gives its spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["OWN", "ComponentType", "Function", "ParameterInfo", "parameter"]

Function = Callable[..., "torch.Tensor"]

OWN = "xspec_sixsa"


@dataclass(frozen=True)
class ParameterInfo:
    """One parameter as XSPEC's ``model.dat`` describes it; ``delta < 0`` means frozen by default.

    ``kind`` is ``"variable"``, ``"scale"`` (set by hand, never fitted) or ``"switch"`` (an integer).
    """

    name: str
    unit: str
    value: float
    delta: float
    hard_min: float
    soft_min: float
    soft_max: float
    hard_max: float
    kind: str = "variable"


@dataclass(frozen=True)
class ComponentType:
    """A kind of model component.

    Attributes
    ----------
    name : str
        XSPEC's name.
    kind : str
        ``"add"`` (photons/cm2/s in each energy bin at norm 1), ``"mul"`` (a factor for each energy bin) or ``"con"``
        (works on the spectrum of what follows it).
    parameters : tuple of ParameterInfo
        In XSPEC's order, without the ``norm`` of additive components.
    function : callable
        ``function(edges, p, settings) -> (batch, nE)`` with ``edges`` (nE + 1) in keV, ``p`` (batch, number of
        parameters), both float64 tensors, and ``settings`` offering ``abund`` and ``xsect``.  A convolution is
        given the spectrum as well, (1 or batch, nE).
    origin : str
        Whose function it is: ours, which is differentiable in ``p``, or a library's.
    strings : tuple of str
        Model strings (`xset`) that XSPEC's function reads and ours does not: with one of them set XSPEC's is used.
    """

    name: str
    kind: str
    parameters: tuple[ParameterInfo, ...]
    function: Function
    origin: str = OWN
    strings: tuple[str, ...] = ()


def parameter(
    name: str,
    unit: str,
    value: float,
    hard_min: float,
    soft_min: float,
    soft_max: float,
    hard_max: float,
    delta: float,
    kind: str = "variable",
) -> ParameterInfo:
    """Return a `ParameterInfo`, its numbers in the order in which ``model.dat`` writes them."""
    return ParameterInfo(name, unit, value, delta, hard_min, soft_min, soft_max, hard_max, kind)
