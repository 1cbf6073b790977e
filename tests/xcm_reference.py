"""A session saved by real XSPEC and its statistic, for test_xset.py; run as a script it makes the reference file.

source $HEADAS/headas-init.sh
python tests/xcm_reference.py tests/data/xcm_xspec.json        # XSPEC 12.9.1, PyXspec 2.0
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType


def setup(xspec: ModuleType) -> None:
    """Two data groups, a second source with a named model, links, a frozen norm, mixed statistics and settings."""
    xspec.Xset.chatter = 0
    xspec.Xset.allowPrompting = False
    xspec.Xset.abund = "lodd"
    xspec.Xset.cosmo = "50 .5 0"
    xspec.Fit.statMethod = "cstat"
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    xspec.AllData.ignore("1:**-0.5 9.0-** 2:**-0.7 8.0-**")
    xspec.AllData.ignore("1:20-22")
    xspec.Fit.statMethod = "chi 2"
    for number in (1, 2):
        xspec.AllData(number).multiresponse[1] = "small.rmf"
        xspec.AllData(number).multiresponse[1].arf = "small.arf"
    model = xspec.Model("constant*phabs(powerlaw+gaussian)")
    model.setPars({1: "1 -1", 2: 0.35, 3: 1.2, 4: 0.0123456789, 5: 6.4, 6: "0.1 -1", 7: 2e-3})
    xspec.AllModels(2)(1).values = "0.9 0.01 0.5 0.5 1.5 1.5"
    xspec.AllModels(2)(3).link = "p3*0.5+0.2"
    model(7).link = "p4*0.01"
    background = xspec.Model("powerlaw", "bkg", 2)
    background.setPars(0.3, 1e-3)
    background(2).frozen = True
    xspec.AllModels(2, "bkg")(1).values = 0.7


def main(output: str) -> None:
    target = Path(output).resolve()
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
    import xspec

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        from small_session import write_fixed_spectra

        write_fixed_spectra(Path())
        setup(xspec)
        xspec.Xset.save("saved.xcm")
        reference = {"statistic": xspec.Fit.statistic, "xcm": Path("saved.xcm").read_text(),
                     "version": xspec.Xset.version[1]}  # fmt: skip
        os.chdir("/")
    target.write_text(json.dumps(reference, indent=0) + "\n")


def restore_and_tell(path: str, chain: str = "", ranges: str = "1") -> None:
    """Restore a session in real XSPEC and print its statistic, and the intervals that `error` takes from a chain."""
    import xspec

    xspec.Xset.allowPrompting = False
    xspec.Xset.chatter = 0
    xspec.Xset.restore(path)
    ignored = [xspec.AllData(i + 1).ignored for i in range(xspec.AllData.nSpectra)]
    told = {"statistic": xspec.Fit.statistic, "ignored": ignored}
    if chain:
        xspec.AllChains += chain
        xspec.Fit.error(ranges)
        low, _, high = ranges.partition("-")
        told["errors"] = [xspec.AllModels(1)(i).error for i in range(int(low), int(high or low) + 1)]
    print("RESULT " + json.dumps(told))


if __name__ == "__main__":
    if sys.argv[1] == "restore":
        restore_and_tell(*sys.argv[2:])
    else:
        main(sys.argv[1])
