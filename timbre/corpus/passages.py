"""Cutting documents into passages of tokens, spread over as many documents as the budget allows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from timbre.corpus.documents import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MIN_TOKENS = 16
"""Shorter windows say little about style and are dropped, unless a document has no other."""


@dataclass(frozen=True, eq=False)
class Passage:
    """A window of consecutive tokens of one document; `index` is its place among the document's windows."""

    doc_id: str
    index: int
    fold: int
    author: str
    token_ids: npt.NDArray[np.int32]
    first_label: int = 1
    """The first token that is predicted; those before it are a prompt."""


def select_passages(
    documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase", *, budget_tokens: int, passage_tokens: int, seed: int
) -> list[Passage]:
    """Windows of at most `passage_tokens` tokens, one of every document before the second of any, until the budget is reached.

    Documents are tokenised without special tokens, in an order drawn by `seed`, and only as far as the budget needs. The
    last window is cut to fit if at least 16 tokens are left of the budget. The same arguments give the same passages,
    whatever the order of `documents`.

    Raises:
        ValueError: a budget or passage length below 16 tokens, or no document with any token.
    """
    if budget_tokens < MIN_TOKENS or passage_tokens < MIN_TOKENS:
        raise ValueError(f"a budget of {budget_tokens} and passages of {passage_tokens} tokens are too small: use at least {MIN_TOKENS}")
    order = sorted(documents, key=lambda document: document.doc_id)
    random.Random(seed).shuffle(order)
    windows: dict[str, list[npt.NDArray[np.int32]]] = {}
    passages: list[Passage] = []
    left, index = budget_tokens, 0
    while order and left >= MIN_TOKENS:
        for document in order:
            if document.doc_id not in windows:
                windows[document.doc_id] = _windows(document.text, tokenizer, passage_tokens)
            if index >= len(windows[document.doc_id]):
                continue
            token_ids = windows[document.doc_id][index][:left]
            passages.append(Passage(document.doc_id, index, document.fold, document.author, token_ids))
            left -= len(token_ids)
            if left < MIN_TOKENS:
                break
        index += 1
        order = [document for document in order if index < len(windows.get(document.doc_id, ()))]
    if not passages:
        raise ValueError("no document holds any token: the corpus is empty for this tokenizer")
    return passages


def _windows(text: str, tokenizer: "PreTrainedTokenizerBase", length: int) -> list[npt.NDArray[np.int32]]:
    ids = np.asarray(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)
    cut = [ids[start : start + length] for start in range(0, len(ids), length)]
    return [window for window in cut if len(window) >= MIN_TOKENS] or cut[:1]
