"""What no stage of `dvc.yaml` builds is a version of the data registry all the same: committed, tagged, pushed, once."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import SequenceConfig
from timbre.settings import settings
from timbre.tasks.stores.dvc import DataRegistry


def _artifact(text: str) -> Artifact:
    def write(_: SequenceConfig, __: Mapping[str, Input], work: Workspace) -> None:
        (work.output / "weights.jsonl").write_text(text)

    store = ArtifactStore(settings().home)
    return store.build(Stage("sequence", len(text), write), SequenceConfig(), {})


def test_a_sequence_level_target_has_a_version_that_others_can_take(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_DIR", raising=False)
    registry, first = DataRegistry.open(settings()), _artifact("one\n")
    assert not registry.is_current("sequence", "harbour", first.digest)
    assert registry.keep("sequence", "harbour", first) == "sequence/harbour/v1"
    assert registry.is_current("sequence", "harbour", first.digest)
    assert registry.keep("sequence", "harbour", first) == "sequence/harbour/v1"
    second = _artifact("another\n")
    assert registry.keep("sequence", "harbour", second) == "sequence/harbour/v2"
    assert not registry.git.lines("status", "--porcelain")
    out = tmp_path / "taken"
    take = ["get", str(registry.path), "sequence/harbour", "--rev", "sequence/harbour/v1", "-o", str(out)]
    subprocess.run([sys.executable, "-m", "dvc", *take], check=True, capture_output=True)
    assert Artifact.open(out).digest == first.digest
