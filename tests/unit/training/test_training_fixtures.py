"""The tiny model that all tests share is a real one: transformers loads it, and its texts are what they promise."""

from pathlib import Path


def test_tiny_model_loads_and_tokenizes_there_and_back(tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    text = tiny_corpus_texts[0][1]
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tokenizer.chat_template and tokenizer.eos_token_id == tokenizer.pad_token_id == model.config.eos_token_id


def test_tiny_texts_are_many_authors_and_of_document_length(tiny_corpus_texts: list[tuple[str, str]]) -> None:
    assert len({author for author, _ in tiny_corpus_texts}) >= 6
    assert all(150 <= len(text.split()) <= 300 for _, text in tiny_corpus_texts)
    assert len({text for _, text in tiny_corpus_texts}) == len(tiny_corpus_texts) >= 24
