"""Files as packages hold them."""

import gzip
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timbre.corpus import readers
from timbre.corpus.adding import Request, examine
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


def test_a_parquet_file_larger_than_memory_is_read_some_rows_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for group in range(12):
            writer.write_table(pa.table({"text": [random.Random(1000 * group + row).randbytes(3000).hex() for row in range(200)]}))
    before, most = pa.total_allocated_bytes(), 0
    for document in read_file(path, "texts.parquet", SOURCE):
        assert isinstance(document, RawDocument)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < path.stat().st_size / 2, f"{most} bytes held of {path.stat().st_size}"


def test_the_column_that_holds_the_texts_is_found_and_said(tmp_path: Path) -> None:
    path = tmp_path / "letters.csv"
    rows = [f"{number},The ferry left the harbour late because captain number {number} had lost his hat,ja" for number in range(4)]
    path.write_text("\n".join(["id,Beitrag,ok", *rows, "9,Too short,nein"]), encoding="utf-8")
    with pytest.warns(UserWarning, match="read from column 'Beitrag'; name another with --text-column"):
        found = list(read_file(path, "letters.csv", SOURCE))
    assert [document.text for document in found if isinstance(document, RawDocument)][-1] == "Too short", "the column counts for every row"


def test_what_no_reader_takes_is_told_with_a_way_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.txt").write_text(" ".join(f"Lantern {number} of harbour {number * word} burned." for word in range(30)))
    (folder / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (folder / "rich.doc").write_bytes(b"{\\rtf1\\ansi " + b"A word processor of old called this so, and it is Rich Text. " * 30 + b"}")
    (folder / "book.azw3").write_bytes(b"TPZ" + bytes(600))
    request = Request(folder, "tales", "Ann", "own work")
    examined = examine(request, home=tmp_path / "home")
    assert examined.summary.kept == 13
    told = {refused.name: refused.reason for refused in examined.source.refused}
    assert told == {"old.doc": "an old Word document: save it as .docx", "book.azw3": "a Kindle book: convert it to .epub"}
    with pytest.raises(ValueError, match=r"an old Word document: save it as \.docx; nothing was added"):
        examine(Request(folder / "old.doc", "tales", "Ann", "own work"), home=tmp_path / "home")


def test_a_file_that_may_not_be_opened_is_named_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its name is that of a chat program's export, which is looked into first."""
    from timbre.corpus.finding import find_files
    from timbre.metrics.texts import read_texts

    (tmp_path / "conversations.json").write_text("[]", encoding="utf-8")
    (tmp_path / "letter.txt").write_text("The ferry left late.", encoding="utf-8")
    opened = Path.open

    def refuses(path: Path, *given: Any, **named: Any) -> Any:
        if path.name == "conversations.json":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *given, **named)

    monkeypatch.setattr(Path, "open", refuses)
    found = find_files(tmp_path)
    assert list(found.files) == ["letter.txt"]
    assert [(each.name, each.reason) for each in found.refused] == [("conversations.json", "permission denied")]
    unread: list[Unread] = []
    assert [text.text for text in read_texts(tmp_path, unread)] == ["The ferry left late."]
    assert [each.name for each in unread] == ["conversations.json"]
