"""Every example in a docstring gives what it says, and what newcomers look up has one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "xspec_sixsa").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
EXPLAINED = {
    "xspec_sixsa.priors.kinds": ("uniform", "loguniform", "normal", "lognormal", "exponential", "custom", "joint"),
    "xspec_sixsa.priors.joint": ("JointPrior",),
    "xspec_sixsa.result.result": ("Result",),
    "xspec_sixsa.result.weighted": ("weighted_quantile",),
    "xspec_sixsa.result.chainfile": ("write_chain",),
    "xspec_sixsa.compare.divergence": ("jensen_shannon",),
    "xspec_sixsa.infer.importance": ("Weights", "effective_sample_size", "log_evidence", "pareto_k"),
}


def examples(module: str) -> dict[str, doctest.DocTest]:
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    return {test.name.removeprefix(f"{module}."): test for test in found if test.examples}


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module: str) -> None:
    report: list[str] = []
    for test in examples(module).values():
        doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("module", EXPLAINED)
def test_what_newcomers_look_up_has_an_example(module: str) -> None:
    assert set(EXPLAINED[module]) <= set(examples(module))


def test_a_wrong_example_fails() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=lambda text: None).failed == 1
