"""Our posterior beside those of others: BXA, nautilus, XSPEC's chains; and models beside each other."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Comparison": "comparison",
    "compare_posteriors": "comparison",
    "Divergence": "divergence",
    "jensen_shannon": "divergence",
    "CompareError": "posterior",
    "Posterior": "posterior",
    "read_finished": "finished",
    "compare": "run",
    "METHODS": "run",
    "Ranking": "ranking",
    "rank": "ranking",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
