"""What a file is: by its first bytes where they say it, else by the ending of its name."""

import re
import zipfile
from pathlib import Path, PurePosixPath

from timbre.corpus.chats import is_chat
from timbre.corpus.web import is_page

SUFFIXES = {
    ".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".rmd": "markdown", ".qmd": "markdown",
    ".mkd": "markdown", ".mdown": "markdown", ".html": "html", ".htm": "html", ".xhtml": "html",
    ".rst": "rst", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".eml": "mail", ".mbox": "mbox", ".docx": "docx", ".docm": "docx", ".epub": "epub", ".pdf": "pdf", ".odt": "odt", ".rtf": "rtf",
    ".fb2": "fb2", ".mht": "mht", ".mhtml": "mht", ".org": "org", ".tex": "tex", ".adoc": "asciidoc", ".asciidoc": "asciidoc",
    ".srt": "subtitles", ".vtt": "subtitles",
}  # fmt: skip
ROWS = frozenset({"jsonl", "json", "csv", "parquet", "mbox", "chat"})
"""Kinds of which one file holds many documents."""
PACKAGES = {"docx": ("docx", "python-docx"), "pdf": ("pypdf", "pypdf"), "odt": ("odfdo", "odfdo"), "rtf": ("striprtf", "striprtf")}
"""Kind → module and package that reads it; the extra `documents` has them all."""
_WAYS_OUT = {
    ".doc": "an old Word document: save it as .docx", ".dot": "an old Word document: save it as .docx",
    ".pages": "a Pages document: export it as .docx", ".wps": "a Works document: save it as .docx",
    ".wpd": "a WordPerfect document: save it as .docx", ".mobi": "a Kindle book: convert it to .epub",
    ".azw": "a Kindle book: convert it to .epub", ".azw3": "a Kindle book: convert it to .epub",
    ".lit": "an old e-book: convert it to .epub",
    ".djvu": "a scan: have it recognised (OCR) and save the text", ".xls": "a spreadsheet: save it as .csv",
    ".xlsx": "a spreadsheet: save it as .csv", ".ods": "a spreadsheet: save it as .csv", ".numbers": "a spreadsheet: export it as .csv",
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz2", ".txz"), "an archive: unpack it, and add the folder"),
    ".pst": "an Outlook archive: export it as .mbox", ".msg": "an Outlook message: save it as .eml",
}  # fmt: skip
"""Files of text that nothing here reads, and what to make of them."""
_POSTS = re.compile(r"(?:tweets?|community-tweet|note-tweet)(?:-part\d+)?\.js")
"""Files of a Twitter archive that hold what its owner wrote."""
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>])", re.IGNORECASE | re.DOTALL
)
_JSON = re.compile(rb"\s*(?:\[\s*)?\{\s*\"[^\"\n]{1,60}\"\s*:")
_MBOX = re.compile(rb"From \S+ +\S.{10,120}\d{4}\s*\r?\n[A-Za-z-]+:")
_MAIL = re.compile(
    rb"(?:(?:From|To|Cc|Subject|Date|Message-ID|Received|Return-Path|Reply-To|MIME-Version|Content-[\w-]+|X-[\w-]+):[ \t].*\r?\n"
    rb"(?:[ \t]+\S.*\r?\n)*){3,}\r?\n",
    re.IGNORECASE,
)
"""Three lines of a message's head, and an empty one."""
_OLD_WORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SUBTITLES = re.compile(rb"(?:WEBVTT|\d+[ \t]*\r?\n)[^\0]{0,200}?\d\d:\d\d[.,]\d{3}[ \t]*-->")
_HEAD = 4096
_MARKUP = frozenset({"markdown", "rst"})


def known_suffix(name: str) -> bool:
    """Whether a file's ending is one that a reader takes."""
    return _named(name.lower().removesuffix(".gz")) is not None


def way_out(name: str) -> str | None:
    """What a file is that holds text which nothing here reads, and what to make of it; None of any other."""
    return _WAYS_OUT.get(PurePosixPath(name.lower().removesuffix(".gz")).suffix)


def _named(name: str) -> str | None:
    path = PurePosixPath(name)
    return "json" if _POSTS.fullmatch(path.name) is not None else SUFFIXES.get(path.suffix)


def kind_of(path: Path, name: str) -> str:
    """The kind of a file: a key of the readers.

    Rich Text, PDF, EPUB, Word, OpenDocument, Parquet and HTML are known by their content, whatever the name says; all else by its
    ending.

    Raises:
        ValueError: neither tells; or it is an old Word file, which nothing here reads.
    """
    named = _named(name.lower())
    with path.open("rb") as file:
        head = file.read(_HEAD)
    found = _by_content(path, head.removeprefix(b"\xef\xbb\xbf"), named)
    if found == "old word":
        raise ValueError(f"{name}: {way_out(name) or _WAYS_OUT['.doc']}")
    if found is None and named is None and (told := way_out(name)) is not None:
        raise ValueError(f"{name}: {told}")
    if found is None and named is None:
        raise ValueError(f"{name}: unknown format; known are {', '.join(SUFFIXES)}")
    return found or named or ""


def _by_content(path: Path, head: bytes, named: str | None) -> str | None:
    for mark, kind in ((b"{\\rtf", "rtf"), (b"PAR1", "parquet"), (b"%PDF-", "pdf"), (_OLD_WORD, "old word")):
        if head.lstrip().startswith(mark):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path, named)
    if named in ("text", *_MARKUP, "mail", "docx", "odt", "rtf", None) and _HTML.match(_plain(head)):
        return "html"
    if named in ("text", "mail") and _MBOX.match(head) and (named == "text" or b"\nFrom " in path.read_bytes()):
        return "mbox"
    return _of_text(head) if named == "text" else None


def _of_text(head: bytes) -> str | None:
    """What else than plain text a file is that is named so."""
    if b"<" in head and is_page(_plain(head).decode("utf-8", "replace")):
        return "html"
    if _JSON.match(head):
        return "jsonl"
    if is_chat(head.decode("utf-8", "replace") if head[:2] not in (b"\xff\xfe", b"\xfe\xff") else head.decode("utf-16", "replace")):
        return "chat"
    if _SUBTITLES.match(head):
        return "subtitles"
    if b"<FictionBook" in head:
        return "fb2"
    return "mail" if _MAIL.match(head) else None


def _plain(head: bytes) -> bytes:
    """The ASCII of a head that may be UTF-16."""
    return head.replace(b"\0", b"").lstrip(b"\xff\xfe") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else head


def _zipped(path: Path, named: str | None) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            kind = archive.read("mimetype")[:80] if "mimetype" in names else b""
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return named
    if b"epub" in kind or "META-INF/container.xml" in names:
        return "epub"
    if b"opendocument.text" in kind:
        return "odt"
    return "docx" if "word/document.xml" in names else named
