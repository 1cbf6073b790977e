"""Draw `docs/map.png`, the rooms of the package and who imports whom, from the code as it is.

    python docs/draw_map.py           # needs the extra `test` (grimp, which import-linter brings, and matplotlib)

The order of the rooms is that of the contract in pyproject.toml, the words are the first line of each room's docstring,
and the lines are the imports that are there. What was drawn is written into the picture's metadata as JSON, so that
`tests/test_docs.py` can tell when the picture is out of date.
"""

from __future__ import annotations

import ast
import json
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import grimp
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "xspec_sixsa"
PICTURE = ROOT / "docs" / "map.png"
KEY = "Description"  # of the PNG's text chunk

# Okabe & Ito's colours, which most colour-blind eyes tell apart, and a few quiet ones.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C6D31", "#555555")
WIDTH, HEIGHT, GAP = 5.4, 0.60, 0.24  # of a box, and between two of them: inches
LANE = 0.27  # between two lines: inches
ARROW = {"arrowstyle": "-|>", "color": "0.72", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}


@dataclass(frozen=True)
class Room:
    """One package: how many modules it has, and the rooms it imports from, top to bottom."""

    name: str
    modules: int
    imports: tuple[str, ...]


def read_rooms() -> list[Room]:
    """The rooms from top to bottom, as the code has them now."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    order = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    members: dict[str, list[str]] = {name: [] for name in order}
    for module in graph.modules:
        if "." in module:
            members[module.split(".")[1]].append(module)
    found = []
    for name in order:
        targets = {target for module in members[name] for target in graph.find_modules_directly_imported_by(module)}
        rooms = {target.split(".")[1] for target in targets if "." in target} - {name}
        found.append(Room(name, len(members[name]), tuple(other for other in order if other in rooms)))
    return found


def drawn_rooms(path: Path = PICTURE) -> list[Room]:
    """The rooms that a picture was drawn from."""
    with Image.open(path) as picture:
        stored = json.loads(picture.text[KEY])
    return [Room(entry["name"], entry["modules"], tuple(entry["imports"])) for entry in stored]


def purpose(name: str) -> str:
    """First line of a room's docstring."""
    source = (ROOT / PACKAGE / name / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def draw(rooms: list[Room], path: Path = PICTURE) -> None:
    """Draw boxes from top to bottom; each room's line goes down, and has a dot where it imports."""
    n = len(rooms)
    step = HEIGHT + GAP
    width, height = WIDTH + LANE * (n + 1) + 0.35, n * step + 0.75
    figure = Figure(figsize=(width, height), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-0.15, width - 0.15), ylim=(-n * step - 0.35, 0.4), aspect="equal")
    axes.set_axis_off()
    index = {room.name: i for i, room in enumerate(rooms)}
    top = [-i * step for i in range(n)]
    enters = [y - 0.30 * HEIGHT for y in top]  # imports of this room come in here
    leaves = [y - 0.72 * HEIGHT for y in top]  # and its own imports go out here
    lane = [WIDTH + LANE * (n - i) for i in range(n)]  # the upper the room, the further right: no lines to cross

    for i, room in enumerate(rooms):
        users = [j for j in range(i) if room.name in rooms[j].imports]
        if users:
            axes.annotate("", (WIDTH + 0.02, enters[i]), (lane[min(users)], enters[i]), zorder=1, arrowprops=ARROW)
    for i, room in enumerate(rooms):
        colour = COLOURS[i % len(COLOURS)]
        box = FancyBboxPatch((0, top[i] - HEIGHT), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.07",
                             facecolor="white", edgecolor=colour, linewidth=1.4, zorder=2)  # fmt: skip
        axes.add_patch(box)
        axes.text(0.14, top[i] - HEIGHT / 2, room.name, fontsize=12.5, fontweight="bold", va="center", color=colour)
        axes.text(1.52, top[i] - HEIGHT / 2, textwrap.fill(purpose(room.name), 58), fontsize=8, va="center",
                  linespacing=1.25, color="0.15")  # fmt: skip
        axes.text(WIDTH - 0.1, top[i] - HEIGHT / 2, f"{room.modules}", fontsize=8.5, va="center", ha="right",
                  color="0.45")  # fmt: skip
        if not room.imports:
            continue
        lowest = max(index[name] for name in room.imports)
        axes.plot([WIDTH, lane[i], lane[i]], [leaves[i], leaves[i], enters[lowest]], color=colour, linewidth=1.6,
                  solid_joinstyle="round", zorder=3)  # fmt: skip
        places = [enters[index[name]] for name in room.imports]
        axes.plot([lane[i]] * len(places), places, "o", color=colour, markersize=5.2, zorder=4)
    axes.text(0, 0.16, f"{PACKAGE}: rooms, and who imports whom", fontsize=11, va="bottom", color="0.1")
    axes.text(WIDTH - 0.1, 0.10, "modules", fontsize=7.4, va="bottom", ha="right", color="0.45")
    axes.text(0, -n * step + 0.12, "Follow a room's line down: it imports from every room where the line has a dot. "
              "Nothing imports upwards.", fontsize=8, va="top", color="0.25")  # fmt: skip
    figure.savefig(path, metadata={KEY: json.dumps([asdict(room) for room in rooms])})


if __name__ == "__main__":
    draw(read_rooms())
    print(PICTURE)
