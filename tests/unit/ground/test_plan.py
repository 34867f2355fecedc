"""The plan before a run: what it learns from earlier runs on this machine."""

import json
import shutil
from pathlib import Path

import pytest

from timbre.artifacts import ArtifactStore
from timbre.config import ModelConfig, release_config
from timbre.models import resolve_model
from timbre.pipeline.plan import plan
from timbre.progress import SILENT


def _built_before(home: Path, model: str, seconds: float) -> None:
    """A manifest as a bundle of `model` leaves it."""
    folder = home / "artifacts" / "bundle" / (model[:8] * 8)
    folder.mkdir(parents=True)
    manifest = {"stage": "bundle", "config": {}, "inputs": {"model": model}, "built": {"seconds": seconds}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_planned_seconds_follow_this_machine_and_this_model_only(tmp_path: Path, tiny_model_dir: Path) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "tiny")
    store = ArtifactStore(tmp_path / "home", SILENT)
    model = resolve_model(ModelConfig(name=str(folder)), store)
    config = release_config("literary", overrides={"model.name": str(folder)})

    def planned() -> float:
        return next(item.seconds for item in plan(config, store).items if item.step == "bundle")

    before = planned()
    _built_before(store.home, "f" * 64, 5000.0)
    assert planned() == before, "another model's seconds say nothing"
    _built_before(store.home, model.digest, 77.0)
    assert planned() == pytest.approx(77.0), "the same job took this long here"
