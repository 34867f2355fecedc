"""Cutting documents into passages of tokens, spread over as many documents as the budget allows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from timbre.corpus.documents import Document
from timbre.models.tokens import start_ids, text_ids

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
    start: int = 0
    """How many of the first tokens are the tokenizer's own start of a text, and no text."""

    @property
    def text_ids(self) -> npt.NDArray[np.int32]:
        """The tokens without the start."""
        return self.token_ids[self.start :]

    @property
    def positions(self) -> int:
        """How many predictions count."""
        return max(0, len(self.token_ids) - self.first_label)


def select_passages(
    documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase", *, budget_tokens: int, passage_tokens: int, seed: int
) -> list[Passage]:
    """Windows of at most `passage_tokens` tokens, one of every document before the second of any, until the budget is reached.

    Documents are tokenised in an order drawn by `seed`, and only as far as the budget needs. The last window is cut to fit if
    at least 16 tokens are left of the budget. The same arguments give the same passages, whatever the order of `documents`.
    The tokenizer's own start, if it has one, stands before every window, beyond length and budget; it predicts the first token
    of a document, but not that of a later window: see `timbre.models.tokens`.

    Raises:
        ValueError: a budget or passage length below 16 tokens, or no document with any token.
    """
    if budget_tokens < MIN_TOKENS or passage_tokens < MIN_TOKENS:
        raise ValueError(f"a budget of {budget_tokens} and passages of {passage_tokens} tokens are too small: use at least {MIN_TOKENS}")
    order = sorted(documents, key=lambda document: document.doc_id)
    random.Random(seed).shuffle(order)
    windows: dict[str, list[npt.NDArray[np.int32]]] = {}
    passages: list[Passage] = []
    start = np.asarray(start_ids(tokenizer), dtype=np.int32)
    left, index = budget_tokens, 0
    while order and left >= MIN_TOKENS:
        for document in order:
            if document.doc_id not in windows:
                windows[document.doc_id] = _windows(document.text, tokenizer, passage_tokens)
            if index >= len(windows[document.doc_id]):
                continue
            token_ids = windows[document.doc_id][index][:left]
            passages.append(_passage(document, index, token_ids, start))
            left -= len(token_ids)
            if left < MIN_TOKENS:
                break
        index += 1
        order = [document for document in order if index < len(windows.get(document.doc_id, ()))]
    if not passages:
        raise ValueError("no document holds any token: the corpus is empty for this tokenizer")
    return passages


def _passage(document: Document, index: int, window: npt.NDArray[np.int32], start: npt.NDArray[np.int32]) -> Passage:
    known = len(start) if index == 0 else len(start) + 1  # no author wrote the first token of a later window after nothing
    return Passage(
        document.doc_id, index, document.fold, document.author, np.concatenate([start, window]), max(known, 1), start=len(start)
    )  # fmt: skip


def _windows(text: str, tokenizer: "PreTrainedTokenizerBase", length: int) -> list[npt.NDArray[np.int32]]:
    ids = np.asarray(text_ids(text, tokenizer), dtype=np.int32)
    cut = [ids[start : start + length] for start in range(0, len(ids), length)]
    return [window for window in cut if len(window) >= MIN_TOKENS] or cut[:1]
