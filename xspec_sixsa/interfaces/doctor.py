"""What is installed, whether the engines work, and what to do where they do not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace

from xspec_sixsa.common.cores import core_limits
from xspec_sixsa.embedded.library.datafiles import FOLDER_VARIABLE, SOURCE

__all__ = ["Finding", "examine"]

REQUIRED = ("numpy", "scipy", "astropy", "torch", "sbi", "zuko", "corner", "matplotlib", "click", "tqdm")
OPTIONAL = {
    "xspectrampoline": "models",
    "bxa": "bxa",
    "nautilus-sampler": "nautilus",
    "pandas": "pandas",
    "arviz": "arviz",
    "getdist": "getdist",
}
# Each engine evaluates one model in a process of its own: a broken installation may kill it or ask for ever.
_PROBE = """
import sys
{importing}
xspec.Xset.allowPrompting = False
xspec.Xset.chatter = 0
model = xspec.Model("{expression}")
value = sum(model.values(0))
version = getattr(xspec.Xset, "version", "")
version = version[1] if isinstance(version, (tuple, list)) and len(version) > 1 else version
print("PROBE", value, version)
"""
EXPRESSION = "TBabs*powerlaw"
COMPILED = "TBabs*nthComp"
"""What only the compiled library evaluates."""
TIMEOUT = 120


@dataclass(frozen=True)
class Finding:
    """One line of the report: `ok` is None where a missing thing does no harm; `remedy` says what to type."""

    subject: str
    ok: bool | None
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at the installation; nothing is changed or loaded into this process."""
    findings = [_machine()]
    findings += [_package(name, None) for name in REQUIRED]
    findings += [_package(name, extra) for name, extra in OPTIONAL.items()]
    findings.append(
        _engine(
            "embedded engine",
            "import xspec_sixsa.embedded as xspec",
            "the installation is damaged: pip install --force-reinstall xspec_sixsa",
        )
    )
    findings += _compiled_models()
    headas = os.environ.get("HEADAS", "")
    if not headas:
        findings.append(
            Finding(
                "XSPEC",
                None,
                "HEADAS is not set: the embedded engine is used, with the models that `sixsa models` lists",
                "for XSPEC itself install HEASoft with PyXspec, then: source $HEADAS/headas-init.sh",
            )
        )
    elif not os.path.isdir(headas):
        findings.append(Finding("XSPEC", False, f"HEADAS={headas} is no folder", "set HEADAS to the built HEASoft"))
    else:
        findings.append(
            _engine(
                "XSPEC",
                "import xspec",
                f"source {headas}/headas-init.sh and use the Python that PyXspec was built for",
            )
        )
    return findings


def _machine() -> Finding:
    old = sys.version_info < (3, 10)
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {_cores()}"
    return Finding("machine", not old, text, "Python 3.10 or newer is needed" if old else "")


def _cores() -> str:
    limits = core_limits()
    cores, machine = min(limits.values()), limits["machine"]
    text = f"{cores} core{'s' * (cores > 1)}"
    return text if cores == machine else f"{text} of {machine} ({min(limits, key=limits.__getitem__)})"


def _package(name: str, extra: str | None) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        if extra is None:
            return Finding(name, False, "missing", f"pip install {name}")
        return Finding(name, None, "not installed (optional)", f"pip install 'xspec_sixsa[{extra}]'")


def _compiled_models() -> list[Finding]:
    """Whether XSPEC's compiled models work, and where their data are, if they are installed."""
    from xspec_sixsa.embedded.library.catalogue import library

    models = library()
    if models is None:
        return []
    remedy = "pip install --force-reinstall xspectrampoline, or uninstall it to use the engine's own models alone"
    found = _engine("XSPEC's models", "import xspec_sixsa.embedded as xspec", remedy, COMPILED)
    found = replace(found, text=f"{models.version}: {found.text}")
    data = models.data_folder
    there = data.is_dir() and any(data.iterdir())
    text = str(data) if there else f"none in {data}: apec, nei and others that read files are refused by name"
    advice = "" if there else f"export {FOLDER_VARIABLE}=/path/to/spectral/modelData ({SOURCE})"
    return [found, Finding("models' data", True if there else None, text, advice)]


def _engine(subject: str, importing: str, remedy: str, expression: str = EXPRESSION) -> Finding:
    code = _PROBE.format(importing=importing, expression=expression)
    try:
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Finding(subject, False, f"no answer within {TIMEOUT} s when evaluating {expression}", remedy)
    for line in run.stdout.splitlines():
        if line.startswith("PROBE "):
            _, value, *version = line.split()
            # A model whose data files are missing gives zeros without any error.
            if float(value) > 0:
                return Finding(subject, True, f"works {' '.join(version)}".strip() + f" ({expression} evaluated)")
            return Finding(subject, False, f"{expression} is zero everywhere: its data files are missing", remedy)
    last = (run.stderr.strip() or run.stdout.strip() or f"exit code {run.returncode}").splitlines()[-1]
    return Finding(subject, False, f"does not work: {last}", remedy)
