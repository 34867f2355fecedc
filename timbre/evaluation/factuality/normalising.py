"""Answers as they are compared: without case, articles, punctuation and accents, numbers in digits however they were written.

"The Twenty-One." and "21", "H₂O" and "H2O", "1,066" and "1066", "eighteen fifty-one" and "1851" are the same.
"""

import re
import unicodedata
from collections.abc import Sequence

ARTICLES = frozenset({"a", "an", "the"})
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = {word: value for value, word in enumerate(_SMALL.split())}
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
_SEPARATED = re.compile(r"(?<![\d.,])\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?![\d,]*\d)")
_TOKEN = re.compile(r"\d+\.\d+|[^\W_]+(?:['’][^\W\d_]+)*")
_MARKS = re.compile(r"[,;:.!?]+(?=\s|$)|[()\n]")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")


def normalised(text: str) -> tuple[str, ...]:
    """The words and numbers of a text, ready to be compared."""
    return tuple(word for word in words_with_digits(text) if word not in ARTICLES)


def words_with_digits(text: str) -> list[str]:
    """`plain_words`, with numbers in digits; what a mark separates ("ten, twenty") is never read as one number."""
    return [word for piece in _MARKS.split(text) for word in digits_for_words(plain_words(piece))]


def plain_words(text: str) -> list[str]:
    """Small letters, no accents or possessive ’s; numbers without separators, ordinal endings or leading zeros."""
    decomposed = unicodedata.normalize("NFKD", _SEPARATED.sub(_joined, text))
    bare = "".join(character for character in decomposed if not unicodedata.combining(character)).lower()
    return [_tidy(word) for word in _TOKEN.findall(bare)]


def digits_for_words(words: Sequence[str]) -> list[str]:
    """Runs of number words as one number in digits; everything else as it is."""
    result: list[str] = []
    place = 0
    while place < len(words):
        value, used = _spelled(words, place)
        result.append(str(value) if used else words[place])
        place += max(used, 1)
    return result


def contains(text: Sequence[str], answer: Sequence[str]) -> bool:
    """Whether the normalised answer stands in the normalised text, word for word and in one piece."""
    size = len(answer)
    return size > 0 and any(tuple(text[start : start + size]) == tuple(answer) for start in range(len(text) - size + 1))


def _joined(match: "re.Match[str]") -> str:
    return re.sub(r"\D", "", match.group())


def _tidy(word: str) -> str:
    word = re.sub(r"['’]s$|['’]$", "", word)
    if found := _ORDINAL.fullmatch(word):
        word = found.group(1)
    if re.fullmatch(r"\d+", word):
        return word.lstrip("0") or "0"
    if re.fullmatch(r"\d+\.\d+", word):
        return word.rstrip("0").rstrip(".")
    return word


def _spelled(words: Sequence[str], start: int) -> tuple[int, int]:
    """The number that is spelled out from `start` on, and of how many words: (0, 0) where there is none."""
    first, used = _below_hundred(words, start)
    if not used and (start >= len(words) or words[start] not in SCALES):
        return 0, 0
    if used and 10 <= first < 100:  # eighteen fifty-one: a year in two halves
        second, more = _below_hundred(words, start + used)
        after = start + used + more
        if more and 10 <= second < 100 and not (after < len(words) and words[after] in SCALES):
            return 100 * first + second, used + more
    total, group, place = 0, first if used else 1, start + used
    while place < len(words):
        if (scale := SCALES.get(words[place])) is not None:
            total, group = (total, group * scale) if scale == 100 else (total + max(group, 1) * scale, 0)
            place += 1
            joined = place + 1 if place < len(words) and words[place] == "and" else place
            more_value, more = _below_hundred(words, joined)
            if more:
                group, place = group + more_value, joined + more
        else:
            break
    return total + group, place - start


def _below_hundred(words: Sequence[str], start: int) -> tuple[int, int]:
    if start >= len(words):
        return 0, 0
    if (tens := TENS.get(words[start])) is not None:
        unit = UNITS.get(words[start + 1], 0) if start + 1 < len(words) else 0
        return (tens + unit, 2) if 1 <= unit <= 9 else (tens, 1)
    return (UNITS[words[start]], 1) if words[start] in UNITS else (0, 0)
