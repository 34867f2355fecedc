"""Any folder or file of texts, read and cut into passages of one length."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from timbre.corpus.exports import lists_of_an_export
from timbre.corpus.finding import is_hidden
from timbre.corpus.kinds import SUFFIXES, known_suffix, way_out
from timbre.corpus.raw import Unread
from timbre.corpus.readers import read_file
from timbre.corpus.rows import lone_surrogate
from timbre.corpus.sources import Source, SourceFile
from timbre.corpus.tables import documents_of, rows_of_jsonl
from timbre.words import has_word, pieces

_FIELDS = ("text", "completion", "generation", "output", "response")
_NAMES = ("cluster", "doc_id", "document", "prompt_id", "prompt", "author")
_OPTION = re.compile(r"[;:,] (?:or )?(?:name one|say (?:how it is encoded|whose words are the texts)) with --[\w-]+")
"""What `corpus add` could be told."""
_OTHER = Source(
    name="texts", kind="local", description="Texts to measure.", licence="not asked", consent="not asked", author="unknown",
    files=(SourceFile(name="texts", sha256="0" * 64, size=0),),
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A text, the document or prompt it belongs to (texts of one are not independent), and its prompt if there is one."""

    text: str
    document: str
    prompt: str | None = None


@dataclass(frozen=True)
class Passages:
    """Passages of exactly as many words, and how many texts gave none: empty ones (without a word), and others that are too short."""

    texts: list[str]
    documents: list[str]
    read: int
    too_short: int
    empty: int

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def empty_share(self) -> float:
        """Share of the texts that were read without a word in them; 0 where none was read."""
        return self.empty / max(self.read, 1)

    @property
    def documents_like(self) -> float:
        """How many documents of one size tell as much: 1/Σ(share of the passages)², so a novel among notes counts as about one."""
        counts = np.array(list(Counter(self.documents).values()), float)
        return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0


def read_texts(path: Path, unread: list[Unread] | None = None) -> list[Text]:
    """The texts of a file, or of every file of a known format below a folder, in the order of their names.

    A line of JSONL is a string, or an object with a text under text, completion, generation, output or response, or wherever a
    corpus finds one; cluster, doc_id, document, prompt_id, prompt or author name what it belongs to. Other formats give one text a
    file, or a row. A file or row that cannot be read is left out with its name and reason, and so are an export's own lists.

    Args:
        unread: takes those that could not be read; without it a warning tells of them.

    Raises:
        ValueError: there is no such path, no file of a known format, or nothing in them that can be read; the sentence names it.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    files = (
        [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file() and not is_hidden(file.relative_to(path)))
    )
    known = {
        file.name if path.is_file() else file.relative_to(path).as_posix(): file
        for file in files if known_suffix(file.name) or way_out(file.name)
    }  # fmt: skip
    if not known:
        raise ValueError(f"{path}: no file of a known format ({', '.join(SUFFIXES)})")
    lists = lists_of_an_export(known)
    texts: list[Text] = []
    bad: list[Unread] = []
    for name, file in known.items():
        for found in _read(file, name) if name not in lists else ():
            if isinstance(found, Text):
                texts.append(found)
            else:
                bad.append(replace(found, reason=_OPTION.sub("", found.reason)))
    if bad and not texts:
        more = f"; {len(bad) - 1} more could not be read" if len(bad) > 1 else ""
        raise ValueError(f"{path}: no text that can be read ({bad[0].name}: {bad[0].reason}{more})")
    if unread is not None:
        unread += bad
    elif bad:
        warnings.warn(told_unread(bad), stacklevel=2)
    return texts


def told_unread(unread: Sequence[Unread]) -> str:
    """A sentence on the files and rows that could not be read, with the first three of them."""
    shown = "; ".join(f"{each.name}: {each.reason}" for each in unread[:3])
    more = f"; and {len(unread) - 3} more" if len(unread) > 3 else ""
    return f"{len(unread)} file{'s' if len(unread) > 1 else ''} or row{'s' if len(unread) > 1 else ''} could not be read: {shown}{more}"


def passages(texts: Sequence[Text], length: int, most: int) -> Passages:
    """Up to `most` passages of exactly `length` words: the first of every text, then the second of every text, and so on.

    Nothing of a text is measured that is shorter; it is counted, and apart from those the texts without a word. A huge text
    gives no more passages than are asked for.
    """
    live = [(text, pieces(text.text, length)) for text in texts]
    found: list[tuple[str, str]] = []
    too_short, empty, first = 0, 0, True
    while live and len(found) < most:
        still: list[tuple[Text, Iterator[str]]] = []
        for text, source in live:
            if len(found) == most and not first:
                break
            piece = next(source, None)
            if piece is None:
                nothing = first and not has_word(text.text)
                empty += nothing
                too_short += first and not nothing
                continue
            if len(found) < most:
                found.append((piece, text.document))
            still.append((text, source))
        live, first = still, False
    return Passages([piece for piece, _ in found], [document for _, document in found], len(texts), too_short, empty)


def _read(file: Path, name: str) -> Iterator[Text | Unread]:
    if SUFFIXES.get(file.suffix.lower()) == "jsonl":
        try:
            yield from _lines(file, name)
        except (ValueError, OSError) as error:
            yield Unread(name, str(error).removeprefix(f"{name}: "))
        return
    for document in read_file(file, name, _OTHER):
        yield document if isinstance(document, Unread) else Text(document.text, document.name)


def _lines(file: Path, name: str) -> Iterator[Text | Unread]:
    """The rows of JSONL: as programs that sample write them, and others as a corpus reads them."""
    rows = list(rows_of_jsonl(file, name, _OTHER))
    others = {found.name: found for found in documents_of(((place, row) for place, row in rows if _written(row) is None), _OTHER)}
    for place, row in rows:
        text = _written(row)
        if text is None:
            found = others[place]
            if isinstance(found, Unread):
                yield found
                continue
            text = found.text
        if (half := lone_surrogate(text)) is not None:
            yield Unread(place, half)
            continue
        owner = next((str(row[key]) for key in _NAMES if row.get(key)), place) if isinstance(row, Mapping) else place
        prompt = row.get("prompt") if isinstance(row, Mapping) else None
        yield Text(text, owner, prompt if isinstance(prompt, str) else None)


def _written(row: Any) -> str | None:
    """The text of a row that is one, or has it under a name that programs use."""
    if isinstance(row, str):
        return row
    return next((row[field] for field in _FIELDS if isinstance(row.get(field), str)), None) if isinstance(row, Mapping) else None
