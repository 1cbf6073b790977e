"""Tiny OGIP files with every awkward feature, made the same by the tests and by the reference script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from xspec_sixsa.embedded.ogip import ARF, PHA, RMF, write_arf, write_pha, write_rmf

N_CHANNELS, N_ENERGIES = 24, 40

PROBLEMS = ("plain", "grouped", "zeros", "vectors", "net", "offset", "channel0", "grating", "rate")


def make_rmf(first_channel: int = 1, descending: bool = False) -> RMF:
    """A response with two groups of channels in most rows and an empty row."""
    edges = np.linspace(0.3, 8.3, N_ENERGIES + 1)
    bounds = np.linspace(0.2, 9.8, N_CHANNELS + 1)
    centre, channel = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (bounds[1:] + bounds[:-1])
    matrix = np.exp(-0.5 * ((channel[:, None] - centre) / 0.5) ** 2)
    matrix += 0.2 * np.exp(-0.5 * ((channel[:, None] - 0.4 * centre) / 0.2) ** 2)
    matrix[matrix < 1e-3] = 0.0
    matrix /= matrix.sum(axis=0)
    matrix[:, 7] = 0.0
    low, high = bounds[:-1], bounds[1:]
    if descending:
        matrix, low, high = matrix[::-1], low[::-1], high[::-1]
    # The file holds the matrix in single precision.
    matrix = csr_array(np.ascontiguousarray(matrix.astype(np.float32).astype(float)))
    return RMF("tiny", edges[:-1], edges[1:], low, high, matrix, first_channel, 1e-3)


def make_arf() -> ARF:
    rmf = make_rmf()
    return ARF("tiny", rmf.energy_lo, rmf.energy_hi, 100.0 * np.exp(-(((rmf.energy_lo - 2.0) / 3.0) ** 2)))


def make_pha(seed: int = 1, mean: float = 6.0, **changes: object) -> PHA:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(mean, N_CHANNELS).astype(float)
    settings: dict[str, object] = {
        "channels": np.arange(1, N_CHANNELS + 1), "exposure": 1000.0, "detchans": N_CHANNELS, "quality": None,
        "area_scale": np.ones(N_CHANNELS), "back_scale": np.full(N_CHANNELS, 0.5), "respfile": "tiny.rmf",
        "ancrfile": "tiny.arf",
    } | changes  # fmt: skip
    return PHA("tiny", settings.pop("values", counts), **settings)


def write_tiny(folder: Path) -> None:
    """Write ``<problem>.pha`` for every one of `PROBLEMS`, with backgrounds and responses."""
    n = N_CHANNELS
    write_rmf(folder / "tiny.rmf", make_rmf())
    write_rmf(folder / "tiny0.rmf", make_rmf(0))
    write_rmf(folder / "grating.rmf", make_rmf(descending=True))
    write_arf(folder / "tiny.arf", make_arf())
    quality = np.zeros(n, int)
    quality[[0, 9, 10, 15]] = [1, 1, 2, 5]
    grouping = np.where(np.arange(n) % 3 == 0, 1, -1)
    grouping[0] = 1
    wave = 1.0 + 0.3 * np.sin(np.arange(n))
    # float64 columns, but the exact value of float32: nothing is lost in any reader
    wave = wave.astype(np.float32).astype(float)
    plain_back = {"respfile": "", "ancrfile": "", "exposure": 2500.0, "back_scale": np.full(n, 1.5), "mean": 4.0}

    def write(name: str, source: PHA, background: PHA | None) -> None:
        if background is not None:
            source.backfile = f"{name}_bkg.pha"
            write_pha(folder / source.backfile, background)
        write_pha(folder / f"{name}.pha", source)

    write("plain", make_pha(1), None)
    write("grouped", make_pha(2, grouping=grouping, quality=quality), make_pha(3, **plain_back))
    write("zeros", make_pha(4, mean=0.8), make_pha(5, **(plain_back | {"mean": 0.6})))
    write(
        "vectors",
        make_pha(6, grouping=grouping, area_scale=wave, back_scale=0.5 * wave, area_is_key=False, back_is_key=False),
        make_pha(7, **(plain_back | {"area_scale": wave[::-1].copy(), "back_scale": 1.5 * wave, "area_is_key": False,
                                     "back_is_key": False})),
    )  # fmt: skip
    rate = np.random.default_rng(8).normal(3.0, 1.0, n).astype(np.float32).astype(float)
    error = (0.3 + 0.02 * np.arange(n)).astype(np.float32).astype(float)
    net = {"is_counts": False, "poisson": False, "stat_err": error, "net": True, "sys_err": np.full(n, 0.03125)}
    write(
        "net",
        make_pha(values=rate, grouping=grouping, quality=quality, area_scale=2 * wave, area_is_key=False, **net),
        make_pha(values=0.25 * rate, **(plain_back | net | {"sys_err": None}) | {"mean": 0.0}),
    )
    write(
        "offset",
        make_pha(
            values=np.arange(1.0, 17.0), channels=np.arange(5, 21), area_scale=np.ones(16), back_scale=np.ones(16)
        ),
        None,
    )
    from_zero = {"channels": np.arange(n), "first_channel": 0, "respfile": "tiny0.rmf"}
    write("channel0", make_pha(9, grouping=grouping, **from_zero), None)
    write("grating", make_pha(10, grouping=grouping, respfile="grating.rmf"), None)
    write("rate", make_pha(values=np.arange(n) / 1024.0, is_counts=False, poisson=True), None)
