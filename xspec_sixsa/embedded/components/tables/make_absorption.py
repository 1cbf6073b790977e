"""Tabulate photoelectric cross-sections per element from an installed XSPEC; writes ``absorption.npz`` beside itself.

Run (HEASoft initialised; the Python that PyXspec was built for)::

    python xspec_sixsa/embedded/components/tables/make_absorption.py

The cross-sections are evaluated point by point through the library that XSPEC itself uses (``libXSFunctions``:
``photabs`` = those of TBabs 2.3, ``gphoto_`` = ``xsect vern``, ``photo_`` = ``xsect bcmc``/``obcm``), then thinned:
straight lines in (ln E, ln sigma) between the kept points reproduce every sampled value within `TOLERANCE`.
An edge is kept as two neighbouring energies, one part in 10^7 apart, as close as XSPEC's single precision tells apart.

Arrays written, for each set in (tb, vern, bcmc, obcm): ``<set>_z`` atomic numbers (1000 = the H2 molecule),
``<set>_start`` first index per element (one more than the elements), ``<set>_energy`` keV, ``<set>_sigma`` cm^2.
Where ``obcm`` equals ``bcmc`` (all but helium) it is not repeated.  ``abund`` is the table of abundances relative
to hydrogen by number, ``abund_names`` its rows, ``abund_z`` its columns.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

ELEMENTS = (1, 2, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 20, 24, 26, 27, 28)
H2 = 1000
TOLERANCE = 2e-5  # in ln sigma: a depth of 10 is then good to 2e-4
FLOOR = 1e-37  # cm^2; stands for "none" below a threshold, where no logarithm exists
SOFT = np.log(0.09)  # ln keV; below, single-precision noise of the helium resonances exceeds TOLERANCE,
SOFT_TOLERANCE = 3e-4  # and no detector that XSPEC folds has spectra there
LOWEST, HIGHEST = 0.01, 100.0  # keV; XSPEC absorbs nothing above 100 keV
SINGLE = 1.2e-7  # relative spacing of the single precision that XSPEC evaluates energies in

# Fine structure that a smooth grid would step over (keV, keV, step): the K edges of O and Ne and the L edges of Fe in
# TBabs, the autoionisation resonances of He.
FINE = {8: (0.489, 0.586, 8.5e-6), 10: (0.8645, 0.8705, 2.5e-6), 26: (0.699, 0.797, 5e-5), 2: (0.058, 0.0660, 4e-7)}

Curve = Callable[[float], float]


def sample(curve: Curve, z: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (ln E, ln sigma) fine enough that every edge is caught between two neighbouring energies."""
    energies = np.exp(np.linspace(np.log(LOWEST), np.log(HIGHEST * (1 - 1e-6)), 4607))
    if z in FINE:
        energies = np.union1d(energies, np.arange(*FINE[z]))

    def value(energy: float) -> float:
        return float(np.log(max(curve(energy), FLOOR)))

    points = [(np.log(energies[0]), value(energies[0]))]
    for high in energies[1:]:
        stack = [(np.log(high), value(high))]
        while stack:
            low_x, low_y = points[-1]
            x, y = stack[-1]
            middle = 0.5 * (low_x + x)
            if x - low_x > SINGLE:
                y_middle = value(float(np.exp(middle)))
                if abs(y_middle - 0.5 * (low_y + y)) > 0.3 * (TOLERANCE if x > SOFT else SOFT_TOLERANCE):
                    stack.append((middle, y_middle))
                    continue
            points.append(stack.pop())
    x, y = np.array(points).T
    return x, y


def thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the indices to keep so that straight lines pass within `TOLERANCE` of every point (Douglas-Peucker)."""
    keep = np.zeros(x.size, bool)
    keep[[0, -1]] = True
    stack = [(0, x.size - 1)]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        line = y[a] + (y[b] - y[a]) * (x[a + 1 : b] - x[a]) / (x[b] - x[a])
        distance = np.abs(y[a + 1 : b] - line)
        worst = int(np.argmax(distance))
        if distance[worst] > (TOLERANCE if x[b] > SOFT else SOFT_TOLERANCE):
            middle = a + 1 + worst
            keep[middle] = True
            stack += [(a, middle), (middle, b)]
    return np.flatnonzero(keep)


def curves(library: ctypes.CDLL) -> dict[str, dict[int, Curve]]:
    """Return the cross-section (cm^2, of an energy in keV) of every element in every set."""
    library.photabs.restype = ctypes.c_double
    library.photabs.argtypes = [ctypes.c_int, ctypes.c_double]
    library.gphoto_.restype = ctypes.c_float
    library.photo_.restype = ctypes.c_float
    status = ctypes.c_int(0)

    def tuebingen(index: int) -> Curve:
        return lambda energy: library.photabs(index, 1000.0 * energy)

    def verner(z: int) -> Curve:
        def curve(energy: float) -> float:
            e = ctypes.c_float(energy)
            return library.gphoto_(
                ctypes.byref(e), ctypes.byref(e), ctypes.byref(ctypes.c_int(z)), ctypes.byref(status)
            )

        return curve

    def balucinska(z: int, version: int) -> Curve:
        def curve(energy: float) -> float:
            e = ctypes.c_float(energy)
            return library.photo_(
                ctypes.byref(e),
                ctypes.byref(e),
                ctypes.byref(ctypes.c_int(z)),
                ctypes.byref(ctypes.c_int(version)),
                ctypes.byref(status),
            )

        return curve

    return {
        "tb": {z: tuebingen(i) for i, z in enumerate((*ELEMENTS, H2))},
        "vern": {z: verner(z) for z in ELEMENTS},
        "bcmc": {z: balucinska(z, 3) for z in ELEMENTS},
        "obcm": {2: balucinska(2, 2)},
    }


def abundances(path: Path) -> dict[str, np.ndarray]:
    """Return XSPEC's abundance tables for the elements that absorb."""
    rows: dict[str, np.ndarray] = {}
    for line in path.read_text().splitlines():
        name, _, numbers = line.partition(":")
        if len(numbers.split()) == 30 and name != "elts":
            rows[name] = np.array([float(v) for v in numbers.split()])[np.array(ELEMENTS) - 1]
    return {
        "abund_names": np.array(list(rows)),
        "abund": np.array(list(rows.values())),
        "abund_z": np.array(ELEMENTS, np.int32),
    }


def main() -> None:
    """Write ``absorption.npz`` from the XSPEC of this machine; HEADAS must be set."""
    headas = Path(os.environ["HEADAS"])
    importlib.import_module("xspec")  # resolves the symbols that the library leaves open
    library = ctypes.CDLL(str(headas / "lib" / "libXSFunctions.so"), mode=ctypes.RTLD_GLOBAL)
    arrays = abundances(headas.parent / "spectral" / "manager" / "abundances.dat")
    for name, elements in curves(library).items():
        energy, sigma, start = [], [], [0]
        for z, curve in elements.items():
            x, y = sample(curve, z)
            kept = thin(x, y)
            energy.append(np.exp(x[kept]))
            sigma.append(np.exp(y[kept]))
            start.append(start[-1] + kept.size)
        arrays[f"{name}_z"] = np.array(list(elements), np.int32)
        arrays[f"{name}_start"] = np.array(start, np.int32)
        arrays[f"{name}_energy"] = np.concatenate(energy)
        arrays[f"{name}_sigma"] = np.concatenate(sigma).astype(np.float32)
        print(name, np.diff(start).tolist(), "points")
    target = Path(__file__).with_name("absorption.npz")
    np.savez_compressed(target, **arrays)  # type: ignore[arg-type] # no array is called allow_pickle


if __name__ == "__main__":
    main()
