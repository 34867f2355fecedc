"""The user's own sources as they stand on the shelf: writing their entries, joining them to styles, listing and removing them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timbre.artifacts import write_atomically
from timbre.config import CorpusConfig, Frozen
from timbre.corpus.consent import is_recorded
from timbre.corpus.loading import raw_documents
from timbre.corpus.raw import RawDocument
from timbre.corpus.sifting import FEW_DOCUMENTS, SECTION_WORDS, sift
from timbre.corpus.sources import Source, SourceInput, Style, find_source, find_style, source_paths, style_paths
from timbre.corpus.spool import Spool
from timbre.corpus.summary import Summary, summarise
from timbre.settings import settings
from timbre.words import size

ENOUGH_DOCUMENTS, ENOUGH_WORDS = 20, 8_500
"""From here on the test split holds as many documents as the policy `quick` asks for, and the training split as many tokens as
the profile `quick` trains on."""


@dataclass(frozen=True)
class Size:
    """How much text a style has; a few long documents count as the sections that they will be cut into."""

    documents: int
    words: int
    cleaned: bool = False
    """Counted after cleaning, duplicates left out, rather than as brought."""


@dataclass(frozen=True)
class Entry:
    """A source on the shelf."""

    name: str
    styles: list[str]
    kind: str
    files: int
    megabytes: float
    licence: str
    author: str
    consent_recorded: bool
    languages: list[str]
    own: bool


def entries(home: Path | None = None) -> list[Entry]:
    """All sources, the user's own first, with the styles that are made of them."""
    home = home or settings().home
    styles = {name: find_style(name, home)[1].sources for name in style_paths(home)}
    found = []
    for name in source_paths(home):
        path, source = find_source(name, home)
        found.append(
            Entry(
                name,
                sorted(style for style, members in styles.items() if name in members),
                source.kind,
                len(source.files),
                round(sum(file.size for file in source.files) / 1e6, 2),
                source.licence,
                source.author,
                is_recorded(source.consent, source.licence),
                list(source.languages or (source.language,)),
                path.is_relative_to(home),
            )
        )
    return sorted(found, key=lambda entry: (not entry.own, entry.name))


def named(name: str, home: Path | None = None) -> list[str]:
    """The sources that a name means: that source, or all of that style.

    Raises:
        ValueError: neither a source nor a style.
    """
    home = home or settings().home
    known, styles = source_paths(home), style_paths(home)
    if name in known:
        return [name]
    if name in styles:
        return list(find_style(name, home)[1].sources)
    own = [entry.name for entry in entries(home) if entry.own]
    raise ValueError(f"unknown source or style {name!r}: yours are {', '.join(own) or 'none yet'}; `timbre corpus list` shows all")


@dataclass(frozen=True)
class Row:
    """One document of a source: characters in and kept, and why it was left out, if it was."""

    name: str
    kind: str
    encoding: str
    characters_in: int
    characters_kept: int
    words: int
    reason: str
    detail: str


def show(name: str, home: Path | None = None) -> tuple[Summary, list[Row]]:
    """What cleaning makes of each document of a local source, or of a style's, with the default settings.

    Raises:
        ValueError: unknown, or a source that would have to be fetched.
        IntegrityError: a stored file was changed.
    """
    home = home or settings().home
    found = {each: SourceInput(*find_source(each, home)) for each in named(name, home)}
    if far := [each for each, given in found.items() if given.source.kind != "local"]:
        raise ValueError(f"{', '.join(far)}: a packaged source; its documents stand in the corpus that `timbre stage corpus` builds")
    spool = Spool()
    raw = {each: raw_documents(given, home) for each, given in found.items()}
    sifted = sift(raw, {each: given.source for each, given in found.items()}, CorpusConfig(), spool)
    columns = "doc_id, kind, encoding, characters, LENGTH(text), size, reason, detail"
    found_rows: list[list[Any]] = [["" if value is None else value for value in row[1:]] for row in spool.drafts(columns)]
    rows = [Row(*row) for row in found_rows]
    summary = summarise(sifted)
    spool.close()
    return summary, rows


def remove(name: str, home: Path | None = None) -> tuple[list[str], list[str]]:
    """Take a source, or all of a style, off the shelf: (sources, styles) that are gone. Corpora that were built of them stay.

    Raises:
        ValueError: unknown, or one that ships with Timbre.
    """
    from filelock import FileLock

    home = home or settings().home
    gone = named(name, home)
    shelf = home / "sources"
    if shipped := [each for each in gone if not source_paths(home)[each].is_relative_to(home)]:
        raise ValueError(f"{', '.join(shipped)}: ships with Timbre and stays")
    left: list[str] = []
    (home / "styles").mkdir(parents=True, exist_ok=True)
    with FileLock(home / "styles" / "joining.lock"):
        for style in style_paths(home):
            path, preset = find_style(style, home)
            rest = tuple(each for each in preset.sources if each not in gone)
            if rest == preset.sources or not path.is_relative_to(home):
                continue
            if rest:
                write_atomically(path, toml(preset.model_copy(update={"sources": rest})).encode())
            else:
                path.unlink()
                left.append(style)
    with FileLock(shelf / "adding.lock"):
        for each in gone:
            entry = source_paths(home).get(each)
            if entry is not None and entry.name == "source.toml":
                shutil.rmtree(entry.parent)
            elif entry is not None:
                entry.unlink()
    return gone, left


def style_counts(config: CorpusConfig, home: Path | None = None) -> dict[str, Any] | None:
    """What cleaning keeps and rejects of a style's own sources, as the counts of its corpus will say: read, kept, rejected by reason,
    and the words that are kept. None where a source would have to be fetched to know.

    Raises:
        ValueError: no such style.
        IntegrityError: a file was changed.
    """
    home = home or settings().home
    sources = {name: SourceInput(*find_source(name, home)) for name in find_style(config.style, home)[1].sources}
    if any(given.source.kind != "local" for given in sources.values()):
        return None
    spool = Spool()
    raw = {name: raw_documents(given, home) for name, given in sources.items()}
    try:
        summary = summarise(sift(raw, {name: given.source for name, given in sources.items()}, config, spool))
    finally:
        spool.close()
    return {"read": summary.read, "kept": summary.kept, "rejected": summary.rejected, "words": summary.words}


def style_size(style: str, added: tuple[str, Summary], home: Path | None = None) -> Size | None:
    """How much text the user's own sources of a style hold; None where a source would have to be fetched to know.

    Of a style that is made of one source this is what cleaning kept of it; of others about as much as was brought.

    Args:
        added: the source that was cleaned just now, and what became of it.

    Raises:
        ValueError: no such style.
        IntegrityError: a file was changed.
    """
    home = home or settings().home
    names = find_style(style, home)[1].sources
    if names == (added[0],):
        return Size(added[1].kept, added[1].words, cleaned=True)
    sources = [find_source(name, home) for name in names]
    if any(source.kind != "local" for _, source in sources):
        return None
    documents = words = 0
    for path, source in sources:
        for raw in raw_documents(SourceInput(path, source), home):
            if isinstance(raw, RawDocument):
                documents, words = documents + 1, words + size(raw.text)
    return Size(documents if documents >= FEW_DOCUMENTS else max(documents, words // SECTION_WORDS), words)


def join_style(home: Path, style: str, source: Source) -> None:
    """Make the style of this source, or add the source to the user's own style; two at once take turns."""
    from filelock import FileLock

    path = home / "styles" / f"{style}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / "joining.lock"):
        if style in style_paths(home) and path.exists():
            _, old = find_style(style, home)
            if source.name in old.sources:
                return
            preset = old.model_copy(update={"sources": (*old.sources, source.name)})
        else:
            preset = Style(name=style, description=source.description, sources=(source.name,))
        write_atomically(path, toml(preset).encode())


class Shelf:
    """Whether what was put on the shelf is to stay."""

    def __init__(self) -> None:
        self.stays = False

    def stay(self) -> None:
        """Keep the shelf as it is now."""
        self.stays = True


@contextmanager
def as_it_stood(home: Path, source: str, style: str) -> Iterator[Shelf]:
    """Put a source and the user's own style back as they stood before, unless `stay` was called in the block."""
    import tempfile

    places = [home / "styles" / f"{style}.toml", *([home / "sources" / source] if source else [])]
    shelf = Shelf()
    (home / "work").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shelf-", dir=home / "work") as folder:
        before = {place: Path(folder) / str(number) for number, place in enumerate(places) if place.exists()}
        for place, copy in before.items():
            shutil.copytree(place, copy) if place.is_dir() else shutil.copyfile(place, copy)
        try:
            yield shelf
        finally:
            if not shelf.stays:
                for place in places:
                    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
                    if place in before:
                        before[place].rename(place)


def write_source(path: Path, source: Source) -> None:
    """Write a source's entry."""
    write_atomically(path, toml(source).encode())


def toml(value: Frozen) -> str:
    """A flat model as TOML: what differs from its defaults. JSON strings, numbers and lists are TOML as well."""
    lines, tables = [], []
    for key, item in value.model_dump(mode="json", exclude_defaults=True).items():
        if isinstance(item, list) and item and isinstance(item[0], dict):
            for entry in item:
                tables += [f"\n[[{key}]]", *(_pair(field, part) for field, part in entry.items())]
        else:
            lines.append(_pair(key, item))
    return "\n".join([*lines, *tables]) + "\n"


def _pair(key: str, value: Any) -> str:
    return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")


def as_json(entry: Entry) -> dict[str, Any]:
    """For `--json`."""
    return asdict(entry)
