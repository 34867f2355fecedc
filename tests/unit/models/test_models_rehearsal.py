"""What a folder is told before its weights are read: whether its model can go the whole road, and whether its files are of one model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_models_resolve import random_model

from timbre.artifacts import ArtifactStore
from timbre.config import release_config
from timbre.export.rehearsal import check_exportable
from timbre.models import loading
from timbre.models.rehearsal import rehearse
from timbre.pipeline.plan import plan
from timbre.progress import SILENT

NEO = {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4}
MPT = {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128}
LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
    "head_dim": 8, "num_key_value_heads": 4,
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "gpt_neo": (NEO, r"cannot be exported to ONNX.*use a Llama-"),
    "mpt": (MPT, r"cannot be exported to ONNX.*use a Llama-"),
    "granite": ({"logits_scaling": 8.0}, r"scales or changes its logits.*use a Llama-"),
    "deepseek_v2": (LATENT, r"keys and values of one size.*use a Llama-"),
}


def _edit(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_the_plan_refuses_what_could_not_be_served_before_weights_are_read(
    kind: str, tiny_model_dir: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, said = REFUSED[kind]
    folder = random_model(kind, tmp_path / kind, tiny_model_dir, **fields)
    monkeypatch.setattr(loading, "load_folder", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(ValueError, match=said):
        plan(release_config("literary", overrides={"model.name": str(folder)}), ArtifactStore(home, SILENT))


def test_a_model_far_larger_than_the_memory_is_tried_in_shapes_alone(tiny_model_dir: Path, tmp_path: Path) -> None:
    """70 billion parameters by its configuration, 32 numbers a row in its file of no weights."""
    folder = tmp_path / "large"
    shutil.copytree(tiny_model_dir, folder)
    _edit(
        folder, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8, head_dim=128
    )
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    check_exportable(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"intermediate_size": 200}, r"contradicts itself: model\.layers\.0\.mlp.* put the config\.json there"),
        ({"num_hidden_layers": 1}, r"weights have \d layers and its config\.json says 1"),
        ({"num_hidden_layers": 9}, r"weights have \d layers and its config\.json says 9"),
        ({"vocab_size": 1000}, r"embed_tokens.* in its weights and 1000×"),
        ({"num_attention_heads": 7}, r"config\.json"),
    ],
)
def test_a_configuration_of_another_model_is_refused_with_the_names(
    fields: dict[str, Any], said: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(tiny_model_dir, folder)
    _edit(folder, **fields)
    with pytest.raises(ValueError, match=said):
        rehearse(folder)


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = random_model("llama", tmp_path / "small", tiny_model_dir, vocab_size=100, head_dim=8)
    with pytest.raises(ValueError, match=r"ids go up to 383, the model has 100 rows.*put the tokenizer"):
        rehearse(folder)


def test_weights_that_the_configuration_leaves_out_are_no_silent_other_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = random_model("llama", tmp_path / "biased", tiny_model_dir, attention_bias=True, head_dim=8)
    _edit(folder, attention_bias=False)
    with pytest.raises(ValueError, match=r"hold model\.layers\.0\.self_attn\.\w_proj\.bias.*put the config\.json there"):
        loading.load_folder(folder)


@pytest.mark.parametrize("kind", ["qwen3", "olmo2"])
def test_what_works_is_let_through(kind: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    check_exportable(random_model(kind, tmp_path / kind, tiny_model_dir))
