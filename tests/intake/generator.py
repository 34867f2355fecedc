"""All the cases of what users bring; those of editing are told apart, since they need a home to be added to."""

from collections.abc import Iterator

from tests.intake import conversations, dialects, exports, formats, markup, messengers, others, sheets, writing
from tests.intake.case import Case


def cases() -> Iterator[Case]:
    """Every case, by kind."""
    for make in (
        markup.html, markup.markdown, writing.scripts, writing.encodings, writing.structure, writing.boilerplate,
        formats.office, formats.rows, dialects.pages, dialects.notes, dialects.marked_up, exports.tables, exports.objects,
        messengers.chats, others.others, sheets.archives, sheets.remarks, sheets.scans, sheets.frames, sheets.verse,
        conversations.conversations, conversations.named, conversations.beside, conversations.tables, conversations.pages,
        conversations.notes, conversations.sheets,
    ):  # fmt: skip
        yield from make()
