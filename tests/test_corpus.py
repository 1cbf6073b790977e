"""Hundreds of malformed files: each a clear error that names it, or the right number, in bounded time and memory."""

from __future__ import annotations

import gzip
import logging
import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from corpus import CORPUS, with_checksums
from live import fresh
from test_stale import table_file
from tiny_ogip import write_tiny

from xspec_sixsa.embedded.ogip import read_pha
from xspec_sixsa.embedded.state import XspecError
from xspec_sixsa.result.chainfile import read_chain, write_chain

EVERY = 1 if "SIXSA_LONG_TESTS" in os.environ else 3  # variant is tried
SECONDS, MEGABYTES = 20, 400  # for one file; numbers of rows that only a header says would be gigabytes


@pytest.fixture
def xspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The embedded engine beside good files of every kind, with DATASUM as missions write it."""
    monkeypatch.chdir(tmp_path)
    for engine in fresh("xspec_sixsa.embedded", tmp_path):
        write_tiny(tmp_path)
        table_file("table.fits")
        draws = np.random.default_rng(0).random((20, 2))
        write_chain("chain.fits", ["PhoIndex__1", "norm__2"], ["", ""], draws, np.arange(20.0))
        for name in CORPUS:
            with_checksums(Path(name))
        yield engine


def number(xspec: ModuleType, name: str) -> float:
    """What comes of a file: the fit statistic through it, or a chain's own numbers."""
    xspec.AllData.clear()
    xspec.AllModels.clear()
    xspec.AllChains.clear()
    xspec.Fit.statMethod = "chi" if name == "net.pha" else "cstat"
    if name == "chain.fits":
        xspec.AllData("plain.pha")
        xspec.Model("powerlaw")
        xspec.AllChains += name
        chain = read_chain(name)
        return float(np.sum(chain.samples * [1.0, 2.0]) + chain.statistic.sum())
    xspec.AllData(name if name in ("vectors.pha", "net.pha") else "grouped.pha")
    model = xspec.Model("atable{table.fits}" if name == "table.fits" else "powerlaw")
    model(model.nParameters).values = 1e-2
    return float(xspec.Fit.statistic)


@pytest.mark.parametrize("name", CORPUS)
def test_a_malformed_file_is_refused_or_gives_the_right_number(
    xspec: ModuleType, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, right = Path(name).read_bytes(), number(xspec, name)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes, wrong = Counter(), []
    for variant in CORPUS[name][::EVERY]:
        spoiled = variant.make(good)
        if spoiled == good:
            continue
        Path(name).write_bytes(spoiled)
        caplog.clear()
        began = time.monotonic()
        try:
            with caplog.at_level(logging.WARNING, "xspec_sixsa"):
                found = number(xspec, name)
        except XspecError as error:
            # of a header that names another file, that one
            known = name in str(error) or "gone" in str(error) or "FILE" in variant.name
            outcomes["error"] += 1
            wrong += [] if known else [f"{variant.name}: {error} does not name the file"]
        except Exception as error:
            wrong.append(f"{variant.name}: {type(error).__name__}: {error}")
        else:
            same = abs(found - right) <= 1e-9 * abs(right)
            outcomes["right number" if same else "warned"] += 1
            wrong += [] if same or (caplog.records and np.isfinite(found)) else [f"{variant.name}: silently {found}"]
        if time.monotonic() - began > SECONDS:
            wrong.append(f"{variant.name}: took {time.monotonic() - began:.0f} s")
    Path(name).write_bytes(good)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    assert not wrong, "\n".join(wrong)
    assert grown < MEGABYTES
    assert outcomes["error"] > outcomes["warned"]
    print(name, dict(outcomes))


def test_the_corpus_is_large() -> None:
    assert sum(map(len, CORPUS.values())) >= 650


def test_a_gzipped_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pha.gz"
    with gzip.open(path, "wb", compresslevel=6) as stream:
        for _ in range(100):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(XspecError, match=r"bomb\.pha\.gz: unpacks to more than"):
        read_pha(str(path))


def test_a_file_cut_off_behind_its_last_table_is_warned_of(xspec: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    path = Path("plain.pha")
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING, "xspec_sixsa"):
        read_pha("plain.pha")
    assert "plain.pha: the file seems damaged" in caplog.text
