"""From a file of any known format to raw documents: text, and what the file says about author and date."""

import gzip
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from timbre.corpus.cleaning import chapters
from timbre.corpus.sources import Source

SUFFIXES = {
    ".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html",
    ".rst": "rst", ".jsonl": "jsonl", ".parquet": "parquet", ".eml": "mail",
}  # fmt: skip

_LARGEST_TEXT = 256 << 20
"""Bytes of an unpacked file; a small archive must not fill the memory."""


@dataclass(frozen=True)
class RawDocument:
    """A text as its file holds it. `names` are persons named in its headers."""

    name: str
    text: str
    author: str
    date: str | None = None
    names: tuple[str, ...] = ()


def read_file(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
    """The raw documents of one file, cut as the source says.

    Raises:
        ValueError: not a known format, not text, not UTF-8, or a column is missing; the sentence names file and place.
    """
    if PurePosixPath(name).suffix.lower() == ".gz":
        with _gunzipped(path, name) as plain:
            yield from (replace(document, name=document.name + ".gz") for document in read_file(plain, name[:-3], source))
        return
    kind = source.format if source.format != "auto" else SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        raise ValueError(f"{name}: unknown format; known are {', '.join(SUFFIXES)}")
    for document in _READERS[kind](path, name, source):
        if source.cut == "file":
            yield document
            continue
        for number, chapter in enumerate(chapters(document.text, source.chapter_pattern), start=1):
            yield replace(document, name=f"{document.name}#{number}", text=chapter)


@contextmanager
def _gunzipped(path: Path, name: str) -> Iterator[Path]:
    """A gzipped file unpacked for as long as it is read; Debian packages keep their texts so."""
    with tempfile.NamedTemporaryFile(prefix="timbre-") as plain:
        try:
            with gzip.open(path) as packed:
                text = packed.read(_LARGEST_TEXT + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{name}: not a whole gzip file ({error}); fetch it again") from error
        if len(text) > _LARGEST_TEXT:
            raise ValueError(f"{name}: more than {_LARGEST_TEXT >> 20} MiB once unpacked; cut it into several files")
        plain.write(text)
        plain.flush()
        yield Path(plain.name)


def read_text(path: Path, name: str) -> str:
    """A UTF-8 text file.

    Raises:
        ValueError: it holds NUL bytes or is not UTF-8; the sentence names the file and the byte.
    """
    data = path.read_bytes()
    if (offset := data.find(b"\0")) >= 0:
        raise ValueError(f"{name}: not a text file (NUL at byte {offset}); remove it, or give it the ending of its format")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: invalid UTF-8 at byte {error.start} (0x{data[error.start]:02x}); save it as UTF-8, or remove it if it is not text"
        ) from error


def iso_date(value: Any, name: str) -> str | None:
    """A date, time, year or ISO string as ISO text; None for nothing.

    Raises:
        ValueError: it is none of those.
    """
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    if re.fullmatch(r"\d{4}", text):
        return text
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is not an ISO date such as 1851-10-18, or a year") from error


def _described(name: str, text: str, source: Source) -> RawDocument:
    """Author and date from the file's name where the source has a pattern, else those of the source."""
    author, when = source.author, source.date
    if source.author_pattern and (match := re.search(source.author_pattern, name)) is not None:
        author = re.sub(r"[_\s]+", " ", match["author"]).strip()
        author = author.title() if author.islower() else author
    if source.date_pattern and (match := re.search(source.date_pattern, name)) is not None:
        when = match["date"]
    return RawDocument(name, text, author, iso_date(when, name))


def _plain(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
    yield _described(name, read_text(path, name), source)


def _markup(extract: str) -> Callable[[Path, str, Source], Iterator[RawDocument]]:
    def read(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
        from timbre.corpus import markup

        yield _described(name, getattr(markup, extract)(read_text(path, name)), source)

    return read


def _mail(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
    from timbre.corpus.mail import read_mail

    message = read_mail(path.read_bytes(), salt=source.sha256 or source.name)
    text = "" if any(sender in message.sender for sender in source.skip_senders) else message.text
    yield RawDocument(name, text, message.author, message.date or iso_date(source.date, name), message.names)


def _brown(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
    from timbre.corpus.tagged import detokenise

    yield _described(name, detokenise(read_text(path, name)), source)


def _jsonl(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
    for number, line in enumerate(read_text(path, name).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name}: line {number} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{name}: line {number} is not an object with a {source.text_column!r}")
        yield from_row(row, f"{name}:{number}", source)


def _parquet(path: Path, name: str, source: Source) -> Iterator[RawDocument]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{name}: not a readable Parquet file ({error})") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield from_row(row, f"{name}:{number}", source)


def from_row(row: Mapping[str, Any], name: str, source: Source) -> RawDocument:
    """A row of a table with a text column, and perhaps author and date columns.

    Raises:
        ValueError: no text, or no author in the row nor in the source.
    """
    text = row.get(source.text_column)
    if not isinstance(text, str):
        raise ValueError(f"{name}: no text in column {source.text_column!r}; it has {', '.join(map(str, row))}")
    author = row.get(source.author_column) or source.author
    if not author:
        raise ValueError(f"{name}: no author in column {source.author_column!r}, and the source names none")
    return RawDocument(name, text, str(author), iso_date(row.get(source.date_column) or source.date, name))


_READERS: dict[str, Callable[[Path, str, Source], Iterator[RawDocument]]] = {
    "text": _plain,
    "markdown": _markup("markdown_text"),
    "html": _markup("html_text"),
    "rst": _markup("rst_text"),
    "jsonl": _jsonl,
    "parquet": _parquet,
    "mail": _mail,
    "brown": _brown,
}
