"""From a file of any known kind to raw documents: text, and what the file says about author and date.

One bad row or file is told with its name and reason (`Unread`); it never refuses the rest.
"""

import csv
import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from timbre.corpus.cleaning import chapters
from timbre.corpus.encodings import Decoded, decode
from timbre.corpus.kinds import kind_of
from timbre.corpus.raw import Prose, RawDocument, Unread
from timbre.corpus.rows import from_row, is_turn, loose_date
from timbre.corpus.sources import Source

__all__ = ["RawDocument", "Unread", "from_row", "read_file", "read_text"]

_LARGEST_TEXT = 256 << 20
"""Bytes of an unpacked file; a small archive must not fill the memory."""
_ESCAPED = re.compile(rb">+From ")
"""How an mbox marks a line of a message that would begin another."""
Read = Iterator[RawDocument | Unread]


def read_file(path: Path, name: str, source: Source) -> Read:
    """The raw documents of one file, cut as the source says; what cannot be read is told in its place."""
    try:
        if PurePosixPath(name).suffix.lower() == ".gz":
            with _gunzipped(path, name) as plain:
                for item in read_file(plain, name[:-3], source):
                    yield replace(item, name=item.name + ".gz")
            return
        kind = source.format if source.format != "auto" else kind_of(path, name)
        for item in _READERS[kind](path, name, source):
            yield from _cut(replace(item, kind=kind), source)
    except (ValueError, OSError) as error:
        yield Unread(name, str(error).removeprefix(f"{name}: "))


def _cut(item: RawDocument | Unread, source: Source) -> Read:
    if isinstance(item, Unread) or source.cut == "file":
        yield item
        return
    for number, chapter in enumerate(chapters(item.text, source.chapter_pattern), start=1):
        yield replace(item, name=f"{item.name}#{number}", text=chapter, characters=None)


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


def read_text(path: Path, name: str, encoding: str = "") -> str:
    """A file's text, whatever its encoding.

    Raises:
        ValueError: not text, or not in the encoding asked for; the sentence names the file.
    """
    return decode(path.read_bytes(), name, encoding).text


def _decoded(path: Path, name: str, source: Source) -> Decoded:
    return decode(path.read_bytes(), name, source.encoding)


def _described(name: str, text: str, source: Source, when: Any = None) -> RawDocument:
    """Author and date from the file's name where the source has a pattern, else the file's own date, else those of the source."""
    author, date = source.author, when or source.date
    if source.author_pattern and (match := re.search(source.author_pattern, name)) is not None:
        author = re.sub(r"[_\s]+", " ", match["author"]).strip()
        author = author.title() if author.islower() else author
    if source.date_pattern and (match := re.search(source.date_pattern, name)) is not None:
        date = match["date"]
    return RawDocument(name, text, author, loose_date(date))


def _prose(name: str, prose: Prose, source: Source, when: Any = None) -> RawDocument:
    return replace(_described(name, prose.text, source, when), characters=prose.shown, headings=prose.headings)


def _plain(path: Path, name: str, source: Source) -> Read:
    found = _decoded(path, name, source)
    yield replace(_described(name, found.text, source), encoding=found.encoding)


def _html(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.web import read_html

    found = _decoded(path, name, source)
    yield replace(_prose(name, read_html(found.text), source), encoding=found.encoding)


def _markdown(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.markdown import read_markdown

    found = _decoded(path, name, source)
    prose, matter = read_markdown(found.text)
    yield replace(_prose(name, prose, source, matter.get("date")), encoding=found.encoding)


def _rst(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.rst import rst_text

    found = _decoded(path, name, source)
    yield replace(_described(name, rst_text(found.text), source), encoding=found.encoding)


def _office(kind: str) -> Callable[[Path, str, Source], Read]:
    def read(path: Path, name: str, source: Source) -> Read:
        from timbre.corpus.office import read_office

        yield _prose(name, read_office(path, name, kind), source)

    return read


def _mail(path: Path, name: str, source: Source) -> Read:
    yield _message(path.read_bytes(), name, source)


def _mbox(path: Path, name: str, source: Source) -> Read:
    """Messages by the lines that begin one: `From `, behind an empty line or at the top of the file."""
    message, number = bytearray(), 0
    with path.open("rb") as lines:
        blank = True
        for line in lines:
            if blank and line.startswith(b"From ") and message.strip():
                number += 1
                yield _message(bytes(message), f"{name}:{number}", source)
                message.clear()
            message += line[1:] if _ESCAPED.match(line) else line
            blank = not line.strip()
    if message.strip():
        yield _message(bytes(message), f"{name}:{number + 1}", source)


def _message(data: bytes, name: str, source: Source) -> RawDocument:
    from timbre.corpus.mail import read_mail

    message = read_mail(data, salt=source.sha256 or source.name)
    text = "" if any(sender in message.sender for sender in source.skip_senders) else message.text
    return RawDocument(name, text, message.author, message.date or loose_date(source.date), message.names)


def _brown(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.tagged import detokenise

    yield _described(name, detokenise(read_text(path, name, source.encoding)), source)


def _row(row: Any, name: str, source: Source) -> RawDocument | Unread:
    if isinstance(row, str):
        row = {"text": row}
    elif isinstance(row, list) and row and all(map(is_turn, row)):
        row = {"messages": row}
    if not isinstance(row, Mapping):
        return Unread(name, f"not an object with a {source.text_column!r}")
    found = from_row(row, name, source)
    return replace(found, name=name) if isinstance(found, Unread) else found


def _jsonl(path: Path, name: str, source: Source) -> Read:
    """A line at a time, since such files grow large; one that is UTF-16, or a list over many lines, is read whole."""
    with path.open("rb") as file:
        head = file.read(4096)
    if source.encoding or b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        text = _decoded(path, name, source).text
        items = _whole(text)
        if items is None:
            lines = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
            yield from (_line(line.strip(), f"{name}:{number}", source) for number, line in lines if line.strip())
        else:
            yield from (_row(row, f"{name}:{number}", source) for number, row in enumerate(items, start=1))
        return
    with path.open("rb") as file:
        for number, data in enumerate(file, start=1):
            if not data.strip():
                continue
            try:
                yield _line(decode(data.strip(), "", "").text, f"{name}:{number}", source)
            except ValueError as error:
                yield Unread(f"{name}:{number}", str(error).removeprefix(": "))


def _whole(text: str) -> list[Any] | None:
    """The items of a file that is one JSON list, or None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _line(line: str, name: str, source: Source) -> RawDocument | Unread:
    for text in (line, line.rstrip(", ")):  # a comma between lines is a list that lost its brackets
        try:
            return _row(json.loads(text), name, source)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = f"not JSON ({error})"
    return Unread(name, reason)


def _json(path: Path, name: str, source: Source) -> Read:
    """A list of objects or texts; an object that holds such a list under some key; or one object with a text."""
    text = _decoded(path, name, source).text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if "\n" in text.strip() and text.lstrip()[:1] == "{":
            yield from _jsonl(path, name, source)
            return
        raise ValueError(f"not JSON ({error})") from error
    if isinstance(value, Mapping):
        from timbre.corpus.rows import row_text

        lists = [items for key, items in value.items() if isinstance(items, list) and items and isinstance(items[0], Mapping | str)]
        if lists and not isinstance(row_text(value, source), str):
            value = max(lists, key=len)
    rows = value if isinstance(value, list) else [value]
    if rows and all(map(is_turn, rows)):
        rows = [rows]  # the file is one chat
    for number, row in enumerate(rows, start=1):
        yield _row(row, f"{name}:{number}", source)


def _csv(path: Path, name: str, source: Source) -> Read:
    found = _decoded(path, name, source)
    text = found.text.replace("\0", "")
    csv.field_size_limit(_LARGEST_TEXT)
    head = text[: text.find("\n") if "\n" in text else None]
    delimiter = max("\t,;|", key=lambda mark: (head.count(mark), mark == ("\t" if name.lower().endswith(".tsv") else ",")))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Unread(f"{name}:{reader.line_num}", f"not a row of CSV ({error})")
            continue
        if cells is None:
            return
        if header is None:
            header = [cell.strip() for cell in cells]
        elif any(cell.strip() for cell in cells):
            yield _row(dict(zip(header, cells, strict=False)), f"{name}:{reader.line_num}", source)


def _parquet(path: Path, name: str, source: Source) -> Read:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield _row(row, f"{name}:{number}", source)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a readable Parquet file ({error})") from error


_READERS: dict[str, Callable[[Path, str, Source], Read]] = {
    "text": _plain, "markdown": _markdown, "html": _html, "rst": _rst, "jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet,
    "mail": _mail, "mbox": _mbox, "brown": _brown, "docx": _office("docx"), "odt": _office("odt"), "rtf": _office("rtf"),
    "pdf": _office("pdf"), "epub": _office("epub"),
}  # fmt: skip
