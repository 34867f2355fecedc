"""The frozen prompt sets: openings of human passages, with the human continuation of the same length.

Drawn from the corpus by the evaluation's own seed, so that base and candidates continue the same prompts.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from timbre.corpus.documents import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Kind = Literal["style", "memorisation"]


@dataclass(frozen=True)
class Prompt:
    """The first tokens of a window of a document, and the human tokens that follow them there."""

    prompt_id: str
    doc_id: str
    kind: Kind
    token_ids: tuple[int, ...]
    human_ids: tuple[int, ...]


def openings(
    documents: Sequence[Document],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    kind: Kind,
    count: int,
    prompt_tokens: int,
    new_tokens: int,
    seed: int,
) -> list[Prompt]:
    """Up to `count` windows of exactly prompt_tokens + new_tokens tokens: one of every document before the second of any.

    Shorter windows are passed over. Documents are tokenised without special tokens, in an order drawn by `seed`, and only
    as far as `count` needs. Fewer prompts come back when the documents hold no more.
    """
    order = sorted(documents, key=lambda document: document.doc_id)
    random.Random(seed).shuffle(order)
    length = prompt_tokens + new_tokens
    windows = [_windows(document, tokenizer, length) for document in order]
    prompts: list[Prompt] = []
    while windows and len(prompts) < count:
        live = []
        for source in windows:
            if len(prompts) == count:
                break
            if (window := next(source, None)) is not None:
                name, doc_id, ids = window
                prompts.append(Prompt(name, doc_id, kind, ids[:prompt_tokens], ids[prompt_tokens:]))
                live.append(source)
        windows = live
    return prompts


def trained_openings(
    passages: Sequence[tuple[str, int]], documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase",
    *, count: int, prompt_tokens: int, new_tokens: int, seed: int,
) -> list[Prompt]:  # fmt: skip
    """Openings of up to `count` passages that an adapter was trained on, given as (doc_id, first token of the passage)."""
    texts = {document.doc_id: document.text for document in documents}
    order = sorted(set(passages))
    random.Random(seed).shuffle(order)
    prompts: list[Prompt] = []
    for doc_id, start in order:
        if doc_id not in texts:
            raise ValueError(f"the adapter was trained on document {doc_id}, which is not in this corpus' training split")
        if len(prompts) == count:
            break
        ids = _token_ids(texts[doc_id], tokenizer)[start : start + prompt_tokens + new_tokens]
        if len(ids) == prompt_tokens + new_tokens:
            prompts.append(Prompt(f"{doc_id}@{start}", doc_id, "memorisation", ids[:prompt_tokens], ids[prompt_tokens:]))
    return prompts


def decoded(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> str:
    """The text of some tokens, without special ones; human and generated texts all come from here, wherever they are cut."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True)
    assert isinstance(text, str)
    return text


def _windows(document: Document, tokenizer: "PreTrainedTokenizerBase", length: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    ids = _token_ids(document.text, tokenizer)
    for index, start in enumerate(range(0, len(ids) - length + 1, length)):
        yield f"{document.doc_id}#{index}", document.doc_id, ids[start : start + length]


def _token_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
