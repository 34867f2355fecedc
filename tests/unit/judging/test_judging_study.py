"""Blind studies: pages that give nothing away, and answers that come back as exact figures or as a named mistake."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner

from tests.unit.judging.conftest import made_pairs
from timbre.artifacts import IntegrityError
from timbre.cli import app
from timbre.judging.pairs import Pair
from timbre.judging.ratings import ratings_report, read_key, read_ratings
from timbre.judging.study import Study, export_study

NAMES = ("secret machine", "secret human")


@pytest.fixture
def study(tmp_path: Path, pairs: list[Pair]) -> Study:
    return export_study(pairs, tmp_path / "study", names=NAMES, count=20, texts=16, seed=5)


def payload(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    found: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return found


def answers(study: Study, kind: Any, rater: str, choose: Any) -> dict[str, Any]:
    """What the page would save if a rater chose by `choose(item, its entry in the key)`."""
    page = payload(study.pages[kind])
    sides = json.loads(study.key.read_text())["studies"][page["study"]]["items"]
    rows = [{"id": item["id"], **choose(item, sides[item["id"]])} for item in page["items"]]
    return {"study": page["study"], "kind": kind, "rater": rater, "ratings": rows}


def picks(side: str) -> Any:
    return lambda _, entry: {"choice": "first" if entry["first"] == side else "second"}


def written(path: Path, tree: Any) -> Path:
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree), encoding="utf-8")
    return path


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_page_gives_no_side_away_and_asks_nothing_of_the_network(study: Study, pairs: list[Pair]) -> None:
    key = study.key.read_text()
    for page in study.pages.values():
        text = page.read_text(encoding="utf-8")
        parser = _Tags()
        parser.feed(text)
        assert not [tag for tag, attrs in parser.seen if tag in ("link", "img", "iframe") or {"src", "href"} & attrs.keys()]
        assert "secret" not in text and "document-" not in text and "pair-" not in text and "url(" not in text
        assert {name for item in payload(page)["items"] for name in item} <= {"id", "prompt", "first", "second", "text"}
        assert "default-src 'none'" in text and "unsafe-inline'; script-src 'sha256-" in text
    assert "secret machine" in key and '"first": "A"' in key


def test_sides_are_balanced_and_clusters_come_in_turn(study: Study) -> None:
    key = read_key(study.key)
    pairs, form = (key["studies"][study.studies[kind]]["items"].values() for kind in ("pairs", "form"))
    assert [entry["first"] for entry in pairs].count("A") == 10
    assert len({entry["cluster"] for entry in pairs}) == 12  # all of them: the first pair of each before the second of any
    assert [entry["side"] for entry in form].count("A") == 8 and len({(entry["pair"], entry["side"]) for entry in form}) == 16
    shown = [entry["first"] for name in (item["id"] for item in payload(study.pages["pairs"])["items"]) for entry in [
        key["studies"][study.studies["pairs"]]["items"][name]]]  # fmt: skip
    assert "AA" in "".join(shown) and shown not in (sorted(shown), sorted(shown, reverse=True))  # neither turn about nor in blocks


def test_same_arguments_give_the_same_bytes_and_no_seed_gives_another_study(tmp_path: Path, study: Study, pairs: list[Pair]) -> None:
    again = export_study(pairs, tmp_path / "again", names=NAMES, count=20, texts=16, seed=5)
    for kind, page in study.pages.items():
        assert again.pages[kind].read_bytes() == page.read_bytes()
    assert again.key.read_bytes() == study.key.read_bytes()
    one, two = (export_study(pairs, tmp_path / name, names=NAMES) for name in ("one", "two"))
    assert one.studies["pairs"] != two.studies["pairs"]
    with pytest.raises(ValueError, match="holds a study already"):
        export_study(pairs, tmp_path / "one", names=NAMES)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!-- <script \u2028 {{ 7*7 }} 😀 مرحبا"
    page = export_study([Pair("p", "c", evil, evil + " one", evil + " two")], tmp_path / "s", names=NAMES, seed=1).pages["pairs"]
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "{{ 7*7 }}" in text
    assert payload(page)["items"][0]["prompt"] == evil


def test_nobody_rates_a_text_twice(tmp_path: Path) -> None:
    lent = [Pair(f"p{number}", "c", "P", f"own {number}", "the one human text") for number in range(6)]
    study = export_study(lent, tmp_path / "s", names=NAMES, texts=12, seed=1)
    assert study.items == {"pairs": 6, "form": 2}


def test_preferences_come_back_exact_and_pooled(study: Study, tmp_path: Path) -> None:
    def wavering(item: dict[str, str], entry: dict[str, str]) -> dict[str, str]:
        number = int(entry["pair"].split("-")[1])
        return {"choice": "tie"} if number % 4 == 3 else picks("A" if number % 4 else "B")(item, entry)

    files = [written(tmp_path / f"{rater}.json", answers(study, "pairs", rater, choose))
             for rater, choose in (("ada", picks("A")), ("bob", picks("A")), ("cy", wavering))]  # fmt: skip
    key = read_key(study.key)
    report = ratings_report(read_ratings(files, key), key)
    found = report["pairs"]
    ada, cy = found["raters"]["ada"], found["raters"]["cy"]
    assert (ada["wins"], ada["losses"], ada["share"], ada["high"]) == (20, 0, 1.0, 1.0)
    assert ada["low"] == pytest.approx(0.025 ** (1 / 20))
    exact = stats.binomtest(cy["wins"], cy["wins"] + cy["losses"]).proportion_ci(0.95, "exact")
    assert cy["ties"] > 0 and (cy["low"], cy["high"]) == pytest.approx((exact.low, exact.high))
    assert found["majority"]["wins"] == 20 and found["first_place"]["wins"] + found["first_place"]["losses"] + cy["ties"] == 60
    total = (40 + cy["wins"] + cy["ties"] / 2) / 60
    assert found["win_rate"]["value"] == pytest.approx(total) and found["twice_win_rate"]["value"] == pytest.approx(2 * total)
    assert found["win_rate"]["clusters"] == 12 and found["agreement"]["value"] < 0.3
    assert report["names"] == {"A": NAMES[0], "B": NAMES[1]}


def test_form_gives_means_their_difference_and_agreement(study: Study, tmp_path: Path) -> None:
    def rated(better: int) -> Any:
        return lambda item, entry: {"fluency": 4, "creativity": better if entry["side"] == "A" else 2 + len(item["text"]) % 2}

    files = [written(tmp_path / f"{name}.json", answers(study, "form", name, rated(better))) for name, better in (("ada", 5), ("bob", 4))]
    key = read_key(study.key)
    scales = ratings_report(read_ratings(files, key), key)["form"]["scales"]
    creative = scales["creativity"]
    assert creative["A"]["value"] == 4.5 and 2 <= creative["B"]["value"] <= 3 and creative["raters"]["ada"] > creative["raters"]["bob"]
    assert creative["difference"]["value"] == pytest.approx(4.5 - creative["B"]["value"]) and creative["difference"]["low"] > 1
    assert 0.3 < creative["agreement"]["value"] < 1
    assert scales["fluency"]["difference"]["value"] == 0 and scales["fluency"]["agreement"] is None  # all alike: nothing to agree on


def test_a_file_that_cannot_count_is_named(study: Study, tmp_path: Path, pairs: list[Pair]) -> None:
    key, good = read_key(study.key), answers(study, "pairs", "ada", picks("A"))
    other = export_study(pairs, tmp_path / "other", names=NAMES, seed=6)
    rows = good["ratings"]
    wrong: list[tuple[Any, str]] = [
        (answers(other, "pairs", "ada", picks("A")), "is not in this key"),
        (good | {"ratings": rows[:-3]}, "3 of 20 answers are missing; ada has not finished"),
        (good | {"ratings": [*rows, {"id": "0" * 16, "choice": "tie"}]}, "1 items that the study does not hold"),
        (good | {"ratings": [*rows, rows[0]]}, "is rated twice"),
        (good | {"ratings": [rows[0] | {"choice": "third"}, *rows[1:]]}, "answered with 'third'"),
        (good | {"ratings": [rows[0] | {"choice": None}, *rows[1:]]}, "answered with 'None'"),
        (good | {"rater": "  "}, "names no rater"),
        (good | {"kind": "form"}, "holds no ratings"),
        ({"ratings": 3}, "holds no ratings"),
        ("[]", "holds no ratings"),
        ("{", "is not JSON"),
    ]
    for tree, sentence in wrong:
        with pytest.raises(ValueError, match=sentence) as refusal:
            read_ratings([written(tmp_path / "rating.json", tree)], key)
        assert "rating.json" in str(refusal.value)
    form = answers(study, "form", "ada", lambda *_: {"fluency": 6, "creativity": 1})
    with pytest.raises(ValueError, match="answered with"):
        read_ratings([written(tmp_path / "form.json", form)], key)
    twice = [written(tmp_path / "one.json", good), written(tmp_path / "two.json", good | {"rater": "Ada "})]
    with pytest.raises(ValueError, match=r"'Ada' has rated this study already, in .*one.json"):
        read_ratings(twice, key)
    with pytest.raises(ValueError, match="no ratings were given"):
        read_ratings([], key)


def test_a_key_that_was_changed_is_refused(study: Study, tmp_path: Path) -> None:
    text = study.key.read_text()
    with pytest.raises(IntegrityError, match="was changed after the export"):
        read_key(written(tmp_path / "key.json", text.replace('"first": "A"', '"first": "B"', 1)))
    with pytest.raises(ValueError, match="is not the key of a study"):
        read_key(written(tmp_path / "key.json", "[]"))


def test_commands_export_and_import_within_eighty_columns(home: Path, sides: tuple[Path, Path], tmp_path: Path, monkeypatch: Any) -> None:
    def typed(*arguments: object) -> Any:
        done = CliRunner().invoke(app, ["judge", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0
        assert "--json" in arguments or max(map(len, done.stdout.splitlines())) <= 80
        return done.stdout

    monkeypatch.chdir(tmp_path)
    shown = typed("export", *sides, "--out", "study", "--pairs", 12, "--texts", 8)
    assert "study/pairs.html  12 pairs, for raters" in shown and "not for raters" in shown
    study = Study({"pairs": Path("study/pairs.html"), "form": Path("study/form.html")}, {}, Path("study/key.json"), {})
    for rater in ("ada", "bob"):
        written(Path(f"{rater}.json"), answers(study, "pairs", rater, picks("A" if rater == "ada" else "B")))
        written(
            Path(f"{rater}-form.json"),
            answers(study, "form", rater, lambda _, entry: {"fluency": 3, "creativity": ord(entry["side"]) - 63}),
        )
    files = ["ada.json", "bob.json", "ada-form.json", "bob-form.json"]
    told = typed("import", *files, "--key", "study/key.json")
    for words in ("machine.jsonl", "12 pairs", "1.00 [0.74, 1.00]  12 to 0", "creativity B", "-1.00", "text 1 chosen"):
        assert words in told
    report = json.loads(typed("import", *files, "--key", "study/key.json", "--json"))
    assert report["pairs"]["agreement"]["value"] < 0 and report["form"]["scales"]["creativity"]["agreement"]["value"] == 1.0
    again = json.loads(typed("export", *sides, "--out", "study2", "--json"))
    assert again["pages"]["pairs"]["items"] == 24 and again["key"] == "study2/key.json"


def test_pairs_of_the_fixture_differ_in_length() -> None:
    assert {(one > other) - (one < other) for one, other in (pair.words() for pair in made_pairs(24))} == {1, -1}


def test_raters_can_be_asked_which_text_is_the_authors(tmp_path: Path) -> None:
    made = export_study(made_pairs(4), tmp_path / "study", names=("model", "human"), count=4, texts=0, ask="author")
    page = made.pages["pairs"].read_text()
    assert "Which is the author\\u0027s?" in page or "Which is the author's?" in page
    assert "I cannot tell" in page and "One of each pair was written by a person" in page and "which one you prefer" not in page
    plain = export_study(made_pairs(4), tmp_path / "plain", names=("model", "human"), count=4, texts=0).pages["pairs"].read_text()
    assert "which one you prefer" in plain and "written by a person" not in plain
