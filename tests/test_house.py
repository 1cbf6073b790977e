"""The house reads one way: rooms import downwards, nothing in a circle, nothing late but for what is heavy."""

from __future__ import annotations

import ast
import functools
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import xspec_sixsa

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xspec_sixsa"
HEAVY = {
    "arviz", "astropy", "bxa", "corner", "distributed", "getdist", "jinja2", "matplotlib", "nautilus", "pandas", "sbi",
    "scipy", "sklearn", "torch", "tqdm", "ultranest", "xspec", "xspectrampoline", "zuko",
}  # fmt: skip
"""Third-party modules that may be imported late: they take long, or are optional."""
BY_VERSION = {"tomli", "tomllib"}
"""One or the other, by the version of Python."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


@functools.cache
def imports(module: str) -> list[tuple[str, int, bool]]:
    """Module imported, line, and whether inside a function, of every import that is not for type checkers only."""

    def walk(node: ast.AST, late: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level and child.module is not None, f"{module}:{child.lineno} is relative"
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    yield (whole if whole in MODULES else child.module), child.lineno, late
            yield from walk(child, late or isinstance(child, (ast.FunctionDef, ast.Lambda)))

    return list(walk(ast.parse(MODULES[module].read_text(encoding="utf-8")), False))


@functools.cache
def loads_heavy(module: str) -> bool:
    """Whether importing a module of ours imports a heavy one, by whatever way."""
    waiting, seen = [module], {"xspec_sixsa"}
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if one not in MODULES:
            if one.split(".")[0] in HEAVY:
                return True
            continue
        names = [one, *(name for name, _, late in imports(one) if not late)]
        # with a module its packages are imported
        for name in names:
            parts = name.split(".")
            waiting += [".".join(parts[:k]) for k in range(1, len(parts) + 1)]
    return False


def test_rooms_import_downwards_and_nothing_in_a_circle() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_what_is_heavy_is_imported_late(module: str) -> None:
    late = {
        f"line {line}: {name}"
        for name, line, is_late in imports(module)
        if is_late and name.split(".")[0] not in HEAVY | BY_VERSION and not (name in MODULES and loads_heavy(name))
    }
    assert not late


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    block = next(node for node in ast.parse(text).body if isinstance(node, ast.If))
    told = {alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told - {"ModuleType"} == set(xspec_sixsa._HOMES)
    assert {*told - {"ModuleType"}, "xspec", "__version__"} == set(xspec_sixsa.__all__)
    for name, home in xspec_sixsa._HOMES.items():
        assert hasattr(importlib.import_module(f"xspec_sixsa.{home}"), name)
    assert (PACKAGE / "py.typed").is_file()
