"""Closed-book answers: what counts as the same answer, and what samples say about a model."""

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.evaluation.factuality import closed_book
from timbre.evaluation.factuality.closed_book import METRIC, Question, correct, first_statement, measure, pass_at, read_questions
from timbre.evaluation.factuality.normalising import contains, normalised

DATA = Path(__file__).resolve().parents[3] / "data/prompts/factuality/closed_book.jsonl"
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"


def spelled(number: int) -> str:
    if number < 20:
        return _ONES.split()[number]
    if number < 100:
        return _TENS.split()[number // 10] + (f"-{spelled(number % 10)}" if number % 10 else "")
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {'and ' if number % size < 100 else ''}{spelled(number % size)}" if number % size else ""
            return f"{spelled(number // size)} {name}{rest}"
    raise AssertionError(number)


def row(text: str, answers: str = "Berlin", sample: int = 0, question: str = "germany-1", **about: str) -> dict[str, Any]:
    given = {"topic": "geography", "form": "completion", "question": question, "answers": answers} | about
    return {"prompt_id": f"{question}/{given['form']}", "cluster": question[:-2], "sample": sample, "text": text, "about": given}


@given(st.integers(0, 999_999_999))
def test_a_number_is_the_same_in_words_in_digits_and_with_separators(number: int) -> None:
    assert normalised(spelled(number)) == normalised(f"{number:,}") == normalised(f"{number:_}".replace("_", "\u00a0")) == (str(number),)


@given(st.integers(10, 20), st.integers(10, 99))
def test_a_year_spoken_in_two_halves_is_that_year(century: int, rest: int) -> None:
    assert normalised(f"in {spelled(century)} {spelled(rest)}.") == ("in", f"{century}{rest}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" the Berlin.", "Berlin"), ("BERLIN", "Berlin"), ("Newton’s law", "Newton"), ("H₂O, of course", "H2O"), ("Tōkyō", "Tokyo"),
        ("**32** teeth", "thirty-two"), ("the 14th", "14"), ("3.0", "3"), ("007", "7"), ("Isaac Newton in 1687", "Isaac Newton"),
    ],
)  # fmt: skip
def test_case_articles_marks_accents_and_spelling_do_not_matter(text: str, answer: str) -> None:
    assert contains(normalised(text), normalised(answer))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Berliner", "Berlin"), ("1066", "10"), ("ten, twenty", "1020"), ("Isaac and Newton", "Isaac Newton"), ("", "Berlin"),
        ("Berlin", "the"),
        ("one hundred and five", "100"),
    ],
)  # fmt: skip
def test_parts_of_words_and_numbers_are_no_answers(text: str, answer: str) -> None:
    assert not contains(normalised(text), normalised(answer))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" Berlin, and it lies on the Spree", True), ("Sure! The capital is Berlin.", True), ("The answer is:\n\nBerlin", True),
        (" Munich. Berlin is larger.", False), (" Munich\nBerlin", False), (" the city of Berl", False), ("", False), ("\n\n", False),
    ],
)  # fmt: skip
def test_an_answer_counts_in_the_first_statement_only(text: str, right: bool) -> None:
    assert correct(row(text)) is right


def test_a_number_at_the_very_end_may_go_on_and_does_not_count() -> None:
    assert first_statement(" the year 17") == " the year "
    assert not correct(row(" 17", answers="17")) and correct(row(" 17.", answers="17"))


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_is_the_share_of_draws_with_a_right_one(case: tuple[int, int, int]) -> None:
    samples, right, j = case
    draws = list(combinations([True] * right + [False] * (samples - right), j))
    assert pass_at(samples, right, j) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_every_sample_is_an_item_and_the_fact_is_its_cluster() -> None:
    rows = [
        row(text, sample=n, question=question)
        for question in ("germany-1", "germany-2", "italy-1")
        for n, text in enumerate([" Berlin.", " Rome."])
    ]
    items, summary = measure(rows)
    assert [item["item"] for item in items[:2]] == ["germany-1/completion/0", "germany-1/completion/1"]
    assert {item["metric"] for item in items} == {METRIC} and {item["cluster"] for item in items} == {"germany", "italy"}
    assert summary["accuracy"]["value"] == 0.5 and summary["pass_at"] == {"1": 0.5, "2": 1.0} and summary["always"] == 0
    assert (summary["samples"], summary["questions"], summary["facts"], summary["empty"]) == (6, 3, 2, 0)
    json.dumps(summary, allow_nan=False)


def test_a_perfect_score_on_few_facts_is_not_called_certain() -> None:
    _, summary = measure([row(" Berlin.", question=f"f{n}-1") for n in range(10)])
    assert summary["accuracy"]["value"] == summary["accuracy"]["high"] == 1
    assert 0.6 < summary["accuracy"]["low"] < 0.75, "Clopper–Pearson, 10 of 10: .69"
    _, alone = measure([row(" Berlin.")])
    assert (alone["accuracy"]["low"], alone["accuracy"]["high"]) == (0, 1)


def test_a_model_that_forgets_is_seen_by_the_gate_s_bound() -> None:
    """Positive control: 40 of 200 facts forgotten, four samples each."""
    from timbre.statistics import clustered_tango_bound

    rows = [row(" Berlin.", sample=n, question=f"f{fact}-1") for fact in range(200) for n in range(4)]
    forgot = [one | {"text": " Munich."} if int(one["cluster"][1:]) < 40 else one for one in rows]
    before, after = ({item["item"]: item for item in measure(side)[0]} for side in (rows, forgot))
    bound = clustered_tango_bound([after[i]["value"] - before[i]["value"] for i in before], [before[i]["cluster"] for i in before])
    assert bound.mean == pytest.approx(-0.2) and bound.high < -0.1, "FAIL at a margin of 10 points"


def test_nothing_generated_is_an_error_and_never_a_score() -> None:
    with pytest.raises(ValueError, match="closed_book_questions"):
        measure([])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"), ("[]", "line 2: expected a JSON object"), ('{"id": "a"}', "line 2: fact, topic"),
        ('{"id": "france-1", "fact": "f", "topic": "t", "question": "q?", "statement": "s", "answers": ["b"], "source": "x"}', "twice"),
        ('{"id": "a", "fact": "f", "topic": "t", "question": "q?", "statement": "s", "answers": ["!"], "source": "x"}', "'answers'"),
    ],
)  # fmt: skip
def test_a_bad_question_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    good = {
        "id": "france-1",
        "fact": "france",
        "topic": "t",
        "question": "q?",
        "statement": "s",
        "answers": ["Paris"],
        "source": "an atlas",
    }
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps(good) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=message):
        read_questions(file)


def test_questions_are_asked_both_ways_of_a_chat_model_and_as_a_sentence_of_a_base_model(tiny_tokenizer: Callable[..., Any]) -> None:
    questions = read_questions(DATA)
    chat = closed_book.prompts(questions, tiny_tokenizer(), count=5, samples=3, seed=0)
    base = closed_book.prompts(questions, tiny_tokenizer(chat=False), count=5, samples=3, seed=0)
    assert [prompt.about["form"] for prompt in chat] == ["completion", "question"] * 5 and {p.about["form"] for p in base} == {"completion"}
    assert chat[0] == base[0] and chat[0].samples == 3 and chat[0].sampler == "serving"
    assert len({prompt.prompt_id for prompt in chat}) == 10 and len({prompt.cluster for prompt in chat}) == 5
    text = tiny_tokenizer().decode(chat[1].token_ids)
    assert chat[1].text in text and text.endswith("<|im_start|>assistant\n")


def test_facts_come_before_second_wordings_and_the_same_seed_asks_the_same(tiny_tokenizer: Callable[..., Any]) -> None:
    questions = [Question(f"{fact}-{n}", fact, "t", "q?", f"{fact} is", ("x",)) for fact in "abc" for n in (1, 2)]
    asked = closed_book.prompts(questions, tiny_tokenizer(chat=False), count=4, samples=1, seed=3)
    assert {prompt.cluster for prompt in asked[:3]} == set("abc") and asked[3].cluster == asked[0].cluster
    assert asked == closed_book.prompts(questions[::-1], tiny_tokenizer(chat=False), count=4, samples=1, seed=3)
