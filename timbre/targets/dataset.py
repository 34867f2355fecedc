"""What a target is made from: training and validation passages of the corpus, in the wanted formats and proportions."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.config import TargetConfig
from timbre.corpus.documents import Document, read_documents
from timbre.corpus.passages import Passage, select_passages
from timbre.models.tokens import start_ids, text_ids
from timbre.targets.ngram import NgramModel
from timbre.targets.prompts import formatted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Dataset:
    """Passages, and what is known of their documents."""

    training: list[Passage]
    validation: list[Passage]
    source_of: dict[str, str]
    """Source of each training document."""
    style_of: dict[str, str]
    """Style of each document of a blend; empty where there is one style."""


def gather(config: TargetConfig, corpus: Artifact, tokenizer: "PreTrainedTokenizerBase", context: int) -> Dataset:
    """Draw the passages.

    Args:
        context: tokens that the smallest of the models involved reads.

    Raises:
        ValueError: no training or validation documents, all documents the same, a source outside the blend, or passages that
            the context cannot hold.
    """
    if (longest := config.passage_tokens + len(start_ids(tokenizer))) > context:
        raise ValueError(f"passages of {longest} tokens exceed the model's context of {context}: lower target.passage_tokens")
    documents = {"train": read_documents(corpus, "train"), "validation": read_documents(corpus, "validation")}
    for split, rows in documents.items():
        if not rows:
            raise ValueError(f"the corpus has no {split} documents: give it more documents")
    training = documents["train"]
    if len(training) > 1 and len({document.text for document in training}) == 1:
        raise ValueError(f"all {len(training)} training documents are identical, so that none is unseen: give the corpus different texts")
    style_of = _styles(config, [*training, *documents["validation"]])
    texts = {document.doc_id: document.text for rows in documents.values() for document in rows}

    def drawn(split: str, budget: int) -> list[Passage]:
        passages: list[Passage] = []
        for share, some in _shares(config, documents[split], style_of, split):
            wanted = round(share * budget)
            chosen = select_passages(some, tokenizer, budget_tokens=wanted, passage_tokens=config.passage_tokens, seed=config.seed)
            held = sum(len(passage.text_ids) for passage in chosen)
            if config.blend and split == "train" and held < wanted - config.passage_tokens:
                warnings.warn(
                    f"the style {style_of[some[0].doc_id]!r} has {held:,} of the {wanted:,} training tokens of its share, so the blend is "
                    "not drawn as asked: lower target.train_tokens, or its share",
                    stacklevel=2,
                )
            passages += chosen
        long_enough = [passage for passage in passages if passage.positions]  # one token predicts nothing
        return formatted(long_enough, config, tokenizer, texts, context)

    found = Dataset(
        drawn("train", config.train_tokens), drawn("validation", config.admission_tokens),
        {document.doc_id: document.source for document in training}, style_of,
    )  # fmt: skip
    if not found.validation:
        raise ValueError("the validation documents hold no passage of two tokens: give the corpus longer documents")
    return found


def count_ngrams(
    config: TargetConfig, corpus: Artifact, tokenizer: "PreTrainedTokenizerBase", vocab_size: int
) -> tuple[NgramModel, frozenset[str]]:
    """N-grams of all training documents, whatever the budget of passages is; and which documents these are."""
    training = read_documents(corpus, "train")
    ids: dict[str, Any] = {document.doc_id: np.asarray(text_ids(document.text, tokenizer), dtype=np.int64) for document in training}
    return NgramModel(ids, vocab_size, config.ngram_order), frozenset(ids)


def _styles(config: TargetConfig, documents: Sequence[Document]) -> dict[str, str]:
    style_of_source = {source: part.style for part in config.blend for source in part.sources}
    if not config.blend:
        return {}
    present = {document.source for document in documents}
    if strangers := sorted(present - set(style_of_source)):
        raise ValueError(f"the corpus holds {', '.join(strangers)}, which no style of target.blend names: add it to one's sources")
    return {document.doc_id: style_of_source[document.source] for document in documents}


def _shares(
    config: TargetConfig, documents: Sequence[Document], style_of: Mapping[str, str], split: str
) -> list[tuple[float, list[Document]]]:
    if not config.blend:
        return [(1.0, list(documents))]
    shares = []
    for part in config.blend:
        own = [document for document in documents if style_of[document.doc_id] == part.style]
        if not own:
            raise ValueError(
                f"the corpus has no {split} document of style {part.style!r}: give it more documents, or take the style out of target.blend"
            )
        shares.append((part.weight, own))
    return shares
