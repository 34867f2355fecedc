"""From text as it was stored to paragraphs of prose: one paragraph a block, blocks divided by one empty line."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

_CONTROL = dict.fromkeys(code for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\n\t")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\ufffe"))
_BOOK_START = re.compile(r"^\*{3} ?START OF .{0,200}$", re.MULTILINE)
_BOOK_END = re.compile(r"^\*{3} ?END OF .{0,200}$", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<![\w_])_(?=\S)([^_\n]{1,300}?)(?<=\S)_(?![\w_])")
_HYPHENATED = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
_ORNAMENT = re.compile(r"[\W_]*")
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
SHORT_LINE, LONG_LINE = 40, 95


def clean(text: str, heading_pattern: str = "") -> str:
    """NFC, no control or invisible characters, no book licence, heading or ornament lines, unwrapped and unhyphenated.

    Emphasis written as _this_ loses its underscores. Lines are joined only where they were cut at a margin; lines of
    verse or of a list stay lines.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n"))
    text = text.translate(_CONTROL).translate(_INVISIBLE).replace("\u00a0", " ").replace("\f", "\n")
    text = _without_licence(text)
    if heading_pattern:
        text = re.sub(rf"\A\s*(?:{heading_pattern})[^\n]*\n?", "", text)
    text = _EMPHASIS.sub(r"\1", _HYPHENATED.sub("", text))
    blocks = [block for block in re.split(r"\n[ \t]*\n", text) if not _ORNAMENT.fullmatch(block)]
    wrapped = _is_wrapped(blocks)
    return "\n\n".join(paragraph for block in blocks if (paragraph := _paragraph(block, wrapped)))


def words(text: str) -> int:
    """How many words."""
    return len(_WORD.findall(text))


def count_tokens(text: str) -> int:
    """How many words and punctuation marks: a length that no tokenizer decides."""
    return len(_TOKEN.findall(text))


def is_prose(text: str) -> bool:
    """Whether most of it is words: at least 70% of the characters that are not spaces are letters."""
    marks = [character for character in text if not character.isspace()]
    return bool(marks) and sum(map(str.isalpha, marks)) >= 0.7 * len(marks)


def sections(text: str, target_words: int = 400) -> list[str]:
    """Cut a text at paragraph boundaries into pieces of about `target_words`; a longer paragraph is cut between sentences.

    A remainder of less than half a section joins the one before it.
    """
    pieces: list[list[str]] = [[]]
    size = 0
    for part in (part for paragraph in text.split("\n\n") for part in _parts(paragraph, target_words)):
        if size >= target_words:
            pieces.append([])
            size = 0
        pieces[-1].append(part)
        size += words(part)
    if len(pieces) > 1 and size < target_words / 2:
        pieces[-2].extend(pieces.pop())
    return ["\n\n".join(piece) for piece in pieces if piece]


def chapters(text: str, pattern: str) -> list[str]:
    """Cut a text before each line that matches `pattern`; what comes before the first is a chapter if it is not empty."""
    starts = [match.start() for match in re.finditer(pattern, text, re.MULTILINE)]
    edges = [0, *starts, len(text)]
    cut = [text[start:end] for start, end in pairwise(edges)]
    return [chapter for chapter in cut if chapter.strip()]


def _without_licence(text: str) -> str:
    if (start := _BOOK_START.search(text)) is not None:
        text = text[start.end() :]
    if (end := _BOOK_END.search(text)) is not None:
        text = text[: end.start()]
    return text


def _is_wrapped(blocks: Sequence[str]) -> bool:
    """Whether lines were cut at a margin: of the lines that another follows in the block, most are neither short nor long."""
    inner = [len(line.rstrip()) for block in blocks for line in block.split("\n")[:-1]]
    return bool(inner) and sum(SHORT_LINE <= length <= LONG_LINE for length in inner) >= 0.6 * len(inner)


def _paragraph(block: str, wrapped: bool) -> str:
    lines = [re.sub(r"[ \t\u2000-\u200a\u3000]+", " ", line).strip() for line in block.split("\n")]
    lines = [line for line in lines if line]
    if not wrapped or _is_verse(lines):
        return "\n".join(lines)
    return " ".join(lines)


def _is_verse(lines: Sequence[str]) -> bool:
    """Several lines, all short, most beginning with a capital: where they end is meant."""
    return len(lines) > 2 and max(map(len, lines)) < 55 and sum(line[0].isupper() for line in lines) >= 0.7 * len(lines)


def _parts(paragraph: str, target_words: int) -> list[str]:
    if words(paragraph) <= 2 * target_words:
        return [paragraph]
    parts: list[list[str]] = [[]]
    size = 0
    for sentence in re.split(r"(?<=[.!?])\s+", paragraph):
        tokens = sentence.split(" ")
        for chunk in (tokens[start : start + target_words] for start in range(0, len(tokens), target_words)):
            if size + len(chunk) > target_words and parts[-1]:
                parts.append([])
                size = 0
            parts[-1].append(" ".join(chunk))
            size += len(chunk)
    return [" ".join(part) for part in parts]
