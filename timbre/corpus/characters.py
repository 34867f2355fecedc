"""Characters as a corpus keeps them: NFC, one kind of line end and space, joiners only where they join."""

import unicodedata

import regex as re

_ENDS = re.compile(r"\r+\n|[\r\x85\u2028\v]")
_BREAKS = {0x0C: "\n\n", 0x2029: "\n\n", 0x1C: "\n\n", 0x1D: "\n\n", 0x1E: "\n", 0x1F: " ", 0xA0: " ", 0x202F: " ", 0x2007: " "}
_CONTROL = dict.fromkeys(code for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\n\t")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_NOTHING = dict.fromkeys(map(ord, "\u2060\ufeff\ufffe\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\xa0\u00ad\u200b-\u200f\u2007\u2028-\u202f\u2060-\u2069\ufeff\ufffe\r]")
_JOINING = (
    "Arabic Syriac Nko Mongolian Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Tibetan Myanmar "
    "Khmer Tifinagh"
)
_JOINED = "".join(rf"\p{{{script}}}" for script in _JOINING.split())
_STRAY = re.compile(
    rf"(?<![{_JOINED}\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}\ufe0f\p{{M}}])[\u200c\u200d]+|[\u200c\u200d]+(?=\s|\Z)"
)
_LATIN_JOINER = re.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])[\u200c\u200d]+")
_ZERO_SPACE = re.compile(r"(?<=[^\s\u200b])\u200b+(?=[^\s\u200b])")
_SOUTH_EAST = re.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Han}\p{Hiragana}\p{Katakana}]")
_STRETCH = re.compile(r"(?<=[\p{Arabic}\p{M}])\u0640+(?=[\p{Arabic}\p{M}])")
"""Tatweel, which draws an Arabic word out; at a word's end it means an abbreviation or a prefix, and stays."""
_SOFT = re.compile(r"\u00ad\n[ \t]*|\u00ad")
_SHAPES = re.compile(r"[\ufb00-\ufb06\ufb13-\ufb17\ufb50-\ufbb1\ufbd3-\ufd3d\ufe70-\ufefc\uf0a7\uf0a8\uf0b7\uf0d8\uf0fc]")
"""Ligatures and positional forms of letters, as typesetting programs leave them, and a symbol font's bullets."""
_BULLET = re.compile(r"[\uf000-\uf0ff]")
_LOST = re.compile(r"(?:\ufffd)+")


def plain_characters(text: str) -> str:
    """`text` in NFC with plain line ends and spaces, and nothing that cannot be seen but joiners that shape what can.

    A form feed or paragraph separator ends a paragraph, a vertical tab or line separator a line. Zero-width joiners and
    non-joiners stay where a script (Persian, Hindi, …) or an emoji is shaped by them. A zero-width space becomes a space, but in scripts
    that write none, where it divides words and stays away. Soft hyphens close, and so do words that a tatweel draws out.
    """
    if text.isascii() and _ODD.search(text) is None:
        return text
    text = unicodedata.normalize("NFC", _STRETCH.sub("", _ENDS.sub("\n", _SOFT.sub("", text))))
    if _SHAPES.search(text) is not None:
        text = _SHAPES.sub(lambda found: _BULLET.sub("•", unicodedata.normalize("NFKC", found[0])), text)
    if _ODD.search(text) is None:
        return text
    text = _ESCAPES.sub("", text).translate(_BREAKS).translate(_CONTROL).translate(_NOTHING)
    if "\u200c" in text or "\u200d" in text:
        text = _LATIN_JOINER.sub("", _STRAY.sub("", text))
    return _ZERO_SPACE.sub(_between, text).replace("\u200b", "") if "\u200b" in text else text


def _between(found: re.Match[str]) -> str:
    before = found.string[found.start() - 1]
    return "" if _SOUTH_EAST.match(before) else " "


def lost_characters(text: str) -> int:
    """Places where an earlier conversion lost characters and left U+FFFD."""
    return len(_LOST.findall(text))
