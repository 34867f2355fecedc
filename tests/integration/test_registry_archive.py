"""Targets in their archive form, and references in relative folders, through the data registry with real git and real DVC."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_registry_dvc import CORPUS, DVC, MODEL, STYLE, damage, dvc_import, here, importer, lay, lay_corpus

from timbre.artifacts import Artifact, ArtifactStore, IntegrityError, Workspace
from timbre.config import ModelConfig, TargetConfig
from timbre.models import STAGE as MODEL_STAGE
from timbre.settings import PROJECT_ROOT, settings
from timbre.store import StoreHeader, TargetReader, TargetRow, TargetWriter
from timbre.store.archive import is_packed, unpack
from timbre.targets.stage import STAGE, target_inputs
from timbre.tasks.stages import keeps_archives, materialise, opened
from timbre.tasks.stores.dvc import DataRegistry

__all__ = ["here"]
TOKENS = 2_000


@pytest.fixture
def checkout(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose params.yaml may be changed."""
    root = here / "a checkout"
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(PROJECT_ROOT / name, root / name)
    (root / "data").symlink_to(PROJECT_ROOT / "data")
    monkeypatch.setenv("TIMBRE_ROOT", str(root))
    settings.cache_clear()
    return root


def keep_archives(root: Path, archive: bool) -> None:
    path = root / "params.yaml"
    text = path.read_text().replace("archive: true", "archive: false")
    path.write_text(text.replace("archive: false", f"archive: {str(archive).lower()}"))


def lay_real_target(config: TargetConfig) -> tuple[Artifact, Artifact]:
    """A target with real shards under the key that the real stage will ask for, and its model."""
    random = np.random.default_rng(0)
    header = StoreHeader(
        top_k=32, vocab_size=49_152, tokenizer_digest="t", corpus_digest="c", model_digest="m", folds=2, temperature=1.0, alpha=0.5, seed=0
    )

    def write(_: object, __: object, workspace: Workspace) -> None:
        with TargetWriter(workspace.output, header) as writer:
            writer.append(
                TargetRow(
                    "harbour", 0, np.minimum(random.zipf(1.3, TOKENS), 49_151).astype(np.int32),
                    np.sort(np.stack([random.permutation(4_000)[:32] for _ in range(TOKENS - 1)]), axis=1).astype(np.int32),
                    np.full((TOKENS - 1, 32), 0.025, np.float32), np.full(TOKENS - 1, 0.2, np.float32),
                )
            )  # fmt: skip
        (workspace.output / "admission.json").write_text("{}")

    model = lay(MODEL_STAGE, MODEL, {})
    inputs = {"corpus": lay_corpus(), "model": model, **target_inputs(config)}
    return model, ArtifactStore(settings().home).build(replace(STAGE, build=write), config, inputs)


def remote_bytes(home: Path, suffix: bytes) -> int:
    return sum(path.stat().st_size for path in (home / "remote").rglob("*") if path.is_file() and path.read_bytes()[:8] == suffix)


def test_an_archived_target_is_pushed_small_and_comes_back_the_same_artifact(here: Path, checkout: Path) -> None:
    keep_archives(checkout, True)
    config = TargetConfig()
    model, target = lay_real_target(config)
    registry, home = DataRegistry.open(settings()), settings().home
    built = registry.build("target", CORPUS, config, MODEL, model_digest=model.digest)
    assert (built.digest, built.tag) == (target.digest, f"target/{STYLE}/v1")
    assert is_packed(registry.path / "target" / STYLE)
    assert 0 < remote_bytes(home, b"TIMBREZ1") < 70 * TOKENS and remote_bytes(home, b"ARROW1\0\0") == 0

    shutil.rmtree(home / "artifacts" / "target")  # a colleague's machine: all that there is of it lies in the remote
    shutil.rmtree(registry.path / "target" / STYLE)
    shutil.rmtree(registry.path / ".dvc" / "cache")
    subprocess.run([*DVC, "pull", "--quiet", f"target@{STYLE}", f"corpus@{STYLE}"], cwd=registry.path, check=True)
    again = registry.build("target", CORPUS, config, MODEL, model_digest=model.digest)
    assert (again.digest, again.cached) == (target.digest, True)
    restored = ArtifactStore(home).open("target", target.digest)
    assert [len(row) for row in TargetReader(restored.path)] == [TOKENS - 1]
    assert not list((home / "work").glob("*unpacked*"))

    team = importer(here / "another team")
    taken = dvc_import(team, registry.path, f"target/{STYLE}", built.tag)
    assert taken.returncode == 0, taken.stderr
    unpack(team / STYLE, team / "unpacked")
    assert Artifact.open(team / "unpacked").digest == target.digest


def test_a_registry_changes_to_the_archive_form_and_back_without_a_new_version(checkout: Path) -> None:
    config = TargetConfig()
    model, _ = lay_real_target(config)
    registry = DataRegistry.open(settings())
    for archive in (True, False):
        keep_archives(checkout, archive)
        built = registry.build("target", CORPUS, config, MODEL, model_digest=model.digest)
        assert is_packed(registry.path / "target" / STYLE) is archive
        assert built.tag == f"target/{STYLE}/v1"


def test_a_damaged_archive_is_named_when_it_is_opened(here: Path, tmp_path: Path) -> None:
    _, target = lay_real_target(TargetConfig())
    laid = tmp_path / "laid"
    materialise(target, laid, packed=True)
    with opened(laid, tmp_path / "scratch") as artifact:
        assert artifact.digest == target.digest
    damage(laid / "shards" / "00000.tza")
    with pytest.raises(IntegrityError, match="00000"), opened(laid, tmp_path / "scratch"):
        pass


def test_the_archive_switch_takes_true_or_false_only() -> None:
    assert keeps_archives({}) is False and keeps_archives({"target": {"archive": True}}) is True
    for section in ({"archive": "yes"}, {"archiv": True}, [True]):
        with pytest.raises(ValueError, match="archive: true"):
            keeps_archives({"target": section})


def test_a_reference_in_a_relative_folder_is_found_inside_the_registrys_build(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC runs the stage in the registry's folder; the path was typed where the command was started."""
    folder = here / "models" / "large"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    monkeypatch.chdir(here)
    config = TargetConfig(reference=ModelConfig(name="models/large"))
    model, target = lay_real_target(config)
    built = DataRegistry.open(settings()).build("target", CORPUS, config, MODEL, model_digest=model.digest)
    assert built.digest == target.digest
