"""Files of many texts: JSON in the forms that programs write, lines of it, CSV and Parquet; a row is a document, or told as unread."""

import contextlib
import csv
import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from timbre.corpus.chats import chat_documents, messages_of_json
from timbre.corpus.encodings import decode
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.rows import from_row, has_text
from timbre.corpus.sources import Source
from timbre.corpus.turns import is_turn
from timbre.words import count_words

_LARGEST_CELL = 256 << 20
_LOOKED_AT = 50
"""Rows that tell which column holds the text where none has a known name, and which mark divides the cells."""
_TEXT_WORDS, _TEXT_SHARE = 10, 3
"""A column of so many words on average, and so many times as many as any other, is the one of the texts."""
_DEPTH = 4
_ASSIGNED = re.compile(r"\A\s*window\.[\w.]+[ \t]*=[ \t]*(?=[\[{])")
"""What a Twitter archive writes before its JSON."""
_SEPARATOR = re.compile(r"sep=(.)[ \t]*\r?\n", re.IGNORECASE)
_OVER_LINES = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[|\{[ \t\r]*\n)")
"""A list, or an object that does not end on its line."""
_LONGEST_NUMBER = 4000
"""Digits; Python makes no number of more than 4300, and none of them is a text or a date."""
_JSON = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _LONGEST_NUMBER else digits)
Read = Iterator[RawDocument | Unread]
Rows = Iterable[tuple[str, Any]]


def read_jsonl(path: Path, name: str, source: Source) -> Read:
    """The documents of such a file; a row without a text is told as unread."""
    yield from documents_of(rows_of_jsonl(path, name, source), source)


def rows_of_jsonl(path: Path, name: str, source: Source) -> Rows:
    """(place, value) a line at a time, since such files grow large; a line that is no JSON is an `Unread`.

    A file that is UTF-16, a list, or objects over several lines is read whole.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if source.encoding or b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")) or _OVER_LINES.match(head):
        text = decode(path.read_bytes(), name, source.encoding).text
        if (values := _values(text)) is not None:
            yield from _numbered(name, _rows(values, source))
            return
        lines = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
        yield from ((f"{name}:{number}", _line(line.strip())) for number, line in lines if line.strip())
        return
    with path.open("rb") as file:
        yield from ((f"{name}:{number}", _decoded_line(data)) for number, data in enumerate(file, start=1) if data.strip())


def _decoded_line(data: bytes) -> Any:
    try:
        return _line(decode(data.strip(), "", "").text)
    except ValueError as error:
        return Unread("", str(error).removeprefix(": "))


def _line(line: str) -> Any:
    for text in (line, line.rstrip(", ")):  # a comma between lines is a list that lost its brackets
        try:
            return _JSON.decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = f"not JSON ({error})"
    return Unread("", reason)


def _values(text: str) -> list[Any] | None:
    """The JSON values that a text is made of, one behind the other; None where something else stands in it."""
    values, place = list[Any](), 0
    text = text.strip()
    while place < len(text):
        try:
            value, place = _JSON.raw_decode(text, place)
        except (ValueError, RecursionError):
            return None
        values.append(value)
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
    return values


def _whole_of_list(text: str) -> list[Any]:
    """The objects and texts of a list that breaks off, or breaks, up to there."""
    found, place = list[Any](), len(text) - len(text.lstrip()) + 1
    if text.lstrip()[:1] != "[":
        return found
    with contextlib.suppress(ValueError, RecursionError):
        while True:
            while place < len(text) and text[place] in " \t\r\n,":
                place += 1
            value, place = _JSON.raw_decode(text, place)
            found.append(value)
    return found


def read_json(path: Path, name: str, source: Source) -> Read:
    """A list of objects or texts, wherever in the file it stands; columns of values; named objects or texts; or one object with a text."""
    text = _ASSIGNED.sub("", decode(path.read_bytes(), name, source.encoding).text)
    if (values := _values(text)) is None:
        if "\n" in text.strip() and text.lstrip()[:1] == "{":
            yield from read_jsonl(path, name, source)
            return
        try:
            _JSON.decode(text)
        except (ValueError, RecursionError) as error:
            if not (whole := _whole_of_list(text)):
                raise ValueError(f"not JSON ({error})") from error
            yield from documents_of(_numbered(name, [*whole, Unread("", f"not JSON from here on ({error})")]), source)
            return
        raise ValueError("not JSON")
    if len(values) == 1 and (messages := messages_of_json(values[0])) is not None:
        yield from chat_documents(messages, name, source)
        return
    yield from documents_of(_numbered(name, _rows(values, source)), source)


def _numbered(name: str, rows: Iterable[Any]) -> Rows:
    return ((f"{name}:{number}", row) for number, row in enumerate(rows, start=1))


def _rows(values: Sequence[Any], source: Source) -> Sequence[Any]:
    """The rows of the values that a file holds."""
    found = values if len(values) != 1 else _inner(values[0], source, _DEPTH) or values
    return [found] if found and all(map(is_turn, found)) else found  # the file is one chat


def _inner(value: Any, source: Source, depth: int) -> list[Any]:
    """The longest list of rows in a value; empty where there is none."""
    if not isinstance(value, Mapping):
        return _of_list(value, source, depth) if isinstance(value, list) else []
    if (table := _transposed(value, source)) is not None:
        return table
    inner = list(value.values())
    if has_text(value, source):
        lists = [items for items in inner if isinstance(items, list) and items and isinstance(items[0], Mapping)]
        longest: list[Any] = max(lists, key=len, default=[])
        return [value] if all(map(is_turn, longest)) else longest
    if len(inner) > 1 and all(isinstance(each, str) for each in inner):
        return [{"text": each} for each in inner] if sum(map(count_words, inner)) >= _TEXT_WORDS * len(inner) else []
    if inner and all(isinstance(each, Mapping) for each in inner) and any(has_text(each, source) for each in inner):
        return inner
    deeper = [_inner(each, source, depth - 1) for each in inner if depth and isinstance(each, list | Mapping)]
    return max(deeper, key=len, default=[])


def _of_list(value: list[Any], source: Source, depth: int) -> list[Any]:
    """The list itself, unless none of its rows has a text and one of them holds a longer list."""
    rows = [row for row in value if isinstance(row, Mapping | str)]
    if not depth or any(isinstance(row, str) or has_text(row, source) for row in rows):
        return value
    deeper = [inner for row in rows if len(inner := _inner(row, source, depth - 1)) > len(rows)]
    return max(deeper, key=len, default=value)


def _transposed(value: Mapping[str, Any], source: Source) -> list[Any] | None:
    """The rows of a table that is written by columns, as lists or as objects, or with its header apart; None if it is no such."""
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, columns), row, strict=False)) for row in data]
    inner = list(value.values())
    if inner and all(isinstance(each, Mapping) for each in inner):
        first = {key: next(iter(each.values()), None) for key, each in value.items()}
        if any(isinstance(each, str) for each in first.values()) and has_text(first, source):
            return [{key: each.get(place) for key, each in value.items()} for place in inner[0]]
    lists = {key: each for key, each in value.items() if isinstance(each, list) and each and not isinstance(each[0], Mapping)}
    if lists and len({len(each) for each in lists.values()}) == 1 and has_text({key: each[0] for key, each in lists.items()}, source):
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return None


def read_csv(path: Path, name: str, source: Source) -> Read:
    """Rows of a table with or without a header, whatever divides its cells."""
    text = decode(path.read_bytes(), name, source.encoding).text.replace("\0", "")
    csv.field_size_limit(_LARGEST_CELL)
    told = _SEPARATOR.match(text)
    text = text if told is None else text[told.end() :]
    yield from documents_of(_cells(text, told[1] if told else _delimiter(text, name), name, skipped=told is not None), source)


def _is_unquoted(text: str, delimiter: str) -> bool:
    """Whether quotes stand for themselves: taken as quotes they would swallow ends of lines, and without them every line has its cells."""
    if '"' not in text or delimiter == ",":
        return False
    lines = [line for line in text.splitlines() if line]
    wide = lines[0].count(delimiter)
    if not wide or any(line.count(delimiter) != wide for line in lines):
        return False
    try:
        return any("\n" in cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row)
    except csv.Error:
        return True


def _cells(text: str, delimiter: str, name: str, *, skipped: bool) -> Rows:
    lines = io.StringIO(text, newline="")
    unquoted = _is_unquoted(text, delimiter)
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE) if unquoted else csv.reader(lines, delimiter=delimiter)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield f"{name}:{reader.line_num + skipped}", Unread("", f"not a row of CSV ({error})")
            continue
        if cells is None:
            return
        if header is None:
            header = [cell.strip() for cell in cells]
            if max(map(count_words, header), default=0) < _TEXT_WORDS:
                continue
            header = [f"column {number}" for number in range(1, len(cells) + 1)]  # the first row is a text already
        if any(cell.strip() for cell in cells):
            yield f"{name}:{reader.line_num + skipped}", dict(zip(header, cells, strict=False))


def _delimiter(text: str, name: str) -> str:
    """The mark by which most rows have as many cells as the first, and the most."""

    def fit(mark: str) -> tuple[float, int, bool]:
        try:
            rows = [row for row in islice(csv.reader(io.StringIO(text[:200_000], newline=""), delimiter=mark), _LOOKED_AT) if row]
        except csv.Error:
            rows = []
        width = len(rows[0]) if rows else 0
        alike = sum(len(row) == width for row in rows) / max(1, len(rows)) if width > 1 else 0.0
        return round(alike, 1), width, mark == ("\t" if name.lower().endswith(".tsv") else ",")

    return max("\t,;|", key=fit)


def read_parquet(path: Path, name: str, source: Source) -> Read:
    """Rows of a Parquet file, some at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def rows() -> Iterator[Any]:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=256):  # else it is held whole
            yield from batch.to_pylist()

    try:
        yield from documents_of(_numbered(name, rows()), source)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a readable Parquet file ({error})") from error


def documents_of(rows: Rows, source: Source) -> Read:
    """Rows as documents; where no column has a known name, the one that holds the texts is found among the first rows."""
    waiting = ((place, _unwrapped(row, source)) for place, row in rows)
    first = list(islice(waiting, _LOOKED_AT))
    if source.text_column in ("", "text") and (column := _column(first, source)):
        name = first[0][0].rpartition(":")[0]
        warnings.warn(f"{name}: the texts are read from column {column!r}; name another with --text-column", stacklevel=2)
        source = source.model_copy(update={"text_column": column})
    _tell_missing_columns(first, source)
    for place, row in chain(first, waiting):
        yield _document(row, place, source)


def _tell_missing_columns(rows: Sequence[tuple[str, Any]], source: Source) -> None:
    """Warn of columns that were asked for and that none of the first rows has: author and date are then those of the source."""
    tables = [row for _, row in rows if isinstance(row, Mapping)]
    there = list(dict.fromkeys(str(name) for row in tables for name in row))
    alike = {name.casefold() for name in there}
    asked = (("author", source.author_column, "author", source.author_column in there),  # an author's column is looked for as it is written
             ("date", source.date_column, "date", source.date_column.casefold() in alike))  # fmt: skip
    for option, column, usual, known in asked:
        if column != usual and tables and not known:
            names = ", ".join(there)[:120]
            warnings.warn(f"{rows[0][0].rpartition(':')[0]} has no column {column!r} for --{option}-column; it has {names}", stacklevel=3)


def _unwrapped(row: Any, source: Source) -> Any:
    """A row that is an object in an object ({"tweet": {…}}) is the inner one."""
    while (
        isinstance(row, Mapping) and len(row) == 1 and isinstance(inner := next(iter(row.values())), Mapping) and not has_text(row, source)
    ):
        row = inner
    return row


def _column(rows: Sequence[tuple[str, Any]], source: Source) -> str:
    tables = [row for _, row in rows if isinstance(row, Mapping)]
    if not tables or any(has_text(row, source) for row in tables):
        return ""
    lengths: dict[str, float] = {}
    for row in tables:
        for column, value in row.items():
            if isinstance(column, str) and isinstance(value, str):
                lengths[column] = lengths.get(column, 0.0) + count_words(value) / len(tables)
    best, *others = sorted(lengths, key=lambda column: -lengths[column]) or [""]
    clear = lengths.get(best, 0.0) >= max(_TEXT_WORDS, *(_TEXT_SHARE * lengths[other] for other in others[:1]), 0.0)
    return best if clear else ""


def _document(row: Any, name: str, source: Source) -> RawDocument | Unread:
    if isinstance(row, Unread):
        return replace(row, name=name)
    if isinstance(row, str):
        row = {"text": row}
    elif isinstance(row, list) and row and all(map(is_turn, row)):
        row = {"messages": row}
    if not isinstance(row, Mapping):
        return Unread(name, f"not an object with a {source.text_column!r}")
    if str(row.get("full_text", "")).startswith("RT @"):  # as archives of Twitter have it, and no other table
        return Unread(name, "a retweet: somebody else's words")
    found = from_row(row, name, source)
    return replace(found, name=name) if isinstance(found, Unread) else found
