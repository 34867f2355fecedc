"""A training run killed again and again, then started once more, leaves the very adapter of an undisturbed run."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest
from training_inputs import TrainingInputs, make_training_inputs, training_config

from timbre.config import TrainingConfig
from timbre.training.stage import STAGE

KILLS_AT_A_STEP = 5
CONFIG = training_config(epochs=5, rank=32, lora_alpha=32, evaluate_every=4, patience=100)
STEPS = 30  # 24 passages of 47 positions, four a step, five epochs
_PATIENCE_SECONDS = 600  # tells a hang from a busy machine; the test takes about 45 CPU-seconds


def run_command(request: str) -> None:
    """`python -m timbre.training REQUEST` in a process group of its own."""
    from timbre.training.__main__ import main

    os.setsid()
    sys.exit(main([request]))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fresh processes that need not import torch again: forked from a server that has imported it and run nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["timbre.training.trainer", "peft", "transformers.models.llama.modeling_llama", "pyarrow.parquet"])
    return context


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Iterator[list[Path]]:
    """Two homes with the same inputs, each with a request for the same training."""
    first = tmp_path_factory.mktemp("homes") / "first"
    first.mkdir()
    inputs = make_training_inputs(first, tiny_model_dir, tiny_corpus_texts)
    second = first.with_name("second")
    shutil.copytree(first, second)
    for home in (first, second):
        (home / "request.json").write_text(json.dumps(_request(inputs, home)))
    yield [first, second]


def _request(inputs: TrainingInputs, home: Path) -> dict[str, object]:
    digests = {name: getattr(inputs, name).digest for name in ("target", "corpus", "model")}
    return {"config": CONFIG.model_dump(mode="json"), "inputs": digests | {"replay": str(home / "replay.jsonl")}, "home": str(home)}


def test_five_kills_and_one_in_a_checkpoint_write_change_no_byte(homes: list[Path], processes: ForkServerContext) -> None:
    disturbed, calm = homes
    scratch = disturbed / "work" / _key(disturbed)

    kill_when(disturbed, processes, lambda: bool(half_written(scratch)))
    for _ in range(5):  # the rename may have come before the signal: then it was no kill in a write, and is tried again
        if half_written(scratch):
            break
        kill_when(disturbed, processes, lambda: bool(half_written(scratch)))
    assert half_written(scratch), "no kill fell into a checkpoint write"

    begun = steps_done(scratch)
    for step in sorted(random.Random(7).sample(range(begun + 2, STEPS - 1), KILLS_AT_A_STEP)):
        kill_when(disturbed, processes, lambda step=step: steps_done(scratch) >= step)
        assert steps_done(scratch) < STEPS
    assert not list((disturbed / "artifacts" / "adapter").glob("*/manifest.json"))

    last = processes.Process(target=run_command, args=(str(disturbed / "request.json"),))
    last.start()
    last.join(_PATIENCE_SECONDS)
    assert last.exitcode == 0
    whole = subprocess.run(
        [sys.executable, "-m", "timbre.training", str(calm / "request.json")],
        capture_output=True,
        text=True,
        check=True,
        timeout=_PATIENCE_SECONDS,
    )
    digest = whole.stdout.splitlines()[-1]
    adapters = [home / "artifacts" / "adapter" / digest for home in homes]
    for name in ("adapter_model.safetensors", "curve.jsonl", "summary.json"):
        assert adapters[0].joinpath(name).read_bytes() == adapters[1].joinpath(name).read_bytes()
    assert json.loads(adapters[0].joinpath("summary.json").read_bytes())["steps"] == STEPS
    assert not scratch.exists()


def kill_when(home: Path, processes: ForkServerContext, moment: Callable[[], bool]) -> None:
    """Start the command, and SIGKILL its process group at a moment seen from outside."""
    process: ForkServerProcess = processes.Process(target=run_command, args=(str(home / "request.json"),))
    fresh = home / "work" / _key(home) / "checkpoints"
    for leftover in fresh.glob(".step-*"):
        leftover.unlink()
    process.start()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not moment():
        assert process.is_alive(), f"the run ended by itself with {process.exitcode}"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.0002)  # leaves the core to the run that is watched
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def half_written(scratch: Path) -> list[str]:
    try:
        return [path.name for path in (scratch / "checkpoints").iterdir() if path.name.startswith(".step-")]
    except FileNotFoundError:
        return []


def steps_done(scratch: Path) -> int:
    try:
        return max(0, (scratch / "curve.jsonl").read_bytes().count(b"\n") - 1)  # the first line is the look before training
    except FileNotFoundError:
        return 0


def _key(home: Path, config: TrainingConfig = CONFIG) -> str:
    from timbre.artifacts import ArtifactStore, FileInput
    from timbre.progress import SILENT

    request = json.loads((home / "request.json").read_bytes())
    store = ArtifactStore(home, SILENT)
    artifacts = {name: store.open(name, request["inputs"][name]) for name in ("target", "corpus", "model")}
    return STAGE.key(config, artifacts | {"replay": FileInput(Path(request["inputs"]["replay"]))})


@pytest.mark.parametrize("adapter", ["correction", "full"])
def test_a_kill_changes_no_byte_of_the_other_adapters(
    adapter: str, homes: list[Path], processes: ForkServerContext, tmp_path: Path
) -> None:
    config = training_config(adapter=adapter, learning_rate=3e-3, epochs=2, evaluate_every=2)
    found: list[str] = []
    for place, kills in zip(homes, (1, 0), strict=True):
        request = json.loads((place / "request.json").read_bytes()) | {"config": config.model_dump(mode="json")}
        own = tmp_path / f"request-{kills}.json"
        own.write_text(json.dumps(request))
        key = _key(place, config)
        if kills:
            killed_after_three_steps(processes, own, place / "work" / key)
        last: ForkServerProcess = processes.Process(target=run_command, args=(str(own),))
        last.start()
        last.join(_PATIENCE_SECONDS)
        assert last.exitcode == 0
        found.append((place / "artifacts" / "adapter" / "keys" / key).read_text())
    assert found[0] == found[1], "the digest covers every byte of an artifact"


def killed_after_three_steps(processes: ForkServerContext, request: Path, scratch: Path) -> None:
    process: ForkServerProcess = processes.Process(target=run_command, args=(str(request),))
    process.start()
    while steps_done(scratch) < 3:
        assert process.is_alive(), f"the run ended by itself with {process.exitcode}"
        time.sleep(0.0002)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert 3 <= steps_done(scratch) < 12
