"""An artifact exists whole or not at all, is found by key and known by digest."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.artifacts import (
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
from timbre.config import Frozen
from timbre.progress import SILENT


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


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "add", "manifest"])
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
        case "manifest":
            manifest = json.loads((artifact.path / "manifest.json").read_text())
            manifest["digest"] = "0" * 64
            (artifact.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match=r"words\.txt|stray|manifest\.json"):
        Artifact.open(artifact.path)


def test_a_changed_file_is_noticed_although_its_hash_was_remembered(tmp_path: Path) -> None:
    cache, file = HashCache(tmp_path / "hashes.json"), tmp_path / "file"
    file.write_text("one")
    before = cache.sha256(file)
    file.write_text("other")
    assert cache.sha256(file) != before


def test_adopted_artifact_is_found_by_key(store: ArtifactStore, tmp_path: Path) -> None:
    original = store.build(WORDS, Words(), {})
    elsewhere = ArtifactStore(tmp_path / "elsewhere", SILENT)
    adopted = elsewhere.adopt(original.path)
    assert elsewhere.find("words", original.manifest.key) == adopted


def test_write_atomically_keeps_the_old_bytes_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("timbre.artifacts.os.fsync", full)
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
