"""Remembered hashes cost one write an artifact, are never believed of changed bytes, and may be lost."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from timbre import files
from timbre.artifacts import Artifact, ArtifactStore, HashCache, Input, IntegrityError, Stage, Workspace
from timbre.config import Frozen
from timbre.progress import SILENT

FILES = 7


class _Counted:
    """Stands before a function and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls, self._inner = 0, getattr(files, name)
        monkeypatch.setattr(files, name, self)

    def __call__(self, *arguments: object) -> object:
        self.calls += 1
        return self._inner(*arguments)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    def build(_: Frozen, __: Mapping[str, Input], workspace: Workspace) -> None:
        for number in range(FILES):
            (workspace.output / f"{number}.txt").write_text(f"page {number}")

    return ArtifactStore(tmp_path / "home", SILENT).build(Stage("pages", 1, build), Frozen(), {})


def test_opening_an_artifact_writes_its_hashes_once_and_the_next_process_reads_none_of_its_files(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, hashed = _Counted(monkeypatch, "write_atomically"), _Counted(monkeypatch, "sha256_file")
    Artifact.open(artifact.path, HashCache(tmp_path / "hashes.json"))
    assert (written.calls, hashed.calls) == (1, FILES)
    Artifact.open(artifact.path, HashCache(tmp_path / "hashes.json"))
    assert (written.calls, hashed.calls) == (1, FILES)


def test_a_damaged_file_is_found_and_what_was_read_before_it_is_remembered(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Artifact.open(artifact.path, HashCache(tmp_path / "hashes.json"))
    (artifact.path / "3.txt").write_text("page X")
    written, hashed = _Counted(monkeypatch, "write_atomically"), _Counted(monkeypatch, "sha256_file")
    for calls in (1, 1):
        with pytest.raises(IntegrityError, match=r"3\.txt"):
            Artifact.open(artifact.path, HashCache(tmp_path / "hashes.json"))
        assert (written.calls, hashed.calls) == (calls, calls)


def test_a_hash_asked_for_alone_is_written_at_once(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HashCache(tmp_path / "hashes.json").sha256(artifact.file("0.txt"))
    hashed = _Counted(monkeypatch, "sha256_file")
    HashCache(tmp_path / "hashes.json").sha256(artifact.file("0.txt"))
    assert hashed.calls == 0


def test_a_disk_too_full_for_remembering_costs_no_answer(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_atomically", full)
    assert Artifact.open(artifact.path, HashCache(tmp_path / "hashes.json")) == artifact
