"""Rows of tables and chats as raw documents: which column holds the text, which turns are asked for, and dates as people write them."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.sources import Source
from timbre.corpus.web import is_page, read_html

TEXT_COLUMNS = (
    "text", "content", "body", "article", "story", "essay", "post", "document", "completion", "output", "response", "generation", "answer",
    "selftext", "message", "comment", "content_text", "full_text", "plain_text", "raw_content", "review", "review_text", "poem", "lyrics",
    "letter", "entry", "chapter", "passage", "paragraph", "narrative", "transcript", "prose", "chosen", "description", "body_text", "html",
    "content_html", "body_html",
)  # fmt: skip
"""Where a text is looked for if no column is named; the first that a row has counts."""
_DATE_COLUMNS = (
    "date", "created", "created_at", "published", "published_at", "pubdate", "timestamp", "time", "datetime", "created_utc",
    "creation_date", "date_published", "date_created", "publish_date", "post_date", "posted", "posted_at", "updated_at", "ts", "year",
)  # fmt: skip
_CHATS = ("messages", "conversations", "conversation", "turns", "chat", "chat_messages", "chosen", "output")
_ROLES = {"gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "human": "user", "prompter": "user"}
_NO_DATE = re.compile(r"(?:n/?a|none|null|nan|nat|unknown|undated|-|\?)?", re.IGNORECASE)
_SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})\b.*")
_MILLISECONDS = 4_102_444_800
_OLDEST, _NEWEST = 1000, 2100
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
        chats = [row[chat] for chat in _CHATS if _is_chat(row.get(chat)) and not isinstance(row.get("text"), str)]
        if chats or isinstance(row.get("mapping"), Mapping):
            return _turns(chats[0] if chats else _of_a_tree(row), source.role)
    by_name = _by_name(row)
    there = [by_name[_plain(name)] for name in names if _plain(name) in by_name]
    texts = [text for column in there if (text := _written(row[column])) is not None]
    if texts:
        return next((text for text in texts if text.strip()), texts[0])
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


def _written(value: Any) -> str | None:
    """The text of a cell: a string, or a list of paragraphs or of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n\n".join(value)
    if isinstance(value, list) and any(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value):
        return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in value if isinstance(part, str | Mapping))
    return None


def _is_chat(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(turn, Mapping) for turn in value)


def _turns(messages: Sequence[Any], role: str) -> str | Unread:
    found, roles = [], []
    for message in messages:
        if not isinstance(message, Mapping):
            continue
        named = message.get("role") or message.get("from") or message.get("author") or message.get("speaker") or message.get("sender") or ""
        who = str(named.get("role", "") if isinstance(named, Mapping) else named).lower()
        who = _ROLES.get(who, who)
        roles.append(who)
        if who == role.lower() and (said := _said(message.get("content", message.get("value", message.get("text"))))):
            found.append(said)
    if found:
        return "\n\n".join(found)
    return Unread(
        "", f"no turn of the role {role!r} in this chat; it has {', '.join(dict.fromkeys(roles)) or 'none'}: name one with --role"
    )


def _of_a_tree(row: Mapping[str, Any]) -> list[Any]:
    """The turns of an exported conversation whose messages stand in a tree: those of the branch that was shown last."""
    nodes = {name: node for name, node in row["mapping"].items() if isinstance(node, Mapping)}
    parents = {node.get("parent") for node in nodes.values()}
    place = (
        row.get("current_node")
        if row.get("current_node") in nodes
        else next((name for name in reversed(nodes) if name not in parents), None)
    )
    branch: list[Any] = []
    while place in nodes and len(branch) < len(nodes):
        branch.append(nodes[place].get("message"))
        place = nodes[place].get("parent")
    return branch[::-1]


def _inside(row: Mapping[str, Any], dotted: str) -> str | None:
    """The text at a path such as `data.text`."""
    value: Any = row
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def is_turn(value: Any) -> bool:
    """Whether that is one turn of a chat: somebody who says something."""
    return (
        isinstance(value, Mapping) and isinstance(value.get("role") or value.get("from"), str) and bool({"content", "value"} & value.keys())
    )


def _said(content: Any) -> str:
    """What a turn says: a string, a list of parts of which the text ones count, or an object with such parts."""
    if isinstance(content, Mapping):
        content = content.get("parts", content.get("text"))
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list | tuple):
        parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
        return "\n\n".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
    return ""


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
