"""Files of rows (JSON lines, JSON lists, CSV, TSV), read as people spread them.

With a byte order mark and Windows line ends where they have them; whatever is wrong is said with file and line.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class Spot:
    """A place in a file, for sentences about what is wrong there."""

    def __init__(self, path: Path, line: int | None = None) -> None:
        self._path, self._line = path, line

    def wrong(self, what: str) -> ValueError:
        """The error to raise."""
        return ValueError(f"{self._path.name}{f', line {self._line}' if self._line else ''}: {what}")


def text_of(path: Path) -> str:
    """The file's text, without byte order mark and with plain line ends.

    Raises:
        ValueError: no such file, not UTF-8, or empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): name a file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    if not text.strip():
        raise ValueError(f"{path.name} is empty")
    return text


def lines_of(path: Path) -> Iterator[tuple[Spot, str]]:
    """Lines that hold something, with their places."""
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if line.strip():
            yield Spot(path, number), line


def table_of(path: Path, needed: Sequence[str], delimiter: str = ",") -> Iterator[tuple[Spot, dict[str, str]]]:
    """Rows of a CSV or TSV file by the names of its header, stripped, with the line that each ends on.

    Raises:
        ValueError: a needed column is missing, a row has more or fewer cells than the header, or there are no rows.
    """
    stream = io.StringIO(text_of(path), newline="")
    if delimiter == "\t":  # quotation marks in such files are part of the text
        reader = csv.reader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(stream, delimiter=delimiter)
    header = [name.strip() for name in next(reader)]
    if missing := [name for name in needed if name not in header]:
        raise Spot(path, 1).wrong(f"the header lacks {', '.join(missing)}; it has {', '.join(header)}")
    found = False
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            spot, found = Spot(path, reader.line_num), True
            if len(cells) != len(header):
                raise spot.wrong(f"{len(cells)} cells where the header has {len(header)}")
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            if empty := [name for name in needed if not row[name]]:
                raise spot.wrong(f"{', '.join(empty)} is empty")
            yield spot, row
    except csv.Error as error:
        raise Spot(path, reader.line_num).wrong(f"not a table ({error})") from error
    if not found:
        raise ValueError(f"{path.name} has a header and no rows")


def objects_of(path: Path) -> Iterator[tuple[Spot, dict[str, Any]]]:
    """JSON objects: one a line, or a list of them in one file (then without a line).

    Raises:
        ValueError: not JSON, or something that is not an object.
    """
    text = text_of(path)
    if text.lstrip().startswith("["):
        values = [(Spot(path), value) for value in _json(text, Spot(path))]
    else:
        values = [(spot, _json(line, spot)) for spot, line in lines_of(path)]
    if not values:
        raise ValueError(f"{path.name} holds no items")
    for spot, value in values:
        if not isinstance(value, dict):
            raise spot.wrong("expected a JSON object")
        yield spot, value


def field(row: dict[str, Any], name: str, kind: type, spot: Spot) -> Any:
    """A field of a JSON object.

    Raises:
        ValueError: it is missing, of another kind, or an empty text.
    """
    value = row.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise spot.wrong(f"{name!r} is {'missing' if name not in row else repr(value)[:40]}, expected {kind.__name__}")
    if isinstance(value, str) and not value.strip():
        raise spot.wrong(f"{name!r} is empty")
    return value


def _json(text: str, spot: Spot) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise spot.wrong(f"not JSON ({error})") from error
