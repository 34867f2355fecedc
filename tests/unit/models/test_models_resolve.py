"""What a person may give as a base model, and the one line that says why not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ModelConfig, TrainingConfig, release_config
from timbre.models import (
    STAGE,
    base_name,
    canonical,
    head_weight,
    hidden_states,
    load_model,
    load_tokenizer,
    model_facts,
    model_inputs,
    resolve_model,
)
from timbre.progress import SILENT

SIZES = {"vocab_size": 384, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
GENERAL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 128, "head_dim": 8,
}  # fmt: skip


def random_model(kind: str, folder: Path, tokenizer_from: Path, **changes: Any) -> Path:
    """A random model of a kind that transformers knows, saved with the tiny tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    own = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128} if kind == "gpt2" else dict(GENERAL)
    if kind in ("falcon", "gpt_neo"):
        own.pop("head_dim")  # theirs follows from the others
    config = AutoConfig.for_model(kind, **(SIZES | own | changes))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(str(folder), max_shard_size=changes.get("shards", "5GB"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer_from / name, folder / name)
    return folder


@pytest.fixture
def store(home: Path) -> ArtifactStore:
    return ArtifactStore(home, SILENT)


@pytest.fixture
def changed(tiny_model_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """The tiny model's folder with fields of config.json changed and files removed."""

    def change(remove: tuple[str, ...] = (), **fields: Any) -> Path:
        folder = tmp_path / "given"
        shutil.copytree(tiny_model_dir, folder)
        config = json.loads((folder / "config.json").read_text()) | fields
        (folder / "config.json").write_text(json.dumps(config))
        for name in remove:
            (folder / name).unlink()
        return folder

    return change


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "qwen3", "mistral"])
def test_common_shapes_resolve_train_and_load_again(kind: str, store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path) -> None:
    import numpy as np
    import torch

    from timbre.training.adapters import save_adapter
    from timbre.training.data import Example
    from timbre.training.trainer import train

    model = resolve_model(ModelConfig(name=str(random_model(kind, tmp_path / kind, tiny_model_dir, vocab_size=400))), store)
    facts = model_facts(model)
    assert (facts["vocab_size"], facts["embedding_rows"], facts["context"]) == (384, 400, 128)
    loaded = load_model(model)
    ids = torch.arange(20).reshape(2, 10)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        ours = hidden_states(loaded, ids, mask) @ head_weight(loaded).T
        assert torch.allclose(ours, loaded(ids, attention_mask=mask).logits, atol=1e-5)
    config = TrainingConfig(objective="sft", epochs=3, learning_rate=1e-2, rank=4, replay_weight=0, batch_tokens=64)
    examples = [Example(np.arange(30, dtype=np.int32))]
    result = train(loaded, examples, config, vocab_size=384, scratch=tmp_path / "scratch", progress=SILENT)
    save_adapter(result.model, tmp_path / "adapter")
    with torch.no_grad():
        merged = load_model(model, adapter=tmp_path / "adapter")(ids).logits
        assert torch.allclose(merged, result.model(ids).logits, atol=1e-4)
        assert not torch.allclose(merged, ours, atol=1e-3)


def test_weights_in_shards_are_taken_whole(store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = random_model("llama", tmp_path / "sharded", tiny_model_dir, shards="40KB")
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 1
    model = resolve_model(ModelConfig(name=str(folder)), store)
    assert set(shards) < set(model.manifest.files)
    (folder / shards[0]).unlink()
    with pytest.raises(ValueError, match=f"lacks the shards {shards[0]}"):
        model_inputs(ModelConfig(name=str(folder)))


def test_what_lies_beside_the_model_does_not_change_it(store: ArtifactStore, changed: Callable[..., Path]) -> None:
    folder = changed()
    (folder / "README.md").write_text("---\ntags: [x]\nlicense: mit\n---\n# A model\n")
    model = resolve_model(ModelConfig(name=str(folder)), store)
    (folder / "notes.txt").write_text("mine")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    again = resolve_model(ModelConfig(name=str(folder)), store)
    assert again.cached and again.digest == model.digest
    assert model_facts(model)["licence"] == "mit"
    assert not any(name.endswith(".bin") for name in model.manifest.files)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert resolve_model(ModelConfig(name=str(folder)), store).digest != model.digest


def test_one_folder_has_one_key_and_one_name_however_its_path_is_typed(
    store: ArtifactStore, changed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    configs = [ModelConfig(name=name) for name in (str(folder), "given", "./given", f"{folder}/", "link", "../" + tmp_path.name + "/given")]
    assert len({base_name(config) for config in configs}) == 1
    assert len({STAGE.key(canonical(config), model_inputs(config)) for config in configs}) == 1
    steps = [
        pipeline.config_of(pipeline.STEP["model"], release_config("literary", overrides={"model.name": config.name})) for config in configs
    ]
    assert set(steps) == {canonical(configs[0])}


def test_two_bases_of_one_name_do_not_share_a_registered_model(changed: Callable[..., Path], tmp_path: Path, home: Path) -> None:
    one = changed()
    (tmp_path / "elsewhere").mkdir()
    two = Path(shutil.copytree(one, tmp_path / "elsewhere" / "given"))
    first = base_name(ModelConfig(name=str(one)))
    assert base_name(ModelConfig(name=str(two))) == first  # the same model, kept twice
    (two / "config.json").write_text((two / "config.json").read_text() + "\n")
    second = base_name(ModelConfig(name=str(two)))
    assert first != second and first is not None and second is not None
    assert first.startswith("given-") and second.startswith("given-")
    assert base_name(ModelConfig()) is None
    assert base_name(ModelConfig(name="one/Base")) == "one--base" != base_name(ModelConfig(name="two/Base"))


def test_editing_the_users_weights_does_not_alter_the_artifact(store: ArtifactStore, changed: Callable[..., Path]) -> None:
    folder = changed()
    model = resolve_model(ModelConfig(name=str(folder)), store)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\0\0\0\0")
    assert Artifact.open(model.path) == model


def test_two_tokenizers_never_have_one_digest(store: ArtifactStore, changed: Callable[..., Path]) -> None:
    folder = changed()
    first = model_facts(resolve_model(ModelConfig(name=str(folder)), store))["tokenizer_digest"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][::-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert model_facts(resolve_model(ModelConfig(name=str(folder)), store))["tokenizer_digest"] != first


def test_a_tokenizer_without_padding_pads_with_its_end_of_text(store: ArtifactStore, changed: Callable[..., Path]) -> None:
    folder = changed()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(resolve_model(ModelConfig(name=str(folder)), store))
    assert tokenizer(["a", "a longer one"], padding=True)["attention_mask"][0][-1] == 0


@pytest.mark.parametrize(
    ("removed", "fields", "complaint"),
    [
        (("config.json",), {}, "has no config.json"),
        (("tokenizer.json",), {}, "has no tokenizer"),
        (("model.safetensors",), {}, "has no weights"),
        ((), {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Own"}}, "code from its folder, which is never run"),
        ((), {"model_type": "own"}, "does not know it"),
        ((), {"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "not a causal language model"),
        ((), {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "not a causal language model"),
        ((), {"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ((), {"num_hidden_layers": 3}, "weights have 2 layers and its config.json says 3"),
        ((), {"vocab_size": 380}, "contradicts itself"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(
    removed: tuple[str, ...], fields: dict[str, Any], complaint: str, store: ArtifactStore, changed: Callable[..., Path]
) -> None:
    folder = changed(removed, **fields)
    with pytest.raises(ValueError, match=complaint) as refusal:
        resolve_model(ModelConfig(name=str(folder)), store)
    assert "\n" not in str(refusal.value)


def test_pickled_weights_are_never_loaded(store: ArtifactStore, changed: Callable[..., Path]) -> None:
    folder = changed(("model.safetensors",))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n")
    with pytest.raises(ValueError, match=r"pickled weights \(pytorch_model.bin\)"):
        resolve_model(ModelConfig(name=str(folder)), store)


def test_cut_weights_are_refused(store: ArtifactStore, changed: Callable[..., Path]) -> None:
    folder = changed()
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cannot be loaded"):
        resolve_model(ModelConfig(name=str(folder)), store)


def test_a_tokenizer_that_is_too_large_for_the_model_is_refused(store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ids go up to 383, the model has 300 rows"):
        resolve_model(ModelConfig(name=str(random_model("llama", tmp_path / "small", tiny_model_dir, vocab_size=300))), store)


@pytest.mark.parametrize(
    ("kind", "changes", "complaint"),
    [
        ("gemma2", {"final_logit_softcapping": 30.0}, "caps its logits"),
        ("phi", {}, "bias in its head"),
        ("granite", {"logits_scaling": 8.0}, "scales or changes its logits"),
        ("bert", {}, "bias in its head"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "reads what comes after"),
    ],
)
def test_a_head_that_the_loss_does_not_know_is_refused(
    kind: str, changes: dict[str, Any], complaint: str, store: ArtifactStore, tiny_model_dir: Path, tmp_path: Path
) -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    folder = random_model(kind, tmp_path / kind, tiny_model_dir, **changes)
    with pytest.raises(ValueError, match=complaint):
        resolve_model(ModelConfig(name=str(folder)), store)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (ModelConfig(name="no-such-model"), "unknown model 'no-such-model'"),
        (ModelConfig(name="/no/such/folder"), "unknown model"),
        (ModelConfig(name="owner/name"), "needs model.revision"),
        (ModelConfig(name="owner/name", revision="main"), "needs model.revision"),
    ],
)
def test_a_name_that_means_nothing_is_refused_before_anything_is_fetched(config: ModelConfig, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        model_inputs(config)


def test_a_hub_model_offline_is_one_clear_line(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match=r"could not be fetched .*HF_HUB_OFFLINE"):
        resolve_model(ModelConfig(name="owner/name", revision="0" * 40), store)
