"""Unmodified bxa.xspec runs its own workflow on the embedded engine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_session import fake_spectra, fresh

import xspec_sixsa.embedded as xspec
from xspec_sixsa.embedded.state import session

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bxa") is None, reason="BXA is not installed: pip install bxa")


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What BXA's documented workflow returned, run once in a process of its own."""
    folder = tmp_path_factory.mktemp("bxa")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fresh(xspec)
        fake_spectra(xspec, folder)
        fresh(xspec)
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, str(HERE / "bxa_workflow.py"), str(folder)], capture_output=True, text=True,
                         timeout=240, env=environment)  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT ")) | {"folder": folder}


def test_solver_finds_the_truth_and_leaves_the_best_fit(workflow: dict[str, Any]) -> None:
    assert workflow["best"] == pytest.approx(-2 * workflow["max_logl"], abs=1e-6)
    assert workflow["restored"] == pytest.approx(workflow["best"], abs=1e-6)
    nh, index, norm = workflow["medians"]
    # Faked from nH 0.1, index 1.8, norm 3e-3 with 1,054 counts: three or four of the posterior's widths.
    assert nh == pytest.approx(0.1, abs=0.08)
    assert index == pytest.approx(1.8, abs=0.3)
    assert norm == pytest.approx(3e-3, rel=0.25)


def test_chain_is_loaded_into_all_chains(workflow: dict[str, Any]) -> None:
    assert workflow["chains"] == workflow["samples"] > 100


def test_predictions_follow_data_and_components(workflow: dict[str, Any]) -> None:
    draws, curves, bins = workflow["convolved"]
    assert (draws, curves) == (20, 3), "the model and its two additive components"
    assert bins > 30
    # The norm is fitted to 1,054 counts (Poisson scatter 3 %), and this is the median of 20 draws.
    assert workflow["model_counts"] == pytest.approx(workflow["counts"], rel=0.06)
    assert workflow["components_add_up"] < 1e-9, "sums of the same products in another order"
    assert workflow["marked"] > 5


def test_flux_chain_has_energy_and_photon_flux(workflow: dict[str, Any]) -> None:
    ergs, photons = workflow["flux"]
    # A photon of 0.5-2 keV carries between 8e-10 and 3.2e-9 erg.
    assert 8e-10 * photons < ergs < 3.2e-9 * photons


def test_fluxes_of_two_sources_are_told_apart_by_the_log(workflow: dict[str, Any]) -> None:
    assert workflow["isrc"] == 0
    assert workflow["isrc_of_two"] == [0, 1]


def test_plot_and_chatter_are_as_before(workflow: dict[str, Any]) -> None:
    assert workflow["device"] == "/null"
    assert workflow["chatter"] == 0


def test_prior_helpers_read_our_parameters(workflow: dict[str, Any]) -> None:
    assert workflow["custom"] == ["aftertransform", "index", "model", "name", "transform"]
    assert workflow["uniform"] == pytest.approx(0.5 * (1e-4 + 1e-1))


def test_install_refuses_to_hide_another_xspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xspec", json)
    with pytest.raises(xspec.XspecError, match="already imported"):
        xspec.install()


def test_session_is_untouched_by_the_subprocess() -> None:
    assert session.spectra == []
