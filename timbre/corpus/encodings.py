"""From bytes to text, a file at a time: byte order marks, UTF-8, UTF-16 without a mark, what the file declares, and older codings."""

import codecs
import contextlib
import re
from dataclasses import dataclass

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_DECLARED = re.compile(
    rb"""(?:<meta[^>]{0,200}?charset\s*=\s*["']?|<\?xml[^>]{0,100}?encoding\s*=\s*["'])([A-Za-z0-9_-]{2,40})""", re.IGNORECASE
)
_LOOKED_AT = 4096
_SAMPLE = 1 << 15
_BINARY = bytes(set(range(0x20)) - {0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1A, 0x1B})
_MARKS_OF_ALL = "“”‘’„–—…«»°§£€·•№、。，！？；：「」『』《》（）　\u00a0"
_WEST = "éèêëàâçùûîïôœáíóúñãõäöüßåæøÉÈÀÂÇÔÁÍÓÚÑÄÖÜÅÆØŒ¿¡ìòªº" + _MARKS_OF_ALL
_CENTRAL = "ąćęłńóśźżčďěňřšťůýžáéíúőűöüăâîşţđľĺŕäôßĄĆĘŁŃÓŚŹŻČĎĚŇŘŠŤŮÝŽÁÉÍÚŐŰÖÜĂÂÎŞŢĐ" + _MARKS_OF_ALL
_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёіїєґўјљњћђџ" + _MARKS_OF_ALL
_GREEK = "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ" + _MARKS_OF_ALL
_HEBREW = "".join(map(chr, range(0x5D0, 0x5EB))) + _MARKS_OF_ALL
_ARABIC = "".join(map(chr, (*range(0x621, 0x63B), *range(0x641, 0x653)))) + "پچژگکی،؛؟\u200c" + _MARKS_OF_ALL
_KANA = "".join(map(chr, (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB)))) + "ー" + _MARKS_OF_ALL
_TURKISH = "çğıöşüâîûÇĞİÖŞÜÂÎÛ" + _MARKS_OF_ALL
_BALTIC = "ąčęėįšųūžāēģīķļņĄČĘĖĮŠŲŪŽĀĒĢĪĶĻŅ" + _MARKS_OF_ALL
_THAI_CONSONANTS = frozenset(map(chr, range(0xE01, 0xE2F)))
_THAI = "".join(map(chr, (*range(0xE01, 0xE3B), *range(0xE40, 0xE4F)))) + _MARKS_OF_ALL
_OLD: dict[str, str] = {
    "cp1252": _WEST, "cp1250": _CENTRAL, "iso8859_2": _CENTRAL, "cp1251": _RUSSIAN, "koi8_r": _RUSSIAN, "cp866": _RUSSIAN,
    "cp1255": _HEBREW, "cp1253": _GREEK, "cp1254": _TURKISH, "cp1256": _ARABIC, "shift_jis": _KANA, "euc_jp": _KANA,
    "gb18030": _MARKS_OF_ALL, "big5": _MARKS_OF_ALL, "cp949": _MARKS_OF_ALL, "mac_roman": _WEST, "cp850": _WEST,
    "cp852": _CENTRAL, "mac_latin2": _CENTRAL, "cp857": _TURKISH, "mac_turkish": _TURKISH, "cp737": _GREEK, "mac_greek": _GREEK,
    "cp862": _HEBREW, "cp855": _RUSSIAN, "cp1125": _RUSSIAN,
    "koi8_u": _RUSSIAN, "iso8859_5": _RUSSIAN, "mac_cyrillic": _RUSSIAN, "iso8859_6": _ARABIC, "cp874": _THAI, "cp1257": _BALTIC,
}  # fmt: skip
"""Encodings from before Unicode, and the characters beyond ASCII that texts in them are mostly made of."""
_COMMON_HALF = {"gb18030": ("gb2312", 0xB0, 0xD7), "big5": ("big5", 0xA4, 0xC6), "cp949": ("euc_kr", 0xB0, 0xC8)}
"""Where the everyday characters of an East Asian set stand: the first bytes of its first level."""
_HUNGARIAN, _NOT_HUNGARIAN = re.compile("[õûÕÛ]"), re.compile("[ãàèêçñå]", re.IGNORECASE)
"""What Hungarian looks like in a Western coding: no Western language has these letters and á, and none of those."""
_ISO_2022 = re.compile(rb"\x1b\$[@AB]")
"""How Japanese mail switched to its characters."""
_VOWELS, _FEWEST_VOWELS = frozenset("оеаиуыэюяёіїєўу"), 0.25
"""Of Russian, Ukrainian or Bulgarian text; Hebrew that is read as Cyrillic has half as many."""
_STRAY = 1000
"""Bytes to each NUL of a text that a few of them got into."""
_MIXED = re.compile("[\u00a0-\u024f\u2010-\u2044\u20ac]")
"""Beyond ASCII, what texts hold of which one part was written in UTF-8 and another in cp1252."""
_BETWEEN_LETTERS = re.compile(
    r"(?<=[^\W\d_])[^\w\s'’\-–—·./…]+(?=[^\W\d_])|(?<=[a-zà-ÿа-яё])[A-ZÀ-ÞА-ЯЁ]|[\x80-\x9f]|[a-zA-Z][\u0370-\u06ff]|[\u0370-\u06ff][a-zA-Z]|ς\w"
)
"""What no text holds: marks within words, capitals behind small letters, two scripts in a word, a final sigma that is not last."""


@dataclass(frozen=True)
class Decoded:
    """Text, and the encoding it was read in."""

    text: str
    encoding: str


def decode(data: bytes, name: str, encoding: str = "") -> Decoded:
    """The text of a file.

    Args:
        encoding: how it is to be read whatever it looks like; by default that is found out: a byte order mark, UTF-8, UTF-16
            without a mark, what an HTML or XML head declares, and then the older encodings by what they would make of it.

    Raises:
        ValueError: not text, or not in the encoding asked for; the sentence names the file, the place and what to do.
    """
    if encoding:
        return _in_encoding(data, name, encoding)
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return _strictly(data, name, codec)
    if _ISO_2022.search(data[:_LOOKED_AT]):
        with contextlib.suppress(UnicodeDecodeError):
            return Decoded(data.decode("iso2022_jp_2"), "iso2022_jp")
    return _unmarked(data, name)


def _unmarked(data: bytes, name: str) -> Decoded:
    """The text of a file that nothing in it says the encoding of."""
    if data.endswith(b"\0\0\0\0") and (written := data.rstrip(b"\0")) and b"\0" not in written:
        data = written  # a disk's block, or a database's field, filled up
    head = data[:_LOOKED_AT]
    if (offset := data.find(b"\0")) >= 0 or len(head.translate(None, _BINARY)) < len(head):
        if (wide := _unmarked_utf16(data)) is not None:
            return _strictly(data, name, wide)
        if offset >= 0 and _STRAY * data.count(b"\0") <= len(data):  # what a database or a bad disk left
            return _unmarked(data.replace(b"\0", b""), name)
        if offset >= 0 or len(head.translate(None, _BINARY)) < 0.99 * len(head):
            what = f"NUL at byte {offset}" if offset >= 0 else "control characters"
            raise ValueError(f"{name}: not a text file ({what}); remove it, or give it the ending of its format")
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        return _older(data, name, error)


def _in_encoding(data: bytes, name: str, encoding: str) -> Decoded:
    try:
        codec = codecs.lookup(encoding).name
    except LookupError as error:
        raise ValueError(f"unknown encoding {encoding!r}: name one such as utf-8, cp1252, latin-1, utf-16 or shift_jis") from error
    return _strictly(data, name, "utf-8-sig" if codec == "utf-8" else codec)


def _strictly(data: bytes, name: str, codec: str) -> Decoded:
    try:
        return Decoded(data.decode(codec).removeprefix("\ufeff"), codec.removesuffix("-sig"))
    except UnicodeDecodeError as error:
        place = f"byte {error.start} (0x{data[error.start]:02x})" if error.start < len(data) else "its end"
        raise ValueError(f"{name}: not {codec.removesuffix('-sig')} at {place}; say how it is encoded with --encoding") from error


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 without a mark, if that makes letters and spaces of nearly all, in one script."""
    from timbre.words import letter_share, scripts

    head = data[: _LOOKED_AT & ~1]
    if len(head) < 4 or len(data) % 2:
        return None
    for codec in ("utf-16-le", "utf-16-be"):
        text = head.decode(codec, "replace")
        found = scripts(text)
        asian = sum(found.get(script, 0) for script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))
        most = max([asian, *found.values()], default=0)
        odd = sum(character == "\ufffd" or (character < " " and not character.isspace()) for character in text)
        if letter_share(text) >= 0.7 and most >= 0.9 * sum(found.values()) and odd <= 0.01 * len(text) and _has_breaks(text):
            return codec
    return None


def _has_breaks(text: str) -> bool:
    """Whether anything divides the letters: a text of any length has spaces or stops."""
    return len(text) < 40 or any(character in " \n\r、。，" for character in text)


def _older(data: bytes, name: str, error: UnicodeDecodeError) -> Decoded:
    if error.reason == "unexpected end of data" and not data[: error.start].isascii():
        return Decoded(data[: error.start].decode("utf-8"), "utf-8")  # the file was cut within a character
    if (declared := _DECLARED.search(data[:_LOOKED_AT])) is not None:
        try:
            codec = codecs.lookup(declared[1].decode()).name
            return Decoded(data.decode("cp1252" if codec == "iso8859-1" else codec), codec)
        except (LookupError, UnicodeDecodeError):
            pass
    bad = _damaged(data)
    if bad is not None:
        raise ValueError(
            f"{name}: invalid UTF-8 at byte {error.start} (0x{data[error.start]:02x}), though the rest is UTF-8; mend it there, or "
            "say how it is encoded with --encoding"
        ) from error
    return mixed if (mixed := _mixed(data)) is not None else Decoded(*_guess(data))


def _mixed(data: bytes) -> Decoded | None:
    """A text of parts in UTF-8 and in cp1252, as joined files have them; None of any other."""
    text = data.decode("utf-8", "surrogateescape")
    beyond = [character for character in text if character > "\x7f"]
    single = [character for character in beyond if _is_single(character)]
    whole = len(beyond) - len(single)
    if 4 * whole < len(single) or not whole or len(beyond) > 0.1 * len(text):
        return None
    written = "".join(bytes([ord(each) - 0xDC00]).decode("cp1252", "replace") if _is_single(each) else each for each in beyond)
    if not all(_MIXED.fullmatch(each) for each in written):
        return None
    joined = re.sub("[\udc80-\udcff]", lambda found: bytes([ord(found[0]) - 0xDC00]).decode("cp1252"), text)
    return Decoded(joined, "utf-8, cp1252")


def _is_single(character: str) -> bool:
    """Whether it stands for a byte that is no UTF-8 (`surrogateescape`)."""
    return "\udc80" <= character <= "\udcff"


def _damaged(data: bytes) -> int | None:
    """The byte where a file that is UTF-8 everywhere else breaks: at least ten letters of several bytes to each broken one."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = sum(character > "\x7f" for character in text) - broken
    return broken if whole >= 10 * broken else None


def _guess(data: bytes) -> tuple[str, str]:
    """Text and codec of bytes that are not UTF-8: the codec whose own letters the text is mostly made of, the first among equals."""
    best = max(_OLD, key=lambda codec: (_plausible(data[:_SAMPLE], codec), -list(_OLD).index(codec)))
    for codec in (best, "cp1252"):
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if _OLD[codec] is _WEST and "á" in text.lower() and _HUNGARIAN.search(text) and not _NOT_HUNGARIAN.search(text):
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode("cp1250"), "cp1250"
        if codec in ("cp1250", "iso8859_2") and "ţ" in text and "đ" in text:
            return data.decode("cp1252", "replace"), "cp1252"  # Icelandic: no language has both
        return text, codec
    return data.decode("latin-1"), "latin-1"


def _plausible(data: bytes, codec: str) -> float:
    """Share of the characters beyond ASCII that a text in this codec is expected to hold, less what no text holds."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(data)  # a character that the sample cuts is left out
    except UnicodeDecodeError:
        return -1.0
    beyond = [character for character in text if character > "\x7f"]
    if not beyond:
        return 0.0
    expected = frozenset(_OLD[codec])
    good = sum(1.0 if character in expected else _second(character, codec) for character in beyond)
    spaced = text.count(" ") > 0.08 * len(text)
    fits = 0.8 if codec in ("gb18030", "big5", "cp949", "shift_jis", "euc_jp") and spaced != (codec == "cp949") else 1.0
    if _OLD[codec] is _RUSSIAN and sum(character.lower() in _VOWELS for character in beyond) < _FEWEST_VOWELS * len(beyond):
        fits = 0.8
    if _OLD[codec] in (_WEST, _CENTRAL, _TURKISH, _BALTIC) and len(beyond) > 0.5 * sum(map(str.isalpha, text)):
        fits = 0.7  # Latin letters with marks are fewer than those without
    if codec == "cp874":
        odd = (
            spaced
            or sum(map(_THAI_CONSONANTS.__contains__, beyond)) < 0.45 * len(beyond)
            or sum(map(str.isdigit, beyond)) > 0.03 * len(beyond)
        )
        return 0.0 if odd else good / len(beyond)
    return (fits * good - len(_BETWEEN_LETTERS.findall(text))) / len(beyond)


def _second(character: str, codec: str) -> float:
    """How well a character fits that is not among the common ones."""
    if codec in _COMMON_HALF:
        narrow, first, last = _COMMON_HALF[codec]
        try:
            return 1.0 if first <= character.encode(narrow)[0] <= last else 0.3
        except UnicodeEncodeError:
            return 0.1
    if codec in ("shift_jis", "euc_jp"):
        return 0.9 if "\u4e00" <= character <= "\u9fff" else 0.1
    return 0.4 if character.lower() in _OLD[codec] else 0.0
