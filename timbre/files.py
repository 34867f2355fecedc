"""Files that are written whole or not at all, and hashes that are remembered."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, also after a power cut."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=made(path.parent))
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, 0o644)  # a temporary file is its owner's alone; what takes its place is for all to read
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync(path.parent)


def published(folder: Path, home: Path) -> None:
    """Rename a folder to its final name, all of it on disk first; where that stands already, with the same bytes, it is removed."""
    for entry in folder.rglob("*"):
        fsync(entry)
    fsync(folder)
    folder.chmod(0o755)
    try:
        folder.rename(home)
    except OSError:
        if not home.exists():
            raise
        shutil.rmtree(folder)  # the same digest stands there already
    fsync(home.parent)


class HashCache:
    """Remembers a file's sha256 by inode, size and times, so that a normal run reads each file once.

    Of the times also that of the last change of the inode, which the system alone sets: bytes that were altered and given their old
    size and mtime again are read again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._waits = self._changed = False
        if path.exists():
            try:
                self._known = json.loads(path.read_bytes())
            except ValueError:
                path.unlink()

    def sha256(self, path: Path) -> str:
        status = path.stat()
        identity = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        if identity not in self._known:
            self._known[identity] = sha256_file(path)
            self._changed = True
            if not self._waits:
                self._write()
        return self._known[identity]

    @contextmanager
    def written_once(self) -> Iterator[None]:
        """Inside, what is learnt stays in memory; it is written at the end, also of a block that fails."""
        self._waits, outer = True, self._waits
        try:
            yield
        finally:
            self._waits = outer
            if self._changed and not outer:
                self._write()

    def _write(self) -> None:
        with suppress(OSError):  # a full disk or a read-only home costs speed, not the answer
            write_atomically(self._path, json.dumps(self._known).encode())
        self._changed = False


def made(folder: Path) -> Path:
    """The folder, there from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fsync(path: Path) -> None:
    """Have the disk keep what was written to a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
