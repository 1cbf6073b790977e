"""Reference numbers of real XSPEC for the embedded components; writes ``components_xspec.npz`` beside itself.

Made with XSPEC 12.9.1 (HEASoft 6.20), HEASoft initialised::

    python tests/data/make_components_xspec.py ../shared/data

Every case is a model at 200 random parameter sets (50 for further abundance tables and cross-sections), folded
through EPIC-pn (NGC 7793 ULX-4, 0.5-10 keV, grouped) and RXTE PCA (3-25 keV).  Arrays: ``cases`` (JSON: name ->
component, abund, xsect), ``<case>/parameters`` (sets, parameters), ``<case>/pn`` and ``<case>/rxte`` (sets, groups)
in counts/s at norm 1; multiplicative components times ``powerlaw`` of PhoIndex 1.7 and norm 1.  Six digits of the
parameters are kept, as PyXspec passes them on as text.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np

LOG, LIN = "log", "lin"
NH = (LOG, 1e-3, 50.0)
Z = (LIN, 0.0, 3.0)
INDEX = (LIN, -1.0, 5.0)
RANGES = {
    "TBabs": [NH],
    "zTBabs": [NH, Z],
    "phabs": [NH],
    "zphabs": [NH, Z],
    "wabs": [NH],
    "zwabs": [NH, Z],
    "pcfabs": [NH, (LIN, 0.0, 1.0)],
    "zpcfabs": [NH, (LIN, 0.0, 1.0), Z],
    "constant": [(LOG, 1e-2, 1e2)],
    "edge": [(LIN, 0.3, 12.0), (LIN, 0.0, 5.0)],
    "zedge": [(LIN, 0.3, 12.0), (LIN, 0.0, 5.0), Z],
    "highecut": [(LIN, 0.1, 20.0), (LIN, 0.5, 50.0)],
    "zhighect": [(LIN, 0.1, 20.0), (LIN, 0.5, 50.0), Z],
    "expabs": [(LIN, 0.0, 10.0)],
    "plabs": [(LIN, 0.0, 5.0), (LIN, 0.1, 10.0)],
    "cabs": [(LOG, 1e-2, 1e3)],
    "spexpcut": [(LIN, 1.0, 50.0), (LIN, 0.3, 3.0)],
    "powerlaw": [INDEX],
    "zpowerlw": [INDEX, Z],
    "cutoffpl": [(LIN, -2.0, 5.0), (LOG, 1.0, 500.0)],
    "bknpower": [INDEX, (LIN, 0.3, 20.0), INDEX],
    "bkn2pow": [INDEX, (LIN, 0.3, 5.0), INDEX, (LIN, 5.0, 20.0), INDEX],
    "logpar": [(LIN, 0.0, 4.0), (LIN, -2.0, 2.0), (LIN, 1.0, 1.0)],
    "expdec": [(LIN, 0.01, 10.0)],
    "pegpwrlw": [INDEX, (LIN, 0.5, 3.0), (LIN, 4.0, 20.0)],
    "bbody": [(LOG, 0.03, 50.0)],
    "bbodyrad": [(LOG, 0.03, 50.0)],
    "zbbody": [(LOG, 0.03, 50.0), Z],
    "diskbb": [(LOG, 0.03, 50.0)],
    "bremss": [(LOG, 0.03, 100.0)],
    "zbremss": [(LOG, 0.03, 100.0), Z],
    "gaussian": [(LIN, 0.3, 22.0), (LOG, 1e-3, 3.0)],
    "zgauss": [(LIN, 1.0, 22.0), (LOG, 1e-3, 3.0), (LIN, 0.0, 0.5)],
    "lorentz": [(LIN, 0.3, 22.0), (LOG, 1e-3, 3.0)],
    "compTT": [(LIN, 0.0, 1.0), (LOG, 0.01, 5.0), (LOG, 2.0, 300.0), (LOG, 0.02, 50.0), (LIN, 0.0, 2.0)],
}
MULTIPLICATIVE = list(RANGES)[: list(RANGES).index("powerlaw")]
TABLES = ("wilm", "angr", "aspl", "lodd", "feld", "aneb", "grsa")
SPECTRA = {
    "pn": ("ngc7793_ulx4_pn", "PN_spectrum_grp20.fits", "0.0-0.5 10.0-**"),
    "rxte": ("rxte_pca", "rxte.pha", "0.0-3.0 25.0-**"),
}
SETS, FEW = 200, 50
SIX_DIGITS = "{:.6g}".format


def draw(component: str, count: int, seed: int) -> np.ndarray:
    """Return random parameters (count, parameters), rounded to six digits; a tenth of the lines have no width."""
    rng = np.random.default_rng(seed)
    columns = []
    for kind, low, high in RANGES[component]:
        u = rng.random(count)
        values = low * (high / low) ** u if kind == LOG else low + (high - low) * u
        columns.append([float(SIX_DIGITS(v)) for v in values])
    parameters = np.array(columns).T
    if component in ("gaussian", "zgauss", "lorentz"):
        parameters[: count // 10, 1] = 0.0
    return parameters


def cases() -> dict[str, dict[str, object]]:
    """Return every case: its component, settings, number of sets and seed."""
    table: dict[str, dict[str, object]] = {}
    for component in RANGES:
        table[component] = {"component": component, "abund": "wilm", "xsect": "vern", "sets": SETS}
    for component in ("TBabs", "phabs", "zTBabs"):
        for abund in TABLES[1:]:
            table[f"{component}_{abund}"] = {"component": component, "abund": abund, "xsect": "vern", "sets": FEW}
    for xsect in ("bcmc", "obcm"):
        table[f"phabs_{xsect}"] = {"component": "phabs", "abund": "angr", "xsect": xsect, "sets": FEW}
    return {name: {**case, "seed": i} for i, (name, case) in enumerate(table.items())}


def folded(name: str) -> np.ndarray:
    """Return the folded rates of a case on the loaded spectrum, (sets, groups)."""
    import xspec

    case = cases()[name]
    component = str(case["component"])
    xspec.Xset.abund, xspec.Xset.xsect = str(case["abund"]), str(case["xsect"])
    bare = component not in MULTIPLICATIVE
    model = xspec.Model(component if bare else f"{component}*powerlaw")
    rates = []
    for row in draw(component, int(str(case["sets"])), int(str(case["seed"]))):
        model.setPars(*[SIX_DIGITS(v) for v in row], *(["1.0"] if bare else ["1.7", "1.0"]))
        read = [model(i + 1).values[0] for i in range(len(row))]
        if not np.allclose(read, row, rtol=1e-6, atol=0):
            raise ValueError(f"XSPEC kept {read} instead of {row.tolist()} in {component}")
        rates.append(model.folded(1))
    return np.array(rates, np.float32)


def main(shared: Path) -> None:
    import xspec

    xspec.Xset.chatter = xspec.Xset.logChatter = 0
    xspec.Xset.allowPrompting = False
    output = Path(__file__).resolve().with_name("components_xspec.npz")
    arrays: dict[str, np.ndarray] = {"cases": np.array(json.dumps(cases()))}
    for name, case in cases().items():
        arrays[f"{name}/parameters"] = draw(str(case["component"]), int(str(case["sets"])), int(str(case["seed"])))
    for label, (folder, file, ignored) in SPECTRA.items():
        os.chdir(shared / folder)
        xspec.AllData.clear()
        xspec.Spectrum(file).ignore(ignored)
        # a process for each case: TBabs 2.3 caches cross-sections for every energy it meets and crashes when 2^20 are
        # full, after 507 redshifts on the EPIC-pn grid
        with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
            for name, rates in zip(cases(), pool.imap(folded, cases(), chunksize=1), strict=True):
                arrays[f"{name}/{label}"] = rates
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
