"""A folder with a model in it: which of its files count, and what is refused in one line before anything is loaded."""

import json
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from timbre.artifacts import FileInput, HashCache, digest_json
from timbre.settings import settings

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, GENERATION = "config.json", "generation_config.json"
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
    "tokenizer.model", "spiece.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_TOKENIZER_CORE = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_CARD = "README.md"
_FULL = {"F64", "F32", "F16", "BF16", "I64", "BOOL"}
"""Number formats of weights, and of the masks and positions that some models save with them."""
_RECURRENT = frozenset({
    "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "lfm2", "lfm2_moe", "mamba", "mamba2", "nemotron_h", "qwen3_next",
    "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2",
})  # fmt: skip
"""Types that keep a state instead of keys and values; others of the kind are told by their layers or by transformers."""
PATTERNS = (CONFIG, GENERATION, "*.safetensors", INDEX, _CARD, *_TOKENIZER)
"""What is fetched of a model on a hub."""


@dataclass(frozen=True)
class ModelFolder(FileInput):
    """A model folder as a stage's input: its digest covers the files that count, and nothing that lies beside them."""

    @cached_property
    def digest(self) -> str:
        settings().home.mkdir(parents=True, exist_ok=True)
        hashes = HashCache(settings().home / "hashes.json")
        return digest_json({path.name: hashes.sha256(path) for path in model_files(self.path)})


def model_files(folder: Path) -> list[Path]:
    """Configuration, weights, tokenizer and card, in name order.

    Raises:
        ValueError: not a model folder that Timbre can use; the sentence says what is missing.
    """
    if not (folder / CONFIG).is_file():
        adapter = " (it holds an adapter: give the folder of its base model)" if (folder / "adapter_config.json").is_file() else ""
        raise ValueError(f"the model folder {folder} has no {CONFIG}{adapter}")
    weights = _weight_files(folder)
    if not any((folder / name).is_file() for name in _TOKENIZER_CORE):
        raise ValueError(f"the model folder {folder} has no tokenizer: save it there too (tokenizer.json and tokenizer_config.json)")
    others = [folder / name for name in (CONFIG, GENERATION, _CARD, *_TOKENIZER) if (folder / name).is_file()]
    return sorted([*weights, *others])


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        names = sorted(set(_json(folder / INDEX).get("weight_map", {}).values()))
        if wrong := [name for name in names if Path(name).name != name or not (folder / name).is_file()]:
            raise ValueError(f"the model folder {folder} lacks the shards {', '.join(wrong)} that its {INDEX} lists")
        if pickled := [name for name in names if not name.endswith(".safetensors")]:
            raise ValueError(
                f"the model folder {folder} lists {pickled[0]} in its {INDEX}, which is no safetensors file and could run code when "
                "loaded: save it again with save_pretrained"
            )
        if names:
            return [folder / INDEX, *(folder / name for name in names)]
    if pickled := sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES):
        raise ValueError(
            f"the model folder {folder} holds pickled weights ({pickled[0]}), which can run code when loaded: "
            "convert them to safetensors with save_pretrained"
        )
    raise ValueError(f"the model folder {folder} has no weights: {WEIGHTS} or {INDEX} is needed")


def check_config(folder: Path) -> None:
    """Refuse by config.json alone what is not a causal language model of transformers with a key-value cache.

    Raises:
        ValueError: remote code, an unknown or not causal architecture, quantised weights, or recurrent layers.
    """
    import transformers
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    config = _json(folder / CONFIG)
    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING:
        why = "it needs code from its folder, which is never run" if "auto_map" in config else "this transformers does not know it"
        raise ValueError(f"the model in {folder} is of type {kind!r}: {why}; use a Llama-, Mistral-, Qwen- or GPT-2-shaped model")
    architectures = config.get("architectures") or [CAUSAL.get(kind)]
    if not set(architectures) & set(CAUSAL.values()) or config.get("is_encoder_decoder"):
        raise ValueError(f"the model in {folder} is a {architectures[0] or kind}, not a causal language model: it cannot continue a text")
    check_plain(folder)
    network = getattr(transformers, str(next((one for one in architectures if one in CAUSAL.values()), "")), None)
    if getattr(network, "_is_stateful", False):
        raise ValueError(_recurrent(folder, kind))


def check_plain(folder: Path) -> None:
    """Refuse by a look at config.json and at the headers of the weights; no library is loaded for it.

    Raises:
        ValueError: quantised weights, or layers that are no attention.
    """
    config = _json(folder / CONFIG)
    if config.get("model_type") in _RECURRENT:
        raise ValueError(_recurrent(folder, str(config["model_type"])))
    if quantised := config.get("quantization_config"):
        how = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise ValueError(_quantised(folder, str(how or "some way")))
    text = config.get("text_config")
    kinds = {
        str(layer) for part in (config, text if isinstance(text, dict) else {}) for layer in part.get("layer_types") or ()
        if not str(layer).endswith("attention") or "linear" in str(layer)
    }  # fmt: skip
    if kinds:
        raise ValueError(_recurrent(folder, f"{config.get('model_type')} with layers of the kind {min(kinds)}"))
    for path in sorted(folder.glob("*.safetensors")):
        if strange := _dtypes(path) - _FULL:
            raise ValueError(_quantised(folder, min(strange)))


def _quantised(folder: Path, how: str) -> str:
    return (
        f"the weights in {folder} are quantised ({how}), and training and merging need them in full precision: "
        "give the folder with the bf16 or fp32 weights that they were made from"
    )


def _recurrent(folder: Path, kind: str) -> str:
    return (
        f"the model in {folder} is a {kind}, which is recurrent or convolutional: it keeps no keys and values of every token, so it can "
        "neither be written with step by step nor exported; use a Llama-, Mistral-, Qwen-, Mixtral- or GPT-2-shaped model"
    )


def _dtypes(path: Path) -> set[str]:
    """The number formats of a safetensors file, from its header: 8 bytes of length, then JSON.

    A file whose header cannot be read has none here: loading it says what is wrong.
    """
    return {str(tensor.get("dtype")) for tensor in _header(path).values()}


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The tensors of a safetensors file, from its header: name -> shape. None where the header cannot be read, as above."""
    return {name: tuple(tensor.get("shape", ())) for name, tensor in _header(path).items()}


def _header(path: Path) -> dict[str, dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        return {name: tensor for name, tensor in header.items() if name != "__metadata__" and isinstance(tensor, dict)}
    except (ValueError, AttributeError, MemoryError, OverflowError):
        return {}


def licence_of(folder: Path) -> str:
    """The licence that the model card's front matter names, or `unknown`."""
    card = folder / _CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = re.match(r"---\s*\n(?:.*\n)*?license:\s*[\"']?([\w.+-]+)", text)
    return found.group(1) if found else "unknown"


def take_weights(folder: Path, output: Path) -> None:
    """Configuration and weights, copied: a link would let whoever edits the folder edit the artifact."""
    for path in model_files(folder):
        if path.suffix == ".safetensors" or path.name in (INDEX, CONFIG, GENERATION):
            shutil.copyfile(path, output / path.name)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return value
