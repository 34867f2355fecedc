"""Copying: names and numbers of a given passage, told again in a summary or as the answer to a question.

What a model was given it can say right; a tuned one that swaps a name or makes up a number drifts in a way that neither
likelihood nor closed-book questions see. Passages are our own (dense with invented names and numbers, with questions whose
answers are known) and held-out corpus text (summaries only).

A name or number of the text is right if it stands in the passage or in the rest of the prompt, and wrong otherwise, also
where it could be worked out (a sum, an age). How they are found and compared: `entities`.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.corpus.documents import Document
from timbre.evaluation.factuality.closed_book import correct
from timbre.evaluation.factuality.entities import Source, entities
from timbre.evaluation.factuality.normalising import normalised
from timbre.evaluation.factuality.shares import by, share
from timbre.inference.prompts import Prompt, instruction_ids
from timbre.models.tokens import document_ids
from timbre.statistics import bootstrap_interval
from timbre.tabular import objects_of
from timbre.words import pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KIND = "copying"
PASSAGE_WORDS = 100
NEW_TOKENS = {"summary": 64, "question": 24}
LEAST = 4
"""Names and numbers that a passage of the corpus must hold to be worth asking about."""
_SHOWN = 5
Row = dict[str, Any]


@dataclass(frozen=True)
class Passage:
    """A text to summarise, and questions that it answers: (question, accepted answers)."""

    passage_id: str
    text: str
    origin: str
    """"own" or "corpus"."""
    questions: tuple[tuple[str, tuple[str, ...]], ...] = ()


def read_passages(path: Path) -> list[Passage]:
    """Read a JSON-lines file {id, text, questions: [{question, answers}]}.

    Raises:
        ValueError: a line is not of that form, repeats an id, or asks for what its passage does not say.
    """
    passages: dict[str, Passage] = {}
    for spot, row in objects_of(path):
        try:
            questions = tuple((str(one["question"]), tuple(map(str, one["answers"]))) for one in row["questions"])
            passage = Passage(str(row["id"]), str(row["text"]), "own", questions)
        except (KeyError, TypeError) as error:
            raise spot.wrong(f"not a passage with questions ({error!r})") from error
        if passage.passage_id in passages:
            raise spot.wrong(f"the id {passage.passage_id!r} is there twice")
        said = set(normalised(passage.text))
        for question, answers in questions:
            if not any(answer and set(normalised(answer)) <= said for answer in answers):
                raise spot.wrong(f"the passage does not answer {question!r}")
        passages[passage.passage_id] = passage
    return list(passages.values())


def corpus_passages(documents: Sequence[Document], *, count: int, seed: int) -> list[Passage]:
    """Up to `count` passages of 100 words that hold names or numbers, one of every document before the second of any.

    Args:
        documents: held-out ones; training text might be known by heart.
    """
    order = sorted(documents, key=lambda document: document.doc_id)
    random.Random(seed).shuffle(order)
    sources = [(document.doc_id, enumerate(pieces(document.text, PASSAGE_WORDS))) for document in order]
    found: list[Passage] = []
    while sources and len(found) < count:
        live = []
        for doc_id, windows in sources:
            if len(found) == count:
                break
            for index, text in windows:
                named = entities(text)
                if len(set(named.names)) + len(set(named.numbers)) >= LEAST:
                    found.append(Passage(f"{doc_id}#{index}", text, "corpus"))
                    live.append((doc_id, windows))
                    break
        sources = live
    return found


def chosen(own: Sequence[Passage], documents: Sequence[Document], *, count: int, seed: int) -> list[Passage]:
    """`count` passages: half of them our own as far as there are so many, the others of the corpus; fewer if both run out."""
    drawn = sorted(own, key=lambda passage: passage.passage_id)
    random.Random(seed).shuffle(drawn)
    ours = drawn[: (count + 1) // 2]
    corpus = corpus_passages(documents, count=count - len(ours), seed=seed)
    return [*ours, *corpus, *drawn[len(ours) : count - len(corpus)]]


def prompts(passages: Sequence[Passage], tokenizer: "PreTrainedTokenizerBase", *, samples: int = 1) -> list[Prompt]:
    """A summary of each passage, and its questions, `samples` texts each; in the chat template where the tokenizer has one.

    Cluster: the passage.
    """
    made = []
    for passage in passages:
        tasks: list[tuple[str, str, tuple[str, ...]]] = [("summary", "Summarise the passage in two or three sentences.", ())]
        tasks += [("question", f"{question} Answer from the passage.", answers) for question, answers in passage.questions]
        for number, (task, request, answers) in enumerate(tasks):
            text, ids = _prompt(passage.text, request, task, tokenizer)
            about = {"task": task, "passage": passage.text, "origin": passage.origin, "answers": "\n".join(answers)}
            name, length = f"{passage.passage_id}/{number}", NEW_TOKENS[task]
            made.append(Prompt(name, passage.passage_id, KIND, text, ids, length, samples=samples, about=about))
    return made


def measure(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> tuple[list[Row], dict[str, Any]]:
    """Items and summary of generated summaries and answers.

    Items, one a text, cluster the passage:
        copy_accuracy   share of the text's names and numbers that are right. A text that names nothing copied nothing: 0, or 1
                        where it answers its question all the same ("Grey."), so that base and candidate have the same items
                        and silence is no gain. `texts_without` says how many named nothing.
        copy_errors     wrong names and numbers in the text.
        copy_answered   questions only: 1 if an accepted answer stands in the first sentence.

    Returns:
        Items, and {accuracy (mean of the item), pooled (right ÷ found over all texts), errors_per_text, answered, kinds, by_task,
        by_origin, texts, passages, texts_without, examples}.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("no texts about passages were generated: raise evaluation.copying_passages")
    checked = [check(row["text"], f"{row['prompt']}\n{row['about']['passage']}") for row in rows]
    items: list[Row] = []
    values = [_score(row, found) for row, found in zip(rows, checked, strict=True)]
    for row, found, value in zip(rows, checked, values, strict=True):
        item = {"item": f"{row['prompt_id']}/{row['sample']}", "cluster": row["cluster"]}
        items.append({"metric": "copy_accuracy", **item, "value": value})
        items.append({"metric": "copy_errors", **item, "value": float(len(found.wrong))})
        if row["about"]["task"] == "question":
            items.append({"metric": "copy_answered", **item, "value": float(correct(row))})
    return items, _summary(rows, checked, values, items, seed)


def _score(row: Mapping[str, Any], found: "Checked") -> float:
    """The text's copy_accuracy."""
    if found.found or row["about"]["task"] != "question":
        return found.accuracy
    return float(correct(row))


@dataclass(frozen=True)
class Checked:
    """Names and numbers of a text by what became of them."""

    right_names: int
    wrong_names: tuple[str, ...]
    right_numbers: int
    wrong_numbers: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        return (*self.wrong_names, *self.wrong_numbers)

    @property
    def right(self) -> int:
        return self.right_names + self.right_numbers

    @property
    def found(self) -> int:
        return self.right + len(self.wrong)

    @property
    def accuracy(self) -> float:
        """Right ones of those found; 0 where there are none."""
        return self.right / self.found if self.found else 0.0


def check(text: str, given: str) -> Checked:
    """The names and numbers of a generated text against what was given; its last word may be cut and does not count."""
    source, named = Source(given), entities(text, cut=True)
    wrong_names = tuple(" ".join(name) for name in named.names if not source.has_name(name))
    wrong_numbers = tuple(number for number in named.numbers if not source.has_number(number))
    return Checked(len(named.names) - len(wrong_names), wrong_names, len(named.numbers) - len(wrong_numbers), wrong_numbers)


def _prompt(passage: str, request: str, task: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[str, tuple[int, ...]]:
    if tokenizer.chat_template:
        text = f"Read this passage.\n\n{passage}\n\n{request}"
        return text, instruction_ids(text, tokenizer)
    text = f"{passage}\n\nSummary:" if task == "summary" else f"{passage}\n\nQuestion: {request}\nAnswer:"
    return text, tuple(document_ids(text, tokenizer))


def _summary(
    rows: Sequence[Mapping[str, Any]], checked: Sequence[Checked], values: Sequence[float], items: Sequence[Row], seed: int
) -> dict[str, Any]:
    clusters = [row["cluster"] for row in rows]
    errors = bootstrap_interval([len(one.wrong) for one in checked], clusters, seed=seed)
    known = errors.clusters > 1
    answered = [item for item in items if item["metric"] == "copy_answered"]
    found = sum(one.found for one in checked)
    wrong = Counter({place: len(one.wrong) for place, one in enumerate(checked) if one.wrong})
    return {
        "accuracy": share(values, clusters, seed),
        "pooled": sum(one.right for one in checked) / found if found else None,
        "errors_per_text": {
            "value": errors.mean, "low": max(errors.low, 0.0) if known else None, "high": errors.high if known else None,
        },
        "answered": share([item["value"] for item in answered], [item["cluster"] for item in answered], seed) if answered else None,
        "kinds": {
            "names": {"right": sum(one.right_names for one in checked), "wrong": sum(len(one.wrong_names) for one in checked)},
            "numbers": {"right": sum(one.right_numbers for one in checked), "wrong": sum(len(one.wrong_numbers) for one in checked)},
        },
        "by_task": by([row["about"]["task"] for row in rows], values, clusters, seed),
        "by_origin": by([row["about"]["origin"] for row in rows], values, clusters, seed),
        "texts": len(rows),
        "passages": len(set(clusters)),
        "texts_without": sum(not one.found for one in checked),
        "examples": [
            {"prompt_id": rows[place]["prompt_id"], "text": rows[place]["text"], "wrong": list(checked[place].wrong)}
            for place, _ in wrong.most_common(_SHOWN)
        ],
    }  # fmt: skip
