"""Which architectures go the whole road, and the one sentence for each that does not, before anything is spent on it."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from test_models_resolve import random_model

from timbre.artifacts import ArtifactStore
from timbre.config import ModelConfig
from timbre.models import model_inputs, resolve_model
from timbre.pipeline import STEPS
from timbre.progress import SILENT

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
FALCON = {"multi_query": True, "parallel_attn": True, "new_decoder_architecture": False}
WORK: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4}, "qwen3_moe": EXPERTS, "falcon": FALCON,
    "bloom": {"n_layer": 2, "n_head": 4}, "gpt_neox": {},
}  # fmt: skip
RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4}, "lfm2": {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_ff_dim": 64},
}  # fmt: skip


@pytest.fixture
def store(home: Path) -> ArtifactStore:
    return ArtifactStore(home, SILENT)


@pytest.mark.parametrize("kind", sorted(WORK))
def test_it_is_traced_and_writes_what_torch_writes(kind: str, store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path) -> None:
    from timbre.export.decoder import MODEL_FILE, CacheShape
    from timbre.export.merge import merged_model
    from timbre.export.parity import largest_difference, run_trial
    from timbre.export.session import Decoder
    from timbre.export.trace import resolve_decoder, write_decoder

    folder = random_model(kind, tmp_path / kind, tiny_model_dir, **WORK[kind])
    model = resolve_model(ModelConfig(name=str(folder)), store)
    decoder = resolve_decoder(ModelConfig(name=kind), model, store)
    merged = merged_model(model)
    assert CacheShape.of(merged).layers == 2
    write_decoder(decoder, merged, tmp_path)
    session = Decoder.open(tmp_path / MODEL_FILE)
    trial = run_trial(merged, session, [list(range(5, 13)), list(range(9, 20)), list(range(3, 17))], 6, 384)
    assert trial.equal == 3 and largest_difference(merged, trial.rows, trial.logits, 384) < 1e-4


@pytest.mark.parametrize("kind", sorted(RECURRENT))
def test_a_recurrent_model_is_refused_by_its_configuration(kind: str, store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = random_model(kind, tmp_path / kind, tiny_model_dir, **RECURRENT[kind])
    (folder / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(ValueError, match=r"recurrent or convolutional.*use a Llama-"):
        resolve_model(ModelConfig(name=str(folder)), store)


def test_what_cannot_be_traced_is_refused_in_one_sentence(store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path) -> None:
    from timbre.export.trace import resolve_decoder

    own = {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4}
    model = resolve_model(ModelConfig(name=str(random_model("gpt_neo", tmp_path / "neo", tiny_model_dir, **own))), store)
    with pytest.raises(ValueError, match=r"GPTNeoForCausalLM cannot be exported to ONNX.*use a Llama-"):
        resolve_decoder(ModelConfig(name="neo"), model, store)


def test_the_graph_is_traced_right_behind_the_model_before_anything_is_spent() -> None:
    assert [step.name for step in STEPS[:2]] == ["model", "decoder"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mamba2"}, "recurrent or convolutional"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"layer_types": ["linear_attention"] * 2}, "linear_attention"),
    ],
)
def test_a_look_at_the_configuration_refuses_before_a_key_is_formed(
    changes: dict[str, Any], said: str, tiny_model_dir: Path, tmp_path: Path, home: Path
) -> None:
    folder = random_model("llama", tmp_path / "given", tiny_model_dir)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=said):
        model_inputs(ModelConfig(name=str(folder)))


def test_weights_in_eight_bits_are_seen_in_their_header(tiny_model_dir: Path, tmp_path: Path, home: Path) -> None:
    folder = random_model("llama", tmp_path / "given", tiny_model_dir)
    path = folder / "model.safetensors"
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    header = json.loads(path.read_bytes()[8 : 8 + length])
    next(value for name, value in header.items() if name != "__metadata__")["dtype"] = "F8_E4M3"
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + path.read_bytes()[8 + length :])
    with pytest.raises(ValueError, match=r"quantised \(F8_E4M3\).*bf16 or fp32 weights"):
        model_inputs(ModelConfig(name=str(folder)))
