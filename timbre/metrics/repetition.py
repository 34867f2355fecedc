"""How much texts repeat: themselves, each other, and the way their sentences begin."""

import zlib
from collections import Counter
from collections.abc import Container, Sequence

import numpy as np

from timbre.metrics.grams import count_table, gram_codes
from timbre.metrics.lexical import ngrams
from timbre.words import sentences, tokens, words

ORDERS = 4
FRAME_WORDS = 120
_EPSILON = 0.1


class SelfBleu:
    """Self-BLEU-4 (1802.01886) of any subset of a pool of texts, with the n-grams of the pool counted once.

    The mean over texts of BLEU-4 (uniform weights, closest reference length, zero matches counted as 0.1: Chen & Cherry
    2014, method 1) with all other texts of the subset as references. 0 = no text shares phrases with another.

    The best reference count of an n-gram, with the text itself left out, is the highest count in the subset, or for the
    text that holds it the second highest. So n-grams are kept sorted by count and one pass serves all texts; those that
    only one text of the pool holds can never match and are dropped.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._count([words(text) for text in texts])

    @classmethod
    def of_sequences(cls, sequences: Sequence[Sequence[str]]) -> "SelfBleu":
        """Of texts that are cut into words already."""
        measure = cls.__new__(cls)
        measure._count(sequences)
        return measure

    def _count(self, sequences: Sequence[Sequence[str]]) -> None:
        self._lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        self._tables = [_shared_counts(sequences, n) for n in range(1, ORDERS + 1)]

    def __call__(self, subset: Sequence[int] | np.ndarray) -> float:
        """Self-BLEU of the texts with these indices; needs two or more."""
        chosen = np.asarray(subset, np.int64)
        if len(chosen) < 2:
            raise ValueError(f"self-BLEU compares texts with each other: give two or more, not {len(chosen)}")
        matches_ON = np.stack([_clipped(table, chosen, len(self._lengths)) for table in self._tables])[:, chosen]
        lengths_N = self._lengths[chosen]
        possible_ON = np.maximum(lengths_N[None, :] - np.arange(ORDERS)[:, None], 0)
        precision_ON = np.where(matches_ON > 0, matches_ON, _EPSILON) / np.maximum(possible_ON, 1)
        score_N = np.exp(np.log(precision_ON).mean(0)) * _brevity(lengths_N)
        return float(np.where(matches_ON[0] > 0, score_N, 0.0).mean())


def gzip_ratio(texts: Sequence[str]) -> float:
    """Bytes of the joined texts over bytes after DEFLATE, the compressor of gzip (2403.00553): higher = more repetitive."""
    raw = "\n".join(texts).encode()
    return len(raw) / len(zlib.compress(raw, 9)) if raw else 1.0


def pattern(text: str, frame: Container[str]) -> str:
    """The text with only its frame left: frequent words and punctuation as they are, every other word as one `*`.

    A stand-in for part-of-speech patterns (2403.00553 §3) without a tagger: in most languages the most frequent words are
    those with a grammatical function, and the figure is named for what it is. Sentences stand on lines of their own.
    """
    return "\n".join(
        " ".join(token if token in frame or not token[0].isalnum() else "*" for token in tokens(piece)) for piece in sentences(text)
    )


def frame_of(human: Sequence[str], size: int = FRAME_WORDS) -> frozenset[str]:
    """The most frequent words of the human texts; of those tied at the end, the alphabetically first."""
    counts = Counter(word for text in human for word in words(text))
    return frozenset(sorted(counts, key=lambda word: (-counts[word], word))[:size])


def self_repetition(text: str, n: int = 4) -> float | None:
    """Share of the text's 4-grams that it has used before; 0 = none repeats."""
    grams = ngrams(words(text), n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def same_opener_rate(text: str) -> float | None:
    """Share of sentences that open with the same word as one of the two sentences before; 0 for a single sentence."""
    openers = _openers(text)
    repeated = sum(opener in openers[max(0, index - 2) : index] for index, opener in enumerate(openers))
    return repeated / len(openers) if openers else None


def opener_run(text: str) -> float | None:
    """1 if three sentences in a row open with the same word, else 0; needs three sentences."""
    openers = _openers(text)
    if len(openers) < 3:
        return None
    return float(any(a == b == c for a, b, c in zip(openers, openers[1:], openers[2:], strict=False)))


def _openers(text: str) -> list[str]:
    return [words(sentence)[0] for sentence in sentences(text)]


def _shared_counts(sequences: Sequence[Sequence[str]], n: int) -> np.ndarray:
    """Rows (gram, text, count), sorted by gram and falling count, of n-grams that two or more texts hold."""
    table = count_table(*gram_codes(sequences, n), len(sequences))
    gram = table[0]
    if not len(gram):
        return table
    shared = np.bincount(gram)[gram] > 1
    table = table[:, shared]
    return table[:, np.lexsort((-table[2], table[0]))]


def _clipped(table: np.ndarray, chosen: np.ndarray, texts: int) -> np.ndarray:
    """Matched n-grams of every text against the other chosen ones, each clipped to its best reference count."""
    inside = np.zeros(texts, bool)
    inside[chosen] = True
    gram, text, count = table[:, inside[table[1]]]
    if not len(gram):
        return np.zeros(texts)
    first = np.r_[True, gram[1:] != gram[:-1]]
    start = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    size = np.diff(np.r_[start, len(gram)])
    second = np.where(size > 1, count[np.minimum(start + 1, len(gram) - 1)], 0)
    best = np.where(first, second[group], count[start][group])
    matches: np.ndarray = np.bincount(text, np.minimum(count, best), texts)
    return matches


def _brevity(lengths_N: np.ndarray) -> np.ndarray:
    """Brevity penalty of each text against the closest length among the others (the shorter one of two as close)."""
    distance_NN = np.abs(lengths_N[:, None] - lengths_N[None, :]) * 2.0 + (lengths_N[None, :] > lengths_N[:, None])
    np.fill_diagonal(distance_NN, np.inf)
    reference_N = lengths_N[distance_NN.argmin(1)]
    penalty_N: np.ndarray = np.exp(np.minimum(0.0, 1 - reference_N / np.maximum(lengths_N, 1)))
    return penalty_N
