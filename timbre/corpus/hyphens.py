"""Words that a line end cut, whole again: a hyphen that a typesetter put goes, one that the writer wrote stays."""

from collections.abc import Iterable

import regex as re

_CUT = re.compile(r"(?<!\p{L})(\p{L}++)-(\n[ \t]*)(\p{Ll}+)")
_CUT_WORD = re.compile(_CUT.pattern + r"([^\s-]*)([ \t]+(?=\S))?")
_FEWEST_VOTES = 2


def without_hyphens(text: str, others: frozenset[str] = frozenset(), *, kept: bool | None = None) -> str:
    """Words that a line end cut, whole again.

    A hyphen stays where the text writes the word with one elsewhere, or both its parts as words and never the whole: wrapping
    programs cut at hyphens that were there. Of words that stand nowhere else, those that do decide.

    Args:
        others: words of texts that belong to this one.
        kept: what becomes of words that stand nowhere else, where several texts have decided (`keeps_hyphens`).
    """
    if "-\n" not in text:
        return text
    known = hyphenated_words(text) | others
    otherwise = keeps_hyphens([text], known) if kept is None else kept

    def close(found: re.Match[str]) -> str:
        first, line_end, second, rest, more = (str(part or "") for part in found.groups())
        stays = _stays(first.lower(), second, known)
        hyphen = "-" if (otherwise if stays is None else stays) else ""
        return f"{first}{hyphen}{second}{rest}{line_end if more else ''}"  # the line ends behind the word, and is no longer than lines are

    return str(_CUT_WORD.sub(close, text))


def hyphenated_words(text: str) -> frozenset[str]:
    """The words of a text in small letters, compounds with their hyphens; those that a line end cuts are left out."""
    return frozenset(re.findall(r"\p{L}+(?:-\p{Ll}+)*", _CUT.sub(" ", text).lower()))


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
    if first + second in known:
        return False
    return True if f"{first}-{second}" in known or {first, second} <= known else None
