"""Rows of tables and chats as raw documents: which column holds the text, which turns are asked for, and dates as people write them."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from timbre.corpus.encodings import decode
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.sources import Source
from timbre.corpus.turns import holds_turns, said_by, turns_of, without_thought
from timbre.corpus.web import is_page, read_html

TEXT_COLUMNS = (
    "text", "content", "body", "article", "story", "essay", "post", "document", "completion", "output", "response", "generation", "answer",
    "selftext", "message", "comment", "content_text", "full_text", "plain_text", "raw_content", "review", "review_text", "poem", "lyrics",
    "letter", "entry", "chapter", "passage", "paragraph", "narrative", "transcript", "prose", "chosen", "description", "body_text", "html",
    "content_html", "body_html", "paragraphs", "lines", "sentences",
)  # fmt: skip
"""Where a text is looked for if no column is named; the first that a row has counts."""
_DATE_COLUMNS = (
    "date", "created", "created_at", "published", "published_at", "pubdate", "timestamp", "time", "datetime", "created_utc",
    "creation_date", "date_published", "date_created", "publish_date", "post_date", "posted", "posted_at", "updated_at", "ts", "year",
)  # fmt: skip
_INNER = ("rendered", "raw", "plain", "text", "value", "storage", "view", "html", "#text", "$t", "__cdata", "_")
"""Where an object that stands in a text's place holds it: WordPress, Confluence, XML as JSON."""
_NO_DATE = re.compile(r"(?:n/?a|none|null|nan|nat|unknown|undated|-|\?)?", re.IGNORECASE)
_SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})\b.*")
_MILLISECONDS = 4_102_444_800
_OLDEST, _NEWEST = 1000, 2100
_BETWEEN = {"lines": "\n", "sentences": " "}
_ONLY_WORDS = 5
"""A table's only column holds its texts, whatever it is called, where a row of it has as many words."""


def from_row(row: Mapping[str, Any], name: str, source: Source) -> RawDocument | Unread:
    """A row of a table or a chat as a document, or why it is none: no text, half a character, no author."""
    text = row_text(row, source)
    if not isinstance(text, str):
        return Unread(name, text.reason)
    if (half := lone_surrogate(text)) is not None:
        return Unread(name, half)
    shown: int | None = None
    headings: tuple[str, ...] = ()
    if "<" in text and is_page(text):
        prose = read_html(text)
        text, shown, headings = prose.text, prose.shown, prose.headings
    author = row.get(source.author_column) or source.author
    if not author:
        return Unread(name, f"no author in column {source.author_column!r}, and the source names none")
    return RawDocument(name, text, _encodable(str(author)), _row_date(row, source), characters=shown, headings=headings)


def row_text(row: Mapping[str, Any], source: Source) -> str | Unread:
    """The text of a row: of the column asked for, of the first known one, or of the turns of the role that is asked for."""
    if source.text_column and source.text_column != "text":
        names: Sequence[str] = (source.text_column,)
    else:
        names = TEXT_COLUMNS
    by_name = _by_name(row)
    if names is TEXT_COLUMNS and not isinstance(row.get("text"), str):
        cells = (row[by_name[_plain(name)]] for name in names if _plain(name) in by_name)
        if (turns := turns_of(row, source.role, beside_text=any(map(_is_text, cells)))) is not None:
            return said_by(turns, source.role)
    there = [by_name[_plain(name)] for name in names if _plain(name) in by_name]
    texts = [text for column in there if (text := _written(row[column], _BETWEEN.get(_plain(column), "\n\n"))) is not None]
    if texts:
        return without_thought(next((text for text in texts if text.strip()), texts[0]))
    (only,) = row.values() if len(row) == 1 else (None,)
    found = only if isinstance(only, str) and not there and source.text_column == "text" and len(only.split()) >= _ONLY_WORDS else None
    if (found := found or _inside(row, names[0])) is not None:
        return found
    if there:
        return Unread("", f"column {str(there[0])!r} holds no text ({_shown(row[there[0]])})")
    has = ", ".join(str(column)[:40] for column in row) or "nothing"
    return Unread("", f"no text in column {source.text_column!r}; it has {has}: name one with --text-column")


def has_text(row: Any, source: Source) -> bool:
    """Whether a row has a text in the column asked for or in one of the known ones, or is a chat."""
    if not isinstance(row, Mapping):
        return False
    text = row_text(row, source)
    return isinstance(text, str) or text.reason.startswith("no turn")


@lru_cache(4096)
def _plain(column: str) -> str:
    """A column's name as it is compared: small letters, without what divides words."""
    return re.sub(r"[\s_-]+", "", column).lower()


def _by_name(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a row by their names as they are compared."""
    return {_plain(str(column)): column for column in row}


def _written(value: Any, between: str = "\n\n", depth: int = 3) -> str | None:
    """The text of a cell: a string, bytes of one, a list of paragraphs, lines or parts, or an object that holds such."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        with suppress(ValueError):
            return decode(value, "", "").text
    if isinstance(value, list) and any(isinstance(part, str) or (isinstance(part, Mapping) and "text" in part) for part in value):
        strings = all(isinstance(part, str) for part in value)
        parts = (part if isinstance(part, str) else part.get("text") for part in value if isinstance(part, str | Mapping))
        return (between if strings else "").join(part for part in parts if isinstance(part, str))
    if isinstance(value, Mapping) and depth:
        inner = (_written(value[name], between, depth - 1) for name in _INNER if name in value)
        return next((text for text in inner if text is not None), None)
    return None


def _is_text(cell: Any) -> bool:
    """Whether a cell holds a text, and not a conversation."""
    if isinstance(cell, bytes):
        return bool(cell.strip())
    text = _written(cell)
    return text is not None and text.strip() != "" and not holds_turns(cell)


def _inside(row: Mapping[str, Any], dotted: str) -> str | None:
    """The text at a path such as `data.text`."""
    value: Any = row
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def _row_date(row: Mapping[str, Any], source: Source) -> str | None:
    names = (source.date_column,) if source.date_column != "date" else _DATE_COLUMNS
    by_name = _by_name(row)
    values = [row[by_name[_plain(name)]] for name in names if _plain(name) in by_name and row[by_name[_plain(name)]] not in (None, "")]
    return next((found for value in values if (found := loose_date(value)) is not None), None) or loose_date(source.date)


def loose_date(value: Any) -> str | None:
    """A date as ISO text (or year, or year and month) from a date, a time, seconds or milliseconds since 1970, or words.

    None where there is none, or where day and month cannot be told apart (3/4/2021 gives 2021): a date is never a reason to refuse
    a text.
    """
    if isinstance(value, datetime | date):
        found = value.date() if isinstance(value, datetime) else value
        return found.isoformat() if _OLDEST <= found.year <= _NEWEST else None
    text = str(value.isoformat() if hasattr(value, "isoformat") else value).strip()
    if value is None or isinstance(value, bool) or _NO_DATE.fullmatch(text):
        return None
    for form, reading in _FORMS:
        if form.fullmatch(text) is not None:
            return reading(text)
    return _words(text)


def _year(text: str) -> str | None:
    return text if _OLDEST <= int(text) <= _NEWEST else None


def _month(text: str) -> str | None:
    year, month = (int(part) for part in text.split("-"))
    return f"{year:04d}-{month:02d}" if 1 <= month <= 12 else None


def _since_1970(text: str) -> str | None:
    number = float(text)
    if re.fullmatch(r"(?:1[0-9]|20)\d{6}", f"{number:.0f}"):  # 20210304
        try:
            return datetime.strptime(f"{number:.0f}", "%Y%m%d").date().isoformat()
        except ValueError:
            return None
    while abs(number) >= _MILLISECONDS:
        number /= 1000
    try:
        return datetime.fromtimestamp(number, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return None


def _slashed(text: str) -> str | None:
    found = _SLASHED.fullmatch(text)
    assert found is not None
    first, second, year = (int(part) for part in found.groups())
    if first > 12 >= second:
        first, second = second, first
    elif first <= 12 and second <= 12 and first != second:
        return str(year)
    try:
        return date(year, first, second).isoformat()
    except ValueError:
        return None


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], str | None]], ...] = (
    (re.compile(r"\d{4}"), _year),
    (re.compile(r"-?\d{5,19}(?:\.\d+)?"), _since_1970),
    (re.compile(r"\d{4}-\d{1,2}"), _month),
    (_SLASHED, _slashed),
)


def _words(text: str) -> str | None:
    """Any other form, read twice on different days: what only the reading day supplied is not in the text."""
    from dateutil import parser

    try:
        one, other = (parser.parse(text, default=default) for default in (datetime(1111, 1, 1), datetime(1112, 2, 2)))
    except (ValueError, OverflowError, TypeError, parser.UnknownTimezoneWarning):
        return None
    if one.year != other.year or not _OLDEST <= one.year <= _NEWEST:
        return None
    if one.month != other.month:
        return f"{one.year:04d}"
    return one.date().isoformat() if one.day == other.day else f"{one.year:04d}-{one.month:02d}"


def lone_surrogate(text: str) -> str | None:
    """Why a text that holds half of a character pair cannot be taken; None of any other."""
    found = re.search(r"[\ud800-\udfff]", text)
    return None if found is None else f"half of a character pair (a lone surrogate) at character {found.start()}; write the text out anew"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _shown(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
