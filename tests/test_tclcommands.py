"""Commands about finished runs at XSPEC's prompt: the shell's own, with one dash for two and answers in Tcl arrays."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from prompt import TCL, Prompt, run_script
from test_tcl import TOOLS, Ended, refused
from weighted import load_powerlaw, save_run

from xspec_sixsa.compare import CompareError
from xspec_sixsa.interfaces.commands import runs
from xspec_sixsa.interfaces.tclcommands import perform, tcl_array, usage
from xspec_sixsa.interfaces.tclinstall import install_tcl
from xspec_sixsa.products.derived import Derived

LOAD = "package require sixsa\nquery yes\n@line/session.xcm\n"
COMMANDS = {
    "flux": "sixsa flux line 2 10 -draws 100",
    "lumin": "sixsa lumin line 2 10 -z 0.1 -draws 100",
    "eqwidth": "sixsa eqwidth line gaussian -draws 100",
    "report": "sixsa report line",
    "plot": "sixsa plot line -format svg",
    "cite": "sixsa cite line -bibtex",
    "diagnose": "sixsa diagnose line",
    "rank": "sixsa rank line plain -output ranking",
    "compare": "sixsa compare line -with {mcmc mh} -length 400",
}
NUMBERS = {
    "median": "$::sixsa::flux(median)",
    "photons": "$::sixsa::flux(photon_flux,hi90)",
    "unit": "$::sixsa::lumin(unit)",
    "width": "$::sixsa::eqwidth(upper90)",
    "page": "$::sixsa::report(file)",
    "pictures": "[llength $::sixsa::plot(files)]",
    "entries": "$::sixsa::cite(summary)",
    "complaints": "[llength $::sixsa::diagnose(complaints)]",
    "complaint": "[lindex $::sixsa::diagnose(complaints) 0]",
    "first": "$::sixsa::rank(models,1,name)",
    "agree": "$::sixsa::compare(agree)",
    "second": "$::sixsa::compare(methods,2,method)",
}


@dataclass
class Runs:
    """A folder with the results `plain` and `line`, and what Python says of the latter."""

    folder: Path
    expected: dict[str, Derived]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A power law without and with a line: draws weighted exactly in real XSPEC, nothing trained."""
    import xspec

    folder = tmp_path_factory.mktemp("runs")
    load_powerlaw(xspec, folder)
    save_run(xspec, folder / "plain")
    load_powerlaw(xspec, folder, "powerlaw+gaussian")
    line = xspec.AllModels(1)
    line(5).values = 1e-3
    for index in (3, 4, 5):
        line(index).frozen = True
    result = save_run(xspec, folder / "line")
    expected = {
        "flux": result.flux(2, 10, draws=100, xspec=xspec),
        "lumin": result.lumin(2, 10, 0.1, draws=100, xspec=xspec),
        "eqwidth": result.eqwidth("gaussian", draws=100, xspec=xspec),
    }
    xspec.AllModels.clear()
    xspec.AllData.clear()
    return Runs(folder, expected)


@pytest.fixture(scope="module")
def script(saved: Runs) -> Ended:
    """Every command once, the session's state around them, and numbers of the arrays."""
    lines = [LOAD, "fit", "state before.txt", *(f"attempt {name} {line}" for name, line in COMMANDS.items())]
    lines += ["state after.txt", *(f"note {label} {words}" for label, words in NUMBERS.items())]
    return Ended.of(run_script(TOOLS + "\n".join(lines) + "\n", saved.folder), saved.folder)


@pytest.mark.xspec
def test_every_command_answers_and_the_session_stays(script: Ended, saved: Runs) -> None:
    assert {name: script.attempts[name] for name in COMMANDS} == dict.fromkeys(COMMANDS, (0, ""))
    assert (saved.folder / "before.txt").read_text() == (saved.folder / "after.txt").read_text()


@pytest.mark.xspec
def test_numbers_are_those_of_python(script: Ended, saved: Runs) -> None:
    for name, derived in saved.expected.items():
        assert script.printed[name].strip() == derived.summary()
    flux, width = saved.expected["flux"], saved.expected["eqwidth"]
    # the prompt's session has come through a file of six digits
    for label, value in (("median", flux.quantile(0.5)[0]), ("photons", flux.interval(0.9)[1, 1]),
                         ("width", width.upper_limit()[0])):  # fmt: skip
        assert float(script.attempts[label][1]) == pytest.approx(value, rel=1e-5)
    assert script.attempts["unit"][1] == saved.expected["lumin"].units[0]


@pytest.mark.xspec
def test_files_and_words_are_those_of_the_shell(script: Ended, saved: Runs) -> None:
    line = saved.folder / "line"
    assert script.attempts["page"][1] == str(line / "report.html") and (line / "report.html").is_file()
    pictures = ("corner", "predictive", "weights", "cost")
    assert script.printed["plot"].split() == [f"line/{name}.svg" for name in pictures]
    assert script.attempts["pictures"][1] == str(len(pictures))
    assert "@misc{xspec," in script.attempts["entries"][1]
    diagnosis = json.loads((line / "diagnosis.json").read_text())
    assert int(script.attempts["complaints"][1]) == len(diagnosis["complaints"]) > 0
    assert script.attempts["complaint"][1] == diagnosis["complaints"][0]
    ranking = json.loads((saved.folder / "ranking" / "ranking.json").read_text())
    assert script.attempts["first"][1] == ranking["models"][0]["name"]
    comparison = json.loads((line / "comparison.json").read_text())
    assert script.attempts["agree"][1] == str(int(comparison["agree"]))
    assert script.attempts["second"][1] == comparison["methods"][1]["method"] == "mh"


@pytest.mark.xspec
def test_mistakes_say_what_to_type(saved: Runs) -> None:
    cases = {
        "empty": ("", "sixsa flux line 2 10", "load the run's first (@<dir>/session.xcm)"),
        "words": (LOAD, "sixsa flux", "Missing argument 'DIRECTORY'. Usage: sixsa flux [OPTIONS] DIRECTORY LOW HIGH"),
        "order": ("", "sixsa flux line 10 2", "the lower end of the band first"),
        "nowhere": ("", "sixsa report nowhere", "nowhere holds no result"),
        "alone": ("", "sixsa compare line", "Say what to compare with"),
        "resume": ("file mkdir c\nclose [open c/setup.json w]\n", "sixsa calibrate line -output c", "priors.toml"),
        "another": ("freeze 1\n", "sixsa flux line 2 10", "@line/session.xcm at XSPEC's prompt"),
    }
    refused(cases, saved.folder)


@pytest.mark.xspec
def test_help_and_ctrl_c_leave_the_session_and_the_numbers(saved: Runs, tmp_path: Path) -> None:
    install_tcl(tmp_path / ".xspec")
    (saved.folder / "tools.tcl").write_text(TOOLS)
    with Prompt(saved.folder, tmp_path) as prompt:
        for line in ("source tools.tcl", *LOAD.splitlines(), "set ::sixsa::flux(median) 1.25", "state before_c.txt"):
            prompt.type(line)
        assert "-unabsorbed" in prompt.type("sixsa flux ?")
        prompt.send("sixsa compare line -with mcmc -length 10000000")
        prompt.wait("running XSPEC")
        prompt.interrupt()
        assert "sixsa compare: interrupted; the session is as it was." in prompt.wait(timeout=30)
        assert "1.25" in prompt.type("puts $::sixsa::flux(median)")
        prompt.type("state after_c.txt")
    assert (saved.folder / "before_c.txt").read_text() == (saved.folder / "after_c.txt").read_text()


def test_the_prompt_lists_the_shells_commands() -> None:
    table = re.search(r"variable finished \{\n(.*?)\n    \}", (TCL / "sixsa.tcl").read_text(), re.DOTALL)[1]
    # `sixsa info` at the prompt is about the session
    assert set(re.findall(r"^ +(\w+) +\{", table, re.MULTILINE)) == set(runs.commands) - {"info"}


@pytest.mark.parametrize("name", sorted(runs.commands))
def test_help_is_in_the_words_of_the_prompt(name: str) -> None:
    text = usage(name)
    assert text.startswith(f"Usage: sixsa {name} ")
    assert not re.search("--[a-z]|-engine|-quiet|-debug|-target-ess|xit code", text)


def test_words_are_read_as_the_shell_reads_them() -> None:
    assert "@misc{xspec," in perform("cite", ["-bibtex"], None).text
    with pytest.raises(ValueError, match=r"'-format': 'zip' is not one of.*Usage: sixsa plot \[OPTIONS\] DIRECTORY"):
        perform("plot", ["run", "-format", "zip"], None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flux line 2 ten", "'ten' is not a valid float"),
        ("lumin line 2 10 -fast", "unknown option -fast; there are -redshift, -z, -unabsorbed"),
        ("flux line 2 10 -engine embedded", "unknown option -engine"),
        ("rank line", "at least two runs"),
        ("calibrate line", "Missing option '-output'"),
    ],
)
def test_wrong_words_are_answered_with_what_to_type(line: str, message: str) -> None:
    name, *words = line.split()
    with pytest.raises((ValueError, CompareError), match=message):
        perform(name, words, None)


def test_nested_numbers_become_an_array() -> None:
    models = [{"name": "a", "log z": -1.5}, {"name": "b", "log z": None}]
    numbers = {"models": models, "agree": True, "why": ["x y", "{"], "box": [[0, 1], [2, 3]], "none": []}
    assert dict(tcl_array(numbers)) == {
        "models,1,name": "a", "models,1,log_z": "-1.5", "models,2,name": "b", "models,2,log_z": "", "agree": "1",
        "why": r"{x y} \{", "box,1": "0 1", "box,2": "2 3", "none": "",
    }  # fmt: skip
