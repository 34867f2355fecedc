"""`timbre doctor` says what was built with other libraries than are installed."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre.artifacts import MANIFEST, Artifact, ArtifactStore, Stage, Workspace
from timbre.cli import app
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.registry.ledger import Ledger
from timbre.settings import settings
from timbre.tasks.health import ledger_schema, low_disk
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


def to_mend() -> list[str]:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout)["to_mend"])


def test_doctor_names_an_object_of_the_data_remote_that_is_not_what_its_name_says(artifact: Artifact, home: Path) -> None:
    folder = home / "remote" / "files" / "md5" / hashlib.md5(b"text", usedforsecurity=False).hexdigest()[:2]
    folder.mkdir(parents=True)
    whole = folder / hashlib.md5(b"text", usedforsecurity=False).hexdigest()[2:]
    whole.write_bytes(b"text")
    assert not [line for line in to_mend() if line.startswith("data remote")]
    whole.write_bytes(b"tex!")
    (line,) = [line for line in to_mend() if line.startswith("data remote")]
    assert str(whole) in line and "dvc push" in line


def test_doctor_names_columns_that_a_ledger_of_before_lacks_and_says_what_to_do(artifact: Artifact, home: Path) -> None:
    with closing(Ledger(settings().ledger)) as ledger:
        assert ledger.lacking() == []
    with closing(sqlite3.connect(home / "ledger.db")) as base:
        base.execute("ALTER TABLE moves DROP COLUMN reason")
        base.commit()
    with closing(Ledger(settings().ledger)) as ledger:
        assert ledger.lacking() == ["moves.reason"]
    (line,) = ledger_schema(settings().ledger)
    assert "moves.reason" in line and "timbre backup" in line


def test_doctor_says_when_the_disk_is_nearly_full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert low_disk(home) == [] or shutil.disk_usage(home).free < 5e9
    monkeypatch.setattr("timbre.tasks.health.LOW_GB", 1e9)
    assert "timbre gc" in low_disk(home)[0]
