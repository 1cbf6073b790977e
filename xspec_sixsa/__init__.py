"""Exact Bayesian posteriors of X-ray spectral models, inside XSPEC (SIXSA III, arXiv 2512.16709).

``import xspec_sixsa as sixsa`` is instant; torch, sbi and astropy are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "fit": "run.fit",
    "install": "interfaces.method",
    "last_result": "interfaces.method",
    "prior": "interfaces.method",
    "rank": "compare.ranking",
    "uninstall": "interfaces.method",
    "Result": "result",
    "Prior": "priors",
    "Session": "session",
    "CoverageError": "infer.coverage",
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

__all__ = ["__version__", "xspec", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "xspec":
        return importlib.import_module("xspec_sixsa.embedded").pick()
    if name in _HOMES:
        return getattr(importlib.import_module(f"xspec_sixsa.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xspec_sixsa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
