"""P_ngram: interpolated back-off over contexts of up to four tokens, with counts that leave the document at hand out.

    P_o(w|h) = (c(hw) + N1+(h)·P_{o−1}(w|h')) / (N(h) + N1+(h))        Witten & Bell 1991; P_0 = 1/V

c counts n-grams inside documents, N(h) = Σ_w c(hw), N1+(h) is how many different tokens follow h, h' is h without its first
token; all of them without the document that is scored, since an n-gram model that has read the passage repeats it. A
context that then has no continuation hands everything down (P_o = P_{o−1}).

N-grams are numbered by their place among sorted keys (number of the context)·V + token, so that the continuations of one
context lie side by side. `rows` gives the distributions at the positions of a passage as they factor: one sparse row for
each different context, and how much of it each position takes. Nothing is cut off. `factored` is what the mixture takes of
a stretch of positions; `dense` multiplies it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

MAX_ORDER = 5
_NOT_SEEN = -1


@dataclass(frozen=True, eq=False)
class _Order:
    """All n-grams of one length. n-gram i has key `keys[i]`; the continuations of context j are `starts[j]`…`starts[j+1]`."""

    keys: Ints
    tokens: Int32
    counts: Int32
    starts: Ints
    context_counts: Ints
    """N(h) of each context."""
    at: Int32
    """The n-gram that ends at each position of all documents; −1 where a document is too young for one."""


@dataclass(frozen=True, eq=False)
class _Level:
    """The different contexts of one length in a passage: R sparse rows, entries of row r at `bounds[r]`…`bounds[r+1]`."""

    ids: Int32
    mass: Floats
    bounds: Ints
    handed_down_R: Floats
    """N1+/(N + N1+): the share that the next shorter context decides."""
    counts_R: Ints
    types_R: Ints
    row_N: Ints
    """Row of each position, −1 where the context was never seen."""


@dataclass(frozen=True, eq=False)
class NgramRows:
    """P_ngram at N positions, longest contexts first; `unigram_V` is what is left below them."""

    levels: tuple[_Level, ...]
    unigram_V: Floats
    counts_N: Ints
    """N(h) at the longest seen context of at least one token; 0 where there is none."""
    types_N: Ints

    def __len__(self) -> int:
        return len(self.counts_N)

    @property
    def confidence(self) -> Floats:
        """N(h)/(N(h)+N1+(h)) at the longest seen context, 0 where none is: η_t is η_max times this.

        The empty context does not count: token frequencies alone know nothing of the place they are asked about.
        """
        total = self.counts_N + self.types_N
        return np.asarray(np.divide(self.counts_N, total, out=np.zeros(len(self)), where=total > 0))

    def factored(self, start: int = 0, stop: int | None = None) -> "Factored":
        """The distributions of the positions start…stop, not multiplied out."""
        chosen = slice(start, stop)
        share_n, terms = np.ones(len(range(*chosen.indices(len(self))))), []
        for level in self.levels:
            row_n = level.row_N[chosen]
            places = np.flatnonzero(row_n != _NOT_SEEN)
            rows = row_n[places]
            terms.append(_Term(level, places, rows, share_n[places]))
            share_n[places] *= level.handed_down_R[rows]
        return Factored(tuple(terms), share_n, self.unigram_V, self.confidence[chosen])

    def dense(self, start: int = 0, stop: int | None = None) -> Floats:
        """Probabilities of the positions start…stop: n×V, each row summing to 1. For looking; the mixture takes `factored`."""
        part = self.factored(start, stop)
        probs_nV = part.rest_n[:, None] * part.unigram_V
        for term in part.terms:
            for place, begin, size, share in zip(term.places, term.starts, term.sizes, term.shares, strict=True):
                entries = slice(begin, begin + size)
                probs_nV[place, term.level.ids[entries]] += share * term.level.mass[entries]
        return probs_nV


@dataclass(frozen=True, eq=False)
class _Term:
    """What one length of contexts gives: position `places[m]` takes row `rows[m]` of the level, times `shares[m]`."""

    level: _Level
    places: Ints
    rows: Ints
    shares: Floats

    @property
    def starts(self) -> Ints:
        """Where in the level the entries of each of these rows begin."""
        return self.level.bounds[self.rows]

    @property
    def sizes(self) -> Ints:
        """How many entries they have; no token comes twice in a row."""
        return self.level.bounds[self.rows + 1] - self.starts


@dataclass(frozen=True, eq=False)
class Factored:
    """P_ngram at n positions: `rest_n`·`unigram_V`, and a few sparse entries."""

    terms: tuple[_Term, ...]
    rest_n: Floats
    """What no context of at least one token decides."""
    unigram_V: Floats
    confidence_n: Floats

    def __len__(self) -> int:
        return len(self.rest_n)

    def probabilities(self, ids_n: npt.NDArray[np.integer]) -> Floats:
        """P of one token at each position, without the others'."""
        found: Floats = self.rest_n * self.unigram_V[ids_n]
        vocab_size = len(self.unigram_V)
        for term in self.terms:
            level = term.level
            if not len(level.ids):
                continue
            rows = np.repeat(np.arange(len(level.bounds) - 1), np.diff(level.bounds))
            keys = rows * vocab_size + level.ids  # ascending: tokens ascend within a row
            wanted = term.rows * vocab_size + ids_n[term.places]
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            found[term.places] += np.where(keys[at] == wanted, term.shares * level.mass[at], 0.0)
        return found


class NgramModel:
    """Counts of all n-grams up to `order` in a collection of documents, and each document's own part in them."""

    def __init__(self, documents: Mapping[str, npt.NDArray[np.integer]], vocab_size: int, order: int = MAX_ORDER) -> None:
        """Count.

        Args:
            documents: token ids by document id. No n-gram crosses from one into another.
            vocab_size: V; every id is below it.
            order: length of the longest n-gram, 1..5.

        Raises:
            ValueError: no token at all, an id outside the vocabulary, or an order outside 1..5.
        """
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"target.ngram_order must lie in 1..{MAX_ORDER}, got {order}")
        lengths = np.array([len(ids) for ids in documents.values()], dtype=np.int64)
        if not lengths.sum():
            raise ValueError("the documents hold no token to count n-grams of: give the corpus more text")
        tokens = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in documents.values()])
        if tokens.min() < 0 or tokens.max() >= vocab_size:
            raise ValueError(f"token ids must lie in 0..{vocab_size - 1}, found {tokens.min()}..{tokens.max()}: wrong tokenizer?")
        self.vocab_size, self.order = vocab_size, order
        ends = np.cumsum(lengths)
        self._range = {name: (int(stop - size), int(stop)) for name, size, stop in zip(documents, lengths, ends, strict=True)}
        self._unigrams = np.bincount(tokens, minlength=vocab_size)
        self._types = int(np.count_nonzero(self._unigrams))
        self._tokens = tokens.astype(np.int32)
        self._orders = _count(tokens, lengths, vocab_size, order)
        self._own: dict[str, list[tuple[Ints, Ints]]] = {}

    def rows(self, token_ids: npt.NDArray[np.integer], document: str | None = None) -> NgramRows:
        """Distributions over token t+1 after the tokens up to t, for t = 0…T−2, of a passage of T tokens.

        Args:
            token_ids: the passage; contexts do not reach beyond its beginning.
            document: whose counts to leave out; None for text that was not counted.

        Raises:
            ValueError: the document is not among those counted, or nothing is left without it.
        """
        if document is not None and document not in self._range:
            raise ValueError(f"document {document!r} was not counted: n-grams are counted over the training documents")
        own = self._own_counts(document) if document is not None else []
        contexts = self._contexts(np.asarray(token_ids, dtype=np.int64)[:-1])
        levels = [_level(self._orders[place], ids, own[place] if own else None, self.vocab_size) for place, ids in enumerate(contexts)][
            ::-1
        ]
        counts, types = np.zeros(len(token_ids) - 1, np.int64), np.zeros(len(token_ids) - 1, np.int64)
        for level in levels[::-1]:
            seen = level.row_N >= 0
            seen[seen] = level.counts_R[level.row_N[seen]] > 0
            counts[seen], types[seen] = level.counts_R[level.row_N[seen]], level.types_R[level.row_N[seen]]
        return NgramRows(tuple(levels), self._unigram(document), counts, types)

    def _unigram(self, document: str | None) -> Floats:
        counts, types = self._unigrams, self._types
        if document is not None:
            start, stop = self._range[document]
            ids, own = np.unique(self._tokens[start:stop], return_counts=True)
            types -= int(np.count_nonzero(counts[ids] == own))
            counts = counts.copy()
            counts[ids] -= own
        total = int(counts.sum())
        if not total:
            raise ValueError("n-grams leave the scored document out, and there is no other: give the corpus more documents")
        return np.asarray((counts + types / self.vocab_size) / (total + types))

    def _own_counts(self, document: str) -> list[tuple[Ints, Ints]]:
        """(n-gram, how often the document has it) for each length from 2 on."""
        if document not in self._own:
            start, stop = self._range[document]
            found = [np.unique(order.at[start:stop], return_counts=True) for order in self._orders]
            self._own[document] = [(ids[ids >= 0].astype(np.int64), counts[ids >= 0]) for ids, counts in found]
        return self._own[document]

    def _contexts(self, fed_N: Ints) -> list[Ints]:
        """Numbers of the contexts of 1, 2, … tokens that end at each position; −1 where nobody wrote it."""
        found = [fed_N]
        for order in self._orders[: self.order - 2]:
            ids = np.full(len(fed_N), _NOT_SEEN, np.int64)
            known = np.flatnonzero(found[-1][:-1] >= 0) + 1
            keys = found[-1][known - 1] * self.vocab_size + fed_N[known]
            place = np.searchsorted(order.keys, keys)
            hit = order.keys[np.minimum(place, len(order.keys) - 1)] == keys if len(order.keys) else np.zeros(len(keys), bool)
            ids[known[hit]] = place[hit]
            found.append(ids)
        return found[: self.order - 1]


def _count(tokens: Ints, lengths: Ints, vocab_size: int, order: int) -> tuple[_Order, ...]:
    """N-grams of 2…order tokens."""
    age = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    contexts, context_number = vocab_size, tokens
    orders = []
    for length in range(2, order + 1):
        ends = np.flatnonzero(age >= length - 1)
        keys, ranks, counts = _ranked(context_number[ends - 1] * vocab_size + tokens[ends])
        at = np.full(len(tokens), _NOT_SEEN, np.int32)
        at[ends] = ranks
        starts = np.searchsorted(keys, np.arange(contexts + 1, dtype=np.int64) * vocab_size)
        cumulated = np.concatenate([[0], np.cumsum(counts)])
        context_counts = cumulated[starts[1:]] - cumulated[starts[:-1]]
        orders.append(_Order(keys, (keys % vocab_size).astype(np.int32), counts.astype(np.int32), starts, context_counts, at))
        contexts, context_number = len(keys), at.astype(np.int64)
    return tuple(orders)


def _ranked(keys: Ints) -> tuple[Ints, Int32, Ints]:
    """Sorted different keys, the rank of each given key among them, and how often each occurs."""
    count = len(keys)
    if not count:
        return keys, np.zeros(0, np.int32), keys
    bits = max(1, (count - 1).bit_length())
    if int(keys.max()) < 1 << (63 - bits):  # key and place in one word: sorting that is several times as fast as argsort
        packed = keys << bits
        packed |= np.arange(count, dtype=np.int64)
        packed.sort()
        place = packed & ((1 << bits) - 1)
        packed >>= bits
    else:
        place = np.argsort(keys, kind="stable")
        packed = keys[place]
    new = np.empty(count, dtype=bool)
    new[0] = True
    np.not_equal(packed[1:], packed[:-1], out=new[1:])
    ranks = np.empty(count, np.int32)
    ranks[place] = np.cumsum(new, dtype=np.int32) - 1
    first = np.flatnonzero(new)
    return packed[first], ranks, np.diff(first, append=count)


def _level(order: _Order, context_N: Ints, own: tuple[Ints, Ints] | None, vocab_size: int) -> _Level:
    """The rows of the different contexts among `context_N`, with the document's own counts taken out."""
    seen = context_N >= 0
    contexts_R, inverse = np.unique(context_N[seen], return_inverse=True)
    row_N = np.full(len(context_N), _NOT_SEEN, np.int64)
    row_N[seen] = inverse
    starts, stops = order.starts[contexts_R], order.starts[contexts_R + 1]
    sizes = stops - starts
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    entries = np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], sizes)
    counts = order.counts[entries].astype(np.float64)
    totals, types = order.context_counts[contexts_R], sizes.copy()
    if own is not None and len(contexts_R):
        ngrams, times = own
        context = order.keys[ngrams] // vocab_size
        row = np.minimum(np.searchsorted(contexts_R, context), len(contexts_R) - 1)
        here = contexts_R[row] == context
        ngrams, times, row = ngrams[here], times[here], row[here]
        place = bounds[row] + ngrams - starts[row]
        counts[place] -= times
        totals = totals - np.bincount(row, times, len(contexts_R)).astype(np.int64)
        types -= np.bincount(row[counts[place] == 0], minlength=len(contexts_R))
    whole = totals + types
    scale = np.divide(1.0, whole, out=np.zeros(len(whole)), where=whole > 0)
    counts *= np.repeat(scale, sizes)
    return _Level(order.tokens[entries], counts, bounds, np.where(whole > 0, types * scale, 1.0), totals, types, row_N)
