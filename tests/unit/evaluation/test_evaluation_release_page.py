"""What a release's page says of style: the score with its interval, gap closed against one base, plain samples beside served ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, browser
from tests.unit.gates.conftest import POLICIES, Scene, Studio, rich
from tests.unit.gates.test_gates_report import tags
from timbre.artifacts import ArtifactStore, FileInput, Input
from timbre.config import GateConfig
from timbre.gates.figures import single_figures
from timbre.gates.stage import STAGE
from timbre.gates.style_section import Side, sampler_in_words, style_rows
from timbre.progress import SILENT

Summary = dict[str, Any]
SERVED = {"temperature": 1.0, "top_p": 0.95, "top_k": 0}


def plain(summary: Summary, shift: float) -> Summary:
    style = {name: {**figure, "value": figure["value"] + shift} for name, figure in summary["style"].items()}
    return summary | {"style_plain": style, "sampler": SERVED}


def scene() -> Scene:
    score = {"value": 63.4, "low": 55.1, "high": 70.2, "definition": "group means"}
    candidate = plain(rich(0.02), 0.3) | {"diversity_score": score, "gap_closed": {"mattr": 0.25, "self_bleu": None}}
    return replace(Scene(), candidate_summary=candidate, base_summary=plain(rich(0.0), 0.5), baseline_summary=rich(0.005))


@pytest.fixture
def pages(tmp_path: Path) -> Callable[[Scene], tuple[str, str]]:
    def write(scene: Scene) -> tuple[str, str]:
        inputs: dict[str, Input] = {**Studio(tmp_path / "studio").artifacts(scene), "policy": FileInput(POLICIES / "quick.toml")}
        verdict = ArtifactStore(tmp_path / "store", SILENT).build(STAGE, GateConfig(), inputs)
        html, markdown = (verdict.file(name).read_text() for name in ("report.html", "report.md"))
        return html, markdown

    return write


def test_score_stands_with_its_interval(pages: Any) -> None:
    html, markdown = pages(scene())
    tags(html)
    assert '63.4 <span class="figures">[55.1, 70.2]</span>' in html and "In brackets: 95% intervals." in html
    assert "63.4 [55.1, 70.2]" in markdown
    without = single_figures([Side("base", "base", {"diversity_score": {"value": 5.0, "low": None, "high": None}, "empty_texts": 2})])
    assert [row["spans"] for row in without] == [[None], [None]]


def test_gap_closed_is_the_summarys_against_the_base_that_it_names(pages: Any) -> None:
    html, markdown = pages(scene())
    assert "sampled at temperature 1, nothing cut off)" in html and "sampled at temperature 1, nothing cut off)" in markdown
    sides = [Side("base", "base", scene().base_summary), Side("DFT", "candidate", scene().candidate_summary)]
    closed = {row["metric"]: row["closed"] for row in style_rows(sides)}
    assert closed["variety of words"] == 0.25 and closed["phrases that texts share"] is None and closed["how far texts compress"] is None, (
        "no second base in the column"
    )


def test_without_the_summarys_or_with_another_rival_the_page_counts_and_says_against_what(pages: Any) -> None:
    summary = {key: value for key, value in scene().candidate_summary.items() if key != "gap_closed"}
    html, _ = pages(replace(scene(), candidate_summary=summary))
    assert "sampled as it is served (temperature 1, top p 0.95))" in html
    rival = [Side("v3", "base", scene().base_summary), Side("v5", "candidate", scene().candidate_summary)]
    assert style_rows(rival)[0]["closed_against"].startswith("as it is served")
    assert sampler_in_words({"temperature": 0.8, "top_p": 1, "top_k": 40}) == "temperature 0.8, top k 40"


def test_plain_samples_stand_beside_served_ones_and_only_where_there_are_any(pages: Any) -> None:
    html, _ = pages(scene())
    table = html[html.index("Served, and sampled plainly") :]
    table = table[: table.index("</table>")]
    assert "<th>served</th><th>plain</th><th>base, plain</th>" in table
    mattr = table[table.index("variety of words") :]
    assert [mattr.index(number) for number in ("0.82", "1.12", "1.3")] == sorted(mattr.index(n) for n in ("0.82", "1.12", "1.3"))
    without, _ = pages(replace(scene(), candidate_summary=rich(0.02)))
    assert "sampled plainly" not in without


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")
def test_plain_samples_fit_a_telephone_in_the_dark(pages: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(pages(scene())[0])
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        page.size(400, 800, "dark")
        page.open(tmp_path / "report.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        table = "document.querySelector('[aria-label=\"Served and plain samples\"]')"
        assert page.evaluate(f"{table}.scrollWidth <= {table}.clientWidth"), "no scrolling inside either"
        assert page.evaluate(f"getComputedStyle({table}.querySelector('td.us')).color") == "rgb(92, 194, 182)"
