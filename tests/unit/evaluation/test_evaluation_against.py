"""`timbre evaluate TEXTS --against HUMAN`: what it reads, what it says, and its page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.gates.test_gates_report import tags
from timbre.metrics.comparison import Calibrated, Comparison, Request, compare_texts
from timbre.metrics.page import write_page
from timbre.metrics.texts import Text, passages, read_texts


def folder(path: Path, texts: list[str]) -> Path:
    path.mkdir()
    for index, text in enumerate(texts):
        (path / f"{index:03}.txt").write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, write: Any) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sides")
    return {
        "human": folder(root / "human", write(110, 64, 1)),
        "fresh": folder(root / "fresh", write(54, 64, 2)),
        "greedy": folder(root / "greedy", write(54, 64, 3, "greedy")),
    }


@pytest.fixture(scope="module")
def comparisons(sides: dict[str, Path]) -> dict[str, Comparison]:
    return {name: compare_texts(Request(sides[name], sides["human"], words=60, most=54)) for name in ("fresh", "greedy")}


def test_fresh_human_text_is_not_told_apart_and_looped_text_is(comparisons: dict[str, Comparison]) -> None:
    fresh, greedy = comparisons["fresh"], comparisons["greedy"]
    assert fresh.verdict == "not told apart" and "can tell deviations above" in fresh.why
    assert greedy.verdict == "told apart" and "Furthest away" in greedy.why
    assert not any(key in greedy.why for key in ("self repetition 4", "distinct 2", "hapax share", "-")), "metrics in words, a real minus"
    assert (fresh.count, fresh.words) == (54, 60)
    assert fresh.read["human"] == {"read": 110, "empty": 0, "too_short": 0, "passages": 108, "documents": 108}


def test_too_few_texts_are_inconclusive_and_say_how_many_would_do(tmp_path: Path, write: Any, sides: dict[str, Path]) -> None:
    few = folder(tmp_path / "few", write(12, 64, 4))
    found = compare_texts(Request(few, sides["human"], words=60))
    assert found.verdict == "INCONCLUSIVE" and "50 and 100 would do" in found.why and found.figures
    none = compare_texts(Request(folder(tmp_path / "short", ["too short", "😀", ""]), sides["human"], words=60))
    assert none.verdict == "INCONCLUSIVE" and not none.figures
    assert (none.read["texts"]["too_short"], none.read["texts"]["empty"]) == (1, 2)
    write_page(none, tmp_path / "none.html", ("short", "human"))
    tags((tmp_path / "none.html").read_text())
    json.dumps(none.summary(), allow_nan=False)


def test_texts_that_end_early_do_not_escape(tmp_path: Path, write: Any, sides: dict[str, Path]) -> None:
    mixed = folder(tmp_path / "mixed", write(54, 64, 2) + ["Stopped."] * 20)
    found = compare_texts(Request(mixed, sides["human"], words=60, most=54))
    assert found.verdict == "INCONCLUSIVE" and "20 of 74 texts hold fewer" in found.why


@pytest.mark.parametrize("side", ["own", "human"])
def test_one_huge_document_a_side_is_no_evidence_either_way(tmp_path: Path, write: Any, sides: dict[str, Path], side: str) -> None:
    """Positive control of false passes and of false alarms: windows of one document are not independent texts."""
    own, human = sides["fresh"], sides["human"]
    (tmp_path / "novel.txt").write_text(" ".join(write(110, 60, 21)))
    if side == "own":
        own = tmp_path / "novel.txt"
    else:
        human = tmp_path / "novel.txt"
    found = compare_texts(Request(own, human, words=60, most=54))
    assert (found.verdict, found.reason) == ("INCONCLUSIVE", "documents")
    assert "come from one document" in found.why and "6 documents of about one size on either side would do" in found.why
    assert found.figures and found.read["texts" if side == "own" else "human"]["documents"] == 1
    intervals = [figure.interval for figure in found.figures.values() if figure.value is not None]
    assert all(interval is None for interval in intervals) if side == "own" else any(intervals)
    write_page(found, tmp_path / "page.html", ("own", "human"))
    assert "There are too few documents to tell." in (tmp_path / "page.html").read_text()


def test_a_looped_novel_is_not_told_apart_on_windows_that_are_one_document(tmp_path: Path, write: Any, sides: dict[str, Path]) -> None:
    (tmp_path / "loop.txt").write_text(" ".join(write(54, 60, 3, "greedy")))
    assert compare_texts(Request(tmp_path / "loop.txt", sides["human"], words=60, most=54)).verdict == "INCONCLUSIVE"


def test_a_novel_among_notes_counts_as_about_one_document(tmp_path: Path, write: Any, sides: dict[str, Path]) -> None:
    mixed = folder(tmp_path / "mixed", [" ".join(write(48, 60, 2)), *write(6, 64, 12)])
    found = compare_texts(Request(mixed, sides["human"], words=60, most=54))
    assert found.reason == "documents" and "come from 7 documents, so unequal that they tell no more than 1.3" in found.why


def test_empty_generations_are_counted_apart_and_never_vanish_from_a_good_verdict(
    tmp_path: Path, write: Any, sides: dict[str, Path]
) -> None:
    texts = write(54, 64, 2)

    def compared(name: str, texts: list[str], human: Path = sides["human"]) -> Comparison:
        return compare_texts(Request(folder(tmp_path / name, texts), human, words=60, most=54))

    some = compared("some", [*texts, "", " \n\t", "…"])
    assert (some.verdict, some.reason) == ("INCONCLUSIVE", "empty")
    assert some.why.startswith("3 of 57 texts are empty (5.3%; on the human side 0.0%).") and some.read["texts"]["empty"] == 3
    write_page(some, tmp_path / "page.html", ("some", "human"))
    assert "Too many of these texts are empty to tell." in (tmp_path / "page.html").read_text()
    looped = compared("looped", [*write(54, 64, 3, "greedy"), "", "", ""])
    assert looped.verdict == "told apart" and "3 of 57 texts are empty" in looped.why
    human = folder(tmp_path / "human", [*write(110, 64, 1), *[""] * 8])
    assert compared("alike", [*texts, "", "", ""], human).verdict == "not told apart", "people leave as many empty"
    many = compared("many", [*texts, *[""] * 20])
    assert many.reason == "short" and "20 of 74 texts hold fewer than 60 words (20 of them none at all)" in many.why


def test_one_huge_document_gives_no_more_than_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "huge.txt").write_text("The sea rose high and fell. " * 60_000)
    found = passages(read_texts(tmp_path / "huge.txt"), 50, 10)
    assert len(found) == 10 and set(found.documents) == {"huge.txt"} and found.read == 1


def test_passages_take_the_first_of_every_text_before_the_second_of_any() -> None:
    texts = [Text("a b c d", "one"), Text("e", "two"), Text("f g", "three"), Text("مرحبا بالعالم كيف حالك", "four")]
    found = passages(texts, 2, 4)
    assert found.documents == ["one", "three", "four", "one"] and found.texts[2] == "مرحبا بالعالم"
    assert (found.read, found.too_short) == (4, 1)


def test_lines_of_jsonl_name_what_they_belong_to(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('"just text"\n{"completion": "a b", "prompt": "p"}\n\n{"text": "c", "doc_id": "d7"}\n')
    texts = read_texts(path)
    assert [(text.text, text.document) for text in texts] == [("just text", "texts.jsonl:1"), ("a b", "p"), ("c", "d7")]
    path.write_text('{"words": 1}\n')
    with pytest.raises(ValueError, match=r"texts.jsonl:1: no text in column .text.; it has words"):
        read_texts(path)
    path.write_text("{broken\n")
    with pytest.raises(ValueError, match=r"texts.jsonl:1: not JSON"):
        read_texts(path)
    with pytest.raises(ValueError, match="no such file"):
        read_texts(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no file of a known format"):
        read_texts(folder(tmp_path / "empty", []))


def test_fewer_human_passages_make_smaller_sets_and_both_numbers_are_named(tmp_path: Path, write: Any, sides: dict[str, Path]) -> None:
    own, human = folder(tmp_path / "own", write(14, 64, 5)), folder(tmp_path / "human", write(13, 64, 6))
    found = compare_texts(Request(own, human, words=60))
    assert found.count == 6 and "14 passages of 60 words, in sets of 6 (the 13 human ones give two halves of 6), against 13" in found.why
    write_page(found, tmp_path / "page.html", ("own", "human"))
    assert "14 passages in sets of 6" in (tmp_path / "page.html").read_text()


def test_the_same_texts_on_both_sides_are_noticed(tmp_path: Path, sides: dict[str, Path]) -> None:
    copied = folder(tmp_path / "copied", [file.read_text().upper() + "\n" for file in sorted(sides["human"].iterdir())[:54]])
    found = compare_texts(Request(copied, sides["human"], words=60, most=54))
    assert found.verdict == "INCONCLUSIVE" and found.copied == 54 and "54 of 54 passages stand on the human side" in found.why
    write_page(found, tmp_path / "page.html", ("copied", "human"))
    assert "The same texts stand on both sides." in (tmp_path / "page.html").read_text()


def test_one_quotation_on_both_sides_is_named_and_judged(tmp_path: Path, write: Any, sides: dict[str, Path]) -> None:
    quoted = [sorted(sides["human"].iterdir())[0].read_text(), *write(53, 64, 2)]
    found = compare_texts(Request(folder(tmp_path / "quoted", quoted), sides["human"], words=60, most=54))
    assert found.copied == 1 and found.verdict != "INCONCLUSIVE"


@pytest.mark.parametrize("wrong", ["slop", "others"])
def test_a_path_that_is_wrong_is_told_before_the_texts_are_read(tmp_path: Path, wrong: str) -> None:
    missing = tmp_path / "nowhere.txt"
    request = Request(
        tmp_path / "texts", tmp_path / "human", **({"slop": (missing,)} if wrong == "slop" else {"others": {"news": missing}})
    )
    with pytest.raises(ValueError, match=r"nowhere\.txt"):
        compare_texts(request)


def test_page_asks_nothing_of_the_network_and_every_chart_has_its_words(comparisons: dict[str, Comparison], tmp_path: Path) -> None:
    write_page(comparisons["greedy"], tmp_path / "page.html", ("<b>mine</b>", "human"))
    html = (tmp_path / "page.html").read_text()
    seen = tags(html)
    assert not [tag for tag, _ in seen if tag in ("script", "link", "img", "iframe", "object", "b")]
    assert not [attrs for _, attrs in seen if {"src", "href"} & attrs.keys()] and "url(" not in html
    charts = [attrs for tag, attrs in seen if tag == "svg"]
    assert len(charts) == len(comparisons["greedy"].figures) + 2  # sentence lengths, and the axis
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 20 for chart in charts)
    assert "told apart from the human ones" in html and "prefers-color-scheme: dark" in html and "&lt;b&gt;mine" in html
    again = tmp_path / "again.html"
    write_page(comparisons["greedy"], again, ("<b>mine</b>", "human"))
    assert again.read_text() == html


def test_score_needs_a_calibration_that_passed(sides: dict[str, Path], write: Any) -> None:
    request = Request(sides["greedy"], sides["human"], words=60, most=54)
    anchors = {"greedy": write(54, 70, 8, "greedy"), "temperature 2": write(54, 70, 9, "hot")}
    base = write(54, 70, 10, "base")
    scored = compare_texts(request, calibrated=Calibrated("made", "group means", anchors, base))
    assert scored.score is not None and scored.score.value is not None and scored.score.value <= 10
    assert any(gap is not None and gap < 0 for gap in scored.gaps.values())
    assert scored.score_warning is None
    larger = compare_texts(request, calibrated=Calibrated("made", "group means", anchors, base, count=120))
    assert larger.score == scored.score and "calibrated with sets of 120 texts and is used with 54" in (larger.score_warning or "")
    assert compare_texts(request, calibrated=Calibrated("made", "group means", anchors, base, count=108)).score_warning is None
    failed = compare_texts(request, calibrated=Calibrated("made", "group means", anchors, base, ["unseen human text: asked at least 95"]))
    assert failed.score is None and "unseen human text" in (failed.no_score or "") and not failed.gaps
    short = compare_texts(request, calibrated=Calibrated("made", "group means", {**anchors, "greedy": ["few words"] * 54}, base))
    assert short.score is None and "0 greedy texts" in (short.no_score or "")


def test_command_fits_eighty_columns_and_speaks_json(home: Path, sides: dict[str, Path], tmp_path: Path, write: Any) -> None:
    from timbre.cli import app

    run = ["evaluate", str(sides["fresh"]), "--against", str(sides["human"]), "--words", "60", "--most", "54"]
    slop = tmp_path / "list.txt"
    slop.write_text("of the\n")
    told = CliRunner().invoke(app, [*run, "--page", str(tmp_path / "a.html"), "--slop", str(slop)])
    assert told.exit_code == 0 and told.output.startswith("not told apart.")
    assert max(map(len, told.output.replace(str(tmp_path), "").splitlines())) <= 80
    table = [line for line in told.output.splitlines() if line.startswith(("metric ", "mattr ", "self_bleu "))]
    assert all(len(re.split(r"  +", line)) >= 4 for line in table) and "(replaced)" not in told.output
    again = CliRunner().invoke(app, ["evaluate", str(sides["greedy"]), *run[2:], "--page", str(tmp_path / "a.html")])
    assert "a.html (replaced)" in again.output and re.search(r"self_repetition_4 .*  above$", again.output, re.M)
    nowhere = CliRunner().invoke(app, [*run, "--page", str(tmp_path / "no" / "a.html")])
    assert isinstance(nowhere.exception, ValueError) and "no such folder" in str(nowhere.exception)
    spoken = CliRunner().invoke(app, [*run, "--page", str(tmp_path / "b.html"), "--json"])
    report = json.loads(spoken.output.splitlines()[-1])
    assert report["verdict"] == "not told apart" and report["metrics"]["mattr"]["low"] <= report["metrics"]["mattr"]["value"]
    assert "sentence encoder" in report["not_measured"]["mmd_content"] and (tmp_path / "b.html").is_file()
    (tmp_path / "novel.txt").write_text(" ".join(write(54, 60, 2)))
    one = CliRunner().invoke(app, ["evaluate", str(tmp_path / "novel.txt"), *run[2:], "--page", str(tmp_path / "d.html")])
    assert one.exit_code == 4 and one.output.startswith("INCONCLUSIVE") and "mattr" in one.output
    few = CliRunner().invoke(app, ["evaluate", str(slop), "--against", str(sides["human"]), "--page", str(tmp_path / "c.html")])
    assert few.exit_code == 4 and few.output.startswith("INCONCLUSIVE")
    assert isinstance(CliRunner().invoke(app, ["evaluate", str(slop)]).exception, ValueError)


def test_each_base_model_has_a_calibration_of_its_own(home: Path) -> None:
    from timbre.artifacts import ArtifactStore, Stage, Workspace, write_atomically
    from timbre.cli.evaluate import _calibrated, _pointer
    from timbre.config import TrainingConfig
    from timbre.progress import SILENT

    def calibration(base: str, seed: int) -> str:
        def build(_config: TrainingConfig, _inputs: Any, work: Workspace) -> None:
            lines = [{"set": name, "length": 1.0, "text": base} for name in ("greedy_anchor", "hot_anchor", "base")]
            (work.output / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (work.output / "calibration.json").write_text(json.dumps({"definition": "group means", "checks": [], "count": 9}))

        return ArtifactStore(home, SILENT).build(Stage("calibration", 1, build), TrainingConfig(seed=seed), {}).digest

    for seed, model in enumerate(("small", "org/large")):
        write_atomically(_pointer("literary", model), json.dumps({"digest": calibration(model, seed), "model": model}).encode())
    for model in ("small", "org/large"):
        found = _calibrated("literary", model)
        assert found is not None and found.base == [model] and found.count == 9
    with pytest.raises(ValueError, match=r"with third: .*--model third.*it has been with org/large, small"):
        _calibrated("literary", "third")
    assert _calibrated(None, "small") is None


def test_a_row_or_file_that_cannot_be_read_is_named_and_refuses_nothing_else(
    tmp_path: Path, write: Any, sides: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.dumps({"text": text, "doc_id": f"d{number}"}) for number, text in enumerate(write(54, 64, 2))]
    rows[10:10] = [
        '{"text": broken',
        '{"text": null}',
        '{"text": "half \\ud83d of it"}',
        json.dumps({"messages": [{"role": "user", "content": "a"}]}),
    ]
    own = tmp_path / "own"
    own.mkdir()
    (own / "texts.jsonl").write_bytes("\n".join(rows).encode() + b'\n{"text": "n\xff\xfe\x00\x01ot text"}\n')
    (own / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    (own / "photo.txt").write_bytes(bytes(range(256)) * 20)
    found = compare_texts(Request(own, sides["human"], words=60, most=54))
    assert found.verdict == "not told apart" and found.read["texts"]["read"] == 54
    told = {each.name: each.reason for each in found.unread["texts"]}
    assert set(told) == {"old.doc", "photo.txt", *(f"texts.jsonl:{row}" for row in (11, 12, 13, 14, 59))}
    assert (
        "not JSON" in told["texts.jsonl:11"] and "holds no text (null)" in told["texts.jsonl:12"] and "save it as .docx" in told["old.doc"]
    )
    assert (
        "lone surrogate" in told["texts.jsonl:13"] and told["texts.jsonl:14"].endswith("it has user") and "--" not in "".join(told.values())
    )
    assert (
        found.summary()["unread"]["texts"][0] == {"name": "old.doc", "reason": told["old.doc"]} and found.summary()["unread"]["human"] == []
    )
    write_page(found, tmp_path / "page.html", ("own", "human"))
    assert "own: 7 files or rows could not be read: old.doc" in (tmp_path / "page.html").read_text()
    from timbre.cli.evaluate import _print

    _print(found, tmp_path / "page.html", False)
    said = capsys.readouterr().out
    assert "texts: not read: old.doc" in said and "texts: 4 more not read" in said
    with pytest.warns(UserWarning, match=r"7 files or rows could not be read: old\.doc"):
        assert len(read_texts(own)) == 54


def test_a_verdict_says_where_the_classifiers_see_otherwise(comparisons: dict[str, Comparison]) -> None:
    greedy = comparisons["greedy"].told
    assert "Classifiers that read them do tell them apart (" in greedy.otherwise("not told apart") and greedy.otherwise("told apart") == ""
    fresh = comparisons["fresh"].told
    assert "No classifier that reads them tells them apart, though (" in fresh.otherwise("told apart")
    assert fresh.otherwise("not told apart") == "" == comparisons["fresh"].told.otherwise("INCONCLUSIVE")


def test_too_few_because_no_more_were_asked_for_says_so(sides: dict[str, Path]) -> None:
    found = compare_texts(Request(sides["fresh"], sides["human"], words=60, most=30))
    assert found.reason == "few" and "No more than 30 a side were asked for (--most): a verdict needs 50." in found.why
