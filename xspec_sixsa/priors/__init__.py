"""Priors of the free parameters: what users write, bound to a session and mapped from the unit cube.

`prior` has a prior and what it can do, `kinds` makes them, `binding` matches a list of them with a session, `joint` has
them all, `bxa` takes BXA's, `file` reads and writes ``priors.toml``. Only numpy and scipy are imported.
"""

from __future__ import annotations

from xspec_sixsa.priors.binding import bind
from xspec_sixsa.priors.bxa import (
    create_custom_prior_for,
    create_gaussian_prior_for,
    create_jeffreys_prior_for,
    create_loguniform_prior_for,
    create_uniform_prior_for,
    from_bxa,
)
from xspec_sixsa.priors.file import FIT_OPTIONS, PriorsLike, load_toml, normalise, save_toml
from xspec_sixsa.priors.joint import JointPrior
from xspec_sixsa.priors.kinds import (
    KINDS,
    custom,
    exponential,
    from_words,
    joint,
    lognormal,
    loguniform,
    normal,
    uniform,
)
from xspec_sixsa.priors.prior import Prior, PriorError

__all__ = [
    "FIT_OPTIONS",
    "KINDS",
    "JointPrior",
    "Prior",
    "PriorError",
    "PriorsLike",
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
