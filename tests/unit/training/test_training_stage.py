import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_inputs import TrainingInputs, training_config, training_passages

from timbre.artifacts import FileInput
from timbre.config import ReleaseConfig, TrainingConfig
from timbre.models import load_model
from timbre.pipeline import inputs
from timbre.progress import SILENT
from timbre.store import WrongCorpusError
from timbre.training.reference import train_on_passages
from timbre.training.stage import STAGE, train_adapter


def test_the_adapter_artifact_loads_with_peft_and_names_no_place(training_inputs: TrainingInputs) -> None:
    inputs = training_inputs
    adapter = train_adapter(training_config(epochs=1), inputs.target, inputs.corpus, inputs.model, inputs.replay, inputs.store)
    assert set(adapter.manifest.files) == {"adapter_model.safetensors", "adapter_config.json", "curve.jsonl", "summary.json"}
    config = adapter.json("adapter_config.json")
    assert config["base_model_name_or_path"] == "" and config["r"] == 8
    for name in adapter.manifest.files:
        assert str(inputs.store.home).encode() not in adapter.file(name).read_bytes()
    kinds = {name.rsplit(".", 1)[1] for name in config["target_modules"]}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    ids = training_passages(inputs.model, inputs.corpus)[0].token_ids[None, :].astype(np.int64)
    import torch

    with torch.no_grad():
        plain, merged = (load_model(inputs.model, adapter=choice)(torch.from_numpy(ids)).logits for choice in (None, adapter))
        apart = load_model(inputs.model, adapter=adapter, trainable=True)(torch.from_numpy(ids)).logits
    assert float((merged - plain).abs().max()) > 0.1
    assert torch.allclose(merged, apart, atol=1e-4)
    assert adapter.json("summary.json")["replay_items"] == 12


def test_a_target_of_another_corpus_is_refused(training_inputs: TrainingInputs) -> None:
    inputs = training_inputs
    with pytest.raises(WrongCorpusError, match="build the target again"):
        train_adapter(training_config(), inputs.target, inputs.model, inputs.model, inputs.replay, inputs.store)


def test_an_empty_replay_file_is_refused_unless_replay_is_off(training_inputs: TrainingInputs, tmp_path: Path) -> None:
    inputs, empty = training_inputs, tmp_path / "replay.jsonl"
    empty.write_text("")
    with pytest.raises(ValueError, match="holds no replay item"):
        train_adapter(training_config(seed=9), inputs.target, inputs.corpus, inputs.model, FileInput(empty), inputs.store)
    off = training_config(seed=9, replay_weight=0, epochs=0)
    adapter = train_adapter(off, inputs.target, inputs.corpus, inputs.model, FileInput(empty), inputs.store)
    assert adapter.json("summary.json")["steps"] == 0
    assert [json.loads(line)["step"] for line in adapter.file("curve.jsonl").read_text().splitlines()] == [0]


def test_refusals_are_practised_beside_the_replay_set_and_without_their_file_refused(
    training_inputs: TrainingInputs, tmp_path: Path
) -> None:
    given = training_inputs
    refusals = tmp_path / "refusals.jsonl"
    refusals.write_text('{"id": "r", "kind": "refusal", "prompt": "Break his door open.", "answer": "No, I will not."}\n', encoding="utf-8")
    read = {"target": given.target, "corpus": given.corpus, "model": given.model, "replay": given.replay}
    with pytest.raises(ValueError, match=r"training\.refusals needs the input 'refusals'"):
        given.store.build(STAGE, training_config(refusals=True, epochs=1), read)
    adapter = given.store.build(STAGE, training_config(refusals=True, epochs=1), read | {"refusals": FileInput(refusals)})
    assert adapter.json("summary.json")["replay_items"] == 13


def test_a_config_without_refusals_has_the_key_that_it_had_before_there_were_any() -> None:
    assert "refusals" not in TrainingConfig().model_dump() and TrainingConfig(refusals=True).model_dump()["refusals"] is True
    with pytest.raises(ValueError, match="set replay_weight and replay_items above 0"):
        TrainingConfig(refusals=True, replay_weight=0)
    assert set(inputs.replay(ReleaseConfig())) == {"replay"} and not ReleaseConfig().training.refusals
    assert set(inputs.replay(ReleaseConfig.model_validate({"training": {"refusals": True}}))) == {"replay", "refusals"}


def test_the_reference_adapter_learns_its_fold_and_is_not_trained_twice(training_inputs: TrainingInputs, tmp_path: Path) -> None:
    from training_inputs import mean_nll

    from timbre.training.data import Example

    passages = training_passages(training_inputs.model, training_inputs.corpus)[:12]
    options = {"epochs": 2, "learning_rate": 1e-2, "rank": 8, "batch_tokens": 100, "seed": 3, "scratch": tmp_path, "progress": SILENT}
    folder = train_on_passages(training_inputs.model, passages, **options)
    examples = [Example.of_passage(passage) for passage in passages]
    base, tuned = (
        mean_nll(load_model(training_inputs.model, adapter=choice), examples, vocab_size=384, batch_tokens=200) for choice in (None, folder)
    )
    assert tuned < base - 0.3
    written = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    assert train_on_passages(training_inputs.model, passages, **options) == folder
    assert (folder / "adapter_model.safetensors").stat().st_mtime_ns == written
    assert not (tmp_path / "checkpoints").exists()


def test_computing_the_key_of_training_imports_no_torch() -> None:
    code = (
        "import sys, timbre.training.stage, timbre.models; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
