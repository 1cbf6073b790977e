"""Small OGIP table models, and what real XSPEC folds from them; writes ``tablemodels_xspec.npz`` beside itself.

Made with XSPEC 12.9.1 (HEASoft 6.20), HEASoft initialised::

    python tests/data/make_tablemodels_xspec.py ../shared/data

Arrays: ``<case>/parameters`` (sets, parameters without norm) and ``<case>/rate`` (sets, groups): counts/s through
EPIC-pn (NGC 7793 ULX-4, 0.5-10 keV) of ``atable`` at norm 1, of ``mtable`` and ``etable`` times ``powerlaw`` of
PhoIndex 1.7, norm 1.
The tests write the same table files with `write_table`.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

SETS = 40
# case: kind, interpolated parameters (name, METHOD, values), additional ones, redshift, energies, LOELIMIT, HIELIMIT
CASES = {
    "atable": ("atable", [("kT", 1, [0.125, 0.3, 4.0]), ("slope", 0, [0.5, 1.0, 2.5])], [], True, (0.2, 30.0), None),
    "additional": ("atable", [("kT", 1, [0.125, 0.3, 1.0, 4.0])], ["line"], False, (0.2, 30.0), None),
    "short": ("atable", [("kT", 0, [0.5, 1.0, 4.0])], [], False, (1.234, 5.678), None),
    "mtable": ("mtable", [("depth", 0, [0.0, 1.0, 3.0])], [], True, (0.05, 40.0), None),
    "etable": ("etable", [("column", 0, [0.0, 1.0, 10.0])], [], False, (0.05, 40.0), None),
    "narrow": ("mtable", [("depth", 0, [0.0, 3.0])], [], False, (1.234, 5.678), (0.25, 0.5)),
}


def spectrum(kind: str, values: tuple[float, ...], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the tabulated spectrum: a cut-off power law, or a broad edge at 2 keV."""
    middle = np.sqrt(low * high)
    if kind == "atable":
        slope = values[1] if len(values) > 1 else 1.0
        return middle**-slope * np.exp(-middle / values[0]) * (high - low)
    depth = values[0] * (middle / 2.0) ** -3.0 * (middle > 2.0)
    return depth if kind == "etable" else np.exp(-depth)


def write_table(case: str, path: Path) -> None:
    """Write the table-model file of a case."""
    kind, interpolated, additional, redshift, limits, outside = CASES[case]
    edges = np.geomspace(*limits, 300)
    low, high = edges[:-1], edges[1:]
    head = fits.PrimaryHDU().header
    for keyword, value in (
        ("HDUCLASS", "OGIP"),
        ("HDUCLAS1", "XSPEC TABLE MODEL"),
        ("HDUVERS", "1.0.0"),
        ("MODLNAME", f"t{case}"),
        ("MODLUNIT", "photons/cm^2/s" if kind == "atable" else " "),
        ("REDSHIFT", redshift),
        ("ADDMODEL", kind == "atable"),
    ):
        head[keyword] = value
    if outside:
        head["LOELIMIT"], head["HIELIMIT"] = outside
    longest = max(len(values) for _, _, values in interpolated)
    rows = [(n, m, v[0] + 0.3 * (v[1] - v[0]), 0.01, v[0], v[0], v[-1], v[-1], len(v), v) for n, m, v in interpolated]
    rows += [(n, 0, 0.5, 0.01, -10.0, -10.0, 10.0, 10.0, 0, []) for n in additional]
    dtype = [("NAME", "S12"), ("METHOD", "i4"), ("INITIAL", "f4"), ("DELTA", "f4"), ("MINIMUM", "f4"), ("BOTTOM", "f4")]
    dtype += [("TOP", "f4"), ("MAXIMUM", "f4"), ("NUMBVALS", "i4"), ("VALUE", "f4", (longest,))]
    padded = [(*row[:-1], [*row[-1], *[0.0] * (longest - len(row[-1]))]) for row in rows]
    parameters = fits.BinTableHDU(np.array(padded, dtype=dtype), name="PARAMETERS")
    parameters.header["NINTPARM"], parameters.header["NADDPARM"] = len(interpolated), len(additional)
    energies = fits.BinTableHDU(np.array(list(zip(low, high, strict=True)), [("ENERG_LO", "f4"), ("ENERG_HI", "f4")]))
    energies.name = "ENERGIES"
    table = [("PARAMVAL", "f4", (len(interpolated),)), ("INTPSPEC", "f4", (low.size,))]
    table += [(f"ADDSP{k + 1:03d}", "f4", (low.size,)) for k in range(len(additional))]
    bump = np.exp(-0.5 * ((low - 3.0) / 0.3) ** 2) * (high - low)
    spectra = [
        (np.array(v), spectrum(kind, v, low, high), *(bump for _ in additional))
        for v in itertools.product(*(values for _, _, values in interpolated))
    ]
    spectra_hdu = fits.BinTableHDU(np.array(spectra, dtype=table), name="SPECTRA")
    classes = {parameters: "PARAMETERS", energies: "ENERGIES", spectra_hdu: "MODEL SPECTRA"}
    for hdu, name in classes.items():
        hdu.header["HDUCLASS"], hdu.header["HDUCLAS1"], hdu.header["HDUCLAS2"] = "OGIP", "XSPEC TABLE MODEL", name
    fits.HDUList([fits.PrimaryHDU(header=head), parameters, energies, spectra_hdu]).writeto(path, overwrite=True)


def draw(case: str) -> np.ndarray:
    """Return random parameters (sets, parameters), rounded to six digits; the first two are the grid's corners."""
    _, interpolated, additional, redshift, _, _ = CASES[case]
    rng = np.random.default_rng(sorted(CASES).index(case))
    ranges = [(v[0], v[-1]) for _, _, v in interpolated] + [(-0.1, 2.0) for _ in additional]
    ranges += [(0.0, 2.0)] if redshift else []
    columns = [[float(f"{v:.6g}") for v in rng.uniform(a, b, SETS)] for a, b in ranges]
    parameters = np.array(columns).T
    parameters[0], parameters[1] = [a for a, _ in ranges], [b for _, b in ranges]
    return parameters


def main(shared: Path) -> None:
    import xspec

    xspec.Xset.chatter = xspec.Xset.logChatter = 0
    xspec.Xset.allowPrompting = False
    output = Path(__file__).resolve().with_name("tablemodels_xspec.npz")
    os.chdir(shared / "ngc7793_ulx4_pn")
    xspec.Spectrum("PN_spectrum_grp20.fits").ignore("0.0-0.5 10.0-**")
    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        for case, (kind, *_) in CASES.items():
            path = Path(folder) / f"{case}.fits"
            write_table(case, path)
            bare = kind == "atable"
            model = xspec.Model(f"{kind}{{{path}}}" + ("" if bare else "*powerlaw"))
            arrays[f"{case}/parameters"] = draw(case)
            rates = []
            for row in draw(case):
                model.setPars(*[f"{v:.6g}" for v in row], *(["1.0"] if bare else ["1.7", "1.0"]))
                rates.append(model.folded(1))
            arrays[f"{case}/rate"] = np.array(rates, np.float32)
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
