"""What a printed book's pages say at their top and foot, in a text that was scanned or saved from pages: running heads and numbers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import regex as re

from timbre.corpus.hyphens import GOES

_FEWEST_PAGES, _RUNNING_SHARE, _RUNNING_LENGTH = 3, 1 / 3, 80
_FEWEST_LINES, _FEWEST_BETWEEN, _INTERRUPTS = 40, 8, 1 / 3
_NUMBERED = re.compile(r"\S*\d\S*|\b[ivxlc]+\b")
_NUMBER = re.compile(r"[\[({<~–—\-. ]*(?:p(?:age|g|\.)?[ .]*)?(?:\d{1,4}|[ivxlc]{1,7})[\])}>~–—\-. ]*", re.IGNORECASE)
_STOPPED = re.compile(r"[.!?…,;:][\"'”’]? +\p{L}")
_PAGE_MARK = re.compile(r"[ \t]*[\[{](?:Pg|Page)[ .]*(?:\d{1,4}|[ivxlc]{1,7})[\]}][ \t]*", re.IGNORECASE)
_ENDED = re.compile(r"[.!?…:;。！？।؟][\"'”’»)\]]*$")
_HYPHENED = re.compile(rf"\p{{L}}[-¬{GOES}]$")
_NUMERALS = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}


def without_running_heads(text: str, is_heading: Callable[[str], bool]) -> str:
    """The text without heads, feet and numbers of pages; a sentence that they cut in two is whole again.

    Pages are divided by form feeds; or, where there are none, told by lines that come back page after page, or count pages, and
    stand in the midst of sentences, which no line of the author's does.

    Args:
        is_heading: whether a line is a chapter's heading, which stays.
    """
    if text.count("\f") >= _FEWEST_PAGES - 1:
        return _of_pages(text, is_heading)
    text = _marks_removed(text)
    lines = text.split("\n")
    if len(lines) < _FEWEST_LINES:
        return text
    return "\n".join(_of_lines(lines, is_heading)) if _repeated(lines) else text


def _of_pages(text: str, is_heading: Callable[[str], bool]) -> str:
    pages = [page.split("\n") for page in re.split(r"\f", text)]
    ends = [[place for place, line in enumerate(page) if line.strip()] for page in pages]
    edges = [[place for place in sorted({places[0], places[-1]}) if _stands_alone(page, place)] if places else []
             for page, places in zip(pages, ends, strict=True)]  # fmt: skip
    counted = Counter(key for page, places in zip(pages, edges, strict=True) for key in {_running(page[place]) for place in places})
    fewest = max(_FEWEST_PAGES, _RUNNING_SHARE * len(pages))
    for page, places in zip(pages, edges, strict=True):
        for place in places:
            if len(page[place].strip()) <= _RUNNING_LENGTH and counted[_running(page[place])] >= fewest and not is_heading(page[place]):
                page[place] = ""
    whole, before = ["\n".join(pages[0])], _edge(reversed(pages[0]))
    for page in pages[1:]:
        after, below = _edge(page), "\n".join(page)
        if before and after and not is_heading(before) and not is_heading(after) and _is_cut([before, "", after], 1, 1):
            while not whole[-1].strip():  # pages of which nothing is left
                whole.pop()
            whole[-1] = whole[-1].rstrip()
            whole.append("\n" + below.lstrip("\n"))
        else:
            whole.append("\f" + below)
        before = _edge(reversed(page)) or before
    return "".join(whole)


def _edge(lines: Iterable[str]) -> str:
    """The first line on which anything stands."""
    return next((line for line in lines if line.strip()), "")


def _stands_alone(page: Sequence[str], place: int) -> bool:
    """Whether no other line touches it, but that of another page."""
    return not any(line.strip() for line in (*page[max(0, place - 1) : place], *page[place + 1 : place + 2]))


def _running(line: str) -> str:
    return str(re.sub(r"\d+|\b[ivxlc]+\b", "#", " ".join(line.split()).lower()))


def _marks_removed(text: str) -> str:
    """Without numbers of pages that are set within the lines, [Pg 12], where a text has several."""
    if ("[" not in text and "{" not in text) or len(_PAGE_MARK.findall(text)) < _FEWEST_PAGES:
        return text
    return str(_PAGE_MARK.sub(lambda mark: " " if mark.start() and not text[mark.start() - 1].isspace() else "", text))


def _key(line: str) -> str | None:
    """What a line that may be a page's head, foot or number has in common with those of other pages; None of any other line."""
    plain = " ".join(line.split())
    if not plain or len(plain) > _RUNNING_LENGTH:
        return None
    if _NUMBER.fullmatch(plain):
        return "#"
    if plain[0] in "#|>*" or plain.startswith(("- ", "• ")):
        return None
    first, last = plain.split()[0], plain.split()[-1]
    if any(_NUMBER.fullmatch(word) or (word[0].isdigit() and len(word) <= 4) for word in (first, last)):
        words = str(_NUMBERED.sub("", plain))
        return str(_NUMBERED.sub("#", plain.lower())) if words.strip(" .-–—|[]()")[:1].isupper() and not _STOPPED.search(words) else None
    return plain.lower() if plain.isupper() and len(plain) > 3 else None


def _repeated(lines: Sequence[str]) -> dict[str, list[int]]:
    """Keys that come back at least three times, never close to each other, and the places of their lines."""
    places: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        if (key := _key(line)) is not None:
            places.setdefault(key, []).append(place)
    return {
        key: found for key, found in places.items()
        if len(found) >= _FEWEST_PAGES
        and sum(later - earlier >= _FEWEST_BETWEEN for earlier, later in pairwise(found)) >= 0.9 * (len(found) - 1)
    }  # fmt: skip


def _of_lines(lines: Sequence[str], is_heading: Callable[[str], bool]) -> list[str]:
    keys = _repeated(lines)
    candidate = {place: key for key, found in keys.items() for place in found}
    seams: dict[int, tuple[int, int]] = {}
    for place in candidate:
        start = end = place
        while start > 0 and (not lines[start - 1].strip() or start - 1 in candidate):
            start -= 1
        while end + 1 < len(lines) and (not lines[end + 1].strip() or end + 1 in candidate):
            end += 1
        seams[place] = (start, end)
    cut = {place: _is_cut(lines, *seam) for place, seam in seams.items()}
    furniture = {
        key for key, found in keys.items()
        if sum(cut[place] for place in found) >= max(2, _INTERRUPTS * len(found))
        and ("#" not in key or _counts_up([_number_of(lines[place]) for place in found]))
    }  # fmt: skip
    gone: dict[int, tuple[int, int]] = {place: seams[place] for place, key in candidate.items() if key in furniture}
    kept = list(lines)
    dropped: set[int] = set()
    for place, (start, end) in gone.items():
        if cut[place] and all(at in gone or not lines[at].strip() for at in range(start, end + 1)):
            dropped.update(range(start, end + 1))
        elif start < place < end or not (is_heading(lines[place]) and candidate[place] != "#"):
            alone = (place == 0 or not lines[place - 1].strip()) and (place + 1 == len(lines) or not lines[place + 1].strip())
            kept[place] = ""
            if not alone:
                dropped.add(place)
    return [line for place, line in enumerate(kept) if place not in dropped]


def _is_cut(lines: Sequence[str], start: int, end: int) -> bool:
    """Whether the words before a seam go on behind it."""
    if start == 0 or end + 1 >= len(lines):
        return False
    before, after = lines[start - 1].strip(), lines[end + 1].strip()
    return _HYPHENED.search(before) is not None or (_ENDED.search(before) is None and (after[:1].islower() or len(before) > 40))


def _counts_up(lines: Sequence[str]) -> bool:
    """Whether numbers of pages rise; some that were misread are forgiven."""
    values = [_value(re.sub(r"[^\divxlc]", "", re.sub(r"(?i)p(?:age|g)?\b", "", line).lower())) for line in lines]
    return sum(earlier < later <= earlier + 12 for earlier, later in pairwise(values)) >= 0.7 * (len(values) - 1)


def _number_of(line: str) -> str:
    """The number at either end of a line."""
    words = line.split()
    numbers = [word for word in (words[0], words[-1], *words) if _NUMBER.fullmatch(word) or word[0].isdigit()]
    return numbers[0] if numbers else ""


def _value(number: str) -> int:
    if number.isdigit():
        return int(number)
    values = [_NUMERALS.get(letter, 0) for letter in number]
    return sum(-value if value < max([0, *values[place + 1 : place + 2]]) else value for place, value in enumerate(values))
