"""XSPEC's compiled models in the embedded engine: what they give, and what their processes survive."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import live
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from xspec_sixsa.embedded.components import REGISTRY, available, lookup
from xspec_sixsa.embedded.library.catalogue import ModelLibrary, library
from xspec_sixsa.embedded.library.datafiles import FOLDER_VARIABLE, data_versions, missing_files
from xspec_sixsa.embedded.library.modeldat import read_definitions
from xspec_sixsa.embedded.library.request import Request, Versions
from xspec_sixsa.embedded.state import EngineSession, XspecError
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.interfaces.doctor import _compiled_models

EDGES = torch.logspace(-1.0, 1.3, 201, dtype=torch.float64)
POWER_LAW = torch.diff(EDGES)[None] * EDGES[1:] ** -1.7

if library() is None:
    pytest.skip("xspectrampoline is not installed: pip install '.[models]'", allow_module_level=True)


@pytest.fixture(scope="module")
def models() -> ModelLibrary:
    found = library()
    assert found is not None
    return found


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    yield from live.fresh("xspec_sixsa.embedded", tmp_path)


def evaluate(models: ModelLibrary, name: str, *rows: list[float], **settings: object) -> torch.Tensor:
    """A model at parameter sets (its defaults where none are given); convolutions work on a power law."""
    definition = models.definitions[name]
    given = rows or ([p.value for p in definition.parameters],)
    parameters = torch.tensor(given, dtype=torch.float64).reshape(len(given), -1)
    flux = POWER_LAW if definition.kind == "con" else None
    return models.spectra(definition, EDGES, parameters, EngineSession(**settings), flux)


# -------------------------------------------------------------------------------------------------- which there are


def test_every_model_of_model_dat_is_known(models: ModelLibrary) -> None:
    manager = models.folder / "spectral/manager"
    headings = [
        line.split()
        for file in ("model.dat", "mixmodel.dat")
        for line in (manager / file).read_text("latin-1").splitlines()
        if len(line.split()) >= 7 and line.split()[5] in ("add", "mul", "con", "acn", "mix")
    ]
    assert [words[0] for words in headings] == list(models.definitions)
    for name, count, *_ in headings:
        definition = models.definitions[name]
        assert len(definition.parameters) == int(count)
        if name in models.served:
            assert models.component(name).kind == definition.kind
        else:
            with pytest.raises(XspecError, match=f"{name} .*use XSPEC"):
                models.component(name)


def test_parameters_are_what_model_dat_says(models: ModelLibrary) -> None:
    gamma, *_ = models.definitions["nthComp"].parameters
    assert (gamma.name, gamma.value, gamma.hard_min, gamma.soft_max, gamma.delta) == ("Gamma", 1.7, 1.001, 5.0, 0.01)
    kinds = {p.name: p.kind for p in models.definitions["mekal"].parameters}
    assert kinds["switch"] == "switch" and kinds["kT"] == "variable"
    assert models.definitions["logpar"].parameters[2].kind == "scale"


def test_our_own_components_have_the_parameters_of_model_dat(models: ModelLibrary) -> None:
    for name, component in REGISTRY.items():
        theirs = models.definitions[name].parameters
        assert [(p.name, p.value, p.delta, p.kind) for p in component.parameters] == [
            (p.name, p.value, p.delta, p.kind) for p in theirs
        ]


def test_a_line_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.dat"
    path.write_text("good 1 0. 1e20 C_good add 0\nkT keV 1. 0. 0. 1. 1. .01\n\nbad 2 0. 1e20\n")
    with pytest.raises(ValueError, match="line 4"):
        read_definitions(path)


def test_abbreviations_follow_the_list(models: ModelLibrary) -> None:
    meant = {"po": "powerlaw", "ga": "gaussian", "nth": "nthComp", "cfl": "cflow", "refl": "reflect", "pexm": "pexmon"}
    names = list(models.definitions)
    assert all(next(n for n in names if n.lower().startswith(short)) == full for short, full in meant.items())
    assert lookup("nth").name == "nthComp" and lookup("nth").origin.startswith("XSPEC 12")
    assert lookup("po").origin == "xspec_sixsa"


def test_all_that_is_listed_can_be_looked_up_without_the_library_only_ours(without_library: None) -> None:
    assert available() == REGISTRY


# ------------------------------------------------------------------------------------------------- what they give


# tests/test_components.py has how near ours are to XSPEC 12.9.1; within a bin with an edge or a line they differ most.
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_our_own_components_agree_with_the_library(models: ModelLibrary, name: str) -> None:
    component = REGISTRY[name]
    defaults = torch.tensor([[p.value for p in component.parameters]], dtype=torch.float64)
    ours = component.function(EDGES, defaults, EngineSession())
    theirs = evaluate(models, name)
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-3


def test_our_absorption_takes_its_cross_sections_from_the_library(models: ModelLibrary) -> None:
    """With any of its abundances, also those that our tables lack, and where a redshift varies."""
    for name, row, rounding in (("TBabs", [0.7], 1e-12), ("zphabs", [0.7, 0.1], 2e-6)):  # phabs is single precision
        for abund in ("wilm", "lpgp"):
            p = torch.tensor([row], dtype=torch.float64)
            ours = REGISTRY[name].function(EDGES, p, EngineSession(abund=abund))
            assert torch.allclose(ours, evaluate(models, name, row, abund=abund), rtol=0.0, atol=rounding)
    rows = [[0.7, 0.1], [0.7, 0.3]]
    ours = REGISTRY["zTBabs"].function(EDGES, torch.tensor(rows, dtype=torch.float64), EngineSession(abund="lpgp"))
    assert torch.equal(ours, evaluate(models, "zTBabs", *rows, abund="lpgp"))


def test_a_batch_is_what_single_rows_are(models: ModelLibrary) -> None:
    rows = [[1.5 + 0.01 * k, 50.0, 0.1, 0.0, 0.0] for k in range(150)]
    batch = evaluate(models, "nthComp", *rows)
    assert torch.equal(batch[137], evaluate(models, "nthComp", rows[137])[0])
    assert len({float(row.sum()) for row in batch}) == len(rows)


def test_abundances_cosmology_and_model_strings_reach_the_library_and_leave_it(models: ModelLibrary) -> None:
    settings = {
        "TBpcf": ([1.0, 0.9, 0.0], {"abund": "wilm"}),
        "vphabs": ([1.0] * 18, {"xsect": "bcmc"}),
        "clumin": ([0.5, 10.0, 0.1, 44.0], {"cosmo": (50.0, 0.0, 0.73)}),
        "zlorentz": ([6.5, 0.1, 0.0], {"model_strings": {"LINECRITLEVEL": "0.1"}}),
    }  # fmt: skip
    for name, (row, setting) in settings.items():
        before = evaluate(models, name, row)
        changed = evaluate(models, name, row, **setting)
        assert not torch.allclose(before, changed, rtol=1e-4), name
        assert torch.equal(evaluate(models, name, row), before), name


def test_luminosities_scale_with_the_hubble_constant(models: ModelLibrary) -> None:
    row = [0.5, 10.0, 0.1, 44.0]
    ratio = evaluate(models, "clumin", row, cosmo=(35.0, 0.0, 0.73)) / evaluate(models, "clumin", row)
    assert torch.allclose(ratio, torch.tensor(0.25, dtype=torch.float64))


def test_convolutions_work_on_what_follows_them(engine: ModuleType) -> None:
    """The numbers are those of XSPEC 12.9.1: parentheses end what is convolved."""

    def flux(expression: str) -> float:
        model = engine.Model(expression)
        model.phabs.nH, model.cflux.lg10Flux, model.powerlaw.PhoIndex = 1.0, -11.0, 2.0
        engine.AllModels.calcFlux("0.5 10")
        return float(model.flux[0])

    # cflux sums its own bins, calcFlux cuts them at 0.5 and 10 keV
    assert flux("cflux*phabs*powerlaw") == pytest.approx(1e-11, rel=2e-3)
    assert flux("cflux*powerlaw*phabs") == pytest.approx(1e-11, rel=2e-3)
    assert flux("cflux(phabs*powerlaw)") == pytest.approx(1e-11, rel=2e-3)
    absorbed = flux("phabs*cflux*powerlaw")
    assert absorbed < 0.7e-11
    assert flux("(cflux*powerlaw)phabs") == pytest.approx(absorbed)


def test_a_convolution_needs_something_additive_behind_it() -> None:
    from xspec_sixsa.embedded.expression import parse

    for text in ("po*cflux", "(cflux*phabs)*po", "cflux", "cflux*phabs"):
        with pytest.raises(XspecError, match="cflux must be followed|standalone|must contain an add"):
            parse(text)


def test_a_session_of_library_models_is_saved_and_restored(engine: ModuleType, tmp_path: Path) -> None:
    engine.AllData("1:1 one.pha 2:2 two.pha")
    model = engine.Model("TBabs*cflux*(nthComp+zgauss)")
    model.cflux.lg10Flux = -10.5
    model.nthComp.norm.frozen = True
    second = engine.AllModels(2)
    second.cflux.lg10Flux = -10.9
    model.zgauss.Sigma.link = "p13 * 0.02"
    engine.Xset.addModelString("SOMETHING", "1")
    engine.AllModels.setEnergies("extend", "high,100,50 log")
    statistic = engine.Fit.statistic
    engine.Xset.save("session.xcm")
    saved = Path("session.xcm").read_text()
    engine.AllModels.setEnergies("reset")
    live.clear(engine)
    engine.Xset.restore("session.xcm")
    assert engine.Fit.statistic == pytest.approx(statistic, rel=1e-12)
    assert "energies extend high,100.0,50,log" in saved and len(engine.AllModels(1).energies(1)) > 200
    engine.AllModels.setEnergies("reset")
    engine.Xset.delModelString("SOMETHING")


def test_energies_beyond_the_response_reach_a_convolution(engine: ModuleType) -> None:
    """The flux that `cflux` is given is that of its band, if the model is evaluated there."""
    engine.AllData("two.pha")  # 0.2 to 11 keV
    model = engine.Model("cflux*powerlaw")
    model.cflux.Emin, model.cflux.Emax, model.powerlaw.PhoIndex = 2.0, 50.0, 1.0
    own = np.array(model.folded(1))
    engine.AllModels.setEnergies("extend", "high,50,200 log")
    assert len(model.energies(1)) == len(model.values(1)) + 1 == 351
    wide = np.array(model.folded(1))
    # an energy flux of E**-1 photons/keV goes as the width of the band; cflux takes whole bins of 3 per cent
    assert wide / own == pytest.approx(9.0 / 48.0, rel=0.03)
    engine.AllModels.setEnergies("reset")
    assert np.array_equal(own, np.array(model.folded(1)))
    with pytest.raises(XspecError, match="bins"):
        engine.AllModels.setEnergies("extend", "high,50,0")


# -------------------------------------------------------------------------------------------- what is not there


def test_absent_data_are_named_when_the_model_is_defined(
    engine: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(XspecError, match=r"ari\.mod.*" + FOLDER_VARIABLE):
        engine.Model("laor")
    # with another switch it would not need them, so it is told when it is evaluated
    with pytest.raises(XspecError, match="mekal.mod"):
        engine.Model("mekal").values(0)


def test_absent_data_that_no_table_knows_are_errors_too(models: ModelLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xspec_sixsa.embedded.library.datafiles._FILES", {})
    if models.data_folder.joinpath("raysmith.mod").exists():
        pytest.skip("this machine has the data")
    for _ in range(2):  # it is said once, and zeros follow
        with pytest.raises(XspecError, match=r"raysmith\.mod"):
            evaluate(models, "raymond")


def test_data_are_taken_from_the_folder_that_is_named(
    models: ModelLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert models.data_folder == tmp_path.resolve()
    with pytest.raises(XspecError, match=str(tmp_path)):
        evaluate(models, "laor")
    for version in ("3.0.9", "3.1.3", "x"):
        tmp_path.joinpath(f"apec_v{version}_coco.fits").touch()
    assert data_versions(tmp_path, Versions("3.1.2", "3.1.2", "3.08")).atomdb == "3.1.3"
    monkeypatch.setenv("HEADAS", str(tmp_path))
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert models.data_folder == (models.folder / "spectral/modelData").resolve()


def test_a_switch_or_a_model_string_may_make_other_files_necessary(models: ModelLibrary, tmp_path: Path) -> None:
    mekal, versions = models.definitions["mekal"], Versions("1", "1", "1")
    assert missing_files(mekal, [1.0, 1.0, 1.0, 0.0, 1.0], tmp_path, versions, {}) == ["mekal.mod"]
    assert missing_files(mekal, [1.0, 1.0, 1.0, 0.0, 0.0], tmp_path, versions, {})[5] == "mekal6.dat"
    assert missing_files(mekal, [1.0, 1.0, 1.0, 0.0, 2.0], tmp_path, versions, {})[1] == "apec_v1_line.fits"
    assert missing_files(mekal, [1.0, 1.0, 1.0, 0.0, 3.0], tmp_path, versions, {}) == []
    flow = models.definitions["mkcflow"]
    values = [0.0 if p.kind == "switch" else p.value for p in flow.parameters]
    assert missing_files(flow, values, tmp_path, versions, {}) == ["mekal.mod"]
    apec = models.definitions["apec"]
    assert len(missing_files(apec, None, tmp_path, versions, {})) == 2
    assert missing_files(apec, None, tmp_path, versions, {"APECROOT": "/somewhere"}) == []


def test_models_run_with_the_data_that_they_need_and_name_it_without(
    models: ModelLibrary, shared_data: Path, tmp_path: Path
) -> None:
    """``switch`` 0 computes Mekal from six small files, for all the plasma models that have one."""
    have, empty = {"data_folder": str(shared_data / "xspec_modelData")}, {"data_folder": str(tmp_path)}
    for name in ("mekal", "vmekal", "cie", "gadem", "cempow", "nsatmos"):
        definition = models.definitions[name]
        row = [0.0 if p.name == "switch" else p.value for p in definition.parameters]
        assert bool((evaluate(models, name, row, **have) > 0.0).all()), name
        lacking = "nsatmosdata.fits" if name == "nsatmos" else "mekal1.dat and mekal2.dat"
        for _ in range(2):  # the models themselves say it once, and give NaN ever after
            with pytest.raises(XspecError, match=f"{name} needs {lacking}.*spectral/modelData of HEASoft"):
                evaluate(models, name, row, **empty)
    for name, lacking in (("raymond", "raysmith.mod"), ("apec", "apec_v3.1.2_coco.fits and apec_v3.1.2_line.fits")):
        with pytest.raises(XspecError, match=f"{name} needs {lacking}.*spectral/modelData of HEASoft"):
            evaluate(models, name, **have)


def test_models_that_are_not_the_same_each_time_are_refused(models: ModelLibrary) -> None:
    assert "mekal" in models.served and not {"cemekl", "cevmkl"} & set(models.served)
    with pytest.raises(XspecError, match="cemekl is not computed the same each time.*use XSPEC"):
        models.component("cemekl")


def test_gradients_are_refused_by_name(models: ModelLibrary) -> None:
    parameters = torch.tensor([[1.7, 100.0, 0.1, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    with pytest.raises(XspecError, match="nthComp.*cannot be differentiated"):
        models.spectra(models.definitions["nthComp"], EDGES, parameters, EngineSession())


# ------------------------------------------------------------------------------------------------- the processes


def test_a_model_that_ends_its_process_costs_one_evaluation(
    models: ModelLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    """A line far above the energies: the absorption line of 12.15 writes outside its arrays."""
    rows = [[1.0 + 0.1 * k, 0.01, 0.1] for k in range(6)]
    rows[3][0] = 8e5
    with caplog.at_level(logging.WARNING):
        spectra = evaluate(models, "gabs", *rows)
    assert [bool(torch.isfinite(row).all()) for row in spectra] == [True, True, True, False, True, True]
    assert "gabs failed at 1 of 6" in caplog.text


def test_a_model_that_hangs_is_stopped(models: ModelLibrary) -> None:
    definition = models.definitions["jet"]  # takes seconds
    values = np.array([[p.value for p in definition.parameters]])
    setting = models._setting(EngineSession())
    request = Request(definition.function, "add", setting, EDGES.numpy(), values, None, 0.05)
    spectra, reasons = models.processes.evaluate(request)
    assert "no answer within 0.05 s" in reasons[0] and np.isnan(spectra).all()
    assert torch.isfinite(evaluate(models, "nthComp")).all()


def test_a_fork_has_processes_of_its_own(models: ModelLibrary) -> None:
    expected, parents = evaluate(models, "nthComp"), set(models.processes.pids)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        same = torch.equal(evaluate(models, "nthComp"), expected) and not parents & set(models.processes.pids)
        os.write(writing, b"1" if same else b"0")
        models.processes.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"1"
    assert torch.equal(evaluate(models, "nthComp"), expected)


def test_processes_end_with_this_one() -> None:
    code = (
        "import xspec_sixsa.embedded as xspec; xspec.Xset.chatter = 0\n"
        "xspec.Model('nthComp').values(0)\n"
        "from xspec_sixsa.embedded.library.catalogue import library\n"
        "print(*library().processes.pids)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pids = [int(word) for word in run.stdout.splitlines()[-1].split()]
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_another_heasoft_in_the_environment_is_not_mixed_in(tmp_path: Path) -> None:
    """Its libraries of the same names would be loaded first; here they are broken ones."""
    (tmp_path / "lib").mkdir()
    for name in ("libXSUtil.so", "libXS.so", "libXSFunctions.so"):
        (tmp_path / "lib" / name).write_text("not a library")
    code = (
        "import sys, xspec_sixsa.embedded as xspec; xspec.Xset.chatter = 0\n"
        "print(sum(xspec.Model('nthComp').values(0)), 'xspectrampoline' in sys.modules)"
    )
    environment = {**os.environ, "HEADAS": str(tmp_path), "LD_LIBRARY_PATH": str(tmp_path / "lib")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    total, loaded = run.stdout.split()[-2:]
    assert float(total) > 0.0 and loaded == "False"


def test_a_library_that_cannot_be_loaded_says_what_to_do(models: ModelLibrary, tmp_path: Path) -> None:
    broken = dataclasses.replace(models, processes=type(models.processes)(tmp_path))
    with pytest.raises(XspecError, match="pip uninstall xspectrampoline"):
        evaluate(broken, "nthComp")


# --------------------------------------------------------------------------------------------------- the commands


def test_the_list_of_models_says_where_each_is_from() -> None:
    shown = CliRunner().invoke(main, ["models", "nthc"]).output
    assert "nthComp  (additive; XSPEC 12.15.0 (xspectrampoline" in shown and "kT_bb" in shown
    assert "TBabs  (multiplicative; xspec_sixsa, differentiable)" in CliRunner().invoke(main, ["models", "tba"]).output
    every = CliRunner().invoke(main, ["models"]).output
    assert "cflux  (convolution; XSPEC" in every and "35 of them our own" in every


def test_the_doctor_evaluates_a_compiled_model(models: ModelLibrary) -> None:
    works, data = _compiled_models()
    assert works.ok and models.version in works.text
    assert str(models.data_folder) in data.text


def test_the_doctor_says_nothing_of_what_is_not_installed(without_library: None) -> None:
    assert _compiled_models() == []
