"""OGIP table models against real XSPEC, and their refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits

from xspec_sixsa.embedded.components import REGISTRY
from xspec_sixsa.embedded.datamanager import DataManager
from xspec_sixsa.embedded.response import Folding
from xspec_sixsa.embedded.spectrum import Spectrum
from xspec_sixsa.embedded.state import XspecError
from xspec_sixsa.embedded.tablemodel import load_table

DATA = Path(__file__).with_name("data")
sys.path.insert(0, str(DATA))
from make_tablemodels_xspec import CASES, write_table  # noqa: E402  (the script that made the reference)


@pytest.fixture(scope="module")
def folding() -> Folding:
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not shared.is_dir():
        pytest.skip(f"real spectra absent: {shared} is not there")
    DataManager().clear()
    spectrum = Spectrum(str(shared / "ngc7793_ulx4_pn" / "PN_spectrum_grp20.fits"))
    spectrum.ignore("0.0-0.5 10.0-**")
    made = spectrum.folding()
    DataManager().clear()
    return made


@pytest.mark.parametrize("case", CASES)
def test_folded_counts_are_those_of_xspec(case, tmp_path, folding):
    write_table(case, tmp_path / "table.fits")
    table = load_table(CASES[case][0], tmp_path / "table.fits")
    with np.load(DATA / "tablemodels_xspec.npz") as stored:
        parameters, theirs = stored[f"{case}/parameters"], stored[f"{case}/rate"].astype(float)
    edges = torch.tensor(folding.edges)
    spectrum = table.function(edges, torch.tensor(parameters), None)
    if table.kind == "mul":
        spectrum = spectrum * REGISTRY["powerlaw"].function(edges, torch.tensor([[1.7]], dtype=torch.float64), None)
    ours = folding.fold(spectrum).numpy()
    lit = theirs > 1e-3 * theirs.max(axis=1, keepdims=True)
    # the reference is in single precision; XSPEC computes tables in double
    np.testing.assert_allclose(ours[lit], theirs[lit], rtol=2e-6)


def test_parameters_are_those_of_the_file(tmp_path):
    write_table("atable", tmp_path / "t.fits")
    table = load_table("atable", tmp_path / "t.fits")
    assert table.name == "tatable" and table.kind == "add"
    assert [q.name for q in table.parameters] == ["kT", "slope", "z"]
    assert (table.parameters[0].hard_min, table.parameters[0].hard_max) == (0.125, 4.0)
    assert table.parameters[2].delta < 0 and table.parameters[2].hard_max == 5.0


def test_one_redshift_for_all_rows_gives_what_single_rows_give(tmp_path):
    write_table("atable", tmp_path / "t.fits")
    function = load_table("atable", tmp_path / "t.fits").function
    edges = torch.logspace(-1, 1, 200, dtype=torch.float64)
    p = torch.tensor([[1.1, 0.7, 0.4], [0.2, 2.0, 0.4]], dtype=torch.float64)
    both = function(edges, p, None)
    torch.testing.assert_close(both[1:], function(edges, p[1:], None), rtol=1e-13, atol=0.0)  # same sums
    p.requires_grad_(True)
    torch.testing.assert_close(function(edges, p, None).detach(), both, rtol=1e-12, atol=1e-18)
    function(edges, p, None).sum().backward()
    assert torch.isfinite(p.grad).all() and (p.grad[:, 2] != 0).all()


def test_beyond_the_tabulated_range_there_is_no_number(tmp_path):
    write_table("mtable", tmp_path / "t.fits")
    edges = torch.logspace(-1, 1, 20, dtype=torch.float64)
    p = torch.tensor([[3.1, 0.0], [3.0, 0.0]], dtype=torch.float64)
    factor = load_table("mtable", tmp_path / "t.fits").function(edges, p, None)
    assert factor[0].isnan().all() and factor[1].isfinite().all()


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("mtable", None, "contains an additive table model"),
        ("atable", ("ESCALE", True), "ESCALE"),
        ("atable", ("HDUCLAS1", "SPECTRUM"), "unknown table format"),
        ("atable", ("REDSHIFT", None), "missing keyword REDSHIFT"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(kind, change, message, tmp_path):
    path = tmp_path / "t.fits"
    write_table("atable", path)
    if change:
        with fits.open(path, mode="update") as hdus:
            keyword, value = change
            if value is None:
                del hdus[0].header[keyword]
            else:
                hdus[0].header[keyword] = value
    with pytest.raises(XspecError, match=message):
        load_table(kind, path)


def test_a_missing_extension_and_a_missing_file_are_named(tmp_path):
    path = tmp_path / "t.fits"
    write_table("atable", path)
    with fits.open(path, mode="update") as hdus:
        del hdus["ENERGIES"]
    with pytest.raises(XspecError, match="ENERGIES"):
        load_table("atable", path)
    with pytest.raises(XspecError, match="does not exist"):
        load_table("atable", tmp_path / "no.fits")
    path.write_bytes(b"SIMPLE")
    with pytest.raises(XspecError, match="cannot be read as FITS"):
        load_table("atable", path)
