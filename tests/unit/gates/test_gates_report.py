"""The page and the card: what they show, that they need nothing from outside, and that hostile text stays text."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import ArtifactStore, FileInput
from timbre.config import GateConfig
from timbre.gates.evidence import Evidence
from timbre.gates.report import style_rows
from timbre.gates.stage import judge_release
from timbre.progress import SILENT

Pages = Callable[[Any], tuple[str, str]]


@pytest.fixture
def pages(studio: Any, quick: FileInput, tmp_path: Path) -> Pages:
    def write(scene: Any) -> tuple[str, str]:
        verdict = judge_release(GateConfig(), **studio.artifacts(scene), policy=quick, store=ArtifactStore(tmp_path / "store", SILENT))
        html, markdown = (verdict.file(name).read_text() for name in ("report.html", "report.md"))
        return html, markdown

    return write


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "line", "rect", "circle", "polyline", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(html)
    assert parser.open == []
    return parser.seen


def test_page_asks_nothing_of_the_network(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    seen = tags(html)
    assert not [tag for tag, _ in seen if tag in ("script", "link", "img", "iframe", "object")]
    assert not [attrs for _, attrs in seen if {"src", "href", "xlink:href"} & attrs.keys()]
    assert "url(" not in html and "@import" not in html


def test_verdict_comes_first_and_every_gate_follows_with_its_sentence(pages: Pages, scene: Any) -> None:
    html, markdown = pages(scene)
    assert html.index("This candidate may be released.") < html.index("Held-out likelihood") < html.index("Lineage</h2>")
    assert "21 of 21 gates" in html and "21 of 21 gates" in markdown
    for title in ("Bias gap", "Facts told right", "Longest verbatim span", "Largest logit difference to torch"):
        assert title in html and title in markdown


def test_failing_gate_is_named_in_plain_words(pages: Pages, scene: Any, doctor: Any) -> None:
    html, markdown = pages(replace(scene, candidate=doctor(scene.candidate, "bias_gap", lambda _, value: value + 0.6)))
    for page in (html, markdown):
        assert "This candidate is not released." in page
        assert "Failed: Bias gap." in page


def test_page_can_be_made_of_no_evidence(pages: Pages, scene: Any) -> None:
    html, _ = pages(replace(scene, candidate=[], base=[], candidate_summary={}, base_summary={}, parity={}, admission={}))
    tags(html)
    assert "No valid evidence" in html


def test_every_chart_has_its_words(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    charts = [attrs for tag, attrs in tags(html) if tag == "svg"]
    assert len(charts) == 18 + 3  # paired and bounded gates; the learning curve's three panels
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 20 for chart in charts)


def test_text_of_a_model_or_corpus_is_never_markup(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    assert "The harbour lay &lt;still&gt; 0" in html
    assert "<still>" not in html


def test_samples_dropped_text_and_digests_are_shown(pages: Pages, scene: Any) -> None:
    html, markdown = pages(scene)
    assert "The tide drew out 0." in html and "The harbour is a place 0." in html
    assert re.search(r"too short</td><td>2<", html) and "binary" not in html
    assert len(set(re.findall(r"[0-9a-f]{64}", html))) == 8 and len(set(re.findall(r"[0-9a-f]{64}", markdown))) == 8


def test_gap_closed_counts_from_the_edge_of_the_human_band() -> None:
    def side(value: float) -> dict[str, Any]:
        return {"summary": {"style": {"mattr": {"value": value, "human": 0.5, "human_low": 0.4, "human_high": 0.6}}}}

    def closed(base: float, candidate: float) -> float | None:
        closed: float | None = style_rows(Evidence(documents={"candidate": side(candidate), "base": side(base)}))[0]["closed"]
        return closed

    assert closed(base=0.8, candidate=0.7) == pytest.approx(0.5)
    assert closed(base=0.8, candidate=0.55) == 1.0
    assert closed(base=0.8, candidate=0.2) == pytest.approx(0.0)
    assert closed(base=0.8, candidate=1.0) == pytest.approx(-1.0)
    assert closed(base=0.45, candidate=0.7) is None
