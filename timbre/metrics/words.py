"""Text cut into words, tokens, sentences and scripts: the one place where that is decided.

Simple rules without a downloaded model. Letters and digits make words, with the marks that stand on them (accents, vowel
signs, Hebrew points) and joined by apostrophes, hyphens, geresh and joiners inside of them; everything else visible is a token
of its own. Sentences end at . ! ? … with space behind them, at the full stops and question marks of Arabic, Urdu, Indic, Armenian,
Ethiopic and Khmer text, and at 。！？ of Chinese and Japanese.

That holds where words are written apart. Chinese and Japanese are not: each ideograph and each kana counts as a word, which
is finer than real words, and the same on both sides of a comparison. Thai, Lao, Khmer and Burmese would need a dictionary: a run
of letters between two spaces counts as one word there, so figures of words say little. Abbreviations end sentences ("Dr. Lane").
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache


def _marks() -> str:
    """All combining marks (Unicode M*), as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_MARK = _marks()
_IDEOGRAPH = "ぁ-ゖゝ-ゟァ-ヺー-ヿｦ-ﾝ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff"
_LETTERS = rf"[^\W_{_IDEOGRAPH}]+(?:[{_MARK}]+[^\W_{_IDEOGRAPH}]*)*"
_JOINERS = "'’\u05f3\u05f4\u200c\u200d-"
_WORD = rf"[{_IDEOGRAPH}][{_MARK}]*|{_LETTERS}(?:[{_JOINERS}]{_LETTERS})*"
_WORDS = re.compile(_WORD)
_TOKENS = re.compile(rf"{_WORD}|\S")
_STOPS = "\u061f\u06d4\u0589\u0964\u0965\u1362\u1367\u17d4\u17d5"
"""؟ ۔ ։ । ॥ ። ፧ ។ ៕: often without a space behind them, and never inside a word."""
_WIDE_STOPS = "。！？｡"
_CLOSERS = "\"'”’)\\]"
_WIDE_CLOSERS = "」』”’）】》"
_SENTENCE_END = re.compile(
    rf"(?<=[.!?…])[{_CLOSERS}]*\s+|(?<=[{_STOPS}])[{_CLOSERS}»]*(?:\s+|(?=[^\W\d_]))|(?<=[{_WIDE_STOPS}])[{_WIDE_CLOSERS}]*|\n\s*\n"
)
ASKS_OR_EXCLAIMS = ("!", "?", "！", "？", "\u061f", "\u1367")
"""Marks at the end of a sentence that is no plain statement."""
_NO_SCRIPT = frozenset({"ALEF", "BET", "CARON", "DALET", "GIMEL", "INFORMATION", "MASU", "MICRO", "MODIFIER", "VEDIC", "VERTICAL"})
"""First words of the names of letters that are symbols, or marks that many scripts share."""
_SAME_SCRIPT = {"TURNED": "LATIN", "ROMAN": "LATIN", "IDEOGRAPHIC": "CJK", "HENTAIGANA": "HIRAGANA"}


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return _WORDS.findall(text.lower())


def has_word(text: str) -> bool:
    """Whether there is a word in the text at all."""
    return _WORDS.search(text) is not None


def tokens(text: str) -> list[str]:
    """Lower-case words and single marks: what word frequencies are counted over, since punctuation is style too."""
    return _TOKENS.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Pieces that hold a word, cut after sentence ends and at blank lines. A cut text's last, unfinished sentence is one too."""
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
    """How many letters of each script ("LATIN", "CYRILLIC", "CJK", …) the text holds.

    Letters that all scripts share are none's: µ, mathematical letters, modifier letters such as ʼ. Superscript and wide
    forms count for the script of the letter that they show: ª, ⁿ and Ａ are Latin.
    """
    counts: dict[str, int] = {}
    for character in text:
        if character.isalpha() and (script := _script(character)) is not None:
            counts[script] = counts.get(script, 0) + 1
    return counts


@lru_cache(maxsize=65_536)
def _script(character: str) -> str | None:
    if _first_of_name(character) in _NO_SCRIPT or unicodedata.decomposition(character).startswith("<font>"):
        return None
    shown = (_first_of_name(each) for each in unicodedata.normalize("NFKC", character) if each.isalpha())
    name = next((name for name in shown if name not in _NO_SCRIPT), None)
    return None if name is None else _SAME_SCRIPT.get(name, name)


def _first_of_name(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
