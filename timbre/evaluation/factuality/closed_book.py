"""Closed book: short questions with accepted answers, several samples each at the serving sampler.

A pair of sentences says what a model finds likely; sampling is where a tuned model loses what it knows (Kuhn et al. 2023 and
others ask several times for that reason). Each question comes as a sentence to complete ("The capital of Germany is"), and
as a question in the chat template where the tokenizer has one.

An answer counts if it stands in the first sentence of the text, after normalising (`normalising`): no model judges. "It is
not Berlin" would count; base and candidate are read alike, and the statistics only use their difference.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.evaluation.factuality.entities import without_cut_word
from timbre.evaluation.factuality.normalising import contains, normalised
from timbre.evaluation.factuality.shares import by, share
from timbre.inference.prompts import Prompt, instruction_ids
from timbre.models.tokens import document_ids
from timbre.tabular import objects_of
from timbre.words import sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KIND = "closed_book"
METRIC = "closed_book_correct"
NEW_TOKENS = {"completion": 12, "question": 24}
"""A completion answers at once; an answer to a question repeats it first."""
_FIELDS = ("id", "fact", "topic", "question", "statement", "answers", "source")
_OPENING_WORDS = "sure certainly course of yes okay ok well great good question answer correct is it that this here"
_OPENERS = frozenset(_OPENING_WORDS.split())


@dataclass(frozen=True)
class Question:
    """One wording of a question about a fact."""

    question_id: str
    fact: str
    topic: str
    question: str
    statement: str
    """A sentence that ends where the answer begins."""
    answers: tuple[str, ...]


def read_questions(path: Path) -> list[Question]:
    """Read a JSON-lines file of questions.

    Raises:
        ValueError: a line is not JSON, lacks a field, repeats an id, or has an answer without a letter or digit.
    """
    questions: dict[str, Question] = {}
    for spot, row in objects_of(path):
        if missing := [name for name in _FIELDS if not row.get(name)]:
            raise spot.wrong(f"{', '.join(missing)} is missing")
        answers = row["answers"]
        if not isinstance(answers, list) or not all(isinstance(answer, str) and normalised(answer) for answer in answers):
            raise spot.wrong("'answers' must be a list of words or numbers")
        name, fact, topic, question, statement = (str(row[field]).strip() for field in ("id", "fact", "topic", "question", "statement"))
        if name in questions:
            raise spot.wrong(f"the id {name!r} is there twice")
        questions[name] = Question(name, fact, topic, question, statement, tuple(answers))
    return list(questions.values())


def prompts(questions: Sequence[Question], tokenizer: "PreTrainedTokenizerBase", *, count: int, samples: int, seed: int) -> list[Prompt]:
    """Prompts of up to `count` questions, one of every fact before the second of any; `samples` texts each.

    The facts are drawn by `seed`. A tokenizer with a chat template is asked both ways.
    """
    forms = ("completion", "question") if tokenizer.chat_template else ("completion",)
    return [_prompt(question, form, tokenizer, samples) for question in _drawn(questions, count, seed) for form in forms]


def measure(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Items and summary of generated answers.

    An item is one sample of one prompt, 1 if it holds an accepted answer and 0 if not; its cluster is the fact, so that
    samples and wordings of a fact are not taken for independent.

    Args:
        rows: lines of generations.jsonl of the kind "closed_book".

    Returns:
        Items, and {accuracy, by_topic, by_form, pass_at, always, samples, questions, facts, empty}; `pass_at` "j" is the
        chance that one of j samples is right (Chen et al. 2021, eq. 1), `always` the share of prompts all of whose
        samples are.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("no closed-book answers were generated: raise evaluation.closed_book_questions")
    items = [
        {"metric": METRIC, "item": f"{row['prompt_id']}/{row['sample']}", "cluster": row["cluster"], "value": float(correct(row))}
        for row in rows
    ]
    values, clusters = [item["value"] for item in items], [item["cluster"] for item in items]
    right: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        right.setdefault(row["prompt_id"], []).append(value)
    most = min(len(given) for given in right.values())
    summary = {
        "accuracy": share(values, clusters, seed),
        "by_topic": by([row["about"]["topic"] for row in rows], values, clusters, seed),
        "by_form": by([row["about"]["form"] for row in rows], values, clusters, seed),
        "pass_at": {str(j): sum(pass_at(len(own), round(sum(own)), j) for own in right.values()) / len(right) for j in range(1, most + 1)},
        "always": sum(all(own) for own in right.values()) / len(right),
        "samples": len(rows),
        "questions": len({row["about"]["question"] for row in rows}),
        "facts": len(set(clusters)),
        "empty": sum(not normalised(row["text"]) for row in rows),
    }
    return items, summary


def correct(row: Mapping[str, Any]) -> bool:
    """Whether a generated text answers with one of its accepted answers."""
    said = normalised(first_statement(row["text"]))
    return any(contains(said, normalised(answer)) for answer in row["about"]["answers"].split("\n"))


def first_statement(text: str) -> str:
    """The first sentence that says something: "Sure!" and "The answer is:" alone do not. A last cut word is left out."""
    for piece in sentences(without_cut_word(text) if _ends_cut(text) else text):
        for line in piece.split("\n"):
            if set(normalised(line)) - _OPENERS:
                return line
    return ""


def pass_at(samples: int, right: int, j: int) -> float:
    """1 − C(n − c, j)/C(n, j): the chance that at least one of j of the n samples, c of which are right, is right."""
    return 1 - comb(samples - right, j) / comb(samples, j)


def _ends_cut(text: str) -> bool:
    """A number at the very end may go on; a cut word equals no answer, and a whole one should count."""
    return text[-1:].isdigit()


def _drawn(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    facts: dict[str, list[Question]] = {}
    for question in sorted(questions, key=lambda question: question.question_id):
        facts.setdefault(question.fact, []).append(question)
    order = sorted(facts)
    random.Random(seed).shuffle(order)
    rounds = max(map(len, facts.values()), default=0)
    return [facts[fact][turn] for turn in range(rounds) for fact in order if turn < len(facts[fact])][:count]


def _prompt(question: Question, form: str, tokenizer: "PreTrainedTokenizerBase", samples: int) -> Prompt:
    if form == "question":
        text, ids = question.question, instruction_ids(question.question, tokenizer)
    else:
        text = question.statement
        ids = tuple(document_ids(text, tokenizer))
    about = {"topic": question.topic, "form": form, "question": question.question_id, "answers": "\n".join(question.answers)}
    return Prompt(f"{question.question_id}/{form}", question.fact, KIND, text, ids, NEW_TOKENS[form], samples=samples, about=about)
