"""Bringing one's own text: files are read, hashed and copied into `<home>/sources/<name>/`, and a style is made of them.

Either the whole source stands or nothing does.
"""

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from timbre.artifacts import sha256_file, write_atomically
from timbre.config import Frozen
from timbre.corpus.consent import ground_of, is_recorded
from timbre.corpus.curation import FEW_DOCUMENTS, SECTION_WORDS
from timbre.corpus.loading import known_suffix, raw_documents
from timbre.corpus.readers import SUFFIXES, read_file
from timbre.corpus.sources import NAME, Source, SourceFile, SourceInput, Style, find_source, find_style, source_paths, style_paths
from timbre.settings import settings

ENOUGH_DOCUMENTS, ENOUGH_WORDS = 20, 4_500
"""From here on the test split holds as many documents as the policy `quick` asks for, and the training split as many tokens as
the profile `quick` trains on."""


@dataclass(frozen=True)
class Size:
    """How much text a style has; a few long documents count as the sections that they will be cut into."""

    documents: int
    words: int


def add_source(
    path: Path,
    style: str,
    author: str,
    licence: str,
    *,
    home: Path | None = None,
    name: str | None = None,
    date: str | None = None,
    consent: str | None = None,
    description: str | None = None,
    language: str = "en",
    research_only: bool = False,
) -> Path:
    """Register a file or folder (txt, md, html, rst, jsonl, parquet) as a source of `style`; the style is made if it is new.

    Args:
        author: of every text that names none itself.
        licence: SPDX expression, or the terms in words.
        consent: on what ground the author's manner may be learnt; by default what `licence` itself says of that: own work and
            the public domain count as consent, other licences as none recorded.
        home: where it is kept; default `settings().home`.

    Returns:
        The new `<home>/sources/<name>/source.toml`. Adding the same files again returns the one that stands; a consent that
        was not recorded then is recorded now.

    Raises:
        ValueError: something is missing, empty, unreadable, not text, or already taken. Nothing is registered then.
    """
    home = home or settings().home
    for what, value in (("author", author), ("licence", licence)):
        if not value or not value.strip():
            raise ValueError(f"{what} is missing: say `--{what} ...`; no text is used without it")
    name = name or _slug(f"{style}-{path.stem}")
    for what, value in (("style", style), ("name", name)):
        if not NAME.fullmatch(value):
            raise ValueError(f"{what} {value!r}: use small letters, digits and hyphens, at most 48")
    if style in settings().files("data/styles"):
        raise ValueError(f"style {style!r} ships with Timbre; choose another name for yours")
    files = dict(_files(path))
    records = tuple(SourceFile(name=file, sha256=sha256_file(where), size=where.stat().st_size) for file, where in sorted(files.items()))
    source = Source(
        name=name, kind="local", description=description or f"Added from {path.name}.", licence=licence.strip(),
        consent=(consent or "").strip() or ground_of(licence), files=records, author=author.strip(),
        date=date, language=language, research_only=research_only,
    )  # fmt: skip
    folder = home / "sources" / name
    if (taken := source_paths(home).get(name)) is not None or folder.exists():
        taken = taken or folder / "source.toml"
        if taken.exists() and _is_same(taken, find_source(name, home)[1], source, asked=consent is not None):
            _join(home, style, name, source)
            return taken
        raise ValueError(f"a source named {name!r} is there already ({taken}); choose another with `--name`, or remove it")
    _check_readable(files, source)
    if not _register(folder, files, source):  # another process added it while we were reading
        return add_source(
            path, style, author, licence, home=home, name=name, date=date, consent=consent, description=description, language=language,
            research_only=research_only,
        )  # fmt: skip
    try:
        _join(home, style, name, source)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / "source.toml"


def _is_same(entry: Path, old: Source, new: Source, *, asked: bool) -> bool:
    """Whether `new` is the source that stands; where nothing but its consent was missing, that is written down first.

    Args:
        asked: whether a consent was given this time; else the one that stands is good.
    """
    if old == new:
        return True
    if old.model_copy(update={"consent": new.consent}) != new:
        return False
    if asked and is_recorded(old.consent, old.licence):
        return False
    if asked:
        write_atomically(entry, _toml(new).encode())
    return True


def style_size(style: str, home: Path | None = None) -> Size | None:
    """About how much text the user's own sources of a style hold; None where a source would have to be fetched to know.

    Raises:
        ValueError: no such style, or a file that cannot be read.
        IntegrityError: a file was changed.
    """
    home = home or settings().home
    sources = [find_source(name, home) for name in find_style(style, home)[1].sources]
    if any(source.kind != "local" for _, source in sources):
        return None
    documents = words = 0
    for path, source in sources:
        for raw in raw_documents(SourceInput(path, source), home):
            documents, words = documents + 1, words + len(raw.text.split())
    return Size(documents if documents >= FEW_DOCUMENTS else max(documents, words // SECTION_WORDS), words)


def skipped_endings(path: Path) -> dict[str, int]:
    """Endings that no reader knows, with the number of files below `path` that are passed over for it; hidden ones are not counted."""
    if not path.is_dir():
        return {}
    visible = (entry for entry in path.rglob("*") if entry.is_file() and not _hidden(entry.relative_to(path)))
    unknown = Counter(entry.suffix.lower() or "none" for entry in visible if not known_suffix(entry.name))
    return dict(sorted(unknown.items()))


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of a file, or of every file below a folder whose ending a reader knows; hidden ones are passed over."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_file():
        if not known_suffix(path.name):
            raise ValueError(f"{path}: unknown format; known are {', '.join(SUFFIXES)}")
        yield path.name, path
        return
    found = 0
    for entry in sorted(path.rglob("*")):
        name = entry.relative_to(path).as_posix()
        if entry.is_file() and known_suffix(name) and not _hidden(Path(name)):
            found += 1
            yield name, entry
    if not found:
        raise ValueError(f"{path}: holds no file that can be read; known endings are {', '.join(SUFFIXES)}")


def _check_readable(files: dict[str, Path], source: Source) -> None:
    has_text = False
    for name in sorted(files):
        for document in read_file(files[name], name, source):
            has_text = has_text or bool(document.text.strip())
    if not has_text:
        raise ValueError("there is no text in these files: nothing was added")


def _register(folder: Path, files: dict[str, Path], source: Source) -> bool:
    """Copy the files and write the entry; False, and nothing is done, where the name was taken meanwhile."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "adding.lock"):
        if folder.exists():
            return False
        for leftover in folder.parent.glob(".adding-*"):  # of a killed one: the lock is ours
            shutil.rmtree(leftover, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder.parent))
        try:
            _copy(staging, files, source)
            staging.chmod(0o755)
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return True


def _copy(staging: Path, files: dict[str, Path], source: Source) -> None:
    (staging / "files").mkdir()
    for record in source.files:
        copy = staging / "files" / (record.sha256 + Path(record.name).suffix.lower())
        shutil.copyfile(files[record.name], copy)
        if sha256_file(copy) != record.sha256:
            raise ValueError(f"{record.name} changed while it was copied: nothing was added; try again")
    write_atomically(staging / "source.toml", _toml(source).encode())


def _join(home: Path, style: str, name: str, source: Source) -> None:
    """Make the style of this source, or add the source to the user's own style; two at once take turns."""
    from filelock import FileLock

    path = home / "styles" / f"{style}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / "joining.lock"):
        if style in style_paths(home) and path.exists():
            _, old = find_style(style, home)
            if name in old.sources:
                return
            preset = old.model_copy(update={"sources": (*old.sources, name)})
        else:
            preset = Style(name=style, description=source.description, sources=(name,))
        write_atomically(path, _toml(preset).encode())


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].strip("-")


def _toml(value: Frozen) -> str:
    """A flat model as TOML: what differs from its defaults. JSON strings, numbers and lists are TOML as well."""
    lines, tables = [], []
    for key, item in value.model_dump(mode="json", exclude_defaults=True).items():
        if isinstance(item, list) and item and isinstance(item[0], dict):
            for entry in item:
                tables += [f"\n[[{key}]]", *(_pair(field, part) for field, part in entry.items())]
        else:
            lines.append(_pair(key, item))
    return "\n".join([*lines, *tables]) + "\n"


def _pair(key: str, value: object) -> str:
    return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
