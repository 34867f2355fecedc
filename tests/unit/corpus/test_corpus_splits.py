"""Splits, folds, duplicates and passages: the laws that evidence rests on."""

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from timbre.corpus import duplicates
from timbre.corpus.documents import Document
from timbre.corpus.duplicates import find_duplicates
from timbre.corpus.passages import MIN_TOKENS, select_passages
from timbre.corpus.splits import Item, assign_folds, assign_splits


def items_of(sizes: list[int], authors: int, dated: bool = False) -> list[Item]:
    return [Item(f"d{place:03d}", f"a{place % authors}", f"{1900 + place}" if dated else None, size) for place, size in enumerate(sizes)]


@given(st.lists(st.integers(1, 5000), min_size=5, max_size=60), st.integers(1, 60), st.integers(2, 3), st.integers(0, 5), st.booleans())
@settings(deadline=None)
def test_every_document_has_one_split_and_training_ones_a_fold(
    sizes: list[int], authors: int, folds: int, seed: int, by_date: bool
) -> None:
    items = items_of(sizes, authors, dated=by_date)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        split, rule = assign_splits(items, validation_share=0.1, test_share=0.15, folds=folds, seed=seed, by_date=by_date)
    assert set(split) == {item.doc_id for item in items}
    assert set(split.values()) == {"train", "validation", "test"}
    train = [item for item in items if split[item.doc_id] == "train"]
    fold = assign_folds(train, folds, seed)
    assert set(fold) == {item.doc_id for item in train} and set(fold.values()) == set(range(folds))
    if rule == "author":
        for author in {item.author for item in items}:
            assert len({split[item.doc_id] for item in items if item.author == author}) == 1
    if rule == "date":
        newest = {name: max(item.date or "" for item in items if split[item.doc_id] == name) for name in ("train", "validation")}
        oldest = {name: min(item.date or "" for item in items if split[item.doc_id] == name) for name in ("validation", "test")}
        assert newest["train"] <= oldest["validation"] and newest["validation"] <= oldest["test"]


def test_folds_keep_authors_whole() -> None:
    items = items_of([100] * 40, authors=8)
    fold = assign_folds(items, 2, seed=0)
    for author in {item.author for item in items}:
        assert len({fold[item.doc_id] for item in items if item.author == author}) == 1


@pytest.mark.parametrize(("documents", "tested"), [(24, 5), (20, 5), (8, 2), (136, 20)])
def test_a_small_corpus_holds_out_enough_documents_to_be_judged_on(documents: int, tested: int) -> None:
    split, _ = assign_splits(items_of([400] * documents, 1), validation_share=0.1, test_share=0.15, folds=2, seed=0, by_date=False)
    counted = list(split.values()).count("test")
    assert tested <= counted <= max(tested, 0.21 * documents), "enough, and no more than a fifth"


def test_too_few_documents_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="too few to split"):
        assign_splits(items_of([10, 10, 10], 1), validation_share=0.1, test_share=0.15, folds=2, seed=0, by_date=False)


def test_an_undated_document_turns_date_splitting_off_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="split_by_date is ignored"):
        assign_splits(items_of([10] * 9, 9), validation_share=0.1, test_share=0.15, folds=2, seed=0, by_date=True)


def test_duplicates_name_the_one_they_repeat() -> None:
    base = " ".join(f"word{place}" for place in range(200))
    texts = [base, base.upper() + "!", base.replace("word199", "other"), "something else entirely " * 9]
    verdicts = list(find_duplicates(texts, 0.8))
    assert verdicts[0] is None and verdicts[3] is None
    assert verdicts[1] == (0, 1.0)
    assert verdicts[2] is not None and verdicts[2][0] == 0 and 0.8 <= verdicts[2][1] < 1


def test_duplicates_are_found_across_an_index_of_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_READ", 1000)
    base = " ".join(f"word{place}" for place in range(200))
    others = [" ".join(f"{number}word{place}" for place in range(60)) for number in range(40)]
    verdicts = list(find_duplicates([base, *others, base.replace("word7 ", "seven "), others[20]], 0.8))
    assert verdicts[:41] == [None] * 41 and [verdict and verdict[0] for verdict in verdicts[41:]] == [0, 21]


class Counting(PreTrainedTokenizerFast):  # type: ignore[no-untyped-call]
    """A tokenizer of one token a word, all of them numbers, that counts the texts it is given."""

    def __init__(self) -> None:
        words = {str(number): number for number in range(1000)} | {"<unk>": 1000}
        whole = Tokenizer(WordLevel(words, unk_token="<unk>"))
        whole.pre_tokenizer = WhitespaceSplit()
        super().__init__(tokenizer_object=whole, unk_token="<unk>")  # type: ignore[no-untyped-call]
        self.calls = 0

    def __call__(self, text: str, **options: Any) -> Any:
        self.calls += text[:1].isdigit()
        return super().__call__(text, **options)


COUNTING = Counting()


def document(name: str, length: int) -> Document:
    return Document(name, " ".join(map(str, range(length))), "a", None, "s", "MIT", "yes", "t", "train", 0, length)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(16, 700), st.integers(16, 64), st.integers(0, 9))
@settings(deadline=None)
def test_passages_cover_the_budget_or_all_there_is(lengths: list[int], budget: int, length: int, seed: int) -> None:
    documents = [document(f"d{place}", size) for place, size in enumerate(lengths)]
    passages = select_passages(documents, COUNTING, budget_tokens=budget, passage_tokens=length, seed=seed)  # type: ignore[arg-type]
    total = sum(len(passage.token_ids) for passage in passages)
    assert total <= budget
    assert len({(passage.doc_id, passage.index) for passage in passages}) == len(passages)
    whole = 0
    for size in lengths:
        rest = size % length
        whole += size if size < MIN_TOKENS or rest >= MIN_TOKENS or rest == 0 else size - rest
    assert total == whole or total > budget - MIN_TOKENS
    for passage in passages:
        start = passage.index * length
        assert passage.token_ids.dtype == np.int32
        assert passage.token_ids.tolist() == list(range(start, start + len(passage.token_ids)))
    again = select_passages(documents[::-1], COUNTING, budget_tokens=budget, passage_tokens=length, seed=seed)  # type: ignore[arg-type]
    assert [(p.doc_id, p.index) for p in again] == [(p.doc_id, p.index) for p in passages]


def test_every_document_gives_one_passage_before_any_gives_two() -> None:
    tokenizer = Counting()
    documents = [document(f"d{place}", 320) for place in range(10)]
    passages = select_passages(documents, tokenizer, budget_tokens=32 * 12, passage_tokens=32, seed=3)  # type: ignore[arg-type]
    assert [passage.index for passage in passages] == [0] * 10 + [1] * 2
    few = Counting()
    select_passages(documents, few, budget_tokens=64, passage_tokens=32, seed=3)  # type: ignore[arg-type]
    assert few.calls == 2, "only as many documents are tokenised as the budget needs"


def test_no_token_at_all_is_a_sentence() -> None:
    empty = SimpleNamespace(doc_id="d", text="", fold=0, author="a")
    with pytest.raises(ValueError, match="no document holds any token"):
        select_passages([empty], COUNTING, budget_tokens=64, passage_tokens=32, seed=0)  # type: ignore[list-item, arg-type]
