"""The page at `/`: what it may load, and in Debian's Chromium what a person does with it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from tests.browser import CHROMIUM, Page, browser
from tests.unit.conftest import adapter_artifact
from tests.unit.serving.conftest import Promotions, Running, serving
from timbre.artifacts import Artifact, ArtifactStore
from timbre.export.base import resolve_base
from timbre.export.merge import merged_model

Test = Callable[..., None]


def in_a_browser(test: Test) -> Test:
    marked: Test = pytest.mark.browser(pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")(test))
    return marked


def visit(page: Page, server: Running, **settings: Any) -> None:
    fragment = "&".join(f"{name}={value}" for name, value in settings.items())
    page.call("Page.navigate", url="about:blank")
    page.call("Page.navigate", url=f"{server.address}/#{fragment}")
    page.until("location.protocol === 'http:' && document.readyState === 'complete' && document.getElementById('style').options.length > 0")


def write(page: Page) -> None:
    """Ctrl+Enter in the prompt, and wait for both texts."""
    page.evaluate("document.getElementById('prompt').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, modifiers=2)
    page.until("document.getElementById('write').disabled === false && document.querySelectorAll('article').length > 0")


def texts(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('.say')].map(one => one.textContent)")
    return found


def test_the_page_may_load_nothing_from_elsewhere(server: Running) -> None:
    for path in ("/", "/try.css", "/try.js", "/try.svg"):
        answer = server.get(path)
        assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"] and answer.headers["x-content-type-options"] == "nosniff"
        assert "https://" not in answer.text and "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "onclick" not in server.get("/").text and "style=" not in server.get("/").text  # the policy would block them
    assert "/try.js" not in server.get("/openapi.json").json()["paths"]


@in_a_browser
def test_base_and_champion_are_written_side_by_side_and_shared_by_a_link(server: Running, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"prompt": "Beyond the grey water", "seed": 5, "max_tokens": 24}
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        visit(page, server, prompt="Beyond+the+grey+water", seed=5, tokens=24, diversity=0.5)
        write(page)
        expected = [server.text(**asked, temperature=1, **more)["choices"][0]["text"] for more in ({"strength": 0}, {"diversity": 0.5})]
        assert texts(page) == [asked["prompt"] + text for text in expected]
        page.evaluate("document.getElementById('write').click()")
        waiting = page.evaluate("[...document.querySelectorAll('article > .note')].map(one => one.textContent)")
        assert "made ready when it is first asked" in waiting[0] and waiting[1] == "waiting for the first word"
        page.until("document.getElementById('write').disabled === false")
        assert not any(
            "waiting" in note for note in page.evaluate("[...document.querySelectorAll('article > .note')].map(one => one.textContent)")
        )
        page.evaluate("document.querySelector('input[value=likely]').click()")
        kinds = page.evaluate("[...document.querySelectorAll('.say span[class^=p]')].map(one => one.className)")
        assert len(kinds) == 48 and set(kinds) <= {"p0", "p1", "p2", "p3"} and texts(page)[0].endswith(expected[0])
        marked = page.evaluate("[...document.querySelectorAll('.say span[class^=p]')].map(one => one.textContent)")
        assert all(text == text.lstrip() or not text.strip() for text in marked)  # a coloured space would hang at the end of a line
        page.evaluate("document.querySelector('input[value=often]').click()")
        assert texts(page)[1] == asked["prompt"] + expected[1]
        page.evaluate("document.getElementById('link').click()")
        fragment = str(page.evaluate("location.hash"))
        assert "seed=5" in fragment and "diversity=0.5" in fragment and "Beyond" in fragment
        first = texts(page)
        page.call("Page.reload")
        page.until("document.readyState === 'complete' && document.getElementById('style').options.length > 0")
        write(page)
        assert texts(page) == first  # whoever follows the link reads the same
        assert page.errors == [] and all(url.startswith((server.address, "about:")) for url in page.requested)


@pytest.fixture(scope="module")
def with_baseline(
    promotions: Callable[..., Promotions], tiny_store: ArtifactStore, tiny_parts: dict[str, Artifact]
) -> Iterator[tuple[Running, Artifact]]:
    """A server whose champion has a baseline beside it and its training text at hand; and the baseline's adapter."""
    place, adapter = promotions(), adapter_artifact(tiny_store, tiny_parts["model"], seed=5, size=0.3)
    place.promote(2, baseline=adapter)
    decoder = resolve_base(tiny_parts["model"], tiny_parts["decoder"], tiny_store, adapter)  # the server would write it too, more slowly
    for part in (tiny_parts["corpus"], decoder):
        ArtifactStore(place.home).adopt(part.path)
    with serving(place.home, "--limit", "max_tokens=400") as running:
        yield running, adapter


def test_the_baseline_writes_as_its_adapter_does_and_only_where_one_was_trained(
    with_baseline: tuple[Running, Artifact], server: Running, tiny_parts: dict[str, Artifact], tmp_path: Path
) -> None:
    running, adapter = with_baseline
    asked: dict[str, Any] = {"max_tokens": 12, "temperature": 0}
    told = running.text("Beyond the grey water", baseline=True, **asked)
    reference: Any = merged_model(tiny_parts["model"], adapter)
    tokenizer = Tokenizer.from_file(str(tiny_parts["model"].file("tokenizer.json")))
    ids = [
        *(tiny_parts["model"].json("model.json").get("start_token_ids") or ()),
        *tokenizer.encode("Beyond the grey water", add_special_tokens=False).ids,
    ]
    expected = reference.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :].tolist()
    assert tokenizer.decode(expected).startswith(told["choices"][0]["text"][:20]) and told["timbre"]["baseline"] == "forward_kl"
    assert told["choices"][0]["text"] != running.text("Beyond the grey water", **asked)["choices"][0]["text"]
    refused = server.post("/v1/completions", prompt="Beyond", baseline=True)
    assert refused.status_code == 404 and "no baseline was trained" in refused.json()["error"]["message"]
    assert running.post("/v1/completions", prompt="Beyond", baseline=True, strength=0.5).status_code == 400


SYMPOSIUM = "IN 2017 THE 14TH SYMPOSIUM OF 320 DERMATOLOGISTS MET AT BERLIN, GERMANY,"


def test_stretches_that_take_a_text_from_its_style_are_told_by_leaving_them_out(
    with_baseline: tuple[Running, Artifact], tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    running, _ = with_baseline
    human = " ".join(tiny_corpus_texts[0][1].split()[:96]).split(" ")
    text = " ".join([*human[:48], *SYMPOSIUM.split(), *human[48:]])
    answer = running.post("/v1/style-distance", style="literary", text=text)
    told = answer.json()
    assert answer.status_code == 200 and told["timbre"]["critic"] == "style distance" and told["distance"] > 0
    pieces = [text[one["start"] : one["end"]] for one in told["stretches"]]
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")  # every word stands in one piece
    worst = max(told["stretches"], key=lambda one: one["away"])
    assert worst["away"] > 0 and set(text[worst["start"] : worst["end"]].split()) <= set(SYMPOSIUM.split())
    assert running.post("/v1/style-distance", style="literary", text="one").json()["stretches"][0]["end"] == 3
    for body in ({"text": " "}, {"text": "x" * 8001}, {"style": "nobody", "text": "x"}, {"text": "x", "n": 2}, {}):
        assert 400 <= running.post("/v1/style-distance", **body).status_code < 500


@in_a_browser
def test_base_baseline_and_champion_stand_side_by_side_and_are_coloured(
    with_baseline: tuple[Running, Artifact], server: Running, tmp_path: Path
) -> None:
    running, _ = with_baseline
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        page.size(1280, 900)
        visit(page, running, prompt="Beyond+the+grey+water", seed=5, tokens=24)
        write(page)
        titles = page.evaluate("[...document.querySelectorAll('article h3')].map(one => one.textContent)")
        assert titles == ["The base model", "forward kl", "literary v2"] and len(set(texts(page))) == 3
        tops = page.evaluate("[...document.querySelectorAll('article')].map(one => one.getBoundingClientRect().top)")
        assert len(set(tops)) == 1 and page.evaluate("document.getElementById('absent').textContent") == ""
        before = texts(page)
        page.evaluate("document.querySelector('input[value=away]').click()")
        page.until("[...document.querySelectorAll('article > .note')].every(one => one.textContent.includes('human spreads'))")
        assert texts(page) == before and not page.evaluate("document.getElementById('far').hidden")
        assert page.errors == []
        visit(page, server, prompt="Beyond", tokens=4)
        assert "no baseline was trained" in page.evaluate("document.getElementById('absent').textContent")
        write(page)
        assert len(texts(page)) == 2


@in_a_browser
def test_history_stays_in_the_browser_until_it_is_forgotten(server: Running, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        visit(page, server, prompt="Every+morning", tokens=6, seed=1)
        write(page)
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        visit(page, server)
        assert page.evaluate("document.getElementById('list').children.length") == 1
        page.evaluate("document.querySelector('#list button').click()")
        assert page.evaluate("document.getElementById('prompt').value") == "Every morning"
        assert page.evaluate("document.getElementById('seed').value") == "1"
        page.evaluate("document.getElementById('forget').click()")
        assert page.evaluate("localStorage.length") == 0 and page.evaluate("document.getElementById('past').hidden")
    assert not any("morning" in json.dumps(line) for line in server.log)


@in_a_browser
def test_a_hostile_prompt_is_shown_and_never_run_and_a_refusal_is_read_out(server: Running, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        visit(page, server, prompt="%3Cimg+src%3Dx+onerror%3D%22document.title%3D'owned'%22%3E", tokens=4)
        write(page)
        assert texts(page)[0].startswith("<img src=x") and page.evaluate("document.title") != "owned"
        assert page.evaluate("document.querySelectorAll('article img').length") == 0
        visit(page, server, prompt="The", tokens=99999)
        write(page)
        assert "is the most here" in page.evaluate("document.getElementById('said').textContent")


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_at_400_pixels(scheme: str, server: Running, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        page.size(400, 900, scheme)
        visit(page, server, prompt="Along+the+iron+road", tokens=20)
        write(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        paper, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
        brightness = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
        assert (brightness[0] > brightness[1] + 300) if scheme == "light" else (brightness[1] > brightness[0] + 300)
        named = "[...document.querySelectorAll('input, select, textarea')].every(one => one.labels.length > 0)"
        assert page.evaluate(named)
        page.evaluate("document.getElementById('prompt').focus()")
        page.press("Tab")
        assert page.evaluate("document.activeElement.id") == "style"


@in_a_browser
def test_a_server_with_keys_shows_the_page_and_asks_for_one(promotions: Callable[..., Promotions], tmp_path: Path) -> None:
    place = promotions()
    keys = place.home / "serving" / "keys"
    keys.parent.mkdir()
    keys.write_text(f"me {hashlib.sha256(b'secret').hexdigest()}\n")
    keys.chmod(0o600)
    with serving(place.home) as running, browser(tmp_path / "profile", tmp_path / "downloads") as page:
        page.call("Page.navigate", url=running.address)
        page.until("document.readyState === 'complete' && !document.getElementById('keyed').hidden")
        page.evaluate("const key = document.getElementById('key'); key.value = 'secret'; key.dispatchEvent(new Event('change'))")
        page.until("document.getElementById('style').options.length === 1")
        write(page)
        assert len(texts(page)) == 2 and page.evaluate("document.getElementById('said').textContent") == ""
