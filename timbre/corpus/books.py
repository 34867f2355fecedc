"""What libraries and sites put around a book's text: licences, credits, notes of transcribers."""

import regex as re

_START = re.compile(
    r"^[ \t]*\*{3,} ?START (?:OF|THE) .{0,300}?(?:\*{3}|$)[^\n]*$|^.{0,40}\*END\*? ?THE SMALL PRINT!?.*$", re.MULTILINE | re.IGNORECASE
)
_WRAPPED_START = re.compile(r"^[ \t]*\*{3,} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,400}\*{3}[^\n]*$", re.MULTILINE | re.IGNORECASE)
_END = re.compile(
    r"^[ \t]*\*{3,} ?END OF .{0,300}$|^[ \t]*(?:\*{3} ?)?End of (?:the |this )?Project Gutenberg(?:'s|’s)? .{0,200}$"
    r"|^[ \t]*(?:\*{3} ?)?End of Project Gutenberg Etext.{0,200}$|^[ \t]*\*\*\*START: FULL LICENSE\*\*\*.*$",
    re.MULTILINE | re.IGNORECASE,
)
_HEAD = re.compile(
    r"\A\s*(?:\*{3}[^\n]*\n\s*)?(?:The )?Project Gutenberg(?:'s|’s)?(?: EBook| Etext| e-?text)?[^\n]{0,200}\n(?:[ \t]*\S[^\n]*\n){0,6}",
    re.IGNORECASE,
)
_CREDIT = re.compile(
    r"(?:(?:this )?(?:e-?text|e-?book)(?: was)? (?:produced|prepared|transcribed|scanned|created)"
    r"|(?:produced|prepared|transcribed|scanned|proofread) by"
    r"|transcribed from|html version by|credits?:|updated editions? will replace|most recently updated|release date:|character set encoding"
    r"|(?:the )?online distributed proofreading|file was produced from images|\[?(?:transcriber|editor)['’]s notes?:?"
    r"|\[illustration[^\]]*\]"
    r"|project gutenberg|www\.gutenberg\.|https?://(?:www\.)?(?:gutenberg|pgdp)\.)",
    re.IGNORECASE,
)
_ILLUSTRATION = re.compile(r"^[ \t]*\[(?:Illustration|Frontispiece|Decoration)\b[^\]]{0,500}\][ \t]*$", re.MULTILINE | re.IGNORECASE)
_NEAR, _LONGEST_CREDIT = 6, 700


def without_frames(text: str) -> str:
    """The text between the frames of Project Gutenberg, old (1993 on) and new, without credits next to them."""
    if not any(mark in text for mark in ("utenberg", "UTENBERG", "START OF", "SMALL PRINT")):
        return str(_ILLUSTRATION.sub("", text)) if "[" in text else text
    framed = False
    starts = [found.end() for found in (*_WRAPPED_START.finditer(text), *_START.finditer(text)) if found.start() < _start_within(text)]
    if starts:
        text, framed = text[max(starts) :], True
    if (end := _END.search(text)) is not None:
        text, framed = text[: end.start()], True
    if (head := _HEAD.match(text)) is not None:
        text, framed = text[head.end() :], True
    return str(_ILLUSTRATION.sub("", _without_credits(text) if framed else text))


def _start_within(text: str) -> int:
    """Where a frame's head may begin; a word of it further down is the author's."""
    return max(len(text) * 2 // 3, 40_000)


def _without_credits(text: str) -> str:
    """Without the paragraphs at either end that tell who made the file."""
    blocks = re.split(r"(\n[ \t]*\n)", text)
    real = [place for place in range(0, len(blocks), 2) if blocks[place].strip()]
    for place in (*real[:_NEAR], *real[-_NEAR:]):
        if len(blocks[place]) <= _LONGEST_CREDIT and _CREDIT.match(blocks[place].strip()):
            blocks[place] = ""
    return "".join(blocks)
