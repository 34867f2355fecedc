"""Documents on their way through cleaning, on disk: however many there are, memory holds a few of them.

One SQLite file in a stage's scratch folder; it is never kept.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from timbre.corpus.raw import RawDocument, Unread

_TABLES = """
CREATE TABLE raw (n INTEGER PRIMARY KEY, source TEXT, name TEXT, text TEXT, author TEXT, date TEXT, names TEXT, kind TEXT,
                  characters INTEGER, encoding TEXT, headings TEXT, unread TEXT);
CREATE TABLE draft (n INTEGER PRIMARY KEY, doc_id TEXT, text TEXT, author TEXT, date TEXT, source TEXT, kind TEXT, encoding TEXT,
                    characters INTEGER, size INTEGER, tokens INTEGER, language TEXT, headings TEXT, reason TEXT, detail TEXT, split TEXT,
                    fold INTEGER);
CREATE INDEX draft_reason ON draft (reason);
"""
DRAFT = "doc_id, text, author, date, source, kind, encoding, characters, size, tokens, language, headings, reason, detail"
_CACHE_KIB = 16_384
_AT_ONCE = 200


class Spool:
    """Raw documents and drafts by number, in the order in which they came."""

    def __init__(self, folder: Path | None = None) -> None:
        path = ":memory:" if folder is None else str(folder / "spool.sqlite")
        if folder is not None:
            for leftover in folder.glob("spool.sqlite*"):
                leftover.unlink()
        self.folder = folder
        self.base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.base.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE_KIB}; PRAGMA temp_store=FILE;"
        )
        self.base.executescript(_TABLES)
        self.base.execute("BEGIN")

    def close(self) -> None:
        """Remove the file."""
        self.base.close()
        if self.folder is not None:
            (self.folder / "spool.sqlite").unlink(missing_ok=True)

    def put_raw(self, source: str, item: RawDocument | Unread) -> None:
        """Keep what a reader gave."""
        if isinstance(item, Unread):
            row: tuple[Any, ...] = (source, item.name, "", "", None, "[]", item.kind, 0, "", "[]", item.reason)
        else:
            row = (
                source, item.name, item.text, item.author, item.date, json.dumps(item.names), item.kind, item.read, item.encoding,
                json.dumps(item.headings), None,
            )  # fmt: skip
        columns = "source, name, text, author, date, names, kind, characters, encoding, headings, unread"
        self.base.execute(f"INSERT INTO raw ({columns}) VALUES ({','.join('?' * 11)})", row)  # nosec B608: the names above

    def raw(self, source: str) -> Iterator[tuple[int, RawDocument | Unread]]:
        """What the readers gave of a source, with its number."""
        columns = "n, name, text, author, date, names, kind, characters, encoding, headings, unread"
        query = f"SELECT {columns} FROM raw WHERE source = ? AND n > ? ORDER BY n LIMIT ?"  # nosec B608: the names above
        for row in self._pages(query, source):
            number, name, text, author, date, names, kind, characters, encoding, headings, unread = row
            if unread is not None:
                yield number, Unread(name, unread, kind)
            else:
                told, marked = tuple(json.loads(names)), tuple(json.loads(headings))
                yield number, RawDocument(name, text, author, date, told, kind, characters, encoding, marked)

    def _pages(self, query: str, *arguments: Any) -> Iterator[tuple[Any, ...]]:
        """Rows in pages, so that others may be written between; the first column is the number."""
        last = 0
        while rows := self.base.execute(query, (*arguments, last, _AT_ONCE)).fetchall():
            yield from rows
            last = rows[-1][0]

    def put_draft(self, *values: Any) -> None:
        """Keep a cleaned document: the columns of `DRAFT`."""
        self.base.execute(f"INSERT INTO draft ({DRAFT}) VALUES ({','.join('?' * 14)})", values)  # nosec B608: a constant

    def drafts(self, columns: str, where: str = "1") -> Iterator[tuple[Any, ...]]:
        """(number, *columns) of the drafts that fit."""
        query = f"SELECT n, {columns} FROM draft WHERE ({where}) AND n > ? ORDER BY n LIMIT ?"  # nosec B608: our callers' constants
        yield from self._pages(query)

    def reject(self, numbers: Iterable[tuple[int, str, str]]) -> None:
        """Say of drafts why they are left out: (number, reason, detail)."""
        self.base.executemany("UPDATE draft SET reason = ?2, detail = ?3 WHERE n = ?1", numbers)

    def text(self, number: int) -> str:
        """The cleaned text of a draft."""
        return str(self.base.execute("SELECT text FROM draft WHERE n = ?", (number,)).fetchone()[0])

    def one(self, query: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        row = self.base.execute(query, arguments).fetchone()
        return None if row is None else row[0]

    def counts(self, query: str, *arguments: Any) -> Counter[str]:
        """A query of (name, number) rows as a counter."""
        return Counter({str(name): int(number or 0) for name, number in self.base.execute(query, arguments)})

    def function(self, name: str, arguments: int, function: Callable[..., Any]) -> None:
        """Make a function known to queries."""
        self.base.create_function(name, arguments, function, deterministic=True)
