"""A manifest names Timbre's own version and commit and the libraries at work, and nothing of a repository that lies around it."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import timbre
from timbre import versions as own
from timbre.artifacts import Artifact, ArtifactStore, Stage, Workspace
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.versions import LIBRARIES, other_releases, release


def write(config: Frozen, inputs: object, work: Workspace) -> None:
    (work.output / "words.txt").write_text("words")


def built(home: Path, **inputs: Artifact) -> Artifact:
    return ArtifactStore(home, SILENT).build(Stage("words", 1 + len(inputs), write), Frozen(), inputs)


def test_a_manifest_says_who_built_it_and_with_what(tmp_path: Path) -> None:
    first = built(tmp_path)
    second = built(tmp_path, before=first)
    assert first.manifest.built["timbre"] == timbre.__version__
    assert set(first.libraries) == set(LIBRARIES)
    assert first.libraries["torch"] == metadata.version("torch")
    assert second.manifest.built["libraries_of_inputs"] == {"before": first.libraries}


def test_versions_stand_outside_key_and_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = built(tmp_path / "here")
    monkeypatch.setattr("timbre.versions.versions", lambda: {"torch": "1.0.0"})
    other = built(tmp_path / "other")
    assert other.libraries == {"torch": "1.0.0"} != here.libraries
    assert (other.manifest.key, other.digest) == (here.manifest.key, here.digest)


def test_patch_releases_and_build_tags_are_one_release() -> None:
    assert release("2.13.1+cu130") == release("2.13.0") == "2.13" != release("2.14.0")
    one = {"torch": "2.13.0+cpu", "peft": "0.21.0"}
    assert other_releases(one, {"torch": "2.13.2", "peft": "0.21.1"}) == {}
    assert other_releases(one, {"torch": "2.14.0", "peft": "0.21.0"}) == {"torch": ("2.13.0+cpu", "2.14.0")}
    assert other_releases(one, {"torch": "2.13.0"}) == {"peft": ("0.21.0", "unknown")}
    assert other_releases(one | {"numpy": "1.0"}, one | {"numpy": "2.0"}) == {}, "numpy runs no model"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path, *tracked: str) -> str:
    """Make a repository of a folder; the commit that holds the files named."""
    git(folder, "init", "--quiet")
    if tracked:
        git(folder, "add", "--force", *tracked)
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    return git(folder, "rev-parse", "HEAD")


def package(folder: Path, project: str | None) -> Path:
    """A package `timbre` in a folder, as a wheel or a checkout would put it there."""
    (folder / "timbre").mkdir(parents=True)
    (folder / "timbre" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    shutil.copyfile(Path(own.__file__), folder / "timbre" / "versions.py")
    if project is not None:
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    return folder


def named(folder: Path, **environment: str) -> str:
    """The commit that the package in a folder takes for its own."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from timbre.versions import own_commit; print(own_commit())"
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=os.environ | environment).stdout.strip()


PACKAGE = ("timbre", "pyproject.toml")


def test_a_checkout_names_its_own_commit_wherever_a_caller_points_git(tmp_path: Path) -> None:
    checkout = package(tmp_path / "checkout", "timbre")
    commit = repository(checkout, *PACKAGE)
    (tmp_path / "project").mkdir()
    theirs = repository(tmp_path / "project")
    assert commit != theirs
    assert named(checkout) == commit
    assert named(checkout, GIT_DIR=str(tmp_path / "project" / ".git"), GIT_WORK_TREE=str(tmp_path / "project")) == commit, (
        "as in a git hook"
    )


def test_an_environment_inside_somebodys_project_names_no_commit(tmp_path: Path) -> None:
    project = tmp_path / "project"
    installed = package(project / "venv" / "site-packages", None)
    repository(project)
    assert named(installed) == "None"
    git(project, "add", "--force", ".")
    git(project, "commit", "--quiet", "-m", "environment and all")
    assert named(installed) == "None"


@pytest.mark.parametrize(("name", "tracked"), [("novel", PACKAGE), (None, ("timbre",)), ("timbre", ("pyproject.toml",)), ("timbre", ())])
def test_a_copy_in_somebodys_repository_names_no_commit(name: str | None, tracked: tuple[str, ...], tmp_path: Path) -> None:
    """A project of another name that has taken Timbre in, and one that only holds its files."""
    project = package(tmp_path / "project", name)
    repository(project, *tracked)
    assert named(project) == "None"


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    checkout = package(tmp_path / "checkout", "timbre")
    repository(checkout, *PACKAGE)
    assert named(checkout, PATH=str(tmp_path)) == "None"
