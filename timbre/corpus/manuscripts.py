"""Prose out of .docx and .odt: paragraphs and headings in their order, with inserted text and without deleted, notes and comments.

Both are walked in XML, since what libraries call a paragraph's text leaves out tracked insertions, content controls and boxes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.corpus.raw import Prose

_CELL_WORDS = 12
"""A table's cell or a text box of more words than these is prose; shorter ones are figures, labels, dates."""
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_UNSEEN = frozenset({"del", "moveFrom", "Fallback", "txbxContent", "pPr", "rPr", "rt", "sectPr", "tblPr", "trPr", "tcPr", "sdtPr"})
_SHOWN_AS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_HEADING_STYLES, _DROPPED_STYLES = (
    ("heading", "title", "subtitle"),
    ("toc", "caption", "header", "footer", "table of", "footnote", "endnote"),
)


@dataclass(frozen=True)
class _Piece:
    """A paragraph; `aside` says that it stands in a cell or a box, `words` how many words that holds."""

    text: str
    heading: bool = False
    aside: bool = False
    words: int = 0


def _prose(pieces: list[_Piece], more: int = 0) -> Prose:
    """Without short cells, and without boxes that repeat what the text says (pull quotes)."""
    body = "\n".join(piece.text for piece in pieces if not piece.aside)
    kept = [
        piece for piece in pieces if piece.text and not (piece.aside and (piece.words <= _CELL_WORDS or piece.text.strip('“”"') in body))
    ]
    headings = tuple(piece.text for piece in kept if piece.heading)
    return Prose("\n\n".join(piece.text for piece in kept), sum(len(piece.text) for piece in pieces) + more, headings)


def read_docx(path: Path) -> Prose:
    """The prose of a Word document; headers, footers, notes, captions and tables of contents are left out."""
    import docx

    document: Any = docx.Document(str(path))
    styles = {style.style_id: _kind(style) for style in document.styles if style.style_id}
    return _prose(list(_docx_pieces(document.element.body, styles)))


def _kind(style: Any) -> str:
    """Heading, dropped or plain, by a style's name or that of one it is based on."""
    seen = 0
    while style is not None and seen < 10:
        name = (getattr(style, "name", "") or "").lower()
        for kind, starts in (("dropped", _DROPPED_STYLES), ("heading", _HEADING_STYLES)):
            if name.startswith(starts):
                return kind
        style, seen = getattr(style, "base_style", None), seen + 1
    return "plain"


def _name(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _docx_pieces(parent: Any, styles: Mapping[str, str]) -> Iterator[_Piece]:
    for child in parent:
        name = _name(child)
        if name == "p":
            yield from _docx_paragraph(child, styles)
        elif name == "tbl":
            for cell in child.iter(f"{_W}tc"):
                if next(cell.iterancestors(f"{_W}tbl")) is child:
                    yield from _aside(cell, styles)
        elif name == "sdt" and "Table of Contents" in {gallery.get(f"{_W}val") for gallery in child.iter(f"{_W}docPartGallery")}:
            continue
        elif name in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag"):
            yield from _docx_pieces(child, styles)


def _aside(holder: Any, styles: Mapping[str, str]) -> Iterator[_Piece]:
    inside = list(_docx_pieces(holder, styles))
    words = sum(len(piece.text.split()) for piece in inside if not piece.aside)
    for piece in inside:
        yield piece if piece.aside else _Piece(piece.text, piece.heading, aside=True, words=words)


def _docx_paragraph(paragraph: Any, styles: Mapping[str, str]) -> Iterator[_Piece]:
    style = paragraph.find(f"{_W}pPr/{_W}pStyle")
    level = paragraph.find(f"{_W}pPr/{_W}outlineLvl")
    kind = "plain" if style is None else styles.get(style.get(f"{_W}val"), "plain")
    heading = kind == "heading" or (level is not None and (level.get(f"{_W}val") or "9") < "9")
    text = _tidy("".join(_docx_text(paragraph)))
    if kind != "dropped":
        yield _Piece(" ".join(text.split()) if heading else text, heading)
    for box in paragraph.iter(f"{_W}txbxContent"):
        if not any(_name(above) in ("Fallback", "txbxContent", "del") for above in box.iterancestors()):
            yield from _aside(box, styles)


def _docx_text(element: Any) -> Iterator[str]:
    for child in element:
        name = _name(child)
        if name in _UNSEEN or (name == "r" and child.find(f"{_W}rPr/{_W}vanish") is not None):
            continue
        if name == "t":
            yield child.text or ""
        elif name in _SHOWN_AS:
            yield "" if child.get(f"{_W}type") in ("page", "column") else _SHOWN_AS[name]
        else:
            yield from _docx_text(child)


def _tidy(text: str) -> str:
    return re.sub(r"[ \t]+", " ", re.sub(r"[ \t]*\n[ \t]*", "\n", text)).strip()


def read_odt(path: Path) -> Prose:
    """The prose of an OpenDocument text; notes, comments and tables of contents are left out."""
    from odfdo import Document

    body: Any = Document(str(path)).body
    left_out = ("text:tracked-changes", "text:note", "office:annotation", "text:table-of-content", "text:index-body", "draw:object")
    outside = "".join(f" and not(ancestor::{name})" for name in left_out)
    pieces = []
    for element in body.xpath(f".//*[(self::text:p or self::text:h){outside}]"):
        text, heading = _tidy(_odt_text(element)), element.tag == "text:h"
        holders = element.xpath("ancestor::table:table-cell | ancestor::draw:text-box")
        words = len(str(holders[-1].text_recursive).split()) if holders else 0
        pieces.append(_Piece(" ".join(text.split()) if heading else text, heading, aside=bool(holders), words=words))
    return _prose(pieces)


def _odt_text(element: Any) -> str:
    """A paragraph's text with its line breaks, without notes, comments, and the pictures and boxes that hang on it."""
    inside: Any = element.clone
    for other in inside.xpath(".//text:note|.//office:annotation|.//draw:frame|.//draw:custom-shape|.//text:ruby-text"):
        other.delete()
    return str(inside.text_recursive)
