"""A run's folder from somebody else: nothing in it is executed, written elsewhere, or believed beyond its size."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_result import gaussian_result

from xspec_sixsa.result import Result

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Payload:
    """What a pickled array would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A result of 400 draws."""
    return gaussian_result(400).save(tmp_path / "run")


def with_member(path: Path, name: str, content: bytes) -> None:
    """Put a member into an .npz, in the place of the one of its name."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, old in (members | {name: content}).items():
            archive.writestr(member, old)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header_only(shape: tuple[int, ...]) -> bytes:
    """An array that says to be of a shape, and holds nothing."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_objects_are_not_unpickled(folder: Path, tmp_path: Path) -> None:
    bomb = Payload(tmp_path / "pwned")
    with_member(folder / "posterior.npz", "samples.npy", npy(np.array([bomb], dtype=object)))
    with pytest.raises(ValueError, match=r"posterior\.npz is damaged"):
        Result.load(folder)
    (folder / "posterior.npz").write_bytes(pickle.dumps(bomb))
    with pytest.raises(ValueError, match=r"posterior\.npz is damaged"):
        Result.load(folder)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("file", ["posterior.npz", "rounds.npz", "predictive.npz"])
def test_names_that_lead_out_of_the_folder_write_nothing(folder: Path, tmp_path: Path, file: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    for name in ("../../evil.npy", "/tmp/sixsa_evil.npy", "round99.npy", "7.name.npy", "x.npy"):
        with_member(folder / file, name, npy(np.zeros(3)))
        try:
            Result.load(folder)
        except ValueError as error:
            assert "damaged" in str(error), error  # noqa: PT017
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/sixsa_evil.npy").exists()


BROKEN = {
    "zeros": header_only((300 << 17,)) + bytes(300 << 20),
    "long": header_only((10**12,)),
    "large": header_only((10**6, 10**6)),
    "empty": b"",
    "cut": b"\x93NUMPY",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_bombs_and_broken_arrays_are_refused(folder: Path, content: bytes) -> None:
    with_member(folder / "posterior.npz", "samples.npy", content)
    with pytest.raises(ValueError, match=r"posterior\.npz is damaged"):
        Result.load(folder)


def test_a_spoiled_summary_is_refused_or_harmless(folder: Path) -> None:
    good = json.loads((folder / "summary.json").read_text())
    refused = 0
    for key in good:
        for value in (None, "words", -1, [1], {"a": "b"}, EVIL, [EVIL], {EVIL: EVIL}, "missing"):
            spoiled = {k: v for k, v in good.items() if k != key} | ({key: value} if value != "missing" else {})
            (folder / "summary.json").write_text(json.dumps(spoiled))
            try:
                result = Result.load(folder)
                result.summary()
            except ValueError as error:
                assert "damaged" in str(error) or "status" in str(error) or "newer" in str(error), error  # noqa: PT017
                refused += 1
    assert refused > 5 * len(good) // 2
    (folder / "summary.json").write_text("[" * 100000)
    with pytest.raises(ValueError, match="damaged"):
        Result.load(folder)


def test_nothing_that_a_run_says_is_script_in_its_page(tmp_path: Path) -> None:
    spectrum = dict.fromkeys(("file", "background", "statistic", "noticed"), EVIL)
    spectrum |= {
        "responses": {"1": [EVIL, EVIL]},
        "group": 1,
        "exposure": 1.0,
        "systematic": 0.0,
        "counts_sha256": EVIL,
    }
    result = gaussian_result(
        400, labels=[EVIL, "b", "c"], names=["nH__1", f"{EVIL}__2", "norm__5"], units=[EVIL, "", ""],
        versions={"xspec_sixsa": EVIL, EVIL: "1"}, reasons=[EVIL], status="unreliable",
        fingerprint={"models": {EVIL: EVIL}, "spectra": [spectrum], "free": [EVIL]},
        evaluations={EVIL: 5}, seconds={EVIL: 1.0},
    )  # fmt: skip
    result.save(tmp_path / "run")
    page = Result.load(tmp_path / "run").report(tmp_path / "run").read_text(encoding="utf-8")
    assert not re.search(r"<script|<img src=x|onerror=alert\(2\)>(?!&)", page.replace("&lt;", "&"))
    assert "&lt;script&gt;" in page
    assert EVIL not in result._repr_html_()
