"""The XSPEC side: the session read, evaluated in parallel, silenced, restored; over PyXspec or the embedded engine."""

from __future__ import annotations

from .fingerprint import difference
from .parameters import FreeParameter
from .session import Evaluations, Session

__all__ = ["Evaluations", "FreeParameter", "Session", "difference"]
