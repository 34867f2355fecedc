"""Names of documents: those of their files, without what all share, and which words in headers are names of persons."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from timbre.corpus.raw import RawDocument

_PLACE = re.compile(r"(?:(?::\d+(?:#\d+)?|#\d+)(?:\.gz)?)?\Z")
"""A file's own name ends as a reader knows it, so that digits after the last mark are never part of it."""


def shared_folders(names: Iterable[str]) -> int:
    """How many folders, from the outermost, stand in every name."""
    shared: tuple[str, ...] | None = None
    for name in names:
        folders = PurePosixPath(_parts(name)[0]).parent.parts
        if shared is None:
            shared = folders
        same = 0
        while same < min(len(shared), len(folders)) and shared[same] == folders[same]:
            same += 1
        shared = shared[:same]
    return len(shared or ())


def short_name(name: str, shared: int, *, ending: bool) -> str:
    """A name without so many folders, and perhaps without its ending; its place in the file stays."""
    file, place = _parts(name)
    path = PurePosixPath(*PurePosixPath(file).parts[shared:])
    return str(path if ending else path.with_suffix("")) + place


def _parts(name: str) -> tuple[str, str]:
    """The file of a document, and its place in there: `:row` and `#chapter` as the readers put them behind its name."""
    match = _PLACE.search(name)
    assert match is not None
    return name[: match.start()], match[0]


def private_names(documents: Iterator[RawDocument]) -> frozenset[str]:
    """Name words from headers, without those the texts mostly write small: Will, Mark, Young are words as well."""
    candidates: set[str] = set()
    small: Counter[str] = Counter()
    great: Counter[str] = Counter()
    for raw in documents:
        candidates.update(raw.names)
        small.update(re.findall(r"\b[a-z][\w'’-]+", raw.text))
        great.update(re.findall(r"\b[A-Z][\w'’-]+", raw.text))
    return frozenset(word for word in candidates if small[word.lower()] <= great[word] // 4)
