"""Numbers of real XSPEC about spectra, folding, statistics and fakeit, for test_spectrum.py and test_statistic.py.

Run in an environment with XSPEC, numpy, scipy and astropy, from anywhere:

    . $HEADAS/headas-init.sh; python tests/data/make_xspec_data_reference.py ../shared/data

Made with XSPEC 12.9.1 / PyXspec 2.0.  The model is an unabsorbed power law, whose flux per bin is analytic.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

import xspec  # noqa: E402
from tiny_ogip import PROBLEMS, write_tiny  # noqa: E402

STATISTICS = ("cstat", "pstat", "pgstat", "chi")
WEIGHTS = ("standard", "model", "gehrels", "churazov")
POINTS = ((1.7, 1.0), (2.3, 0.2), (0.8, 3.0))  # PhoIndex, and norm relative to that which gives the observed counts

SHARED = {
    "epic_pn": ("ngc7793_ulx4_pn", "PN_spectrum_grp20.fits", "none", ["bad", "0.0-0.5 10.0-**"]),
    "epic_pn_wstat": ("ngc7793_ulx4_pn", "PN_spectrum_grp20.fits", "", ["bad", "0.0-0.5 10.0-**"]),
    "3c273": ("chandra_3c273", "3c273.pi", "", ["0.0-0.5 7.0-**"]),
    "session1": ("xspec_session", "file1.pha", "", ["bad"]),
    "session2": ("xspec_session", "file2.pha", "", ["bad", "**-2.0 12.0-**"]),
    "rxte": ("rxte_pca", "rxte.pha", "", ["0.0-3.0 25.0-**"]),
}
COMMANDS = [
    "ignore bad", "ignore **-0.5", "notice **", "ignore 10.0-**", "ignore 3-5", "ignore 6-**", "notice 1:**",
    "ignore 0.55",
    "ignore 1.0-1.0", "ignore 8-**", "notice all", "ignore 30.0-40.0", "ignore 2.0-1.0", "ignore 7,9-12 20",
    "notice *-8",
    "ignore 1e0-2", "ignore 0-2", "ignore .9-1.1", "ignore **-0.01", "ignore 2-**", "notice 3-500",
]  # fmt: skip


def digest(values) -> dict:
    values = list(values)
    middle = len(values) // 2
    return {"sum": sum(values), "n": len(values), "some": values[:2] + values[middle : middle + 2] + values[-2:]}


def describe(spectrum) -> dict:
    out = {
        "noticed": spectrum.noticedString(), "ignored": spectrum.ignoredString(), "exposure": spectrum.exposure,
        "areaScale": spectrum.areaScale, "backScale": spectrum.backScale, "isPoisson": spectrum.isPoisson,
        "rate": spectrum.rate[:3], "values": digest(spectrum.values), "variance": digest(spectrum.variance),
        "energies": [spectrum.energies[0], spectrum.energies[-1]],
        "chanEnergies": digest(spectrum.response.chanEnergies), "photonEnergies": digest(spectrum.response.energies),
    }  # fmt: skip
    try:
        background = spectrum.background
    except Exception:
        return out | {"background": None}
    return out | {
        "background": {
            "exposure": background.exposure, "areaScale": background.areaScale, "backScale": background.backScale,
            "isPoisson": background.isPoisson, "values": digest(background.values),
            "variance": digest(background.variance),
        }
    }  # fmt: skip


def problem(name: str, background: str, ignores: list[str]) -> dict:
    spectrum = xspec.Spectrum(name)
    if background == "none":
        spectrum.background = None
    for text in ignores:
        xspec.AllData.ignore(text)
    out = describe(spectrum)
    model = xspec.Model("powerlaw")
    observed = max(spectrum.rate[0], 0.3 * spectrum.rate[2])
    out["points"] = []
    for index, scale in POINTS:
        model.setPars(index, 1.0)
        norm = scale * observed / sum(model.folded(1))
        model.setPars(index, norm)
        point = {"PhoIndex": index, "norm": model.powerlaw.norm.values[0], "folded": digest(model.folded(1)),
                 "model_rate": spectrum.rate[3], "statistic": {}}  # fmt: skip
        for statistic in STATISTICS:
            xspec.Fit.statMethod = statistic
            for weight in WEIGHTS if statistic == "chi" else ("standard",):
                xspec.Fit.weight = weight
                point["statistic"][f"{statistic} {weight}"] = xspec.Fit.statistic
            xspec.Fit.weight = "standard"
        out["points"].append(point)
    xspec.Fit.statMethod = "chi"
    fake = xspec.FakeitSettings(exposure=500.0, backExposure=700.0)
    xspec.AllData.fakeit(1, fake, False, "", True)
    out["fake"] = describe(xspec.AllData(1))
    xspec.AllData.clear()
    xspec.AllModels.clear()
    return out


def commands() -> list:
    spectrum, out = xspec.Spectrum("PN_spectrum_grp20.fits"), []
    for text in COMMANDS:
        verb, what = text.split(" ", 1)
        getattr(xspec.AllData, verb)(what)
        out.append([text, spectrum.noticedString()])
    xspec.AllData.clear()
    return out


def main() -> None:
    shared = Path(sys.argv[1]).resolve()
    xspec.Xset.chatter, xspec.Xset.logChatter, xspec.Xset.allowPrompting = 0, 0, False
    os.chdir(shared / "ngc7793_ulx4_pn")
    result = {"version": xspec.Xset.version[1], "commands": commands(), "shared": {}, "tiny": {}}
    for name, (folder, file, background, ignores) in SHARED.items():
        os.chdir(shared / folder)
        result["shared"][name] = problem(file, background, ignores) | {
            "folder": folder, "file": file, "remove_background": background == "none", "ignore": ignores,
        }  # fmt: skip
    os.chdir(shared / "responses_lxm")
    xspec.Model("powerlaw", setPars={1: 1.7, 2: 0.01})
    settings = xspec.FakeitSettings("xrs_mucal.rmf", "xrs_mucal_3x10.arf", exposure=1000.0)
    xspec.AllData.fakeit(1, settings, False, "", True)
    spectrum = xspec.AllData(1)
    xspec.AllData.ignore("**-0.3 12.0-**")
    result["lxm"] = describe(spectrum) | {"folded": digest(xspec.AllModels(1).folded(1))}
    xspec.AllData.clear()
    xspec.AllModels.clear()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_tiny(Path(folder))
        for name in PROBLEMS:
            result["tiny"][name] = problem(f"{name}.pha", "", ["bad", "1.0-1.2"])
        os.chdir("/")
    (HERE / "xspec_data_reference.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
