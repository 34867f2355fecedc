"""A tiny random model with a tokenizer of its own, and made-up documents for it: to try a benchmark in a minute."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import CorpusConfig, ModelConfig
from timbre.corpus.documents import Document, write_rows
from timbre.models import resolve_model

VOCABULARY, CONTEXT = 512, 256
_SPLITS = ("train",) * 32 + ("validation",) * 10 + ("test",) * 10
_WRITERS = (
    ("The harbour", "gull mast tide anchor deck sail rope storm", "drifted rolled creaked waited glimmered"),
    ("An orchard", "apple ladder basket meadow cart bee hedge barn", "ripened hung swayed rested bloomed"),
    ("That forge", "hammer anvil iron spark bellows smith chain coal", "glowed rang hissed cooled struck"),
    ("Our library", "lamp page letter desk candle scholar ink shelf", "whispered faded rustled opened burned"),
)
_QUALITIES = ("old", "quiet", "heavy", "small", "bright", "patient", "broken", "golden", "narrow", "gentle")
_ENDS = ("and nobody spoke", "as it always had", "before the light went", "while others looked away", "until the rain came")


def tiny_model(store: ArtifactStore) -> Artifact:
    """Random two-layer Llama, resolved as any folder is."""
    folder = store.home / "tiny-model"
    if not (folder / "model.safetensors").exists():
        _write_model(folder)
    return resolve_model(ModelConfig(name=str(folder)), store)


def tiny_corpus(store: ArtifactStore) -> Artifact:
    """Documents of four made-up writers, split and dealt to two folds."""
    documents = [
        Document(f"doc-{n:02}", text, f"writer {n % 4}", None, "made", "CC0-1.0", "not needed", "tiny", split, _fold(n, split), 200)
        for n, (text, split) in enumerate(zip(_texts(), _SPLITS, strict=True))
    ]

    def build(_: CorpusConfig, __: Mapping[str, Input], workspace: Workspace) -> None:
        write_rows(documents, Document, workspace.output / "documents.parquet")

    return store.build(Stage("corpus", 1, build), CorpusConfig(style="tiny"), {})


def _fold(number: int, split: str) -> int:
    return number // 4 % 2 if split == "train" else -1


def _texts() -> list[str]:
    return [_text(number) for number in range(len(_SPLITS))]


def _text(number: int) -> str:
    choice = random.Random(f"document {number}")
    opener, things, doings = _WRITERS[number % len(_WRITERS)]
    sentences = []
    for _ in range(choice.randint(12, 18)):
        first, second = choice.sample(things.split(), 2)
        start = f"{opener} and its" if choice.random() < 0.4 else "The"
        words = f"{choice.choice(_QUALITIES)} {first} {choice.choice(doings.split())} by the {choice.choice(_QUALITIES)} {second}"
        sentences.append(f"{start} {words} {choice.choice(_ENDS)}.")
    return " ".join(sentences)


def _write_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|end|>", "<|start|>", "<|turn|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", model_max_length=CONTEXT
    )
    fast.chat_template = (
        "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, initializer_range=0.2, eos_token_id=0, pad_token_id=0, bos_token_id=1,
    )  # fmt: skip
    fast.save_pretrained(folder)
    LlamaForCausalLM(config).save_pretrained(folder)
