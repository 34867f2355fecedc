"""What is said in subtitles (.srt, .vtt): the words, without numbers, times, names of speakers and sounds."""

import re
from collections.abc import Iterator

from timbre.corpus.raw import Prose

_TIMES = re.compile(
    r"^[ \t]*(?P<start>(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})[ \t]*-->[ \t]*(?P<end>(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}).*$", re.MULTILINE
)
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_SOUND = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|[♪♫#][^♪♫#\n]*[♪♫#]?|[♪♫]")
_SPEAKER = re.compile(r"^(?:>>+ ?|[-–—] ?)?(?:[A-Z][A-Z.'’ -]{1,30}:[ \t]*)?")
_CREDIT = re.compile(
    r"(?:subtitles?|captions?|subtitling|translat(?:ed|ion)|synced?|corrected|transcript) (?:by|from)\b.*|.*www\.\S+.*", re.IGNORECASE
)
_ENDED = re.compile(r"[.!?…。！？।؟][\"'”’»)\]]*$")
_PAUSE, _LONG_PAUSE = 1.5, 6.0
"""Seconds without speech that end a paragraph behind a sentence's end, and anywhere."""


def read_subtitles(text: str) -> Prose:
    """The spoken words in paragraphs; lines that automatic captions repeat while they roll stand once."""
    found, paragraph, before, ended = list[str](), "", list[str](), 0.0
    for start, end, lines in _cues(text.replace("\r\n", "\n").replace("\r", "\n")):
        new = [line for line in lines if line not in before]
        before = lines or before
        gap = start - ended
        ended = max(ended, end)
        if not new:
            continue
        if paragraph and (gap >= _LONG_PAUSE or (gap >= _PAUSE and _ENDED.search(paragraph))):
            found.append(paragraph)
            paragraph = ""
        paragraph = " ".join(filter(None, (paragraph, *new)))
    found += [paragraph] if paragraph else []
    return Prose("\n\n".join(found), sum(map(len, found)))


def _cues(text: str) -> Iterator[tuple[float, float, list[str]]]:
    """Start, end and lines of each cue."""
    marks = list(_TIMES.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        block = text[mark.end() : following.start() if following is not None else len(text)]
        said = re.split(r"\n[ \t]*\n", block.lstrip("\n"))[0] if block.strip() else ""
        lines = [line.strip() for line in said.split("\n")]
        if following is not None and len(lines) > 1 and lines[-1].isdigit():
            lines.pop()  # the next cue's number, where no empty line divides them
        yield _seconds(mark["start"]), _seconds(mark["end"]), [line for line in map(_spoken, lines) if line]


def _spoken(line: str) -> str:
    from html import unescape

    line = _SOUND.sub(" ", unescape(_TAG.sub("", line)))
    line = " ".join(_SPEAKER.sub("", line.strip()).split())
    return "" if _CREDIT.fullmatch(line) else line


def _seconds(time: str) -> float:
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total
