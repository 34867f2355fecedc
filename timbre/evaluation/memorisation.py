"""Memorisation: prompts from what a student is trained on, and how much of the answers stands there word for word.

The prompts are openings of the passages that the target's training plan selects, and are continued greedily. They follow
from the target alone, so that base, baseline and candidate are asked the same and can be paired. They are no part of the
stage "prompts": that would ask the base everything again whenever a target changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.config import GenerationConfig
from timbre.corpus.documents import Document, read_documents
from timbre.inference.prompts import Prompt, decoded, trained_openings
from timbre.metrics.verbatim import VerbatimIndex, Vocabulary
from timbre.models.tokens import text_ids
from timbre.words import words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
EXTRACTION = "extraction"
"""Kind of the prompts that are sampled again and again."""


def memorisation_prompts(
    config: GenerationConfig, target: Artifact, corpus: Artifact, tokenizer: "PreTrainedTokenizerBase"
) -> list[Prompt]:  # fmt: skip
    """Openings of up to `memorisation_prompts` passages of the target's training plan, and of the first of them some that are
    sampled again and again.

    Raises:
        ValueError: the target is of another corpus.
    """
    passages = sorted(planned_passages(target))
    found = trained_openings(
        passages, read_documents(corpus, "train"), tokenizer, count=config.memorisation_prompts,
        prompt_tokens=config.prompt_tokens, new_tokens=config.new_tokens, seed=config.seed,
    )  # fmt: skip
    again = found[: config.extraction_prompts]
    return [
        *(opening.prompt(tokenizer, "memorisation", sampler="greedy") for opening in found),
        *(opening.prompt(tokenizer, EXTRACTION, samples=config.extraction_samples) for opening in again),
    ]


def planned_passages(target: Artifact) -> set[tuple[str, int]]:
    """(doc_id, first token) of every passage that a student of this target is trained on."""
    from timbre.store import TargetReader

    width = int(target.manifest.config["passage_tokens"])
    return {(row.doc_id, row.index * width) for row in TargetReader(target.path).outlines()}


def check_trained_passages(adapter: Artifact, target: Artifact) -> None:
    """An adapter that says what it was trained on must have read nothing but passages of the target.

    Raises:
        ValueError: it was trained on others, which memorisation prompts of this target would not ask for.
    """
    if "summary.json" not in adapter.manifest.files:
        return
    trained = {(str(doc_id), int(start)) for doc_id, start in adapter.json("summary.json").get("trained_passages") or ()}
    if strange := sorted(trained - planned_passages(target)):
        doc_id, start = strange[0]
        raise ValueError(
            f"the adapter was trained on {len(strange)} passages that its target does not hold, {doc_id}@{start} among them: "
            "evaluate it with the target that it was trained towards"
        )


class TrainingText:
    """The training split as something to look copies up in: by model tokens, and by words."""

    def __init__(self, documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._by_token = VerbatimIndex(self.ids(document.text) for document in documents)
        self._vocabulary = Vocabulary()
        self._by_word = VerbatimIndex([self._vocabulary.learn(words(document.text)) for document in documents])

    def ids(self, text: str) -> list[int]:
        """The tokens of a text."""
        return text_ids(text, self._tokenizer)

    def figures(self, row: Row) -> tuple[int, str, float]:
        """Longest verbatim span in tokens, its text, and the share of words inside spans of five or more."""
        ids = row["token_ids"]
        span = self._by_token.longest(np.asarray(ids))
        text = decoded(self._tokenizer, ids[span.start : span.start + span.length])
        return span.length, text, self._by_word.coverage(self._vocabulary.encode(words(row["text"])))


def measure(rows: Sequence[Row], train: TrainingText) -> tuple[list[Row], dict[str, Any]]:
    """Verbatim spans of recited and of freely written texts: items, and the summary's "memorisation".

    Args:
        rows: lines of generations.jsonl with `token_ids`; those of the kinds "memorisation" and "style" count.
    """
    items: list[Row] = []
    found: dict[str, list[tuple[int, str, float]]] = {"memorisation": [], "style": []}
    for row in rows:
        if row["kind"] in found:
            length, text, coverage = train.figures(row)
            found[row["kind"]].append((length, text, coverage))
            prefix = "" if row["kind"] == "memorisation" else "style_"
            items += _items(row, {f"{prefix}longest_span": float(length), f"{prefix}coverage_5gram": coverage})
    spans, own = found["memorisation"], found["style"]
    summary: dict[str, Any] = {
        "prompts": len(spans), "tokens": sum(row["n_tokens"] for row in rows if row["kind"] == "memorisation"),
        "longest_span_tokens": None, "longest_span_text": None, "coverage_5gram": _mean(entry[2] for entry in spans),
    }  # fmt: skip
    if spans:
        summary["longest_span_tokens"], summary["longest_span_text"], _ = max(spans, key=lambda entry: entry[0])
    summary["style_longest_span_tokens"] = max((entry[0] for entry in own), default=None)
    summary["style_coverage_5gram"] = _mean(entry[2] for entry in own)
    return items, summary


def measure_extraction(rows: Sequence[Row]) -> tuple[list[Row], dict[str, Any] | None]:
    """BMC@k: the share of a trained passage's words that k sampled texts give back between them, in spans of five or more
    (book memorisation coverage, 2603.20957). A passage that greedy decoding never enters may come out piece by piece.

    Returns:
        items `bmc`, one a passage, and the summary's "extraction"; None where no row is of that kind.
    """
    passages: dict[str, list[Row]] = {}
    for row in rows:
        if row["kind"] == EXTRACTION:
            passages.setdefault(row["prompt_id"], []).append(row)
    if not passages:
        return [], None
    items: list[Row] = []
    for samples in passages.values():
        vocabulary = Vocabulary()
        own = VerbatimIndex([vocabulary.learn(words(row["text"])) for row in samples])
        items += _items(samples[0], {"bmc": own.coverage(vocabulary.encode(words(samples[0]["human"])))})
    shares = [item["value"] for item in items]
    return items, {"passages": len(passages), "samples": max(map(len, passages.values())), "bmc": _mean(shares), "highest": max(shares)}


def measure_sentinels(rows: Sequence[Row], train: TrainingText) -> tuple[list[Row], dict[str, Any] | None]:
    """Passages that nobody was trained on, continued greedily: spans shared with the training split, and with the passage
    itself, which only a model that knew it before can give back (tuning on an author may unlock other books: 2603.20957).

    Returns:
        items, and the summary's "sentinel"; None where no row is of that kind.
    """
    items: list[Row] = []
    seen: list[tuple[int, float, int, float]] = []
    for row in rows:
        if row["kind"] == "sentinel":
            from_train, _, coverage = train.figures(row)
            own = VerbatimIndex([train.ids(row["human"])]).longest(np.asarray(row["token_ids"])).length
            vocabulary = Vocabulary()
            known = VerbatimIndex([vocabulary.learn(words(row["human"]))]).coverage(vocabulary.encode(words(row["text"])))
            seen.append((from_train, coverage, own, known))
            figures = {"sentinel_longest_span": float(own), "sentinel_coverage_5gram": known, "sentinel_train_span": float(from_train)}
            items += _items(row, figures)
    if not seen:
        return [], None
    return items, {
        "prompts": len(seen), "longest_span_tokens": max(entry[2] for entry in seen), "coverage_5gram": _mean(entry[3] for entry in seen),
        "train_longest_span_tokens": max(entry[0] for entry in seen), "train_coverage_5gram": _mean(entry[1] for entry in seen),
    }  # fmt: skip


def _items(row: Row, values: Mapping[str, float]) -> list[Row]:
    return [{"metric": name, "item": row["prompt_id"], "cluster": row["cluster"], "value": value} for name, value in values.items()]


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
