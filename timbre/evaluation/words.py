"""Text cut into words, tokens, sentences and scripts: the one place where that is decided.

Simple rules without a downloaded model, so that they hold for any language: letters and digits make words (joined by
apostrophes and hyphens), each ideograph or kana is a word, everything else visible is a mark of its own.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_IDEOGRAPH = "぀-ヿ㐀-䶿一-鿿豈-﫿"
_WORD = rf"[{_IDEOGRAPH}]|(?:(?![{_IDEOGRAPH}])[^\W_])+(?:['’-](?:(?![{_IDEOGRAPH}])[^\W_])+)*"
_WORDS = re.compile(_WORD)
_TOKENS = re.compile(rf"{_WORD}|\S")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n\s*\n")


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return _WORDS.findall(text.lower())


def tokens(text: str) -> list[str]:
    """Lower-case words and single marks: what word frequencies are counted over, since punctuation is style too."""
    return _TOKENS.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Pieces that hold a word, cut after . ! ? … and at blank lines. A cut text's last, unfinished sentence is one too."""
    return [piece for piece in _SENTENCE_END.split(text) if _WORDS.search(piece)]


def pieces(text: str, length: int) -> Iterator[str]:
    """Consecutive pieces of exactly `length` words with everything between them; a shorter rest is left out."""
    start, count = 0, 0
    for found in _WORDS.finditer(text):
        if count == length:
            yield text[start : found.start()].strip()
            start, count = found.start(), 0
        count += 1
    if count == length:
        yield text[start:].strip()


def beginning(text: str, length: int) -> str:
    """The first `length` words with everything between them, then "…"; the text itself if it holds no more."""
    for count, found in enumerate(_WORDS.finditer(text)):
        if count == length:
            return text[: found.start()].rstrip() + " …"
    return text


def scripts(text: str) -> dict[str, int]:
    """How many letters of each script ("LATIN", "CYRILLIC", "CJK", …) the text holds."""
    counts: dict[str, int] = {}
    for character in text:
        if character.isalpha():
            script = _script(character)
            counts[script] = counts.get(script, 0) + 1
    return counts


@lru_cache(maxsize=65_536)
def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
