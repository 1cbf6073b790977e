"""Results in notebooks: pieces of HTML without scripts or style sheets, for light and dark pages alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from xspec_sixsa.result.summary import HEAD, NO_POSTERIOR, numbers, parameter_rows

if TYPE_CHECKING:
    from xspec_sixsa.result.result import Result

__all__ = ["html_badge", "html_list", "html_table", "summary_html"]

# White on these can be read whatever the page's own colours are; all other text has the page's.
GREEN, RED, GREY = "#2e7d32", "#b3261e", "#5f6368"
BADGE = "color:#fff;padding:.15em .6em;border-radius:.3em;font-weight:bold"
CELL = "padding:.2em .8em;border-bottom:1px solid rgba(128,128,128,.35)"


def summary_html(result: Result) -> str:
    """What `summary_text` says: verdict first, then parameters, evidence and cost."""
    reasons = result.reasons or ([] if result.reliable else ["no reason was recorded"])
    rows = parameter_rows(result)
    if (result.weights > 0).any():
        table = html_table([("parameter", "chain name", *HEAD), *rows], left=3)
    else:
        table = f"<p>{NO_POSTERIOR}</p>" + html_table([("parameter", "chain name"), *rows], left=2)
    return "\n".join(
        [
            "<div>",
            html_badge(result.status.upper(), result.reliable),
            html_list(reasons),
            table,
            html_list(f"Note: {edge}" for edge in result.prior_edges),
            html_table(numbers(result), left=2, head=False),
            "</div>",
        ]
    )


def html_badge(verdict: str, good: bool | None) -> str:
    """A verdict on green, red, or grey (None), escaped."""
    colour = GREY if good is None else GREEN if good else RED
    return f'<p><span style="background:{colour};{BADGE}">{escape(verdict)}</span></p>'


def html_table(rows: Sequence[Sequence[str]], *, left: int = 1, head: bool = True) -> str:
    """Rows of text as a table; everything is escaped.

    Parameters
    ----------
    rows : sequence of sequences of str
    left : int, default 1
        Columns that are flush left; the others are flush right.
    head : bool, default True
        Whether the first row is the head.
    """
    lines = ['<table style="border-collapse:collapse;margin:.5em 0">']
    for i, row in enumerate(rows):
        tag = "th" if head and i == 0 else "td"
        cells = (
            f'<{tag} style="{CELL};text-align:{"left" if k < left else "right"}">{escape(cell)}</{tag}>'
            for k, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table>"])


def html_list(lines: Iterable[str]) -> str:
    """Lines of text as a list, escaped; nothing for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
