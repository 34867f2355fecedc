"""How much of a text stands word for word in the training corpus.

An index of all 5-grams of the corpus (64-bit hashes, sorted) finds where a text could match; matches are then compared
item by item and followed as far as they go, so a collision of hashes can never make a span. Works on model tokens and on
words alike: anything with an integer for each item.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

SEED = 5
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BASE = np.uint64(0xD6E8FEB86659FD93)
_PAIRS = 4_000_000


@dataclass(frozen=True)
class Span:
    """The longest stretch of a text that the corpus holds: where it starts in the text, and how many items it has."""

    start: int
    length: int


class VerbatimIndex:
    """All 5-grams of a set of documents. Spans never cross from one document into the next."""

    def __init__(self, documents: Iterable[Sequence[int] | np.ndarray]) -> None:
        parts = [np.asarray(document, np.int64) for document in documents]
        separated = [piece for part in parts for piece in (part, np.array([-1]))]
        self._items = np.concatenate([*separated, np.full(SEED, -1)]).astype(np.int64)
        hashes = _window_hashes(self._items, SEED)
        windows = np.flatnonzero(_whole_windows(self._items, SEED))
        order = np.argsort(hashes[windows], kind="stable")
        self._positions = windows[order]
        self._hashes = hashes[self._positions]
        self._shorter: dict[int, np.ndarray] = {}

    def match_lengths(self, text: Sequence[int] | np.ndarray) -> np.ndarray:
        """For every position of `text`, how many items from there on stand in a row in some document; below 5 counts as 0."""
        items = np.asarray(text, np.int64)
        lengths = np.zeros(len(items), np.int64)
        if len(items) < SEED or not len(self._positions):
            return lengths
        hashes = _window_hashes(items, SEED)
        low, high = np.searchsorted(self._hashes, hashes, "left"), np.searchsorted(self._hashes, hashes, "right")
        for start, stop in _bounded(high - low, _PAIRS):
            hits = (high - low)[start:stop]
            mine = np.repeat(np.arange(start, stop), hits)
            offset = np.arange(hits.sum()) - np.repeat(np.cumsum(hits) - hits, hits)
            theirs = self._positions[np.repeat(low[start:stop], hits) + offset]
            # A match that goes on to the left is part of a longer one, whose length is handed on below.
            first = (mine == 0) | (theirs == 0) | (items[mine - 1] != self._items[theirs - 1])
            np.maximum.at(lengths, mine[first], self._extend(items, mine[first], theirs[first]))
        at = np.arange(len(items))
        lengths = np.maximum.accumulate(at + lengths) - at
        lengths[lengths < SEED] = 0
        return lengths

    def longest(self, text: Sequence[int] | np.ndarray) -> Span:
        """The longest verbatim span; one shorter than 5 items is looked up as such."""
        lengths = self.match_lengths(text)
        if len(lengths) and lengths.max():
            return Span(int(lengths.argmax()), int(lengths.max()))
        items = np.asarray(text, np.int64)
        for n in range(min(SEED - 1, len(items)), 0, -1):
            hashes, known = _window_hashes(items, n), self._short(n)
            place = np.minimum(np.searchsorted(known, hashes), max(len(known) - 1, 0))
            found = np.flatnonzero(known[place] == hashes) if len(known) else np.zeros(0, np.int64)
            if len(found):
                return Span(int(found[0]), n)
        return Span(0, 0)

    def _short(self, n: int) -> np.ndarray:
        """Hashes of all windows of n < 5 items, sorted; made when first asked for."""
        if n not in self._shorter:
            self._shorter[n] = np.unique(_window_hashes(self._items, n)[_whole_windows(self._items, n)])
        return self._shorter[n]

    def coverage(self, text: Sequence[int] | np.ndarray) -> float:
        """Share of the items that lie inside a verbatim span of 5 or more (one text of BMC@k, 2603.20957)."""
        lengths = self.match_lengths(text)
        if not len(lengths):
            return 0.0
        reach = np.maximum.accumulate(np.arange(len(lengths)) + lengths)
        return float((reach > np.arange(len(lengths))).mean())

    def _extend(self, items: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        lengths = np.zeros(len(mine), np.int64)
        alive = np.arange(len(mine))
        step = 0
        while len(alive):
            alive = alive[(mine[alive] + step < len(items)) & (theirs[alive] + step < len(self._items))]
            alive = alive[items[mine[alive] + step] == self._items[theirs[alive] + step]]
            step += 1
            lengths[alive] = step
        return lengths


class Vocabulary:
    """Numbers for words, so that an index can be made of them. Words outside the corpus get numbers that match nothing."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def learn(self, sequence: Sequence[str]) -> np.ndarray:
        return np.array([self._numbers.setdefault(word, len(self._numbers)) for word in sequence], np.int64)

    def encode(self, sequence: Sequence[str]) -> np.ndarray:
        return np.array([self._numbers.get(word, -2) for word in sequence], np.int64)


def _window_hashes(items: np.ndarray, n: int) -> np.ndarray:
    """Hash of the n items from each position on; shape (len − n + 1,)."""
    with np.errstate(over="ignore"):
        spread = (items.astype(np.uint64) + np.uint64(3)) * _SPREAD
        spread ^= spread >> np.uint64(29)
        count = max(len(items) - n + 1, 0)
        total = np.zeros(count, np.uint64)
        for offset in range(n):
            total = total * _BASE + spread[offset : offset + count]
    return total


def _whole_windows(items: np.ndarray, n: int) -> np.ndarray:
    """Which windows of n items hold no separator."""
    breaks = np.cumsum(np.r_[0, items < 0])
    return np.asarray(breaks[n:] == breaks[:-n])


def _bounded(sizes: np.ndarray, limit: int) -> Iterable[tuple[int, int]]:
    """Consecutive ranges whose sizes add up to at most `limit` (one alone may be larger)."""
    start = 0
    total = 0
    for index, size in enumerate(sizes.tolist()):
        if total + size > limit and index > start:
            yield start, index
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)
