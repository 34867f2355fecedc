"""Bringing one's own text: files are read, hashed and copied into `<home>/sources/<name>/`, and a style is made of them.

Adding the same place again updates it. Either the whole source stands or what stood before does.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timbre.artifacts import IntegrityError, sha256_file
from timbre.config import CorpusConfig
from timbre.corpus.changes import Changes, compare
from timbre.corpus.chats import member_id
from timbre.corpus.consent import ground_of, is_recorded
from timbre.corpus.finding import find_files, printable
from timbre.corpus.loading import raw_documents
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.readers import read_file
from timbre.corpus.shelf import join_style, write_source
from timbre.corpus.sifting import Sifted, Track, _silent, sift
from timbre.corpus.sources import NAME, Refused, Source, SourceFile, SourceInput, find_source, source_paths
from timbre.corpus.spool import Spool
from timbre.corpus.summary import Summary, summarise
from timbre.settings import settings


@dataclass(frozen=True)
class Request:
    """What is brought, and under which terms; the words of `timbre corpus add`."""

    path: Path
    style: str
    author: str
    licence: str
    name: str | None = None
    date: str | None = None
    consent: str | None = None
    description: str | None = None
    language: str | None = None
    research_only: bool = False
    reading: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a source that say how files are read: text_column, author_column, date_column, role, encoding, format."""


class NoText(ValueError):
    """Nothing was read at all; `unread` holds (document, reason) of each file or row."""

    def __init__(self, sentence: str, unread: list[tuple[str, str]]) -> None:
        super().__init__(sentence)
        self.unread = unread


@dataclass(frozen=True)
class Added:
    """What came of it: the entry, what became of its documents, and how it differs from what stood there before."""

    entry: Path
    source: Source
    summary: Summary
    changes: Changes
    lists: tuple[str, ...] = ()
    """Files that an export lays beside its texts; they hold none, and are left out."""


@dataclass(frozen=True)
class Examined:
    """A request that was read and found fit to be registered; nothing is changed yet."""

    request: Request
    files: Mapping[str, Path]
    source: Source
    summary: Summary
    changes: Changes
    replaced: Source | None
    """The user's own source of that name as it stands, if there is one."""
    lists: tuple[str, ...] = ()
    """Files that an export lays beside its texts; they hold none, and are left out."""

    def documents(self) -> Iterator[RawDocument | Unread]:
        """What its files hold, as the registered source will give it."""
        return _read(self.files, self.source)


def add(request: Request, *, home: Path | None = None, dry_run: bool = False, track: Track = _silent) -> Added:
    """Read, clean and register a file or folder, or update the source that was made of it before.

    What cannot be read is left out with its name and reason, and so is what cleaning rejects; both stand in the summary.

    Args:
        home: where it is kept; default `settings().home`.
        dry_run: find out everything, and register nothing.

    Raises:
        ValueError: something is missing, there is no text at all, a package that reads these files is not installed, or the name
            is taken by another source. Nothing is changed then.
    """
    home = home or settings().home
    examined = examine(request, home=home, track=track)
    if not dry_run:
        register(examined, home)
    entry = home / "sources" / examined.source.name / "source.toml"
    return Added(entry, examined.source, examined.summary, examined.changes, examined.lists)


def examine(request: Request, *, home: Path | None = None, track: Track = _silent) -> Examined:
    """Read and clean a file or folder; register nothing.

    Raises:
        ValueError: as `add`.
    """
    home = home or settings().home
    found = find_files(request.path)
    files = found.files
    source = _source(request, files, found.refused)
    member = _member(found.lists, request)
    if member is not None:
        source = source.model_copy(update={"role": member})
    existing = _existing(source, request, home)
    old: dict[str, str] = {}
    if existing is not None:
        old = _identities(existing, home)
        source = _updated(existing.source, source, request, member)
    new: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="timbre-") as scratch:
        raw = {source.name: _told(_read(files, source), new)}
        config = CorpusConfig(style=request.style, languages=(request.language,) if request.language else ())
        spool = Spool(Path(scratch))
        try:
            sifted = sift(raw, {source.name: source}, config, spool, track=track, find_languages=not request.language)
            _require_text(sifted)
            source = source.model_copy(update={"languages": sifted.languages[source.name], "language": sifted.languages[source.name][0]})
            summary = summarise(sifted)
        finally:
            spool.close()
    changes = compare(old, new)
    if existing is not None and not changes.is_update and existing.source.origin != source.origin:
        raise ValueError(
            f"a source named {source.name!r} is there already ({existing.path}) and holds other texts; choose another with "
            f"`--name`, or remove it with `timbre corpus remove {source.name}`"
        )
    return Examined(request, files, source, summary, changes, existing.source if existing is not None else None, tuple(found.lists))


def register(examined: Examined, home: Path) -> None:
    """Put what was examined on the shelf, and its source into the style.

    Raises:
        ValueError: a file was changed meanwhile; what stood before stands.
    """
    source, replaced = examined.source, examined.replaced
    folder = home / "sources" / source.name
    if not (folder / "source.toml").exists() or (replaced is not None and replaced != source):
        _register(folder, examined.files, source)
    try:
        join_style(home, examined.request.style, source)
    except BaseException:
        if replaced is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _source(request: Request, files: Mapping[str, Path], refused: tuple[Refused, ...]) -> Source:
    """The entry that these files make, checked."""
    for what, value in (("author", request.author), ("licence", request.licence)):
        if not value or not value.strip():
            raise ValueError(f"{what} is missing: say `--{what} ...`; no text is used without it")
    if request.language and not re.fullmatch(r"[a-z]{2,3}", request.language):
        raise ValueError(
            f"language {request.language!r}: give its code (ISO 639-1), such as en, de or zh, or leave it out to have it found"
        )
    name = request.name or _slug(f"{request.style}-{request.path.resolve().stem}")
    for what, value in (("style", request.style), ("name", name)):
        if not NAME.fullmatch(value):
            raise ValueError(f"{what} {value!r}: use small letters, digits and hyphens, at most 48")
    if request.style in settings().files("data/styles"):
        raise ValueError(f"style {request.style!r} ships with Timbre; choose another name for yours")
    records = tuple(SourceFile(name=file, sha256=sha256_file(where), size=where.stat().st_size) for file, where in sorted(files.items()))
    origin = hashlib.sha256(os.fsencode(request.path.resolve())).hexdigest()[:16]
    return Source(
        name=name, kind="local", description=request.description or f"Added from {printable(request.path.resolve().name)}.",
        licence=request.licence.strip(), consent=(request.consent or "").strip() or ground_of(request.licence), files=records,
        author=request.author.strip(), date=request.date, research_only=request.research_only, refused=refused, origin=origin,
        language=request.language or "en", **request.reading,
    )  # fmt: skip


def _member(lists: Mapping[str, Path], request: Request) -> str | None:
    """The id under which a Slack export writes whoever is meant: its days do not name people, its `users.json` does."""
    index = next((where for name, where in lists.items() if name.rpartition("/")[2] == "users.json"), None)
    if index is None:
        return None
    try:
        users = json.loads(index.read_bytes())
    except (ValueError, OSError, RecursionError):
        return None
    return member_id(users, str(request.reading.get("role") or request.author))


@dataclass(frozen=True)
class _Existing:
    path: Path
    source: Source


def _existing(source: Source, request: Request, home: Path) -> _Existing | None:
    """The user's own source of that name, if there is one."""
    taken = source_paths(home).get(source.name)
    if taken is None:
        return None
    path, old = find_source(source.name, home)
    if old.kind != "local":
        raise ValueError(f"a source named {source.name!r} is there already ({path}); choose another with `--name`")
    stated = (request.consent or "").strip()
    if stated and stated != old.consent and is_recorded(old.consent, old.licence) and old.licence == source.licence:
        raise ValueError(
            f"a source named {source.name!r} is there already ({path}) with the consent {old.consent!r}; choose another with "
            f"`--name`, or remove it first with `timbre corpus remove {source.name}`"
        )
    return _Existing(path, old)


def _updated(old: Source, new: Source, request: Request, member: str | None) -> Source:
    """The new entry, with what was said before and is not said again: consent, description, how files are read."""
    said = {"description": old.description} if request.description is None else {}
    if request.consent is None and old.licence == new.licence:
        said["consent"] = old.consent
    kept = {name: getattr(old, name) for name in ("text_column", "author_column", "date_column", "role", "encoding", "format")}
    who = {"role": member} if member is not None else {}
    return new.model_copy(update={**kept, **request.reading, **who, **said, "date": request.date or old.date})


def _identities(existing: _Existing, home: Path) -> dict[str, str]:
    """Name → hash of the documents that stand; none where a stored file was damaged, which adding again mends."""
    found: dict[str, str] = {}
    try:
        for _ in _told(raw_documents(SourceInput(existing.path, existing.source), home), found):
            pass
    except IntegrityError:
        return {}
    return found


def _told(items: Iterator[RawDocument | Unread], identities: dict[str, str]) -> Iterator[RawDocument | Unread]:
    """The same items; what is a document is noted by name and hash."""
    for item in items:
        if isinstance(item, RawDocument):
            identities[item.name] = hashlib.blake2b(item.text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        yield item


def _read(files: Mapping[str, Path], source: Source) -> Iterator[RawDocument | Unread]:
    for name in sorted(files):
        yield from read_file(files[name], name, source)
    yield from (Unread(refused.name, refused.reason) for refused in source.refused)


def _require_text(sifted: Sifted) -> None:
    """Raise where nothing was read at all, with the first reason."""
    if sifted.spool.one("SELECT COUNT(*) FROM draft WHERE size > 0"):
        return
    bad = sifted.spool.base.execute("SELECT doc_id, detail FROM draft WHERE reason = 'unreadable' ORDER BY n").fetchall()
    if not bad:
        raise NoText("there is no text in these files: nothing was added", [])
    name, reason = bad[0]
    others = f"; {len(bad) - 1} more could not be read" if len(bad) > 1 else ""
    raise NoText(f"there is no text in these files: nothing was added ({name.partition(':')[2]}: {reason}{others})", bad)


def _register(folder: Path, files: Mapping[str, Path], source: Source) -> None:
    """Copy the files and write the entry beside its place, then put it there; what stood there goes at once."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "adding.lock"):
        for leftover in folder.parent.glob(".adding-*"):  # of a killed one: the lock is ours
            shutil.rmtree(leftover, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder.parent))
        before = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder.parent))
        try:
            _copy(staging, files, source)
            staging.chmod(0o755)
            if folder.exists():
                folder.rename(before / folder.name)
            staging.rename(folder)
        except BaseException:
            if (before / folder.name).exists() and not folder.exists():
                (before / folder.name).rename(folder)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(before, ignore_errors=True)


def _copy(staging: Path, files: Mapping[str, Path], source: Source) -> None:
    (staging / "files").mkdir()
    for record in source.files:
        copy = staging / "files" / (record.sha256 + Path(record.name).suffix.lower())
        shutil.copyfile(files[record.name], copy)
        if sha256_file(copy) != record.sha256:
            raise ValueError(f"{record.name} changed while it was copied: nothing was added; try again")
    write_source(staging / "source.toml", source)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].strip("-")
