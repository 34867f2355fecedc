"""The pages in Debian's Chromium: keys and clicks, progress that survives, files that `timbre judge import` takes."""

import time
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Page, browser
from timbre.judging.pairs import Pair
from timbre.judging.ratings import ratings_report, read_key, read_ratings
from timbre.judging.study import export_study

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")]


def begin(page: Page, path: Path, rater: str) -> None:
    page.open(path)
    page.evaluate("document.getElementById('rater').select()")
    page.write(rater)
    page.press("Enter")
    page.until("!document.getElementById('rate').hidden")


def place(page: Page) -> str:
    return str(page.evaluate("document.getElementById('place').textContent"))


def saved(folder: Path, name: str) -> Path:
    deadline = time.monotonic() + 60
    while not (folder / name).exists():
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.02)
    return folder / name


def test_a_rater_goes_through_by_keyboard_comes_back_and_saves_what_import_takes(tmp_path: Path, pairs: list[Pair]) -> None:
    study = export_study(pairs, tmp_path / "study", names=("a", "b"), count=5, texts=4, seed=2)
    profile, downloads = tmp_path / "profile", tmp_path / "downloads"
    with browser(profile, downloads) as page:
        begin(page, study.pages["pairs"], "Ada B.")
        assert place(page) == "Pair 1 of 5" and page.evaluate("document.activeElement.id") == "question"
        page.press("1", "0", "2", "ArrowLeft")
        assert place(page) == "Pair 3 of 5"
        assert page.evaluate("document.querySelector('[data-choice=second]').getAttribute('aria-pressed')") == "true"
        page.press("1")  # changed her mind
        assert place(page) == "Pair 4 of 5"
    with browser(profile, downloads) as page:  # closed and opened again
        page.open(study.pages["pairs"])
        assert page.evaluate("document.getElementById('rater').value") == "Ada B."
        begin(page, study.pages["pairs"], "Ada B.")
        assert place(page) == "Pair 4 of 5" and page.evaluate("document.getElementById('on').hidden"), "not before it is answered"
        page.press("2")
        page.evaluate("document.querySelector('[data-choice=tie]').click()")
        page.until("!document.getElementById('end').hidden")
        page.evaluate("document.getElementById('again').click()")
        for number in range(1, 6):  # looks through all of it without answering anew
            assert place(page) == f"Pair {number} of 5" and page.evaluate("document.querySelectorAll('[aria-pressed=true]').length") == 1
            page.evaluate("document.getElementById('on').click()")
        page.until("!document.getElementById('end').hidden")
        page.evaluate("document.getElementById('json').click()")
        whole = saved(downloads, "ratings-pairs-Ada-B-.json")
        page.evaluate("document.getElementById('csv').click()")
        table = saved(downloads, "ratings-pairs-Ada-B-.csv")

        begin(page, study.pages["form"], "Ada B.")
        for _ in range(4):
            assert page.evaluate("document.getElementById('next').disabled")
            page.press("4", "2", "Enter")
        page.until("!document.getElementById('end').hidden")
        page.evaluate("document.getElementById('json').click()")
        form = saved(downloads, "ratings-form-Ada-B-.json")
        assert page.errors == [] and all(url.startswith("file:") for url in page.requested if not url.startswith("blob:"))
    key = read_key(study.key)
    one, two = read_ratings([whole, form], key), read_ratings([table], key)
    assert one[0].answers == two[0].answers and one[0].rater == "Ada B."
    assert sorted(map(str, one[0].answers.values())) == ["first", "first", "second", "tie", "tie"]
    report = ratings_report(one, key)
    assert report["pairs"]["raters"]["Ada B."]["ties"] == 2 and report["form"]["scales"]["fluency"]["A"]["value"] == 4.0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_at_400_pixels_in_light_and_dark(tmp_path: Path, pairs: list[Pair], scheme: str) -> None:
    study = export_study(pairs, tmp_path / "study", names=("a", "b"), count=5, texts=4, seed=2)
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        page.size(400, 800, scheme)
        for path in study.pages.values():
            begin(page, path, "ada")
            assert page.evaluate("document.documentElement.scrollWidth") == 400
            paper, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
            brightness = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
            assert (brightness[0] > brightness[1] + 300) if scheme == "light" else (brightness[1] > brightness[0] + 300)
            buttons = "[...document.querySelectorAll('.answers button, .steps label')].filter(one => one.offsetParent)"
            assert page.evaluate(f"{buttons}.every(one => one.getBoundingClientRect().right <= 400 && one.offsetHeight >= 36)")
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            last = "[...document.querySelectorAll('article')].at(-1).getBoundingClientRect().bottom"
            assert page.evaluate(f"{last} <= document.querySelector('.answers').getBoundingClientRect().top")  # nothing hides below the bar
