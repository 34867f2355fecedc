"""What a reader gives: documents as their files hold them, and what could not be read, with the reason."""

import unicodedata
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RawDocument:
    """A text as its file holds it, without its markup. `names` are persons named in its headers."""

    name: str
    text: str
    author: str
    date: str | None = None
    names: tuple[str, ...] = ()
    kind: str = "text"
    characters: int | None = None
    """Of text in the file, menus included; None means those of `text`."""
    encoding: str = ""
    headings: tuple[str, ...] = ()
    """Those paragraphs of `text` that the file calls headings."""

    @property
    def read(self) -> int:
        """Characters of text that were there, counted as they will be kept: composed (NFC)."""
        if unicodedata.is_normalized("NFC", self.text):
            return len(self.text) if self.characters is None else self.characters
        composed = len(unicodedata.normalize("NFC", self.text))
        return composed if self.characters is None else round(self.characters * composed / len(self.text))


@dataclass(frozen=True)
class Prose:
    """What stands in a file with markup: its prose, how many characters of text it shows, and which paragraphs are headings."""

    text: str
    shown: int
    headings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A file or row that gives no document: its name, and why."""

    name: str
    reason: str
    kind: str = field(default="", compare=False)
