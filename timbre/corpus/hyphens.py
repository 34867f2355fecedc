"""Words that a line end cut, whole again: a hyphen that a typesetter put goes, one that the writer wrote stays."""

from collections.abc import Iterable
from dataclasses import dataclass

import regex as re

_CUT = re.compile(r"(?<!\p{L})(\p{L}++)-(\n[ \t]*)(\p{Ll}+)")
_CUT_HYPHEN = re.compile(r"(?<!\p{L})(\p{L}++)-(?=\n[ \t]*(\p{Ll}+)(-?))")
_COMPOUND = re.compile(r"(?<!\p{L})(?:(\p{L}++)|(?<=\p{N}))-(?=\n[ \t]*(\p{Lu}\p{L}+|\p{N}+))")
GOES, STAYS, JOINS = "\ufdd1", "\ufdd2", "\ufdd3"
"""Noncharacters that stand for a hyphen at a line end while a text's paragraphs are told, as wide as it is: of a word that was cut, of
a compound, and of a compound whose second part has a capital or is a number, which is joined only where lines are."""
MARKS = GOES + STAYS + JOINS
_MARKED = re.compile(rf"([{GOES}{STAYS}])(?:[ ]|(\n+)[ \t]*)(\p{{L}}[^\s{MARKS}]*)([ \t]+(?=\S))?")
_LEFT_OVER = {ord(GOES): None, ord(STAYS): "-", ord(JOINS): "-"}
"""Marks behind which nothing stands any more, since what came next was no text."""
_JOINED = re.compile(rf"{JOINS} ?")
_SUSPENDED = frozenset({"and", "or", "to", "und", "oder", "bis", "et", "ou"})
"""Words before which a hyphen stands for what a later word ends in (two- or threefold)."""
_BEFORE_CAPITALS = frozenset({
    "anti", "non", "pro", "pre", "post", "mid", "semi", "half", "trans", "neo", "pan", "ex", "un", "all", "early", "late", "inter", "cross",
})  # fmt: skip
_SOFT = re.compile(r"(?<=\p{L})[\u00ad¬\u2e17][ \t]*(?=\r*\n[ \t]*\p{Ll})")
_HARD = re.compile(r"(?<=\p{L})[\u2010\u2011][ \t]*(?=\r*\n[ \t]*\p{Ll})")
_FEWEST_VOTES = 2


@dataclass(frozen=True)
class Words:
    """What is known of the words that line ends cut in a text: words of texts that belong to it, and what becomes of words that stand
    nowhere else, where several texts have decided (`keeps_hyphens`)."""

    known: frozenset[str] = frozenset()
    kept: bool | None = None


def plain_cuts(text: str) -> str:
    """Marks that only ever cut a word at a line end (soft hyphens, ¬, ⸗) as such, and other hyphens there as the common one."""
    return text if text.isascii() else str(_HARD.sub("-", _SOFT.sub(GOES, text)))


def cuts_marked(text: str, others: Words | None = None) -> str:
    """A text with a mark for each hyphen at a line end that cuts a word: one for those that go, another for those that stay.

    A hyphen stays where the text writes the word with one elsewhere, or both its parts as words and never the whole: wrapping
    programs cut at hyphens that were there. Of words that stand nowhere else, those that do decide.
    """
    if "-\n" not in text:
        return text
    others = others or Words()
    known = hyphenated_words(text) | others.known
    otherwise = keeps_hyphens([text], known) if others.kept is None else others.kept

    def mark(found: re.Match[str]) -> str:
        first, second = found[1].lower(), found[2]
        if second in _SUSPENDED and not found[3] and first in known and first + second not in known:
            return str(found[0])
        stays = _stays(first, second, known)
        return f"{found[1]}{STAYS if (otherwise if stays is None else stays) else GOES}"

    def compound(found: re.Match[str]) -> str:
        first, second = found[1], found[2]
        if first is None:
            return JOINS if second.isnumeric() else "-"
        if first.isupper() and second.isupper() and len(first) > 1 and len(second) > 1:
            return f"{first}{GOES if _stays(first.lower(), second.lower(), known) is False else JOINS}"
        joins = f"{first}-{second}".lower() in known or first[0].isupper() or first in _BEFORE_CAPITALS
        return f"{first}{JOINS if joins else '-'}"

    return str(_COMPOUND.sub(compound, _CUT_HYPHEN.sub(mark, text)))


def cuts_closed(text: str) -> str:
    """The words whole again at the marks. A word is no place for a paragraph's end; a line end within it stands behind it then."""
    if not any(mark in text for mark in MARKS):
        return text

    def close(found: re.Match[str]) -> str:
        hyphen = "-" if found[1] == STAYS else ""
        behind = "" if found[4] is None else "\n" if found[2] == "\n" else found[4]
        return f"{hyphen}{found[3]}{behind}"

    return str(_JOINED.sub("-", _MARKED.sub(close, text))).translate(_LEFT_OVER)


def hyphenated_words(text: str) -> frozenset[str]:
    """The words of a text in small letters, compounds with their hyphens; those that a line end cuts are left out."""
    return frozenset(re.findall(r"\p{L}+(?:-\p{L}+)*", _CUT.sub(" ", text).lower()))


def keeps_hyphens(texts: Iterable[str], known: frozenset[str]) -> bool:
    """Whether lines end at hyphens that were there (a program wrapped them) rather than within words (a typesetter cut these)."""
    votes = [
        stays
        for text in texts
        if "-\n" in text
        for found in _CUT.finditer(text)
        if (stays := _stays(found[1].lower(), found[3], known)) is not None
    ]
    return sum(votes) >= _FEWEST_VOTES and 2 * sum(votes) > len(votes)


def _stays(first: str, second: str, known: frozenset[str]) -> bool | None:
    """Whether the hyphen between two parts is the writer's; None where no other place says."""
    whole, compound = first + second in known, f"{first}-{second}" in known
    if whole or compound:
        return None if whole and compound else compound
    return True if {first, second} <= known else None
