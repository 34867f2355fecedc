"""Two gloo processes do what one does with the doubled batch; with whole copies and with sharded weights.

Tolerances: both runs add the same float32 terms in another order. A step's loss differs by some roundings (6e-8 relative),
but AdamW's first steps divide by √v of gradients near 0, which lifts the roundings of single weights; 6 steps at these rates
stay below 1e-4 of the loss (measured: 1e-6 to 2e-5). A batch not doubled, or gradients averaged instead of added, is off by 1e-2.
"""

import json
import multiprocessing
import os
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from training_inputs import TrainingInputs, training_config

from timbre.artifacts import Artifact, Input
from timbre.config import TrainingConfig
from timbre.training.stage import STAGE, train_adapter

CLOSE = 1e-4
_PATIENCE_SECONDS = 300


def curve(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_same_curve(found: Path, wanted: Path) -> None:
    ours, theirs = curve(found), curve(wanted)
    assert len(ours) == len(theirs) >= 6
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name in {"step", "steps", "tokens", "learning_rate"} & mine.keys():
            assert mine[name] == other[name]
        for name in {"loss", "replay_loss", "grad_norm", "held_out_nll"} & mine.keys():
            assert mine[name] == pytest.approx(other[name], rel=CLOSE), f"{name} at step {mine['step']}"


def built(inputs: TrainingInputs, config: TrainingConfig) -> Artifact:
    return train_adapter(config, inputs.target, inputs.corpus, inputs.model, inputs.replay, inputs.store)


def test_two_processes_under_torchrun_follow_the_curve_of_one_with_the_doubled_batch(training_inputs: TrainingInputs) -> None:
    one = built(training_inputs, training_config(epochs=1, batch_tokens=200, replay_items=2))
    two = built(training_inputs, training_config(epochs=1, batch_tokens=100, replay_items=1, processes=2))
    assert_same_curve(two.file("curve.jsonl"), one.file("curve.jsonl"))
    assert two.manifest.files.keys() == one.manifest.files.keys()
    assert two.json("summary.json")["trained_passages"] == one.json("summary.json")["trained_passages"]
    assert two.file("adapter_config.json").read_bytes() == one.file("adapter_config.json").read_bytes()


def test_what_the_workers_refuse_is_the_stages_refusal(training_inputs: TrainingInputs) -> None:
    with pytest.raises(ValueError, match=r"no passage is longer than 400 tokens: lower training\.dpo_prompt_tokens"):
        built(training_inputs, training_config(objective="dpo", dpo_prompt_tokens=400, processes=2))


def worker(rank: int, port: int, request: Path) -> None:
    from timbre.training.worker import main

    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    raise SystemExit(main(request))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fresh processes that need not import torch again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["timbre.training.trainer", "torch.distributed.fsdp", "peft", "transformers.models.llama.modeling_llama"]
    )
    return context


def sharded(inputs: TrainingInputs, config: TrainingConfig, scratch: Path, context: ForkServerContext) -> Path:
    """Run two workers as `torchrun` would; returns the folder they leave."""
    import socket

    places = {name: str(getattr(inputs, name).path) for name in ("target", "corpus", "model", "replay")}
    scratch.mkdir()
    (scratch / "request.json").write_text(json.dumps({"config": config.model_dump(mode="json"), "inputs": places}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [context.Process(target=worker, args=(rank, port, scratch / "request.json")) for rank in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(_PATIENCE_SECONDS)
        assert one.exitcode == 0
    return scratch / "result"


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "lora", "micro_tokens": 60, "base_kl_weight": 0.1},
        {"adapter": "full", "learning_rate": 1e-3, "packing": True},
        {"adapter": "correction"},
    ],
    ids=lambda changes: str(changes["adapter"]),
)
def test_sharded_weights_follow_the_curve_of_one_process(
    changes: dict[str, Any], training_inputs: TrainingInputs, processes: ForkServerContext, tmp_path: Path
) -> None:
    one = built(training_inputs, training_config(epochs=1, batch_tokens=200, replay_items=2, **changes))
    halves = training_config(epochs=1, batch_tokens=100, replay_items=1, processes=2, sharding="fsdp2", **changes)
    result = sharded(training_inputs, halves, tmp_path / "scratch", processes)
    assert_same_curve(result / "curve.jsonl", one.file("curve.jsonl"))
    assert (result / "adapter_config.json").read_bytes() == one.file("adapter_config.json").read_bytes()
    from safetensors.torch import load_file

    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (result, one.path))
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}


def test_the_key_of_a_run_names_processes_and_sharding(training_inputs: TrainingInputs) -> None:
    inputs: dict[str, Input] = {name: getattr(training_inputs, name) for name in ("target", "corpus", "model", "replay")}
    keys = {STAGE.key(training_config(**changes), inputs) for changes in ({}, {"processes": 2}, {"processes": 2, "sharding": "fsdp2"})}
    assert len(keys) == 3
