"""Which XSPEC evaluates: the real one, or the embedded engine."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from types import ModuleType

__all__ = ["ENGINES", "load_engine"]

log = logging.getLogger(__name__)

ENGINES = ("auto", "xspec", "embedded")


def load_engine(name: str = "auto") -> ModuleType:
    """Import the real XSPEC or the embedded engine.

    Parameters
    ----------
    name : {"auto", "xspec", "embedded"}
        "auto" takes PyXspec where it can be imported, and says which one it took (log level INFO).

    Raises
    ------
    ImportError
        If "xspec" was asked for and cannot be imported.
    ValueError
        If there is no engine of that name.
    """
    if name not in ENGINES:
        raise ValueError(f"No engine {name!r}; there are {', '.join(ENGINES)}.")
    if name != "embedded":
        reason = "no Python module named xspec"
        if importlib.util.find_spec("xspec") is not None:
            try:
                module = importlib.import_module("xspec")
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if hasattr(module, "AllModels") and hasattr(module, "Xset"):
                    log.info("Engine: XSPEC (%s)", getattr(module, "__file__", "built in"))
                    return module
                reason = f"{getattr(module, '__file__', 'the module xspec')} is not PyXspec"
        if name == "xspec":
            raise ImportError(
                f"PyXspec cannot be imported ({reason}). Run HEASoft's headas-init.sh in this shell and use the Python "
                "that PyXspec was built for, or take --engine embedded. `sixsa doctor` shows more."
            )
        log.info("Engine: the embedded one (%s)", reason)
    return importlib.import_module("xspec_sixsa.embedded")
