"""Run the examples of `examples/gallery/` and make a page of each: text, pictures, code, and what it printed.

    python docs/make_gallery.py            # those that changed since they were run
    python docs/make_gallery.py --force    # all

Each runs in a process and a folder of its own, on one core, as a user would run it. The pages and pictures go to
`docs/gallery/` and are kept there, so that a site is built without running again what has not changed. `conf.py` calls
this first.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "gallery"
GALLERY = ROOT / "docs" / "gallery"
LIMIT = 600.0  # seconds for one example, on a machine that others use too
ONE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

CARD = """\
:::{{grid-item-card}} {title}
:link: {name}
:link-type: doc
:img-top: {name}/{picture}
:::
"""
PAGE = """\
# {title}

{text}

{pictures}

```python
{code}
```

What it prints:

```text
{printed}
```

`examples/gallery/{name}.py`. It took {seconds:.0f} s, on one core beside other work.
"""
INDEX = """\
# Gallery

Each page is a script that makes its own data, fits them and draws. None needs HEASoft. All were run for this site
by `python docs/make_gallery.py`.

::::{{grid}} 1 2 2 3
:gutter: 2

{cards}
::::

```{{toctree}}
:hidden:

{names}
```
"""


def make_gallery(*, force: bool = False) -> list[Path]:
    """Make pages of the examples that have none for their present text, and the index; give back the pages made."""
    GALLERY.mkdir(exist_ok=True)
    names = [script.stem for script in sorted(EXAMPLES.glob("*.py"))]
    stale = [name for name in names if force or not up_to_date(name)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # each waits for a process that fills one core
        made = list(pool.map(make_page, stale))
    for leftover in {path.stem for path in GALLERY.iterdir()} - {*names, "index"}:
        shutil.rmtree(GALLERY / leftover, ignore_errors=True)
        (GALLERY / f"{leftover}.md").unlink(missing_ok=True)
    cards = []
    for name in names:
        title, _, _ = parts(name)
        first = sorted((GALLERY / name).glob("*.png"))[0].name
        cards.append(CARD.format(title=title, name=name, picture=first))
    write(GALLERY / "index.md", INDEX.format(cards="\n".join(cards), names="\n".join(names)))
    return made


def parts(name: str) -> tuple[str, str, str]:
    """Title, text and code of an example: the docstring's first line, the rest of it, and what follows."""
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, text = (ast.get_docstring(tree) or name).partition("\n")
    code = "\n".join(source.splitlines()[tree.body[0].end_lineno :])
    return title.strip(), text.strip(), code.strip()


def up_to_date(name: str) -> bool:
    """Whether the example was run as it is now. The package may have changed since: `--force` asks no questions."""
    stamp = GALLERY / name / "stamp"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == digest(name) and (GALLERY / f"{name}.md").is_file()


def digest(name: str) -> str:
    """What a page was made from, in short."""
    return hashlib.sha256((EXAMPLES / f"{name}.py").read_bytes()).hexdigest()


def make_page(name: str) -> Path:
    """Run one example and write its page.

    Raises
    ------
    RuntimeError
        If it fails, says nothing is reliable, or draws nothing.
    """
    print(f"running examples/gallery/{name}.py", flush=True)
    folder = GALLERY / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, str(EXAMPLES / f"{name}.py")]
        environment = os.environ | ONE_CORE | {"MPLBACKEND": "Agg"}
        start = time.perf_counter()
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=LIMIT, env=environment)
        seconds = time.perf_counter() - start
        pictures = sorted(Path(scratch).glob("*.png"))
        if done.returncode or not pictures or "UNRELIABLE" in done.stdout:
            raise RuntimeError(
                f"{name}.py ended with {done.returncode} and left {len(pictures)} pictures. It said:\n{done.stdout}\n"
                f"{done.stderr[-3000:]}"
            )
        for picture in pictures:
            shutil.copyfile(picture, folder / picture.name)
    title, text, code = parts(name)
    shown = [f"![{words(picture)}]({name}/{picture.name})" for picture in pictures]
    page = PAGE.format(
        title=title, text=text, pictures="\n\n".join(shown), code=code, printed=done.stdout.strip(), name=name,
        seconds=seconds,
    )  # fmt: skip
    write(GALLERY / f"{name}.md", page)
    write(folder / "stamp", digest(name))
    return GALLERY / f"{name}.md"


def words(picture: Path) -> str:
    """What a picture's file name says: `2_corner_with_the_line.png` is the corner with the line."""
    return picture.stem.lstrip("0123456789_").replace("_", " ")


def write(path: Path, text: str) -> None:
    """Write a text that is new: an unchanged page is not built again."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for page in make_gallery(force="--force" in sys.argv[1:]):
        print(page.relative_to(ROOT))
