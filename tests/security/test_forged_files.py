"""Files that are not what they are called: pickles, forged checkpoints, cache entries that point elsewhere. Nothing of them runs."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, IntegrityError, Stage, Workspace
from timbre.config import Frozen, ModelConfig
from timbre.models import load_model, resolve_model
from timbre.progress import SILENT
from timbre.training.checkpoints import Checkpoint, Checkpoints


class Payload:
    """What a hostile pickle does when it is loaded: it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "home", SILENT)


def test_the_payload_would_run_if_anything_loaded_it(mark: Path) -> None:
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


def test_a_pickle_that_calls_itself_safetensors_is_refused_unread(folder: Path, store: ArtifactStore, mark: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ValueError, match="model"):
        resolve_model(ModelConfig(name=str(folder)), store)
    assert not mark.exists() and not list((store.home / "artifacts").glob("model/*/manifest.json"))


@pytest.mark.parametrize("name", ["pytorch_model-00001-of-00001.bin", "weights.pkl", "model.pt", "../model.safetensors"])
def test_an_index_that_lists_anything_but_safetensors_is_refused(folder: Path, store: ArtifactStore, mark: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    with pytest.raises(ValueError, match=r"no safetensors file and could run code|lacks the shards"):
        resolve_model(ModelConfig(name=str(folder)), store)
    assert not mark.exists()


def test_pickles_beside_the_weights_and_code_in_the_folder_are_left_where_they_are(folder: Path, store: ArtifactStore, mark: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "tokenizer.pkl"):
        (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    (folder / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    (folder / "__init__.py").write_text(f"open({str(mark)!r}, 'w')\n")
    model = resolve_model(ModelConfig(name=str(folder)), store)
    load_model(model)
    assert not mark.exists()
    assert {Path(name).suffix for name in model.manifest.files} <= {".json", ".safetensors", ".jinja", ".txt", ".md"}


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_a_pickled_adapter_is_refused_unread(tiny_model_dir: Path, store: ArtifactStore, tmp_path: Path, mark: Path, name: str) -> None:
    from timbre.models.adapters import with_adapter
    from timbre.training.adapters import add_adapter, save_adapter

    model, adapter = resolve_model(ModelConfig(name=str(tiny_model_dir)), store), tmp_path / "adapter"
    save_adapter(add_adapter(load_model(model), rank=2, alpha=4, seed=0), adapter)
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / name).write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ValueError, match=r"pickled weights are never loaded|has a damaged"):
        with_adapter(load_model(model), adapter, merged=False)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["pickle", "empty", "huge header", "no state", "other state"])
def test_a_forged_checkpoint_is_passed_over_although_its_name_fits(tmp_path: Path, mark: Path, kind: str) -> None:
    """Its name carries the digest of its bytes, as a real one's does; what it holds is something else."""
    import torch
    from safetensors.torch import save

    checkpoints = Checkpoints(tmp_path / "checkpoints", "run")
    checkpoints.save(Checkpoint(3, {"step": 3}, {"adapter/a": torch.ones(2)}))
    data = {
        "pickle": pickle.dumps(Payload(mark)), "empty": b"", "huge header": (2**60).to_bytes(8, "little") + b"{}",
        "no state": save({"a": torch.ones(1)}), "other state": save({"a": torch.ones(1)}, metadata={"state": "[1]"}),
    }[kind]  # fmt: skip
    (tmp_path / "checkpoints" / f"step-000009-{hashlib.sha256(data).hexdigest()[:32]}.safetensors").write_bytes(data)
    with pytest.warns(UserWarning, match=r"step-000009-.* is damaged; going on from an older checkpoint"):
        found = checkpoints.newest()
    assert found is not None and (found.step, found.state) == (3, {"step": 3}) and torch.equal(found.tensors["adapter/a"], torch.ones(2))
    assert not mark.exists()


class Word(Frozen):
    word: str


def _write(config: Word, _inputs: Mapping[str, Input], work: Workspace) -> None:
    (work.output / "word.txt").write_text(config.word)


WORDS: Stage[Word] = Stage("words", 1, _write)


@pytest.fixture
def two(store: ArtifactStore) -> tuple[Artifact, Artifact]:
    return store.build(WORDS, Word(word="good"), {}), store.build(WORDS, Word(word="bad"), {})


def test_a_cache_entry_that_points_at_another_artifact_is_refused(store: ArtifactStore, two: tuple[Artifact, Artifact]) -> None:
    """Whoever can write the cache cannot pass the evidence of one candidate off as that of another."""
    good, bad = two
    (store.home / "artifacts" / "words" / "keys" / good.manifest.key).write_text(bad.digest)
    with pytest.raises(IntegrityError, match="points at an artifact with another key; remove it"):
        store.build(WORDS, Word(word="good"), {})


def test_an_artifact_under_anothers_name_is_refused(store: ArtifactStore, two: tuple[Artifact, Artifact]) -> None:
    good, bad = two
    shutil.rmtree(good.path)
    shutil.copytree(bad.path, good.path)
    with pytest.raises(IntegrityError, match=r"holds another artifact .* than its name says"):
        store.open("words", good.digest)
    with pytest.raises(IntegrityError, match="another key"):
        store.find("words", good.manifest.key)


@pytest.mark.parametrize("entry", ["../../../outside", "/", "..", "nothing-here"])
def test_a_cache_entry_that_climbs_out_finds_nothing_it_could_pass_off(
    store: ArtifactStore, two: tuple[Artifact, Artifact], entry: str
) -> None:
    good, bad = two
    shutil.copytree(bad.path, store.home.parent / "outside")
    (store.home / "artifacts" / "words" / "keys" / good.manifest.key).write_text(entry)
    try:
        found = store.find("words", good.manifest.key)
    except IntegrityError:
        return
    assert found is None


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "sub/../../outside.txt"])
def test_a_manifest_that_names_files_outside_is_refused(store: ArtifactStore, two: tuple[Artifact, Artifact], name: str) -> None:
    good, _ = two
    (good.path.parent / "outside.txt").write_text("secret")
    path = good.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = manifest["files"]["word.txt"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="files and manifest disagree"):
        Artifact.open(good.path)
