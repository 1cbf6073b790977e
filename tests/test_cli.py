"""The command line: help, exit codes, refusals that leave nothing behind, the demo's data."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from test_result import gaussian_result

from xspec_sixsa.interfaces import cli, demo

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("fit", "demo", "plot", "info", "models", "doctor")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("xspec_sixsa")
    handlers, level, own_level = root.handlers[:], root.level, own.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(own_level)


def sixsa(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(a) for a in arguments])


def session_file(folder: Path, text: str = "data 1:1 absent.pha\nmodel powerlaw\n1\n1\n") -> Path:
    path = folder / "session.xcm"
    path.write_text(text)
    return path


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS)])
def test_help_is_everywhere(command: tuple[str, ...]) -> None:
    for flag in ("-h", "--help"):
        result = sixsa(*command, flag)
        assert result.exit_code == 0 and "Usage:" in result.output


def test_help_needs_no_heavy_import_and_is_quick() -> None:
    call = "cli.main(['fit', '-h'], standalone_mode=False)"
    code = f"import sys; from xspec_sixsa.interfaces import cli; {call}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sbi", "astropy", "matplotlib"} & set(out.split())


def test_info_exits_by_the_verdict(tmp_path: Path) -> None:
    gaussian_result().save(tmp_path / "good")
    gaussian_result(status="unreliable", reasons=["interrupted"]).save(tmp_path / "bad")
    good, bad = sixsa("info", tmp_path / "good"), sixsa("info", tmp_path / "bad")
    assert good.exit_code == 0 and good.output.startswith("RELIABLE")
    assert bad.exit_code == 3 and bad.output.startswith("UNRELIABLE: interrupted")


def test_plot_draws_what_the_result_holds(tmp_path: Path) -> None:
    gaussian_result().save(tmp_path)
    result = sixsa("plot", tmp_path, "--format", "pdf")
    assert result.exit_code == 0
    assert {p.stem for p in tmp_path.glob("*.pdf")} == {"corner", "predictive", "rounds", "weights", "cost"}


def bad_inputs(folder: Path) -> dict[str, tuple[list[str | Path], str]]:
    """Arguments of `sixsa fit` besides --output, and what the message must say."""
    good = session_file(folder, "statistic chi\n")
    broken = folder / "broken.toml"
    broken.write_text('["nH__1"\nkind = uniform')
    unknown = folder / "unknown.toml"
    unknown.write_text("[fit]\nlive_points = 400\n")
    data = folder / "data.xcm"
    data.write_text("data 1:1 absent.pha{1}\nresponse  1:1 lost.rmf\nbackgrnd 1 none\n")
    return {
        "no session": ([folder / "none.xcm"], "No session file"),
        "missing files": ([data], r"absent\.pha \(data\), lost\.rmf \(response\)"),
        "no priors": ([good, "--priors", folder / "none.toml"], "No priors file"),
        "broken priors": ([good, "--priors", broken], "not valid TOML"),
        "unknown option": ([good, "--priors", unknown, "--engine", "embedded"], "live_points"),
        "contradiction": ([good, "--resume", "--clobber"], "contradict"),
        "no data": ([good, "--engine", "embedded"], "loads no data"),
        "unknown engine": ([good, "--engine", "sherpa"], "sherpa"),
        "negative budget": ([good, "--budget", "-5"], "-5"),
    }


BAD_INPUTS = (
    "no session", "missing files", "no priors", "broken priors", "unknown option", "contradiction", "no data",
    "unknown engine", "negative budget",
)  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_one_message_exit_2_and_nothing_left_behind(tmp_path: Path, case: str) -> None:
    arguments, message = bad_inputs(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    start = time.perf_counter()
    result = sixsa("fit", *arguments, "--output", tmp_path / "run")
    assert result.exit_code == 2
    assert re.search(message, result.output) and "Traceback" not in result.output
    assert sorted(tmp_path.rglob("*")) == before
    assert time.perf_counter() - start < 5  # what the project promises


@pytest.fixture(scope="module")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.make_demo_data(folder)
    return folder


def truncate_response(folder: Path) -> None:
    (folder / "demo_pn.rmf").write_bytes((folder / "demo_pn.rmf").read_bytes()[:40000])


def replace_response_by_text(folder: Path) -> None:
    (folder / "demo_pn.rmf").write_text("404 not found\n" * 1000)


def drop_channels(folder: Path) -> None:
    with fits.open(folder / "demo_pn.pha", mode="update") as hdus:
        hdus[1].data = hdus[1].data[:700]
        hdus[1].header.update({"DETCHANS": 700, "TLMAX1": 699})


def spoil_area(folder: Path) -> None:
    with fits.open(folder / "demo_pn.arf", mode="update") as hdus:
        hdus[1].data["SPECRESP"][500:600] = np.nan


def lose_response(folder: Path) -> None:
    (folder / "demo_pn.rmf").unlink()


def lose_response_named_in_the_header(folder: Path) -> None:
    edit_session(folder, r"(?m)^(response|arf) .*\n", "")
    (folder / "demo_pn.rmf").unlink()


def name_an_unknown_model(folder: Path) -> None:
    edit_session(folder, "bbodyrad", "relxill")


def edit_session(folder: Path, old: str, new: str) -> None:
    path = folder / "session.xcm"
    path.write_text(re.sub(old, new, path.read_text()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate_response, r"demo_pn\.rmf: extension MATRIX should have .* it is cut off"),
        (replace_response_by_text, r"demo_pn\.rmf: cannot be read as FITS"),
        (drop_channels, r"1500 .*700 .*do not match"),
        (spoil_area, r"demo_pn\.arf: 100 effective areas are negative, NaN"),
        (lose_response, r"demo_pn\.rmf \(response\)"),
        (lose_response_named_in_the_header, r"demo_pn\.rmf"),
        (name_an_unknown_model, "'relxill' is not a valid model component"),
    ],
)
def test_spoilt_files_are_one_message_exit_2_and_nothing_left_behind(
    demo_files: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(demo_files, folder)
    spoil(folder)
    before = sorted(tmp_path.rglob("*"))
    start = time.perf_counter()
    result = sixsa(
        "fit", folder / "session.xcm", "--priors", folder / "priors.toml", "--engine", "embedded", "--output",
        tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 2
    assert re.search(message, result.output) and "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert time.perf_counter() - start < 5  # what the project promises


def test_a_folder_with_somebodys_files_is_refused(tmp_path: Path) -> None:
    session = session_file(tmp_path, "statistic chi\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    result = sixsa("fit", session, "--output", tmp_path / "run")
    assert result.exit_code == 2 and "--resume" in result.output and "--clobber" in result.output
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]
    result = sixsa("demo", "--output", tmp_path / "run")
    assert result.exit_code == 2 and "--clobber" in result.output


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = sixsa("info", tmp_path, "--debug")
    assert isinstance(result.exception, FileNotFoundError)


def test_a_fault_of_the_program_is_not_called_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gaussian_result().save(tmp_path)
    monkeypatch.setattr("xspec_sixsa.result.Result.summary", lambda self: {}["a mistake of ours"])
    result = sixsa("info", tmp_path)
    assert result.exit_code == 1 and "KeyError" in result.output and "--debug" in result.output


def test_relative_data_paths_are_found_beside_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xspec_sixsa.interfaces.batch import check_inputs

    (tmp_path / "here").mkdir()
    session = session_file(tmp_path / "here", 'data 1:1 "my spectrum.pha"\nbackgrnd 1 bg\\ 1.pha\n')
    for name in ("my spectrum.pha", "bg 1.pha"):
        (tmp_path / "here" / name).touch()
    monkeypatch.chdir(tmp_path)
    arguments = {"output": tmp_path / "run", "resume": False, "clobber": False}
    assert check_inputs(session, None, **arguments) == (tmp_path / "here", None)


def test_doctor_names_every_requirement_and_a_remedy_for_what_is_missing() -> None:
    result = sixsa("doctor")
    assert result.exit_code == 0, result.output
    assert re.search(r"^ok +torch +2\.", result.output, re.M)
    assert re.search(r"^ok +embedded engine +works", result.output, re.M)
    if not os.environ.get("HEADAS"):
        assert "HEADAS is not set" in result.output and "headas-init.sh" in result.output


def test_models_lists_parameters_with_units_and_limits() -> None:
    result = sixsa("models")
    assert result.exit_code == 0
    assert {"TBabs", "powerlaw", "diskbb", "zgauss"} <= {line.split()[0] for line in result.output.splitlines() if line}
    one = sixsa("models", "tbabs")
    assert re.search(r"nH +1 +10\^22", one.output)
    unknown = sixsa("models", "relxill")
    assert unknown.exit_code == 2 and "relxill" in unknown.output


def test_group_minimum_fills_every_group_but_the_last() -> None:
    counts = np.random.default_rng(0).poisson(3.0, 500)
    flags = demo.group_minimum(counts, 20)
    sums = np.add.reduceat(counts, np.flatnonzero(flags == 1))
    assert (sums[:-1] >= 20).all() and sums.sum() == counts.sum() and set(flags) == {1, -1}
    last = np.array([counts[i] for i in np.flatnonzero(np.append(flags[1:] == 1, False))])
    assert (sums[:-1] - last < 20).all()


def test_demo_response_conserves_photons_and_has_silicons_width() -> None:
    rmf, arf = demo.make_response()
    inside = (rmf.energy_lo > 0.5) & (rmf.energy_hi < 14)
    # Cut at 4.5 sigma: 7e-6 of a line is lost, and what lies in the cut channels' other half.
    assert np.asarray(rmf.matrix.sum(axis=0)).ravel()[inside] == pytest.approx(1.0, abs=2e-5)
    column = rmf.matrix[:, [int(np.searchsorted(rmf.energy_hi, 5.9))]].toarray().ravel()
    middle = 0.5 * (rmf.e_min + rmf.e_max)
    mean = column @ middle
    # 151 eV FWHM; the 10 eV channels add 10^2/12 eV^2 to a variance of 64^2: 0.1 %.
    assert 2.3548 * np.sqrt(column @ (middle - mean) ** 2) == pytest.approx(0.151, rel=0.005)
    assert 1000 < arf.area.max() < 1500


def test_demo_data_are_a_session_of_about_ten_thousand_counts_not_started_at_the_truth(tmp_path: Path) -> None:
    from xspec_sixsa import embedded
    from xspec_sixsa.interfaces.batch import check_inputs
    from xspec_sixsa.session.restore import restore_session

    session = demo.make_demo_data(tmp_path / "demo")
    assert {p.name for p in (tmp_path / "demo").iterdir()} == set(demo.NAMES)
    folder, _ = check_inputs(
        session, tmp_path / "demo" / "priors.toml", output=tmp_path / "run", resume=False, clobber=False
    )
    try:
        restore_session(embedded, session, folder)
        spectrum = embedded.AllData(1)
        counts = np.array(spectrum.values) * spectrum.exposure
        assert counts.sum() == pytest.approx(1e4, rel=0.1)
        assert counts.min() > 19.5
        start = embedded.Fit.statistic
        embedded.AllModels(1).setPars(*demo.TRUTH.values())
        # C-stat at the truth is near the number of bins; spread of a chi-squared: 5 of them.
        assert embedded.Fit.statistic == pytest.approx(counts.size, abs=5 * np.sqrt(2 * counts.size))
        assert start > 10 * embedded.Fit.statistic
    finally:
        embedded.AllModels.clear()
        embedded.AllData.clear()


def test_the_readmes_commands_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = {shlex.split(line)[1] for line in re.findall(r"^sixsa .*$", text, re.M)}
    assert used <= set(cli.main.commands) and {"fit", "doctor"} <= used


@pytest.mark.xspec
def test_demo_session_is_the_same_in_real_xspec(tmp_path: Path) -> None:
    session = demo.make_demo_data(tmp_path)
    code = """
import sys
from pathlib import Path
from xspec_sixsa.session.engine import load_engine
from xspec_sixsa.session.restore import restore_session
from xspec_sixsa.interfaces.demo import TRUTH
module = load_engine(sys.argv[1])
restore_session(module, Path(sys.argv[2]), Path(sys.argv[2]).parent)
module.AllModels(1).setPars(*TRUTH.values())
print("STATISTIC", len(module.AllData(1).noticed), module.Fit.statistic)
"""
    found = {}
    for engine in ("xspec", "embedded"):
        run = subprocess.run(
            [sys.executable, "-c", code, engine, str(session)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
        line = next(line for line in run.stdout.splitlines() if line.startswith("STATISTIC"))
        found[engine] = [float(word) for word in line.split()[1:]]
    assert found["xspec"][0] == found["embedded"][0]
    # What the project promises of the embedded engine: C-stat within 0.2 on 10^4 counts.
    assert found["xspec"][1] == pytest.approx(found["embedded"][1], abs=0.2)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-c", "from xspec_sixsa.interfaces.cli import main; main()", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdout.close()  # as `head` does
        assert run.stderr.read() == ""
    assert run.returncode == 0
