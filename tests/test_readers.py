"""Session files and priors that people wrote by hand: whatever is in them, an answer or one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import fresh

from xspec_sixsa.embedded.state import XspecError
from xspec_sixsa.embedded.xcm_script import COMMANDS
from xspec_sixsa.priors import PriorError, load_toml
from xspec_sixsa.priors.kinds import KINDS

SESSION = """statistic cstat
data 1:1 one.pha 2:2 two.pha
ignore 1:1-3 2:50-**
method leven 10 0.01
abund wilm
xsect vern
cosmo 70 0 0.73
xset delta 0.01
systematic 0
model  TBabs(powerlaw + gaussian)
            0.1       0.01          0          0     100000      1e+06
              2       0.01         -3         -2          9         10
           0.01       0.01          0          0      1e+20      1e+24
            6.4       0.05          0          0      1e+06      1e+06
            0.1       0.05          0          0         10         20
          1e-05       0.01          0          0      1e+20      1e+24
= p1
= p2*0.5 + 1.0
/
6.5
0 -1
= p6
bayes 2 gauss 2 0.1
freeze 4 5
newpar 3 0.02
""".splitlines()
NUMBERS = st.one_of(
    st.integers(-3, 99).map(str), st.floats().map(repr),
    st.sampled_from(["1e400", "0x10", "1-3", "**", "2:1", "9-**", "-", "/", "= p1", "= p99/0", "=sin(", "NaN"]),
)  # fmt: skip
WORDS = st.sampled_from([
    "one.pha", "gone.pha", "none", "cstat", "TBabs*powerlaw", "atable{x.fits}", "atable{", "}", '"', "\\", "&", "$x",
    "[ls]", "*(", "constant*(powerlaw", "1:2", "powerlaw norm", "\u00e9", "\x00", "#", ";", "gauss", "2:bkg", "{1-3}",
])  # fmt: skip
ARGUMENTS = st.lists(st.one_of(NUMBERS, WORDS), max_size=6).map(" ".join)
LINES = st.one_of(
    st.builds(lambda command, rest: f"{command} {rest}", st.sampled_from(COMMANDS), ARGUMENTS), ARGUMENTS,
    st.sampled_from(SESSION), st.text(max_size=30),
)  # fmt: skip
HYPOTHESIS = dict(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


def said(kind: type[Exception], action: Callable[[Any], object], argument: Any) -> str | None:
    """What an action says when it refuses, None where it does not; other exceptions are faults."""
    try:
        action(argument)
    except kind as error:
        return str(error).strip()
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    where = tmp_path_factory.mktemp("readers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        for _ in fresh("xspec_sixsa.embedded", where):
            yield where


def test_the_session_that_is_changed_works(folder: Path) -> None:
    from xspec_sixsa.embedded import AllModels, Xset

    (folder / "good.xcm").write_text("\n".join(SESSION))
    Xset.restore(str(folder / "good.xcm"))
    assert AllModels(1)(3).values[0] == 0.02 and AllModels(2)(1).link == "= p1" and AllModels(2)(5).frozen
    (folder / "good.xcm").unlink()


@pytest.mark.parametrize("line", ["renorm 0 0", "systematic", "cd ~nobody_at_all/x", "systematic many", "query"])
def test_a_line_that_cannot_be_done_is_named(folder: Path, line: str) -> None:
    from xspec_sixsa.embedded import Xset

    (folder / "session.xcm").write_text("\n".join([*SESSION, line]))
    assert f"line {len(SESSION) + 1}, `{line}`" in str(said(XspecError, Xset.restore, str(folder / "session.xcm")))


@settings(max_examples=60, **HYPOTHESIS)
@given(changes=st.lists(st.tuples(st.integers(0, len(SESSION)), st.integers(0, 2), LINES), min_size=1, max_size=4))
def test_a_changed_session_is_restored_or_refused(folder: Path, changes: list[tuple[int, int, str]]) -> None:
    from xspec_sixsa.embedded import Xset

    lines = list(SESSION)
    for where, gone, new in changes:
        lines[where : where + gone] = [new]
    path = folder / "session.xcm"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    before = {file.name for file in folder.iterdir()}
    assert said(XspecError, Xset.restore, str(path)) != ""
    assert {file.name for file in folder.iterdir()} == before  # nothing was run, nothing written


KEYS = st.one_of(st.sampled_from(["kind", "low", "high", "mean", "sd", "scale"]), st.text(max_size=5))
SCALARS = st.one_of(
    st.floats(), st.integers(-(10**30), 10**30), st.booleans(), st.text(max_size=8), st.sampled_from(sorted(KINDS)),
    st.just([1.0]), st.just({"a": 1}),
)  # fmt: skip
TABLES = st.dictionaries(
    st.one_of(st.sampled_from(["norm__5", "nH__1", "fit", "kind"]), st.text(max_size=6)),
    st.one_of(st.dictionaries(KEYS, SCALARS, max_size=4), SCALARS), max_size=4,
)  # fmt: skip


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, (str, bool)) else repr(value)


@settings(max_examples=150, **HYPOTHESIS)
@given(tables=TABLES)
def test_tables_of_priors_are_taken_or_refused(folder: Path, tables: dict[str, object]) -> None:
    path = folder / "priors.toml"
    path.write_text("".join(f"{json.dumps(key)} = {toml(table)}\n" for key, table in tables.items()), encoding="utf-8")
    assert said(PriorError, load_toml, path) != ""


@settings(max_examples=60, **HYPOTHESIS)
@given(
    content=st.one_of(st.binary(max_size=80), st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")))
)
def test_whatever_else_is_no_file_of_priors(folder: Path, content: bytes) -> None:
    path = folder / "priors.toml"
    path.write_bytes(content)
    assert said(PriorError, load_toml, path) != ""
