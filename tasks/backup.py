"""A backup of a home, and its way back: everything that cannot be had again from elsewhere, in one tar file.

    back_up(Path("timbre.tar"))
    restore(Path("timbre.tar"))        into an empty home; nothing is written over

SQLite databases are copied by SQLite's own backup, so that one which is written to meanwhile is whole. A list of every file with
its sha256 stands first in the file, and a restore verifies all of them before the home is put in its place.
"""

import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from timbre.artifacts import IntegrityError, sha256_file
from timbre.config import Frozen
from timbre.settings import settings
from timbre.staging import staging
from timbre.tasks.runs import only_run

_LIST = "backup.json"
_SCHEMA = 1
_LEFT_OUT = frozenset(
    {"work", "logs", "prefect", "dvc", "downloads", "encoders", "server.json", "run.json", "run.lock", "publish.lock", "hashes.json"}
)
"""What is made or fetched again, or belongs to a process; Prefect keeps no fact of ours."""
_SQLITE = b"SQLite format 3\0"


class Saved(Frozen):
    """What a backup holds."""

    schema_version: int = _SCHEMA
    at: datetime
    timbre: str
    files: dict[str, str]
    """Name in the home -> sha256."""
    links: dict[str, str]
    folders: tuple[str, ...]
    """Those that are empty, such as git's."""
    elsewhere: tuple[str, ...]
    """Stores of this home that lie outside it, and so are not in the backup."""


def back_up(file: Path) -> Saved:
    """Write a backup of the home; no run may go on meanwhile. What was at `file` is replaced when the new one is whole.

    Raises:
        ValueError: a run goes on, the file would lie inside the home or in no folder, or there is nothing to save.
    """
    from timbre import __version__

    home = settings().home
    if file.resolve().is_relative_to(home.resolve()):
        raise ValueError(f"{file} lies inside the home {home}, which it is to outlive: name another place")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"{file.absolute().parent}: no such folder; make it, or name another place for the backup")
    if not home.is_dir():
        raise ValueError(f"there is no home at {home} yet: nothing to save")
    with only_run(home), tempfile.TemporaryDirectory(prefix="timbre-", dir=file.absolute().parent) as scratch:
        links = {str(path.relative_to(home)): str(path.readlink()) for path in _entries(home) if path.is_symlink()}
        copies = {str(path.relative_to(home)): _steady(path, Path(scratch)) for path in _entries(home) if not path.is_symlink()}
        folders = [path for path in _everything(home) if path.is_dir() and not path.is_symlink() and not any(path.iterdir())]
        saved = Saved(
            at=datetime.now(UTC), timbre=__version__, files={name: sha256_file(path) for name, path in copies.items()}, links=links,
            folders=tuple(str(path.relative_to(home)) for path in folders), elsewhere=_elsewhere(),
        )  # fmt: skip
        fresh = Path(scratch) / "backup"
        with tarfile.open(fresh, "w") as archive:
            text = saved.model_dump_json(indent=1).encode()
            entry = tarfile.TarInfo(_LIST)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
            for name, path in copies.items():
                archive.add(path, f"home/{name}", recursive=False)
        fresh.replace(file)
    return saved


def restore(file: Path) -> Saved:
    """Put a backup's home where the settings say; there must be none, or an empty one. Verified before it is put there.

    Raises:
        ValueError: not a backup, of a newer form, or the home is not empty.
        IntegrityError: the backup is damaged, or names a place outside of a home.
    """
    home = settings().home
    if home.is_dir() and any(home.iterdir()):
        raise ValueError(f"the home {home} is not empty: move it away, or set TIMBRE_HOME; nothing is written over")
    try:
        with tarfile.open(file) as archive, staging(home.parent, home.name.lstrip(".")) as fresh:
            saved = _listed(archive, file)
            for name, wanted in saved.files.items():
                _put(archive, fresh, name, wanted, file)
            for name, target in saved.links.items():
                _link(fresh, name, target)
            for name in saved.folders:
                _inside(fresh, name).mkdir(parents=True, exist_ok=True)
            if home.is_dir():
                home.rmdir()
            fresh.chmod(0o755)
            fresh.rename(home)
            return saved
    except tarfile.TarError as error:
        raise ValueError(f"{file}: not a backup ({error})") from error


def _everything(home: Path) -> Iterator[Path]:
    """What is saved of a home, in order; links are not followed."""
    for top in sorted(home.iterdir()):
        if top.name in _LEFT_OUT or top.name.endswith((".lock", "-wal", "-shm", "-journal")):
            continue
        yield top
        if top.is_dir() and not top.is_symlink():
            yield from sorted(top.rglob("*"))


def _entries(home: Path) -> Iterator[Path]:
    """Its files and links."""
    return (path for path in _everything(home) if path.is_symlink() or path.is_file())


def _steady(path: Path, scratch: Path) -> Path:
    """The file itself, or of a SQLite database a copy by SQLite's backup."""
    with path.open("rb") as stream:
        if stream.read(len(_SQLITE)) != _SQLITE:
            return path
    copy = scratch / f"{len(list(scratch.iterdir()))}.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _elsewhere() -> tuple[str, ...]:
    now = settings()
    places = {
        "ledger": now.ledger_url,
        "MLflow": now.mlflow_tracking_uri,
        "data registry": now.data_registry,
        "data remote": now.data_remote,
    }
    return tuple(name for name, place in places.items() if place is not None)


def _listed(archive: tarfile.TarFile, file: Path) -> Saved:
    first = archive.next()
    stream = archive.extractfile(first) if first is not None and first.name == _LIST else None
    if stream is None:
        raise ValueError(f"{file}: not a backup of Timbre (it does not begin with {_LIST})")
    tree = json.loads(stream.read())
    if tree.get("schema_version", 0) > _SCHEMA:
        raise ValueError(f"{file}: made by a newer Timbre ({tree.get('timbre')}): restore it with that, or a later one")
    return Saved.model_validate(tree)


def _inside(fresh: Path, name: str) -> Path:
    """Where a name lies in the new home.

    Raises:
        IntegrityError: it would lie outside, or behind a link.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or not parts.parts or ".." in parts.parts:
        raise IntegrityError(f"the backup names {name!r}, which lies outside of a home")
    place = fresh / parts
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.parent.resolve().is_relative_to(fresh.resolve()):
        raise IntegrityError(f"the backup names {name!r}, which lies behind a link")
    return place


def _put(archive: tarfile.TarFile, fresh: Path, name: str, wanted: str, file: Path) -> None:
    place = _inside(fresh, name)
    try:
        member = archive.getmember(f"home/{name}")
    except KeyError as error:
        raise IntegrityError(f"{file}: {name} is missing in it") from error
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        raise IntegrityError(f"{file}: {name} is no plain file in it")
    with place.open("wb") as copy:
        while block := stream.read(1 << 20):
            copy.write(block)
    place.chmod(member.mode & 0o777)
    if sha256_file(place) != wanted:
        raise IntegrityError(f"{file}: {name} is not what its sha256 says: the backup is damaged; take another one")


def _link(fresh: Path, name: str, target: str) -> None:
    place = _inside(fresh, name)
    if not (place.parent / target).resolve().is_relative_to(fresh.resolve()):
        raise IntegrityError(f"the backup links {name!r} to {target!r}, which lies outside of a home")
    place.symlink_to(target)
