"""Settings of the site: `sphinx-build -W --keep-going -b html docs docs/_build/html`, or `.ci/docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_gallery import make_gallery

from xspec_sixsa import __version__

project = "xspec_sixsa"
author = "the xspec_sixsa developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_nb",  # the Markdown pages, and the notebooks, which are run
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/*/*"]
default_role = "py:obj"  # `Result.flux` in a docstring is a link where there is such a thing

html_theme = "furo"
html_title = f"xspec_sixsa {version}"
html_static_path: list[str] = []
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Notebooks hold no outputs: a build runs them, on the embedded engine, in a folder of their own.
nb_execution_mode = os.environ.get("SIXSA_NOTEBOOKS", "cache")  # or "off"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say the types, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

copybutton_prompt_text = r">>> |\.\.\. |\$ |XSPEC12>"
copybutton_prompt_is_regexp = True

# One core for each process: several at once would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def setup(app: Any) -> None:
    """Run the gallery's examples before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: make_gallery())
