"""Files as packages hold them."""

import gzip
from pathlib import Path

import pytest

from timbre.corpus import readers
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.readers import read_file
from timbre.corpus.sources import Source

SOURCE = Source(
    name="notes",
    kind="deb",
    description="Notes.",
    licence="CC0-1.0",
    consent="own work",
    package="notes",
    sha256="0" * 64,
    author="A. Writer",
)


def test_a_gzipped_text_is_read_as_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "store"  # named by hash in the store: only the given name says what it is
    path.write_bytes(gzip.compress(b"Ein Wal! Ein Wal!"))
    [document] = read_file(path, "doc/notes.txt.gz", SOURCE)
    assert isinstance(document, RawDocument)
    assert (document.name, document.text.strip()) == ("doc/notes.txt.gz", "Ein Wal! Ein Wal!")


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt.gz"
    path.write_bytes(gzip.compress(b"A whale. " * 1000)[:-20])
    [told] = read_file(path, "doc/notes.txt.gz", SOURCE)
    assert isinstance(told, Unread) and told.name == "doc/notes.txt.gz" and "not a whole gzip file" in told.reason


def test_a_gzip_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_LARGEST_TEXT", 1 << 20)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"\x20" * (1 << 21)))
    [told] = read_file(path, "bomb.txt.gz", SOURCE)
    assert isinstance(told, Unread) and "more than 1 MiB once unpacked" in told.reason
