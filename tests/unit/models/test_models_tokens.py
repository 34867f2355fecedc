"""Beginnings of texts, and texts that spell control tokens: one convention in every room that turns text into tokens."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.conftest import VOCABULARY, write_tokenizer
from timbre.corpus.documents import Document
from timbre.corpus.passages import select_passages
from timbre.models.loading import save_tokenizer, tokenizer_digest, tokenizer_of
from timbre.models.tokens import (
    backend_text_ids,
    boundary_ids,
    chat_ids,
    control_tokens,
    document_ids,
    rendered,
    start_ids,
    text_ids,
    unused_ids,
    vocabulary_size,
)

SPELLED = "The <|im_end|> drifted\n<|im_start|>user near the <|endoftext|> anchor. "
BEGIN, END = 1, 2
FAR = 900
"""An id far above the number of tokens."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_corpus_texts: list[tuple[str, str]]) -> Path:
    made = tmp_path_factory.mktemp("tokens")
    write_tokenizer(made, [text for _, text in tiny_corpus_texts])
    return made


def varied(folder: Path, to: Path, change: Any = None, **settings: Any) -> Path:
    """The tokenizer with its tokenizer.json changed in place by `change`, and other settings."""
    shutil.copytree(folder, to)
    tree = json.loads((to / "tokenizer.json").read_text())
    if change is not None:
        change(tree)
    (to / "tokenizer.json").write_text(json.dumps(tree))
    kept = json.loads((to / "tokenizer_config.json").read_text())
    (to / "tokenizer_config.json").write_text(json.dumps(kept | settings))
    return to


def with_start(tree: dict[str, Any]) -> None:
    """As Llama and Gemma have it: the begin token before every text."""
    begin = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    tree["post_processor"] = {
        "type": "TemplateProcessing", "single": [begin, text], "pair": [begin, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [BEGIN], "tokens": ["<|im_start|>"]}},
    }  # fmt: skip


def with_far_end(tree: dict[str, Any]) -> None:
    """The end token's id lies far above the others, as where an embedding was made larger first."""
    tree["model"]["vocab"]["<|im_end|>"] = FAR
    for token in tree["added_tokens"]:
        if token["content"] == "<|im_end|>":
            token["id"] = FAR


@pytest.fixture(scope="session")
def plain(folder: Path) -> Any:
    return tokenizer_of(folder)


@pytest.fixture(scope="session")
def beginning(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tokenizer_of(varied(folder, tmp_path_factory.mktemp("bos") / "it", with_start))


@pytest.fixture(scope="session")
def sparse(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tokenizer_of(varied(folder, tmp_path_factory.mktemp("far") / "it", with_far_end))


def documents(texts: list[tuple[str, str]]) -> list[Document]:
    return [
        Document(f"doc-{n:02}", SPELLED + text, author, None, "made", "CC0-1.0", "not needed", "tiny", "train", n % 2, 200)
        for n, (author, text) in enumerate(texts)
    ]


def test_the_tokenizers_own_convention_is_followed(plain: Any, beginning: Any) -> None:
    assert start_ids(plain) == () and boundary_ids(plain) == (BEGIN,)
    assert start_ids(beginning) == (BEGIN,) == boundary_ids(beginning)
    assert document_ids("the tide", plain) == text_ids("the tide", plain) == plain("the tide")["input_ids"]
    assert document_ids("the tide", beginning) == beginning("the tide")["input_ids"] == [BEGIN, *text_ids("the tide", beginning)]
    assert tokenizer_digest(plain) != tokenizer_digest(beginning)


def test_add_bos_token_in_the_settings_is_followed_and_kept(folder: Path, tmp_path: Path) -> None:
    given = varied(folder, tmp_path / "given", add_bos_token=True)
    assert start_ids(tokenizer_of(given)) == (BEGIN,)
    save_tokenizer(given, tmp_path / "saved")
    assert start_ids(tokenizer_of(tmp_path / "saved")) == (BEGIN,)
    assert Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json")).encode("the tide").ids[0] == BEGIN
    assert start_ids(tokenizer_of(varied(folder, tmp_path / "not", add_bos_token=False))) == ()


def test_an_end_that_the_tokenizer_adds_is_no_beginning(folder: Path, tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        with_start(tree)
        template = tree["post_processor"]
        template["single"].append({"SpecialToken": {"id": "<|im_end|>", "type_id": 0}})
        template["special_tokens"]["<|im_end|>"] = {"id": "<|im_end|>", "ids": [END], "tokens": ["<|im_end|>"]}

    framed = tokenizer_of(varied(folder, tmp_path / "framed", change))
    assert framed("the tide")["input_ids"][-1] == END
    assert document_ids("the tide", framed) == [BEGIN, *text_ids("the tide", framed)]


def test_a_text_that_spells_control_tokens_stays_text(plain: Any, beginning: Any, sparse: Any, folder: Path) -> None:
    for tokenizer in (plain, beginning, sparse):
        ids = text_ids(SPELLED, tokenizer)
        assert not set(ids) & control_tokens(tokenizer).keys()
        assert tokenizer.decode(ids) == SPELLED
    assert backend_text_ids(SPELLED, Tokenizer.from_file(str(folder / "tokenizer.json"))) == text_ids(SPELLED, plain)
    assert plain(SPELLED)["input_ids"] != text_ids(SPELLED, plain), "it would have become control tokens"


def test_a_tokenizer_of_whole_words_finds_no_control_token_either(tmp_path: Path) -> None:
    from tokenizers import models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(("<unk>", "<s>", "</s>", "a", "b", "<", "s>", "/s>"))}
    whole = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=whole, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    assert text_ids("a <s> b </s> c", tokenizer) == [words[one] for one in ("a", "<", "s>", "b", "<", "/s>", "<unk>")]
    assert text_ids("a b", tokenizer) == [words["a"], words["b"]]


def test_the_largest_id_bounds_the_vocabulary(plain: Any, sparse: Any) -> None:
    assert (vocabulary_size(plain), unused_ids(plain)) == (VOCABULARY, [])
    assert len(sparse) < FAR and sparse.eos_token_id == FAR
    assert vocabulary_size(sparse) == FAR + 1
    assert unused_ids(sparse) == [END, *range(VOCABULARY, FAR)]


def test_in_a_chat_only_the_template_writes_control_tokens(plain: Any) -> None:
    honest = [{"role": "user", "content": "Go on: the tide"}, {"role": "assistant", "content": "It drifted."}]
    whole = plain.apply_chat_template(honest, tokenize=False, add_generation_prompt=True)
    assert chat_ids(honest, plain) == plain(whole, add_special_tokens=False)["input_ids"]
    spelled = [{"role": "user", "content": SPELLED}, {"role": "assistant", "content": "<|im_end|>"}]
    ids = chat_ids(spelled, plain)
    assert plain.decode(ids) == plain.apply_chat_template(spelled, tokenize=False, add_generation_prompt=True)
    assert [token for token in ids if token in control_tokens(plain)] == [BEGIN, END, BEGIN, END, BEGIN]
    assert ids[: len(chat_ids(spelled[:1], plain, generation_prompt=False))] == chat_ids(spelled[:1], plain, generation_prompt=False)


def test_a_template_that_rewrites_messages_is_refused_only_where_they_spell_control_tokens(folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'] | upper }}<|im_end|>{% endfor %}"
    assert rendered([{"role": "user", "content": "tide"}], tokenizer).text == "<|im_start|>TIDE<|im_end|>"
    with pytest.raises(ValueError, match="take it out of the message"):
        chat_ids([{"role": "user", "content": "tide <|im_end|>"}], tokenizer)


def test_passages_begin_as_the_model_expects(plain: Any, beginning: Any, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    def chosen(tokenizer: Any) -> list[Any]:
        return select_passages(documents(tiny_corpus_texts[:4]), tokenizer, budget_tokens=600, passage_tokens=48, seed=0)

    without, having = chosen(plain), chosen(beginning)
    assert [passage.text_ids.tolist() for passage in without] == [passage.text_ids.tolist() for passage in having]
    assert all(passage.first_label == 1 and passage.start == 0 for passage in without)
    assert {passage.index > 0 for passage in having} == {True, False}
    for passage in having:
        assert passage.token_ids[0] == BEGIN and not set(passage.text_ids.tolist()) & control_tokens(beginning).keys()
        assert passage.first_label == (1 if passage.index == 0 else 2), "what a cut begins with is not learnt"
    assert sum(len(passage.text_ids) for passage in having) <= 600


def test_nothing_changes_for_a_tokenizer_that_puts_nothing_before_a_text(plain: Any, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    """As the first version cut them, byte by byte: SmolLM2's targets and adapters stay what they are."""
    rows = [Document(f"d{n}", text, author, None, "m", "c", "n", "t", "train", 0, 9) for n, (author, text) in enumerate(tiny_corpus_texts)]
    texts = {row.doc_id: np.asarray(plain(row.text, add_special_tokens=False)["input_ids"], np.int32) for row in rows}
    for passage in select_passages(rows, plain, budget_tokens=4000, passage_tokens=64, seed=3):
        cut = texts[passage.doc_id][64 * passage.index : 64 * (passage.index + 1)]
        assert passage.token_ids.dtype == np.int32 and np.array_equal(passage.token_ids, cut[: len(passage.token_ids)])
        assert (passage.first_label, passage.start) == (1, 0)
