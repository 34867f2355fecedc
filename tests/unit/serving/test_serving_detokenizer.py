"""Streamed pieces are whole characters and together the whole text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from timbre.serving.detokenizer import Detokenizer


def _byte_level() -> Tokenizer:
    """As GPT-2, Llama 3, Qwen and SmolLM: every byte a token, so most characters are several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False)
    tokenizer.train_from_iterator(["the theatre there then"], trainer)
    return tokenizer


def _sentencepiece() -> Tokenizer:
    """As Llama 2 and Mistral: spaces are ▁, unknown characters are byte tokens, the first space is stripped."""
    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


TOKENIZERS = {"byte-level": _byte_level(), "sentencepiece": _sentencepiece()}
any_character = st.characters(exclude_categories=["Cs"], exclude_characters="�▁")
texts = st.text(alphabet=st.one_of(st.sampled_from("the a é—“”🐋🏳🌈\u200d漢"), any_character), max_size=30)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=texts, cut=st.integers(0, 20))
def test_pieces_are_whole_characters_and_add_up_to_the_text(kind: str, text: str, cut: int) -> None:
    tokenizer = TOKENIZERS[kind]
    prompt, rest = text[:cut], text[cut:]
    prompt_ids, ids = tokenizer.encode(prompt).ids, tokenizer.encode(text).ids
    if ids[: len(prompt_ids)] != prompt_ids:  # a merge runs over the cut: stream everything
        prompt, rest, prompt_ids = "", text, []
    stream = Detokenizer(tokenizer, prompt_ids)
    pieces = [stream.push(token) for token in ids[len(prompt_ids) :]] + [stream.flush()]
    assert not any("�" in piece for piece in pieces)
    assert "".join(pieces) == rest


@given(ids=st.lists(st.integers(0, TOKENIZERS["byte-level"].get_vocab_size() - 1), max_size=30))
def test_random_tokens_lose_nothing_but_an_unfinished_end(ids: list[int]) -> None:
    """Byte-level only: the sentencepiece decoder turns a whole run of bytes to � for one wrong byte that comes later."""
    tokenizer = TOKENIZERS["byte-level"]
    stream = Detokenizer(tokenizer)
    streamed = "".join([*(stream.push(token) for token in ids), stream.flush()])
    assert streamed == tokenizer.decode(ids).rstrip("�")


def test_unfinished_character_at_the_end_is_not_shown() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    *most, _ = tokenizer.encode("whale 🐋").ids
    stream = Detokenizer(tokenizer)
    assert "".join([*(stream.push(token) for token in most), stream.flush()]) == "whale "
