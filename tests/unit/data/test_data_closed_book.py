"""Closed-book questions and passages shipped in `data/prompts/factuality`: enough of them, well formed, and taught by nothing else here."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from timbre.evaluation.factuality.copying import read_passages
from timbre.evaluation.factuality.entities import entities
from timbre.evaluation.factuality.normalising import contains, normalised
from timbre.evaluation.factuality.topics import TOPIC_OF

DATA = Path(__file__).resolve().parents[3] / "data"
QUESTIONS, PASSAGES = DATA / "prompts/factuality/closed_book.jsonl", DATA / "prompts/factuality/passages.jsonl"
_SMALL = "a an and are as at did do does for from has have how in is it its many of on s that the to was what which who with were by"
SMALL = set(_SMALL.split())
MOST = 0.75


@cache
def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


said = cache(normalised)


@cache
def subject(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in said(text) if word not in SMALL)


def teaches(text: str, row: dict[str, Any]) -> bool:
    """Whether a text holds an accepted answer together with most of what one of the wordings asks about."""
    if not any(contains(said(text), said(answer)) for answer in row["answers"]):
        return False
    wordings = [subject(row["question"]), subject(row["statement"])]
    return any(len(wording & subject(text)) >= MOST * len(wording) for wording in wordings)


def test_questions_are_enough_about_unrelated_facts_of_many_topics() -> None:
    questions = rows(QUESTIONS)
    assert (
        len(questions) >= 100 and len({row["fact"] for row in questions}) >= 60 and len({row["id"] for row in questions}) == len(questions)
    )
    topics = Counter(row["topic"] for row in questions)
    assert len(topics) >= 8 and max(topics.values()) / len(questions) <= 0.15 and min(topics.values()) >= 8


def test_every_question_is_whole_and_does_not_give_its_answer_away() -> None:
    for row in rows(QUESTIONS):
        assert list(row) == ["id", "fact", "topic", "question", "statement", "answers", "source"]
        assert row["id"].startswith(row["fact"] + "-") and row["question"].endswith("?")
        assert row["statement"] == row["statement"].strip() and re.search(r"[\w,]$", row["statement"]), row["statement"]
        assert len(row["source"]) >= 8 and "://" not in row["source"]
        asked = normalised(f"{row['question']} {row['statement']}")
        assert not any(contains(asked, normalised(answer)) for answer in row["answers"]), row


def test_replay_teaches_no_answer() -> None:
    """What the student practises beside the style would hide a loss of just that."""
    replay = [f"{row['prompt']} {row['answer']}" for row in rows(DATA / "replay" / "replay.jsonl")]
    assert [(row["id"], text) for row in rows(QUESTIONS) for text in replay if teaches(text, row)] == []


@pytest.mark.parametrize("text", ["What is the capital of Germany? The capital of Germany is Berlin.", "A minute has sixty seconds."])
def test_a_replay_item_that_answers_a_question_is_seen(text: str) -> None:
    assert any(teaches(text, row) for row in rows(QUESTIONS))


def test_passages_are_dense_with_names_and_numbers_and_answer_their_questions() -> None:
    passages = read_passages(PASSAGES)
    assert len(passages) >= 10
    for passage in passages:
        found = entities(passage.text)
        assert len(set(found.names)) >= 5 and len(set(found.numbers)) >= 8, passage.passage_id
        assert len(passage.questions) == 3
        for question, answers in passage.questions:
            assert contains(said(passage.text), said(answers[0])), question


def test_every_kind_of_fact_probe_has_a_topic_in_the_report() -> None:
    templates = {row["template"] for row in rows(DATA / "probes" / "facts.jsonl")}
    assert templates - TOPIC_OF.keys() == set()
    facts = {row["fact"]: TOPIC_OF[row["template"]] for row in rows(DATA / "probes" / "facts.jsonl")}
    assert min(Counter(facts.values()).values()) >= 5, "fewer facts have no interval worth printing"
