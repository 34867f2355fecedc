"""Paragraphs as a reader sees them, whatever says where they end: empty lines, indents, or the ends of lines themselves."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import regex as re

_BLANK = re.compile(r"\n[ \t\u2000-\u200a\u3000]*\n")
_SPACES = re.compile(r"[ \t\u2000-\u200a\u3000]+")
_WIDE = re.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}　、。，！？；：「」『』（）《》…—]")
_ENDS = re.compile(r"[.!?…:;。！？।॥؟۔:;][\"'”’»)\]」』]*$")
_ITEM = re.compile(r"(?:[-*•–—·]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S")
_INDENT = re.compile(r"[ \t\u3000]*")
_NARROWEST, _WIDEST, _VERSE_WIDTH, _LONG = 34, 140, 60, 100
_WRAPPED, _PROSE_LINE, _FEWEST_LINES, _SHORT = 0.6, 80, 8, 0.9


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text. Lines that were cut at a margin are joined; lines of verse or of a list stay lines.

    Where no empty line divides them, an indented line begins a paragraph; and where lines are of all lengths and end as sentences
    do (a word processor's export), each is one.
    """
    blocks = [_lines(block) for block in _BLANK.split(text)]
    blocks = [part for block in blocks for part in _at_wide_indents(block)]
    if (margin := _double_spaced(blocks)) is not None:
        blocks = list(_full_lines(blocks, margin))
    margin = _margin(blocks)
    a_line = margin is None and _is_paragraph_a_line(blocks)
    for block in blocks:
        if len(block) == 1:
            yield _tidy(block[0])
        elif a_line:
            yield from map(_tidy, block)
        elif margin is None:
            yield from _unwrapped(block)
        else:
            for part in _indented_parts(block, margin):
                yield _rejoined(part, margin)


def margin_of(text: str) -> int | None:
    """The width at which the lines of a text were cut, in characters; None where they were not."""
    return _margin([block for block in map(_lines, _BLANK.split(text)) if block])


def _lines(block: str) -> list[str]:
    return [line.rstrip() for line in block.split("\n") if line.strip()]


def _double_spaced(blocks: Sequence[Sequence[str]]) -> int | None:
    """The margin of a text that has an empty line behind each of its lines; None of any other."""
    if len(blocks) < _FEWEST_LINES or any(len(block) > 1 for block in blocks):
        return None
    lines = [block[0] for block in blocks]
    if (width := _margin([lines])) is None:
        return None
    full = sum(_is_full(line, following, width) for line, following in pairwise(lines))
    ended = sum(_ENDS.search(line) is not None for line in lines)
    return width if full > 0.7 * len(lines) and ended < 0.4 * len(lines) else None


def _full_lines(blocks: Sequence[Sequence[str]], width: int) -> Iterator[list[str]]:
    """Lines as paragraphs: one ends where the next line's first word would have fitted."""
    part: list[str] = []
    for (line,), following in zip(blocks, [*blocks[1:], [""]], strict=True):
        part.append(line)
        if not following[0].split() or not _is_full(line, following[0], width):
            yield part
            part = []


def _at_wide_indents(block: Sequence[str]) -> Iterator[list[str]]:
    """A block cut before each line that an ideographic space indents: where they are written, that begins a paragraph."""
    part: list[str] = []
    for line in block:
        if line.startswith("\u3000") and part:
            yield part
            part = []
        part.append(line)
    if part:
        yield part


def _tidy(line: str) -> str:
    return str(_SPACES.sub(" ", line)).strip()


def _margin(blocks: Sequence[Sequence[str]]) -> int | None:
    """The width at which lines were cut, or None: most lines that another follows could not have taken its first word."""
    inner = [(line, following) for block in blocks for line, following in pairwise(block)]
    if not inner:
        return None
    lengths = sorted(len(line) for line, _ in inner)
    width = lengths[min(len(lengths) - 1, int(0.95 * len(lengths)))]
    if not _NARROWEST <= width <= _WIDEST:
        return None
    sizes = [len(line) for block in blocks for line in block]
    if sum(size for size in sizes if size > 1.5 * width) > 0.5 * sum(sizes):
        return None  # most of it was cut nowhere: what line ends there are, are meant
    full = sum(_is_full(line, following, width) for line, following in inner)
    ragged = sum(0.55 * width <= len(line) <= width + 2 for line, _ in inner)
    if full < _WRAPPED * len(inner) and ragged < 0.75 * len(inner):
        return None
    verse = sum(_is_verse(block) for block in blocks if len(block) > 1)
    return None if verse > 0.8 * sum(len(block) > 1 for block in blocks) else width


def _is_full(line: str, following: str, width: int) -> bool:
    """Whether the next line's first word did not fit: a few columns are given, since margins of hand are ragged."""
    first = following.split(maxsplit=1)[0] if not _WIDE.match(following.strip()) else following.strip()[:1]
    return len(line) + 1 + len(first) > width - 4


def _is_paragraph_a_line(blocks: Sequence[Sequence[str]]) -> bool:
    """Lines of all lengths, long on the whole, most ending as sentences do."""
    lines = [line for block in blocks if len(block) > 1 for line in block]
    if len(lines) < 2:
        return False
    long = sum(len(line) for line in lines) / len(lines)
    return long >= _PROSE_LINE and sum(_ENDS.search(line.strip()) is not None for line in lines) >= 0.5 * len(lines)


def _unwrapped(block: Sequence[str]) -> Iterator[str]:
    """A block whose lines nobody cut: long lines are paragraphs, short ones (verse, a list, an address) stay together."""
    together: list[str] = []
    for line in block:
        if len(line) > _LONG:
            if together:
                yield "\n".join(together)
                together = []
            yield _tidy(line)
        else:
            together.append(_tidy(line))
    if together:
        yield "\n".join(together)


def _indented_parts(block: Sequence[str], margin: int) -> Iterator[Sequence[str]]:
    """A wrapped block cut before each line that is indented more than most; a block that is indented as a whole is one."""
    indents = [len(_INDENT.match(line)[0].expandtabs(4)) for line in block]
    usual = Counter(indents).most_common(1)[0][0]
    starts = [place for place, indent in enumerate(indents) if place and 0 < indent - usual <= 12]
    if not starts and indents[0] < usual:  # hanging: what begins a paragraph stands out, the rest is indented
        starts = [place for place, indent in enumerate(indents) if place and indent == indents[0]]
    if len(starts) > 0.6 * len(block) or _is_verse(block, margin):
        yield block
        return
    before = 0
    for place in (*starts, len(block)):
        if place > before:
            yield block[before:place]
        before = place


def _rejoined(block: Sequence[str], margin: int) -> str:
    """A paragraph of lines that were cut; verse, lists, and lines that end well before the margin without need stay lines."""
    lines = [_tidy(line) for line in block]
    if len(lines) == 1 or _is_verse(lines, margin) or _is_short(lines, margin):
        return "\n".join(lines)
    joined = lines[0]
    for before, line in pairwise(lines):
        if _ITEM.match(line) and (_ITEM.match(lines[0]) or len(before) < 0.8 * margin):
            joined += "\n" + line
        elif _WIDE.match(joined[-1]) and _WIDE.match(line):
            joined += line
        else:
            joined += " " + line
    return joined


def _is_short(lines: Sequence[str], margin: int) -> bool:
    """Lines that all end far from the margin, each with room for the next: an address, a date, names below each other."""
    return all(len(line) + 1 + len(following) < _SHORT * margin for line, following in pairwise(lines))


def _is_verse(lines: Sequence[str], margin: int | None = None) -> bool:
    """Several lines, all short, most beginning with a capital: where they end is meant, unless the margin left them no choice."""
    if margin is not None and all(_is_full(line, following, margin) for line, following in pairwise(lines)):
        return False
    bare = [line.strip() for line in lines]
    return (
        len(bare) > 2
        and max(map(len, bare)) < _VERSE_WIDTH
        and sum(line[0].isupper() or line[0] in "\"'“‘" for line in bare) >= 0.7 * len(bare)
    )
