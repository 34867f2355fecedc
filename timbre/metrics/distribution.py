"""Distances between what two sets of texts are made of: words, and lengths of sentences."""

from collections.abc import Sequence

import numpy as np

from timbre.metrics.grams import count_table, gram_codes
from timbre.words import sentences, tokens, words

_REMEMBERED = 4


class GramCounts:
    """n-gram frequencies of a pool of texts as a sparse count table, for distances between any two of its subsets."""

    def __init__(self, texts: Sequence[str], n: int = 1) -> None:
        self._count([tokens(text) for text in texts], n)

    @classmethod
    def of_sequences(cls, sequences: Sequence[Sequence[str]], n: int) -> "GramCounts":
        """Of texts that are cut into tokens already."""
        counts = cls.__new__(cls)
        counts._count(sequences, n)
        return counts

    def _count(self, sequences: Sequence[Sequence[str]], n: int) -> None:
        self._texts = len(sequences)
        self._rows = count_table(*gram_codes(sequences, n), self._texts)
        self._grams = int(self._rows[0].max(initial=-1)) + 1
        self._known: dict[bytes, np.ndarray] = {}

    def frequencies(self, subset: Sequence[int] | np.ndarray) -> np.ndarray:
        """Relative frequency of every n-gram in these texts, shape (n-grams,); zeros if the texts are empty."""
        chosen = np.asarray(subset, np.int64)
        key = chosen.tobytes()
        if key not in self._known:  # L2 and JSD ask for the same subsets one after the other
            weight = np.bincount(chosen, minlength=self._texts)
            counts = np.bincount(self._rows[0], self._rows[2] * weight[self._rows[1]], self._grams)
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = counts / max(counts.sum(), 1)
        self._known[key] = self._known.pop(key)
        return self._known[key]

    def l2(self, first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray) -> float:
        """Euclidean distance of the two frequency vectors; 0 = the same, √2 at most."""
        return float(np.linalg.norm(self.frequencies(first) - self.frequencies(second)))

    def jsd(self, first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray) -> float:
        """Jensen–Shannon divergence in bits, 0 to 1."""
        p, q = self.frequencies(first), self.frequencies(second)
        middle = (p + q) / 2
        return max(0.0, (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def sentence_lengths(text: str) -> np.ndarray:
    """Words in each sentence."""
    return np.array([len(words(sentence)) for sentence in sentences(text)], np.int64)


def wasserstein(first: np.ndarray, second: np.ndarray) -> float | None:
    """W1 between two samples of numbers: the area between their cumulative distributions; None if one is empty."""
    if not len(first) or not len(second):
        return None
    first, second = np.sort(first), np.sort(second)
    points = np.sort(np.concatenate([first, second]))
    below_first = np.searchsorted(first, points[:-1], "right") / len(first)
    below_second = np.searchsorted(second, points[:-1], "right") / len(second)
    return float((np.abs(below_first - below_second) * np.diff(points)).sum())


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    inside = p > 0
    return float((p[inside] * np.log2(p[inside] / q[inside])).sum())
