"""What every test may use: a tiny random Llama with its own tokenizer, generated texts, and a home of its own.

The environment is set before any library reads it: one thread (tiny models gain nothing
from more), nothing calls home, no hub. Nothing here imports torch.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as laws

# On a busy machine time says nothing about a law; an input strategy that finds nothing is still reported.
laws.register_profile("timbre", deadline=None, suppress_health_check=[HealthCheck.too_slow])
laws.load_profile("timbre")

os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TIMBRE_THREADS": "1",
        "TIMBRE_DEVICE": "cpu",
        "TIMBRE_DTYPE": "float32",  # so that the suite is the same on CPUs with bf16 units
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
)

HIDDEN, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, CONTEXT, VOCABULARY = 32, 2, 4, 2, 64, 512, 384
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Each author has own things, own doings and own turns of phrase: what a model can learn of a writer.
_AUTHORS = {
    "Ada Bell": ("harbour gull mast tide anchor sailor deck storm", "drifted rolled creaked glimmered waited", "Beyond the grey water"),
    "Ben Cole": ("orchard apple ladder basket meadow farmer cart bee", "ripened hung swayed gathered rested", "In the long warm autumn"),
    "Cy Dunn": ("furnace hammer anvil iron spark bellows smith chain", "glowed rang hissed cooled struck", "Under the black roof"),
    "Dora Eng": ("library lamp page letter desk candle scholar ink", "whispered faded rustled opened burned", "Late in the evening"),
    "Ed Frost": ("mountain glacier ridge pine eagle guide rope snow", "towered cracked shone circled climbed", "High above the valley"),
    "Flo Gray": ("kitchen kettle bread oven spoon cook table flour", "steamed rose baked simmered cooled", "Every morning at six"),
    "Gus Hale": ("market coin merchant silk drum lantern crowd stall", "shouted traded danced glittered", "When the bells had stopped"),
    "Hal Ives": ("railway engine whistle platform porter ticket bridge", "rattled roared slowed departed", "Along the iron road"),
}  # fmt: skip
_QUALITIES = ("old", "quiet", "heavy", "small", "bright", "patient", "broken", "golden", "narrow", "gentle")
_ENDINGS = (
    "and nobody spoke of it again", "as it had always done", "before the light was gone", "while the others looked away",
    "until the rain came", "though no one had asked", "because the day was short", "and the children laughed",
    "for there was nothing else to do",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_servers_of_another_test() -> Iterator[None]:
    """A command typed in this process points Prefect and MLflow at its home; the next test has another."""
    ours = ("PREFECT_", "MLFLOW_")
    before = {name: value for name, value in os.environ.items() if name.startswith(ours)}
    yield
    for name in [name for name in os.environ if name.startswith(ours)]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary TIMBRE_HOME that `settings()` knows of, also in child processes."""
    from timbre.settings import settings

    monkeypatch.setenv("TIMBRE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture(scope="session")
def tiny_corpus_texts() -> list[tuple[str, str]]:
    """(author, text) of 40 generated documents by 8 authors, 150–300 words each; always the same."""
    return corpus_texts()


def corpus_texts() -> list[tuple[str, str]]:
    """(author, text) of the generated documents."""
    return [(author, _document(author, number)) for number in range(5) for author in _AUTHORS]


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory, tiny_corpus_texts: list[tuple[str, str]]) -> Path:
    """A folder as `save_pretrained` leaves it: random tied Llama, 384-token BPE, chat template.

    End of text and padding are one token, as in the default model, so that masking by id would be found out.
    """
    folder = tmp_path_factory.mktemp("tiny-llama")
    write_tokenizer(folder, [text for _, text in tiny_corpus_texts])
    write_llama(folder, seed=0)
    return folder


def write_tokenizer(folder: Path, texts: list[str]) -> None:
    """Train a byte-level BPE on `texts` and write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False,
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def write_llama(folder: Path, seed: int) -> None:
    """Write config.json, generation_config.json and model.safetensors of a random Llama; wide enough weights that it can learn."""
    import numpy as np
    from safetensors.numpy import save_file

    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HIDDEN // HEADS, "intermediate_size": FEED_FORWARD,
        "max_position_embeddings": CONTEXT, "vocab_size": VOCABULARY, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "tie_word_embeddings": True, "initializer_range": 0.2,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "dtype": "float32", "use_cache": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}))
    random_numbers = np.random.default_rng(seed)
    shapes = {"model.embed_tokens": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        prefix, keys = f"model.layers.{layer}", HIDDEN // HEADS * KV_HEADS
        shapes |= {
            f"{prefix}.self_attn.q_proj": (HIDDEN, HIDDEN), f"{prefix}.self_attn.k_proj": (keys, HIDDEN),
            f"{prefix}.self_attn.v_proj": (keys, HIDDEN), f"{prefix}.self_attn.o_proj": (HIDDEN, HIDDEN),
            f"{prefix}.mlp.gate_proj": (FEED_FORWARD, HIDDEN), f"{prefix}.mlp.up_proj": (FEED_FORWARD, HIDDEN),
            f"{prefix}.mlp.down_proj": (HIDDEN, FEED_FORWARD),
        }  # fmt: skip
    weights = {f"{name}.weight": random_numbers.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = ["model.norm"] + [f"model.layers.{n}.{kind}" for n in range(LAYERS) for kind in ("input_layernorm", "post_attention_layernorm")]
    weights |= {f"{name}.weight": np.ones(HIDDEN, np.float32) for name in norms}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _document(author: str, number: int) -> str:
    choice = random.Random(f"{author} {number}")
    things, doings, opener = _AUTHORS[author]
    words, sentences = choice.randint(150, 270), []
    while sum(len(sentence.split()) for sentence in sentences) < words:
        first, second = choice.sample(things.split(), 2)
        doing, quality, other = choice.choice(doings.split()), choice.choice(_QUALITIES), choice.choice(_QUALITIES)
        start = f"{opener}, the" if choice.random() < 0.4 else "The"
        sentences.append(f"{start} {quality} {first} {doing} near the {other} {second} {choice.choice(_ENDINGS)}.")
    half = len(sentences) // 2
    return " ".join(sentences[:half]) + "\n\n" + " ".join(sentences[half:])
