"""The n-gram component against a slow form that can be read off the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from timbre.targets.ngram import Floats, NgramModel, NgramRows
from timbre.targets.reference_distribution import add_ngrams

V = 7

DOCUMENTS = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=25), min_size=2, max_size=5)


class SlowNgrams:
    """Counts in a dictionary, recounted for every question; probabilities by the recursion as it is written."""

    def __init__(self, documents: list[list[int]], order: int) -> None:
        self.documents, self.order = documents, order

    def followers(self, context: tuple[int, ...], left_out: int | None) -> list[int]:
        """How often each token follows the context inside the other documents."""
        counts = [0] * V
        for number, tokens in enumerate(self.documents):
            for end in range(len(context), len(tokens)):
                if number != left_out and tuple(tokens[end - len(context) : end]) == context:
                    counts[tokens[end]] += 1
        return counts

    def probabilities(self, context: tuple[int, ...], left_out: int | None) -> list[float]:
        shorter = self.probabilities(context[1:], left_out) if context else [1 / V] * V
        counts = self.followers(context, left_out)
        total, types = sum(counts), sum(count > 0 for count in counts)
        return [(c + types * p) / (total + types) for c, p in zip(counts, shorter, strict=True)] if total else shorter

    def longest(self, history: list[int], left_out: int | None) -> tuple[int, int]:
        """N(h) and N1+(h) at the longest context of at least one token that somebody else has written on from."""
        for size in range(min(self.order - 1, len(history)), 0, -1):
            counts = self.followers(tuple(history[-size:]), left_out)
            if sum(counts):
                return sum(counts), sum(count > 0 for count in counts)
        return 0, 0


def _model(documents: list[list[int]], order: int) -> NgramModel:
    return NgramModel({f"d{n}": np.array(tokens) for n, tokens in enumerate(documents)}, V, order)


@settings(deadline=None, max_examples=60)
@given(documents=DOCUMENTS, order=st.integers(1, 5), passage=st.lists(st.integers(0, V - 1), min_size=2, max_size=12), data=st.data())
def test_every_probability_is_that_of_the_slow_form(
    documents: list[list[int]], order: int, passage: list[int], data: st.DataObject
) -> None:
    """Counts are whole numbers and equal exactly; probabilities differ by the order of few float64 operations."""
    left_out = data.draw(st.sampled_from([None, *range(len(documents))]))
    if left_out is not None:
        begin = data.draw(st.integers(0, len(documents[left_out]) - 1))
        passage = (documents[left_out][begin : begin + 12] * 2)[:12] if data.draw(st.booleans()) else passage
    if len(passage) < 2:
        return
    slow = SlowNgrams(documents, order)
    rows = _model(documents, order).rows(np.array(passage), None if left_out is None else f"d{left_out}")
    dense = rows.dense()
    assert dense.shape == (len(passage) - 1, V)
    for position in range(len(passage) - 1):
        history = passage[: position + 1]
        wanted = slow.probabilities(tuple(history[max(0, len(history) - order + 1) :]) if order > 1 else (), left_out)
        np.testing.assert_allclose(dense[position], wanted, rtol=1e-13, atol=1e-16)
        assert (rows.counts_N[position], rows.types_N[position]) == slow.longest(history, left_out)
    np.testing.assert_allclose(dense.sum(axis=1), 1, rtol=1e-13)


def _looped(rows: NgramRows) -> Floats:
    """Position by position, context by context, each added to a row of V: the form that the factored one replaced."""
    probs_nV = np.zeros((len(rows), len(rows.unigram_V)))
    for position, out_V in enumerate(probs_nV):
        share = 1.0
        for level in rows.levels:
            row = int(level.row_N[position])
            if row >= 0:
                entries = slice(level.bounds[row], level.bounds[row + 1])
                out_V[level.ids[entries]] += share * level.mass[entries]
                share *= float(level.handed_down_R[row])
        probs_nV[position] += share * rows.unigram_V
    return probs_nV


@settings(deadline=None, max_examples=60)
@given(documents=DOCUMENTS, order=st.integers(1, 5), seed=st.integers(0, 999), eta=st.floats(0, 1))
def test_what_the_mixture_takes_is_what_was_multiplied_out(documents: list[list[int]], order: int, seed: int, eta: float) -> None:
    """The factored form against the loop: the sum in float32 within its rounding, single tokens in float64."""
    random = np.random.default_rng(seed)
    rows = _model(documents, order).rows(random.integers(0, V, 14), "d0")
    wanted, tokens = _looped(rows), random.integers(0, V, len(rows))
    np.testing.assert_allclose(rows.dense(), wanted, rtol=1e-13, atol=1e-16)
    pieces = [rows.factored(0, 5), rows.factored(5, 6), rows.factored(6)]
    observed = np.concatenate(
        [piece.probabilities(tokens[place : place + len(piece)]) for piece, place in zip(pieces, (0, 5, 6), strict=True)]
    )
    np.testing.assert_allclose(observed, wanted[np.arange(len(rows)), tokens], rtol=1e-13, atol=1e-16)
    reference = random.dirichlet(np.ones(V), len(rows))
    share = eta * rows.confidence[:, None]
    mixed = add_ngrams(torch.from_numpy(reference.astype(np.float32)), pieces, eta).numpy()
    np.testing.assert_allclose(mixed, (1 - share) * reference + share * wanted, atol=1e-6)


def test_a_document_tells_nothing_about_itself() -> None:
    """A phrase that only one document has is as likely there as any other word; elsewhere it is expected."""
    documents = [[1, 2, 3, 4, 5, 1, 2, 3, 4, 5], [0, 1, 0, 6, 0, 1], [6, 0, 6, 0, 1, 6]]
    model = _model(documents, 5)
    at_home = model.rows(np.array([1, 2, 3, 4, 5]), "d0").dense()[-1, 5]
    abroad = model.rows(np.array([1, 2, 3, 4, 5]), "d1").dense()[-1, 5]
    assert at_home < 1 / V < 0.6 < abroad


def test_confidence_is_witten_bells_and_the_empty_context_has_none() -> None:
    rows = _model([[1, 2, 1, 2, 1, 3], [4, 5]], 3).rows(np.array([6, 1, 2, 0]))
    assert rows.confidence.tolist() == [0.0, 3 / (3 + 2), 2 / (2 + 1)]


def test_a_part_of_the_positions_is_that_part() -> None:
    rows = _model([[1, 2, 3, 4], [1, 2, 4, 4]], 4).rows(np.array([1, 2, 3, 4, 1]), "d0")
    assert np.array_equal(rows.dense(1, 3), rows.dense()[1:3])


def test_large_vocabularies_and_many_tokens_do_not_overflow() -> None:
    """Keys that no longer share a word with their place are sorted another way; the result is the same."""
    from timbre.targets import ngram

    random = np.random.default_rng(0)
    keys = random.integers(0, 50, 400)
    small = ngram._ranked(keys)
    large = ngram._ranked(keys + (1 << 60))
    assert np.array_equal(small[0] + (1 << 60), large[0])
    assert np.array_equal(small[1], large[1]) and np.array_equal(small[2], large[2])
    assert np.array_equal(small[0][small[1]], keys) and small[2].sum() == 400


@pytest.mark.parametrize(
    ("documents", "order", "sentence"),
    [([[1, 9]], 2, "wrong tokenizer"), ([[], []], 2, "no token"), ([[1]], 6, r"1\.\.5"), ([[1]], 0, r"1\.\.5")],
)
def test_what_cannot_be_counted_is_a_sentence(documents: list[list[int]], order: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _model(documents, order)


def test_a_lone_document_has_nobody_to_learn_from() -> None:
    model = _model([[1, 2, 3]], 2)
    with pytest.raises(ValueError, match="there is no other"):
        model.rows(np.array([1, 2]), "d0")
    with pytest.raises(ValueError, match="was not counted"):
        model.rows(np.array([1, 2]), "elsewhere")
