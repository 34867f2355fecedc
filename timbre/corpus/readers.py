"""From a file of any known kind to raw documents: text, and what the file says about author and date.

One bad row or file is told with its name and reason (`Unread`); it never refuses the rest.
"""

import gzip
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from timbre.corpus.archives import without_replies
from timbre.corpus.chats import chat_documents, messages_of_text
from timbre.corpus.cleaning import chapters
from timbre.corpus.encodings import Decoded, decode
from timbre.corpus.kinds import kind_of
from timbre.corpus.raw import Prose, RawDocument, Unread
from timbre.corpus.remarks import without_remarks
from timbre.corpus.rows import from_row, loose_date
from timbre.corpus.sources import Source
from timbre.corpus.tables import read_csv, read_json, read_jsonl, read_parquet

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
    text = without_remarks(without_replies(found.text.replace("\r\n", "\n")))
    yield replace(_described(name, text, source), encoding=found.encoding)


def _html(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.archives import message_of_page
    from timbre.corpus.mail import written_part
    from timbre.corpus.web import read_html

    found = _decoded(path, name, source)
    if (message := message_of_page(found.text)) is not None:
        text, sent = message
        yield replace(_described(name, written_part(text), source, loose_date(sent)), characters=len(text), encoding=found.encoding)
        return
    yield replace(_prose(name, read_html(found.text), source), encoding=found.encoding)


def _markdown(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.markdown import read_markdown

    found = _decoded(path, name, source)
    prose, matter = read_markdown(without_remarks(found.text.replace("\r\n", "\n")))
    yield replace(_prose(name, prose, source, matter.get("date")), encoding=found.encoding)


def _rst(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.rst import read_rst

    found = _decoded(path, name, source)
    yield replace(_prose(name, read_rst(found.text), source), encoding=found.encoding)


def _outline(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.markdown import read_markdown
    from timbre.corpus.outlines import asciidoc_as_markdown, date_of, org_as_markdown

    found = _decoded(path, name, source)
    as_markdown = org_as_markdown if name.lower().endswith(".org") else asciidoc_as_markdown
    prose, _ = read_markdown(as_markdown(found.text))
    yield replace(_prose(name, prose, source, loose_date(date_of(found.text))), encoding=found.encoding)


def _marked_up(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.subtitles import read_subtitles
    from timbre.corpus.tex import read_tex

    found = _decoded(path, name, source)
    read = read_tex if name.lower().endswith(".tex") else read_subtitles
    yield replace(_prose(name, read(found.text), source), encoding=found.encoding)


def _packed(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.packed import read_fb2, read_mht

    read = read_mht if name.lower().endswith((".mht", ".mhtml")) else read_fb2
    yield _prose(name, read(path.read_bytes()), source)


def _chat(path: Path, name: str, source: Source) -> Read:
    yield from chat_documents(messages_of_text(_decoded(path, name, source).text), name, source)


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


def _message(data: bytes, name: str, source: Source) -> RawDocument | Unread:
    """A message; where the source's role is a name or an address and no part in a chat, only if they sent it."""
    from timbre.corpus.mail import read_mail
    from timbre.corpus.turns import KNOWN_ROLES

    message = read_mail(data, salt=source.sha256 or source.name)
    if source.role not in KNOWN_ROLES and not message.is_from(source.role):
        return Unread(name, "sent by somebody else than --role names")
    text = "" if any(sender in message.sender for sender in source.skip_senders) else message.text
    return RawDocument(name, text, message.author, message.date or loose_date(source.date), message.names)


def _brown(path: Path, name: str, source: Source) -> Read:
    from timbre.corpus.tagged import detokenise

    yield _described(name, detokenise(read_text(path, name, source.encoding)), source)


_READERS: dict[str, Callable[[Path, str, Source], Read]] = {
    "text": _plain, "markdown": _markdown, "html": _html, "rst": _rst, "jsonl": read_jsonl, "json": read_json, "csv": read_csv,
    "parquet": read_parquet,
    "mail": _mail, "mbox": _mbox, "brown": _brown, "docx": _office("docx"), "odt": _office("odt"), "rtf": _office("rtf"),
    "pdf": _office("pdf"), "epub": _office("epub"),
    "org": _outline, "asciidoc": _outline, "tex": _marked_up, "subtitles": _marked_up, "fb2": _packed, "mht": _packed, "chat": _chat,
}  # fmt: skip
