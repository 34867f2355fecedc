"""Single quotes told from apostrophes, so that a text set with them is the same as one set with double ones."""

from bisect import bisect

import regex as re

_WORDS = (
    "tis tisn't twas twasn't twere twill twould twouldn't twon't tain't tan't twixt tween em im er ee un ere ave aven't ad adn't asn't "
    "ouse ome orse ow eard undred arf til till cause cos cuz cept bout bove fore fraid gainst mid mong mongst neath round scape side stead "
    "twain pon n nuff nough kay scuse spose sposed specially nother prentice lection baccy tater cello phone bus flu sblood sdeath zounds "
    "zactly way s t ll re ve d m"
)
ELISION = rf"(?:(?:{'|'.join(_WORDS.split())})(?![\p{{L}}\p{{N}}])|\d\ds?(?![\p{{L}}\p{{N}}]))"
"""What an apostrophe begins in English: a word of which the beginning is not said, a year without its century."""
_MARK = re.compile(
    rf"(?<![\p{{L}}\p{{N}}])(?:(?P<elision>'(?={ELISION}))|(?<=^|[\s(\[{{<\"\-—–/])(?P<opens>'(?=[^\s'—–]|'{ELISION})))|(?<=\S)(?P<closes>')(?![\p{{L}}\p{{N}}])",
    re.IGNORECASE | re.MULTILINE,
)
_STOPS = frozenset(".,!?…;:—–-)]")
_FIRST = re.compile(r"\s*'(?=\p{P}*\p{Lu})")
_NEAR = re.compile(r" ?[\p{L}\p{M}-]+(?: [\p{L}\p{M}-]+)?")
_SHORTENED = re.compile(r"(?:in|(?<!\p{L})(?:o|an|th|wi|t|ol|lil|d|mo|po|fo))$", re.IGNORECASE)


def quotes_doubled(text: str) -> str:
    """The text with double quotes for the single ones that stand in pairs; an apostrophe stays, at a word's begin or end too.

    A quotation ends at the first quote behind a mark of punctuation; without one before the next begins, behind a word that is
    no plural (the sailors' boats); of plurals at the first, unless another mark is near. A paragraph whose first quote nothing
    closes goes on in the next.
    """
    return "\n\n".join(map(_doubled, text.split("\n\n"))) if "'" in text else text


def _doubled(paragraph: str) -> str:
    if "'" not in paragraph:
        return paragraph
    marks = [(found.start(found.lastgroup), found.lastgroup) for found in _MARK.finditer(paragraph)]
    places = [place for place, (_, kind) in enumerate(marks) if kind == "opens"]
    ends, firm = [*places, len(marks)], [place for place, (_, kind) in enumerate(marks) if kind != "elision"]
    quotes: set[int] = set()
    first, taken = len(paragraph) - len(paragraph.lstrip()), -1
    for number, place in enumerate(places):
        opener = marks[place][0]
        if opener < taken:  # within a quotation that began before: an apostrophe
            continue
        closers: list[int] = []
        for following in range(number + 1, len(ends)):
            until = ends[following]
            closers += [marks[at][0] for at in range(ends[following - 1], until) if marks[at][1] == "closes"]
            closer = _closer(paragraph, closers)
            goes_on = paragraph[opener + 1].isupper() and until < len(marks) and paragraph[marks[until][0] + 1].islower()
            if closer is not None or not goes_on:
                break
        if closer is not None:
            quotes |= {opener, closer}
            taken = closer
        elif opener == first and _FIRST.match(paragraph):
            quotes.add(opener)
    for place, (at, kind) in enumerate(marks):  # what looks like a shortened word, but something closes it
        if kind == "elision" and paragraph[at + 1].isupper():
            following = bisect(firm, place)
            behind = marks[firm[following]] if following < len(firm) else (-1, "")
            if behind[1] == "closes" and behind[0] not in quotes and paragraph[behind[0] - 1] in _STOPS:
                quotes |= {at, behind[0]}
    letters = list(paragraph)
    for at in quotes:
        letters[at] = '"'
    return "".join(letters)


def _closer(paragraph: str, closers: list[int]) -> int | None:
    """Which of the marks that may end a quotation does."""
    if behind_stops := [at for at in closers if paragraph[at - 1] in _STOPS]:
        return behind_stops[0]
    if words := [at for at in closers if not _is_apostrophe(paragraph, at)]:
        return words[0]
    near = [at for at in closers if _NEAR.fullmatch(paragraph, closers[0] + 1, at)]
    return near[-1] if near else closers[0] if closers else None


def _is_apostrophe(paragraph: str, at: int) -> bool:
    """Whether a mark may be that of a plural or of a word of which the end is not said, with another word behind it."""
    followed = paragraph[at + 1 : at + 3].strip()[:1].isalpha()
    return followed and (paragraph[at - 1] in "sSzZxX" or _SHORTENED.search(paragraph[max(0, at - 8) : at]) is not None)
