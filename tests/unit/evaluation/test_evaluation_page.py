"""The page of `timbre evaluate` in Debian's Chromium: nothing asked of the network, nothing cut off, every drawing named."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, browser
from timbre.metrics.comparison import Request, compare_texts
from timbre.metrics.page import write_page

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")]


def test_page_of_a_comparison_fits_every_width_and_names_its_drawings(tmp_path: Path, write: Any) -> None:
    for name, count, seed in (("own", 12, 1), ("human", 24, 2)):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(write(count, 64, seed)))
    path = tmp_path / "page.html"
    slop = tmp_path / f"{'list' * 30}.txt"
    slop.write_text("of the\n")
    found = compare_texts(Request(tmp_path / "own.txt", tmp_path / "human.txt", words=60, slop=(slop,)))
    write_page(found, path, ("own" * 40, "human"))
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        for width, scheme in ((320, "light"), (400, "dark"), (1200, "light")):
            page.size(width, 800, scheme)
            page.open(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 21)") is (scheme == "dark")
        assert set(page.requested) - {"about:blank"} == {path.as_uri()} and page.errors == []
        page.call("Accessibility.enable")
        images = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if node["role"]["value"] in ("image", "img")]
        assert len(images) == page.evaluate("document.querySelectorAll('svg').length") == len(found.figures) + 1
        assert all(len(node["name"]["value"]) > 20 for node in images)
