"""`timbre doctor` says what was built with other libraries than are installed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre.artifacts import MANIFEST, Artifact, ArtifactStore, Stage, Workspace
from timbre.cli import app
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.versions import versions


@pytest.fixture
def artifact(home: Path) -> Artifact:
    def build(_: Frozen, __: object, work: Workspace) -> None:
        (work.output / "words.txt").write_text("words")

    return ArtifactStore(home, SILENT).build(Stage("words", 1, build), Frozen(), {})


def built_with(artifact: Artifact, **libraries: str) -> None:
    path = artifact.path / MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["built"]["libraries"] |= libraries
    path.write_text(json.dumps(manifest))


def test_doctor_has_nothing_to_say_of_what_was_built_here(artifact: Artifact) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["other_versions"]) == (0, [])


def test_doctor_lists_what_was_built_with_other_versions_and_whether_that_matters(artifact: Artifact) -> None:
    installed = versions()
    built_with(artifact, torch="1.2.3", peft=installed["peft"] + "+mine")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, "versions stand outside the digest: nothing is damaged"
    name = f"words/{artifact.digest}"
    assert json.loads(done.stdout)["other_versions"] == [
        {"artifact": name, "library": "torch", "built_with": "1.2.3", "installed": installed["torch"], "other_release": True},
        {
            "artifact": name,
            "library": "peft",
            "built_with": installed["peft"] + "+mine",
            "installed": installed["peft"],
            "other_release": False,
        },
    ]
    said = CliRunner().invoke(app, ["doctor"]).stdout
    assert f"1 built with torch 1.2.3, installed is {installed['torch']} (another release" in said
