"""The process that has XSPEC's compiled models loaded: parameter sets come in, spectra go out.

It is a Python of its own (``python -m xspec_sixsa.embedded.library.child DESCRIPTOR``), because the models keep state,
are not thread-safe, print, and end their process when something is badly wrong. Real XSPEC, if the user's process has
it loaded, is not in this one. What the models print goes to a file that the parent has opened: it can read it after a
crash.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from xspec_sixsa.embedded.abundances import name_of
from xspec_sixsa.embedded.library.request import Request, Setting

__all__ = ["READY", "main"]

COMPLAINT = re.compile(r"fail|cannot|can't|could not|unable|not found|no such|error|invalid|does not exist", re.I)
"""What a model prints when it cannot work; many then give zeros, or what they were given."""
CHATTER = 10
READY = "ready"


def main(descriptor: int) -> None:
    """Serve requests from a connection until it closes; never returns before."""
    connection = Connection(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    library = _Library()
    try:
        connection.send(READY)
        while True:
            request = connection.recv()
            spectra, reasons = np.empty((len(request.parameters), len(request.edges) - 1)), []
            for k, (row, flux) in enumerate(request.rows()):
                # the kernel ends a hanging model even when the parent is gone
                signal.setitimer(signal.ITIMER_REAL, request.time_limit)
                spectra[k], reason = library.evaluate(request, row, flux)
                reasons.append(reason)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send((spectra, reasons))
    except (EOFError, OSError):
        os._exit(0)  # the parent is gone, and what the library would do at its end concerns nobody


class _Library:
    """The loaded library: its state, and what it prints."""

    def __init__(self) -> None:
        import xspectrampoline

        self._models = xspectrampoline.lib_XSFunctions
        self._c = ctypes.CDLL(None)
        self._setting: Setting | None = None
        self._complaints: dict[str, str] = {}
        self._models.FPCHAT(CHATTER)
        self._said()

    def _said(self) -> str:
        """Return what the library has printed since the last call."""
        self._c.fflush(None)  # C++ writes through C's buffers; Fortran is told to have none
        size = os.fstat(1).st_size
        if not size:
            return ""
        text = os.pread(1, size, 0).decode("utf-8", "replace").strip()
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        return text

    def set(self, wanted: Setting) -> None:
        """Bring the library's state to what the session has, where it differs."""
        present, library = self._setting, self._models
        if present == wanted:
            return
        failed = ctypes.c_int(0)
        if present is None or present.versions != wanted.versions:
            for put, version in zip((library.FPATDV, library.FPNEIV, library.FPSPXV), wanted.versions, strict=True):
                put(version.encode())
        if present is None or present.abund != wanted.abund:
            numbers = () if isinstance(wanted.abund, str) else wanted.abund
            if numbers:
                library.FPSLFL((ctypes.c_float * len(numbers))(*numbers), len(numbers), ctypes.byref(failed))
            library.FPSOLR(name_of(wanted.abund).encode(), ctypes.byref(failed))
        if present is None or present.xsect != wanted.xsect:
            library.FPXSCT(wanted.xsect.encode(), ctypes.byref(failed))
        if present is None or present.cosmo != wanted.cosmo:
            library.csmpall(*(ctypes.c_float(number) for number in wanted.cosmo))
        if present is None or present.strings != wanted.strings:
            library._ZN15FunctionUtility24eraseModelStringDataBaseEv()
            for key, value in wanted.strings:
                library.FPMSTR(key.encode(), value.encode())
        if failed.value:
            raise ValueError(
                f"XSPEC's library refuses abund {name_of(wanted.abund)} or xsect {wanted.xsect}: {self._said()}"
            )
        self._setting = wanted
        self._complaints.clear()
        self._said()

    def evaluate(self, request: Request, row: np.ndarray, flux: np.ndarray | None) -> tuple[np.ndarray, str]:
        """Return a spectrum and why it cannot be trusted, which is empty where it can."""
        try:
            self.set(request.setting)
            result = self._call(request, row, flux)
        except (AttributeError, ValueError) as error:
            return np.full(len(request.edges) - 1, np.nan), str(error)
        text = self._said()
        if COMPLAINT.search(text):
            # some models say it once, and give zeros ever after
            self._complaints[request.function] = text
        complaint = self._complaints.get(request.function, "")
        if not np.isfinite(result).all():
            return result, complaint or "not finite"
        given = 0.0 if request.kind == "add" else 1.0 if flux is None else flux
        if flux is not None and flux.any() and not result.any():
            return result, complaint or "zero everywhere"
        useless = not result.any() or bool(np.all(result == given))
        return result, complaint if useless else ""

    def _call(self, request: Request, row: np.ndarray, flux: np.ndarray | None) -> np.ndarray:
        """Call a model as its prefix in model.dat says."""
        prefix, _, rest = request.function.partition("_")
        single = prefix not in ("C", "c", "F")
        kind: Any = ctypes.c_float if single else ctypes.c_double
        dtype = np.float32 if single else np.float64
        edges, parameters = request.edges.astype(dtype), row.astype(dtype)
        n = len(edges) - 1
        # what a model leaves untouched shows as not a number
        result = np.full(n, np.nan, dtype) if flux is None else flux.astype(dtype)
        error = np.zeros(n, dtype)
        pointers = [array.ctypes.data_as(ctypes.POINTER(kind)) for array in (edges, parameters, result, error)]
        count, spectrum = ctypes.c_int(n), ctypes.c_int(1)
        if prefix in ("C", "c"):
            name = request.function if prefix == "C" else rest
            getattr(self._models, name)(pointers[0], count, pointers[1], spectrum, pointers[2], pointers[3], b"")
        else:
            name = f"{rest if prefix == 'F' else request.function}_"
            getattr(self._models, name)(
                pointers[0], ctypes.byref(count), pointers[1], ctypes.byref(spectrum), pointers[2], pointers[3]
            )
        return result.astype(np.float64)


if __name__ == "__main__":
    main(int(sys.argv[1]))
