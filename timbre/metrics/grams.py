"""n-grams of many texts counted at once, as numbers."""

from collections.abc import Sequence

import numpy as np


def gram_codes(sequences: Sequence[Sequence[str]], n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of many sequences as numbers in order of first appearance, and the sequence that each stands in.

    Returns:
        codes and owners, one an n-gram occurrence, in order. No n-gram reaches from one sequence into the next.
    """
    numbers: dict[str, int] = {}
    word_T = np.array([numbers.setdefault(word, len(numbers)) for sequence in sequences for word in sequence], np.int64)
    owner_T = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    start, codes = np.arange(len(word_T)), word_T
    for reach in range(1, n):
        inside = start + reach < len(word_T)
        start, codes = start[inside], codes[inside]
        inside = owner_T[start + reach] == owner_T[start]
        start, codes = start[inside], codes[inside]
        # Number of the shorter gram and the next word; made dense again at every length, so that the product fits.
        codes = np.unique(codes * len(numbers) + word_T[start + reach], return_inverse=True)[1]
    return _first_appearance(codes), owner_T[start]


def count_table(codes: np.ndarray, owner: np.ndarray, texts: int) -> np.ndarray:
    """Rows (gram, text, count), sorted by gram and then text, int64, shape (3, distinct pairs)."""
    pair, count = np.unique(codes * max(texts, 1) + owner, return_counts=True)
    gram, text = np.divmod(pair, max(texts, 1))
    return np.stack([gram, text, count]).astype(np.int64)


def _first_appearance(codes: np.ndarray) -> np.ndarray:
    """The same codes, renumbered 0, 1, … in the order in which they first come."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result: np.ndarray = rank[inverse]
    return result
