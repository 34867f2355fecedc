"""Tables and chats as programs export them: odd columns, odd JSON, columns without a header."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from tests.intake.case import Case, prose

_TEXTS = [" ".join(prose(number)) for number in range(500, 506)]


def _table(header: list[str] | None, rows: list[list[Any]], delimiter: str = ",", **how: Any) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, **how)
    if header is not None:
        writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def tables() -> Iterator[Case]:
    """CSV that nobody wrote with a program in mind."""
    rows = [[number, text] for number, text in enumerate(_TEXTS)]
    broken = [[number, text.replace(". ", ".\n\n")] for number, text in enumerate(_TEXTS)]
    reviews = [[f"{text}<br /><br />And a second paragraph.", "good"] for text in _TEXTS]
    for name, data in (
        ("a column of an unknown name", _table(["id", "Beitrag", "ok"], [[*row, "ja"] for row in rows])),
        ("a name in two words", _table([" id ", " Full Text "], rows)),
        ("no header", _table(None, rows)),
        ("no header and one column", _table(None, [[text] for text in _TEXTS])),
        ("a first line that names the mark", "\ufeffsep=;\r\n" + _table(["id", "text"], rows, ";")),
        ("a comma in the head", _table(["id, number", "text"], rows, ";")),
        ("cells of several lines", _table(["id", "text"], broken, quoting=csv.QUOTE_ALL)),
        ("reviews with breaks", _table(["review", "sentiment"], reviews)),
        ("short rows", _table(["id", "text"], rows) + "7\n\n8,,,\n"),
    ):
        yield Case("rows", f"csv: {name}", {"rows.csv": data.encode()}, kept=6, absent=("<br",))
    yield Case("rows", "csv: utf-16 with tabs", {"rows.csv": _table(["id", "text"], rows, "\t").encode("utf-16")}, kept=6)


def objects() -> Iterator[Case]:
    """JSON in the forms of other programs."""
    texts = [{"text": text} for text in _TEXTS]
    numbers = list(range(6))
    values: dict[str, Any] = {
        "named objects": {f"d{number}": row for number, row in enumerate(texts)},
        "named texts": {f"d{number}": text for number, text in enumerate(_TEXTS)},
        "columns of objects": {
            "text": dict(zip(map(str, numbers), _TEXTS, strict=True)),
            "id": {str(number): number for number in numbers},
        },
        "columns of lists": {"text": _TEXTS, "id": numbers},
        "a list further down": {"data": {"items": texts}},
        "a header apart": {"columns": ["id", "text"], "index": numbers, "data": [list(row) for row in enumerate(_TEXTS)]},
        "posts": [{"tweet": {"full_text": text, "created_at": "Thu Mar 04 10:00:00 +0000 2021"}} for text in _TEXTS],
        "a site's posts": {
            "db": [{"data": {"posts": [{"html": f"<p>{text}</p>", "published_at": "2021-03-04T10:00:00Z"} for text in _TEXTS]}}]
        },
        "a journal": {"metadata": {"version": "1"}, "entries": [{"text": text, "creationDate": "2021-03-04T10:00:00Z"} for text in _TEXTS]},
        "parts of a text": [{"text": [text, {"type": "link", "text": " an inn"}, " by the sea."]} for text in _TEXTS],
        "chats of senders": [
            {"chat_messages": [{"sender": "human", "text": "W."}, {"sender": "assistant", "text": text}]} for text in _TEXTS
        ],
        "preferences": [{"prompt": "Write.", "chosen": text, "rejected": "Bad words stand in here."} for text in _TEXTS],
        "preferences as chats": [
            {"chosen": [{"role": "user", "content": "W."}, {"role": "assistant", "content": text}]} for text in _TEXTS
        ],
    }
    dated = ("posts", "a site's posts", "a journal")
    for name, value in values.items():
        date = "2021-03-04" if name in dated else None
        yield Case("rows", f"json: {name}", {"rows.json": json.dumps(value).encode()}, kept=6, date=date, absent=("<p>", "W.", "Bad"))
    yield Case("rows", "json: one behind the other", {"rows.json": "".join(map(json.dumps, texts)).encode()}, kept=6)
    pretty = "\n".join(json.dumps(row, indent=1) for row in texts)
    yield Case("rows", "jsonl: objects over several lines", {"rows.jsonl": pretty.encode()}, kept=6)
    yield Case("rows", "jsonl: named as text", {"rows.txt": "\n".join(map(json.dumps, texts)).encode()}, kept=6)
    pages = "\n".join(json.dumps({"content": f"{text} <em>And so</em> on.\n\n<blockquote>{text[5:60]}</blockquote>"}) for text in _TEXTS)
    yield Case("rows", "jsonl: pieces of pages", {"rows.jsonl": pages.encode()}, kept=6, absent=("<",), contains=("And so on.\n\n",))
