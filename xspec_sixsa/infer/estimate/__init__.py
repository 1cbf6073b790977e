"""Summary to posterior: density estimators behind one base class.

An estimator is trained once a round, on parameters and their noiseless spectra, and gives the posterior of the
observation as a density over the unit cube.
"""

from __future__ import annotations

from typing import Any

from xspec_sixsa.infer.estimate.estimator import Amortised
from xspec_sixsa.infer.estimate.lbf import LatentBasis
from xspec_sixsa.infer.estimate.npe import NeuralPosterior
from xspec_sixsa.infer.estimate.variational import Variational
from xspec_sixsa.infer.settings import ESTIMATORS

__all__ = ["ESTIMATORS", "Amortised", "estimator"]

_MADE_BY: dict[str, type[Amortised]] = dict(zip(ESTIMATORS, (NeuralPosterior, LatentBasis, Variational), strict=True))


def estimator(name: str, **options: Any) -> Amortised:
    """A fresh estimator by name.

    Parameters
    ----------
    name : {"npe", "lbf", "variational"}
    **options
        The estimator's own: ``steps`` and ``hidden`` (all), ``basis`` (lbf), ``emulator`` and ``guide`` (variational).

    Raises
    ------
    ValueError
        For another name.
    """
    if name not in _MADE_BY:
        raise ValueError(f"Unknown estimator {name!r}: type one of {', '.join(ESTIMATORS)}.")
    return _MADE_BY[name](**options)
