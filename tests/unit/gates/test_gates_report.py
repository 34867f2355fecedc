"""The page and the card: what they show, that they need nothing from outside, and that hostile text stays text."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.unit.gates.conftest import rich, told
from timbre.artifacts import ArtifactStore, FileInput, Input
from timbre.config import GateConfig
from timbre.gates.stage import STAGE
from timbre.gates.style_section import Side, style_rows
from timbre.progress import SILENT

Pages = Callable[[Any], tuple[str, str]]


@pytest.fixture
def full(scene: Any) -> Any:
    """A scene with everything that can be measured, and a baseline."""
    return replace(scene, candidate_summary=rich(0.02), base_summary=rich(0.0), baseline_summary=rich(0.005))


@pytest.fixture
def pages(studio: Any, quick: FileInput, tmp_path: Path) -> Pages:
    def write(scene: Any) -> tuple[str, str]:
        inputs: dict[str, Input] = {**studio.artifacts(scene), "policy": quick}
        verdict = ArtifactStore(tmp_path / "store", SILENT).build(STAGE, GateConfig(), inputs)
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
    assert not [attrs for _, attrs in seen if {"src", "xlink:href"} & attrs.keys()]
    places = {attrs["id"] for _, attrs in seen if "id" in attrs}
    assert {attrs["href"] for _, attrs in seen if "href" in attrs} == {f"#{place}" for place in places}
    assert "url(" not in html and "@import" not in html


def test_verdict_comes_first_and_every_gate_follows_with_its_sentence(pages: Pages, scene: Any) -> None:
    html, markdown = pages(scene)
    assert html.index("This candidate may be released.") < html.index("Held-out likelihood") < html.index("Lineage</h2>")
    assert "22 of 22 gates" in html and "22 of 22 gates" in markdown
    for title in ("Bias gap", "Facts told right", "Longest verbatim span", "Largest logit difference to torch"):
        assert title in html and title in markdown


def test_the_first_picture_is_the_axis_from_base_to_human(pages: Pages, full: Any) -> None:
    html, markdown = pages(full)
    first = next(attrs for tag, attrs in tags(html) if tag == "svg" and attrs.get("aria-hidden") != "true")
    assert "characters: base 0.950, SFT 0.925, DFT 0.850, human 0.510." in (first["aria-label"] or "")
    assert html.index('id="voice"') < html.index('id="gates"') and "always told apart" in html and "chance: like human text" in html
    assert "It was a <mark>testament</mark> to &lt;patience&gt;." in html and "human: A <mark>testament</mark>, he said." in html
    assert "By surprisal: not measured (needs a language model that is not the base)." in html
    assert "| characters | 0.950 [0.92, 0.97] |" in markdown
    assert "Told apart from human text by characters: base 0.950" in html


def test_figures_of_another_count_are_named_and_not_shown_beside(pages: Pages, full: Any) -> None:
    html, _ = pages(replace(full, baseline_summary=rich(0.005) | {"told_apart": told(0.9, texts=64)}))
    first = next(attrs for tag, attrs in tags(html) if tag == "svg" and attrs.get("aria-hidden") != "true")
    assert "SFT" not in (first["aria-label"] or "") and "so SFT is not shown" in html


def test_failing_gate_is_named_in_plain_words(pages: Pages, scene: Any, doctor: Any) -> None:
    html, markdown = pages(replace(scene, candidate=doctor(scene.candidate, "bias_gap", lambda _, value: value + 0.6)))
    for page in (html, markdown):
        assert "This candidate is not released." in page
        assert "Failed: Bias gap." in page


@pytest.mark.parametrize("kept", [True, False])
def test_training_that_only_harmed_is_told_on_both_pages(pages: Pages, scene: Any, kept: bool) -> None:
    for page in pages(replace(scene, learnt=scene.learnt | {"kept_untrained": kept})):
        assert ("Training only harmed:" in page and "the untrained model was kept" in page) == kept


def test_page_can_be_made_of_no_evidence(pages: Pages, scene: Any) -> None:
    html, _ = pages(replace(scene, candidate=[], base=[], candidate_summary={}, base_summary={}, parity={}, admission={}))
    tags(html)
    assert "No valid evidence" in html


def test_every_chart_has_its_words(pages: Pages, full: Any) -> None:
    html, _ = pages(full)
    charts = [attrs for tag, attrs in tags(html) if tag == "svg" and attrs.get("aria-hidden") != "true"]
    assert len(charts) == 1 + 1 + 14 + 3 + 1 + 1 + 3  # axis, forest, limits, learning, radar, sentence lengths, ranks of three writers
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 20 for chart in charts)
    radar = next(chart["aria-label"] or "" for chart in charts if chart.get("class") == "radar")
    assert "DFT: 0 of 6 metrics in the human band, furthest sentence lengths 7.0σ" in radar and "SFT: 2 of 6" in radar


def test_base_baseline_candidate_and_human_stand_side_by_side(pages: Pages, full: Any) -> None:
    html, markdown = pages(full)
    assert re.search(r"<h3>Human</h3>.*?<h3>Base</h3>.*?<h3>SFT</h3>.*?The sea, the sea 0.*?<h3>DFT</h3>.*?The tide drew out 0", html, re.S)
    assert "| metric | human | base | SFT | DFT | gap closed |" in markdown
    assert "Style: 0 of 6 metrics of DFT lie within the human band (base 2, SFT 2)." in html.replace("&#39;", "'")


def test_whatever_was_measured_is_shown_and_what_was_not_is_named(pages: Pages, full: Any) -> None:
    html, markdown = pages(full)
    assert "It was <mark>A testament to</mark> &lt;patience&gt;." in html
    assert "Questions answered, by topic" in html and "Texts about one group and another: sentiment" in html
    assert "1 of 100 texts by a lexicon." in html and "3.88" in html
    for page in (html, markdown):
        assert "needs the sentence encoder" in page and "not asked for" in page


def test_what_was_not_measured_leaves_no_empty_section(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    for heading in ("Overused", "Sentences and tokens", "By category"):
        assert heading not in html
    assert "SFT" not in html and "sentences that open alike: these texts give no value" in html


def test_curve_starts_before_the_first_step_and_axes_are_named(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    assert "4.31 at step 0 → 4.06 at step 7" in html
    assert "NLL of general answers, nats/token" in html and "KL to the target, nats/token" in html


def test_a_loss_within_the_margin_is_called_a_loss(pages: Pages, scene: Any, doctor: Any) -> None:
    html, markdown = pages(replace(scene, candidate=doctor(scene.candidate, "fact_margin", lambda _, value: value - 0.2)))
    for page in (html, markdown):
        assert "This candidate may be released." in page
        assert "Measurably worse than base, though within the margin: Lead of true over false (−0." in page
        assert "A measured loss, within the margin of 0.5 nats." in page
    assert "▼ PASS, a measured loss" in html and "| PASS, a measured loss |" in markdown


def test_what_zero_cannot_be_told_from_is_not_called_better(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    assert "Not told apart from base (" in html
    assert len(re.findall(r"<summary>(?:Better|Worse) than base", html)) == 1  # the likelihood


def test_text_of_a_model_or_corpus_is_never_markup(pages: Pages, scene: Any) -> None:
    html, _ = pages(scene)
    assert "The harbour lay &lt;still&gt; 0" in html
    assert "<still>" not in html


def test_samples_dropped_text_and_digests_are_shown(pages: Pages, scene: Any) -> None:
    html, markdown = pages(scene)
    assert "The tide drew out 0." in html and "The harbour is a place 0." in html
    assert re.search(r"too short</th><td[^>]*>2<", html) and "binary" not in html
    assert len(set(re.findall(r"[0-9a-f]{64}", html))) == 8 and len(set(re.findall(r"[0-9a-f]{64}", markdown))) == 8


def test_gap_closed_counts_from_the_edge_of_the_human_band() -> None:
    def side(value: float) -> Side:
        return Side("one", "base", {"style": {"mattr": {"value": value, "human": 0.5, "human_low": 0.4, "human_high": 0.6}}})

    def closed(base: float, candidate: float) -> float | None:
        closed: float | None = style_rows([side(base), side(candidate)])[0]["closed"]
        return closed

    assert closed(base=0.8, candidate=0.7) == pytest.approx(0.5)
    assert closed(base=0.8, candidate=0.55) == 1.0
    assert closed(base=0.8, candidate=0.2) == pytest.approx(0.0)
    assert closed(base=0.8, candidate=1.0) == pytest.approx(-1.0)
    assert closed(base=0.45, candidate=0.7) is None
