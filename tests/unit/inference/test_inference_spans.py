"""Texts that do not recite what they were taught: what transformers' processor takes out, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import EncoderNoRepeatNGramLogitsProcessor

from timbre.inference.spans import Spans


@given(st.integers(0, 40), st.integers(3, 6))
def test_it_is_the_processor_of_transformers(seed: int, run: int) -> None:
    random = np.random.default_rng(seed)
    corpus, text = random.integers(0, 4, 120), random.integers(0, 4, 20)
    logits = random.normal(0, 1, (1, 4)).astype(np.float32)
    theirs = EncoderNoRepeatNGramLogitsProcessor(run, torch.tensor(corpus[None]))(torch.tensor(text[None]), torch.tensor(logits)).numpy()
    spans = Spans(np.array([*corpus, -1], np.int32))
    recited = spans.after(text.tolist(), run)
    assert recited.tolist() == np.flatnonzero(~np.isfinite(theirs[0])).tolist()
    if len(recited) < 4:
        np.testing.assert_array_equal(spans.without(logits, text.tolist(), run), theirs)


def test_no_run_reaches_over_the_end_of_a_document() -> None:
    spans = Spans(np.array([1, 2, 3, -1, 4, 5, 6, -1], np.int32))
    assert spans.after([9, 1, 2], 3).tolist() == [3] and spans.after([2, 3], 3).tolist() == [] and spans.after([4, 5], 3).tolist() == [6]


def test_a_row_keeps_something_to_choose_and_is_not_changed_in_place() -> None:
    logits = np.zeros((1, 3), np.float32)
    spans = Spans(np.array([0, 1, 0, -1, 0, 1, 1, -1, 0, 1, 2, -1], np.int32))
    assert np.isfinite(spans.without(logits, [0, 1], 3)).all()
    found = Spans(np.array([0, 1, 2, -1], np.int32)).without(logits, [0, 1], 3)
    assert not np.isfinite(found[0, 2]) and np.isfinite(logits).all()


@pytest.mark.parametrize("run", [0, 2, 65])
def test_runs_out_of_range_are_refused(run: int) -> None:
    with pytest.raises(ValueError, match="ask for"):
        Spans(np.array([1, -1], np.int32)).after([1], run)
