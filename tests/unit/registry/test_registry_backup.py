"""A backup holds a home and nothing else; a damaged or hostile one puts nothing anywhere."""

import io
import json
import shutil
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import IntegrityError
from timbre.settings import settings
from timbre.tasks.backup import back_up, restore
from timbre.tasks.stores.git import Git


@pytest.fixture
def saved(home: Path, tmp_path: Path) -> Path:
    """A backup of a home with a repository, a database that is being written to, links, and what is left out."""
    (home / "registry").mkdir(parents=True)
    git = Git(home / "registry")
    git("init", "--quiet", "--initial-branch", "main", ".")
    (home / "artifacts" / "bundle" / "abc").mkdir(parents=True)
    (home / "artifacts" / "bundle" / "abc" / "model.onnx").write_bytes(b"weights")
    (home / "latest").mkdir()
    (home / "latest" / "bundle").symlink_to("../artifacts/bundle/abc")
    (home / "work" / "half").mkdir(parents=True)
    (home / "work" / "half" / "shard").write_text("half")
    with sqlite3.connect(home / "ledger.db") as open_one:
        open_one.execute("PRAGMA journal_mode=WAL")
        open_one.execute("CREATE TABLE champions (version INTEGER)")
        open_one.execute("INSERT INTO champions VALUES (7)")
        open_one.commit()
        back_up(tmp_path / "saved.tar")
    return tmp_path / "saved.tar"


def test_everything_destroyed_comes_back_as_it_was(saved: Path, home: Path) -> None:
    with pytest.raises(ValueError, match="is not empty"):
        restore(saved)
    shutil.rmtree(home)
    restore(saved)
    with sqlite3.connect(home / "ledger.db") as database:
        assert database.execute("SELECT version FROM champions").fetchall() == [(7,)]
    assert (home / "latest" / "bundle" / "model.onnx").read_bytes() == b"weights" and (home / "latest" / "bundle").is_symlink()
    assert Git(home / "registry")("rev-parse", "--is-inside-work-tree") == "true", "git's empty folders came along"
    assert not (home / "work").exists()


def test_a_byte_that_changed_puts_nothing_there(saved: Path, home: Path) -> None:
    shutil.rmtree(home)
    whole = saved.read_bytes()
    saved.write_bytes(whole.replace(b"weights", b"wEights"))
    with pytest.raises(IntegrityError, match=r"model\.onnx is not what its sha256 says"):
        restore(saved)
    saved.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((ValueError, IntegrityError)):
        restore(saved)
    assert not home.exists() and not list(home.parent.glob(".building-*"))


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"../outside": "0" * 64}},
        {"files": {"/etc/outside": "0" * 64}},
        {"links": {"out": "../../.."}},
        {"links": {"deep": "/tmp"}, "files": {"deep/outside": "0" * 64}},
        {"folders": ["../outside"]},
    ],
)
def test_a_backup_that_names_another_place_is_refused(home: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    tree = {"schema_version": 1, "at": "2026-01-01T00:00:00Z", "timbre": "0", "files": {}, "links": {}, "folders": [], "elsewhere": []}
    text = json.dumps(tree | changed).encode()
    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        for name, content in (("backup.json", text), *((f"home/{name}", b"x") for name in changed.get("files", {}))):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(IntegrityError):
        restore(tmp_path / "hostile.tar")
    assert set(tmp_path.rglob("*")) - {home} == before - {home} and not home.exists()


@pytest.mark.usefixtures("saved")
def test_a_backup_within_the_home_and_a_file_that_is_none_are_sentences(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lies inside the home"):
        back_up(home / "saved.tar")
    with pytest.raises(ValueError, match=f"{tmp_path / 'gone'}: no such folder; make it"):
        back_up(tmp_path / "gone" / "saved.tar")
    shutil.rmtree(home)
    (tmp_path / "text").write_text("no tar")
    with pytest.raises(ValueError, match="not a backup"):
        restore(tmp_path / "text")
    assert settings().home == home
