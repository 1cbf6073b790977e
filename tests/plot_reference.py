"""The plots whose numbers test_plot.py compares with real XSPEC's; run as a script it makes the reference file.

source $HEADAS/headas-init.sh
python tests/plot_reference.py tests/data/plot_xspec.json      # XSPEC 12.9.1, PyXspec 2.0
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

ARRAYS = ("x", "xErr", "y", "yErr", "model", "backgroundVals")
BINNED = ("data", "counts", "icounts", "background", "foldmodel", "delchi", "chisq")
MODELS = ("model", "emodel", "eemodel", "ufspec", "eufspec", "eeufspec")


def setup(xspec: ModuleType) -> None:
    """Two spectra in two data groups, the first with a background, ``TBabs*(bbodyrad+powerlaw)``."""
    xspec.Xset.chatter = 0
    xspec.Xset.allowPrompting = False
    xspec.Xset.abund = "wilm"
    xspec.Fit.statMethod = "cstat"
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    xspec.AllData.ignore("1:**-0.5 9.0-** 2:**-0.7 8.0-**")
    xspec.AllData.ignore("1:20-22")
    model = xspec.Model("TBabs*(bbodyrad+powerlaw)")
    model.setPars(0.09, 0.8, 2.0, 1.9, 2e-2)
    xspec.AllModels(2)(5).values = 1.5e-2
    xspec.Plot.device = "/null"
    xspec.Plot.background = True


def collect(xspec: ModuleType) -> dict[str, Any]:
    """Length, sum, first, middle and last value of every array of every plot."""
    plot = xspec.Plot
    found: dict[str, Any] = {}

    def grab(tag: str, request: str, windows: int = 1) -> None:
        plot(request)
        for window in range(1, windows + 1):
            for group in (1, 2):
                arrays = {}
                for name in ARRAYS:
                    try:
                        values = getattr(plot, name)(group, window)
                    except Exception:
                        continue
                    arrays[name] = [len(values), sum(values), values[0], values[len(values) // 2], values[-1]]
                found[f"{tag} {request} {group} {window}"] = arrays

    for axis in ("channel", "keV", "Hz", "angstrom"):
        plot.xAxis = axis
        for request in (*BINNED, *MODELS):
            grab(axis, request)
        grab(axis, "data resid ratio", 3)
        grab(axis, "counts ratio", 2)
    plot.perHz = False
    for request in ("data", *MODELS):
        grab("per angstrom", request)
    plot.perHz = True
    plot.xAxis = "keV"
    plot.setRebin(6, 5)
    for request in ("data", "counts", "ufspec", "delchi"):
        grab("rebin", request)
    for kind in ("sqrt", "poiss-2", "poiss-3"):
        plot.setRebin(errType=kind)
        grab(f"rebin {kind}", "data")
    plot.setRebin(0, 1, -1, "quad")
    plot.redshift = 0.5
    grab("redshift", "data")
    grab("redshift", "model")
    plot.redshift = 0.0
    xspec.Fit.statMethod = "chi"
    for request in ("data", "delchi", "chisq"):
        grab("chi", request)
    xspec.Fit.statMethod = "cstat"
    return found


def write_tables(xspec: ModuleType) -> dict[str, str]:
    """The QDP files of `wdata`, by name."""
    plot, tables = xspec.Plot, {}
    requests = {"data": ("counts", False), "components": ("ldata", True), "panes": ("ufspec delchi", True)}
    for name, (request, add) in requests.items():
        plot.add = add
        plot.addCommand(f'wdata "{name}"')
        plot(request)
        plot.commands = ()
        tables[name] = Path(f"{name}.qdp").read_text()
    plot.add = False
    return tables


def main(output: str) -> None:
    target = Path(output).resolve()
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
    import xspec

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # The engine writes the files; they are read by XSPEC. This Python needs numpy, scipy and astropy.
        from small_session import write_fixed_spectra

        write_fixed_spectra(Path())
        setup(xspec)
        reference = {"arrays": collect(xspec), "tables": write_tables(xspec), "version": xspec.Xset.version[1]}
        os.chdir("/")
    target.write_text(json.dumps(reference, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
