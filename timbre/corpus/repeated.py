"""Lines that stand at the top or the end of many documents of a source: menus, sign-offs, subscription notices."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from timbre.corpus.layout import margin_of

_EDGE = 12
"""Lines of either end that are looked at."""
_COUNTERS = 1 << 15
_FEWEST, _TOLD_SHARE, _SHORT = 5, 0.1, 80
_MOST_OF_A_TEXT = 0.7
"""Where repeated lines are more than this share of a text, it is a copy of others, and for duplicates to find."""


@dataclass(frozen=True)
class RepeatedLine:
    """A line, the share of the source's documents in which it stands, and whether it is removed."""

    line: str
    documents: int
    share: float
    removed: bool


class LineCounter:
    """Counts the outer lines of documents in bounded memory (Misra and Gries 1982): exact up to 32,768 different ones.

    Beyond that a count is short by at most one in 32,768 of the lines seen. Digits do not tell short lines apart, so that a page
    number hides no footer. Copies of one document count once.
    """

    def __init__(self) -> None:
        self.documents = 0
        self._counts: dict[int, int] = {}
        self._shown: dict[int, str] = {}
        self._texts: set[int] = set()

    def add(self, text: str) -> None:
        """Count a document's lines."""
        digest = _digest(text)
        if digest in self._texts:
            return
        if len(self._texts) < 4 * _COUNTERS:
            self._texts.add(digest)
        self.documents += 1
        for place, line in {_key(line): line for line in _edges(text)}.items():
            self._counts[place] = self._counts.get(place, 0) + 1
            if self._counts[place] == 2:
                self._shown[place] = line[:300]
        if len(self._counts) > _COUNTERS:
            least = sorted(self._counts.values())[len(self._counts) - _COUNTERS]
            self._counts = {place: count - least for place, count in self._counts.items() if count > least}
            self._shown = {place: line for place, line in self._shown.items() if place in self._counts}

    def found(self, removed_from: float) -> dict[int, RepeatedLine]:
        """By key: the lines of three documents and a tenth of all, five or more; those of more than `removed_from` of all are removed."""
        if self.documents < _FEWEST:
            return {}
        often = {place: count for place, count in self._counts.items() if count >= max(3, _TOLD_SHARE * self.documents)}
        return {
            place: RepeatedLine(self._shown.get(place, ""), count, round(count / self.documents, 4), count > removed_from * self.documents)
            for place, count in sorted(often.items(), key=lambda item: -item[1])
        }


def without_repeated(text: str, found: Mapping[int, RepeatedLine]) -> str:
    """The text without the removed lines at its ends; a text that is mostly made of them is left as it is."""
    if not any(line.removed for line in found.values()):
        return text
    lines = text.split("\n")
    full = [place for place, line in enumerate(lines) if line.strip()]
    edge = {*full[:_EDGE], *full[-_EDGE:]}
    gone = {place for place in edge if (line := found.get(_key(lines[place].strip()))) is not None and line.removed}
    if gone and margin_of(text) is not None:
        gone = _whole_blocks(lines, gone)
    if not gone or sum(len(lines[place]) for place in gone) > _MOST_OF_A_TEXT * max(1, len(text)):
        return text
    return "\n".join("" if place in gone else line for place, line in enumerate(lines))


def _whole_blocks(lines: Sequence[str], gone: set[int]) -> set[int]:
    """Of lines that were cut at a margin, those whose paragraphs go as a whole: a line alike may be the end of any sentence."""
    kept: set[int] = set()
    block: list[int] = []
    for place, line in enumerate([*lines, ""]):
        if line.strip():
            block.append(place)
            continue
        if gone.issuperset(block):
            kept.update(block)
        block = []
    return kept


def _edges(text: str) -> Iterator[str]:
    """The first and last lines that are not empty, without reading all of a long text."""
    if len(text) > 200_000:
        text = text[:100_000] + "\n" + text[-100_000:]
    lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
    yield from lines[:_EDGE]
    yield from lines[max(_EDGE, len(lines) - _EDGE) :]


def _key(line: str) -> int:
    plain = " ".join(line.split())
    return _digest(re.sub(r"\d+", "#", plain) if len(plain) <= _SHORT else plain)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
