"""`timbre stage train` killed again and again, then given once more, leaves the very adapter of an undisturbed run."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from training_inputs import _write_target, make_training_inputs, replay_items, training_config

from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, sha256_file
from timbre.config import CorpusConfig, ReleaseConfig, TargetConfig, TrainingConfig
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT, settings

pytestmark = pytest.mark.slow

KILLS_AT_A_STEP = 5
CONFIG = training_config(epochs=5, rank=32, lora_alpha=32, evaluate_every=4, patience=100)
STEPS = 30  # 24 passages of 47 positions, four a step, five epochs
_PATIENCE_SECONDS = 600  # tells a hang from a busy machine; the test takes about 45 CPU-seconds


@dataclass(frozen=True)
class Place:
    """A checkout and a home in which everything stands that `timbre stage train` reads."""

    root: Path
    home: Path
    model: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"TIMBRE_ROOT": str(self.root), "TIMBRE_HOME": str(self.home)}

    def release(self, training: TrainingConfig) -> ReleaseConfig:
        return ReleaseConfig.model_validate({"model": {"name": str(self.model)}, "training": training})

    def command(self, training: TrainingConfig = CONFIG) -> list[str]:
        """The words that the flow's training task says."""
        request = self.home / f"release-{training.adapter}.json"
        request.write_text(self.release(training).model_dump_json())
        return ["stage", "train", "--config", str(request)]

    def key(self, training: TrainingConfig = CONFIG) -> str:
        """Of the adapter that the command makes."""
        with self.entered():
            config, step = self.release(training), pipeline.STEP["adapter"]
            inputs = pipeline.inputs_of(step, config, pipeline.find(config, ArtifactStore(self.home, SILENT)))
            return step.stage.key(config.training, inputs)

    def scratch(self, training: TrainingConfig = CONFIG) -> Path:
        return self.home / "work" / self.key(training)

    def adapter(self, training: TrainingConfig = CONFIG) -> Path:
        """The artifact that the command left."""
        adapters = self.home / "artifacts" / "adapter"
        return adapters / (adapters / "keys" / self.key(training)).read_text()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """`settings()` of this process speak of this place."""
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.environment.items():
                environment.setenv(name, value)
            settings.cache_clear()
            yield
        settings.cache_clear()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> list[Place]:
    """Two homes with the same inputs."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("data", "mlflow"):
        shutil.copytree(PROJECT_ROOT / name, folder / "root" / name)
    (folder / "root/data/replay/replay.jsonl").write_text("".join(json.dumps(item) + "\n" for item in replay_items()))
    first, second = (Place(folder / "root", folder / name, tiny_model_dir) for name in ("first", "second"))
    documents = make_training_inputs(folder / "made", tiny_model_dir, tiny_corpus_texts).corpus.file("documents.parquet")
    with first.entered():
        _prepare(first, documents)
    shutil.copytree(first.home, second.home)
    return [first, second]


def _prepare(place: Place, documents: Path) -> None:
    """The model by its stage; a tiny corpus and target under the keys that the road looks for, for theirs take minutes."""

    def corpus(_: CorpusConfig, __: Mapping[str, Input], workspace: Workspace) -> None:
        shutil.copyfile(documents, workspace.output / "documents.parquet")

    def target(_: TargetConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
        model, texts = inputs["model"], inputs["corpus"]
        assert isinstance(model, Artifact) and isinstance(texts, Artifact)
        _write_target(workspace.output, model, texts)

    config, store = place.release(CONFIG), ArtifactStore(place.home, SILENT)
    stages: dict[str, Stage[Any]] = {
        "model": pipeline.STEP["model"].stage,
        "corpus": Stage("corpus", pipeline.STEP["corpus"].stage.version, corpus),
        "target": replace(pipeline.STEP["target"].stage, build=target),
    }
    built: dict[str, Artifact] = {}
    for name, stage in stages.items():
        step = pipeline.STEP[name]
        built[name] = store.build(stage, pipeline.config_of(step, config), pipeline.inputs_of(step, config, built))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fresh processes that need not import torch again: forked from a server that has imported it and run nothing."""
    context = multiprocessing.get_context("forkserver")
    heavy = ["timbre.training.trainer", "peft", "transformers.models.llama.modeling_llama", "pyarrow.parquet"]
    context.set_forkserver_preload(["cli", *heavy])
    return context


def timbre(environment: Mapping[str, str], arguments: list[str]) -> None:
    """The command from its own entry, in a process group of its own."""
    from timbre.cli import main

    os.setsid()
    os.environ.update(environment)
    settings.cache_clear()
    sys.argv = ["timbre", *arguments]
    main()


def started(processes: ForkServerContext, place: Place, training: TrainingConfig = CONFIG) -> ForkServerProcess:
    process: ForkServerProcess = processes.Process(target=timbre, args=(place.environment, place.command(training)))
    process.start()
    return process


def finished(processes: ForkServerContext, place: Place, training: TrainingConfig = CONFIG) -> Path:
    """The adapter of a command that nobody disturbs."""
    process = started(processes, place, training)
    process.join(_PATIENCE_SECONDS)
    assert process.exitcode == 0
    return place.adapter(training)


def test_five_kills_and_one_in_a_checkpoint_write_change_no_byte(places: list[Place], processes: ForkServerContext) -> None:
    disturbed, calm = places
    scratch = disturbed.scratch()

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
    assert not list((disturbed.home / "artifacts" / "adapter").glob("*/manifest.json"))

    adapters = [finished(processes, disturbed)]
    command = [sys.executable, "-m", "timbre.cli", *calm.command()]
    whole = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS, env=os.environ | calm.environment, cwd=PROJECT_ROOT
    )
    adapters.append(calm.adapter())
    assert adapters[0].name == adapters[1].name == whole.stdout.splitlines()[-1]
    for name in ("adapter_model.safetensors", "curve.jsonl", "summary.json"):
        assert sha256_file(adapters[0] / name) == sha256_file(adapters[1] / name)
    assert json.loads((adapters[0] / "summary.json").read_bytes())["steps"] == STEPS
    assert not scratch.exists()


def kill_when(place: Place, processes: ForkServerContext, moment: Callable[[], bool]) -> None:
    """Start the command, and SIGKILL its process group at a moment seen from outside."""
    for leftover in (place.scratch() / "checkpoints").glob(".step-*"):
        leftover.unlink()
    process = started(processes, place)
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


@pytest.mark.parametrize("adapter", ["correction", "full"])
def test_a_kill_changes_no_byte_of_the_other_adapters(adapter: str, places: list[Place], processes: ForkServerContext) -> None:
    training = training_config(adapter=adapter, learning_rate=3e-3, epochs=2, evaluate_every=2)
    killed_after_three_steps(processes, places[0], training)
    found = [finished(processes, place, training).name for place in places]
    assert found[0] == found[1], "the digest covers every byte of an artifact"


def killed_after_three_steps(processes: ForkServerContext, place: Place, training: TrainingConfig) -> None:
    scratch = place.scratch(training)
    process = started(processes, place, training)
    while steps_done(scratch) < 3:
        assert process.is_alive(), f"the run ended by itself with {process.exitcode}"
        time.sleep(0.0002)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert 3 <= steps_done(scratch) < 12
