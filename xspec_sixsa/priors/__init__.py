"""Priors of the free parameters: what users write, bound to a session and mapped from the unit cube.

`prior` has the priors themselves, `joint` binds a list of them to a session, `bxa` takes BXA's, `file` reads and writes
``priors.toml``. Only numpy and scipy are imported.
"""

from __future__ import annotations

from .bxa import (
    create_custom_prior_for,
    create_gaussian_prior_for,
    create_jeffreys_prior_for,
    create_loguniform_prior_for,
    create_uniform_prior_for,
    from_bxa,
)
from .file import FIT_OPTIONS, load_toml, normalise, save_toml
from .joint import JointPrior, bind
from .prior import (
    KINDS,
    Prior,
    PriorError,
    custom,
    exponential,
    from_words,
    joint,
    lognormal,
    loguniform,
    normal,
    uniform,
)

__all__ = [
    "FIT_OPTIONS",
    "KINDS",
    "JointPrior",
    "Prior",
    "PriorError",
    "bind",
    "create_custom_prior_for",
    "create_gaussian_prior_for",
    "create_jeffreys_prior_for",
    "create_loguniform_prior_for",
    "create_uniform_prior_for",
    "custom",
    "exponential",
    "from_bxa",
    "from_words",
    "joint",
    "load_toml",
    "lognormal",
    "loguniform",
    "normal",
    "normalise",
    "save_toml",
    "uniform",
]
