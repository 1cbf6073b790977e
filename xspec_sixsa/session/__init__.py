"""The XSPEC side: the session read, evaluated in parallel, silenced, restored; over PyXspec or the embedded engine."""

from __future__ import annotations

from xspec_sixsa.session.evaluations import Evaluations
from xspec_sixsa.session.fingerprint import difference
from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.session import Session, is_entered

__all__ = ["Evaluations", "FreeParameter", "Session", "difference", "is_entered"]
