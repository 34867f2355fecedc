"""Any folder or file of texts, read and cut into passages of one length."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbre.corpus.kinds import ROWS, SUFFIXES, known_suffix
from timbre.corpus.raw import Unread
from timbre.corpus.readers import read_file, read_text
from timbre.corpus.sources import Source, SourceFile
from timbre.words import has_word, pieces

_FIELDS = ("text", "completion", "generation", "output", "response")
_NAMES = ("cluster", "doc_id", "document", "prompt_id", "prompt", "author")
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


def read_texts(path: Path) -> list[Text]:
    """The texts of a file, or of every file of a known format below a folder, in the order of their names.

    A line of JSONL is a string, or an object with a text under text, completion, generation, output or response; cluster,
    doc_id, document, prompt_id, prompt or author name what it belongs to. Other formats give one text a file.

    Raises:
        ValueError: there is no such path, no file of a known format, or a file that cannot be read; the sentence names it.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file() and _visible(file, path))
    known = [file for file in files if known_suffix(file.name)]
    if not known:
        raise ValueError(f"{path}: no file of a known format ({', '.join(SUFFIXES)})")
    return [text for file in known for text in _read(file, file.name if path.is_file() else file.relative_to(path).as_posix())]


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


def _visible(file: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _read(file: Path, name: str) -> Iterator[Text]:
    if (kind := SUFFIXES.get(file.suffix.lower(), "json" if file.suffix.lower() == ".js" else "")) != "jsonl":
        many = kind in ROWS or file.suffix.lower() == ".gz"
        for document in read_file(file, name, _OTHER):
            if not isinstance(document, Unread):
                yield Text(document.text, document.name)
            elif not many or document.name == name:  # a row that holds no text is passed over, a file is not
                raise ValueError(f"{name}: {document.reason}")
        return
    for number, line in enumerate(read_text(file, name).split("\n"), start=1):
        if line.strip():
            yield _row(line, name, number)


def _row(line: str, name: str, number: int) -> Text:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: line {number} is not JSON ({error})") from error
    if isinstance(row, str):
        return Text(row, f"{name}:{number}")
    field = next((field for field in _FIELDS if isinstance(row, dict) and isinstance(row.get(field), str)), None)
    if field is None:
        raise ValueError(f"{name}: line {number} has no text; write it as {', '.join(_FIELDS[:-1])} or {_FIELDS[-1]}")
    owner = next((str(row[key]) for key in _NAMES if row.get(key)), f"{name}:{number}")
    prompt = row.get("prompt") if isinstance(row.get("prompt"), str) else None
    return Text(row[field], owner, prompt)
