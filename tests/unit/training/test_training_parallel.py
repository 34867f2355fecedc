"""Two gloo processes do what one does with the doubled batch; with whole copies and with sharded weights.

Tolerances: both runs add the same float32 terms in another order. A step's loss differs by some roundings (6e-8 relative),
but AdamW's first steps divide by √v of gradients near 0, which lifts the roundings of single weights; 6 steps at these rates
stay below 1e-4 of the loss (measured: 1e-6 to 2e-5). A batch not doubled, or gradients averaged instead of added, is off by 1e-2.
"""

import json
import multiprocessing
import os
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from training_inputs import TrainingInputs, training_config

from timbre.artifacts import Artifact, Input
from timbre.config import TrainingConfig
from timbre.models import loading
from timbre.progress import SILENT, Progress
from timbre.training import launch
from timbre.training.parallel import process_group
from timbre.training.stage import STAGE, train_adapter, train_on
from timbre.training.worker import main as worker_main

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


@pytest.mark.parametrize(("found", "named"), [(0, "0 CUDA devices"), (1, "1 CUDA device:"), (2, "2 CUDA devices")])
def test_more_processes_than_devices_are_refused_before_any_is_started(
    found: int, named: str, training_inputs: TrainingInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    monkeypatch.setattr(launch, "_torchrun", lambda *_: pytest.fail("processes were started"))
    with pytest.raises(ValueError, match=rf"^training\.processes is 3, but torch finds {named}.* lower it"):
        built(training_inputs, training_config(processes=3))


def test_a_worker_without_a_device_leaves_its_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where workers are started by other means than the stage."""
    monkeypatch.setattr(loading, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("timbre.training.worker.end_with_parent", lambda: None)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert worker_main(tmp_path / "request.json") == 2
    assert "training.processes is 2" in json.loads((tmp_path / "refusal.json").read_bytes())["sentence"]


def test_on_cuda_sums_of_host_numbers_have_a_backend_and_waiting_has_no_short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process samples for dpo while the others wait: hours, not torch's 10 or 30 minutes."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(loading, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: asked.update(device=index))
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, timeout: asked.update(backend=backend, timeout=timeout))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with process_group():
        assert asked["device"] == 1 and set(asked["backend"].split(",")) == {"cpu:gloo", "cuda:nccl"}
    assert asked["timeout"] >= timedelta(hours=24)


def test_workers_start_with_what_makes_cublas_repeatable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    class Started:
        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            seen.update(env)

        def wait(self) -> int:
            return 0

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(launch.subprocess, "Popen", Started)
    monkeypatch.setattr(launch.sys, "stderr", (tmp_path / "log").open("w"))  # pytest's own has no file
    assert launch._torchrun(2, tmp_path / "request.json") == 0
    assert seen["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(("changes", "where"), [({"processes": 2, "sharding": "fsdp2"}, "cpu"), ({"processes": 2}, "meta"), ({}, "meta")])
def test_only_what_is_to_be_sharded_waits_on_the_cpu(
    changes: dict[str, Any], where: str, training_inputs: TrainingInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the meta device as the one that models run on."""

    class Reached(Exception):
        pass

    def reached(model: Any, *_: object, **__: object) -> None:
        assert model.device.type == where
        raise Reached

    monkeypatch.setattr(loading, "device", lambda: torch.device("meta"))
    monkeypatch.setattr("timbre.training.trainer.train", reached)
    inputs: dict[str, Input] = {name: getattr(training_inputs, name) for name in ("target", "corpus", "model", "replay")}
    with pytest.raises(Reached):
        train_on(training_config(**changes), inputs, tmp_path, SILENT)


def test_full_fine_tuning_in_shards_begins_with_no_weight_in_memory(
    training_inputs: TrainingInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process then reads its rows from the file; that they are the right ones, the curves below say."""

    class Reached(Exception):
        pass

    def reached(model: Any, *_: object, weights: Path | None, **__: object) -> None:
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"} and weights == training_inputs.model.path
        assert {buffer.device.type for buffer in model.buffers()} == {"cpu"}
        raise Reached

    monkeypatch.setattr("timbre.training.trainer.train", reached)
    monkeypatch.setattr(loading, "load_folder", lambda *_: pytest.fail("the whole model was loaded"))
    inputs: dict[str, Input] = {name: getattr(training_inputs, name) for name in ("target", "corpus", "model", "replay")}
    with pytest.raises(Reached):
        train_on(training_config(adapter="full", processes=2, sharding="fsdp2"), inputs, tmp_path, SILENT)


class Killed(Progress):
    """Ends its process at once, as a kill does, when a number of steps is done."""

    def __init__(self, after: int) -> None:
        super().__init__(self._listen, visible=False)
        self._after = after

    def _listen(self, what: str, done: int, _total: int) -> None:
        if what == "training" and done == self._after:
            os._exit(9)


def worker(rank: int, port: int, request: Path, killed_after: int) -> None:
    from timbre.training import worker as running
    from timbre.training.worker import main

    if killed_after:
        for name in ("Progress", "SILENT"):
            setattr(running, name, (lambda: Killed(killed_after)) if name == "Progress" else Killed(killed_after))
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


def sharded(inputs: TrainingInputs, config: TrainingConfig, scratch: Path, context: ForkServerContext, killed_after: int = 0) -> Path:
    """Run two workers as `torchrun` would, killed after so many steps if any; returns the folder they leave."""
    import socket

    places = {name: str(getattr(inputs, name).path) for name in ("target", "corpus", "model", "replay")}
    scratch.mkdir(exist_ok=True)
    (scratch / "request.json").write_text(json.dumps({"config": config.model_dump(mode="json"), "inputs": places}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [context.Process(target=worker, args=(rank, port, scratch / "request.json", killed_after)) for rank in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(_PATIENCE_SECONDS)
        assert (one.exitcode != 0) == bool(killed_after)
    return scratch / "result"


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "lora", "micro_tokens": 60, "base_kl_weight": 0.1},
        {"adapter": "full", "learning_rate": 1e-3, "packing": True},
        {"adapter": "full", "learning_rate": 1e-3},
        {"adapter": "correction"},
    ],
    ids=lambda changes: f"{changes['adapter']}{'-packed' * ('packing' in changes)}",
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


@pytest.mark.parametrize(
    "changes", [{}, {"sharding": "fsdp2"}, {"sharding": "fsdp2", "adapter": "full"}], ids=["replicate", "fsdp2", "fsdp2-full"]
)
def test_two_killed_processes_go_on_to_the_same_bytes(
    changes: dict[str, Any], training_inputs: TrainingInputs, processes: ForkServerContext, tmp_path: Path
) -> None:
    config = training_config(epochs=1, batch_tokens=100, replay_items=1, checkpoint_every=2, processes=2, **changes)
    whole = sharded(training_inputs, config, tmp_path / "whole", processes)
    parts = sharded(training_inputs, config, tmp_path / "parts", processes, killed_after=5)  # that of step 4 may be under way
    assert not parts.exists() and list((tmp_path / "parts" / "checkpoints").glob("step-000002-*"))
    assert sharded(training_inputs, config, tmp_path / "parts", processes) == parts
    names = {path.name for path in whole.iterdir()}
    assert names == {path.name for path in parts.iterdir()} and "adapter_model.safetensors" in names
    for name in names:
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_key_of_a_run_names_processes_and_sharding(training_inputs: TrainingInputs) -> None:
    inputs: dict[str, Input] = {name: getattr(training_inputs, name) for name in ("target", "corpus", "model", "replay")}
    keys = {STAGE.key(training_config(**changes), inputs) for changes in ({}, {"processes": 2}, {"processes": 2, "sharding": "fsdp2"})}
    assert len(keys) == 3
