import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timbre.corpus.documents import Document
from timbre.evaluation.memorisation import measure_extraction
from timbre.inference.prompts import openings, trained_openings
from timbre.metrics.verbatim import SEED, Span, VerbatimIndex, Vocabulary

ITEMS = st.lists(st.integers(0, 3), max_size=30)


def slow_lengths(text: list[int], documents: list[list[int]]) -> list[int]:
    def longest_at(start: int) -> int:
        return max(
            (
                n
                for n in range(1, len(text) - start + 1)
                for d in documents
                for i in range(len(d) - n + 1)
                if d[i : i + n] == text[start : start + n]
            ),
            default=0,
        )

    return [longest_at(start) for start in range(len(text))]


@settings(max_examples=80, deadline=None)
@given(ITEMS, st.lists(ITEMS, min_size=1, max_size=4))
def test_spans_are_those_of_the_slow_search(text: list[int], documents: list[list[int]]) -> None:
    index = VerbatimIndex(documents)
    slow = slow_lengths(text, documents)
    assert index.match_lengths(text).tolist() == [length if length >= SEED else 0 for length in slow]
    assert index.longest(text).length == max(slow, default=0)
    inside = {i + k for i, length in enumerate(slow) if length >= SEED for k in range(length)}
    assert index.coverage(text) == pytest.approx(len(inside) / len(text) if text else 0.0)


def test_a_planted_span_is_found_where_it_stands() -> None:
    numbers = random.Random(0)
    document = [numbers.randrange(1000) for _ in range(5000)]
    text = [5001, *document[1234:1300], 5002, 5003]
    assert VerbatimIndex([document[:10], document]).longest(text) == Span(1, 66)


def test_a_span_never_crosses_from_one_document_into_the_next() -> None:
    index = VerbatimIndex([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]])
    assert index.longest([3, 4, 5, 6, 7, 8, 9, 10]).length == 4
    assert index.match_lengths([2, 3, 4, 5, 6, 7]).tolist() == [5, 0, 0, 0, 0, 0]


def test_no_documents_and_no_text_are_no_span() -> None:
    assert VerbatimIndex([]).longest([1, 2, 3]) == Span(0, 0)
    assert VerbatimIndex([[1, 2, 3]]).longest([]) == Span(0, 0)
    assert VerbatimIndex([[]]).coverage([1] * 9) == 0.0


def test_unknown_words_match_nothing_not_even_each_other() -> None:
    vocabulary = Vocabulary()
    index = VerbatimIndex([vocabulary.learn(["a", "b", "c", "d", "e", "f"])])
    assert index.coverage(vocabulary.encode(["zebra"] * 10)) == 0.0
    assert index.coverage(vocabulary.encode(["a", "b", "c", "d", "e", "zebra"])) == pytest.approx(5 / 6)


def test_a_large_repetitive_corpus_is_searched_in_bounded_time() -> None:
    numbers = np.random.default_rng(0)
    documents = [numbers.zipf(1.3, 20_000).clip(max=5000) for _ in range(10)] + [np.zeros(20_000, int)]
    started = time.process_time()
    index = VerbatimIndex(documents)
    span = index.longest(np.zeros(200, int))
    assert span.length == 200
    assert index.longest(documents[3][500:756]) == Span(0, 256)
    assert time.process_time() - started < 10  # seconds; following every hit to its end takes minutes


def documents_of(texts: list[str]) -> list[Document]:
    return [Document(f"d{n}", text, "a", None, "s", "CC0-1.0", "", "t", "test", -1, 1) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model_dir)


def test_prompts_and_their_human_continuations_stand_in_the_documents(tokenizer: Any, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    documents = documents_of([text for _, text in tiny_corpus_texts[:6]])
    prompts = openings(documents, tokenizer, count=9, prompt_tokens=8, new_tokens=20, seed=0)
    assert len(prompts) == 9 == len({prompt.name for prompt in prompts})
    assert {prompt.doc_id for prompt in prompts[:6]} == {document.doc_id for document in documents}
    texts = {document.doc_id: tokenizer(document.text, add_special_tokens=False)["input_ids"] for document in documents}
    for prompt in prompts:
        start = int(prompt.name.split("#")[1]) * 28
        assert [*prompt.token_ids, *prompt.human_ids] == texts[prompt.doc_id][start : start + 28]
        assert (len(prompt.token_ids), len(prompt.human_ids)) == (8, 20)
    assert prompts == openings(documents[::-1], tokenizer, count=9, prompt_tokens=8, new_tokens=20, seed=0)
    assert prompts != openings(documents, tokenizer, count=9, prompt_tokens=8, new_tokens=20, seed=1)


def test_documents_too_short_for_a_window_give_no_prompt(tokenizer: Any) -> None:
    documents = documents_of(
        ["", "Short.", "The old gull drifted near the golden mast as it had always done, and nobody spoke of it again."]
    )
    prompts = openings(documents, tokenizer, count=5, prompt_tokens=4, new_tokens=8, seed=0)
    assert prompts and {prompt.doc_id for prompt in prompts} == {"d2"}


def test_openings_of_trained_passages_begin_where_the_passage_does(tokenizer: Any, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    documents = documents_of([text for _, text in tiny_corpus_texts[:2]])
    (prompt,) = trained_openings([("d1", 16), ("d1", 100_000)], documents, tokenizer, count=4, prompt_tokens=5, new_tokens=9, seed=0)
    ids = tokenizer(documents[1].text, add_special_tokens=False)["input_ids"]
    assert [*prompt.token_ids, *prompt.human_ids] == ids[16:30]
    with pytest.raises(ValueError, match="d9"):
        trained_openings([("d9", 0)], documents, tokenizer, count=4, prompt_tokens=5, new_tokens=9, seed=0)


def test_what_comes_out_piece_by_piece_adds_up_over_the_samples() -> None:
    """Positive control of BMC@k: no sample gives more than a third of the passage, and all together give two thirds."""
    passage = [f"w{n}" for n in range(30)]

    def rows(*texts: list[str]) -> list[dict[str, Any]]:
        about = {"kind": "extraction", "prompt_id": "d@0", "cluster": "d", "human": " ".join(passage)}
        return [about | {"text": " ".join(text), "sample": number} for number, text in enumerate(texts)]

    pieces = [["x", *passage[:10], "y"], [*passage[20:], "z"], ["nothing", "of", "it", *passage[3:7]]]
    items, summary = measure_extraction(rows(*pieces))
    assert [(item["metric"], item["cluster"], item["value"]) for item in items] == [("bmc", "d", pytest.approx(20 / 30))]
    assert summary == {"passages": 1, "samples": 3, "bmc": pytest.approx(20 / 30), "highest": pytest.approx(20 / 30)}
    assert measure_extraction(rows(pieces[2], pieces[2]))[0][0]["value"] == 0, "spans of four are phrases of the language"
    assert measure_extraction([{"kind": "style"}]) == ([], None)
