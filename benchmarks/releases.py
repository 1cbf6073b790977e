"""Where XSPEC's compiled models (the library's release) differ from those of the XSPEC that HEADAS names.

    source $HEADAS/headas-init.sh && python benchmarks/releases.py [--sets 5]

Every model that both have and that needs no data is evaluated at its defaults and at random parameter sets (as in
all_models.py) on 0.1-50 keV in 300 logarithmic bins; multiplicative ones and convolutions on a power law of index 1.7.
What is printed is the largest difference, relative to the larger of the value and a thousandth of the spectrum's peak.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal

import numpy as np
import torch
import xspec
from all_models import draw

from xspec_sixsa.embedded.library.catalogue import library
from xspec_sixsa.embedded.library.modeldat import Definition
from xspec_sixsa.embedded.state import EngineSession, XspecError

EDGES = np.geomspace(0.1, 50.0, 301)
INDEX = 1.7
SAME = 1e-4
TIME_LIMIT = 60


def in_real_xspec(definition: Definition, rows: list[list[float]]) -> np.ndarray | None:
    """Spectra (n, nE) from a forked process, which a model without its data may end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(TIME_LIMIT)
        try:
            model = xspec.Model(definition.name if definition.kind == "add" else f"{definition.name}*powerlaw")
            if definition.kind != "add":
                model.powerlaw.PhoIndex = INDEX
            for row in rows:
                model.setPars(*row)
                if not np.allclose([model(i).values[0] for i in range(1, len(row) + 1)], row, rtol=1e-6):
                    break
                os.write(writing, np.asarray(model.values(0)).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        data = np.frombuffer(stream.read())
    os.waitpid(child, 0)
    return data.reshape(len(rows), -1) if data.size == len(rows) * (len(EDGES) - 1) else None


def main() -> None:
    """Print the models that differ, and the count of those that do not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=5, help="random parameter sets for each model (default 5)")
    options = parser.parse_args()
    models = library()
    if models is None:
        raise SystemExit("The library is not installed: pip install xspectrampoline")
    logging.disable(logging.WARNING)
    xspec.Xset.allowPrompting, xspec.Xset.chatter = False, 0
    xspec.AllData.dummyrsp(float(EDGES[0]), float(EDGES[-1]), len(EDGES) - 1)
    edges = torch.from_numpy(EDGES)
    plain = models.definitions["powerlaw"]
    power_law = models.spectra(plain, edges, torch.tensor([[INDEX]], dtype=torch.float64), EngineSession())
    same, different, not_compared = [], [], []
    for name in models.served:
        definition = models.definitions[name]
        rng = np.random.default_rng([1, *name.encode()])
        rows = [[p.value for p in definition.parameters]]
        rows += [[draw(p, rng) for p in definition.parameters] for _ in range(options.sets)]
        flux = power_law if definition.kind == "con" else None
        try:
            parameters = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), -1)
            ours = models.spectra(definition, edges, parameters, EngineSession(), flux).numpy()
        except XspecError:
            continue
        real = in_real_xspec(definition, rows)
        if real is None or not real.any() or not np.isfinite(ours).all():
            not_compared.append(name)
            continue
        if definition.kind == "mul":
            ours = ours * power_law.numpy()
        floor = np.maximum(np.abs(real), 1e-3 * np.abs(real).max(axis=1, keepdims=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            worst = float(np.nan_to_num(np.abs(ours - real) / floor).max())
        (same if worst < SAME else different).append((worst, name))
    print(f"{models.version} beside XSPEC {xspec.Xset.version[1]}, {options.sets + 1} parameter sets each")
    print(f"the same within {SAME:g}: {len(same)}")
    for worst, name in sorted(different, reverse=True):
        print(f"  {name}: {worst:.2g}")
    print(f"not compared (only the library has them, or one of both gives nothing): {' '.join(not_compared)}")


if __name__ == "__main__":
    main()
