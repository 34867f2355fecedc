"""Training, as the page of a run shows it: the learning curve goes to MLflow and to a progress artifact while it grows."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import State
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from timbre import pipeline
from timbre.artifacts import Artifact
from timbre.config import ReleaseConfig
from timbre.settings import settings
from timbre.tasks.context import base_of
from timbre.tasks.stage import Built, find, run_stage
from timbre.tasks.stores.mlflow import MlflowStore

_POLL_SECONDS = 2.0


def run_training(step: str, config: ReleaseConfig, *upstream: Built) -> State[Built]:
    """The adapter; a killed run goes on at its last checkpoint, in the same MLflow run."""
    if find(step, config, upstream) is not None:
        return run_stage(step, config, *upstream)
    key = adapter_key(config, *upstream)
    store = MlflowStore.open(settings())
    run = store.run_for(key, config.style, run_name(config), _parameters(config))
    follower = _Follower(store, run)
    try:
        with _following(follower, settings().home / "work" / key / "curve.jsonl"):
            state = run_stage(step, config, *upstream, bar=False)
    except BaseException:
        store.end_run(run, ok=False)
        raise
    adapter = find(step, config, upstream)
    assert adapter is not None
    follower.finish(adapter.file("curve.jsonl"))
    return state


def complete_curve(store: MlflowStore, run: str, adapter: Artifact) -> None:
    """Log what is missing of a finished adapter's curve: a run that was killed at the very end had no time for it."""
    last = store.last_step(run)
    store.log_curve(run, [row for row in _rows(adapter.file("curve.jsonl")) if row["step"] > last])


def adapter_key(config: ReleaseConfig, *upstream: Built) -> str:
    """The key of the adapter, which also names its MLflow run."""
    step = pipeline.STEP["adapter"]
    inputs = pipeline.inputs_of(step, config, {built.step: built.open() for built in upstream})
    return step.stage.key(config.training, inputs)


def run_name(config: ReleaseConfig) -> str:
    """What people see in MLflow."""
    return f"{config.style}-{config.profile}-{config.training.objective}-seed{config.seed}"


def _parameters(config: ReleaseConfig) -> dict[str, object]:
    sections = ("corpus", "target", "training")
    return {f"{name}.{field}": value for name in sections for field, value in getattr(config, name).model_dump().items() if value != ()} | {
        "model": base_of(config.model),
        "profile": config.profile,
    }


def _rows(curve: Path) -> list[dict[str, float]]:
    """The whole lines of a curve that may be growing."""
    return [json.loads(line) for line in curve.read_text().split("\n")[:-1] if line]


class _Follower:
    """Copies rows of a growing `curve.jsonl` to MLflow and to a Prefect progress artifact, each row once."""

    def __init__(self, store: MlflowStore, run: str) -> None:
        self._store, self._run = store, run
        self._artifact = create_progress_artifact(progress=0.0, key="progress-adapter", description="Training")
        self._last_step = store.last_step(run)

    def copy(self, curve: Path) -> None:
        if not curve.exists():
            return
        fresh = [row for row in _rows(curve) if row["step"] > self._last_step]
        if fresh:
            self._store.log_curve(self._run, fresh)
            self._last_step = int(fresh[-1]["step"])
            self._show(100.0 * self._last_step / max(1, fresh[-1].get("steps", self._last_step)))

    def finish(self, curve: Path) -> None:
        self.copy(curve)
        self._show(100.0)

    def _show(self, percent: float) -> None:
        update_progress_artifact(artifact_id=self._artifact, progress=min(percent, 100.0))  # type: ignore[arg-type]


@contextmanager
def _following(follower: _Follower, curve: Path) -> Iterator[None]:
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL_SECONDS):
            follower.copy(curve)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
