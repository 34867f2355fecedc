"""The data registry with real git, real DVC and the real `timbre stage`; only what the stages compute is laid in the store before."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.building import add_source
from timbre.artifacts import Artifact, ArtifactStore, FileInput, IntegrityError, Stage, Workspace
from timbre.config import CorpusConfig, Frozen, ModelConfig, TargetConfig, release_config
from timbre.settings import PROJECT_ROOT, settings
from timbre.tasks.stages import style_parameters
from timbre.tasks.stores.dvc import DataRegistry
from timbre.tasks.stores.git import Git
from timbre.tasks.stores.registry_init import beside, only_owner

STYLE = "harbour"
CORPUS = CorpusConfig(style=STYLE)
TARGET, MODEL = TargetConfig(), ModelConfig()
DVC = [sys.executable, "-m", "dvc"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a space in its path, and a user whose git signs everything and runs a hook that refuses."""
    user = tmp_path / "a user"
    (user / "hooks").mkdir(parents=True)
    hook = user / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (user / ".gitconfig").write_text(f'[commit]\n\tgpgsign = true\n[tag]\n\tgpgsign = true\n[core]\n\thooksPath = "{user / "hooks"}"\n')
    for name in [name for name in os.environ if name.startswith(("GIT_", "TIMBRE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("TIMBRE_HOME", str(tmp_path / "its home"))
    settings.cache_clear()
    text = tmp_path / "harbour.txt"
    text.write_text("The old gull waited by the grey water, and nobody spoke of it again.\n" * 20)
    add_source(text, STYLE, "Ada Bell", "CC0-1.0")
    yield tmp_path
    settings.cache_clear()


def lay(stage: Stage[Any], config: Frozen, inputs: dict[str, FileInput | Artifact]) -> Artifact:
    """An artifact under the very key that the real stage will ask for."""

    def write(given: Frozen, _inputs: object, workspace: Workspace) -> None:
        (workspace.output / "data.json").write_text(given.model_dump_json())
        (workspace.output / "parts").mkdir()
        (workspace.output / "parts" / "00000.bin").write_bytes(hashlib.sha256(given.model_dump_json().encode()).digest() * 64)

    return ArtifactStore(settings().home).build(replace(stage, build=write), config, inputs)


def lay_corpus(config: CorpusConfig = CORPUS) -> Artifact:
    from timbre.corpus.stage import STAGE, corpus_inputs

    return lay(STAGE, config, dict(corpus_inputs(config)))


def lay_target() -> tuple[Artifact, Artifact]:
    from timbre.models import STAGE as MODEL_STAGE
    from timbre.targets.stage import STAGE

    model = lay(MODEL_STAGE, MODEL, {})
    return model, lay(STAGE, TARGET, {"corpus": lay_corpus(), "model": model})


def importer(folder: Path) -> Path:
    """Another team's git + DVC repository."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").touch()
    Git(folder)("init", "--quiet", ".")
    return folder


def dvc_import(folder: Path, registry: Path, path: str, tag: str) -> "subprocess.CompletedProcess[str]":
    command = [*DVC, "import", str(registry), path, "--rev", tag]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def cache_object(folder: Path, content: Path) -> Path:
    digest = hashlib.md5(content.read_bytes()).hexdigest()
    return folder / "files" / "md5" / digest[:2] / digest[2:]


def damage(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def builder(code: str = "", **config: object) -> "subprocess.Popen[str]":
    """A process of its own that runs `code` and then builds the corpus."""
    program = (
        "import os, signal\nfrom timbre.settings import settings\nfrom timbre.config import CorpusConfig\n"
        "from timbre.tasks.stores import dvc\nfrom timbre.tasks.stores.dvc import DataRegistry\n"
        "def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{code}\nregistry = DataRegistry.open(settings())\n"
        f"print(registry.build('corpus', CorpusConfig.model_validate_json({CORPUS.model_copy(update=config).model_dump_json()!r})).tag)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_target_is_committed_tagged_pushed_and_taken_by_another_team(here: Path) -> None:
    model, target = lay_target()
    registry = DataRegistry.open(settings())
    built = registry.build("target", CORPUS, TARGET, MODEL, model_digest=model.digest)

    assert (built.digest, built.tag, built.cached) == (target.digest, f"target/{STYLE}/v1", False)
    assert [version.tag for version in registry.history(STYLE)] == [f"corpus/{STYLE}/v1", f"target/{STYLE}/v1"]
    assert registry.is_current("target", STYLE, target.digest) and registry.find_tag("target", STYLE, "0" * 64) is None
    tracked = registry.git.lines("ls-files")
    assert {"sources/harbour-harbour/source.toml", "sources/harbour-harbour/files.dvc", f"styles/{STYLE}.toml"} <= set(tracked)
    assert not registry.git("status", "--porcelain")
    assert (registry.path / "target" / STYLE / "data.json").stat().st_ino != target.file("data.json").stat().st_ino

    head = registry.git("rev-parse", "HEAD")
    again = registry.build("target", CORPUS, TARGET, MODEL, model_digest=model.digest)
    assert (again.cached, again.tag, registry.git("rev-parse", "HEAD")) == (True, built.tag, head)

    team = importer(here / "another team")
    taken = dvc_import(team, registry.path, f"target/{STYLE}", built.tag)
    assert taken.returncode == 0, taken.stderr
    assert Artifact.open(team / STYLE).digest == target.digest

    damage(cache_object(settings().home / "remote", target.file("parts/00000.bin")))
    clone = here / "clone"
    Git(here)("clone", "--quiet", str(registry.path), str(clone))
    assert subprocess.run([*DVC, "pull", "--quiet", f"target@{STYLE}"], cwd=clone, capture_output=True, check=False).returncode != 0
    assert not (clone / "target" / STYLE / "parts" / "00000.bin").exists()
    # DVC 3.67 verifies what it pulls but not what it imports; the manifest does.
    other = importer(here / "third team")
    dvc_import(other, registry.path, f"target/{STYLE}", built.tag)
    with pytest.raises(IntegrityError, match=r"00000\.bin"):
        Artifact.open(other / STYLE)


def test_a_build_killed_before_commit_tag_and_push_is_made_up_for_once(here: Path) -> None:
    corpus = lay_corpus()
    cuts = ("DataRegistry._commit = die", "dvc.add_version = die", "DataRegistry._push = die")
    for number, cut in enumerate(cuts):
        killed = builder(cut)
        _, said = killed.communicate(timeout=300)
        assert killed.returncode == -signal.SIGKILL, said
        registry = DataRegistry.open(settings())
        assert len(registry.history()) == (1 if number == 2 else 0)
        assert not registry.is_current("corpus", STYLE, corpus.digest)

    built = registry.build("corpus", CORPUS)
    assert (built.digest, built.tag) == (corpus.digest, f"corpus/{STYLE}/v1")
    assert len(registry.history()) == 1 and registry.is_current("corpus", STYLE, corpus.digest)
    assert len(registry.git.lines("log", "--format=%H", "--", "dvc.lock")) == 1
    assert cache_object(settings().home / "remote", corpus.file("data.json")).exists()


def test_two_builders_at_once_make_one_version_each_in_turn(here: Path) -> None:
    first, second = CORPUS, CORPUS.model_copy(update={"seed": 7})
    digests = {lay_corpus(first).digest, lay_corpus(second).digest}
    registry = DataRegistry.open(settings())
    with only_owner(registry.path):
        both = [builder(), builder(seed=7)]
        for process in both:
            assert process.stderr is not None
            waiting = next(line for line in process.stderr if "waiting for" in line)
            assert f"process {os.getpid()}" in waiting
    tags = []
    for process in both:
        out, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        tags.append(out.strip())
    assert sorted(tags) == [f"corpus/{STYLE}/v1", f"corpus/{STYLE}/v2"]
    assert {version.digest for version in registry.history(STYLE)} == digests
    assert not registry.git("status", "--porcelain")


def test_a_damaged_cache_is_healed_and_a_refused_source_says_why(here: Path) -> None:
    corpus = lay_corpus()
    registry = DataRegistry.open(settings())
    registry.build("corpus", CORPUS)
    out = registry.path / "corpus" / STYLE
    held = cache_object(registry.path / ".dvc" / "cache", out / "data.json")
    damage(held)
    damage(out / "data.json")
    assert registry.build("corpus", CORPUS).cached
    assert Artifact.open(out).digest == corpus.digest
    assert held.read_bytes() == corpus.file("data.json").read_bytes()

    (held_text,) = (settings().home / "sources" / "harbour-harbour" / "files").iterdir()
    damage(held_text)
    with pytest.raises(IntegrityError, match=held_text.name):
        registry.build("corpus", CORPUS.model_copy(update={"seed": 9}))
    assert len(registry.history()) == 1


def test_the_checkout_shows_the_data_road_and_stays_clean() -> None:
    """`dvc dag` reads the checkout's own files and writes nothing that git sees."""
    owned = ("status", "--porcelain", "--", ".dvc", ".dvcignore", "dvc.yaml", "dvc.lock", "params.yaml", "corpus", "target")
    before = Git(PROJECT_ROOT)(*owned)
    shown = subprocess.run([*DVC, "dag"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    assert "corpus@literary" in shown and "target@journalism" in shown
    assert Git(PROJECT_ROOT)(*owned) == before


def test_shipped_parameters_are_those_of_the_quick_profile() -> None:
    styles = YAML(typ="safe").load((PROJECT_ROOT / "params.yaml").read_text())["styles"]
    assert sorted(styles) == sorted(path.stem for path in (PROJECT_ROOT / "data" / "styles").glob("*.toml"))
    for style, parameters in styles.items():
        config = release_config(style)
        for section, value in (("corpus", config.corpus), ("target", config.target.of_tokens()), ("model", config.model)):
            assert parameters[section] == value.model_dump(mode="json")
        assert style_parameters(PROJECT_ROOT / "params.yaml", style).target == config.target.of_tokens()  # as `timbre stage` reads them


def test_a_folder_that_is_something_else_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_DATA_REGISTRY", str(here))
    settings.cache_clear()
    with pytest.raises(ValueError, match="not a git repository"):
        DataRegistry.open(settings())
    assert not beside(here, "owner").exists()
