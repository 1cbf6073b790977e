"""The page of a run, the table for the paper, and whom to cite."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_result import gaussian_result

from xspec_sixsa.interfaces import cli
from xspec_sixsa.products import publish
from xspec_sixsa.products.plots import cost_plot
from xspec_sixsa.products.report import illustrate, write_report
from xspec_sixsa.result import Result

VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """A page's text, attributes and elements; refuses elements that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def fitted(**changes: object) -> Result:
    """A result with the fingerprint of a real run."""
    print_ = {
        "spectra": [
            {
                "file": "/data/a.pha{2}", "background": "/data/b.pha", "responses": {"1": ["/data/r.rmf", ""]},
                "group": 1, "noticed": "5-60", "exposure": 20265.0, "statistic": "cstat", "systematic": 0.0,
            }
        ],
        "models": {"": "TBabs(bbodyrad + powerlaw)"},
        "frozen": {"Redshift__9": 0.05},
        "links": {},
        "abund": "wilm",
        "xsect": "vern",
        "cosmo": [70.0, 0.0, 0.73],
        "priors": {"priors": [{"parameters": ["nH__1"], "kind": "uniform", "low": 0.0, "high": 0.5}]},
    }  # fmt: skip
    return gaussian_result(fingerprint=print_, **changes)


def page(result: Result, folder: Path) -> Page:
    return Page(write_report(result, folder, []).read_text(encoding="utf-8"))


def test_the_page_is_one_file_that_needs_neither_network_nor_scripts(tmp_path: Path) -> None:
    made = illustrate(fitted(), tmp_path)
    assert made[-1].name == "report.html"
    text = made[-1].read_text(encoding="utf-8")
    found = Page(text)
    assert not re.search(r"https?://|@import|url\(", text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    pictures = [attributes for tag, attributes in found.elements if tag == "img"]
    assert len(pictures) == 5
    for attributes, path in zip(pictures, made, strict=False):
        kind, data = attributes["src"].split(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data) == path.read_bytes()
        assert attributes["alt"]


def test_the_verdict_comes_first_in_plain_words(tmp_path: Path) -> None:
    good = page(fitted(), tmp_path).text
    assert good.index("RELIABLE") < good.index("These numbers can be used") < good.index("Parameters")
    bad = page(fitted(status="unreliable", reasons=["k-hat 0.83 > 0.70 <b>"]), tmp_path).text
    assert bad.index("UNRELIABLE") < bad.index("Do not use these numbers") < bad.index("k-hat 0.83 > 0.70 <b>")
    assert bad.index("What to do") < bad.index("Parameters")


def test_a_large_k_hat_of_nearly_equal_weights_is_explained(tmp_path: Path) -> None:
    words = page(fitted(k_hat=0.97), tmp_path).text
    assert "k-hat 0.97 would be too much for weights that differ" in words
    assert "of the evidence is expected beyond the largest" in words
    assert "would be too much" not in page(fitted(k_hat=0.3), tmp_path).text
    line = "draws; k-hat 0.97 (no matter: that tail holds next to nothing)"
    assert line in str(fitted(k_hat=0.97)) and line not in str(fitted(k_hat=0.97, status="unreliable", reasons=["it"]))


def test_emulated_draws_are_not_called_exact(tmp_path: Path) -> None:
    result = fitted(k_hat=0.97, control={"exact": 150, "shift": 0.3, "remaining": 0.0})
    made = [path.stem for path in illustrate(result, tmp_path)]
    assert "weights" in made and "cost" not in made
    with pytest.raises(ValueError, match="emulated and cost no evaluation"):
        cost_plot(result, tmp_path / "cost.png")
    words = page(result, tmp_path).text
    assert f"150 exact evaluations, which correct {len(result.samples):,} emulated draws, are worth" in words
    assert "emulated, and set right by XSPEC's own fit statistic" in words and "posterior is exact" not in words
    assert "k-hat 0.97 is no matter" in words
    assert "which 150 evaluations of XSPEC's own fit statistic correct" in publish.citation(result)
    assert "made exact by importance weights" in publish.citation(fitted())


def test_a_truth_is_marked_in_the_corner_plot(tmp_path: Path) -> None:
    for truth, marked in ((dict.fromkeys(fitted().names, 0.5), True), (None, False)):
        illustrate(fitted(), tmp_path, "svg", only=["corner"], truth=truth)
        assert ("<!-- truth -->" in (tmp_path / "corner.svg").read_text()) == marked


def test_the_page_holds_numbers_cost_and_provenance(tmp_path: Path) -> None:
    result = fitted()
    text = page(result, tmp_path).text
    low, mid, high = result.quantile([0.16, 0.5, 0.84])[:, 0]
    assert f"{mid:.3f} +{high - mid:.3f} \N{MINUS SIGN}{mid - low:.3f}" in text  # two digits of errors of about 0.010
    assert "uniform 0 to 0.5" in text and "10²² cm⁻²" in text
    assert "× 10⁻⁴" in text  # the norm, 2.6e-4
    assert "prior 500 importance 4,000 in all 4,500" in text and "training 10.0 s" in text
    assert "a.pha" in text and "r.rmf" in text and "b.pha" in text and "Redshift__9 = 0.05" in text
    assert "--seed 7" in text and "xspec_sixsa 0.1.0" in text
    assert "/data/" not in text  # somebody else's folders are no use, and none of a reader's business


def test_the_common_norm_is_reported_apart(tmp_path: Path) -> None:
    found = {"norms": ["norm__5"], "ess": 1500.0, "gain": 0.25, "log_z": -12.5, "log_z_err": 0.01}
    result = fitted(common_norm=found)
    assert "Common norm integrated 1500 effective samples (+25.0 %), ln Z −12.500 ± 0.010; reported apart" in (
        page(result, tmp_path).text
    )
    assert "Common norm integrated         ESS 1500 (+25.0 %), log Z -12.500 +- 0.010; apart" in result.summary()
    result.save(tmp_path)
    assert Result.load(tmp_path).common_norm == found
    without = fitted(common_norm={"why_not": "spectrum 1 is scored by chi"})
    assert "Common norm" not in page(without, tmp_path).text + without.summary()
    assert without.as_dict()["common_norm"] == {"why_not": "spectrum 1 is scored by chi"}


def test_the_page_is_the_same_for_a_result_that_was_saved_and_loaded(tmp_path: Path) -> None:
    result = fitted()
    before = page(result, tmp_path / "a").text
    after = page(Result.load(result.save(tmp_path / "b")), tmp_path / "a").text
    clock = re.compile(r"on \d{4}-\d\d-\d\d \d\d:\d\d")
    assert clock.sub("", before) == clock.sub("", after)


def test_a_run_without_posterior_gets_its_page_all_the_same(tmp_path: Path) -> None:
    empty = fitted(status="unreliable", reasons=["the model failed everywhere"], rounds=[], predictive_data=[])
    empty.log_weights[:] = -np.inf
    assert [path.name for path in illustrate(empty, tmp_path)] == ["report.html"]
    assert "no posterior to describe" in Page((tmp_path / "report.html").read_text()).text


def test_pictures_are_drawn_for_the_page_where_none_are_given(tmp_path: Path) -> None:
    path = fitted().report(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text().count("data:image/png;base64,") == 5


def test_a_result_saved_nowhere_needs_a_folder() -> None:
    with pytest.raises(ValueError, match="needs a folder"):
        fitted().report()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="a browser needed: chromium is not installed")
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen_in_a_real_browser(tmp_path: Path, width: int) -> None:
    illustrate(fitted(), tmp_path)
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe src="report.html" style="width:{width}px;border:0" onload="'
        "const d = this.contentDocument, e = d.documentElement; document.title = e.scrollWidth - e.clientWidth + ' ' + "
        '[...d.images].every(i => i.naturalWidth > 0)"></iframe>'
    )
    out = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "<title>0 true</title>" in out


def test_the_shell_writes_the_page_and_cites(tmp_path: Path) -> None:
    fitted(status="unreliable", reasons=["interrupted"]).save(tmp_path)
    run = CliRunner().invoke(cli.main, ["report", str(tmp_path)])
    assert run.exit_code == 3 and (tmp_path / "report.html").is_file()
    cited = CliRunner().invoke(cli.main, ["cite", str(tmp_path)]).output
    assert "(Barret & Dupourqué 2026) proposed" in cited
    assert "Barret, D. & Dupourqué, S. 2026, A&A 708, A280 (arXiv:2512.16709)" in cited
    assert "Wachter, K., Leach, R. & Kellogg, E. 1979" in cited  # cstat, background
    assert "Wilms" in cited and "Verner" in cited and "4,500 evaluations" in cited
    assert "in rounds" in cited and "2405.13220" not in cited
    assert "emulator of the model's spectra (Chung et al. 2024)" in publish.citation(fitted(emulator={"error": 0.1}))
    entries = CliRunner().invoke(cli.main, ["cite", "--bibtex"]).output
    assert r"howpublished = {A\&A 708, A280 (arXiv:2512.16709)}" in entries
    assert entries.count("doi = {10.1051/0004-6361/202557639}") == entries.count("doi = ") == 1
    assert entries.count("@misc{") == entries.count("author = {") == 4 and "Wilms" not in entries


def test_numbers_for_latex_are_rounded_to_their_errors() -> None:
    assert publish.latex_value(0.0923, 0.0711, 0.1121) == "$0.092^{+0.020}_{-0.021}$"
    assert publish.latex_value(2.4508e-4, 2.2547e-4, 2.6443e-4) == r"$(2.45^{+0.19}_{-0.20})\times10^{-4}$"
    assert publish.latex_value(-6.2e22, 1e21) == r"$-6.20\times10^{22}$"
    assert publish.latex_value(1.5, 0.01) == "$1.500$"


def test_the_latex_table_has_a_row_a_parameter_and_names_an_unreliable_run() -> None:
    table = fitted().to_latex()
    rows = [line for line in table.splitlines() if line.startswith("  ") and "Component" not in line]
    assert [row.split("&")[1].strip() for row in rows] == ["nH", "kT", "norm"]
    assert all(row.endswith(r"\\") and row.count("&") == 4 for row in rows)
    assert table.count("{") == table.count("}") and table.count("$") % 2 == 0
    bad = fitted(status="unreliable", reasons=["k-hat 0.83 > 0.70, 5 % of it"]).to_latex()
    assert r"UNRELIABLE: k-hat 0.83 $>$ 0.70, 5 \% of it" in bad
