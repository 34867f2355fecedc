"""Prose out of files that word processors and book makers write: .docx, .odt, .rtf, .pdf, .epub."""

import importlib.util
import io
import logging
import posixpath
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from timbre.corpus.kinds import PACKAGES
from timbre.corpus.manuscripts import read_docx, read_odt
from timbre.corpus.raw import Prose

_LARGEST = 256 << 20
"""Bytes of what a file unpacks to; a small archive must not fill the memory."""
_PAGE_NUMBER = re.compile(r"(?:page\s*)?[-–—\[(]?\s*(?:\d{1,4}|[ivxlc]{1,7})\s*[-–—\])]?(?:\s*(?:/|of)\s*\d{1,4})?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…:;。！？।؟]['\"”’»)\]]*$")


def needs_package(kind: str) -> str | None:
    """The sentence that says what is missing to read this kind of file; None if nothing is."""
    if kind not in PACKAGES or importlib.util.find_spec(PACKAGES[kind][0]) is not None:
        return None
    return f"reading .{kind} files needs the package {PACKAGES[kind][1]}: install it with `pip install 'timbre[documents]'`"


def read_office(path: Path, name: str, kind: str) -> Prose:
    """The prose of a file with its headings, paragraphs divided by an empty line, and how many characters of text it holds.

    Raises:
        ValueError: damaged, locked with a password, without text (a scan), or its reader is not installed.
    """
    if (missing := needs_package(kind)) is not None:
        raise ValueError(f"{name}: {missing}")
    if kind in ("docx", "odt", "epub"):
        _check_archive(path, name)
    reader: Callable[[Path], Prose] = {"docx": read_docx, "odt": read_odt, "rtf": _rtf, "pdf": _pdf, "epub": _epub}[kind]
    try:
        prose = reader(path)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    except Exception as error:  # of libraries that raise what the file makes them trip over
        raise ValueError(
            f"{name}: not a readable .{kind} file ({type(error).__name__}: {str(error)[:120]}); save it again, or as text"
        ) from error
    if not prose.text.strip():
        hint = "; if it is a scan, it holds pictures of text: have it recognised (OCR) first" if kind == "pdf" else ""
        raise ValueError(f"{name}: there is no text in it{hint}")
    return prose


def _check_archive(path: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{name}: not a whole file ({error}); save it again") from error
    if size > _LARGEST:
        raise ValueError(f"{name}: more than {_LARGEST >> 20} MiB once unpacked; cut it into several files")


def _rtf(path: Path) -> Prose:
    from striprtf import striprtf

    convert: Any = striprtf.rtf_to_text

    data = path.read_bytes()
    declared = re.search(rb"\\ansicpg(\d{3,5})", data[:2000])
    codec = f"cp{declared[1].decode()}" if declared else "cp1252"
    text = str(convert(data.decode("latin-1"), encoding=codec, errors="replace"))
    paragraphs = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    return Prose("\n\n".join(paragraph for paragraph in paragraphs if paragraph), len(text))


def _pdf(path: Path) -> Prose:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is locked with a password; save it without")
    pages = [(page.extract_text() or "").split("\n") for page in reader.pages]
    shown = sum(len(line) for page in pages for line in page)
    return Prose("\n\n".join(_joined_pages(_without_running_heads(pages))), shown)


def _without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Pages without page numbers, and without first and last lines that stand on more than a third of at least three pages."""
    plain = [[line.strip() for line in page if line.strip()] for page in pages]
    edges = Counter(line for page in plain for line in {re.sub(r"\d+", "#", line) for line in (*page[:2], *page[-2:])})
    often = {line for line, count in edges.items() if len(plain) >= 3 and count > len(plain) / 3}

    def is_furniture(line: str) -> bool:
        return _PAGE_NUMBER.fullmatch(line) is not None or re.sub(r"\d+", "#", line) in often

    for page in plain:
        for place in (0, 0, -1, -1):
            if page and is_furniture(page[place]):
                page.pop(place)
    return plain


def _joined_pages(pages: list[list[str]]) -> Iterator[str]:
    """Paragraphs: lines are joined until a line ends a sentence and is clearly shorter than the page is wide; pages break none."""
    lines = [line for page in pages for line in page]
    if not lines:
        return
    width = sorted(map(len, lines))[int(0.9 * (len(lines) - 1))]
    paragraph = ""
    for line in lines:
        paragraph = _joined(paragraph, line)
        if len(line) < 0.8 * width and _SENTENCE_END.search(line):
            yield paragraph
            paragraph = ""
    if paragraph:
        yield paragraph


def _joined(before: str, line: str) -> str:
    if not before:
        return line
    return before[:-1] + line if re.search(r"[a-zà-ÿ]-$", before) and line[0].islower() else f"{before} {line}"


def _epub(path: Path) -> Prose:
    """The chapters of the spine in its order; a book without a readable one gives its pages in the order of their names."""
    from timbre.corpus.encodings import decode
    from timbre.corpus.web import read_html

    with zipfile.ZipFile(path) as archive:
        pages = [read_html(decode(archive.read(name), name).text) for name in _spine(archive)]
    headings = tuple(heading for page in pages for heading in page.headings)
    return Prose("\n\n".join(page.text for page in pages if page.text.strip()), sum(page.shown for page in pages), headings)


def _spine(archive: zipfile.ZipFile) -> list[str]:
    names = archive.namelist()
    pages = sorted(name for name in names if name.lower().endswith((".xhtml", ".html", ".htm")))
    try:
        container = ElementTree.parse(io.BytesIO(archive.read("META-INF/container.xml")))  # nosec B314: expat bounds entities
        (root,) = [str(item.get("full-path")) for item in container.iter() if item.tag.endswith("rootfile")][:1]
        book = ElementTree.parse(io.BytesIO(archive.read(root)))  # nosec B314: likewise
    except (KeyError, ValueError, ElementTree.ParseError):
        return pages
    items = {item.get("id"): item for item in book.iter() if item.tag.endswith("}item")}
    folder, order = posixpath.dirname(root), []
    for entry in book.iter():
        item = items.get(entry.get("idref")) if entry.tag.endswith("}itemref") else None
        if item is None or entry.get("linear") == "no" or "nav" in (item.get("properties") or "").split():
            continue
        name = posixpath.normpath(posixpath.join(folder, unquote(str(item.get("href")))))
        if name in names:
            order.append(name)
    return order or pages
