"""Text cut into words, tokens, sentences and scripts: the one place where that is decided, for corpora and for figures.

Simple rules without a downloaded model, on Unicode's properties (the `regex` package). Letters and digits make words, with the
marks that stand on them (accents, vowel signs, Hebrew points) and joined by apostrophes, hyphens, geresh and joiners inside of
them; everything else visible is a token of its own, an emoji of several parts one (a grapheme cluster of UAX #29). Sentences end at
. ! ? … with space behind them, at the full stops and question marks of Arabic, Urdu, Indic, Armenian, Ethiopic and Khmer text, and
at 。！？ of Chinese and Japanese.

That holds where words are written apart. Chinese and Japanese are not: each ideograph and each kana counts as a word, which
is finer than real words, and the same on both sides of a comparison. Thai, Lao, Khmer and Burmese would need a dictionary: a run
of letters between two spaces counts as one word there, so figures of words say little; `size` counts their characters instead.
Abbreviations end sentences ("Dr. Lane").
"""

import re as plain_re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import regex as re

_IDEOGRAPH = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_LETTER = rf"[[\p{{L}}\p{{N}}]--[{_IDEOGRAPH}]]"
_LETTERS = rf"{_LETTER}+(?:\p{{M}}+{_LETTER}*)*"
_JOINERS = "'’\u05f3\u05f4\u200c\u200d-"
_WORD = rf"[{_IDEOGRAPH}]\p{{M}}*|{_LETTERS}(?:[{_JOINERS}]{_LETTERS})*"
_WORDS = re.compile(_WORD, re.V1)
_TOKENS = re.compile(rf"{_WORD}|(?=\S)\X", re.V1)
_STOPS = "\u061f\u06d4\u0589\u0964\u0965\u1362\u1367\u17d4\u17d5"
"""؟ ۔ ։ । ॥ ። ፧ ។ ៕: often without a space behind them, and never inside a word."""
_WIDE_STOPS = "。！？｡"
_CLOSERS = "\"'”’)\\]"
_WIDE_CLOSERS = "」』”’）】》"
_SENTENCE_END = re.compile(
    rf"(?<=[.!?…])[{_CLOSERS}]*\s+|(?<=[{_STOPS}])[{_CLOSERS}»]*(?:\s+|(?=\p{{L}}))|(?<=[{_WIDE_STOPS}])[{_WIDE_CLOSERS}]*|\n\s*\n"
)
_UNSPACED = re.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}&&\p{L}]", re.V1)
_LETTERS_A_WORD = 4
"""About as many letters make a word of Thai, Lao, Khmer or Burmese."""
_PERHAPS_UNSPACED = plain_re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f]")
_ASCII_WORDS = plain_re.compile(r"[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*")
_ASCII_TOKENS = plain_re.compile(r"[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*|\S")
_ASCII = plain_re.compile(r"[\x00-\x7f]+")
_ASCII_SPACES = b"\t\n\v\f\r\x1c\x1d\x1e\x1f "
_ASCII_OTHERS = bytes(code for code in range(128) if not chr(code).isalpha())
"""What holds of ASCII alone is asked faster."""
_LEGIBLE, _VISIBLE = re.compile(r"[\p{L}\p{M}]"), re.compile(r"\S")
QUESTION_OR_EXCLAMATION = ("!", "?", "！", "？", "\u061f", "\u1367")
"""Marks at the end of a sentence that is no plain statement."""
_NO_SCRIPT = frozenset({"ALEF", "BET", "CARON", "DALET", "GIMEL", "INFORMATION", "MASU", "MICRO", "MODIFIER", "VEDIC", "VERTICAL"})
"""First words of the names of letters that are symbols, or marks that many scripts share."""
_SAME_SCRIPT = {"TURNED": "LATIN", "ROMAN": "LATIN", "IDEOGRAPHIC": "CJK", "HENTAIGANA": "HIRAGANA"}


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    found: list[str] = (_ASCII_WORDS if text.isascii() else _WORDS).findall(text.lower())
    return found


def has_word(text: str) -> bool:
    """Whether there is a word in the text at all."""
    return _WORDS.search(text) is not None


def count_words(text: str) -> int:
    """How many words; the same as `len(words(text))`."""
    return len((_ASCII_WORDS if text.isascii() else _WORDS).findall(text))


def count_tokens(text: str) -> int:
    """How many words and marks: a length that no tokenizer decides."""
    return len((_ASCII_TOKENS if text.isascii() else _TOKENS).findall(text))


def size(text: str) -> int:
    """How much text that is, in words; where a script writes no spaces, in letters, as many as make a word."""
    if text.isascii() or _PERHAPS_UNSPACED.search(text) is None:
        return count_words(text)
    letters = len(_UNSPACED.findall(text))
    return count_words(_UNSPACED.sub(" ", text)) + -(-letters // _LETTERS_A_WORD)


def letter_share(text: str) -> float:
    """Share of the visible characters that are letters or marks on them; 0 of nothing."""
    plain = text.encode("ascii", "ignore")
    visible, letters = len(plain.translate(None, _ASCII_SPACES)), len(plain.translate(None, _ASCII_OTHERS))
    if len(plain) < len(text):
        beyond = _ASCII.sub("", text)
        visible, letters = visible + len(_VISIBLE.findall(beyond)), letters + len(_LEGIBLE.findall(beyond))
    return letters / visible if visible else 0.0


def tokens(text: str) -> list[str]:
    """Lower-case words and single marks: what word frequencies are counted over, since punctuation is style too."""
    found: list[str] = (_ASCII_TOKENS if text.isascii() else _TOKENS).findall(text.lower())
    return found


def sentences(text: str) -> list[str]:
    """Pieces that hold a word, cut after sentence ends and at blank lines. A cut text's last, unfinished sentence is one too."""
    return [piece for piece in _SENTENCE_END.split(text) if _WORDS.search(piece)]


def sentence_spans(text: str) -> Iterator[str]:
    """Consecutive pieces that end where sentences end and together are the whole text, with their marks and spaces."""
    start = 0
    for found in _SENTENCE_END.finditer(text):
        if found.end() > start:
            yield text[start : found.end()]
            start = found.end()
    if start < len(text):
        yield text[start:]


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
