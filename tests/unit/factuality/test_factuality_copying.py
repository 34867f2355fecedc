"""Copying: names and numbers that are told again right, and those that were never said."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.corpus.documents import Document
from timbre.evaluation.factuality import copying
from timbre.evaluation.factuality.copying import Passage, check, chosen, corpus_passages, measure, read_passages
from timbre.evaluation.factuality.entities import Source, entities

DATA = Path(__file__).resolve().parents[3] / "data/prompts/factuality/passages.jsonl"
PASSAGE = (
    "In 1931 the guide Dorji led Conrad Weller and 9 others from Asham up Mount Tarrin. They carried 1,412 kilos of food on sixteen mules."
)


def document(name: str, text: str) -> Document:
    return Document(name, text, "A", None, "s", "CC0-1.0", "no", "literary", "test", -1, len(text.split()))


def row(text: str, task: str = "summary", passage: str = "p", answers: str = "") -> dict[str, Any]:
    about = {"task": task, "passage": PASSAGE, "origin": "own", "answers": answers}
    return {"prompt_id": f"{passage}/0", "cluster": passage, "sample": 0, "prompt": f"{PASSAGE}\n\nSummary:", "text": text, "about": about}


@pytest.mark.parametrize(
    "text",
    [
        "The party of Conrad Weller left Asham in 1931.", "There were nine others, and 16 mules bore 1412 kilos.",
        "It was Weller who climbed.",
        "the climb of WELLER and Dorji's way up Mount Tarrin.", "1. A party.\n2. A mountain.",
        "They climbed it in the year nineteen thirty-one.",
        "A summit was reached by one of them, first of all.",
    ],
)  # fmt: skip
def test_what_the_passage_says_is_right_in_whatever_form(text: str) -> None:
    assert check(text, PASSAGE).wrong == ()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("The party of Conrad Miller left Asham.", ("conrad miller",)), ("It carried 1,512 kilos.", ("1512",)),
        ("The guide was Dorji Weller.", ("dorji weller",)), ("The climb of 1932, with twelve mules.", ("1932", "12")),
        ("There were 14 of them.", ("14",)), ("Then Weller, and then Halder, went on.", ("halder",)),
    ],
)  # fmt: skip
def test_what_it_does_not_say_is_wrong_also_when_names_are_mixed(text: str, wrong: tuple[str, ...]) -> None:
    assert check(text, PASSAGE).wrong == wrong


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Yesterday Ingrid Solheim met Peter.", [("ingrid", "solheim"), ("peter",)]), ("I think that I'm well.", []),
        ("He said: “Come to Bergen.”", [("bergen",)]), ("THE LAST CHAPTER OF ALL", []), ("A Winter in Old Torsby Town", []),
        ("the house of Dr. Castle and old Mrs Lane", [("lane",)]), ("# Summary\nthe river Thames", [("thames",)]), ("", []),
        ("- Berlin lies far from Rome", [("rome",)]), ("the Anglo-Saxon king", [("anglo-saxon",)]),
    ],
)  # fmt: skip
def test_names_are_capitalised_words_in_mid_sentence(text: str, names: list[tuple[str, ...]]) -> None:
    assert entities(text).names == names


def test_a_cut_last_word_is_neither_right_nor_wrong() -> None:
    assert check("They came to Ash", PASSAGE).found == 0 and check("They came in 19", PASSAGE).found == 0
    assert check("They came to Ash.", PASSAGE).wrong == ("ash",) and check("They came in 19.", PASSAGE).wrong == ("19",)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_a_text_holds_every_name_and_number_of_its_own(text: str) -> None:
    source, found = Source(text), entities(text)
    assert all(source.has_name(name) for name in found.names) and all(source.has_number(number) for number in found.numbers)


def test_every_own_passage_copied_whole_is_right_and_of_another_passage_wrong() -> None:
    """Positive control: a model that answers about another passage must score low."""
    passages = read_passages(DATA)
    assert all(check(passage.text, passage.text).accuracy == 1 for passage in passages)
    swapped = [check(other.text, passage.text).accuracy for passage, other in pairwise(passages)]
    assert max(swapped) < 0.5, "small numbers and months are shared by chance"


def test_a_doctored_number_lowers_accuracy_and_counts_as_an_error() -> None:
    good, bad = measure([row("They went in 1931 to Asham.")]), measure([row("They went in 1913 to Asham.")])
    value = {side: {item["metric"]: item["value"] for item in items} for side, (items, _) in (("good", good), ("bad", bad))}
    assert value["good"] == {"copy_accuracy": 1.0, "copy_errors": 0.0} and value["bad"] == {"copy_accuracy": 0.5, "copy_errors": 1.0}
    assert bad[1]["kinds"] == {"names": {"right": 1, "wrong": 0}, "numbers": {"right": 0, "wrong": 1}}
    assert bad[1]["examples"][0]["wrong"] == ["1913"] and bad[1]["pooled"] == 0.5


def test_silence_is_counted_and_does_not_answer_questions() -> None:
    items, summary = measure([row("They went up.", "question", f"p{n}", answers="Asham") for n in range(3)])
    assert {item["metric"]: item["value"] for item in items} == {"copy_accuracy": 0.0, "copy_errors": 0.0, "copy_answered": 0.0}
    assert summary["texts_without"] == 3 and summary["pooled"] is None and summary["answered"]["value"] == 0
    json.dumps(summary, allow_nan=False)


def test_a_candidate_that_evades_does_not_improve() -> None:
    """Positive control: against a base that gets four names of five right, saying nothing is a loss."""
    base = measure([row("They left Asham with Conrad Weller, Dorji and Halder in 1931.", passage=f"p{n}") for n in range(4)])[1]
    silent = [measure([row(text, passage=f"p{n}") for n in range(4)])[1] for text in ("", "They went up and came back.")]
    assert base["accuracy"]["value"] == pytest.approx(0.8)
    assert all(each["accuracy"]["value"] == 0 and each["texts_without"] == 4 for each in silent)


def test_an_answer_that_is_no_name_is_right_all_the_same() -> None:
    items, summary = measure([row(" Food.", "question", answers="food"), row(" Nothing.", "question", "q", answers="food")])
    assert [item["value"] for item in items if item["metric"] == "copy_accuracy"] == [1.0, 0.0] and summary["texts_without"] == 2


def test_an_answer_from_the_passage_is_scored_like_a_closed_book_one() -> None:
    items, _ = measure([row(" From Asham.", "question", answers="Asham\nthe village of Asham")])
    assert [item["value"] for item in items if item["metric"] == "copy_answered"] == [1.0]


def test_passages_are_ours_and_of_unseen_documents_by_halves() -> None:
    dense = " ".join(["In 1931 the guide Dorji led Conrad Weller from Asham and saw 16 mules near the old grey house."] * 12)
    plain = " ".join(["the quiet old man went slowly along the narrow road and thought of nothing at all."] * 20)
    documents = [document("a", dense), document("b", plain), document("c", dense)]
    found = chosen(read_passages(DATA), documents, count=7, seed=0)
    assert [passage.origin for passage in found] == ["own"] * 4 + ["corpus"] * 3
    assert [passage.passage_id.split("#")[0] for passage in found[4:]] in (["a", "c", "a"], ["c", "a", "c"]), "b names nothing"
    assert found == chosen(read_passages(DATA)[::-1], documents[::-1], count=7, seed=0)
    assert [p.origin for p in chosen(read_passages(DATA), documents[1:2], count=6, seed=0)] == ["own"] * 6, "ours stand in"
    assert corpus_passages([], count=3, seed=0) == []


def test_a_chat_model_reads_the_passage_in_its_template_and_a_base_model_before_its_answer(tiny_tokenizer: Callable[..., Any]) -> None:
    passage = Passage("p", PASSAGE, "own", (("Who led them?", ("Dorji",)),))
    for chat, end in ((True, "<|im_start|>assistant\n"), (False, "Answer:")):
        summary, question = copying.prompts([passage], tiny_tokenizer(chat))
        assert (summary.cluster, summary.about["task"], question.about["answers"]) == ("p", "summary", "Dorji")
        text = tiny_tokenizer().decode(question.token_ids)
        assert PASSAGE in text and "Who led them?" in text and text.endswith(end)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"), ('{"id": "a", "text": "Some text."}', "questions"),
        ('{"id": "a", "text": "Ann came.", "questions": [{"question": "Who?", "answers": ["Bob"]}]}', "does not answer 'Who"),
    ],
)  # fmt: skip
def test_a_bad_passage_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "passages.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_passages(file)


def test_no_texts_are_an_error_and_never_a_score() -> None:
    with pytest.raises(ValueError, match="copying_passages"):
        measure([])
