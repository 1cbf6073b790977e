"""What the documentation says of the project is so."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import xspec_sixsa
from xspec_sixsa.products.publish import references

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "api").glob("*.md")])
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
EXAMPLES = sorted((ROOT / "examples" / "gallery").glob("*.py"))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    """A script of `docs/`, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return pytest.importorskip("yaml").safe_load(text(ROOT / "CITATION.cff"))


def test_citation_has_this_version(citation: dict[str, Any]) -> None:
    assert str(citation["version"]) == xspec_sixsa.__version__
    assert (citation["cff-version"], citation["type"], citation["license"]) == ("1.2.0", "software", "BSD-3-Clause")


def test_citation_names_what_sixsa_cite_names(citation: dict[str, Any]) -> None:
    def who(authors: list[dict[str, str]]) -> tuple[str, ...]:
        return tuple(a.get("name") or f"{a['family-names']}, {a['given-names']}" for a in authors)

    entries = [citation["preferred-citation"], *citation["references"]]
    assert all(entry["title"] for entry in entries)
    named = references()
    assert {r.authors for r in named} <= {who(entry["authors"]) for entry in entries}
    assert {r.doi for r in named if r.doi} == {citation["preferred-citation"]["doi"]}


def test_the_map_shows_the_imports_that_are_there() -> None:
    pytest.importorskip("grimp")
    draw_map = script("draw_map")
    drawn, now = draw_map.drawn_rooms(), draw_map.read_rooms()
    hint = "the map is out of date: python docs/draw_map.py"
    assert [(room.name, room.imports) for room in drawn] == [(room.name, room.imports) for room in now], hint
    # a room may grow by a few modules before its number in the picture misleads
    assert all(abs(a.modules - b.modules) <= 2 + 0.15 * b.modules for a, b in zip(drawn, now, strict=True)), hint


def test_contributing_names_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / "xspec_sixsa").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)` \|", text(ROOT / "CONTRIBUTING.md"), re.M))


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "CHANGELOG"], ids=lambda path: path.name)
def test_names_in_the_pages_exist(page: Path) -> None:
    for name in set(re.findall(r"\bxspec_sixsa((?:\.[A-Za-z_]\w*)+)", text(page))):
        thing: Any = xspec_sixsa
        path = "xspec_sixsa"
        for part in name[1:].split("."):
            path += f".{part}"
            try:
                thing = importlib.import_module(path)
            except ImportError:
                assert hasattr(thing, part), f"{page.name}: there is no {path}"
                thing = getattr(thing, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_pages_link_to_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page)):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_hold_no_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(text(path))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_gallery_examples_are_short_and_say_how_far_to_trust_them(path: Path) -> None:
    words = ast.get_docstring(ast.parse(text(path))) or ""
    title, empty, _ = words.split("\n", 2)
    assert title and not empty and "**How far to trust it.**" in words
    code = text(path).count("\n") - words.count("\n")
    assert code <= 45  # 20 to 40 lines that one reads, and the imports
    assert "xspec_sixsa import xspec" in text(path)  # real XSPEC or the engine, whichever is there


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_gallery_shows_the_examples_as_they_are(path: Path) -> None:
    gallery = script("make_gallery")
    assert gallery.up_to_date(path.stem), "run `python docs/make_gallery.py`, and look at the pictures"
    page = text(gallery.GALLERY / f"{path.stem}.md")
    pictures = re.findall(r"\]\((\S+\.png)\)", page)
    assert pictures and all((gallery.GALLERY / picture).is_file() for picture in pictures)


def test_what_the_site_needs_is_pinned() -> None:
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    extra = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]["docs"]
    needed = {re.split(r"[>=;\[]", item)[0] for item in extra} - {"xspec_sixsa"}
    pinned = {line.split("==")[0].lower() for line in text(ROOT / "constraints.txt").splitlines() if "==" in line}
    assert needed and {name.replace("-", "_") for name in needed} <= {name.replace("-", "_") for name in pinned}
