"""Exact Bayesian posteriors of X-ray spectral models, inside XSPEC (SIXSA III, arXiv 2512.16709).

``import xspec_sixsa as sixsa`` is instant; torch, sbi and astropy are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from xspec_sixsa.compare.ranking import rank
    from xspec_sixsa.infer.coverage import CoverageError
    from xspec_sixsa.interfaces.method import install, last_result, prior, uninstall
    from xspec_sixsa.priors import (
        Prior,
        PriorError,
        create_custom_prior_for,
        create_gaussian_prior_for,
        create_jeffreys_prior_for,
        create_loguniform_prior_for,
        create_uniform_prior_for,
        custom,
        exponential,
        joint,
        lognormal,
        loguniform,
        normal,
        uniform,
    )
    from xspec_sixsa.products.calibration import calibrate
    from xspec_sixsa.result import Result
    from xspec_sixsa.run.check import check
    from xspec_sixsa.run.fit import fit
    from xspec_sixsa.run.start import start
    from xspec_sixsa.session import Session
    from xspec_sixsa.survey import Survey, fit_many

    xspec: ModuleType

__version__ = "0.1.0"

_HOMES = {
    "fit": "run.fit",
    "fit_many": "survey",
    "Survey": "survey",
    "check": "run.check",
    "start": "run.start",
    "calibrate": "products.calibration",
    "install": "interfaces.method",
    "last_result": "interfaces.method",
    "prior": "interfaces.method",
    "rank": "compare.ranking",
    "uninstall": "interfaces.method",
    "Result": "result",
    "Session": "session",
    "CoverageError": "infer.coverage",
    "Prior": "priors",
    "PriorError": "priors",
    "uniform": "priors",
    "loguniform": "priors",
    "normal": "priors",
    "lognormal": "priors",
    "exponential": "priors",
    "custom": "priors",
    "joint": "priors",
    "create_uniform_prior_for": "priors",
    "create_loguniform_prior_for": "priors",
    "create_jeffreys_prior_for": "priors",
    "create_gaussian_prior_for": "priors",
    "create_custom_prior_for": "priors",
}

__all__ = [
    "CoverageError",
    "Prior",
    "PriorError",
    "Result",
    "Session",
    "Survey",
    "__version__",
    "calibrate",
    "check",
    "create_custom_prior_for",
    "create_gaussian_prior_for",
    "create_jeffreys_prior_for",
    "create_loguniform_prior_for",
    "create_uniform_prior_for",
    "custom",
    "exponential",
    "fit",
    "fit_many",
    "install",
    "joint",
    "last_result",
    "lognormal",
    "loguniform",
    "normal",
    "prior",
    "rank",
    "start",
    "uniform",
    "uninstall",
    "xspec",
]


def __getattr__(name: str) -> Any:
    if name == "xspec":
        return importlib.import_module("xspec_sixsa.embedded").pick()
    if name in _HOMES:
        return getattr(importlib.import_module(f"xspec_sixsa.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xspec_sixsa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
