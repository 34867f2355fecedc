"""From prompts and the tokens written for them to generations, items and the summary: nothing here needs a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.config import EvaluationConfig
from timbre.corpus.documents import Document
from timbre.evaluation import style
from timbre.evaluation.memorisation import VerbatimIndex, Vocabulary
from timbre.evaluation.prompts import Prompt, decoded
from timbre.evaluation.words import words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What becomes generations.jsonl, a part of items.parquet, and a part of summary.json."""

    generations: list[Row]
    items: list[Row]
    summary: dict[str, Any]


def build_report(
    config: EvaluationConfig, tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[Prompt], others: Sequence[Prompt],
    written: Sequence[Sequence[int]], train: Sequence[Document],
) -> Report:  # fmt: skip
    """Measure the texts that were written.

    Args:
        prompts: style and memorisation prompts; `written` holds their continuations in the same order.
        others: further human passages of test documents, which join the human side of the comparison.
        train: the documents that may have been memorised.
    """
    assert len(prompts) == len(written)
    generations = [_generation(tokenizer, prompt, ids) for prompt, ids in zip(prompts, written, strict=True)]
    own = [row for row in generations if row["kind"] == "style"]
    texts, human = [row["text"] for row in own], [row["human"] for row in own]
    human += [decoded(tokenizer, prompt.human_ids) for prompt in others]
    spans, memorisation = _memorised(tokenizer, prompts, written, generations, train)
    rate, human_rate = style.wrong_script_rates(texts, human)
    summary = {
        "style": style.compare(texts, human, seed=config.seed), "memorisation": memorisation,
        "wrong_script_rate": rate, "human_wrong_script_rate": human_rate, "empty_texts": sum(not words(text) for text in texts),
        "prompts": len(own), "human_texts": len(human), "prompt_tokens": config.prompt_tokens, "new_tokens": config.new_tokens,
    }  # fmt: skip
    return Report(generations, [*_style_items(own, texts), *spans], summary)


def _generation(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, ids: Sequence[int]) -> Row:
    """Human and generated text are decoded alike, also where a cut falls inside a word or a character."""
    prompt_text, human, text = (decoded(tokenizer, part) for part in (prompt.token_ids, prompt.human_ids, ids))
    return {
        "prompt_id": prompt.prompt_id, "doc_id": prompt.doc_id, "kind": prompt.kind, "prompt": prompt_text, "human": human,
        "text": text, "n_tokens": len(ids),
    }  # fmt: skip


def _style_items(rows: Sequence[Row], texts: Sequence[str]) -> list[Row]:
    return [
        {"metric": name, "item": row["prompt_id"], "cluster": row["doc_id"], "value": value}
        for name, values in style.per_text(texts).items()
        for row, value in zip(rows, values, strict=True)
        if value is not None
    ]


def _memorised(
    tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[Prompt], written: Sequence[Sequence[int]], generations: Sequence[Row],
    train: Sequence[Document],
) -> tuple[list[Row], dict[str, Any]]:  # fmt: skip
    """Longest verbatim span in tokens and share of words inside spans of five or more, per text and over all."""
    by_token = VerbatimIndex(tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"] for document in train)
    vocabulary = Vocabulary()
    by_word = VerbatimIndex([vocabulary.learn(words(document.text)) for document in train])
    items: list[Row] = []
    found: dict[str, list[tuple[int, str, float]]] = {"style": [], "memorisation": []}
    for prompt, ids, row in zip(prompts, written, generations, strict=True):
        span = by_token.longest(np.asarray(ids))
        text = decoded(tokenizer, ids[span.start : span.start + span.length])
        coverage = by_word.coverage(vocabulary.encode(words(row["text"])))
        found[prompt.kind].append((span.length, text, coverage))
        prefix = "" if prompt.kind == "memorisation" else "style_"
        for name, value in (("longest_span", float(span.length)), ("coverage_5gram", coverage)):
            items.append({"metric": prefix + name, "item": prompt.prompt_id, "cluster": prompt.doc_id, "value": value})
    return items, _memorisation_summary(
        found, sum(len(ids) for prompt, ids in zip(prompts, written, strict=True) if prompt.kind == "memorisation")
    )


def _memorisation_summary(found: dict[str, list[tuple[int, str, float]]], tokens: int) -> dict[str, Any]:
    recited, own = found["memorisation"], found["style"]
    summary: dict[str, Any] = {"prompts": len(recited), "tokens": tokens, "longest_span_tokens": None, "longest_span_text": None}
    summary["coverage_5gram"] = float(np.mean([entry[2] for entry in recited])) if recited else None
    if recited:
        summary["longest_span_tokens"], summary["longest_span_text"], _ = max(recited, key=lambda entry: entry[0])
    summary["style_longest_span_tokens"] = max((entry[0] for entry in own), default=None)
    summary["style_coverage_5gram"] = float(np.mean([entry[2] for entry in own])) if own else None
    return summary
