"""An artifact exists whole or not at all, is found by key and known by digest."""

import errno
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.artifacts import (
    CRASHED,
    Artifact,
    ArtifactStore,
    FileInput,
    HashCache,
    Input,
    IntegrityError,
    Stage,
    Workspace,
    canonical_json,
    write_atomically,
)
from timbre.cli.errors import explain
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.staging import sweep


class Words(Frozen):
    text: str = "one"


def write_words(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
    (work.output / "sub").mkdir()
    (work.output / "sub" / "words.txt").write_text(config.text + "".join(value.digest for value in inputs.values()))


WORDS = Stage("words", 1, write_words)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "home", SILENT)


def test_second_build_is_found_and_not_made_again(store: ArtifactStore) -> None:
    first, second = (store.build(WORDS, Words(), {}) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert first.digest == second.digest


def test_same_inputs_give_the_same_digest_in_another_home(tmp_path: Path) -> None:
    one, two = (ArtifactStore(tmp_path / name, SILENT).build(WORDS, Words(), {}) for name in "ab")
    assert one.digest == two.digest


def _timed(seconds: str) -> "Stage[Words]":
    def build(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
        write_words(config, inputs, work)
        (work.output / "seconds.json").write_text(seconds)

    return Stage("timed", 1, build, timings=("seconds.json",))


def test_measured_times_change_no_digest_but_are_verified(tmp_path: Path) -> None:
    fast, slow = (ArtifactStore(tmp_path / text, SILENT).build(_timed(text), Words(), {}) for text in ("1.5", "9.25"))
    assert fast.digest == slow.digest and fast.manifest.files["seconds.json"] != slow.manifest.files["seconds.json"]
    assert Artifact.open(slow.path).json("seconds.json") == 9.25
    (slow.path / "seconds.json").write_text("0.1")
    with pytest.raises(IntegrityError, match=r"seconds\.json"):
        Artifact.open(slow.path)


def test_a_manifest_cannot_move_a_file_out_of_the_digest(store: ArtifactStore) -> None:
    artifact = store.build(WORDS, Words(), {})
    manifest = json.loads((artifact.path / "manifest.json").read_text()) | {"timings": ["sub/words.txt"]}
    (artifact.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="does not follow from its files"):
        Artifact.open(artifact.path)


@pytest.mark.parametrize("change", ["config", "version", "input"])
def test_any_change_of_config_version_or_input_changes_key_and_digest(store: ArtifactStore, tmp_path: Path, change: str) -> None:
    before = store.build(WORDS, Words(), {})
    (tmp_path / "probe").write_text("x")
    after = {
        "config": lambda: store.build(WORDS, Words(text="two"), {}),
        "version": lambda: store.build(Stage("words", 2, write_words), Words(), {}),
        "input": lambda: store.build(WORDS, Words(), {"probe": FileInput(tmp_path / "probe")}),
    }[change]()
    assert before.manifest.key != after.manifest.key
    assert before.digest != after.digest


def test_a_builder_that_dies_leaves_no_artifact_and_keeps_its_scratch(store: ArtifactStore) -> None:
    def dies(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
        (work.scratch / "half").write_text("done")
        (work.output / "words.txt").write_text("half")
        raise KeyboardInterrupt

    stage = Stage("words", 1, dies)
    with pytest.raises(KeyboardInterrupt):
        store.build(stage, Words(), {})
    assert store.all() == []
    assert (store.home / "work" / stage.key(Words(), {}) / "half").read_text() == "done"
    assert list((store.home / "artifacts" / "words").glob(".building-*")) == []
    assert store.build(WORDS, Words(), {}).cached is False


def _killed(home: Path) -> None:
    """Build in a child that is killed with its output half written; returns when it is dead."""
    import os
    import signal

    def dies(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
        (work.output / "words.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        ArtifactStore(home, SILENT).build(Stage("words", 1, dies), Words(text="killed"), {})
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_what_a_killed_builder_left_is_removed_at_the_next_build(store: ArtifactStore) -> None:
    _killed(store.home)
    left = list((store.home / "artifacts" / "words").glob(".building-*"))
    assert [(folder / "words.txt").read_text() for folder in left] == ["half"]
    store.build(Stage("others", 1, write_words), Words(), {})
    assert list((store.home / "artifacts" / "words").glob(".building-*")) == []


def test_what_a_living_builder_is_writing_is_left_alone(store: ArtifactStore) -> None:
    seen = []

    def meanwhile(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
        (work.output / "words.txt").write_text("half")
        store.build(Stage("others", 1, write_words), Words(), {})
        assert sweep(store.home) == []
        seen.append((work.output / "words.txt").read_text())

    assert store.build(Stage("words", 1, meanwhile), Words(), {}).file("words.txt").read_text() == seen[0] == "half"


@pytest.mark.parametrize("place", ["output", "fsync", "rename", "pointer"])
def test_a_full_disk_leaves_no_half_artifact_and_the_same_build_goes_on(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def cannot(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
        (work.scratch / "half").write_text("done")
        (work.output / "words.txt").write_text("half")
        full()

    stage = Stage("words", 1, cannot) if place == "output" else WORDS
    with monkeypatch.context() as patch:
        if place == "fsync":
            patch.setattr("timbre.files.os.fsync", full)
        elif place == "rename":
            patch.setattr("timbre.artifacts.Path.rename", full)
        elif place == "pointer":
            patch.setattr("timbre.artifacts.write_atomically", full)
        with pytest.raises(OSError, match="No space") as failure:
            store.build(stage, Words(), {})
    sentence, code = explain(failure.value)
    assert code == 2
    assert re.fullmatch(
        r"the disk is full under /.* \([\d,]+ MiB free\); nothing .*: free some space and run the same command again", sentence
    )
    assert store.find("words", stage.key(Words(), {})) is None
    assert list((store.home / "artifacts" / "words").glob(".building-*")) == []
    for path in store.all():
        Artifact.open(path)
    assert store.build(WORDS, Words(), {}).file("sub/words.txt").read_text() == "one"
    assert len(store.all()) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "add", "digest", "inputs", "config"])
def test_damage_is_refused_and_named(store: ArtifactStore, damage: str) -> None:
    artifact = store.build(WORDS, Words(), {})
    file = artifact.path / "sub" / "words.txt"
    match damage:
        case "flip":
            file.write_bytes(b"onf")
        case "cut":
            file.write_bytes(b"on")
        case "remove":
            file.unlink()
        case "add":
            (artifact.path / "stray").write_text("x")
        case "digest" | "inputs" | "config":
            manifest = json.loads((artifact.path / "manifest.json").read_text())
            manifest[damage] = "0" * 64 if damage == "digest" else manifest[damage] | {"adapter": "0" * 64}
            (artifact.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match=r"words\.txt|stray|manifest\.json"):
        Artifact.open(artifact.path)


def test_a_changed_file_is_noticed_although_its_hash_was_remembered(tmp_path: Path) -> None:
    cache, file = HashCache(tmp_path / "hashes.json"), tmp_path / "file"
    file.write_text("one")
    before = cache.sha256(file)
    file.write_text("other")
    assert cache.sha256(file) != before


def test_a_byte_that_was_flipped_is_named_although_size_and_mtime_are_what_they_were(store: ArtifactStore) -> None:
    artifact = store.build(WORDS, Words(), {})
    path = artifact.file("sub/words.txt")
    ArtifactStore(store.home, SILENT).open(WORDS.name, artifact.digest)
    data, status = bytearray(path.read_bytes()), path.stat()
    data[0] ^= 1
    with path.open("r+b") as stream:
        stream.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns) == (status.st_ino, status.st_size, status.st_mtime_ns)
    with pytest.raises(IntegrityError, match=r"words\.txt"):
        ArtifactStore(store.home, SILENT).find(WORDS.name, artifact.manifest.key)


def test_adopted_artifact_is_found_by_key(store: ArtifactStore, tmp_path: Path) -> None:
    original = store.build(WORDS, Words(), {})
    elsewhere = ArtifactStore(tmp_path / "elsewhere", SILENT)
    adopted = elsewhere.adopt(original.path)
    assert elsewhere.find("words", original.manifest.key) == adopted


def test_a_step_that_crashed_is_read_by_this_run_and_tried_again_by_the_next(store: ArtifactStore, tmp_path: Path) -> None:
    broken = True

    def breaks(config: Words, inputs: Mapping[str, Input], work: Workspace) -> None:
        (work.output / "words.txt").write_text("broken" if broken else "whole")
        if broken:
            (work.output / CRASHED).write_text("{}")

    stage = Stage("words", 1, breaks)
    key = stage.key(Words(), {})
    crashed = store.build(stage, Words(), {})
    assert store.find("words", key) is None
    assert store.find("words", key, crashed=True) == crashed == store.open("words", crashed.digest)
    assert not store.build(stage, Words(), {}).cached
    broken = False
    whole = store.build(stage, Words(), {})
    assert whole.file("words.txt").read_text() == "whole"
    assert store.find("words", key) == store.find("words", key, crashed=True) == whole
    assert store.build(stage, Words(), {}).cached
    assert ArtifactStore(tmp_path / "elsewhere", SILENT).adopt(crashed.path).digest == crashed.digest
    assert ArtifactStore(tmp_path / "elsewhere", SILENT).find("words", key) is None


def test_write_atomically_keeps_the_old_bytes_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("timbre.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_canonical_json_does_not_depend_on_order(value: dict[str, int | str | bool]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"x": float("nan")})
