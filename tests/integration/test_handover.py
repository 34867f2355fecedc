"""The data team's road: a corpus is built and versioned, and another repository takes it by the commands that are printed."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.building import add_source
from timbre.artifacts import Artifact
from timbre.cli import app
from timbre.cli.errors import explain
from timbre.config import CorpusConfig
from timbre.settings import settings
from timbre.tasks.stores.dvc import DataRegistry
from timbre.tasks.stores.git import Git

pytestmark = pytest.mark.road


@pytest.fixture
def built(texts: Path) -> str:
    """The digest of a small corpus in the data registry of a home."""
    add_source(texts, "harbour", "Ada Bell", "CC0-1.0")
    return DataRegistry.open(settings()).build("corpus", CorpusConfig(style="harbour")).digest


def test_another_repository_imports_the_version_by_the_printed_command(built: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["handout", "corpus", "--style", "harbour", "--datasheet", str(tmp_path / "sheet.md"), "--json"])
    assert done.exit_code == 0, done.output
    handed = json.loads(done.stdout)
    assert (handed["revision"], handed["digest"]) == ("corpus/harbour/v1", built)
    sheet = (tmp_path / "sheet.md").read_text()
    assert "CC0-1.0" in sheet and "Ada Bell" in sheet and "corpus/harbour/v1" in sheet and "Splits: train" in sheet

    theirs = tmp_path / "their repository"
    (theirs / ".dvc").mkdir(parents=True)
    (theirs / ".dvc" / "config").touch()
    Git(theirs)("init", "--quiet", ".")
    command = [sys.executable, "-m", *shlex.split(handed["commands"][0])]
    subprocess.run(command, cwd=theirs, check=True, capture_output=True)
    assert Artifact.open(theirs / "harbour").digest == built


@pytest.mark.usefixtures("built")
def test_a_version_or_a_target_that_is_not_there_is_a_sentence() -> None:
    for words, sentence in (
        (["corpus", "--version", "7"], "there is no corpus/harbour/v7: versions are v1"),
        (["target"], "the data registry has no target of 'harbour' yet"),
    ):
        error = CliRunner().invoke(app, ["handout", *words, "--style", "harbour"]).exception
        assert error is not None and sentence in explain(error)[0] and explain(error)[1] == 2
