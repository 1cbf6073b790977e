"""`overview.html`: all spectra of a survey on one page, pictures first."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa import __version__
from xspec_sixsa.common.files import atomic_path
from xspec_sixsa.products.plots.overview import plot_overview
from xspec_sixsa.result.summary import format_value
from xspec_sixsa.survey.folder import SPECTRA

if TYPE_CHECKING:
    from xspec_sixsa.survey.survey import Survey

__all__ = ["PAGE", "write_overview"]

PAGE, PICTURE = "overview.html", "overview.png"
MOST_ROWS = 2000  # that a page shows; the catalogue has all


def write_overview(survey: Survey, names: list[str], labels: list[str], units: list[str]) -> Path:
    """Write the page and its picture beside the catalogue.

    Parameters
    ----------
    survey : Survey
    names, labels, units : list of str
        Of the parameters: chain names, what XSPEC shows, XSPEC's units.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    table, folder = survey.catalogue, survey.output
    picture = None
    if (np.asarray(table["status"]) != "failed").any():
        made = plot_overview(table, names, labels, units, folder / PICTURE)
        picture = base64.b64encode(made.read_bytes()).decode("ascii")
    environment = Environment(
        loader=PackageLoader("xspec_sixsa.products"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("overview.html").render(
        survey=survey,
        total=sum(survey.evaluations.values()),
        picture=picture,
        heads=list(zip(labels, units, strict=True)),
        rows=[_cells(row, names) for row in table[:MOST_ROWS]],
        more=max(len(table) - MOST_ROWS, 0),
        spectra=SPECTRA,
        version=__version__,
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder / PAGE


def _cells(row: Any, names: list[str]) -> dict[str, Any]:
    values = []
    for name in names if row["status"] != "failed" else ():
        middle, low, high = (float(row[f"{name}_{kind}"]) for kind in ("median", "low68", "high68"))
        values.append([format_value(x, (high - low) / 2) for x in (middle, high - middle, middle - low)])
    notes = [str(row[key]) for key in ("reasons", "flags") if key in row.colnames and str(row[key])]
    return {"name": str(row["name"]), "status": str(row["status"]), "values": values, "notes": "; ".join(notes)}
