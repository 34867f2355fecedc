"""Prose out of web pages that were saved with all that belongs to them (.mht) and of FictionBooks (.fb2)."""

import email
import email.policy
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from timbre.corpus.raw import Prose


def read_mht(data: bytes) -> Prose:
    """The prose of the page that a saved page holds: its first part in HTML, or else its first in plain text.

    Raises:
        ValueError: it holds no page.
    """
    from timbre.corpus.mail import part_text
    from timbre.corpus.web import read_html

    parts = [part for part in email.message_from_bytes(data, policy=email.policy.compat32).walk() if not part.is_multipart()]
    for kind in ("text/html", "application/xhtml+xml", "text/plain"):
        for part in parts:
            if part.get_content_type() == kind and (text := part_text(part)).strip():
                return Prose(text, len(text)) if kind == "text/plain" else read_html(text)
    raise ValueError("holds no web page; save it again as .html")


def read_fb2(data: bytes) -> Prose:
    """The body of a book with its titles; notes, comments, the description, and marks that lead to notes stay out.

    Raises:
        ValueError: not XML.
    """
    try:
        book = ElementTree.fromstring(data)  # nosec B314: expat bounds entities
    except ElementTree.ParseError as error:
        raise ValueError(f"not a whole FictionBook ({error}); fetch it again") from error
    bodies = [child for child in book if _tag(child) == "body" and child.get("name") not in ("notes", "comments", "footnotes")]
    blocks = [block for body in bodies for block in _blocks(body)]
    shown = sum(len("".join(child.itertext())) for child in book if _tag(child) == "body")
    return Prose("\n\n".join(text for text, _ in blocks), shown, tuple(text for text, heading in blocks if heading))


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _blocks(parent: Any) -> Iterator[tuple[str, bool]]:
    """Paragraphs, titles (marked so) and stanzas, in order."""
    for child in parent:
        match _tag(child):
            case "title" | "subtitle":
                yield from ((text, True) for text in [" ".join(" ".join(_inside(child)).split())] if text)
            case "p" | "text-author":
                yield from ((text, False) for text in [_line(child)] if text)
            case "stanza":
                yield from ((text, False) for text in ["\u2028".join(filter(None, map(_line, child)))] if text)
            case "table" | "image" | "empty-line" | "date":
                continue
            case _:
                yield from _blocks(child)


def _line(element: Any) -> str:
    return " ".join("".join(_inside(element)).split())


def _inside(element: Any) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if _tag(child) != "image" and not (
            _tag(child) == "a" and (child.get("type") == "note" or re.fullmatch(r"\W*\d+\W*", child.text or ""))
        ):
            yield from _inside(child)
        yield " " if _tag(child) == "p" else ""
        yield child.tail or ""
