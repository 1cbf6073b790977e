"""The Tcl package in the real program: command scripts, the prompt, and its installation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from prompt import Prompt, environment, run_script

from xspec_sixsa.embedded.ogip import ARF, write_arf
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.interfaces.tclinstall import install_tcl, remove_tcl

SPECTRUM = "query yes\nstatistic cstat\ndata 3c273.pi\nignore **-0.5 7.0-**\n"
MODEL = "model tbabs*powerlaw & 0.1 & 2 & 2e-4\npackage require sixsa\n"
PRIORS = "sixsa prior 1 uniform 0 0.2\nsixsa prior 2 uniform 1 3\nsixsa prior 3 loguniform 1e-5 1e-3\n"
# as few evaluations as give 50 effective samples: the network's training takes most of the time anyway
OPTIONS = "-ess 50 -seed 1 -budget 1000 -compressor none -workers 1"
# `attempt label command ...` notes how a command ended; `state file` what the session is but for parameter values.
TOOLS = r"""
set xs_echo_script 0
proc attempt {label args} {
    puts "== $label"
    set code [catch {uplevel #0 $args} answer]
    set f [open outcome.txt a]
    puts $f [list $label $code [string map {\n { }} $answer]]
    close $f
}
proc note {label text} {
    set f [open outcome.txt a]
    puts $f [list $label 0 [string map {\n { }} $text]]
    close $f
}
proc state {file} {
    save all $file
    set f [open $file a]
    foreach words {chatter query statmethod weight cosmo datasets {plink 1} {plink 2} {noticed 1} {filename 1}} {
        puts $f "$words: [tcloutr {*}$words]"
    }
    foreach par {1 2 3} {puts $f "$par: [lrange [tcloutr param $par] 1 end]"}
    close $f
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3C 273 (638 counts in 40 bins, W-statistic), where relative names find it."""
    source = Path(__file__).resolve().parents[2] / "shared" / "data" / "chandra_3c273"
    if not source.is_dir():
        pytest.skip(f"real spectra absent: {source} is not there")
    where = tmp_path_factory.mktemp("tcl")
    for file in source.iterdir():
        shutil.copy(file, where)
    return where


@dataclass
class Ended:
    """A script's outcome: printed text by label, and (code, answer) of each attempt."""

    printed: dict[str, str]
    attempts: dict[str, tuple[int, str]]

    @classmethod
    def of(cls, text: str, folder: Path) -> Ended:
        parts = re.split(r"^== (.*)\n", text, flags=re.MULTILINE)
        attempts = {}
        for line in (folder / "outcome.txt").read_text().splitlines():
            label, code, answer = re.fullmatch(r"(\S+) (\d) ?(.*)", line).groups()
            attempts[label] = int(code), answer.strip("{}")
        (folder / "outcome.txt").unlink()
        return cls(dict(zip(parts[1::2], parts[2::2], strict=True)), attempts)


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", text)]


def without_values(path: Path) -> list[str]:
    """A state without the first column of the saved model: the parameters' values."""
    return [re.sub(r"^\s+\S+", "", line) for line in path.read_text().splitlines()]


def refused(cases: dict[str, tuple[str, str, str]], folder: Path) -> None:
    """See every command (after what is typed before it) fail with these words, and the script go on to its end."""
    text = TOOLS + "package require sixsa\n"
    for label, (before, command, _) in cases.items():
        text += f"{before}attempt {label} {command}\n"
    ended = Ended.of(run_script(text + "note end reached\n", folder), folder)
    assert "end" in ended.attempts
    for label, (_, command, words) in cases.items():
        code, message = ended.attempts[label]
        assert code == 1 and words in message and message.startswith(command.split()[0]), f"{label}: {code} {message}"


@pytest.fixture(scope="module")
def script(folder: Path) -> Ended:
    """The example, with less to compute, a note of how each command ended, and some more of them."""
    text = (Path(__file__).resolve().parents[1] / "examples" / "fit.xcm").read_text()
    run = f"state before.txt\nattempt run sixsa run run1 {OPTIONS}\nstate after.txt"
    changes = {"sixsa run run1 -ess 200 -seed 1": run + "\nnote result [array get ::sixsa::result]"}
    for line in ("error 1-3", "flux 0.5 7 err 200 90", "plot chain 1 2"):
        changes[line] = f"attempt {line.split()[0]} {line}"
    for old, new in changes.items():
        assert text.count(f"\n{old}\n") == 1
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    more = [
        "attempt stat chain stat 1", "attempt margin margin 1 0 0.2 5", "attempt best chain best",
        "attempt info sixsa info", "chain clear", "chain load run1/chain.fits",
        "attempt users_chain sixsa run run2", "attempt occupied sixsa run run1 -replace",
    ]  # fmt: skip
    ended = Ended.of(run_script(TOOLS + text + "\n".join(more) + "\n", folder), folder)
    assert re.search(r"^done$", ended.printed["plot"], re.MULTILINE)
    return ended


@pytest.mark.xspec
def test_a_script_runs_the_fit_and_fills_the_array(script: Ended, folder: Path) -> None:
    assert script.attempts["run"] == (0, "")
    words = script.attempts["result"][1]
    summary = json.loads((folder / "run1" / "summary.json").read_text())
    for key, name in (("logz", "log_z"), ("ess", "ess"), ("khat", "k_hat"), ("logz_err", "log_z_err")):
        assert float(re.search(rf"\b{key} (\S+)", words)[1]) == summary[name]
    assert f"status {summary['status']}" in words
    for index, name in enumerate(("nH__1", "PhoIndex__2", "norm__3"), start=1):
        entry = summary["parameters"][name]
        assert float(re.search(rf"\bmedian,{index} (\S+)", words)[1]) == entry["median"]
        found = [float(re.search(rf"\b{key},{index} (\S+)", words)[1]) for key in ("lo", "hi", "lo90", "hi90")]
        assert found == entry["interval_68"] + entry["interval_90"]
    assert "search 1" in script.printed["run"] and "powerlaw PhoIndex (PhoIndex__2)" in script.printed["run"]


@pytest.mark.xspec
def test_xspecs_commands_use_the_posterior(script: Ended, folder: Path) -> None:
    summary = json.loads((folder / "run1" / "summary.json").read_text())["parameters"]
    assert all(script.attempts[label][0] == 0 for label in ("error", "flux", "stat", "margin", "plot", "best"))
    assert "Errors calculated from chains" in script.printed["error"]
    rows = [numbers(line.partition("(")[0]) for line in script.printed["error"].splitlines()[2:5]]
    for (_, low, high), entry in zip(rows, summary.values(), strict=True):
        # the chain is a resampling of 50 effective draws, and XSPEC's interval another kind of quantile
        assert [low, high] == pytest.approx(entry["interval_90"], abs=0.5 * entry["sd"])
    assert "derived from loaded chain" in script.printed["flux"] and "Error range" in script.printed["flux"]
    mean = numbers(script.printed["stat"].splitlines()[0])[0]
    # systematic resampling to 1,000 rows: far closer than one in sqrt(1000)
    assert mean == pytest.approx(summary["nH__1"]["mean"], abs=0.1 * summary["nH__1"]["sd"])


@pytest.mark.xspec
def test_nothing_but_best_fit_and_chain_is_changed(script: Ended, folder: Path) -> None:
    before, after = without_values(folder / "before.txt"), without_values(folder / "after.txt")
    assert before == after and any(line.startswith("chatter: 10 10") for line in after)
    values = [float(line.split()[0]) for line in (folder / "after.txt").read_text().splitlines() if line[:1] == " "]
    best = [p["best_fit"] for p in json.loads((folder / "run1" / "summary.json").read_text())["parameters"].values()]
    # XSPEC's fit at the end stops within its own criterion (0.01 in the statistic) of the best fit that it started from
    assert values == pytest.approx(best, rel=1e-2)


@pytest.mark.xspec
def test_a_users_chain_and_an_occupied_folder_are_refused(script: Ended) -> None:
    code, message = script.attempts["users_chain"]
    assert code == 1 and "a chain is loaded already" in message and "-replace" in message
    code, message = script.attempts["occupied"]
    assert code == 1 and "not empty" in message and "-resume" in message


@pytest.mark.slow
@pytest.mark.xspec
def test_the_best_fit_at_the_prompt_stays_within_the_priors(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("3c273*"):
        shutil.copy(file, tmp_path)
    priors = PRIORS.replace("2 uniform 1 3", "2 uniform 2.3 3")  # the likelihood's peak is at 1.7
    text = TOOLS + SPECTRUM + MODEL + priors + f"attempt run sixsa run {{out $side; x}} {OPTIONS}\n"
    text += "note index [lindex [tcloutr param 2] 0]\nnote nofit $::sixsa::result(nofit)\nnote stat [tcloutr stat]\n"
    ended = Ended.of(run_script(text + "note best $::sixsa::result(statistic)\n", tmp_path), tmp_path)
    assert (tmp_path / "out $side; x" / "chain.fits").is_file()
    assert float(ended.attempts["index"][1]) == pytest.approx(2.3, rel=1e-5)
    assert "highest outside the priors (PhoIndex__2 at its prior's lower limit 2.3)" in ended.attempts["nofit"][1]
    assert "note: no fit in XSPEC" in ended.printed["run"] or "UNRELIABLE" in ended.printed["run"]
    assert float(ended.attempts["stat"][1]) == pytest.approx(float(ended.attempts["best"][1]), rel=1e-5)


@pytest.mark.slow
@pytest.mark.xspec
def test_pyxspec_gives_the_same_posterior_for_the_same_seed(script: Ended, folder: Path) -> None:
    code = """
import xspec, xspec_sixsa as sixsa
xspec.Xset.chatter = 0
xspec.Fit.statMethod = "cstat"
s = xspec.Spectrum("3c273.pi"); s.ignore("**-0.5 7.0-**")
m = xspec.Model("TBabs*powerlaw", setPars=(0.1, 2, 2e-4))
priors = [sixsa.uniform(m.TBabs.nH, 0, 0.2), sixsa.uniform(m.powerlaw.PhoIndex, 1, 3),
          sixsa.loguniform(m.powerlaw.norm, 1e-5, 1e-3)]
sixsa.fit(priors, target_ess=50, seed=1, budget=1000, compressor="none", workers=1, output="python1", progress=False)
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    tcl, python = (np.load(folder / run / "posterior.npz") for run in ("run1", "python1"))
    for key in ("samples", "log_weights"):
        np.testing.assert_array_equal(tcl[key], python[key])


@pytest.mark.xspec
def test_priors_are_checked_before_a_fit(folder: Path) -> None:
    words = ("well", "draws", "usable", "seed", "more_counts", "complaint", "files")
    noted = "".join(f"note {word} $::sixsa::check({word})\n" for word in words)
    text = (
        TOOLS + SPECTRUM + MODEL + PRIORS + "state before_check.txt\nattempt check sixsa check seen -draws 20 -seed 3\n"
    )
    text += noted + "state after_check.txt\nsixsa prior 3 loguniform 1e-9 1e-8\nattempt faint sixsa check -draws 20\n"
    text += "note faint_well $::sixsa::check(well)\nattempt few sixsa check -draws 1\nattempt fast sixsa check -fast\n"
    found = Ended.of(run_script(text + "note drawn [file exists sixsa_check]\n", folder), folder)
    assert (
        found.attempts["check"] == (0, "") and "20 of 20 draws of the prior have a spectrum" in found.printed["check"]
    )
    assert [found.attempts[word][1] for word in words[:4]] == ["1", "20", "20", "3"]
    assert 0 < float(found.attempts["more_counts"][1]) < 1 and found.attempts["complaint"][1] == ""
    pictures = [folder / "seen" / name for name in ("coverage_1.png", "reach.png")]
    assert found.attempts["files"][1].split() == list(map(str, pictures)) and all(path.is_file() for path in pictures)
    assert (folder / "before_check.txt").read_text() == (folder / "after_check.txt").read_text()
    assert "PROBLEM: " in found.printed["faint"] and found.attempts["faint_well"][1] == "0"
    assert found.attempts["few"][0] == 1 and "at least 2 are needed" in found.attempts["few"][1]
    assert found.attempts["fast"][0] == 1 and "-draws, -seed, -workers" in found.attempts["fast"][1]
    assert found.attempts["drawn"][1] == "0"


@pytest.mark.xspec
def test_a_start_sets_the_parameters_and_leaves_a_fit(folder: Path) -> None:
    names = ("well", "statistic,before", "statistic,one_pass", "statistic,fit", "fit,PhoIndex__2", "total")
    noted = "".join(f"note {name} $::sixsa::start({name})\n" for name in names)
    far = MODEL.replace("& 2 & 2e-4", "& 2.9 & 9e-4")
    text = TOOLS + SPECTRUM + far + PRIORS + "state before_start.txt\nattempt start sixsa start -seed 1 -workers 1\n"
    text += noted + "note index [lindex [tcloutr param 2] 0]\nnote stat [tcloutr stat]\nstate after_start.txt\n"
    text += "attempt flux flux 2 10 err 50 68\nattempt folder sixsa start run1\n"
    text += "attempt nowhere sixsa start -network nowhere\n"
    found = Ended.of(run_script(text, folder), folder)
    assert found.attempts["start"] == (0, "") and "The fit began from" in found.printed["start"]
    far_off, passed, fitted = (float(found.attempts[f"statistic,{k}"][1]) for k in ("before", "one_pass", "fit"))
    assert found.attempts["well"][1] == "1" and fitted <= passed < far_off
    # 34.65 is the least statistic of these data: see docs/tcl.md
    assert float(found.attempts["stat"][1]) == pytest.approx(34.65, abs=0.02) == fitted
    assert float(found.attempts["index"][1]) == pytest.approx(float(found.attempts["fit,PhoIndex__2"][1]), rel=1e-2)
    # but for the values themselves
    before, after = ((folder / f"{when}_start.txt").read_text().splitlines() for when in ("before", "after"))
    kept = [line for line in before if not re.match(r"\s+[-\d.e]+\s+[-\d.e]+\s+", line)]
    assert kept == [line for line in after if not re.match(r"\s+[-\d.e]+\s+[-\d.e]+\s+", line)] and len(kept) > 20
    assert found.attempts["flux"][0] == 0 and "Error range" in found.printed["flux"]
    assert found.attempts["folder"][0] == 1 and "takes no folder" in found.attempts["folder"][1]
    assert found.attempts["nowhere"][0] == 1 and "nowhere holds no network" in found.attempts["nowhere"][1]


@pytest.mark.xspec
def test_mistakes_are_tcl_errors_that_say_what_to_do(folder: Path) -> None:
    cases = {
        "no_data": ("", "sixsa run r", "load data first"),
        "no_model": (SPECTRUM, "sixsa prior 1 uniform 0 1", "no model yet"),
        "no_model_run": ("", "sixsa run r", "define one first"),
        "unknown": (MODEL, "sixsa walk", "there is no `sixsa walk`"),
        "no_parameter": ("", "sixsa prior 9 uniform 0 1", "no parameter 9"),
        "by_name": ("", "sixsa prior nH uniform 0 1", "give its number"),
        "kind": ("", "sixsa prior 1 flat 0 1", "no kind of prior 'flat'"),
        "count": ("", "sixsa prior 1 uniform 0", "takes the numbers low high"),
        "word": ("", "sixsa prior 1 uniform 0 one", "one is no number"),
        "frozen": ("freeze 1\n", "sixsa prior 1 uniform 0 1", "thaw 1"),
        "linked": ("thaw 1\nnewpar 1 = p2*0.05\n", "sixsa prior 1 uniform 0 1", "is linked"),
        "no_folder": ("untie 1\n", "sixsa run", "give a folder"),
        "option": ("", "sixsa run r -fast", "unknown option -fast"),
        "number": ("", "sixsa run r -ess many", "must be a whole number"),
        "both": ("", "sixsa run r -resume -clobber", "contradict"),
        "needs_prior": ("", "sixsa run r", "norm__3: give a prior"),
        "limits": ("sixsa prior 1 uniform -5 1\nsixsa prior 3 loguniform 1e-4 4e-4\n", "sixsa run r", "hard minimum"),
        "compressor": ("sixsa prior 1 uniform 0 1\n", "sixsa run r -compressor zip", "autoencoder"),
        "emulator": ("", "sixsa run r -emulator zip", "linear, paired"),
        "estimator": ("sixsa prior 1 uniform 0 1\n", "sixsa run r -estimator oracle", "npe, lbf"),
        "brackets": ("", "sixsa run {r[exec touch pwned]}", "takes [ ] for commands"),
        "nothing": ("", "sixsa load r", "holds no result"),
        "words": ("", "method sixsa many", "no whole number"),
    }
    refused(cases, folder)
    assert not (folder / "r").exists() and not list(folder.rglob("pwned"))


@pytest.mark.xspec
def test_what_save_all_leaves_out_is_copied(folder: Path) -> None:
    # The compressor is looked at when the copy has been made and found to have the prompt's statistic.
    setup = "bayes on\nbayes 2 gauss 1.9 0.1\nenergies 0.3 11. 200 log\nweight churazov\nnewpar 3 1.98765432109e-4\n"
    text = TOOLS + SPECTRUM + MODEL + PRIORS + setup + "attempt settings sixsa run r -compressor zip\n"
    text += "freeze 2\nsixsa prior 2 clear\nattempt frozen sixsa run r -compressor zip\n"
    # once a file was read XSPEC 12.9.1 writes its name, whatever table came after it
    (folder / "abundances.txt").write_text("1 0.1 " + "0.001 " * 28)
    typed = {"read": "abund file abundances.txt", "left": "xset abund wilm", "again": "abund angr"}
    for label, command in typed.items():
        text += f"{command}\nattempt {label} sixsa run r -compressor zip\n"
    # XSPEC 12.9.1 dies of a gain with energies extended: without
    text += "thaw 2\nbayes off\nenergies reset\n" + SPECTRUM + "gain fit 1 & 1.01 & 0.001\nnewpar 2 1.9\n"
    text += "attempt gain sixsa run r -compressor zip\n"
    ended = Ended.of(run_script(text, folder), folder)
    for label in ("settings", "frozen", "read", "left", "again", "gain"):
        code, message = ended.attempts[label]
        assert code == 1 and "'zip'" in message, message


@pytest.mark.xspec
def test_a_file_that_a_header_names_and_xspec_lacks_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("3c273*"):
        shutil.copy(file, tmp_path)
    with fits.open(tmp_path / "3c273.pi", mode="update") as hdus:
        hdus["SPECTRUM"].header["ANCRFILE"] = "gone.arf"
    text = TOOLS + SPECTRUM + MODEL + PRIORS + "attempt run sixsa run r\n"
    code, message = Ended.of(run_script(text, tmp_path), tmp_path).attempts["run"]
    assert code == 1 and "lacks its effective area (ARF) gone.arf, named by its header's ANCRFILE" in message
    assert not (tmp_path / "r").exists()


@pytest.mark.xspec
def test_a_file_that_was_typed_and_xspec_could_not_use_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("3c273*"):
        shutil.copy(file, tmp_path)
    edges = np.geomspace(0.2, 11.0, 80)
    write_arf(tmp_path / "other.arf", ARF("other", edges[:-1], edges[1:], np.full(79, 300.0)))
    # refused for its option, after the copy was made
    run = "sixsa run r -compressor zip\n"
    text = TOOLS + "package require sixsa\n" + SPECTRUM + MODEL + PRIORS
    text += f"arf other.arf\nattempt other {run}arf 1 3c273.arf\nattempt right {run}"
    text += f"backgrnd 1 gone.pi\nattempt gone {run}{SPECTRUM}attempt again {run}"
    shutil.copy(tmp_path / "3c273.arf", tmp_path / "copy.arf")
    text += f"data 3c273.pi 3c273.pi 3c273.pi\narf 2 copy.arf\ndata 1 none/\nattempt renumbered {run}"
    ended = Ended.of(run_script(text, tmp_path), tmp_path)
    assert "lacks its effective area (ARF) other.arf, named by the session's `arf 1:1`" in ended.attempts["other"][1]
    assert "it has 79 energy bins" in ended.attempts["other"][1]
    assert "lacks its background gone.pi, named by the session's `backgrnd 1:1`" in ended.attempts["gone"][1]
    assert all("'zip'" in ended.attempts[label][1] for label in ("right", "again", "renumbered"))


@pytest.mark.xspec
def test_data_loaded_in_another_folder_are_copied(folder: Path, tmp_path: Path) -> None:
    # refused for its options, after the copy was made and found to be the same
    text = SPECTRUM.replace("data 3c273.pi", f"cd {folder}\ndata 3c273.pi\ncd {tmp_path}") + MODEL + PRIORS
    text += "attempt run sixsa run away -ess 100 -budget 10\n"
    code, answer = Ended.of(run_script(TOOLS + text, tmp_path), tmp_path).attempts["run"]
    assert code == 1
    assert "A budget of 10 evaluations cannot give 100 effective samples" in answer


@pytest.mark.xspec
def test_a_session_that_cannot_be_copied_is_refused(folder: Path) -> None:
    # energies typed before the package is there are not known to it, and `save all` leaves them out
    energies = "energies 0.3 11. 100 log\n"
    text = TOOLS + SPECTRUM + energies + MODEL + PRIORS + "attempt run sixsa run r\n"
    code, message = Ended.of(run_script(text, folder), folder).attempts["run"]
    assert code == 1 and "energies" in message and "would be another problem" in message
    assert not (folder / "r").exists()


@pytest.mark.xspec
def test_other_methods_behave_as_without_the_package(folder: Path) -> None:
    commands = """
attempt bare method
attempt leven method leven 30 0.001
attempt short meth lev
attempt wrong method nonsense
attempt number method 25
attempt docs fit ?
attempt fit fit
note sigma [tcloutr sigma 1]
newpar 1 0.1
attempt simplex method simplex
attempt again method leven
attempt fit2 fit 5 0.1
note stat [tcloutr stat]
save all saved_NAME.xcm
note body [info procs fit]
"""
    plain = "model tbabs*powerlaw & 0.1 & 2 & 2e-4\n"
    chosen = MODEL + "attempt choose method sixsa 100 1\nattempt six meth six 200\nnote inside [info procs fit]\n"
    without = Ended.of(run_script(TOOLS + SPECTRUM + plain + commands.replace("NAME", "a"), folder), folder)
    package = Ended.of(run_script(TOOLS + SPECTRUM + chosen + commands.replace("NAME", "b"), folder), folder)
    assert [package.attempts.pop(key) for key in ("choose", "six")] == [(0, ""), (0, "")]
    assert package.attempts.pop("inside") == (0, "fit")
    assert package.attempts == without.attempts and without.attempts["wrong"][0] == 1
    assert {key: package.printed[key] for key in without.printed} == without.printed
    assert (folder / "saved_a.xcm").read_text() == (folder / "saved_b.xcm").read_text()


@pytest.fixture
def prompt(folder: Path, tmp_path: Path) -> Iterator[Prompt]:
    """An interactive session with the package installed as a user installs it."""
    install_tcl(tmp_path / ".xspec")
    with Prompt(folder, tmp_path) as found:
        (folder / "tools.tcl").write_text(TOOLS)
        for line in ("source tools.tcl", *SPECTRUM.splitlines(), *MODEL.splitlines(), *PRIORS.splitlines()):
            found.type(line)
        yield found


@pytest.mark.xspec
def test_ctrl_c_stops_the_fit_and_leaves_the_session(prompt: Prompt, folder: Path) -> None:
    prompt.type("state before_c.txt")
    prompt.send("sixsa run stopped -ess 500 -seed 2 -workers 1")
    prompt.wait(
        "covering the emulated posterior", timeout=60
    )  # after the first evaluations: they are in the checkpoint by then
    prompt.interrupt()
    said = prompt.wait(timeout=30)
    assert "interrupted" in said and "-resume" in said
    prompt.type("state after_c.txt")
    # values too: nothing is changed
    assert (folder / "before_c.txt").read_text() == (folder / "after_c.txt").read_text()
    assert list((folder / "stopped" / "checkpoint").glob("batch_*.npz"))
    assert "34.6" in prompt.type("fit")


@pytest.mark.xspec
def test_the_method_runs_at_the_prompt_and_a_result_is_loaded(prompt: Prompt, folder: Path, script: Ended) -> None:
    prompt.type("method sixsa 30 1")
    said = prompt.type("fit")
    assert "round 1" in said and "powerlaw PhoIndex" in said
    assert (folder / "sixsa_run_1" / "chain.fits").is_file()
    assert "Errors calculated from chains" in prompt.type("error 1")
    assert "derived from loaded chain" in prompt.type("flux 0.5 7 err 100 90")
    assert "30" in prompt.type("sixsa info") and "method leven" not in prompt.type("method leven").splitlines()[-1]
    # its own chain is replaced without a question
    said = prompt.type("sixsa load run1")
    assert "Saved in" in said and "refused" not in said
    median = json.loads((folder / "run1" / "summary.json").read_text())["parameters"]["nH__1"]["median"]
    assert repr(median) in prompt.type("puts $::sixsa::result(median,1)")
    prompt.type("newpar 2 1.7")
    prompt.type("freeze 2")
    said = prompt.type("sixsa load run1")
    assert "another session" in said and "nH__1, norm__3" in said


def test_installing_keeps_what_was_there(tmp_path: Path) -> None:
    xspec = tmp_path / ".xspec"
    (xspec / "cache").mkdir(parents=True)
    (xspec / "tclIndex").write_text("# Tcl autoload index file, version 2.0\n")
    (xspec / "pkgIndex.tcl").write_text("# mine\n")
    before = {path: path.read_bytes() for path in xspec.rglob("*") if path.is_file()}
    written = install_tcl(xspec)
    assert {path.name for path in written} >= {"pkgIndex.tcl", "sixsa.tcl", "config.tcl"}
    assert f"set python {{{sys.executable}}}" in (xspec / "sixsa" / "config.tcl").read_text()
    assert install_tcl(xspec) == written
    assert remove_tcl(xspec) == sorted(written)
    assert {path: path.read_bytes() for path in xspec.rglob("*") if path.is_file()} == before
    assert (xspec / "cache").is_dir() and not (xspec / "sixsa").exists() and remove_tcl(xspec) == []


def test_a_folder_of_others_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "sixsa"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    for action in (install_tcl, remove_tcl):
        with pytest.raises(FileExistsError, match="not made by"):
            action(tmp_path)
    (theirs / "notes.txt").unlink()
    theirs.rmdir()
    install_tcl(tmp_path)
    (theirs / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="notes.txt"):
        remove_tcl(tmp_path)


def test_the_shell_command_installs_and_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["install-tcl"])
    assert done.exit_code == 0 and str(tmp_path / ".xspec" / "sixsa") in done.output
    done = CliRunner().invoke(main, ["install-tcl", "--remove"])
    assert done.exit_code == 0 and not (tmp_path / ".xspec" / "sixsa").exists()
    assert "Nothing of ours" in CliRunner().invoke(main, ["install-tcl", "--remove"]).output
