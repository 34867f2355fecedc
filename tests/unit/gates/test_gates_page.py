"""The release page in Debian's Chromium, at several widths, in light and dark, and on paper."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Page, browser
from tests.unit.gates.conftest import Scene, Studio, rich
from timbre.artifacts import FileInput
from timbre.gates.comparison import compare

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")]
POLICY = Path(__file__).resolve().parents[3] / "mlflow" / "policies" / "quick.toml"
_TRANSPARENT = "rgba(0, 0, 0, 0)"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a scene in which all is measured, with words that are as long as words may be."""
    folder = tmp_path_factory.mktemp("page")
    long = rich(0.02)
    long["overused"][0] |= {"phrase": "an" * 40, "example": "An" * 120}
    long["toxicity"]["sentence"] = "W" * 200
    scene = replace(Scene(), candidate_summary=long, base_summary=rich(0.0), baseline_summary=rich(0.005))
    compare(Studio(folder).artifacts(scene), FileInput(POLICY), ("v5", "v3"), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    with browser(folder / "profile", folder / "downloads") as tab:
        yield tab


def test_nothing_is_asked_of_the_network_and_nothing_is_complained_of(page: Page, path: Path) -> None:
    page.open(path)
    assert set(page.requested) - {"about:blank"} == {path.as_uri()}
    assert page.errors == []


@pytest.mark.parametrize("width", [320, 400, 900, 1600])
def test_no_width_makes_the_page_scroll_sideways(page: Page, path: Path, width: int) -> None:
    page.size(width, 800)
    page.open(path)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = (
        "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.wide, svg'))"
    )
    assert page.evaluate(f"{cut}.map(e => e.outerHTML.slice(0, 80))") == []
    assert page.evaluate("[...document.querySelectorAll('.wide')].every(box => box.tabIndex === 0 && box.getAttribute('aria-label'))")


def test_base_tuned_and_human_stand_beside_one_another_or_below_one_another_where_there_is_no_room(page: Page, path: Path) -> None:
    tops = "[...document.querySelector('.columns.three').children].map(e => e.getBoundingClientRect().top)"
    for width, rows in ((1280, 1), (400, 3)):
        page.size(width, 800)
        page.open(path)
        assert len(set(page.evaluate(tops))) == rows


@pytest.mark.parametrize("width", [400, 1280])
def test_no_words_of_the_forest_stand_upon_others(page: Page, path: Path, width: int) -> None:
    page.size(width, 800)
    page.open(path)
    boxes = page.evaluate(
        "[...document.querySelectorAll('.forest text.name, .forest text.figure')].map(e => e.getBoundingClientRect())"
        ".map(b => [b.left, b.right, b.top, b.bottom])"
    )
    assert len(boxes) >= 8
    assert all(left >= 0 and right <= width for left, right, _, _ in boxes)
    crossing = [
        (one, other)
        for number, one in enumerate(boxes)
        for other in boxes[number + 1 :]
        if one[0] < other[1] and other[0] < one[1] and one[2] + 2 < other[3] and other[2] + 2 < one[3]
    ]
    assert crossing == []


def test_every_drawing_has_a_name_that_assistive_technology_reads(page: Page, path: Path) -> None:
    page.open(path)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    images = [node for node in nodes if node["role"]["value"] in ("image", "img")]
    drawn = page.evaluate("document.querySelectorAll('svg:not([aria-hidden])').length")
    assert len(images) == drawn >= 10
    assert all(len(node["name"]["value"]) > 20 for node in images)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper_in_light_and_dark(page: Page, path: Path, scheme: str) -> None:
    page.size(1000, 800, scheme)
    page.open(path)
    paper = _luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert paper < 0.05 if scheme == "dark" else paper > 0.8
    for words in ("body", ".note", ".mark.PASS", "td.us", "a", "tbody th", ".eyebrow"):
        ink = _luminance(page.evaluate(f"getComputedStyle(document.querySelector('{words}')).color"))
        brighter, darker = max(ink, paper), min(ink, paper)
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5, words  # WCAG 2.1, 1.4.3
    for shape in (".forest .reach", ".radar polygon.line-candidate", ".radar polygon.line-base", ".curves .line-candidate"):
        stroke = page.evaluate(f"getComputedStyle(document.querySelector('{shape}')).stroke")
        assert stroke not in ("none", _TRANSPARENT)
        ink = _luminance(stroke)
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 3, shape  # 1.4.11


def test_paper_is_white_and_holds_what_is_folded_on_the_screen(page: Page, path: Path) -> None:
    page.size(800, 1000, "dark")
    page.open(path)
    page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert _luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) == pytest.approx(1.0)
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.call("Emulation.setEmulatedMedia", media="")


def _luminance(colour: str) -> float:
    """Relative luminance of an opaque "rgb(r, g, b)" (WCAG 2.1)."""
    assert colour.startswith("rgb("), colour
    channels = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
