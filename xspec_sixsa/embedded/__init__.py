"""An XSPEC of our own that speaks PyXspec: for trying, testing and teaching where HEASoft is not installed.

``import xspec_sixsa.embedded as xspec`` runs an ordinary PyXspec script; `install` makes ``import xspec`` give this
module, so that unmodified packages such as `bxa.xspec` run on it. What the engine lacks, it refuses by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from types import ModuleType
from typing import Any

from xspec_sixsa.embedded.state import XspecError

log = logging.getLogger(__name__)

_HOMES = {
    "chains": ("AllChains", "Chain", "ChainManager"),
    "evaluate": ("evaluate_batch",),
    "fit": ("Fit", "FitManager"),
    "manager": ("AllModels", "ModelManager"),
    "model": ("Component", "Model"),
    "parameter": ("Parameter",),
    "plot": ("Plot", "PlotManager"),
    "response": ("Response",),
    "datamanager": ("AllData", "DataManager"),
    "fakeit": ("FakeitSettings",),
    "spectrum": ("Background", "Spectrum"),
    "xset": ("Xset", "XspecSettings"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*sorted(_MODULES), "XspecError", "install", "pick"]


def __getattr__(name: str) -> Any:
    """Import PyXspec's names when they are first used: torch and astropy take a second."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])


def install() -> ModuleType:
    """Make ``import xspec`` give the embedded engine in this process.

    Returns
    -------
    module
        This module, now ``sys.modules["xspec"]``.

    Raises
    ------
    XspecError
        If real PyXspec is loaded or could be imported: packages must never get another XSPEC than the user has.
    """
    module = sys.modules[__name__]
    present = sys.modules.get("xspec")
    if present is module:
        return module
    if present is not None:
        raise XspecError(
            f"`xspec` is already imported ({getattr(present, '__file__', '')}): the engine "
            "does not take its place. Start a new Python, and call embedded.install() before anything imports xspec."
        )
    real = _real_xspec()
    if real is not None:
        raise XspecError(
            f"Real PyXspec is installed ({real}): the engine does not hide it. Use `import xspec`; or, for the "
            "engine beside it, `import xspec_sixsa.embedded as xspec`."
        )
    sys.modules["xspec"] = module
    return module


def pick() -> ModuleType:
    """Real PyXspec where it is installed and works, else this engine; which one is logged.

    Importing a broken XSPEC can kill the process (missing HEASoft files), so HEADAS must be set for it to be tried.
    """
    present = sys.modules.get("xspec")
    module = sys.modules[__name__]
    if present is not None:
        return present
    if _real_xspec() is not None:
        if not os.environ.get("HEADAS"):
            log.warning("PyXspec is there but HEADAS is not set (source headas-init.sh): using the embedded engine")
            return module
        try:
            real = importlib.import_module("xspec")
        except ImportError as error:
            log.warning("PyXspec cannot be imported (%s): using the embedded engine", error)
            return module
        log.info("using real PyXspec, %s", getattr(real, "__file__", ""))
        return real
    log.info("PyXspec is not installed (or headas-init.sh was not run): using xspec_sixsa.embedded")
    return module


def _real_xspec() -> str | None:
    """Where an importable package named xspec lies, other than this one."""
    try:
        spec = importlib.util.find_spec("xspec")
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    # A folder called xspec in the working directory is not PyXspec.
    return spec.origin
