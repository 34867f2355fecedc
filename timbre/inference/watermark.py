"""SynthID-Text: a mark in which tokens are drawn, that a detector with the same keys finds again in the text.

    mark = Watermark(keys_of(secret))
    state = mark.begin()
    token = draw(state.marked(logits_V), u); state.push(token)      # one text
    found = mark.detect(token_ids)                                  # found.p_value

Dathathri et al. 2024, "Scalable watermarking for identifying large language model outputs" (Nature 634, 818–823), in the form
of transformers' `SynthIDTextWatermarkLogitsProcessor`: the same hash, table and tournament, so that the same keys give the same
g-values and the same scores. For a random key the distribution of a token is unchanged in expectation (two candidates a
tournament: "non-distortionary"); a context that has come before within a text is left unmarked, so that no text repeats for it.

numpy only. The detector needs no model.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

DEPTH = 30
"""Tournament rounds, and keys: what the paper's experiments use."""
_MULTIPLIER, _INCREMENT = np.uint64(6364136223846793005), np.uint64(1)

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]


def keys_of(secret: bytes, depth: int = DEPTH) -> tuple[int, ...]:
    """One 62-bit key a round from a secret: SHA-256 of the secret and the round's number."""
    return tuple(int.from_bytes(hashlib.sha256(secret + number.to_bytes(4, "big")).digest()[:8], "big") >> 2 for number in range(depth))


@dataclass(frozen=True)
class Found:
    """What a detector says of a text.

    Attributes:
        tokens: how many places were looked at: their context is whole and had not come before.
        score: weighted mean of the g-values there; .5 where there is no mark.
        p_value: how often text without the mark scores as high. Reject at .01 and one unmarked text in a hundred is accused.
    """

    tokens: int
    score: float
    p_value: float


@dataclass(frozen=True)
class Watermark:
    """Keys, and how many tokens a hash reads (`ngram_len`, the last of them the one that is drawn)."""

    keys: tuple[int, ...]
    ngram_len: int = 5
    history: int = 1024
    table_size: int = 1 << 16
    table_seed: int = 0

    def begin(self) -> "Marking":
        """The state of one text."""
        return Marking(self)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """torch's `randint(0, 2)` under a CPU generator of this seed: the low bit of each word of MT19937."""
        words = np.random.RandomState(self.table_seed).randint(0, 1 << 32, self.table_size, dtype=np.uint32)
        return (words % 2).astype(np.uint8)

    def context_hash(self, context: Sequence[int]) -> np.uint64:
        """Of `ngram_len` − 1 tokens."""
        return _hashed(np.uint64(1), np.array(context, np.int64).astype(np.uint64))

    def g_values(self, context_hash: "np.uint64 | Hashes", tokens: NDArray[np.int64]) -> NDArray[np.uint8]:
        """[..., depth] of 0 and 1 for tokens [...] that follow contexts [...]."""
        with np.errstate(over="ignore"):
            grams = (context_hash + tokens.astype(np.uint64)) * _MULTIPLIER + _INCREMENT
            keyed = (grams[..., None] + np.array(self.keys, np.uint64)) * _MULTIPLIER + _INCREMENT
        places = keyed.view(np.int64) % self.table_size  # of signed numbers, and never negative: as torch and Python have it
        return self._table[places]

    def detect(self, token_ids: Sequence[int]) -> Found:
        """Whether a text was written under these keys.

        The score is the paper's weighted mean, later rounds counting less (weights 10 … 1), since each round leaves less to choose.
        Under no mark every g is a coin that the table's share of ones decides, independent for n-grams that differ; so the
        sum is normal but for terms of 1 / (places × depth), and the p-value is its upper tail.
        """
        from math import erfc, sqrt

        size, seen = self.ngram_len - 1, set[int]()
        hashes, tokens = [], []
        for place in range(size, len(token_ids)):
            code = self.context_hash(token_ids[place - size : place])
            if int(code) not in seen:
                hashes.append(code)
                tokens.append(token_ids[place])
            seen.add(int(code))
        if not tokens:
            return Found(0, float("nan"), 1.0)
        g = self.g_values(np.array(hashes, np.uint64), np.array(tokens, np.int64)).astype(np.float64)
        weights = np.linspace(10, 1, len(self.keys))
        weights /= weights.sum()
        mean = float(self._table.mean())
        score = float((g @ weights).mean())
        deviation = sqrt(mean * (1 - mean) * float((weights**2).sum()) / len(tokens))
        return Found(len(tokens), score, 0.5 * erfc((score - mean) / deviation / sqrt(2)))


@dataclass
class Marking:
    """One text that is being marked: its last tokens, and the contexts it has had."""

    mark: Watermark
    _context: deque[int] = field(default_factory=deque)
    _seen: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        size = self.mark.ngram_len - 1
        self._context = deque([0] * size, maxlen=size)
        self._seen = deque(maxlen=self.mark.history)

    def marked(self, logits_V: NDArray[np.floating]) -> Floats:
        """The log-probabilities to draw from instead of `logits_V` (processed already: −inf is out); float64.

        Call it once a token, then `push` the token that was drawn.
        """
        wide_V: Floats = logits_V.astype(np.float64)
        code = self.mark.context_hash(self._context)
        repeated = int(code) in self._seen
        self._seen.appendleft(int(code))
        if repeated:
            return wide_V
        allowed = np.flatnonzero(np.isfinite(wide_V))
        weights = np.exp(wide_V[allowed] - wide_V[allowed].max())
        weights /= weights.sum()
        for g in self.mark.g_values(code, allowed).T.astype(np.float64):
            weights *= np.maximum(1 + g - (g * weights).sum(), 0.0)  # rounding leaves −1e-17 where all mass has g = 1
        out = np.full(wide_V.shape, -np.inf)
        with np.errstate(divide="ignore"):
            out[allowed] = np.log(weights)
        return out

    def push(self, token: int) -> None:
        """The token that was drawn."""
        self._context.append(token)


def _hashed(code: np.uint64, data: Hashes) -> np.uint64:
    """The linear congruential hash, modulo 2^64."""
    with np.errstate(over="ignore"):
        for value in data:
            code = (code + value) * _MULTIPLIER + _INCREMENT
    return code
