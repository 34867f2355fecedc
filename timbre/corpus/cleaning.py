"""From text as it was stored to paragraphs of prose: one paragraph a block, blocks divided by one empty line."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import regex as re

from timbre.corpus import layout
from timbre.corpus.books import without_frames
from timbre.corpus.characters import plain_characters
from timbre.corpus.frames import without_notices
from timbre.corpus.hyphens import GOES, MARKS, Words, cuts_closed, cuts_marked, plain_cuts
from timbre.corpus.running_heads import without_running_heads
from timbre.words import count_tokens, letter_share, sentence_spans, size

__all__ = ["chapters", "clean", "count_tokens", "is_prose", "sections", "sections_told", "words"]

_EMPHASIS = re.compile(r"(?<![\w_])_(?=\S)([^_\n]{1,300}?)(?<=\S)_(?![\w_])")
_LEADERS = re.compile(
    rf"^(?:[^\n]{{0,100}}\p{{L}}[-¬{GOES}]\n[ \t]*(?=\p{{Ll}}))?"
    r"[^\n]{1,100}?[ \t]?(?:[.·][ \t]?){4,}[ \t]*(?:\d{1,4}|[ivxlc]{1,6})[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)
"""A line of a table of contents, with the one above where that ends within a word of it."""
_QUOTED = re.compile(r"^>[ \t]?", re.MULTILINE)
_NUMBERED = re.compile(r"(\d{1,3})[.):]?[ \t]+\p{Lu}[^\n]{0,70}(?<![.!?;:,…\"”'])")
LINE_END = "\ufdd0"
"""Stands for a line end that is meant (U+2028, as readers give a verse's) while other lines are joined; a noncharacter."""
_MARKS = dict.fromkeys(map(ord, LINE_END + MARKS))
_MEANT = re.compile(rf"[ \t]*{LINE_END}+[ \t]*")
_ORNAMENT = re.compile(r"[^\p{L}\p{N}]*")
_HEADING = re.compile(
    r"(?:(?:chapter|part|book|section|canto|act|scene|letter|prologue|epilogue|preface|introduction|foreword|afterword|interlude"
    r"|kapitel|teil|buch|chapitre|partie|livre|cap[ií]tulo|parte|capitolo|libro|глава|часть|книга|rozdział|część|hoofdstuk|deel"
    r"|bölüm|kısım|κεφάλαιο|μέρος|פרק|חלק|فصل|الفصل|باب|الباب|بخش|अध्याय|भाग|खंड|அத்தியாயம்|chương|บทที่)\b.{0,80}"
    r"|第[\p{N}一二三四五六七八九十百千〇零]{1,6}[章節节回話话部編编].{0,40}|[IVXLC]{1,8}\.?|\d{1,3}\.?|#{1,6} .{1,100})",
    re.IGNORECASE,
)
_BARE = re.compile(r"[\p{L}\p{M}]+ *(?:[\p{N}IVXLC]+|[\p{L}\p{M}-]+)?[.:]?")
"""Of what `_HEADING` takes: the word for a chapter and its number, without a title."""
_HEADING_WORDS, _FEWEST_HEADINGS, _FEWEST_MARKED, _CHAPTER_WORDS = 12, 3, 2, 100


def clean(text: str, heading_pattern: str = "", known: Words | None = None) -> str:
    """NFC, no control or invisible characters, no book frames, heading or ornament lines, unwrapped and unhyphenated.

    Emphasis written as _this_ loses its underscores. Paragraphs are told as a reader tells them: by empty lines, by indents, or
    each on a line of its own. Lines are joined only where they were cut at a margin; lines of verse or of a list stay lines.

    Args:
        known: words of the texts that this one belongs to, by which those that line ends cut are told.
    """
    if not text.isascii() and any(mark in text for mark in LINE_END + MARKS):
        text = text.translate(_MARKS)
    text = without_running_heads(plain_cuts(text.replace("\u2028", LINE_END)), is_heading)
    text = without_notices(without_frames(plain_characters(text)))
    text = _LEADERS.sub("", _unquoted(text))
    if heading_pattern:
        text = re.sub(rf"\A\s*(?:{heading_pattern})[^\n]*\n?", "", text)
    text = _EMPHASIS.sub(r"\1", cuts_marked(text, known))
    text = "\n\n".join(paragraph for paragraph in layout.paragraphs(text) if not _ORNAMENT.fullmatch(paragraph))
    text = _EMPHASIS.sub(r"\1", cuts_closed(text)) if "_" in text else cuts_closed(text)  # what went over a line end too
    return _MEANT.sub("\n", text) if LINE_END in text else text


def _unquoted(text: str) -> str:
    """A text of which every line is quoted, as mail quotes, without the marks."""
    if ">" not in text:
        return text
    lines = [line for line in text.split("\n") if line.strip()]
    return _QUOTED.sub("", text) if sum(line.startswith(">") for line in lines) > 0.9 * len(lines) else text


def words(text: str) -> int:
    """How much text, in words; in scripts without spaces between words, in characters, as many as make a word."""
    return size(text)


def is_prose(text: str) -> bool:
    """Whether most of it is words: at least 70% of the characters that are not spaces are letters or marks on them."""
    return letter_share(text) >= 0.7


def sections(text: str, target_words: int = 400) -> list[str]:
    """Cut a text at paragraph boundaries into pieces of about `target_words`; a longer paragraph is cut between sentences.

    A remainder of less than half a section joins the one before it.
    """
    pieces: list[list[str]] = [[]]
    filled = 0
    for part in (part for paragraph in text.split("\n\n") for part in _parts(paragraph, target_words)):
        length = words(part)
        if filled >= target_words or (filled > target_words / 2 and filled + length > 1.5 * target_words):
            pieces.append([])
            filled = 0
        pieces[-1].append(part)
        filled += length
    if len(pieces) > 1 and filled < target_words / 2:
        pieces[-2].extend(pieces.pop())
    return ["\n\n".join(piece) for piece in pieces if piece]


def sections_told(text: str, target_words: int = 400, marked: Collection[str] = ()) -> tuple[list[str], int]:
    """Sections that begin anew at each heading of the text, and how many headings there were.

    A heading is a paragraph that the file calls so (`marked`), or one of its own that names a chapter, in the words of several
    languages, is a number, or stands in capitals; at least three (of marked ones two) make a text one with headings. Without them
    the whole is cut as `sections` does. The word for a chapter and its number stay out of the sections, a title begins its own.
    A chapter of less than 100 words is cut together with the one before it.
    """
    paragraphs = text.split("\n\n")
    numbered = _numbered(paragraphs)
    places = [
        place for place, paragraph in enumerate(paragraphs)
        if paragraph in marked or is_heading(paragraph) or _is_loud(paragraph) or place in numbered
    ]  # fmt: skip
    if len(places) < (_FEWEST_MARKED if any(paragraphs[place] in marked for place in places) else _FEWEST_HEADINGS):
        return sections(text, target_words), 0
    chapters_: list[str] = []
    for start, end in pairwise([0, *places, len(paragraphs)]):
        chapter = "\n\n".join(each for each in paragraphs[start:end] if not _goes(each, marked))
        if chapters_ and words(chapters_[-1]) < _CHAPTER_WORDS:
            chapters_[-1] = "\n\n".join(filter(None, (chapters_[-1], chapter)))
        else:
            chapters_.append(chapter)
    if len(chapters_) > 1 and words(chapters_[-1]) < _CHAPTER_WORDS:
        chapters_[-2:] = ["\n\n".join(filter(None, chapters_[-2:]))]
    return [section for chapter in chapters_ if chapter for section in sections(chapter, target_words)], len(places)


def _numbered(paragraphs: Sequence[str]) -> frozenset[int]:
    """Titles behind numbers that count up from one, each a paragraph of its own."""
    found: list[int] = []
    for place, paragraph in enumerate(paragraphs):
        if len(paragraph) <= 80 and (title := _NUMBERED.fullmatch(paragraph)) is not None and int(title[1]) == len(found) + 1:
            found.append(place)
    return frozenset(found if len(found) >= _FEWEST_HEADINGS else ())


def is_heading(paragraph: str) -> bool:
    """Whether a paragraph is a chapter's heading and nothing else."""
    return len(paragraph) <= 120 and "\n\n" not in paragraph and _HEADING.fullmatch(paragraph.replace("\n", " ").strip()) is not None


def _is_loud(paragraph: str) -> bool:
    """A few words in capitals, and no sentence."""
    return paragraph.isupper() and len(paragraph) > 3 and len(paragraph.split()) <= _HEADING_WORDS and paragraph[-1] not in ".!?…\"”'"


def _goes(paragraph: str, marked: Collection[str]) -> bool:
    """Whether a heading says nothing but which chapter it is; of one that only looks so, all goes."""
    return is_heading(paragraph) and (paragraph not in marked or paragraph.isnumeric() or _BARE.fullmatch(paragraph) is not None)


def chapters(text: str, pattern: str) -> list[str]:
    """Cut a text before each line that matches `pattern`; what comes before the first is a chapter if it is not empty."""
    starts = [match.start() for match in re.finditer(pattern, text, re.MULTILINE)]
    edges = [0, *starts, len(text)]
    cut = [text[start:end] for start, end in pairwise(edges)]
    return [chapter for chapter in cut if chapter.strip()]


def _parts(paragraph: str, target_words: int) -> list[str]:
    if words(paragraph) <= 2 * target_words:
        return [paragraph]
    parts: list[str] = [""]
    filled = 0
    for chunk in (chunk for sentence in sentence_spans(paragraph) for chunk in _chunks(sentence, target_words)):
        length = words(chunk)
        if filled + length > target_words and parts[-1]:
            parts.append("")
            filled = 0
        parts[-1] += chunk
        filled += length
    return [part.strip() for part in parts if part.strip()]


def _chunks(sentence: str, target_words: int) -> Sequence[str]:
    """A sentence; one longer than a section (a list, a text without stops) in pieces, cut at spaces or, without those, anywhere."""
    if words(sentence) <= target_words:
        return [sentence]
    tokens = re.findall(r"\S+\s*", sentence)
    if len(tokens) >= words(sentence) / 4:
        return ["".join(tokens[start : start + target_words]) for start in range(0, len(tokens), target_words)]
    return [sentence[start : start + target_words] for start in range(0, len(sentence), target_words)]
